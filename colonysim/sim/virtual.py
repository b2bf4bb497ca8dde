"""Virtual time and seeded chance for the programs of a simulation, and for nobody else.

While any program exists the clock, sleep and random functions of the standard library are replaced by ones
that ask who calls: a program sees its own, every other thread what it always saw. Names that modules have
imported (`from time import sleep`) are found and replaced as well; afterwards all is as it was.
"""

from __future__ import annotations

import builtins
import datetime as datetime_module
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final, Protocol

SECOND_NS: Final = 1_000_000_000
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

RealDatetime: Final = datetime_module.datetime
RealDate: Final = datetime_module.date


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


def install() -> None:
    """Replace the functions, unless somebody has done so already; `uninstall` must follow."""
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            _stand_ins.update(_replacements())
            _patch(_stand_ins)


def uninstall() -> None:
    """Put everything back once nobody needs it any more, in modules that have been imported meanwhile too."""
    global _users
    with _lock:
        _users -= 1
        if _users == 0:
            _patch({id(virtual): (virtual, real) for real, virtual in _stand_ins.values()})
            _stand_ins.clear()


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
        (os.urandom, _urandom(os.urandom)),
        (builtins.__import__, _import(builtins.__import__)),
        (RealDatetime, _Datetime),
        (RealDate, _Date),
    ]
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


class _Alike(type):
    """Makes a stand-in for a class pass for it: instances are those of the real one."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, cls.__mro__[1])

    def __subclasscheck__(cls, other: type) -> bool:
        return issubclass(other, cls.__mro__[1])


class _Datetime(datetime_module.datetime, metaclass=_Alike):
    """`datetime` whose now is that of the program that asks."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return RealDatetime(*args, **kwargs)

    @classmethod
    def now(cls, tz: datetime_module.tzinfo | None = None) -> Any:
        who = here.inhabitant
        return RealDatetime.now(tz) if who is None else _moment(who, tz)

    @classmethod
    def utcnow(cls) -> Any:
        who = here.inhabitant
        if who is None:
            return RealDatetime.now(datetime_module.UTC).replace(tzinfo=None)
        return _moment(who, datetime_module.UTC).replace(tzinfo=None)

    @classmethod
    def today(cls) -> Any:
        return cls.now()


class _Date(datetime_module.date, metaclass=_Alike):
    """`date` whose today is that of the program that asks."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        return RealDate(*args, **kwargs)

    @classmethod
    def today(cls) -> Any:
        who = here.inhabitant
        return RealDate.today() if who is None else _moment(who, None).date()


def _moment(who: Inhabitant, tz: datetime_module.tzinfo | None) -> datetime_module.datetime:
    """Virtual now, to the microsecond; without a zone in the local one, as the real function does."""
    micros = who.now_ns() // 1000
    moment = RealDatetime(1970, 1, 1, tzinfo=datetime_module.UTC) + datetime_module.timedelta(microseconds=micros)
    return moment.astimezone(tz) if tz is not None else moment.astimezone().replace(tzinfo=None)
