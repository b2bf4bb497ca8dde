"""Scheduling policies: pure functions that order the waiting processes. The setting `policy` selects one by its name.

A policy ranks a process when it starts to wait. The lowest rank is assigned first; ties are broken by order of
submission. Policies do not decide which processes an executor may run.

To add one, write a function, decorated with `@policy`, and once more in invariants/ranking.py, which checks it.
Users may add their own, which rank by the process, and if they want by the state of policies: see `add_own`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any, Final, NamedTuple

from colonysim.core.records import SECOND_NS, Process
from colonysim.core.shares import Rules, Shares, cpus_of
from colonysim.core.types import FunctionSpec

LAST: Final = 2**62
"""Added to the rank of processes that a policy cannot rank: they come last, in the reference's order."""

EXPECTED: Final = "expected_s"
"""The keyword argument in which a process may state its expected run time in seconds."""


Rank = Callable[[Process, Shares], int]


def _knows_all(spec: FunctionSpec) -> bool:
    return True


def _tells_all(processes: Iterable[Process], rules: Rules) -> str:
    return ""


USER_POLICIES: Final = ("weighted_fair", "multifactor")
"""The policies that go by `user_weights`."""


class Policy(NamedTuple):
    """A policy: how it ranks a process, and whether a spec states what it ranks by.

    Processes that do not state that come last, in the reference's order; `wants` names it, for the warning that no
    process does. `alike`: why it could not tell the processes of a run apart; "" if it could. `counts`: whether it
    needs the counts of Shares. `is_given`: a user's function that was passed in Python, not found by its name.
    """

    rank: Rank
    knows: Callable[[FunctionSpec], bool] = _knows_all
    wants: str = ""
    alike: Callable[[Iterable[Process], Rules], str] = _tells_all
    counts: bool = False
    is_given: bool = False


POLICIES: Final[dict[str, Policy]] = {}
"""The policies that come with colonysim, by name."""

_own: Final[dict[str, Policy]] = {}


def policy(
    knows: Callable[[FunctionSpec], bool] = _knows_all,
    wants: str = "",
    alike: Callable[[Iterable[Process], Rules], str] = _tells_all,
    counts: bool = False,
) -> Callable[[Rank], Rank]:
    """Register the function that is decorated, which comes with colonysim, under its name."""

    def register(rank: Rank) -> Rank:
        POLICIES[rank.__name__] = Policy(rank, knows, wants, alike, counts)
        return rank

    return register


def _has_deadline(spec: FunctionSpec) -> bool:
    return spec.maxwaittime > 0


def _has_length(spec: FunctionSpec) -> bool:
    return expected_time(spec) is not None


def expected_time(spec: FunctionSpec) -> float | None:
    """Return the run time in seconds that a process states: `expected_s`, else `maxexectime`; None without either."""
    expected_s: Any = (spec.kwargs or {}).get(EXPECTED)
    if not isinstance(expected_s, (int, float)) or isinstance(expected_s, bool) or not 0 <= expected_s < LAST / 1e9:
        expected_s = spec.maxexectime
        if expected_s <= 0:
            return None
    return expected_s  # type: ignore[no-any-return]


def _users(processes: Iterable[Process]) -> list[str]:
    return list({(process.colony, process.initiator_id): process.initiator_name for process in processes}.values())


def _one_user(processes: Iterable[Process], rules: Rules) -> str:
    users = _users(processes)
    return f"{users[0]!r} submitted all of them" if len(users) == 1 else ""


def _one_of_all(processes: Iterable[Process], rules: Rules) -> str:
    """Return why only the age of processes counts for `multifactor`."""
    listed, weights = list(processes), rules.factor_weights
    differing = {
        "fair_share": len(_users(listed)),
        "size": len({cpus_of(process) for process in listed}),
        "priority": len({process.spec.priority for process in listed}),
    }
    if any(count > 1 and weights.get(factor) for factor, count in differing.items()):
        return ""
    given = [factor for factor in differing if weights.get(factor)]
    if not given:
        return "`factor_weights` gives a weight to no factor but the age"
    return f"they do not differ in any factor with a weight ({', '.join(given)})"


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


@policy(alike=_one_user)
def fair(process: Process, shares: Shares) -> int:
    """Round-robin over submitters: a heavy submitter delays only itself."""
    return max(shares.turn, shares.last_turns.get((process.colony, process.initiator_id), -1) + 1)


@policy(_has_length, "maxexectime or the keyword argument expected_s")
def shortest(process: Process, shares: Shares) -> int:
    """Shortest expected run time first: `expected_s`, else `maxexectime`; processes without either come last."""
    expected_s = expected_time(process.spec)
    return LAST + process.priority_time_ns if expected_s is None else int(expected_s * SECOND_NS)


@policy(alike=_one_user)
def weighted_fair(process: Process, shares: Shares) -> int:
    """Fair queueing by virtual finish times: a user with weight 3 gets three times the run time of one with weight 1.

    The rank is max(virtual time, rank of the user's last process) + expected run time / weight. The virtual time is the
    rank of the process that was assigned last (self-clocked fair queueing). A process without an expected run time
    counts as one second.
    """
    expected_s = expected_time(process.spec)
    cost_ns = round((1.0 if expected_s is None else expected_s) * SECOND_NS / shares.weight(process))
    return max(shares.turn, shares.last_turns.get((process.colony, process.initiator_id), 0)) + cost_ns


@policy(alike=_one_of_all, counts=True)
def multifactor(process: Process, shares: Shares) -> int:
    """The highest sum of weighted factors first, as in Slurm's multifactor plugin: age, fair share, size, priority.

    The rank is minus the sum, in millionths, up to what has the same value for all. The age grows without a bound, so
    the order of two processes does not change while they wait; the other factors are those of when it began to wait.
    """
    rules = shares.rules
    weights = rules.factor_weights
    age = round(weights.get("age", 0.0) * 1e6) * process.submitted_ns // (rules.full_age_s * SECOND_NS)
    fair_share: float = 0.5 ** (shares.used_part(process) / shares.entitled_part(process))
    size = min(1.0, cpus_of(process) / rules.full_size_cpus)
    points = weights.get("fair_share", 0.0) * fair_share + weights.get("size", 0.0) * size
    return age - round(points * 1e6) - round(weights.get("priority", 0.0) * 1e6) * process.spec.priority


# ---------------------------------------------------------------- users' own
class BadPolicy(ValueError):
    """A user's policy has failed to rank a process. The text names the policy and says what is wrong."""


class OwnRank:
    """Ranks by a user's function, which takes a process and returns a whole number. Raises BadPolicy.

    `takes_state`: the function takes the state of policies as its second argument.
    """

    def __init__(self, name: str, function: Callable[..., Any]) -> None:
        self.name = name
        self.function = function
        self.takes_state = _takes_two(function)

    def __call__(self, process: Process, shares: Shares) -> int:
        try:
            rank = self.function(process, shares) if self.takes_state else self.function(process)
        except Exception as error:
            raise BadPolicy(f"policy {self.name} raises {type(error).__name__}: {error} ({_place(error)})") from error
        if type(rank) is not int or not -LAST < rank < LAST:
            raise BadPolicy(
                f"policy {self.name} returns {rank!r} for process {process.process_id}; return a whole number "
                f"between -2**62 and 2**62, such as process.submitted_ns or round(seconds * 1e9)"
            )
        return rank


def _takes_two(function: Callable[..., Any]) -> bool:
    """Whether a function has two parameters without a default that are given by position."""
    try:
        parameters = signature(function).parameters.values()
    except (TypeError, ValueError):  # some that are written in C have no signature
        return False
    by_position = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return sum(one.kind in by_position and one.default is Parameter.empty for one in parameters) == 2


def _place(error: Exception) -> str:
    """Return the file and line in which an error was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    assert trace is not None
    return f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}, line {trace.tb_lineno}"


def add_own(name: str, function: Callable[..., Any], is_given: bool = False) -> None:
    """Register a user's policy under a name in this process, for worlds that are created later."""
    rank = OwnRank(name, function)
    _own[name] = Policy(rank, counts=rank.takes_state, is_given=is_given)


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
