"""Finds what cannot do anything in any run of a scenario, without running it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from colonysim.core.policies import policy_of
from colonysim.faults.model import (
    ActorFault,
    AnyFault,
    ClockSkew,
    Delay,
    Hazard,
    MessageFault,
    Partition,
    Pause,
    SlowDown,
    fits,
)
from colonysim.faults.rule import Subject
from colonysim.faults.triggers import Times, When
from colonysim.kernel.randomness import AnySpan, distribution
from colonysim.scenarios.scenario import Scenario, groups_of
from colonysim.scenarios.warnings import RunWarning, without_accepted
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Workload

_ID_LIKE: Final = re.compile(r"[0-9a-f*?\[\]!]+\Z")
"""Ids of callers follow from the seed: a pattern that may be one is left to the run."""


class Participants:
    """Who takes part in a scenario: executors, programs and users by name, and what they may send."""

    def __init__(self, scenario: Scenario, groups: Sequence[ExecutorGroup]) -> None:
        self.scenario = scenario
        self.groups = groups
        self.executors = [(name, group.type) for group in groups for name in _numbered(group.name, group.count)]
        self.programs = [
            (name, one.executor_type) for one in scenario.programs for name in _numbered(one.name, one.count)
        ]
        self.users = [name for one in scenario.workload for name in _numbered(one.name, one.users)]

    @property
    def actors(self) -> list[tuple[str, str]]:
        """Names and executor types of all that faults of actors may strike."""
        return self.executors + self.programs

    def submissions(self) -> Iterator[tuple[Submission, Workload | None]]:
        """All that may be submitted, with the workload that it belongs to."""
        for workload in self.scenario.workload:
            for one in workload.mix[:1] if workload.trace is not None else workload.mix:
                yield one, workload
        for cron in self.scenario.crons:
            yield cron.submit, None
        for generator in self.scenario.generators:
            yield generator.submit, None

    def requests(self) -> Iterator[Subject]:
        """All kinds of requests that modelled executors and clients send while faults strike."""
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
                yield Subject.supposed(type_name, colony=colony, role="executor", names=names, executor_type=group.type)
            if group.starts != 0 or group.registers_again:
                for type_name in ("addexecutormsg", "approveexecutormsg"):
                    yield Subject.supposed(type_name, colony=colony, role="colony_owner", names=(), executor_type="")
        for workload in self.scenario.workload:
            for one in workload.mix[:1] if workload.trace is not None else workload.mix:
                names, type_name = tuple(_numbered(workload.name, workload.users)), _message_of(one, workload)
                yield Subject.supposed(type_name, colony=colony, role="user", names=names, executor_type="")


def _numbered(name: str, count: int) -> list[str]:
    return [name] if count == 1 else [f"{name}-{place}" for place in range(1, count + 1)]


def _message_of(one: Submission, workload: Workload) -> str:
    if workload.trace is not None:
        return "submitfuncspecmsg"
    if one.generator:
        return "packgeneratormsg"
    return "submitworkflowspecmsg" if one.workflow is not None else "submitfuncspecmsg"


def lint(scenario: Scenario, groups: Sequence[ExecutorGroup] | None = None) -> list[RunWarning]:
    """What in a scenario cannot do anything, but for what it accepts. `groups` are all its executors, where known.

    With programs much is left to the run: they may send anything. Errors: BadTrace.
    """
    cast = Participants(scenario, groups_of(scenario) if groups is None else groups)
    found = [*_nothing(scenario), *_faults(cast), *_workloads(scenario), *_executors(cast), *_checks(cast)]
    return without_accepted([*found, *_policy(cast)], scenario.accept)


def _nothing(scenario: Scenario) -> Iterator[RunWarning]:
    if not (scenario.workload or scenario.programs or scenario.crons):
        text = "nothing is ever submitted: give the scenario a workload, programs or crons"
        yield RunWarning(kind="scenario", name=scenario.name, path="", text=text)


# ---------------------------------------------------------------- faults
def _faults(cast: Participants) -> Iterator[RunWarning]:
    scenario = cast.scenario
    storm_s = math.inf if scenario.phases.storm_s is None else scenario.phases.storm_s
    requests = list(cast.requests()) if any(isinstance(one, MessageFault) for one in scenario.faults) else []
    for place, fault in enumerate(scenario.plan().faults):
        if not fault.enabled:
            continue
        why = _never_in_time(fault, storm_s) or _about_nobody(cast, fault, requests) or _changes_nothing(cast, fault)
        if why:
            text = f"fault {fault.name!r} can never strike: {why}"
            if why.startswith("it changes nothing"):
                text = f"fault {fault.name!r} has no effect: {why}"
            yield RunWarning(kind="fault", name=fault.name, path=f"faults.{place}", text=text)
    swarm = scenario.swarm
    if swarm is not None and scenario.faults and swarm.keep == 0 and swarm.at_least == 0:
        text = "the swarm never draws a fault: give it keep or at_least above 0"
        yield RunWarning(kind="swarm", name="swarm", path="swarm", text=text)


def _never_in_time(fault: AnyFault, storm_s: float) -> str:
    """Why the time of a fault never comes, "" where it may."""
    trigger: When | Times | Hazard | None = getattr(fault, "when", None) or getattr(fault, "times", None)
    trigger = fault if isinstance(fault, Hazard) else trigger
    if trigger is None:
        return ""
    if not isinstance(trigger, Times) and trigger.probability == 0:
        return "its probability is 0"
    first_s = trigger.from_s
    end_s = storm_s if trigger.until_s is None else min(storm_s, trigger.until_s)
    if isinstance(trigger, Times):
        if trigger.every_s is not None:
            first_s += trigger.every_s
        elif trigger.at_s:
            assert isinstance(trigger.at_s, tuple)
            first_s = min(trigger.at_s)
    if not isinstance(trigger, Hazard) and trigger.after is not None:
        first_s = max(first_s, trigger.after.wait_s)
    if first_s < end_s:
        return ""
    over = f"the storm is over after {storm_s:g} s" if end_s == storm_s else f"until_s is {end_s:g}"
    return f"it would strike after {first_s:g} s at the earliest, and {over}"


def _about_nobody(cast: Participants, fault: AnyFault, requests: Iterable[Subject]) -> str:
    """Why nobody that takes part is struck by a fault, "" where somebody may be."""
    if isinstance(fault, MessageFault):
        return _no_request(cast, fault, list(requests))
    if isinstance(fault, ActorFault):
        return _no_name(fault.actors, fault.executor_type, cast.actors, "executor or program")
    if isinstance(fault, Partition) and not cast.programs and not _may_be_ids(fault.actors):
        callers = cast.executors + [(name, "") for name in cast.users]
        return _no_name(fault.actors, fault.executor_type, callers, "executor or user")
    return ""


def _no_name(patterns: str | tuple[str, ...], wanted_type: str, known: list[tuple[str, str]], what: str) -> str:
    named = [one for one in known if fits(patterns, one[0])]
    if not named:
        return f"no {what} is called {_listed(patterns)}; there are {_some(name for name, _ in known)}"
    if wanted_type and all(one[1] != wanted_type for one in named):
        types = _some(dict.fromkeys(one[1] or "none" for one in named))
        return f"no {what} that it is about is of type {wanted_type!r}; their types are {types}"
    return ""


def _no_request(cast: Participants, fault: MessageFault, requests: list[Subject]) -> str:
    match, colony = fault.match, cast.scenario.colony
    if cast.programs or _may_be_ids(match.callers):
        return ""  # who may send what is known in the run only
    if match.colony and match.colony != colony:
        return f"there is no colony {match.colony!r}; there is {colony}"
    if match.types and not any(fits(match.types, one.type_name) for one in requests):
        sent = _some(dict.fromkeys(one.type_name for one in requests))
        return f"nobody sends {_listed(match.types)}; what is sent is {sent}"
    if match.executor_type and match.executor_type not in [type_name for _, type_name in cast.executors]:
        types = _some(dict.fromkeys(type_name for _, type_name in cast.executors))
        return f"there is no executor of type {match.executor_type!r}; there are {types}"
    if not any(one.fits(match) for one in requests):
        return "nobody who fits its match sends a request that fits it"
    after = fault.when.after
    if after is not None and not any(fits(after.type, one.type_name) for one in requests):
        return f"it waits for {after.type}, which nobody sends"
    return ""


def _may_be_ids(patterns: str | tuple[str, ...]) -> bool:
    listed = (patterns,) if isinstance(patterns, str) else patterns
    return any(_ID_LIKE.match(pattern) for pattern in listed)


def _changes_nothing(cast: Participants, fault: AnyFault) -> str:
    """Why a fault that strikes makes no difference, "" where it may."""
    nothing = ""
    if isinstance(fault, Delay) and _is_zero(fault.by_s):
        nothing = "by_s is 0"
    elif isinstance(fault, (Pause, SlowDown, ClockSkew, Partition)) and _is_zero(fault.for_s):
        nothing = "for_s is 0"
    elif isinstance(fault, SlowDown) and fault.factor == 1:
        nothing = "factor is 1"
    elif isinstance(fault, ClockSkew) and fault.by_s == fault.drift == 0:
        nothing = "by_s and drift are 0"
    elif isinstance(fault, ClockSkew) and not any(fits(fault.actors, name) for name, _ in cast.programs):
        nothing = "modelled executors never look at a clock, only programs do"
    return f"it changes nothing, for {nothing}" if nothing else ""


def _is_zero(span: AnySpan) -> bool:
    return distribution(span).is_zero


# ---------------------------------------------------------------- who submits and who works
def _workloads(scenario: Scenario) -> Iterator[RunWarning]:
    storm_s = math.inf if scenario.phases.storm_s is None else scenario.phases.storm_s
    for place, workload in enumerate(scenario.workload):
        first_s = workload.from_s + (workload.arrivals.first_s if workload.arrivals is not None else 0.0)
        end_s = storm_s if workload.until_s is None else workload.until_s
        if first_s >= end_s:
            why = f"it would begin after {first_s:g} s, and ends after {end_s:g} s"
            text = f"workload {workload.name!r} submits nothing: {why}"
            yield RunWarning(kind="workload", name=workload.name, path=f"workload.{place}", text=text)


def suits(one: Submission, workload: Workload | None, group: ExecutorGroup) -> bool:
    """Whether some executor of a group may have what is submitted, as far as type, location and names say."""
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
    """Why nothing that is submitted is for a group, "" where something is."""
    if any(suits(one, workload, group) for one, workload in submissions):
        return ""
    plain = [one for one, workload in submissions if not one.generator]
    same = [one for one in plain if one.executortype == group.type]
    if not same:
        types = _some(dict.fromkeys(one.executortype for one in plain))
        return f"no process asks for executors of type {group.type!r}, but for {types}"
    places = _some(dict.fromkeys(one.location or "any" for one in same))
    names = _some(dict.fromkeys(name for one in same for name in one.executornames))
    return f"what asks for type {group.type!r} asks for other executors: locations {places}, names {names}"


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
    if not submissions or cast.programs or policy is None:
        return
    if not any(policy.knows(one.spec("")) for one in submissions):
        yield policy_warning(name, policy.wants)


def policy_warning(policy: str, wanted: str) -> RunWarning:
    """The warning for a policy that knows nothing of any process; `wanted` is what a process would have to state."""
    text = f"policy {policy!r} knows nothing of any process: none has {wanted}; so the order is that of submission"
    return RunWarning(kind="policy", name=policy, path="settings.policy", text=text)


# ---------------------------------------------------------------- texts
def _listed(patterns: str | tuple[str, ...]) -> str:
    listed = (patterns,) if isinstance(patterns, str) else patterns
    return " or ".join(map(repr, listed)) or "so"


def _some(names: Iterable[str], most: int = 6) -> str:
    listed = list(names)
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "") or "none"
