"""What a program sees of the machine that it runs on: a host name and a process of its own, and no processor time.

Computing takes no virtual time. So clocks of processor time go on by a microsecond each time they are read.
"""

from __future__ import annotations

import _socket
import os
import platform
import re
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import for_programs, here

_NOT_IN_HOST_NAMES: Final = re.compile(r"[^A-Za-z0-9.-]+")
_LOOPBACK: Final = "127.0.0.1"
_PARENT: Final = 1
_OF_NO_MACHINE: Final = 1 << 41
"""Bit of network addresses that are given by hand."""


def host_name(who: Any) -> str:
    """Return the name of the host that a program runs on, which is made of its own name."""
    return _NOT_IN_HOST_NAMES.sub("-", who.program.name).strip("-.")[:63] or "program"


def processor_ns(who: Any) -> int:
    """Return what a clock of processor time says to a program, in nanoseconds."""
    number: int = who.program.names.number("look at a clock of processor time", 1)
    return number * 1000


def _uname(real: Any) -> Callable[[], Any]:
    def uname() -> Any:
        found, who = real(), here.thread
        if who is None:
            return found
        if isinstance(found, os.uname_result):
            return os.uname_result((found.sysname, host_name(who), *found[2:]))
        return found._replace(node=host_name(who))

    return uname


def _own_host(real: Any) -> Callable[..., Any]:
    """Look up the address of a host; the program's own is this machine."""

    def look_up(host: Any, *args: Any, **kwargs: Any) -> Any:
        who = here.thread
        return real(_LOOPBACK if who is not None and host == host_name(who) else host, *args, **kwargs)

    return look_up


def _full_name(real: Any) -> Callable[..., str]:
    def getfqdn(name: str = "") -> str:
        who = here.thread
        if who is not None and name.strip() in ("", "0.0.0.0", "::", host_name(who)):
            return host_name(who)
        return real(name)  # type: ignore[no-any-return]

    return getfqdn


def _times(who: Any) -> Any:
    return os.times_result((processor_ns(who) / 1e9, 0.0, 0.0, 0.0, who.elapsed_ns() / 1e9))


def _usage(real: Any) -> Callable[[int], Any]:
    def getrusage(whose: int, /) -> Any:
        found, who = real(whose), here.thread
        return found if who is None else type(found)((processor_ns(who) / 1e9, 0.0, *tuple(found)[2:]))

    return getrusage


def _own_last(real: Any) -> Callable[..., uuid.UUID]:
    """Make a UUID that is later than the last one of the same life; the module keeps one for the whole process."""

    def make(*args: Any, **kwargs: Any) -> uuid.UUID:
        who = here.thread
        if who is None:
            return real(*args, **kwargs)  # type: ignore[no-any-return]
        module, last = vars(uuid), who.program.names.last_uuids
        before = {name: module[name] for name in module if name.startswith("_last_")}
        module.update({name: last.get(name) for name in before})
        try:
            return real(*args, **kwargs)  # type: ignore[no-any-return]
        finally:
            last.update({name: module[name] for name in before})
            module.update(before)

    return make


def patch() -> list[inplace.Undo]:
    """Replace the functions; what is returned puts them back."""
    pairs: list[tuple[Any, inplace.Wrapper]] = [
        (_socket.gethostname, for_programs(host_name)),
        (socket.getfqdn, _full_name),
        (platform.uname, _uname),
        (os.times, for_programs(_times)),
        (uuid.getnode, for_programs(lambda who: _OF_NO_MACHINE | who.program.pid)),
    ]
    pairs += [(getattr(_socket, name), _own_host) for name in ("gethostbyname", "gethostbyname_ex", "getaddrinfo")]
    pairs += [(getattr(uuid, name), _own_last) for name in ("uuid6", "uuid7") if hasattr(uuid, name)]
    if hasattr(os, "uname"):
        pairs += [(os.uname, _uname), (os.getppid, for_programs(lambda who: _PARENT))]
    with suppress(ImportError):
        import resource

        pairs.append((resource.getrusage, _usage))
    return [inplace.replace_function(function, wrapper) for function, wrapper in pairs]
