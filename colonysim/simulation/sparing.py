"""Requests that no fault strikes, for setting up a test whose faults are in force already."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from colonysim.core.protocol import Answer, Push, Request
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.participants import Network
from colonysim.kernel.pending import Pending
from colonysim.simulation.simulation import Simulation


class SparingNetwork:
    """A network that spares the messages of one thread, and leaves all others to the network it stands for."""

    def __init__(self, kernel: Kernel, network: Network) -> None:
        self._kernel = kernel
        self._network = network
        self._spared = threading.get_ident()

    def send(self, pending: Pending, request: Request) -> None:
        """Let the requests of the spared thread arrive."""
        if threading.get_ident() == self._spared:
            self._kernel.serve_delayed(request)
        else:
            self._network.send(pending, request)

    def heard(self, type_name: str, status: int) -> None:
        """Pass on that the server has answered a request."""
        self._network.heard(type_name, status)

    def keeps(self, pending: Pending, answer: Answer) -> bool:
        """Return whether a reply is kept: never one to the spared thread."""
        return threading.get_ident() != self._spared and self._network.keeps(pending, answer)

    def unreachable_s(self, program: str) -> float | None:
        """Return in how many seconds a client notices that it cannot connect: the spared thread always can."""
        return None if threading.get_ident() == self._spared else self._network.unreachable_s(program)

    def takes(self, push: Push) -> bool:
        """Return whether a push is taken."""
        return self._network.takes(push)


@contextmanager
def without_faults(sim: Simulation) -> Iterator[None]:
    """Within the context, let no fault strike the requests of this thread."""
    kernel = sim.kernel
    network = kernel.network
    if network is None:
        yield
        return
    with kernel.locked():
        kernel.network = sparing = SparingNetwork(kernel, network)
    try:
        yield
    finally:
        with kernel.locked():
            if kernel.network is sparing:
                kernel.network = network
