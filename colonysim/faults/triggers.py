"""Which requests a fault is about, and when it strikes: the parts that faults are made of (see faults.py)."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Final, Literal

import msgspec
from msgspec.structs import force_setattr

from colonysim.core.engine import OPERATIONS

Names = str | tuple[str, ...]
"""One name or several; `*` and `?` stand for any text and any character."""

Span = float | tuple[float, float]
"""Seconds: a number, or the least and the most of an even distribution."""

MOST: Final = 1e9
"""The largest number in a fault; as seconds it is some 30 years."""

Role = Literal["", "executor", "user", "colony_owner", "server_owner", "unknown"]


class BadFault(ValueError):
    """A fault that makes no sense. The text names the field, its value, and what would do."""


class Checked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Checks its fields when it is made, wherever it comes from."""

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if isinstance(value := getattr(self, name), list):  # as Python code may well have it
                force_setattr(self, name, tuple(value))
        self.check()

    def check(self) -> None:
        """Errors: BadFault."""

    def _refuse(self, field: str, fix: str) -> BadFault:
        return BadFault(f"{field}={getattr(self, field)!r} cannot be: {fix}")

    def _at_least(self, least: float, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not value >= least:
                raise self._refuse(field, f"it must be {least:g} or more")
        self._at_most(MOST, *fields)

    def _at_most(self, most: float, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not abs(value) <= most:  # nor anything that is no number
                raise self._refuse(field, f"it must be a number of {most:g} at most")

    def _positive(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            if value is not None and not value > 0:
                raise self._refuse(field, "it must be greater than 0")
        self._at_most(MOST, *fields)

    def _chance(self, field: str) -> None:
        if not 0 <= getattr(self, field) <= 1:
            raise self._refuse(field, "a probability lies between 0 and 1; write 0.05 for 5 %")

    def _span(self, *fields: str) -> None:
        for field in fields:
            value = getattr(self, field)
            bounds = value if isinstance(value, tuple) else (value, value)
            numbers = len(bounds) == 2 and all(isinstance(bound, (int, float)) for bound in bounds)
            if value is not None and not (numbers and 0 <= bounds[0] <= bounds[1] <= MOST):
                raise self._refuse(field, f"give seconds, 0 or more and {MOST:g} at most, or [least, most]")

    def _names(self, field: str) -> None:
        """One name is a list of one."""
        value = getattr(self, field)
        if isinstance(value, str):
            force_setattr(self, field, (value,) if value else ())

    def _window(self) -> None:
        self._at_least(0, "from_s", "until_s")
        from_s, until_s = getattr(self, "from_s", 0.0), getattr(self, "until_s", None)
        if until_s is not None and until_s <= from_s:
            raise self._refuse("until_s", f"it must be later than from_s={from_s:g}")


# ---------------------------------------------------------------- match
class Match(Checked, frozen=True, kw_only=True):
    """Which requests a fault is about; what is left out fits everything. See Names for wild cards.

    `types` are names on the wire, `callers` names of executors, users and programs, or ids; `role` is what the
    caller is to the server, `executor_type` its type where it is an executor.
    """

    types: Names = ()
    colony: str = ""
    callers: Names = ()
    role: Role = ""
    executor_type: str = ""

    def check(self) -> None:
        self._names("types")
        self._names("callers")
        for pattern in self.types:
            check_type("types", pattern)


def check_type(field: str, pattern: str) -> None:
    """Errors: BadFault for the name of a message that there is not."""
    if not fnmatch.filter(OPERATIONS, pattern):
        near = difflib.get_close_matches(pattern, OPERATIONS, 1) or ["assignprocessmsg"]
        raise BadFault(f"{field}={pattern!r} cannot be: there is no such message type; perhaps {near[0]!r} is meant")


def fits(patterns: Names, *texts: str) -> bool:
    """Whether one of the texts fits one of the patterns; no patterns fit everything."""
    wanted = (patterns,) if isinstance(patterns, str) else patterns
    return not wanted or any(text == p or fnmatch.fnmatchcase(text, p) for p in wanted for text in texts if text)


# ---------------------------------------------------------------- trigger
class After(Checked, frozen=True, kw_only=True):
    """Once so many requests of a type have been answered with a status, and `wait_s` has passed."""

    type: str
    status: int = 200
    count: int = 1
    wait_s: float = 0.0

    def check(self) -> None:
        self._at_least(1, "count")
        self._at_least(0, "wait_s")
        check_type("type", self.type)


class When(Checked, frozen=True, kw_only=True):
    """Which of the matching requests, or steps of an actor, are hit. All that is given must hold.

    `first` n of them, the `nth`, or `every` nth, counted within the window and from `after` on; of those
    each with `probability`.
    """

    probability: float = 1.0
    first: int | None = None
    nth: int | None = None
    every: int | None = None
    from_s: float = 0.0
    until_s: float | None = None
    after: After | None = None

    def check(self) -> None:
        self._chance("probability")
        self._at_least(1, "first", "nth", "every")
        self._window()
        if self.nth is not None and (self.first is not None or self.every is not None):
            raise self._refuse("nth", "the nth is one alone; leave out first and every")

    @property
    def ends(self) -> bool:
        return self.until_s is not None or self.first is not None or self.nth is not None


class Times(Checked, frozen=True, kw_only=True):
    """When something happens by itself: at given times, every so often, or by chance so often on average.

    Counted from the start of the run, or from `after` on; what was before a fault came does not happen. `count` is
    how often at most.
    """

    at_s: float | tuple[float, ...] = ()
    every_s: float | None = None
    mean_every_s: float | None = None
    count: int | None = None
    from_s: float = 0.0
    until_s: float | None = None
    after: After | None = None

    def check(self) -> None:
        if isinstance(self.at_s, (int, float)):
            force_setattr(self, "at_s", (float(self.at_s),))
        self._positive("every_s", "mean_every_s")
        self._at_least(1, "count")
        self._window()
        assert isinstance(self.at_s, tuple)
        if any(not 0 <= at <= MOST for at in self.at_s):
            raise self._refuse("at_s", f"times are 0 or more seconds after the start, {MOST:g} at most")
        if bool(self.at_s) + (self.every_s is not None) + (self.mean_every_s is not None) != 1:
            raise BadFault("times need one of at_s, every_s and mean_every_s")

    @property
    def ends(self) -> bool:
        return bool(self.at_s) or self.count is not None or self.until_s is not None
