"""Estimates of run times, which processes state as the keyword argument `expected_s`, for policies."""

from __future__ import annotations

from collections.abc import Callable
from math import ceil
from random import Random
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.policies import EXPECTED
from colonysim.core.protocol import Message
from colonysim.core.records import SECOND_NS
from colonysim.core.types import FunctionSpec
from colonysim.core.values import Value
from colonysim.kernel import randomness
from colonysim.kernel.randomness import SPAN, Between, Distribution, NotNegative
from colonysim.traces.record import TraceRecord


class Estimate(Value, frozen=True, kw_only=True):
    """The run time of each process times a factor, which may be drawn: 1 is a perfect estimate, 2 is twice too long."""

    times: Annotated[NotNegative | Between | Distribution, SPAN]


AnyEstimate = Annotated[
    Literal["run"] | NotNegative | Estimate,
    Meta(extra={"fix": "give seconds, `run` for the run time itself, or {times: …} for the run time times a factor"}),
]
"""An estimate: seconds, `run` for the run time itself, or the run time times a factor."""

Requested = Literal["requested", "limit", "ignore"]
"""What becomes of a requested time: an estimate, an estimate and a limit of the run time, or nothing."""

Estimator = Callable[[float], float]
"""Returns the estimate for a run time, both in seconds."""


def estimator(given: float | str | Estimate | None, random: Random) -> Estimator | None:
    """Return the function that makes an estimate from the run time; None if it is a number, or not given."""
    if given == "run":
        return lambda run_s: run_s
    if not isinstance(given, Estimate):
        return None
    draw = randomness.drawer(given.times, random)
    return lambda run_s: round(run_s * draw(None) / SECOND_NS, 9)


def stating(spec: FunctionSpec, expected_s: float) -> FunctionSpec:
    """Return a spec that states an expected run time."""
    return replace(spec, kwargs={**(spec.kwargs or {}), EXPECTED: expected_s})


def requesting(
    spec: FunctionSpec, record: TraceRecord, requested: Requested, estimate: Estimator | None
) -> FunctionSpec:
    """Return the spec of a recorded process with its estimate: one made from its run time, or the requested time."""
    is_known = record.requested_s > 0
    if estimate is not None:
        spec = stating(spec, estimate(record.run_s))
    elif is_known and requested != "ignore":
        spec = stating(spec, record.requested_s)
    if is_known and requested == "limit":
        spec = replace(spec, maxexectime=min(ceil(record.requested_s), 2**31 - 1))
    return spec


def with_estimates(compose: Callable[[], Message], estimate: Estimator) -> Callable[[], Message]:
    """Return a function whose messages state an estimate for the run time in the first argument of each process."""

    def stated(spec: FunctionSpec) -> FunctionSpec:
        run_s: Any = spec.args[0] if spec.args else None
        return stating(spec, estimate(run_s)) if isinstance(run_s, (int, float)) else spec

    def composed() -> Message:
        message = compose()
        if isinstance(message, SubmitFuncSpec) and message.spec is not None:
            return SubmitFuncSpec(spec=stated(message.spec))
        if isinstance(message, SubmitWorkflow) and message.spec is not None:
            specs = [stated(one) for one in message.spec.functionspecs or ()]
            return SubmitWorkflow(spec=replace(message.spec, functionspecs=specs))
        return message

    return composed
