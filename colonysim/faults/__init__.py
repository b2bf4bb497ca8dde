"""Faults as data, and what they do to messages, actors and the server."""

from colonysim.facade import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
