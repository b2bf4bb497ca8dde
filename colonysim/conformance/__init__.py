"""The conformance player: recorded cases against a simulation, a server of ours, or a real one."""

from colonysim.facade import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
