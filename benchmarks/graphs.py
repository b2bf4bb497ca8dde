"""Whether submitting and closing workflows costs as much as they have edges: chains, fan-outs and fan-ins."""

from __future__ import annotations

import math
from collections.abc import Callable

from benchmarks.measure import ASSIGN, USER_ID, Row, Stage, once
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.operations.workflows import SubmitWorkflow
from colonysim.core.types import Conditions, FunctionSpec, WorkflowSpec

Parents = Callable[[int, int], list[str]]


def chain(number: int, count: int) -> list[str]:
    return [f"n{number - 1}"] if number else []


def fan_out(number: int, count: int) -> list[str]:
    return ["n0"] if number else []


def fan_in(number: int, count: int) -> list[str]:
    return [f"n{other}" for other in range(count - 1)] if number == count - 1 else []


def workflow(count: int, parents: Parents) -> SubmitWorkflow:
    nodes = [
        FunctionSpec(
            nodename=f"n{number}",
            funcname="f",
            maxwaittime=-1,
            maxexectime=3600,
            conditions=Conditions(colonyname="dev", executortype="cli", dependencies=parents(number, count)),
        )
        for number in range(count)
    ]
    return SubmitWorkflow(spec=WorkflowSpec(colonyname="dev", functionspecs=nodes))


def _run(count: int, parents: Parents) -> tuple[float, float]:
    """Seconds to submit a graph, and to run all of it."""
    stage = Stage()
    message = workflow(count, parents)
    submit_s = once(lambda: stage.ok(USER_ID, message))
    executor, call = stage.executors[0], stage.sim.call

    def run() -> None:
        for _ in range(count):
            call(executor, CloseSuccessful(processid=call(executor, ASSIGN).body.process.process_id))

    return submit_s, once(run)


def slope(points: list[tuple[float, float]]) -> float:
    """By which power the cost grows with the size, from the second-smallest size to the largest."""
    (x0, y0), (x1, y1) = points[-2], points[-1]
    return math.log(y1 / y0) / math.log(x1 / x0)


def measure(short: bool) -> list[Row]:
    sizes = (100, 1_000, 10_000)
    rows = []
    for parents, name in ((chain, "chain"), (fan_out, "fan-out"), (fan_in, "fan-in")):
        runs = {size: [_run(size, parents) for _ in range(3)] for size in sizes}
        submit = [(float(size), min(run[0] for run in runs[size])) for size in sizes]
        closing = [(float(size), min(run[1] for run in runs[size])) for size in sizes]
        for points, what in ((submit, "submit"), (closing, "assign and close all of")):
            note = f"{points[-1][1] / sizes[-1] * 1e6:.1f} µs a node with {sizes[-1]:,}"
            question = f"{what} a {name} of {sizes[-1]:,}: power of growth"
            rows.append(Row(question, slope(points), "", 1.15, note=note, points=points))
    return rows
