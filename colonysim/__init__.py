"""A deterministic in-memory Colonies server for tests, with a virtual clock. The public names are in __init__.pyi."""

from colonysim.facade import lazy_names

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
