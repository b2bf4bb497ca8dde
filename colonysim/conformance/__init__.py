"""The conformance player: plays recorded cases against a simulation or a server and compares the replies."""

from colonysim.facade import lazy_names

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__)
