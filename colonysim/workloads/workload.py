"""Simulated clients: they submit at random or recorded times, without code or threads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice, takewhile
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import replace

from colonysim import traces
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.operations.users import AddUser
from colonysim.core.records import DAY_NS, SECOND_NS
from colonysim.core.types import User
from colonysim.core.values import BadValue, Value
from colonysim.core.wording import show_exact, show_limit, show_seconds
from colonysim.extensions import BadCode, error_line
from colonysim.kernel import randomness
from colonysim.kernel.randomness import NotNegative, Positive
from colonysim.simulation.simulation import Simulation
from colonysim.traces import BadTrace, Processors, Recording, TraceRecord
from colonysim.traces.formats import Format
from colonysim.traces.mapped import Columns, format_with, wrong_columns
from colonysim.wire import identity
from colonysim.workloads.arrivals import ARRIVALS, Arrivals, ClosedLoop, Count, Many
from colonysim.workloads.estimates import Requested, estimator, requesting
from colonysim.workloads.recorded_conditions import RecordedConditions
from colonysim.workloads.recorded_jobs import with_limits
from colonysim.workloads.sites import site_name
from colonysim.workloads.streams import Act, Arrival, Arrive, ClosedStream, DependentStream, Resend, Stream
from colonysim.workloads.submissions import DATA_SITE, Compose, Submission, check_estimates, mixer


def _wrong_format(given: Any) -> str:
    return "" if isinstance(given, str) or callable(given) else "expected the name of a format, or a function"


class Trace(Value, frozen=True, kw_only=True):
    """A recorded workload: SWF or CSV, compressed or not; a relative path starts at the scenario's folder.

    `format` is `swf` or `csv`, by default that of the file's name, or a reader of your own: `file.py:function`, in
    Python also the function. `first` and `count` select rows of the file, which are then sorted by time of
    submission; `speed` 2 makes it arrive twice as fast. Each site of the trace is a location, or an executor type for
    `sites: type`, or only the location of the data for `sites: data`, or nothing for `sites: ignore`. The recorded run
    time is the first argument, for executors whose `service` is of kind `process`.

    `processors` says what becomes of a job that had several: one process that asks for as many CPUs (`occupy`), as many
    independent processes of one CPU (`expand`), or one process like any other (`ignore`). The `cpu` of the workload's
    mix replaces the one CPU of each processor.

    `estimates` says what becomes of the requested time: the estimate that a process states (`requested`), that and its
    `maxexectime`, so that a job that runs longer is ended then (`limit`), or nothing (`ignore`). An `expected_s` of the
    mix that goes by the run time (`run`, or `times`) replaces it as the estimate.

    `columns` names the columns of a CSV file that has others: `{submit_s: time, run_s: {column: ms, unit: ms}}`.
    `statuses: successful` leaves out jobs that failed or were cancelled. With `dependencies` a job is submitted its
    think time after its preceding job has ended, whenever it was recorded.
    """

    file: str
    format: Annotated[
        Any, Meta(extra={"opaque": True, "check": _wrong_format}, extra_json_schema={"type": "string"})
    ] = ""
    first: Annotated[int, Meta(ge=0)] = 0
    count: Count | None = None
    speed: Positive = 1.0
    sites: Literal["location", "type", "data", "ignore"] = "location"
    estimates: Requested = "requested"
    processors: Processors = "ignore"
    columns: Columns = {}
    statuses: Literal["all", "successful"] = "all"
    dependencies: bool = False

    def check(self) -> None:
        if self.columns and self.format not in ("", "csv"):
            raise self.refused("columns", f"format {self.format!r} has columns of its own; leave one of them out")
        if why := wrong_columns(self.columns):
            raise self.refused("columns", why)
        if self.dependencies and self.processors == "expand":
            why = "a job that becomes several processes has no single end to wait for; use processors: occupy"
            raise self.refused("dependencies", why)

    @property
    def reading(self) -> Format:
        """The format by which the file is read."""
        return format_with(self.columns) if self.columns else self.format

    def check_format(self, base: Path) -> None:
        """Find the format, by its name or the file's name. Raises BadTrace, BadCode."""
        path = base / self.file
        if traces.format_of(path, self.reading, base).workflow:
            fix = "give the workload arrivals and `mix: [{workflow: {kind: wfformat, file: …}}]`"
            raise BadTrace(path, 0, "it is a workflow (WfFormat), and a trace has no dependencies", fix)

    def load(self, base: Path) -> Recording:
        """Return the recorded processes, in the order of submission. Raises BadTrace, BadCode."""
        self.check_format(base)
        path = base / self.file
        honours = [*(["status"] if self.statuses != "all" else []), *(["dependencies"] if self.dependencies else [])]
        recording = traces.load(path, self.reading, self.first, self.count, base, self.processors, honours)
        span_s = (recording.records[-1].submit_s - recording.records[0].submit_s) / self.speed
        if span_s > randomness.MOST:
            most = show_limit(randomness.MOST)
            what = f"its last process comes {show_seconds(span_s)} after the first; a run lasts at most {most}"
            raise BadTrace(path, 0, what, "use fewer rows with `count`, or a greater `speed`")
        return recording


class Workload(Value, frozen=True, kw_only=True):
    """One stream of submissions: `arrivals` of a `mix`, or a recorded `trace`.

    It lasts from `from_s` until `until_s`, or until the end of the storm; `count` is an upper limit. `users` submit in
    turn, or as in the trace. A submission whose reply is lost is sent again up to `resends` times, `resend_s` seconds
    later each time, whether or not it took effect.
    """

    name: str
    arrivals: Arrivals | None = None
    mix: Annotated[tuple[Submission, ...], Meta(min_length=1)] = (Submission(),)
    trace: Trace | None = None
    users: Many = 1
    from_s: NotNegative = 0.0
    until_s: NotNegative | None = None
    count: Count | None = None
    resends: Annotated[int, Meta(ge=0)] = 0
    resend_s: Positive = 1.0

    def check(self) -> None:
        if (self.arrivals is None) == (self.trace is None):
            raise ValueError(f"workload {self.name!r} needs either arrivals or a trace")
        if self.until_s is not None and self.until_s < self.from_s:
            raise self.refused("until_s", f"must be at least from_s={show_exact(self.from_s)}")
        if self.trace is None:
            check_estimates(self.mix)
        if isinstance(self.arrivals, ClosedLoop):
            if any(one.generator for one in self.mix):
                raise BadValue("clients of a closed loop wait for a result, and a generator gives none", ("mix",))
            if self.count is None and randomness.distribution(self.arrivals.think).is_zero:
                raise BadValue("clients that never think may submit without end at one time: give a count", ("count",))

    @property
    def never_ends(self) -> bool:
        """Whether it is endless unless the storm has an end: a client or a job may wait for what never ends."""
        if isinstance(self.arrivals, ClosedLoop) or (self.trace is not None and self.trace.dependencies):
            return self.until_s is None
        return self.count is None and self.until_s is None and self.arrivals is not None and not self.arrivals.ends

    @property
    def why_endless(self) -> str:
        """The text of the error that it never ends, up to the last remedy."""
        waits = isinstance(self.arrivals, ClosedLoop) or self.trace is not None
        remedy = "until_s" if waits else "a count or until_s"
        return f"workload {self.name!r} never ends: give it {remedy}"


class Clients:
    """All simulated clients of one simulation. `storm_ns`: when workloads without another limit stop."""

    def __init__(
        self, sim: Simulation, owner_id: str, colony: str, base: Path, storm_ns: int | None, generators: dict[str, str]
    ) -> None:
        self.sim = sim
        self.kernel = sim.kernel
        self.owner_id = owner_id
        self.colony = colony
        self.base = base
        self.storm_ns = storm_ns
        self.generators = generators
        self.recordings: dict[str, Recording] = {}  # traces that have been read already, by workload
        self.start_ns = sim.world.now_ns
        self.streams: list[Stream] = []
        self.busy = 0  # streams that have more to submit, and submissions under way or to be sent again
        self.kernel.timetable.handle(Arrive, self._arrive)
        self.kernel.timetable.handle(Resend, self._resend)
        self.kernel.timetable.handle(Act, self._act)

    def add(self, workload: Workload) -> None:
        """Start a workload. Raises ValueError if it would never end, BadTrace."""
        if self.storm_ns is None and workload.never_ends:
            raise ValueError(f"{workload.why_endless}, or the storm a length")
        if isinstance(workload.arrivals, ClosedLoop):
            closed = ClosedStream(self, len(self.streams), workload, workload.arrivals)
            self.sim.observers.observe(closed.read)
            stream: Stream = closed
        elif workload.trace is not None and workload.trace.dependencies:
            recording = self.recordings.get(workload.name) or workload.trace.load(self.base)
            records = recording.records[: workload.count]
            jobs = list(self.messages_of(workload, workload.trace, records))
            dependent = DependentStream(self, len(self.streams), workload, records, jobs, workload.trace.speed)
            self.sim.observers.observe(dependent.precedence.read)
            stream = dependent
        else:
            arrivals = self._drawn(workload) if workload.trace is None else self._recorded(workload, workload.trace)
            stream = Stream(self, len(self.streams), workload, arrivals)
        self.streams.append(stream)
        self.busy += 1
        stream.plan()

    def all_submitted(self) -> bool:
        """Whether nothing is left to submit or send again, and all answers have come."""
        return self.busy == 0

    def add_users(self, workload: Workload) -> list[str]:
        """Add the users of a workload to the colony, and return their ids."""
        ids = []
        for place in range(1, workload.users + 1):
            name = workload.name if workload.users == 1 else f"{workload.name}-{place}"
            user_id = identity.derived(self.sim.settings.seed, f"user/{self.colony}/{name}").id
            answer = self.sim.call(self.owner_id, AddUser(user=User(colonyname=self.colony, userid=user_id, name=name)))
            if not answer.ok:
                raise ValueError(f"user {name!r} cannot be added: {answer.body.message}")
            ids.append(user_id)
        return ids

    def _arrive(self, event: Arrive) -> bool:
        self.streams[event.stream].submit()
        return False

    def _resend(self, event: Resend) -> bool:
        self.streams[event.stream].resend(event.number)
        return False

    def _act(self, event: Act) -> bool:
        stream = self.streams[event.stream]
        assert isinstance(stream, (ClosedStream, DependentStream))
        stream.act(event.client)
        return False

    # ------------------------------------------------------------ what is submitted when
    def _drawn(self, workload: Workload) -> Iterator[Arrival]:
        compose = self.composer_of(workload)
        assert workload.arrivals is not None
        midnight_s = self.start_ns % DAY_NS / SECOND_NS + workload.from_s
        random = self._source(workload, "arrivals")
        if ARRIVALS.has(workload.arrivals):
            times = workload.arrivals.times(random, midnight_s)
        else:
            times = _checked(workload.arrivals, random, midnight_s, workload.name)
        from_ns, end_ns = randomness.to_ns(workload.from_s), self.end_of(workload)
        for number, time_s in enumerate(islice(times, workload.count)):
            due_ns = from_ns + randomness.to_ns(time_s)
            if end_ns is not None and due_ns >= end_ns:
                return
            yield due_ns, number % workload.users, compose()

    def composer_of(self, workload: Workload) -> Compose:
        """Return what creates the submissions of a mix."""
        return mixer(
            workload.mix,
            self.colony,
            self.base,
            self._source(workload, "mix"),
            self._source(workload, "limits"),
            self.generators,
            self._source(workload, "estimates"),
        )

    def _source(self, workload: Workload, purpose: str) -> Random:
        return randomness.source(self.sim.settings.seed, f"workload/{workload.name}/{purpose}")

    def end_of(self, workload: Workload) -> int | None:
        """Return when a workload ends, in nanoseconds from the start; None if only its arrivals end it."""
        return self.storm_ns if workload.until_s is None else randomness.to_ns(workload.until_s)

    def _recorded(self, workload: Workload, trace: Trace) -> Iterator[Arrival]:
        """Yield the submissions of a trace up to the end of the workload."""
        recording = self.recordings.get(workload.name) or trace.load(self.base)
        arrivals = self.messages_of(workload, trace, islice(recording.records, workload.count))
        end_ns = self.end_of(workload)
        return takewhile(lambda arrival: end_ns is None or arrival[0] < end_ns, arrivals)

    def messages_of(self, workload: Workload, trace: Trace, records: Iterable[TraceRecord]) -> Iterator[Arrival]:
        """Yield the submissions of records. Fields that are not recorded have the values of the mix's first entry."""
        like = workload.mix[0]
        plain = like.spec(self.colony)
        conditions = RecordedConditions(plain.conditions, trace.sites, trace.processors)
        patience, users = like.patience(self._source(workload, "limits")), dict[str, int]()
        estimate = estimator(like.expected_s, self._source(workload, "estimates"))
        from_s, first_s = workload.from_s, None
        for record in records:
            if first_s is None:
                first_s = record.submit_s
            due_ns = randomness.to_ns(from_s + (record.submit_s - first_s) / trace.speed)
            user = users.setdefault(record.user, len(users)) % workload.users
            spec = replace(
                plain,
                funcname=record.funcname or plain.funcname,
                args=[record.run_s],
                conditions=conditions.of(record),
            )
            spec = with_limits(requesting(spec, record, trace.estimates, estimate), record, trace.speed)
            if patience is not None and record.deadline_s < 0:
                spec = replace(spec, maxwaittime=patience())
            if trace.sites == "data" and record.site:
                spec = replace(spec, env={DATA_SITE: site_name(record.site)})
            message = SubmitFuncSpec(spec=spec)
            for _ in range(record.processors if trace.processors == "expand" else 1):
                yield due_ns, user, message


def _checked(arrivals: Arrivals, random: Random, midnight_s: float, name: str) -> Iterator[float]:
    """Yield the times of a user's arrivals. Raises BadCode if they are not in ascending order."""
    last_s = 0.0
    try:
        for time_s in arrivals.times(random, midnight_s):
            if not time_s >= last_s:
                what = f"{time_s} s after {last_s} s" if last_s else f"{time_s} s"
                raise BadCode(f"workload {name!r}: its arrivals yield {what}; times start at 0 and must not decrease")
            last_s = time_s
            yield time_s
    except BadCode:
        raise
    except Exception as error:
        raise BadCode(f"workload {name!r}: its arrivals raise {error_line(error)}") from error
