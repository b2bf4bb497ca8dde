"""Find parts that did nothing in a run: faults that never struck, checks never evaluated, executors without work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec

from colonysim.core.policies import USER_POLICIES, policy_of
from colonysim.core.types import ZERO_TIME_NS
from colonysim.core.wording import show_count
from colonysim.core.world import World
from colonysim.reports.metrics import Metrics
from colonysim.reports.summary import Summary
from colonysim.scenarios import lint
from colonysim.scenarios.findings import Finding
from colonysim.scenarios.programs import ScenarioPrograms
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.warnings import RunWarning, without_accepted
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.fleet import Fleet
from colonysim.workloads.streams import Stream


class FaultCount(msgspec.Struct, frozen=True, kw_only=True):
    """How often a fault struck in a run. `drawn`: whether it was on, which under a swarm depends on the seed."""

    name: str
    kind: str
    count: int
    drawn: bool = True


class Evidence(NamedTuple):
    """The results of a run that show which of its parts did something.

    `counts` and `idle` are those of the simulation's faults; `idle_crons` never started a workflow.
    """

    scenario: Scenario
    groups: Sequence[ExecutorGroup]
    world: World
    metrics: Metrics
    fleet: Fleet
    cast: ScenarioPrograms
    streams: Sequence[Stream]
    generators: dict[str, str]
    counts: dict[str, int]
    idle: dict[str, str]
    idle_crons: Sequence[str]
    summary: Summary
    findings: Sequence[Finding]


def fault_counts(scenario: Scenario, counts: dict[str, int]) -> tuple[FaultCount, ...]:
    """Return how often each enabled fault of a scenario struck."""
    return tuple(
        FaultCount(name=fault.name, kind=fault.kind, count=counts.get(fault.name, 0), drawn=fault.name in counts)
        for fault in scenario.plan().faults
        if fault.enabled
    )


def tested_nothing(seen: Evidence) -> str:
    """Return why a run has tested nothing; "" if it has tested something."""
    if any(program.has_run for program in seen.cast.programs.values()):
        return ""
    if seen.metrics.gauges.submitted:
        return "" if seen.metrics.executors else _nobody_worked(seen)
    why = "; ".join(one.text for one in _workloads(seen)) or "there is no workload, program or cron that does"
    return f"nothing was tested: no process was submitted ({why})"


def _nobody_worked(seen: Evidence) -> str:
    """Return why no executor ever got a process, although some were submitted."""
    why = "; ".join(one.text for one in _executors(seen)) or "there are no executors"
    return f"nothing was tested: no executor ever got a process ({why})"


def find(seen: Evidence, broken_off: bool) -> tuple[RunWarning, ...]:
    """Return warnings for parts that did nothing, except those that the scenario accepts.

    For a run that was broken off, only parts that could not have done anything are included.
    """
    found = lint.lint(seen.scenario, seen.groups)
    if not broken_off:
        known = {(one.kind, one.name) for one in found}
        happened = [*_measured(seen), *_faults(seen), *_checks(seen), *_workloads(seen), *_repeated(seen)]
        if seen.metrics.gauges.submitted:
            happened += [*_executors(seen), *_programs(seen), *_policy(seen)]
        found += [one for one in happened if (one.kind, one.name) not in known]
    return tuple(without_accepted(found, seen.scenario.accept))


def _measured(seen: Evidence) -> Iterator[RunWarning]:
    window = seen.summary.window
    for field, text in () if window is None else window.problems.items():
        yield RunWarning(kind="measure", name=field, path=f"measure.{field}", text=text)


def _faults(seen: Evidence) -> Iterator[RunWarning]:
    for place, fault in enumerate(seen.scenario.plan().faults):
        if seen.counts.get(fault.name) == 0:
            text = f"fault {fault.name!r} never struck: {seen.idle[fault.name]}"
            yield RunWarning(kind="fault", name=fault.name, path=f"faults.{place}", text=text)


def _checks(seen: Evidence) -> Iterator[RunWarning]:
    for place, (check, finding) in enumerate(zip(seen.scenario.checks, seen.findings, strict=True)):
        if finding.looked or finding.violations:
            continue
        text = f"check {finding.name!r} was never evaluated: {check.idle_reason}"
        yield RunWarning(kind="check", name=finding.name, path=f"checks.{place}", text=text)


# ---------------------------------------------------------------- who submits
def _workloads(seen: Evidence) -> Iterator[RunWarning]:
    for place, (workload, stream) in enumerate(zip(seen.scenario.workload, seen.streams, strict=False)):
        if stream.submitted:
            continue
        why = "no submission fell into its time"
        if workload.trace is not None:
            why = f"no record of {workload.trace.file} fell into its time"
        text = f"workload {workload.name!r} submitted nothing: {why}"
        yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}", text=text)


def _repeated(seen: Evidence) -> Iterator[RunWarning]:
    for place, cron in enumerate(seen.scenario.crons):
        if cron.name in seen.idle_crons:
            text = f"cron {cron.name!r} never started anything: its time did not come in the storm"
            yield RunWarning(kind="cron", name=cron.name, path=f"crons.{place}", text=text)
    for place, plan in enumerate(seen.scenario.generators):
        generator = seen.world.generators.get(seen.generators[plan.name])
        if generator is not None and generator.last_run_ns == ZERO_TIME_NS:
            text = (
                f"generator {plan.name!r} never started anything: "
                f"it got {show_count(len(generator.queue), 'argument')}, and starts at {plan.trigger}"
            )
            yield RunWarning(kind="generator", name=plan.name, path=f"generators.{place}", text=text)


# ---------------------------------------------------------------- who works
def _executors(seen: Evidence) -> Iterator[RunWarning]:
    busy = set(seen.metrics.executors)
    members: dict[str, list[int]] = {}
    for executor in seen.fleet.executors:
        counted = members.setdefault(executor.model.group.name, [0, 0, 0])
        counted[0] += 1
        counted[1] += executor.asks
        counted[2] += executor.id in busy
    for place, group in enumerate(seen.groups):
        count, asked, got = members[group.name]
        path = f"executors.{place}" if place < len(seen.scenario.executors) else "sites"
        if asked < count:
            who = f"{count - asked:,} of {count:,} executors" if count > 1 else "executor"
            late = "it started too late, or was" if count == 1 else "they started too late, or were"
            text = f"{who} {group.name!r} never asked for work: {late} not registered"
            yield RunWarning(kind="executors", name=group.name, path=path, text=text)
        elif not got:
            who = "executor" if count == 1 else "executors"
            text = f"{who} {group.name!r} never got a process: {_why_without_work(seen, group)}"
            yield RunWarning(kind="executors", name=group.name, path=path, text=text)


def _why_without_work(seen: Evidence, group: ExecutorGroup) -> str:
    asked_for = [kind for kind in seen.metrics.kinds if kind.executortype == group.type]
    if not asked_for:
        types = ", ".join(dict.fromkeys(kind.executortype for kind in seen.metrics.kinds))
        return f"no process asked for type {group.type!r}; processes asked for {types}"
    here = [kind for kind in asked_for if kind.location.lower() in ("", group.location.lower())]
    if not here:
        places = ", ".join(dict.fromkeys(kind.location for kind in asked_for))
        return f"what asked for type {group.type!r} asked for locations {places}, not {group.location!r}"
    return "other executors took all processes, or names, cpu or memory did not fit"


def _programs(seen: Evidence) -> Iterator[RunWarning]:
    busy = set(seen.metrics.executors)
    for place, group in enumerate(seen.scenario.programs):
        parts = [part for part in seen.cast.parts if part.group is group]
        programs = [seen.cast.programs[part.name] for part in parts if part.name in seen.cast.programs]
        path = f"programs.{place}"
        if not any(program.asked for program in programs):
            text = f"program {group.name!r} never asked or waited for anything"
            yield RunWarning(kind="program", name=group.name, path=path, text=text)
        elif group.registered and not any(part.key.id in busy for part in parts):
            text = f"program {group.name!r}, an executor of type {group.executor_type!r}, never got a process"
            yield RunWarning(kind="program", name=group.name, path=path, text=text)


def _policy(seen: Evidence) -> Iterator[RunWarning]:
    name = seen.world.settings.policy
    policy, rules = policy_of(name), seen.world.settings.policy_rules
    processes = seen.world.processes.values()
    if policy is not None and processes and (why := policy.alike(processes, rules)):
        text = f"policy {name!r} could not tell the processes apart: {why}; the order is that of submission"
        yield RunWarning(kind="policy", name=name, path="settings.policy", text=text)
    if name in USER_POLICIES:
        users = {process.initiator_name for process in processes}
        for user in rules.user_weights:
            if user not in users:
                text = f"the weight of user {user!r} has no effect: {user!r} submitted nothing"
                yield RunWarning(kind="policy", name=user, path="settings.user_weights", text=text)
    if policy is None or any(policy.knows(process.spec) for process in processes):
        return
    planned = [one for one, _ in lint.Participants(seen.scenario, seen.groups).submissions()]
    if not any(policy.knows(one.sample()) for one in planned):
        yield lint.policy_warning(name, policy.wants)
