"""What all tests of the commands share."""

from tests.serving import colony, executor, kind, server, sim, wire

__all__ = ["colony", "executor", "kind", "server", "sim", "wire"]
