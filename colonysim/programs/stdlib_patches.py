"""Virtual time and seeded chance for the programs of a simulation, and for nobody else.

While any program exists the clock, sleep and random functions of the standard library are replaced by ones
that ask who calls: a program sees its own, every other thread what it always saw. Names that modules have
imported (`from time import sleep`) are found and replaced as well. Classes stay the ones they are, for what is built
on them (subclasses, pickle, msgspec): some of their methods are replaced. Afterwards all is as it was.
"""

from __future__ import annotations

import builtins
import datetime as datetime_module
import gc
import os
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any, Final, Protocol

from colonysim.core.records import SECOND_NS

_GREGORIAN_TICKS: Final = 0x01B21DD213814000
"""Tenths of a microsecond from 1582, where uuid1 begins to count, to 1970."""
_KEPT: Final = (
    "colonysim",
    "threading",
    "queue",
    "selectors",
    "asyncio",
    "subprocess",
    "multiprocessing",
    "concurrent",
)


class Inhabitant(Protocol):
    """Who lives in virtual time."""

    def now_ns(self) -> int: ...

    def elapsed_ns(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...

    random: random.Random


class _Here(threading.local):
    """What a thread does: the program that runs in it, while it does."""

    inhabitant: Inhabitant | None = None
    looking = False  # whether something is true, between two turns


here: Final = _Here()

_spare: Final = random.Random("imports")
_lock: Final = threading.Lock()
_users = 0
_stand_ins: dict[int, tuple[Any, Any]] = {}
_methods: list[tuple[type, str, Any]] = []
"""Each method of a class that is replaced, as it was."""


def install() -> None:
    """Replace the functions, unless somebody has done so already; `uninstall` must follow."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _prepare()
            _stand_ins.update(_replacements())
            _patch(_stand_ins)
            for owner, name, stand_in_for in _METHODS:
                real = owner.__dict__[name]
                _methods.append((owner, name, real))
                _set_method(owner, name, stand_in_for(real))


@cache
def _prepare() -> None:
    """What is made once in a process must not be made by a program, from its chance; and no child is a program."""
    import tempfile

    with suppress(OSError):
        tempfile.mktemp()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave)


def _leave() -> None:
    here.inhabitant = None


def uninstall() -> None:
    """Put everything back once nobody needs it any more, in modules that have been imported meanwhile too."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            _patch({id(virtual): (virtual, real) for real, virtual in _stand_ins.values()})
            _stand_ins.clear()
            for owner, name, real in _methods:
                _set_method(owner, name, real)
            _methods.clear()


def stand_in(value: Any) -> Any:
    """What stands in for a function, if anything does: for one that was got hold of before `install`."""
    found = _stand_ins.get(id(value))
    return found[1] if found is not None and found[0] is value else value


def _patch(replacements: dict[int, tuple[Any, Any]]) -> None:
    """Replace each function wherever a module has a name for it."""
    for module_name, module in list(sys.modules.items()):
        if module_name.split(".")[0] in _KEPT or module is None:
            continue
        namespace = getattr(module, "__dict__", None)
        if not isinstance(namespace, dict):
            continue
        for name, value in list(namespace.items()):
            found = replacements.get(id(value))
            if found is not None and found[0] is value:
                namespace[name] = found[1]


def _replacements() -> dict[int, tuple[Any, Any]]:
    """Each real function, by its identity, with what stands in for it."""
    pairs: list[tuple[Any, Any]] = [
        (time.time, _clock(time.time, lambda who: who.now_ns() / SECOND_NS)),
        (time.time_ns, _clock(time.time_ns, lambda who: who.now_ns())),
        (time.sleep, _sleep(time.sleep)),
        (time.gmtime, _calendar(time.gmtime)),
        (time.localtime, _calendar(time.localtime)),
        (time.ctime, _calendar(time.ctime)),
        (time.asctime, _told_time(time.asctime, 0, time.localtime)),
        (time.strftime, _told_time(time.strftime, 1, time.localtime)),
        (uuid.uuid1, _uuid1(uuid.uuid1)),
        (os.urandom, _urandom(os.urandom)),
        (builtins.__import__, _import(builtins.__import__)),
    ]
    if hasattr(time, "clock_gettime"):
        seconds, nanoseconds = time.clock_gettime, time.clock_gettime_ns
        pairs.append((seconds, _system_clock(seconds, lambda time_ns: time_ns / SECOND_NS)))
        pairs.append((nanoseconds, _system_clock(nanoseconds, lambda time_ns: time_ns)))
    for name in ("monotonic", "perf_counter"):
        pairs.append((getattr(time, name), _clock(getattr(time, name), lambda who: who.elapsed_ns() / SECOND_NS)))
        real_ns = getattr(time, f"{name}_ns")
        pairs.append((real_ns, _clock(real_ns, lambda who: who.elapsed_ns())))
    pairs += [(real, _chance(real)) for real in _random_functions()]
    return {id(real): (real, virtual) for real, virtual in pairs}


def _clock(real: Callable[[], Any], virtual: Callable[[Inhabitant], Any]) -> Callable[[], Any]:
    def read() -> Any:
        who = here.inhabitant
        return real() if who is None else virtual(who)

    return read


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def sleep(seconds: float, /) -> None:
        who = here.inhabitant
        if who is None:
            real(seconds)
        else:
            who.sleep(seconds)

    return sleep


def _calendar(real: Callable[..., Any]) -> Callable[..., Any]:
    def calendar(seconds: float | None = None, /) -> Any:
        who = here.inhabitant
        return real(who.now_ns() / SECOND_NS) if seconds is None and who is not None else real(seconds)

    return calendar


def _told_time(real: Callable[..., str], place: int, local: Callable[[float], Any]) -> Callable[..., str]:
    """A function that tells of a time, of now where it is given none in that place."""

    def tell(*args: Any) -> str:
        who = here.inhabitant
        return real(*args) if who is None or len(args) > place else real(*args, local(who.now_ns() / SECOND_NS))

    return tell


def _system_clock(real: Callable[[int], Any], unit: Callable[[int], Any]) -> Callable[[int], Any]:
    """The system's clocks by their numbers; those of processor time stay real."""
    steady = [getattr(time, name, -1) for name in ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME")]

    def read(number: int, /) -> Any:
        who = here.inhabitant
        if who is None or number not in (time.CLOCK_REALTIME, *steady):
            return real(number)
        return unit(who.now_ns() if number == time.CLOCK_REALTIME else who.elapsed_ns())

    return read


def _uuid1(real: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        who = here.inhabitant
        if who is None:
            return real(node, clock_seq)
        ticks = who.now_ns() // 100 + _GREGORIAN_TICKS
        sequence = who.random.getrandbits(14) if clock_seq is None else clock_seq & 0x3FFF
        node = who.random.getrandbits(48) | 1 << 40 if node is None else node  # a machine that there is not
        fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, sequence >> 8, sequence & 0xFF, node)
        return uuid.UUID(fields=fields, version=1)

    return uuid1


def _urandom(real: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def urandom(size: int, /) -> bytes:
        who = here.inhabitant
        return real(size) if who is None else who.random.randbytes(size)

    return urandom


def _import(real: Callable[..., Any]) -> Callable[..., Any]:
    """What a module draws while it is imported for the first time must not count: next time it is there already."""

    def load(name: str, *args: Any, **kwargs: Any) -> Any:
        who = here.inhabitant
        if who is None:
            return real(name, *args, **kwargs)
        chance, who.random = who.random, _spare
        try:
            return real(name, *args, **kwargs)
        finally:
            who.random = chance

    return load


def _random_functions() -> list[Any]:
    """The functions of the random module that draw from its one hidden source."""
    hidden = getattr(random, "_inst", None)
    found = [value for name, value in vars(random).items() if not name.startswith("_")]
    return [value for value in found if getattr(value, "__self__", None) is hidden]


def _chance(real: Any) -> Callable[..., Any]:
    name = real.__name__

    def draw(*args: Any, **kwargs: Any) -> Any:
        who = here.inhabitant
        return real(*args, **kwargs) if who is None else getattr(who.random, name)(*args, **kwargs)

    return draw


# ---------------------------------------------------------------- methods of classes
def _set_method(owner: type, name: str, method: Any) -> None:
    """Replace a method of a class, also of one that is written in C: only its own dictionary takes that."""
    import ctypes

    gc.get_referents(owner.__dict__)[0][name] = method
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


def _now(real: Any) -> Any:
    def now(cls: type, tz: datetime_module.tzinfo | None = None) -> Any:
        who = here.inhabitant
        return real.__get__(None, cls)(tz) if who is None else _moment(who, tz, cls)

    return classmethod(now)


def _utcnow(real: Any) -> Any:
    def utcnow(cls: type) -> Any:
        who = here.inhabitant
        return real.__get__(None, cls)() if who is None else _moment(who, datetime_module.UTC, cls).replace(tzinfo=None)

    return classmethod(utcnow)


def _today(real: Any) -> Any:
    def today(cls: Any) -> Any:
        who = here.inhabitant
        if who is None:
            return real.__get__(None, cls)()
        if issubclass(cls, datetime_module.datetime):
            return cls.now()
        moment = _moment(who, None)
        return cls(moment.year, moment.month, moment.day)

    return classmethod(today)


def _seed(real: Any) -> Any:
    """A source of chance that is given no seed takes one from the seed of the program."""

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        who = here.inhabitant
        if a is None and who is not None and who.random is not self:
            a = who.random.getrandbits(64)
        real(self, a, version)

    return seed


_METHODS: Final[list[tuple[type, str, Callable[[Any], Any]]]] = [
    (datetime_module.datetime, "now", _now),
    (datetime_module.datetime, "utcnow", _utcnow),
    (datetime_module.date, "today", _today),
    (random.Random, "seed", _seed),
]


def _moment(who: Inhabitant, tz: datetime_module.tzinfo | None, cls: Any = datetime_module.datetime) -> Any:
    """Virtual now, to the microsecond; without a zone in the local one, as the real function does."""
    span = datetime_module.timedelta(microseconds=who.now_ns() // 1000)
    moment = datetime_module.datetime(1970, 1, 1, tzinfo=datetime_module.UTC) + span
    moment = moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)
    return moment if cls is datetime_module.datetime else cls.combine(moment.date(), moment.timetz())
