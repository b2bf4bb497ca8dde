"""Experiments with many runs: explore, shrink, compare, sweep, and their reports."""

from colonysim.facade import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
