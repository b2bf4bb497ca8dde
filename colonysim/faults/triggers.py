"""Which requests a fault is about, and when it strikes: the parts that all faults are made of."""

from __future__ import annotations

import difflib
import fnmatch
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import force_setattr

from colonysim.core.engine import OPERATIONS
from colonysim.core.values import BadValue, Value
from colonysim.core.wording import show_exact
from colonysim.kernel.randomness import AnySpan, NotNegative, Positive, Probability, distribution

Names = str | tuple[str, ...]
"""One name or several; `*` and `?` stand for any text and any character."""

Role = Literal["", "executor", "user", "colony_owner", "server_owner", "unknown"]
"""What a caller is to the server; "" fits everybody."""

Span = AnySpan
"""Seconds: a number, `[least, most]`, or a distribution."""

BadFault = BadValue
"""The error of an invalid fault: the same as of any other value with limits."""

FaultNumber = Annotated[int, Meta(ge=1, le=1_000_000_000)]
"""A count in a fault."""


def check_window(value: Any) -> None:
    """Refuse a window that ends before it begins: fields `from_s` and `until_s`. Errors: BadValue."""
    if value.until_s is not None and value.until_s <= value.from_s:
        raise value.refused("until_s", f"must be later than from_s={show_exact(value.from_s)}")


def as_names(value: Value, *fields: str) -> None:
    """Replace a single name in each of these fields by a tuple of one, and "" by none."""
    for field in fields:
        if isinstance(given := getattr(value, field), str):
            force_setattr(value, field, (given,) if given else ())


# ---------------------------------------------------------------- match
class Match(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Which requests a fault is about; a field that is left out fits everything. In names, `*` and `?` are wild cards.

    `types` are names on the wire, `callers` names of executors, users and programs, or ids; `role` is what the
    caller is to the server, `executor_type` its type where it is an executor.
    """

    types: Names = ()
    colony: str = ""
    callers: Names = ()
    role: Role = ""
    executor_type: str = ""

    def check(self) -> None:
        as_names(self, "types", "callers")
        for pattern in self.types:
            check_type(self, "types", pattern)


def check_type(value: Value, field: str, pattern: str) -> None:
    """Refuse a name or pattern that no message type has. Errors: BadValue."""
    if not fnmatch.filter(OPERATIONS, pattern):
        near = difflib.get_close_matches(pattern, OPERATIONS, 1) or ["assignprocessmsg"]
        raise value.refused(field, f"there is no message type {pattern!r}; did you mean {near[0]!r}?")


def fits(patterns: Names, *texts: str) -> bool:
    """Return whether one of the texts fits one of the patterns; no patterns fit everything."""
    wanted = (patterns,) if isinstance(patterns, str) else patterns
    return not wanted or any(text == p or fnmatch.fnmatchcase(text, p) for p in wanted for text in texts if text)


# ---------------------------------------------------------------- trigger
class After(Value, frozen=True, kw_only=True, omit_defaults=True):
    """A moment: `wait_s` after `count` requests of a type have been answered with a status. `wait_s` is drawn once."""

    type: str
    status: int = 200
    count: FaultNumber = 1
    wait_s: Span = 0.0

    def check(self) -> None:
        check_type(self, "type", self.type)


class When(Value, frozen=True, kw_only=True, omit_defaults=True):
    """Which of the matching requests, or steps of an actor, are hit. All that is given must hold.

    `first` n of them, the `nth`, or `every` nth, counted within the window and from `after` on; of those
    each with `probability`.
    """

    probability: Probability = 1.0
    first: FaultNumber | None = None
    nth: FaultNumber | None = None
    every: FaultNumber | None = None
    from_s: NotNegative = 0.0
    until_s: NotNegative | None = None
    after: After | None = None

    def check(self) -> None:
        check_window(self)
        if self.nth is not None and (self.first is not None or self.every is not None):
            raise self.refused("nth", "nth cannot be combined with first or every; leave them out")

    @property
    def ends(self) -> bool:
        """Whether there is a last strike."""
        return self.until_s is not None or self.first is not None or self.nth is not None

    @property
    def earliest_s(self) -> float:
        """When it may strike first, in seconds since the start of the run."""
        return max(self.from_s, _wait_s(self.after))


class Times(Value, frozen=True, kw_only=True, omit_defaults=True):
    """When a fault strikes by itself: at given times, in fixed or random intervals, or after times between failures.

    All in seconds from the start of the run, or from `after` on. Times before the fault was added are left out.
    `count` is the largest number of strikes. With `mtbf_s`, each actor that the fault is about fails on its own: the
    span is drawn for each actor, from the end of the effect of its last strike (its repair) to its next one.
    """

    at_s: NotNegative | tuple[NotNegative, ...] = ()
    every_s: Positive | None = None
    mean_every_s: Positive | None = None
    mtbf_s: Span | None = None
    count: FaultNumber | None = None
    from_s: NotNegative = 0.0
    until_s: NotNegative | None = None
    after: After | None = None

    def check(self) -> None:
        if not isinstance(self.at_s, tuple):
            force_setattr(self, "at_s", (float(self.at_s),))
        check_window(self)
        given = (self.at_s or None, self.every_s, self.mean_every_s, self.mtbf_s)
        if sum(one is not None for one in given) != 1:
            raise BadValue("times need one of at_s, every_s, mean_every_s and mtbf_s")
        if self.mtbf_s is not None and distribution(self.mtbf_s).is_zero:
            raise self.refused("mtbf_s", "must not always be 0: it would strike without end at one time")

    @property
    def ends(self) -> bool:
        """Whether there is a last strike."""
        return bool(self.at_s) or self.count is not None or self.until_s is not None

    @property
    def earliest_s(self) -> float:
        """When it may strike first, in seconds since the start of the run."""
        first_s = self.from_s
        if self.every_s is not None:
            first_s += self.every_s
        elif self.mtbf_s is not None:
            first_s += distribution(self.mtbf_s).least_s
        elif self.at_s:
            assert isinstance(self.at_s, tuple)
            first_s = min(self.at_s)
        return max(first_s, _wait_s(self.after))


def _wait_s(after: After | None) -> float:
    return 0.0 if after is None else distribution(after.wait_s).least_s
