"""Sources of chance and clocks that a program may find outside of it: they give it numbers from the seed all the same.

A `random.Random` that was made before draws for each life of a program from a source of that life. Generators of numpy
that were made before start from the seed with each life, and `numpy.datetime64("now")` reads the virtual clock.
"""

from __future__ import annotations

import _random
import datetime
import gc
import importlib
import os
import random
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from colonysim.stdlib import inplace
from colonysim.stdlib.here import here

_SIMULATION: Final = "_seeded_in_simulation"
"""In the dictionary of a source: the programs of the simulation in which a program has seeded it."""
_generators: Final[list[tuple[Any, Any]]] = []
"""The bit generators of numpy that were made before the programs, each with its state then."""


class Twin(random.Random):
    """A source that draws in place of another one, with the methods of its own."""

    random = _random.Random.random
    getrandbits = _random.Random.getrandbits


def mark_as_seeded(source: random.Random) -> None:
    """Note that the program which calls has seeded a source: from now on its numbers are its own."""
    if here.thread is not None:
        vars(source)[_SIMULATION] = here.thread.program.all


def _draw(real: Any) -> Callable[..., Any]:
    name = real.__name__

    def draw(self: Any, *args: Any) -> Any:
        who = here.thread
        if who is None or getattr(self, _SIMULATION, None) is who.program.all:
            return real(self, *args)
        twins = who.program.names.twins
        if id(self) not in twins:
            twins[id(self)] = self, Twin(who.program.names.random.getrandbits(64))
            with suppress(AttributeError):
                self.gauss_next = None  # half of a pair of numbers that is left from before
        return getattr(twins[id(self)][1], name)(*args)

    return draw


# ---------------------------------------------------------------- numpy
def _made_before(numpy_random: Any) -> list[Any]:
    return [one for one in gc.get_objects() if issubclass(type(one), numpy_random.BitGenerator)]


def numpy_is_loaded() -> bool:
    """Whether numpy is there, and has been imported to its end."""
    numpy = sys.modules.get("numpy")
    return numpy is not None and not vars(numpy.__spec__).get("_initializing")


def take_numpy() -> list[inplace.Undo]:
    """Take over the chance and the clock of numpy, which is loaded; what is returned puts them back."""
    made_before = _made_before(importlib.import_module("numpy.random"))
    _generators[:] = [(generator, generator.state) for generator in made_before]
    datetime64: Any = vars(sys.modules["numpy"])["datetime64"]
    return [_put_back, inplace.replace_new(datetime64, _at_a_time)]


def _put_back() -> None:
    for generator, state in _generators:
        generator.state = state
    _generators.clear()


def seed_numpy(seed: int) -> None:
    """Seed `numpy.random` and the generators that were made before."""
    numpy_random: Any = sys.modules["numpy.random"]
    for generator, _ in _generators:
        generator.state = type(generator)(seed).state
    numpy_random.seed(seed)


def _at_a_time(real: Any) -> Callable[..., Any]:
    """Read `now` and `today` as the virtual time."""

    def new(cls: Any, value: Any = None, *args: Any, **kwargs: Any) -> Any:
        who = here.thread
        if who is not None and isinstance(value, (str, bytes)):
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            if text.lower() == "now":
                value = datetime.datetime.now(datetime.UTC).replace(tzinfo=None).isoformat(timespec="seconds")
            elif text.lower() == "today":
                value = datetime.date.today().isoformat()
        given = () if value is None and not args else (value, *args)
        return real(cls, given, kwargs)

    return new


# ---------------------------------------------------------------- chance of the operating system
def _system_chance(real: Any) -> Callable[..., bytes]:
    def draw(size: int, *args: Any, **kwargs: Any) -> bytes:
        who = here.thread
        drawn: bytes = real(size, *args, **kwargs) if who is None else who.random.randbytes(size)
        return drawn

    return draw


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    undo = [inplace.replace_method(_random.Random, name, _draw) for name in ("random", "getrandbits")]
    if hasattr(os, "getrandom"):
        undo.append(inplace.replace_function(os.getrandom, _system_chance))
    with suppress(ImportError):
        import _ssl

        undo.append(inplace.replace_function(_ssl.RAND_bytes, _system_chance))
    return undo
