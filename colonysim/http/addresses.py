"""Opens the sockets a server listens on, including both loopback addresses at one port."""

from __future__ import annotations

import errno
import socket
from typing import Any, Final

LOCALHOST: Final = "localhost"
"""Stands for both loopback addresses, 127.0.0.1 and ::1, because some clients resolve the name to ::1 first."""
MAX_PORT: Final = 65_535
BACKLOG: Final = 1024
"""Connections that the operating system queues until the server accepts them."""

_PORT_TRIES: Final = 100
_NO_IPV6: Final = {errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT, errno.ENOPROTOOPT}
_ADVICE: Final = {
    errno.EADDRINUSE: "choose another port, or 0 for any free one",
    errno.EACCES: "choose a port from 1024, or 0 for any free one",
    errno.EADDRNOTAVAIL: "give an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
}


def listen(host: str, port: int) -> list[socket.socket]:
    """Open the listening sockets of a host. Port 0 picks a free port, the same for every socket.

    Raises ValueError if the port or host is invalid, and OSError, with address and fix, if it cannot be bound.
    """
    if not 0 <= port <= MAX_PORT:
        raise ValueError(f"invalid port={port}: expected 1 to {MAX_PORT}, or 0 for any free port")
    if host.lower() == LOCALHOST:
        return _both_loopbacks(port)
    return [_bind(*_resolve(host, port))]


def reachable(host: str) -> str:
    """Return the host name by which a client on this machine reaches a server that listens on `host`."""
    return {LOCALHOST: "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}.get(host.lower(), host)


def url_of(host: str, port: int) -> str:
    """Return the URL by which a client on this machine reaches a server."""
    return f"http://{_shown(reachable(host))}:{port}"


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _both_loopbacks(port: int) -> list[socket.socket]:
    """Listen on 127.0.0.1, and at the same port on ::1 if this machine has IPv6."""
    for left in reversed(range(_PORT_TRIES)):
        first = _bind(socket.AF_INET, ("127.0.0.1", port))
        try:
            return [first, _bind(socket.AF_INET6, ("::1", first.getsockname()[1]))]
        except OSError as error:
            if error.errno in _NO_IPV6:
                return [first]
            first.close()
            if port or error.errno != errno.EADDRINUSE or not left:
                raise
    raise AssertionError("the last try returns or raises")


def _resolve(host: str, port: int) -> tuple[socket.AddressFamily, Any]:
    advice = "give an address of this machine, such as localhost, 127.0.0.1 or ::1, or 0.0.0.0 for all of them"
    if not host.strip():
        raise ValueError(f"the host to listen on is empty: {advice}")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(error.errno, f"cannot listen on {host!r}: {error.strerror}; {advice}") from None
    except ValueError:  # for example a label that is too long, or a NUL
        raise ValueError(f"invalid host {host!r} to listen on: {advice}") from None
    family, _, _, _, address = found[0]
    return family, address


def _bind(family: socket.AddressFamily, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        advice = _ADVICE.get(error.errno or 0, "choose another address or port")
        text = f"cannot listen on {_shown(address[0])}:{address[1]}: {error.strerror}; {advice}"
        raise OSError(error.errno, text) from None
    return listener
