"""Detects that a client has disconnected while its request is parked."""

from __future__ import annotations

import selectors
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class DisconnectWatch:
    """One thread that watches the connections of all parked requests."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._lock = threading.Lock()
        self._waker, self._woken = socket.socketpair()
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="colonysim-disconnects", daemon=True)
        self._thread.start()

    @contextmanager
    def watching(self, connection: socket.socket, gone: Callable[[], None]) -> Iterator[None]:
        """Call `gone` if the client disconnects inside the `with` block."""
        with self._lock:
            if not self._stopping:
                self._selector.register(connection, selectors.EVENT_READ, gone)
        if self._stopping:
            gone()
        try:
            yield
        finally:
            self._forget(connection)

    def _forget(self, connection: socket.socket) -> None:
        with self._lock:
            try:
                self._selector.unregister(connection)
            except (KeyError, ValueError):
                pass  # removed when it became readable

    def _run(self) -> None:
        while not self._stopping:
            for key, _ in self._selector.select():
                if key.data is None:
                    return
                self._check(key.fileobj, key.data)  # type: ignore[arg-type]

    def _check(self, connection: socket.socket, gone: Callable[[], None]) -> None:
        self._forget(connection)
        try:
            heard = connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            heard = b""
        if not heard:
            gone()

    def stop(self) -> None:
        """Stop watching; call `gone` for every connection that is still watched."""
        with self._lock:
            self._stopping = True
        self._waker.send(b"x")
        self._thread.join()
        with self._lock:
            watched = [key.data for key in self._selector.get_map().values() if key.data is not None]
        for gone in watched:
            gone()
        self._selector.close()
        self._waker.close()
        self._woken.close()
