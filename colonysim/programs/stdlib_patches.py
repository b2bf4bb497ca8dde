"""Virtual time and seeded chance for the programs of a simulation, and for nobody else.

While any program exists the functions of the standard library that read a clock, wait or draw random numbers ask who
calls them: a program gets its own, every other thread what it always got. They are replaced in place (see inplace.py),
so that code which has bound them early is found as well. Classes stay the ones they are, for what is built on them
(subclasses, pickle, msgspec): some of their methods are replaced. Afterwards all is as it was.
"""

from __future__ import annotations

import builtins
import datetime as datetime_module
import os
import random
import threading
import time
import uuid
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from types import BuiltinFunctionType
from typing import Any, Final, Protocol

from colonysim.core.records import SECOND_NS
from colonysim.stdlib import green_threads, inplace, machine, sources
from colonysim.stdlib.here import here, replace_attribute
from colonysim.stdlib.inplace import Wrapper

_GREGORIAN_TICKS: Final = 0x01B21DD213814000
"""Tenths of a microsecond from 1582, where uuid1 begins to count, to 1970."""


_COARSE: Final = 5
_STEADY_COARSE: Final = 6
"""Clocks of Linux that Python has no names for."""


class InVirtualTime(Protocol):
    """Who lives in virtual time."""

    random: random.Random

    def now_ns(self) -> int: ...

    def elapsed_ns(self) -> int: ...

    def sleep(self, seconds: float) -> None: ...


_spare: Final = random.Random("imports")
_lock: Final = threading.Lock()
_users = 0
_undo: Final[list[inplace.Undo]] = []
_numpy: Final[list[inplace.Undo]] = []

Patch = Callable[[], list[inplace.Undo]]
"""Replaces something, and returns what puts it back."""


def install(*patches: Patch) -> None:
    """Replace the functions, unless they are replaced already. Call `uninstall` afterwards."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _prepare()
            for patch in patches:
                _undo.extend(patch())


@cache
def _prepare() -> None:
    """What is made once in a process must not be made by a program, from its chance; and no child is a program."""
    import tempfile

    inplace.check_layout()
    with suppress(OSError):
        tempfile.gettempdir()
    names = _temporary_names(vars(tempfile)["_RandomNameSequence"], random.Random())
    vars(tempfile)["_name_sequence"] = names  # the usual one draws anew for each process number
    weakref.finalize(inplace, _leave).detach()  # the first of all registers a function for the exit of the process
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_leave)


def _temporary_names(usual: type, rng: random.Random) -> Any:
    """The random names of temporary files; those of programs come from the seed."""
    drawn = property(lambda _: rng if here.thread is None else here.thread.program.names.random)
    return type("_Names", (usual,), {"rng": drawn})()


def _leave() -> None:
    here.thread = None


def uninstall() -> None:
    """Put everything back once nobody needs it any more."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            while _undo:
                _undo.pop()()


def patch() -> list[inplace.Undo]:
    """Replace clocks and chance; what is returned puts them back."""
    undo = [inplace.replace_function(function, wrapper) for function, wrapper in _functions()]
    undo += [inplace.replace_method(owner, name, wrapper) for owner, name, wrapper in _METHODS]
    undo += inplace.replace_saved((datetime_module.datetime, datetime_module.date), ("now", "utcnow", "today"))
    undo.append(replace_attribute(builtins, "__import__", _import(builtins.__import__)))
    take_numpy()
    return [*undo, *_patch_hidden_random(), *sources.patch(), *machine.patch(), _leave_numpy]


def _functions() -> list[tuple[Any, Wrapper]]:
    """Each function that is replaced, with what makes its replacement from its twin."""
    pairs: list[tuple[Any, Wrapper]] = [
        (time.time, _clock(lambda who: who.now_ns() / SECOND_NS)),
        (time.time_ns, _clock(lambda who: who.now_ns())),
        (time.sleep, _sleep),
        (time.gmtime, _calendar),
        (time.localtime, _calendar),
        (time.ctime, _calendar),
        (time.asctime, _told_time(0)),
        (time.strftime, _told_time(1)),
        (uuid.uuid1, _uuid1),
        (random.Random.seed, _seed),
        (random.Random.getstate, _of_own),
        (random.Random.setstate, _of_own),
        (os.urandom, _urandom),
    ]
    if hasattr(time, "clock_gettime"):
        pairs.append((time.clock_gettime, _system_clock(lambda time_ns: time_ns / SECOND_NS)))
        pairs.append((time.clock_gettime_ns, _system_clock(lambda time_ns: time_ns)))
    for name in ("monotonic", "perf_counter"):
        pairs.append((getattr(time, name), _clock(lambda who: who.elapsed_ns() / SECOND_NS)))
        pairs.append((getattr(time, f"{name}_ns"), _clock(lambda who: who.elapsed_ns())))
    for name in ("process_time", "thread_time"):
        pairs.append((getattr(time, name), _clock(lambda who: machine.processor_ns(who) / SECOND_NS)))
        pairs.append((getattr(time, f"{name}_ns"), _clock(machine.processor_ns)))
    return pairs


def _clock(virtual: Callable[[InVirtualTime], Any]) -> Wrapper:
    def wrap(real: Callable[[], Any]) -> Callable[[], Any]:
        def read() -> Any:
            who = here.thread
            return real() if who is None else virtual(who)

        return read

    return wrap


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def sleep(seconds: float, /) -> None:
        who = here.thread
        if who is None:
            real(seconds)
        else:
            who.sleep(seconds)

    return sleep


def _calendar(real: Callable[..., Any]) -> Callable[..., Any]:
    def calendar(seconds: float | None = None, /) -> Any:
        who = here.thread
        return real(who.now_ns() / SECOND_NS) if seconds is None and who is not None else real(seconds)

    return calendar


def _told_time(place: int) -> Wrapper:
    """A function that tells of a time, of now where it is given none in that place."""

    def wrap(real: Callable[..., str]) -> Callable[..., str]:
        def tell(*args: Any) -> str:
            return real(*args) if here.thread is None or len(args) > place else real(*args, time.localtime())

        return tell

    return wrap


def _system_clock(unit: Callable[[int], Any]) -> Wrapper:
    """The system's clocks by their numbers: those of the calendar, steady ones, and else of processor time."""
    calendar = [time.CLOCK_REALTIME, getattr(time, "CLOCK_TAI", time.CLOCK_REALTIME), _COARSE]
    names = ("CLOCK_MONOTONIC", "CLOCK_MONOTONIC_RAW", "CLOCK_BOOTTIME", "CLOCK_UPTIME", "CLOCK_UPTIME_RAW")
    steady = [getattr(time, name, _STEADY_COARSE) for name in names]

    def wrap(real: Callable[[int], Any]) -> Callable[[int], Any]:
        def read(number: int, /) -> Any:
            who = here.thread
            if who is None:
                return real(number)
            if number in calendar:
                return unit(who.now_ns())
            return unit(who.elapsed_ns() if number in steady else machine.processor_ns(who))

        return read

    return wrap


def _uuid1(real: Callable[..., uuid.UUID]) -> Callable[..., uuid.UUID]:
    def uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
        who = here.thread
        if who is None:
            return real(node, clock_seq)
        ticks = who.now_ns() // 100 + _GREGORIAN_TICKS
        sequence = who.random.getrandbits(14) if clock_seq is None else clock_seq & 0x3FFF
        node = who.random.getrandbits(48) | 1 << 40 if node is None else node  # of no machine that exists
        fields = (ticks & 0xFFFFFFFF, ticks >> 32 & 0xFFFF, ticks >> 48 & 0x0FFF, sequence >> 8, sequence & 0xFF, node)
        return uuid.UUID(fields=fields, version=1)

    return uuid1


def _urandom(real: Callable[[int], bytes]) -> Callable[[int], bytes]:
    def urandom(size: int, /) -> bytes:
        who = here.thread
        return real(size) if who is None else who.random.randbytes(size)

    return urandom


def _import(real: Callable[..., Any]) -> Callable[..., Any]:
    """What a module draws while it is imported for the first time must not count: next time it is there already."""

    def load(name: str, *args: Any, **kwargs: Any) -> Any:
        who = here.thread
        if who is None:
            return real(name, *args, **kwargs)
        chance, who.random = who.random, _spare
        try:
            return real(name, *args, **kwargs)
        finally:
            who.random = chance
            if name.partition(".")[0] in green_threads.LIBRARIES:
                green_threads.take()
            if not who.program.numpy_is_seeded:
                who.program.seed_numpy()

    return load


def is_importing(who: InVirtualTime) -> bool:
    """Whether a thread of a program imports a module, which does so for the whole process."""
    return who.random is _spare


def take_numpy() -> None:
    """Have the chance and the clock of numpy, if that is loaded, be those of programs, until all is put back."""
    if not _numpy and sources.numpy_is_loaded():
        _numpy.extend(sources.take_numpy())


def _leave_numpy() -> None:
    while _numpy:
        _numpy.pop()()


# ---------------------------------------------------------------- the random module's own source
def _patch_hidden_random() -> list[inplace.Undo]:
    """Have the functions of the random module draw for each program from its own source.

    They are methods of one hidden instance, which gets another class; the methods written in C are replaced.
    """
    hidden: Any = getattr(random, "_inst", None)
    undo: list[inplace.Undo] = []
    for function in vars(random).values():
        if type(function) is BuiltinFunctionType and function.__self__ is hidden:
            undo.append(inplace.replace_function(function, _draw))
    before = hidden.__class__
    hidden.__class__ = _EachHasItsOwn
    undo.append(lambda: setattr(hidden, "__class__", before))
    return undo


def _draw(real: Any) -> Callable[..., Any]:
    name = real.__name__

    def draw(*args: Any) -> Any:
        who = here.thread
        return real(*args) if who is None else getattr(who.random, name)(*args)

    return draw


class _EachHasItsOwn(random.Random):
    """The class of the random module's hidden instance while there are programs."""

    def random(self) -> float:
        who = here.thread
        return super().random() if who is None else who.random.random()

    def getrandbits(self, k: int, /) -> int:
        who = here.thread
        return super().getrandbits(k) if who is None else who.random.getrandbits(k)

    @property
    def gauss_next(self) -> Any:
        """Half of a pair of numbers that `gauss` has drawn and not given out yet."""
        who = here.thread
        return self.__dict__.get("gauss_next") if who is None else who.random.gauss_next

    @gauss_next.setter
    def gauss_next(self, value: Any) -> None:
        who = here.thread
        if who is None:
            self.__dict__["gauss_next"] = value
        else:
            who.random.gauss_next = value


def _of_own(real: Any) -> Any:
    """A method that the random module's hidden instance hands on to the source of the program that calls."""

    def method(self: random.Random, *args: Any) -> Any:
        who = here.thread
        if args:
            sources.mark_as_seeded(self)
        return real(self if who is None or type(self) is not _EachHasItsOwn else who.random, *args)

    return method


def _seed(real: Any) -> Any:
    """A source of chance that is given no seed takes one from the seed of the program."""

    def seed(self: random.Random, a: Any = None, version: int = 2) -> None:
        who = here.thread
        if who is not None:
            if type(self) is _EachHasItsOwn:
                self = who.random
            else:
                sources.mark_as_seeded(self)
            if a is None:
                a = who.random.getrandbits(64)
        real(self, a, version)

    return seed


# ---------------------------------------------------------------- methods of classes
def _now(real: Any) -> Any:
    def now(cls: type, tz: datetime_module.tzinfo | None = None) -> Any:
        who = here.thread
        return real.__get__(None, cls)(tz) if who is None else _moment(who, tz, cls)

    return classmethod(now)


def _utcnow(real: Any) -> Any:
    def utcnow(cls: type) -> Any:
        who = here.thread
        return real.__get__(None, cls)() if who is None else _moment(who, datetime_module.UTC, cls).replace(tzinfo=None)

    return classmethod(utcnow)


def _today(real: Any) -> Any:
    def today(cls: Any) -> Any:
        who = here.thread
        if who is None:
            return real.__get__(None, cls)()
        if issubclass(cls, datetime_module.datetime):
            return cls.now()
        moment = _moment(who, None)
        return cls(moment.year, moment.month, moment.day)

    return classmethod(today)


_METHODS: Final[list[tuple[type, str, Wrapper]]] = [
    (datetime_module.datetime, "now", _now),
    (datetime_module.datetime, "utcnow", _utcnow),
    (datetime_module.date, "today", _today),
]


def _moment(who: InVirtualTime, tz: datetime_module.tzinfo | None, cls: Any = datetime_module.datetime) -> Any:
    """Virtual now, to the microsecond; without a zone in the local one, as the real function does."""
    span = datetime_module.timedelta(microseconds=who.now_ns() // 1000)
    moment = datetime_module.datetime(1970, 1, 1, tzinfo=datetime_module.UTC) + span
    moment = moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)
    return moment if cls is datetime_module.datetime else cls.combine(moment.date(), moment.timetz())
