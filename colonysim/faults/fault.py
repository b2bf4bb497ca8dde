"""The base class of all faults, and one strike of a fault.

A fault is a struct: validated when it is created, and the same in Python, JSON and YAML. Each family adds
methods: `messages.py`, `actors.py`, `server.py` and `hazards.py`. A new fault is one class in one of these files, or in
a user's file (see docs/faults.md).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from random import Random
from typing import Any, ClassVar, Final, NamedTuple, Protocol

from msgspec.structs import replace

from colonysim.core.records import SECOND_NS
from colonysim.core.values import BadValue, Value
from colonysim.core.wording import show_count, show_exact, show_limit, show_list, show_times
from colonysim.extensions import BadCode, error_line
from colonysim.faults.own import LoadedKinds
from colonysim.faults.requests import RequestInfo
from colonysim.faults.triggers import Span, Times, When, fits
from colonysim.kernel import randomness
from colonysim.kernel.randomness import AnyOffset

_ID_LIKE: Final = re.compile(r"[0-9a-f*?\[\]!]+\Z")


class Hit:
    """One strike of a fault: its random numbers and its time.

    `now_ns` is the virtual time of the server in nanoseconds since 1970. Random numbers depend only on the seed, the
    fault's name and the number of its strikes before.
    """

    def __init__(self, seed: int, fault: str, number: int, now_ns: int) -> None:
        self._seed = seed
        self._strike = f"fault/{fault}/strike/{number}"
        self.now_ns = now_ns

    def span_ns(self, span: Span) -> int:
        """Draw a span, in nanoseconds: the same however often it is asked for during one strike."""
        if isinstance(span, (int, float)):
            return round(span * SECOND_NS)
        return randomness.drawer(span, randomness.source(self._seed, self._strike))(None)

    def offset_ns(self, offset: AnyOffset, field: str) -> int:
        """Draw an offset, in nanoseconds, below 0 for behind; `field` is the name of the fault's field that has it."""
        if isinstance(offset, (int, float)):
            return round(offset * SECOND_NS)
        return randomness.draw_offset(offset, randomness.source(self._seed, f"{self._strike}/{field}"))

    @cached_property
    def random(self) -> Random:
        """The random numbers for all other decisions of the fault in this strike."""
        return randomness.source(self._seed, f"{self._strike}/random")


class Strike(NamedTuple):
    """One strike as it was logged, `at_ns` nanoseconds after the start of the run.

    `actor`: the actor hit, or the caller of the request hit, which has type `type_name`. `spans_ns`: what was drawn, by
    the name of the fault's field without its unit (`for`, `down`), in nanoseconds.
    """

    fault: str
    at_ns: int
    actor: str
    type_name: str = ""
    spans_ns: tuple[tuple[str, int], ...] = ()

    @property
    def at_s(self) -> float:
        """Seconds after the start of the run."""
        return self.at_ns / SECOND_NS

    @property
    def spans_s(self) -> dict[str, float]:
        """What was drawn, in seconds, by the name of the fault's field."""
        return {f"{name}_s": span_ns / SECOND_NS for name, span_ns in self.spans_ns}


class KnownParts(Protocol):
    """The parts of a scenario, as far as known before a run. Executors and programs: (name, executor type)."""

    @property
    def colony(self) -> str: ...

    @property
    def executors(self) -> Sequence[tuple[str, str]]: ...

    @property
    def programs(self) -> Sequence[tuple[str, str]]:
        """Programs may send any request."""

    @property
    def users(self) -> Sequence[str]: ...

    @property
    def requests(self) -> Sequence[RequestInfo]:
        """One request of each kind that executors and users send."""


class Fault(Value, frozen=True, kw_only=True, omit_defaults=True, tag_field="kind"):
    """Base of all faults. `name` is unique in a run, and its random numbers derive from it.

    A fault without a name is named after its kind. `enabled=False` keeps it from striking.
    """

    name: str = ""
    enabled: bool = True

    decides: ClassVar[tuple[str, ...]] = ()
    """Methods of a family; each kind must override at least one."""
    lasts: ClassVar[str] = ""
    """The name of the field with the length of the effect of a strike, if there is one."""
    is_on_while_it_lasts: ClassVar[bool] = True
    """Whether reports and checks count it as on for the span in that field."""
    counts_messages: ClassVar[bool] = False
    """Whether each message that it loses counts as a strike, instead of each time that it begins."""

    @property
    def kind(self) -> str:
        """The kind in logs and reports: the tag of its class, or the name of a class without a tag."""
        kind = type(self)
        tag = kind.__struct_config__.tag
        inherits = any(base.__struct_config__.tag == tag for base in kind.__bases__ if issubclass(base, Fault))
        return kind.__name__ if inherits else str(tag)

    @property
    def trigger(self) -> When | Times | None:
        """The trigger that decides when it strikes."""
        return None

    @property
    def window(self) -> When | None:
        """The window in which it is on, if it has one."""
        return None

    @property
    def strikes_by_itself(self) -> bool:
        """Whether it strikes without a request or step; it then needs an end."""
        return True

    @property
    def ends(self) -> bool:
        """Whether it has an end."""
        return self.trigger is not None and self.trigger.ends

    # ------------------------------------------------------------ what warnings need
    def never_strikes(self, known: KnownParts, storm_s: float) -> str:
        """Return why it can never strike in a storm of `storm_s` seconds; "" if it can."""
        return _never_in_time(self.trigger, storm_s) or self.concerns_nobody(known)

    def concerns_nobody(self, known: KnownParts) -> str:
        """Return why it concerns no actor and no request of a scenario; "" if it may concern one."""
        return ""

    def changes_nothing(self, known: KnownParts) -> str:
        """Return why its strikes have no effect, such as "for_s is 0"; "" if they may have one."""
        return ""

    def why_idle(self, seen: int, struck: int) -> str:
        """Return why it has had no effect so far, after `seen` opportunities and `struck` strikes that were due."""
        return "its time did not come, or nothing that it could harm happened then"

    # ------------------------------------------------------------ what shrinking needs
    def at_fixed_times(self, strikes: Sequence[Strike]) -> tuple[Fault, ...] | None:
        """Return faults without chance that strike as this one did; None if its kind does not allow that."""
        return None

    def named_after(self, strike: Strike) -> str:
        """Return a name for a fault that repeats one strike, unique among the strikes of a run."""
        words = [self.name, "at", f"{strike.at_s:.9g}", strike.type_name, strike.actor]
        return " ".join(word for word in words if word)

    def __reduce__(self) -> Any:
        """Pickle a fault whose class is in a user's file by the name of the file."""
        if FAULTS.is_from_file(type(self)):
            return _unpickled, (FAULTS.name_of(self), {name: getattr(self, name) for name in self.__struct_fields__})
        return super().__reduce__()

    def with_spans_of(self, strike: Strike, **changed: object) -> Fault:
        """Return this fault with the spans that a strike has drawn, and with other changes."""
        drawn = {name: span_s for name, span_s in strike.spans_s.items() if name in self.__struct_fields__}
        return replace(self, name=self.named_after(strike), **drawn, **changed)


FAULTS: Final = LoadedKinds(Fault, "faults", "faults")
"""The registry of faults; `@FAULTS.kind` registers a class."""


@contextmanager
def asking(fault: Fault, method: str) -> Iterator[None]:
    """Raise errors in methods of a user's fault as BadCode, in one line."""
    try:
        yield
    except BadCode:
        raise
    except Exception as error:
        if FAULTS.has(fault):
            raise
        raise BadCode(f"fault {fault.name!r}: {fault.kind}.{method} raises {error_line(error)}") from error


def _unpickled(kind: str, fields: dict[str, Any]) -> Fault:
    return FAULTS.class_of(kind)(**fields)


def check_kind(fault: Fault) -> None:
    """Raise BadValue for a user's fault that could do nothing."""
    kind = type(fault)
    if FAULTS.has(fault):
        return
    family: Any = next((base for base in kind.__mro__ if vars(base).get("decides")), None)
    if family is None:
        raise BadValue(f"{kind.__name__} belongs to no family: derive it from MessageFault, ActorFault or ServerFault")
    methods = family.decides
    if all(getattr(kind, method) is getattr(family, method) for method in methods):
        raise BadValue(f"{kind.__name__} does nothing: override {' or '.join(methods)}")


def check_end(fault: Fault) -> None:
    """Raise BadValue for a fault that strikes repeatedly and has no end."""
    if fault.strikes_by_itself and not fault.ends:
        raise BadValue(f"fault {fault.name or fault.kind!r} has no end: give it until_s or count, or the plan until_s")


# ---------------------------------------------------------------- texts of warnings
def _never_in_time(trigger: When | Times | None, storm_s: float) -> str:
    """Return why the time of a fault never comes; "" if it may."""
    if trigger is None:
        return ""
    if isinstance(trigger, When) and trigger.probability == 0:
        return "its probability is 0"
    first_s = trigger.earliest_s
    end_s = storm_s if trigger.until_s is None else min(storm_s, trigger.until_s)
    if first_s < end_s:
        return ""
    over = f"the storm is over after {show_limit(storm_s)}" if end_s == storm_s else f"until_s is {show_exact(end_s)}"
    return f"it would strike after {show_limit(first_s)} at the earliest, and {over}"


def no_such_actor(
    patterns: str | tuple[str, ...], executor_type: str, known: Sequence[tuple[str, str]], what: str
) -> str:
    """Return why a fault concerns none of the known (name, executor type); `what`: what to call them in the text."""
    called = [one for one in known if fits(patterns, one[0])]
    if not called:
        return f"no {what} is called {one_of(patterns)}; the names are {show_list(name for name, _ in known)}"
    if executor_type and all(one[1] != executor_type for one in called):
        types = show_list(dict.fromkeys(one[1] or "none" for one in called))
        return f"no {what} that it is about is of type {executor_type!r}; their types are {types}"
    return ""


def why_no_chance(when: When, seen: int, struck: int, what: str, missing: str) -> str:
    """Return why a fault with this trigger has not struck. `what`: what it counts; `missing`: the text if none came."""
    if not seen:
        return f"no {what} {missing} in its time"
    if struck:
        return f"it would have struck {show_times(struck)}, and another fault decided each time"
    if when.probability < 1:
        return f"of {show_count(seen, what)} that it is about none was drawn, at a probability of {when.probability:g}"
    return f"only {show_count(seen, what)} that it is about came, too few for its nth or every"


def may_be_ids(patterns: str | tuple[str, ...]) -> bool:
    """Return whether a pattern may match ids, which depend on the seed, so that only the run shows what it matches."""
    listed = (patterns,) if isinstance(patterns, str) else patterns
    return any(_ID_LIKE.match(pattern) for pattern in listed)


def one_of(patterns: str | tuple[str, ...]) -> str:
    """Return patterns as a warning lists them: `'a' or 'b'`."""
    listed = (patterns,) if isinstance(patterns, str) else patterns
    return " or ".join(map(repr, listed)) or "so"


def is_zero(span: Span) -> bool:
    """Return whether a span is always 0."""
    return randomness.distribution(span).is_zero
