"""Scheduling policies: pure functions that order the waiting processes. The setting `policy` selects one by its name.

A policy ranks a process when it starts to wait. The lowest rank is assigned first; ties are broken by order of
submission. Policies do not decide which processes an executor may run.

To add one, write a function, decorated with `@policy`, and once more in invariants/ranking.py, which checks it.
Users may add their own, which rank by the process alone: see `add_own`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from colonysim.core.records import SECOND_NS, Process
from colonysim.core.types import FunctionSpec

LAST: Final = 2**62
"""Added to the rank of processes that a policy cannot rank: they come last, in the reference's order."""

EXPECTED: Final = "expected_s"
"""The keyword argument in which a process may state its expected run time in seconds."""


class Shares:
    """The last turn of each submitter, for policies that take turns. `turn` is the one being served."""

    def __init__(self) -> None:
        self.turn = 0
        self.last_turns: dict[tuple[str, str], int] = {}


Rank = Callable[[Process, Shares], int]


def _knows_all(spec: FunctionSpec) -> bool:
    return True


class Policy(NamedTuple):
    """A policy: how it ranks a process, and whether a spec states what it ranks by.

    Processes that do not state that come last, in the reference's order; `wants` names it, for the warning that no
    process does. `is_given`: a user's function that was passed in Python, not found by its name.
    """

    rank: Rank
    knows: Callable[[FunctionSpec], bool] = _knows_all
    wants: str = ""
    is_given: bool = False


POLICIES: Final[dict[str, Policy]] = {}
"""The policies that come with colonysim, by name."""

_own: Final[dict[str, Policy]] = {}


def policy(knows: Callable[[FunctionSpec], bool] = _knows_all, wants: str = "") -> Callable[[Rank], Rank]:
    """Register the function that is decorated, which comes with colonysim, under its name."""

    def register(rank: Rank) -> Rank:
        POLICIES[rank.__name__] = Policy(rank, knows, wants)
        return rank

    return register


def _has_deadline(spec: FunctionSpec) -> bool:
    return spec.maxwaittime > 0


def _has_length(spec: FunctionSpec) -> bool:
    return _expected_s(spec) is not None


def _expected_s(spec: FunctionSpec) -> float | None:
    expected_s: Any = (spec.kwargs or {}).get(EXPECTED)
    if not isinstance(expected_s, (int, float)) or isinstance(expected_s, bool) or not 0 <= expected_s < LAST / 1e9:
        expected_s = spec.maxexectime
        if expected_s <= 0:
            return None
    return expected_s  # type: ignore[no-any-return]


@policy()
def reference(process: Process, shares: Shares) -> int:
    """First come, first served; each step of priority counts as a day of waiting (docs/protocol/b-processes.md 4.3)."""
    return process.priority_time_ns


@policy(_has_deadline, "maxwaittime")
def deadline(process: Process, shares: Shares) -> int:
    """Earliest deadline first, by the end of `maxwaittime`; processes without one come last."""
    if process.spec.maxwaittime > 0:
        return process.wait_deadline_ns
    return LAST + process.priority_time_ns


@policy()
def fair(process: Process, shares: Shares) -> int:
    """Round-robin over submitters: a heavy submitter delays only itself."""
    return max(shares.turn, shares.last_turns.get((process.colony, process.initiator_id), -1) + 1)


@policy(_has_length, "maxexectime or the keyword argument expected_s")
def shortest(process: Process, shares: Shares) -> int:
    """Shortest expected run time first: `expected_s`, else `maxexectime`; processes without either come last."""
    expected_s = _expected_s(process.spec)
    return LAST + process.priority_time_ns if expected_s is None else int(expected_s * SECOND_NS)


# ---------------------------------------------------------------- users' own
class BadPolicy(ValueError):
    """A user's policy has failed to rank a process. The text names the policy and says what is wrong."""


class OwnRank:
    """Ranks by a user's function, which takes a process and returns a whole number. Raises BadPolicy."""

    def __init__(self, name: str, function: Callable[[Process], Any]) -> None:
        self.name = name
        self.function = function

    def __call__(self, process: Process, shares: Shares) -> int:
        try:
            rank = self.function(process)
        except Exception as error:
            raise BadPolicy(f"policy {self.name} raises {type(error).__name__}: {error} ({_place(error)})") from error
        if type(rank) is not int or not -LAST < rank < LAST:
            raise BadPolicy(
                f"policy {self.name} returns {rank!r} for process {process.process_id}; return a whole number "
                f"between -2**62 and 2**62, such as process.submitted_ns or round(seconds * 1e9)"
            )
        return rank


def _place(error: Exception) -> str:
    """Return the file and line in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno}"


def add_own(name: str, function: Callable[[Process], Any], is_given: bool = False) -> None:
    """Register a user's policy under a name in this process, for worlds that are created later."""
    _own[name] = Policy(OwnRank(name, function), is_given=is_given)


def name_of(function: Any) -> str:
    """Return the name of a function that was passed in Python as a policy: `module:function`."""
    name = f"{function.__module__}:{getattr(function, '__qualname__', type(function).__qualname__)}"
    add_own(name, function, is_given=True)
    return name


def policy_of(name: str) -> Policy | None:
    """Return the policy of a name; None if there is none in this process."""
    return POLICIES.get(name) or _own.get(name)


def wrong_policy(name: str) -> str:
    """Return why a policy name is invalid; "" if it is valid."""
    if policy_of(name) is not None:
        return ""
    return f"must be {' or '.join(POLICIES)}, or your own: a function in Python, file.py:function in a scenario"
