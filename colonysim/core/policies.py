"""Scheduling policies: pure functions that order the waiting processes. The setting `policy` selects one.

A policy ranks a process when it starts to wait. The lowest rank is assigned first; ties are broken by order of
submission. Policies do not decide which processes an executor may run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from colonysim.core.records import SECOND_NS, Process
from colonysim.core.types import FunctionSpec

PolicyName = Literal["reference", "deadline", "fair", "shortest"]

LAST: Final = 2**62
"""Added to the rank of processes that a policy cannot rank: they come last, in the reference's order."""

EXPECTED: Final = "expected_s"
"""The keyword argument in which a process may state its expected run time in seconds."""


class Shares:
    """The last turn of each submitter, for policies that take turns. `turn` is the one being served."""

    def __init__(self) -> None:
        self.turn = 0
        self.last_turns: dict[tuple[str, str], int] = {}


Policy = Callable[[Process, Shares], int]


def reference(process: Process, shares: Shares) -> int:
    """First come, first served; each step of priority counts as a day of waiting (docs/protocol/b-processes.md 4.3)."""
    return process.priority_time_ns


def deadline(process: Process, shares: Shares) -> int:
    """Earliest deadline first, by the end of `maxwaittime`; processes without one come last."""
    if process.spec.maxwaittime > 0:
        return process.wait_deadline_ns
    return LAST + process.priority_time_ns


def shortest(process: Process, shares: Shares) -> int:
    """Shortest expected run time first: `expected_s`, else `maxexectime`; processes without either come last."""
    expected_s = _expected_s(process.spec)
    return LAST + process.priority_time_ns if expected_s is None else int(expected_s * SECOND_NS)


def _expected_s(spec: FunctionSpec) -> float | None:
    expected_s: Any = (spec.kwargs or {}).get(EXPECTED)
    if not isinstance(expected_s, (int, float)) or isinstance(expected_s, bool) or not 0 <= expected_s < LAST / 1e9:
        expected_s = spec.maxexectime
        if expected_s <= 0:
            return None
    return expected_s  # type: ignore[no-any-return]


def fair(process: Process, shares: Shares) -> int:
    """Round-robin over submitters: a heavy submitter delays only itself."""
    return max(shares.turn, shares.last_turns.get((process.colony, process.initiator_id), -1) + 1)


POLICIES: Final[dict[str, Policy]] = {
    "reference": reference,
    "deadline": deadline,
    "fair": fair,
    "shortest": shortest,
}


def knows(policy: PolicyName, spec: FunctionSpec) -> bool:
    """Whether a spec states the value that the policy ranks by; others come last, in the reference's order."""
    if policy == "deadline":
        return spec.maxwaittime > 0
    return policy != "shortest" or _expected_s(spec) is not None
