"""Find parts of a scenario that cannot do anything in any run, without running it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property

from colonysim.core.policies import policy_of
from colonysim.core.wording import show_limit, show_list
from colonysim.faults.fault import asking
from colonysim.faults.requests import RequestInfo
from colonysim.scenarios import capacity_lint
from colonysim.scenarios.scenario import Scenario, groups_of
from colonysim.scenarios.warnings import RunWarning, without_accepted
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Workload


class Participants:
    """The participants of a scenario: executors, programs and users by name, and the requests they may send."""

    def __init__(self, scenario: Scenario, groups: Sequence[ExecutorGroup]) -> None:
        self.scenario = scenario
        self.groups = groups
        self.colony = scenario.colony
        self.executors = [(name, group.type) for group in groups for name in _numbered(group.name, group.count)]
        self.programs = [
            (name, one.executor_type) for one in scenario.programs for name in _numbered(one.name, one.count)
        ]
        self.users = [name for one in scenario.workload for name in _numbered(one.name, one.users)]

    def submissions(self) -> Iterator[tuple[Submission, Workload | None]]:
        """Yield all submissions that are possible, each with its workload."""
        for workload in self.scenario.workload:
            for one in workload.mix[:1] if workload.trace is not None else workload.mix:
                yield one, workload
        for cron in self.scenario.crons:
            yield cron.submit, None
        for generator in self.scenario.generators:
            yield generator.submit, None

    @cached_property
    def requests(self) -> list[RequestInfo]:
        """One request of each kind that simulated executors and clients send during the storm."""
        return list(self._requests())

    def _requests(self) -> Iterator[RequestInfo]:
        colony = self.scenario.colony
        for group in self.groups:
            behaviours = (group, *group.functions.values())
            types = ["assignprocessmsg"]
            if any(one.hangs < 1 and one.success > 0 for one in behaviours):
                types.append("closesuccessfulmsg")
            if any(one.hangs < 1 and one.success < 1 for one in behaviours):
                types.append("closefailedmsg")
            names = tuple(_numbered(group.name, group.count))
            for type_name in types:
                yield RequestInfo.supposed(
                    type_name, colony=colony, role="executor", names=names, executor_type=group.type
                )
            if group.starts != 0 or group.registers_again:
                for type_name in ("addexecutormsg", "approveexecutormsg"):
                    yield RequestInfo.supposed(
                        type_name, colony=colony, role="colony_owner", names=(), executor_type=""
                    )
        for workload in self.scenario.workload:
            for one in workload.mix[:1] if workload.trace is not None else workload.mix:
                names, type_name = tuple(_numbered(workload.name, workload.users)), _message_of(one, workload)
                yield RequestInfo.supposed(type_name, colony=colony, role="user", names=names, executor_type="")


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{place}" for place in range(1, count + 1)]


def _message_of(one: Submission, workload: Workload) -> str:
    if workload.trace is not None:
        return "submitfuncspecmsg"
    if one.generator:
        return "packgeneratormsg"
    return "submitworkflowspecmsg" if one.workflow is not None else "submitfuncspecmsg"


def lint(scenario: Scenario, groups: Sequence[ExecutorGroup] | None = None) -> list[RunWarning]:
    """Return warnings for parts of a scenario that cannot do anything, except those it accepts.

    `groups`: all its executors, if known. Programs may send anything, so with them less can be found. Raises BadTrace.
    """
    cast = Participants(scenario, groups_of(scenario) if groups is None else groups)
    found = [*_nothing(scenario), *_faults(cast), *_workloads(scenario), *_executors(cast), *_checks(cast)]
    found += capacity_lint.never_assigned(scenario)
    if not cast.programs:
        found += capacity_lint.without_effect(scenario, cast.groups, list(cast.submissions()))
    return without_accepted([*found, *_data(cast), *_policy(cast)], scenario.accept)


def _nothing(scenario: Scenario) -> Iterator[RunWarning]:
    if not (scenario.workload or scenario.programs or scenario.crons):
        text = "nothing is ever submitted: give the scenario a workload, programs or crons"
        yield RunWarning(kind="scenario", name=scenario.name, path="", text=text)


# ---------------------------------------------------------------- faults
def _faults(cast: Participants) -> Iterator[RunWarning]:
    scenario = cast.scenario
    storm_s = math.inf if scenario.phases.storm_s is None else scenario.phases.storm_s
    for place, fault in enumerate(scenario.plan().faults):
        if not fault.enabled:
            continue
        text = ""
        with asking(fault, "never_strikes or changes_nothing"):
            never, nothing = fault.never_strikes(cast, storm_s), fault.changes_nothing(cast)
        if never:
            text = f"fault {fault.name!r} can never strike: {never}"
        elif nothing:
            text = f"fault {fault.name!r} has no effect: it changes nothing, for {nothing}"
        if text:
            yield RunWarning(kind="fault", name=fault.name, path=f"faults.{place}", text=text)
    swarm = scenario.swarm
    if swarm is not None and scenario.faults and swarm.keep == 0 and swarm.at_least == 0:
        text = "the swarm never draws a fault: give it keep or at_least above 0"
        yield RunWarning(kind="swarm", name="swarm", path="swarm", text=text)


# ---------------------------------------------------------------- who submits and who works
def _workloads(scenario: Scenario) -> Iterator[RunWarning]:
    storm_s = math.inf if scenario.phases.storm_s is None else scenario.phases.storm_s
    for place, workload in enumerate(scenario.workload):
        first_s = workload.from_s + (workload.arrivals.first_s if workload.arrivals is not None else 0.0)
        end_s = storm_s if workload.until_s is None else workload.until_s
        if first_s >= end_s:
            why = f"it would begin after {show_limit(first_s)}, and ends after {show_limit(end_s)}"
            text = f"workload {workload.name!r} submits nothing: {why}"
            yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}", text=text)


def suits(one: Submission, workload: Workload | None, group: ExecutorGroup) -> bool:
    """Whether an executor of a group may get a submission, by type, location and names."""
    sites = workload.trace.sites if workload is not None and workload.trace is not None else "ignore"
    return (
        not one.generator
        and (sites == "type" or one.executortype == group.type)
        and (sites == "location" or not one.location or one.location.lower() == group.location.lower())
        and (not one.executornames or any(name in one.executornames for name in _numbered(group.name, group.count)))
    )


def _executors(cast: Participants) -> Iterator[RunWarning]:
    submissions = list(cast.submissions())
    if cast.programs or not submissions:
        return
    for place, group in enumerate(cast.groups):
        if why := why_unsuited(submissions, group):
            path = f"executors.{place}" if place < len(cast.scenario.executors) else "sites"
            text = f"executors {group.name!r} can never get a process: {why}"
            yield RunWarning(kind="executors", name=group.name, path=path, text=text)


def why_unsuited(submissions: list[tuple[Submission, Workload | None]], group: ExecutorGroup) -> str:
    """Return why no submitted process is for a group; "" if one is."""
    if any(suits(one, workload, group) for one, workload in submissions):
        return ""
    plain = [one for one, workload in submissions if not one.generator]
    same = [one for one in plain if one.executortype == group.type]
    if not same:
        types = show_list(dict.fromkeys(one.executortype for one in plain))
        return f"no process asks for type {group.type!r}; processes ask for {types}"
    places = show_list(dict.fromkeys(one.location or "any" for one in same))
    names = show_list(dict.fromkeys(name for one in same for name in one.executornames))
    return f"the processes that ask for type {group.type!r} ask for other executors: locations {places}, names {names}"


def _data(cast: Participants) -> Iterator[RunWarning]:
    """Yield warnings for locations of data that cost nothing, and for transfers that no process needs."""
    scenario = cast.scenario
    sites = any(one.trace is not None and one.trace.sites == "data" for one in scenario.workload)
    needed = sites or cast.programs or any(one.data_at for one, _ in cast.submissions())
    for place, group in enumerate(cast.groups):
        if group.transfer != 0 and not needed:
            path = f"executors.{place}" if place < len(scenario.executors) else "sites"
            text = f"the transfer of executors {group.name!r} has no effect: no process has `data_at`"
            yield RunWarning(kind="executors", name=group.name, path=path, text=text)
    if any(group.transfer != 0 for group in cast.groups) or not cast.groups:
        return
    for place, workload in enumerate(scenario.workload):
        by_trace = workload.trace is not None and workload.trace.sites == "data"
        if by_trace or any(one.data_at for one in workload.mix):
            text = f"where the data of workload {workload.name!r} are has no effect: no executors have a `transfer`"
            yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}", text=text)


def _checks(cast: Participants) -> Iterator[RunWarning]:
    for place, check in enumerate(cast.scenario.checks):
        why = check.impossible(bool(cast.scenario.faults), bool(cast.executors))
        if why:
            name = check.name or f"check {place + 1}"
            text = f"check {name!r} can never be evaluated: {why}"
            yield RunWarning(kind="check", name=name, path=f"checks.{place}", text=text)


def _policy(cast: Participants) -> Iterator[RunWarning]:
    name = cast.scenario.server().policy
    policy = policy_of(name)
    submissions = [one for one, _ in cast.submissions()]
    estimated = any(one.trace is not None and one.trace.estimates != "ignore" for one in cast.scenario.workload)
    if not submissions or cast.programs or policy is None or estimated:
        return
    if not any(policy.knows(one.sample()) for one in submissions):
        yield policy_warning(name, policy.wants)


def policy_warning(policy: str, wanted: str) -> RunWarning:
    """Return the warning for a policy that cannot rank any process, because none states what is `wanted`."""
    text = f"policy {policy!r} cannot rank any process: none has {wanted}, so the order is that of submission"
    return RunWarning(kind="policy", name=policy, path="settings.policy", text=text)
