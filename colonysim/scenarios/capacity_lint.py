"""Find processes that no executor can ever run, or that take nothing of the capacity of executors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from colonysim.capacity.resources import UNKNOWN_NS, ExecutorLimits, expected_ns
from colonysim.core.golang.units import parse_cpu, parse_memory
from colonysim.core.scheduling import MAX_COUNT
from colonysim.core.types import Conditions
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.warnings import RunWarning
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Workload

Submitted = tuple[Submission, Workload | None]


def never_assigned(scenario: Scenario) -> Iterator[RunWarning]:
    """Warn of submissions with conditions that the reference never meets (docs/protocol/b-processes.md 4.3)."""
    exclusive = scenario.server().exclusive_assign
    for place, workload in enumerate(scenario.workload):
        for one in workload.mix:
            why, most = "", max(one.nodes, one.processes)
            if most > MAX_COUNT:
                why = f"they ask for {most} nodes or processes, and none with more than {MAX_COUNT} is assigned"
            elif exclusive and parse_memory(one.storage) > 0:
                why = f"they ask for storage ({one.storage}); that needs `settings: {{exclusive_assign: false}}`"
            if why:
                text = f"processes {one.funcname!r} of workload {workload.name!r} are never assigned: {why}"
                yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}.mix", text=text)


def without_effect(
    scenario: Scenario, groups: Sequence[ExecutorGroup], submissions: Sequence[Submitted]
) -> Iterator[RunWarning]:
    """Warn of traces whose processors no executor counts, and of executors that cannot plan or count what they get."""
    counts_cpu = any(one.cpu or (one.capacity is not None and one.capacity.cpu is not None) for one in groups)
    for place, workload in enumerate(scenario.workload):
        if workload.trace is not None and workload.trace.processors == "occupy" and groups and not counts_cpu:
            text = f"`processors: occupy` of workload {workload.name!r} has no effect: no executors limit their CPU"
            yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}.trace.processors", text=text)
    recorded = any(workload is not None and workload.trace is not None for _, workload in submissions)
    for place, group in enumerate(groups):
        if not group.holds_many or recorded:
            continue
        conditions = [one.conditions("") for one, _ in submissions if one.executortype == group.type]
        specs = [one.sample() for one, _ in submissions if one.executortype == group.type]
        why = ""
        if group.backfill in ("easy", "conservative") and all(expected_ns(spec) == UNKNOWN_NS for spec in specs):
            why = "cannot plan ahead: no process states walltime, expected_s or maxexectime"
        elif conditions and not any(_takes(ExecutorLimits(group.capacity, group.slots), one) for one in conditions):
            why = "hold any number of processes at once: none asks for what their capacity limits"
        if conditions and why:
            path = f"executors.{place}" if place < len(scenario.executors) else "sites"
            text = f"executors {group.name!r} {why}"
            yield RunWarning(kind="executors", name=group.name, path=path, text=text)


def _takes(limits: ExecutorLimits, conditions: Conditions) -> bool:
    """Whether a process takes something of a capacity."""
    asked = {
        "slots": 1,
        "cpu": parse_cpu(conditions.cpu),
        "memory": parse_memory(conditions.mem),
        "storage": parse_memory(conditions.storage),
        "nodes": conditions.nodes,
        "gpu": 0 if conditions.gpu is None else conditions.gpu.count,
    }
    return any(asked[name] for name in limits.names)
