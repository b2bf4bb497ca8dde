"""Connections in memory: sockets that any client in this process connects to the simulated host and port.

While a route is open, `socket.socket.connect` and `getaddrinfo` look for its host and port. A socket that connects
there gets one end of a pair of sockets in place of a connection, so that its file descriptor becomes readable as that
of any other, and another class, in which blocking calls wait in virtual time. What the client sends is served at once
in its own thread; the other end of the pair carries the replies.
"""

from __future__ import annotations

import errno
import socket
import threading
import weakref
from typing import Any, Final

from colonysim.sdk import threads
from colonysim.sdk.links import Link, Route, require_reachable

_FAKE_NETWORK: Final = "198.18.0."
"""Addresses for tests of networks (RFC 2544): one stands for a simulated host that is not this machine."""
_TLS_NEEDED: Final = "the simulated server speaks plain HTTP: use http:// or ws://, not TLS"


# ---------------------------------------------------------------- the client's side
_links: Final[weakref.WeakKeyDictionary[socket.socket, Link]] = weakref.WeakKeyDictionary()


class MemorySocket(socket.socket):
    """A socket that is connected to a simulated server. It becomes one when it connects."""

    __slots__ = ()

    def _link(self) -> Link | None:
        return _links.get(self)

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        self._await()
        data = super().recv(bufsize, flags)
        self._note(len(data), flags)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        self._await()
        size = super().recv_into(buffer, nbytes, flags)
        self._note(size, flags)
        return size

    def send(self, data: Any, flags: int = 0, /) -> int:
        link = self._link()
        if link is None:
            return super().send(data, flags)
        view = memoryview(data).cast("B")
        link.receive(bytes(view))
        return len(view)

    def sendall(self, data: Any, flags: int = 0, /) -> None:
        self.send(data, flags)

    def sendmsg(self, buffers: Any, ancdata: Any = (), flags: int = 0, address: Any = None, /) -> int:
        return self.send(b"".join(bytes(buffer) for buffer in buffers))

    def _await(self) -> None:
        if (link := self._link()) is not None:
            link.wait(self.gettimeout())

    def _note(self, size: int, flags: int) -> None:
        if (link := self._link()) is not None and not flags & socket.MSG_PEEK:
            link.taken(size)

    # ------------------------------------------------------------ what a pair in memory does not know
    def setsockopt(self, level: int, *args: Any) -> None:
        """Set an option; those of TCP have no effect."""
        if level == socket.SOL_SOCKET:
            super().setsockopt(level, *args)

    def getsockopt(self, level: int, option: int, *args: Any) -> Any:
        """Return an option; those of TCP are 0."""
        return super().getsockopt(level, option, *args) if level == socket.SOL_SOCKET else 0

    def getpeername(self) -> Any:
        link = self._link()
        return super().getpeername() if link is None else (_numeric(link.route, self.family), link.route.reach.port)

    def getsockname(self) -> Any:
        link = self._link()
        return super().getsockname() if link is None else (_numeric(link.route, self.family), 1)

    def shutdown(self, how: int) -> None:
        if (link := self._link()) is not None and how != socket.SHUT_RD:
            link.leave()
        super().shutdown(how)

    def detach(self) -> int:
        """Give the descriptor away, as TLS needs it; there it finds the answer of a server without TLS."""
        if (link := self._link()) is not None:
            link.refuse()
        return super().detach()

    def _real_close(self) -> None:
        if (link := self._link()) is not None:
            link.leave()
        super()._real_close()  # type: ignore[misc]


def _numeric(route: Route, family: int) -> str:
    return route.address or ("::1" if family == socket.AF_INET6 else "127.0.0.1")


# ---------------------------------------------------------------- patches
_routes: Final[list[Route]] = []
_lock: Final = threading.Lock()
_real: dict[str, Any] = {}


def open_route(route: Route) -> None:
    """Lead connections to its host and port to a route, before all that are open already."""
    with _lock:
        _install()
        _routes.append(route)
        if "127.0.0.1" not in route.reach.hosts:
            route.address = f"{_FAKE_NETWORK}{len(_routes) % 250 + 1}"


def close_route(route: Route) -> None:
    """Break the connections of a route, and lead no more there; a thread it leaves behind stays cut off."""
    with _lock:
        _routes.remove(route)
    route.close()
    with _lock:
        if not _routes and not threads.any_left():
            _uninstall()


def _install() -> None:
    if _real:
        return
    _real.update(connect=socket.socket.connect, connect_ex=socket.socket.connect_ex, getaddrinfo=socket.getaddrinfo)
    socket.socket.connect = _connect  # type: ignore[method-assign, assignment]
    socket.socket.connect_ex = _connect_ex  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = _getaddrinfo


def _uninstall() -> None:
    if _real:
        del socket.socket.connect, socket.socket.connect_ex  # they are those of the class below again
        socket.getaddrinfo = _real["getaddrinfo"]
        _real.clear()


def _route_to(address: Any) -> Route | None:
    """Return the route to an address. Raises Lost for a thread whose own simulation, there, is over."""
    if not isinstance(address, tuple) or len(address) < 2:
        return None
    owner = threads.owner_of(threading.current_thread())
    if owner is not None and owner.over and address[1] == owner.port and address[0] in owner.hosts:
        if not any(route.reach.sim is owner.sim for route in _routes if owner.sim is not None):
            threads.refuse(threading.current_thread(), owner)
    return next((route for route in reversed(_routes) if route.leads(address[0], address[1])), None)


def _connect(self: socket.socket, address: Any, /) -> None:
    """`socket.connect`, which leads to a simulation if that has this address."""
    route = _route_to(address)
    if route is None or self.type != socket.SOCK_STREAM:
        _real_connect(self, address)
        return
    if threads.here.reach is not route.reach:
        threads.admit(route.reach)
    if type(self) is not socket.socket:
        raise ConnectionError(f"{type(self).__name__} cannot connect to a simulated server; {_TLS_NEEDED}")
    require_reachable(route, self.gettimeout())
    link = Link(route, self)
    self.__class__ = MemorySocket
    _links[self] = link


def _real_connect(self: socket.socket, address: Any) -> None:
    super(socket.socket, self).connect(address)


def _connect_ex(self: socket.socket, address: Any, /) -> int:
    if _route_to(address) is None:
        return super(socket.socket, self).connect_ex(address)
    try:
        _connect(self, address)
    except TimeoutError:
        return errno.EAGAIN  # as of a real socket with a time-out
    except OSError as error:
        return error.errno or errno.ECONNREFUSED
    return 0


def _getaddrinfo(host: Any, port: Any, family: int = 0, type: int = 0, proto: int = 0, flags: int = 0) -> Any:
    """`socket.getaddrinfo`, which knows the simulated hosts."""
    name = host.decode() if isinstance(host, bytes) else host
    number = int(port) if isinstance(port, str) and port.isdecimal() else port
    route = next((one for one in reversed(_routes) if one.leads(str(name).lower(), number)), None)
    if route is None or type not in (0, socket.SOCK_STREAM):
        return _real.get("getaddrinfo", socket.getaddrinfo)(host, port, family, type, proto, flags)
    found: list[tuple[int, tuple[Any, ...]]] = []
    if family in (socket.AF_UNSPEC, socket.AF_INET) and name != "::1":
        found.append((socket.AF_INET, (_numeric(route, socket.AF_INET), number)))
    if not found:
        found.append((socket.AF_INET6, (_numeric(route, socket.AF_INET6), number, 0, 0)))
    return [(kind, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address) for kind, address in found]
