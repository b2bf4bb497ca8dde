"""Many runs: explore, shrink, compare, sweep, and reports of them."""

from colonysim.facade import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
