"""Sockets between threads of this process: a program waits in virtual time until it can receive or accept."""

from __future__ import annotations

import _socket
import select
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_listening: Final[set[int]] = set()
"""The ports at which programs listen."""


def _is_local(link: socket.socket) -> bool:
    """Whether the other end of a socket is in this process, or in a child; what comes from elsewhere is real."""
    if link.family == getattr(socket, "AF_UNIX", None):
        return True
    for name in (link.getsockname, link.getpeername):
        with suppress(OSError):
            address = name()
            if isinstance(address, tuple) and address[1] in _listening:
                return True
    return False


def _receive(real: Any) -> Callable[..., Any]:
    """Receive, or accept a connection, once there is something."""

    def receive(self: socket.socket, *args: Any, **kwargs: Any) -> Any:
        if here.thread is not None and (seconds := self.gettimeout()) != 0 and _is_local(self):
            if not select.select([self], [], [], seconds)[0]:
                raise TimeoutError("timed out")
        return real(self, *args, **kwargs)

    return receive


def _listen(real: Any) -> Callable[..., None]:
    def listen(self: socket.socket, *args: int) -> None:
        real(self, *args)
        if here.thread is not None and isinstance(address := self.getsockname(), tuple):
            _listening.add(address[1])

    return listen


def patch() -> list[inplace.Undo]:
    """Replace the methods; what is returned puts them back."""
    undo: list[inplace.Undo] = []
    of_sockets = [(name, _receive) for name in ("recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg", "_accept")]
    for name, wrapper in (*of_sockets, ("listen", _listen)):
        if hasattr(_socket.socket, name):
            undo.append(inplace.replace_method(_socket.socket, name, wrapper))
    return [*undo, _listening.clear]
