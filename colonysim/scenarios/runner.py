"""Run scenarios: a storm, then a calm in which all processes must end."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from colonysim.core.operations.crons import AddCron, RemoveCron
from colonysim.core.operations.generators import AddGenerator
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import SECOND_NS
from colonysim.core.types import ZERO_TIME_NS, CronSpec, GeneratorSpec, WorkflowSpec
from colonysim.core.values import BadValue
from colonysim.core.wording import show_count, show_limit
from colonysim.evidence.causes import causes
from colonysim.evidence.journal import JournalErrors
from colonysim.extensions import BadCode, Loader, loaded
from colonysim.faults.log import Strikes
from colonysim.invariants import InvariantViolation
from colonysim.kernel import randomness
from colonysim.kernel.clock import Mode
from colonysim.kernel.kernel import Stuck
from colonysim.programs.host import ProgramFailed
from colonysim.reports.groups import GroupFigures, by_group
from colonysim.reports.held import RunMetrics
from colonysim.reports.measured import Window
from colonysim.reports.metrics import Metrics
from colonysim.reports.processes import process_results
from colonysim.reports.requests import RequestTally
from colonysim.reports.summary import Summary
from colonysim.reports.window import measure
from colonysim.scenarios import recorded, vacuity
from colonysim.scenarios.checks import Checks
from colonysim.scenarios.findings import Finding
from colonysim.scenarios.programs import ScenarioPrograms
from colonysim.scenarios.result import Cost, Failure, Result
from colonysim.scenarios.scenario import CronPlan, GeneratorPlan, Scenario, groups_of
from colonysim.scenarios.vacuity import Evidence, fault_counts
from colonysim.simulation.client import ColonyClient, Refused
from colonysim.simulation.simulation import Simulation
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.fleet import Fleet
from colonysim.workloads.workload import Clients

BREAKS: Final = ("invariant", "program", "stuck", "error")
"""The kinds of failures that end a run early."""

_BATCH: Final = 5_000
"""The number of events between two calls of `progress`."""
_OPEN_END_NS: Final = 200 * 365 * 86_400 * SECOND_NS


Progress = Callable[[float, Metrics], None]
"""Called from time to time with the virtual seconds that have passed."""


class Run:
    """One run, with the data for reports.

    `journal` is the file for the history, `journal_errors` what to do when it cannot be written. Users' own code is
    loaded anew for each run: `scenario` has it in place of its names. Raises ValueError as `execute` does.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int | None = None,
        progress: Progress | None = None,
        journal: Path | None = None,
        journal_errors: JournalErrors = JournalErrors.CONTINUE,
    ) -> None:
        self.loader = Loader(scenario.base())
        with self.loader.active():
            self.scenario = scenario = loaded(scenario, self.loader)
        self.seed = scenario.seed if seed is None else seed
        self.progress = progress
        self.between: Callable[[int], None] | None = None
        """Called before each event with the time up to which events may happen, in ns; not under the kernel's lock."""
        settings = scenario.server(self.seed)
        self.sim = Simulation(
            settings,
            mode=Mode.MANUAL,
            invariants=scenario.invariants,
            journal=journal or scenario.journal,
            journal_errors=journal_errors,
        )
        self.metrics = RunMetrics(self.sim.world)
        self.sim.observers.observe(self.metrics.read)
        self.requests = RequestTally()
        self.sim.observers.observe(partial(self.requests.follow, self.sim.kernel))
        try:
            self.colony = ColonyClient.create(self.sim, scenario.colony)
        except Refused as refused:
            raise BadValue(f"it is refused: {refused.text}", ("colony",)) from None
        self.fleet = Fleet(self.sim, self.colony.id, scenario.colony)
        self.fleet.chance.identify_by(self.metrics.identify)
        self.fleet.on_held, self.fleet.on_begun = self.metrics.held, self.metrics.begun
        self.cast = ScenarioPrograms(self.sim, self.colony, scenario.programs, self.loader)
        self.start_ns = self.storm_end_ns = self.sim.world.now_ns
        self.strikes = Strikes(self.start_ns)
        self.sim.observers.on_fault = self.strikes.note
        with self.loader.active():
            self.checks = Checks(self.metrics, scenario.checks, self.faults_on)
        self.cron_ids: dict[str, str] = {}
        self.idle_crons: list[str] = []
        self.groups: list[ExecutorGroup] = []
        self.recorded_notes: tuple[str, ...] = ()
        self.failures: list[Failure] = []
        self.generators = {plan.name: self._add_generator(plan) for plan in scenario.generators}
        storm_s = scenario.phases.storm_s
        storm_ns = None if storm_s is None else randomness.to_ns(storm_s)
        self.clients = Clients(self.sim, self.colony.id, scenario.colony, scenario.base(), storm_ns, self.generators)
        self.result: Result | None = None

    def faults_on(self) -> bool:
        """Whether a lasting fault is on."""
        return self.strikes.any_on(self.sim.world.now_ns)

    # ------------------------------------------------------------ the run
    def execute(self) -> Result:
        """Run the scenario. Raises ValueError, BadTrace, BadCode if it cannot be run; JournalFailed."""
        with _no_collection(), self.loader.active():
            return self._execute()

    def _execute(self) -> Result:
        began = time.perf_counter()
        try:
            with ExitStack() as stack:
                self._set_up(stack)
                self._storm()
                self._calm()
                self.sim.check()
        except InvariantViolation as violation:
            self._fail("invariant", violation.name, *_divided(violation))
        except ProgramFailed as failed:
            name = f"{self.cast.group_of(failed)}: {type(failed.error).__name__}"
            self._fail("program", name, *_divided(failed))
            self._check_after_break()
        except Stuck as stuck:
            self._fail("stuck", "stuck", *_divided(stuck))
            self._check_after_break()
        self.result = self._conclude(time.perf_counter() - began)
        if self.sim.journal is not None:
            self.sim.journal.close()
            self.sim.journal.require()
        return self.result

    def _check_after_break(self) -> None:
        """Check the server after a run that ended early: the server may be the cause."""
        try:
            self.sim.check()
        except InvariantViolation as violation:
            self._fail("invariant", violation.name, *_divided(violation))

    def rehearse(self) -> None:
        """Do everything that comes before time moves, so that an invalid scenario is refused as by `execute`.

        The run cannot be used afterwards. Raises ValueError as `execute` does.
        """
        with _no_collection(), self.loader.active():
            try:
                self._prepare()
                with self.cast.loaded():
                    self._open_storm()
            except InvariantViolation:
                pass  # a result, which the run itself tells

    def _prepare(self) -> None:
        """Add executors, crons and recorded workloads, before time moves. Raises ValueError, BadTrace."""
        recordings = self.clients.recordings = recorded.recordings_of(self.scenario)
        self.recorded_notes = recorded.notes_of(self.scenario, recordings)
        self.cast.register()
        sites = self.scenario.sites
        self.groups = groups_of(self.scenario, recordings[sites.workload] if sites is not None else None)
        self.fleet.add(self.groups)
        self._let_happen(self.start_ns, lambda: False)
        for plan in self.scenario.crons:
            self.cron_ids[plan.name] = self._add_cron(plan)

    def _set_up(self, stack: ExitStack) -> None:
        self._prepare()
        if self.scenario.programs:
            from colonysim.sdk.environment import sdk_environment  # it loads the web application

            stack.enter_context(self.cast.loaded())
            stack.enter_context(sdk_environment(self.sim, self.cast.environment))
            stack.enter_context(self.cast.running())
        self.checks.begin(self.start_ns, "start")

    def _open_storm(self) -> None:
        """Start the workloads and the faults. Raises ValueError, BadTrace."""
        self.checks.begin(self.start_ns, "storm")
        for workload in self.scenario.workload:
            self.clients.add(workload)  # before the faults, which must not affect adding users
        if self.scenario.faults:
            self.fleet.enlist()
            self.strikes.expect(self.sim.faults.add(self.scenario.plan()), self.scenario.phases.storm_s or 0.0)

    def _storm(self) -> None:
        storm_s = self.scenario.phases.storm_s
        self._open_storm()
        if storm_s is None:
            self._let_happen(_OPEN_END_NS, self.clients.all_submitted)
        else:
            self._let_happen(self.start_ns + randomness.to_ns(storm_s), lambda: False)
        self.storm_end_ns = self.sim.world.now_ns
        self.sim.faults.clear()
        self.strikes.end(self.storm_end_ns)
        for name, cron_id in self.cron_ids.items():
            cron = self.sim.world.crons.get(cron_id)
            if cron is not None and cron.last_run_ns == ZERO_TIME_NS:
                self.idle_crons.append(name)
            self._ask(RemoveCron(cronid=cron_id))

    def _calm(self) -> None:
        self.checks.begin(self.storm_end_ns, "calm")
        gauges = self.metrics.gauges
        end_ns = self.storm_end_ns + randomness.to_ns(self.scenario.phases.calm_s)
        at_rest = self.cast.is_at_rest
        self._let_happen(end_ns, lambda: not gauges.unfinished and self.clients.all_submitted() and at_rest())
        if gauges.unfinished:
            self._fail_rest()
        for name, waits_for in self.cast.unfinished():
            self._fail("rest", name, f"program {name!r} has not ended: it waits for {waits_for}")

    def _let_happen(self, until_ns: int, stop: Callable[[], bool]) -> None:
        kernel, progress = self.sim.kernel, self.progress
        shown = kernel.events

        def stop_and_show() -> bool:
            nonlocal shown
            if progress is not None and kernel.events >= shown + _BATCH:
                shown = kernel.events
                progress(self.now_s, self.metrics)
            return stop()

        looked_at = stop if progress is None else stop_and_show
        if (between := self.between) is not None:
            looked_at = _with_pauses(looked_at, kernel.unlocked(lambda: between(until_ns) or False))
        if kernel.programs is not None:
            kernel.programs.run_to(until_ns, looked_at)
            return
        with kernel.lock:
            if not kernel.run(until_ns, looked_at):
                kernel.set_time(until_ns)

    # ------------------------------------------------------------ what has become of it
    def _fail_rest(self) -> None:
        """Add the failure that something is unfinished after the calm, with the timeline of the oldest process."""
        gauges, calm_s = self.metrics.gauges, self.scenario.phases.calm_s
        text = (
            f"{gauges.queue_depth:,} waiting, {gauges.running:,} running and {gauges.blocked:,} blocked by parents "
            f"{show_limit(calm_s)} after the storm"
        )
        first = next(self.metrics.unfinished(), "")
        story = "\n".join(part for part in (self.story(first), str(self.sim.why_not(first))) if part)
        self.failures.append(
            Failure(kind="rest", name="at rest", text=text, at_s=self.now_s, process_id=first, story=story)
        )

    def _fail(self, kind: str, name: str, text: str, story: str = "") -> None:
        self.failures.append(Failure(kind=kind, name=name, text=text, at_s=self.now_s, story=story))

    def _conclude(self, real_s: float) -> Result:
        now_ns, metrics, scenario = self.sim.world.now_ns, self.metrics, self.scenario
        self.checks.summary = summary = self._summary(now_ns)
        try:
            self.checks.begin(now_ns, "end")
        except BadCode:  # of a user's check, which may need a complete run
            if not self.failures:
                raise
        findings = tuple(self.checks.findings())
        for finding in findings:
            if not finding.passed:
                story = self.story(finding.process_id) if finding.process_id else ""
                failure = Failure(
                    kind="check",
                    name=finding.name,
                    text=str(finding),
                    at_s=finding.first_s,
                    process_id=finding.process_id,
                    story=story,
                )
                self.failures.append(failure)
        for stream in self.clients.streams:
            if stream.refused and stream.refused == stream.submitted:
                text = f"{_all(stream.refused)} refused: {stream.first_refusal}"
                self.failures.append(Failure(kind="submit", name=stream.workload.name, text=text))
        seen = self._evidence(findings, summary)
        if not self.failures and (nothing := vacuity.tested_nothing(seen)):
            self.failures.append(Failure(kind="nothing", name="nothing was tested", text=nothing))
        self.requests.read(self.sim.kernel.calls)
        broken_off = any(failure.kind in BREAKS for failure in self.failures)
        result = Result(
            scenario=scenario.name,
            seed=self.seed,
            digest=metrics.digest(),
            journal_digest=self.sim.journal.digest() if self.sim.journal is not None else "",
            storm_s=(self.storm_end_ns - self.start_ns) / SECOND_NS,
            end_s=self.now_s,
            summary=summary,
            findings=findings,
            failures=tuple(self.failures),
            faults=fault_counts(scenario, seen.counts),
            warnings=vacuity.find(seen, broken_off),
            notes=tuple(self._notes()),
            groups=self._groups(summary.window),
            causes=causes(
                self.sim.world.processes.values(), self.sim.observers.invariants, metrics.removed_unfinished()
            ),
            cost=Cost(real_s=round(real_s, 3), events=self.sim.kernel.events, calls=self.sim.kernel.calls_asked),
        )
        names = {one.id: one.name for one in self.fleet.executors}
        make = partial(process_results, metrics, self.sim.observers.invariants, names, scenario.measure.tau_s)
        result.__dict__["make_processes"] = make
        return result

    def _summary(self, now_ns: int) -> Summary:
        wanted, fleet = self.scenario.measure, self.fleet
        programs = sum(bool(part.group.executor_type) for part in self.cast.parts)
        busy_ns, part = fleet.busy_until(now_ns), wanted.part()
        count, width = len(fleet.executors), fleet.width
        return measure(self.metrics, now_ns, count, part, wanted.tau_s, busy_ns, programs, width)

    def _groups(self, window: Window | None) -> tuple[GroupFigures, ...]:
        names = {one.id: one.model.group.name for one in self.fleet.executors}
        return by_group(self.metrics, window, self.scenario.measure.tau_s, lambda one: names.get(one, "programs"))

    def _evidence(self, findings: tuple[Finding, ...], summary: Summary) -> Evidence:
        return Evidence(
            scenario=self.scenario,
            groups=self.groups,
            world=self.sim.world,
            metrics=self.metrics,
            fleet=self.fleet,
            cast=self.cast,
            streams=self.clients.streams,
            generators=self.generators,
            counts=self.sim.faults.counts,
            idle=self.sim.faults.idle,
            idle_crons=self.idle_crons,
            summary=summary,
            findings=findings,
        )

    def _notes(self) -> list[str]:
        """Return notes that are not failures."""
        fleet = self.fleet
        counted = [
            (self.strikes.count, "strike", "of faults in all"),
            (fleet.crashes, "crash", "of executors"),
            (fleet.transfers, "time", "an executor fetched data from another location"),
            (fleet.hung, "time", "an executor took a process and never closed it"),
            (fleet.refused_closes, "time", "the close of an executor was refused: the process was no longer its own"),
            (fleet.failed_calls, "time", "a call of an executor failed and was repeated"),
            (fleet.returns, "time", "an executor registered again, because the server had unregistered it"),
        ]
        for stream in self.clients.streams:
            name = stream.workload.name
            counted.append((stream.refused, "submission", f"of {name} refused: {stream.first_refusal}"))
            counted.append((stream.lost, "submission", f"of {name} not answered"))
        notes = (f"{show_count(count, noun)} {text}" for count, noun, text in counted if count)
        used = (
            f"executors {name} used " + ", ".join(f"{part:.1%} of their {of}" for of, part in parts.items())
            for name, parts in fleet.use(self.start_ns).items()
            if parts
        )
        of_streams = (note for stream in self.clients.streams for note in stream.notes())
        window = None if self.checks.summary is None else self.checks.summary.window
        return [*([] if window is None else window.lines()), *self.recorded_notes, *of_streams, *notes, *used]

    def story(self, process_id: str) -> str:
        """Return the timeline of a process in lines; "" if invariants are off."""
        invariants = self.sim.observers.invariants
        return invariants.story(process_id) if invariants is not None and process_id else ""

    @property
    def now_s(self) -> float:
        return (self.sim.world.now_ns - self.start_ns) / SECOND_NS

    # ------------------------------------------------------------ crons and generators
    def _add_cron(self, plan: CronPlan) -> str:
        spec = CronSpec(
            colonyname=self.scenario.colony,
            name=plan.name,
            cronexpression=plan.expression,
            interval=plan.every_s if plan.every_s is not None else -1,
            waitforprevprocessgraph=plan.waits_for_previous,
            workflowspec=_as_text(plan.submit.workflow_spec(self.scenario.colony, self.scenario.base())),
        )
        answer = self._ask(AddCron(cron=spec))
        if not answer.ok:
            path = ("crons", self.scenario.crons.index(plan))
            raise BadValue(f"it is refused: {answer.body.message}", path)
        return str(answer.body.cron.cron_id)

    def _add_generator(self, plan: GeneratorPlan) -> str:
        spec = GeneratorSpec(
            colonyname=self.scenario.colony,
            name=plan.name,
            trigger=plan.trigger,
            timeout=plan.timeout_s,
            workflowspec=_as_text(plan.submit.workflow_spec(self.scenario.colony, self.scenario.base())),
        )
        answer = self._ask(AddGenerator(generator=spec))
        if not answer.ok:
            path = ("generators", self.scenario.generators.index(plan))
            raise BadValue(f"it is refused: {answer.body.message}", path)
        return str(answer.body.generator.generator_id)

    def _ask(self, message: Message) -> Answer:
        return self.sim.call(self.colony.user.id, message)


def _with_pauses(stop: Callable[[], bool], pause: Callable[[], bool]) -> Callable[[], bool]:
    """Return a condition that pauses after each look at another one that does not hold."""
    return lambda: stop() or pause()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Turn the cyclic garbage collector off: a run makes many objects and few cycles, and collecting costs a sixth."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _all(submissions: int) -> str:
    return "the only submission was" if submissions == 1 else f"all {submissions:,} submissions were"


def _as_text(spec: WorkflowSpec) -> str:
    return msgspec.json.encode(spec).decode()


def _divided(error: Exception) -> tuple[str, str]:
    """Return the first line of an error's text, and the rest."""
    text, _, rest = str(error).partition("\n")
    return text, rest


def run(scenario: Scenario, seed: int | None = None) -> Result:
    """Run a scenario with a seed, by default its own. Raises ValueError if it cannot be run."""
    return Run(scenario, seed).execute()
