"""In which order waiting processes are given out: small pure functions, one of which the settings name.

A policy gives a process its rank when it begins to wait; the lowest rank goes first, then the order of
submission. Which processes an executor may have is not a policy's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal

from colonysim.core.model import SECOND_NS, Process
from colonysim.core.specs import FunctionSpec

PolicyName = Literal["reference", "deadline", "fair", "shortest"]

LAST: Final = 2**62
"""Added to the rank of what a policy knows nothing of: behind all others, in the reference's order."""

EXPECTED: Final = "expected_s"
"""The keyword argument by which a process may say how many seconds it will run."""


class Shares:
    """Who has had how many turns, for policies that look at that. `turn` is the one being served."""

    def __init__(self) -> None:
        self.turn = 0
        self.last_turns: dict[tuple[str, str], int] = {}


Policy = Callable[[Process, Shares], int]


def reference(process: Process, shares: Shares) -> int:
    """The time of submission, a day earlier for each step of priority (docs/protocol/b-processes.md 4.3)."""
    return process.priority_time_ns


def deadline(process: Process, shares: Shares) -> int:
    """Earliest deadline first: whose `maxwaittime` is over next; without one last."""
    if process.spec.maxwaittime > 0:
        return process.wait_deadline_ns
    return LAST + process.priority_time_ns


def shortest(process: Process, shares: Shares) -> int:
    """Shortest first, as expected: by the keyword argument `expected_s`, else by `maxexectime`; without either last."""
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
    """A turn for each who has submitted, one after the other: whoever submits much stands behind oneself only."""
    return max(shares.turn, shares.last_turns.get((process.colony, process.initiator_id), -1) + 1)


POLICIES: Final[dict[str, Policy]] = {
    "reference": reference,
    "deadline": deadline,
    "fair": fair,
    "shortest": shortest,
}


def knows(policy: PolicyName, spec: FunctionSpec) -> bool:
    """Whether a spec states what the policy ranks by; what states nothing comes last, in the reference's order."""
    if policy == "deadline":
        return spec.maxwaittime > 0
    return policy != "shortest" or _expected_s(spec) is not None
