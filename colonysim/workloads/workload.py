"""Simulated clients: they submit at random or recorded times, without code or threads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from colonysim.core.agenda import Event
from colonysim.core.history import Entry, Transition
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.operations.users import AddUser
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import DAY_NS, RUNNING, SECOND_NS, WAITING
from colonysim.core.replies import GraphReply
from colonysim.core.types import User
from colonysim.core.values import BadValue, Value
from colonysim.core.wording import show_exact, show_limit, show_seconds
from colonysim.extensions import BadCode, error_line
from colonysim.kernel import randomness
from colonysim.kernel.pending import UNKNOWN_OUTCOME, Pending
from colonysim.kernel.randomness import NotNegative, Positive
from colonysim.simulation.simulation import Simulation
from colonysim.wire import identity
from colonysim.workloads import traces
from colonysim.workloads.arrivals import ARRIVALS, Arrivals, ClosedLoop, Count, Many
from colonysim.workloads.estimates import Requested, estimator, requesting
from colonysim.workloads.recorded_conditions import RecordedConditions
from colonysim.workloads.sites import site_name
from colonysim.workloads.submissions import DATA_SITE, Compose, Submission, check_estimates, mixer
from colonysim.workloads.traces import BadTrace, Processors, Recording


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

    def check_format(self, base: Path) -> None:
        """Find the format, by its name or the file's name. Raises BadTrace, BadCode."""
        path = base / self.file
        if traces.format_of(path, self.format, base).workflow:
            fix = "give the workload arrivals and `mix: [{workflow: {kind: wfformat, file: …}}]`"
            raise BadTrace(path, 0, "it is a workflow (WfFormat), and a trace has no dependencies", fix)

    def load(self, base: Path) -> Recording:
        """Return the recorded processes, in the order of submission. Raises BadTrace, BadCode."""
        self.check_format(base)
        path = base / self.file
        recording = traces.load(path, self.format, self.first, self.count, base, self.processors)
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
        """Whether it is endless unless the storm has an end: a client may wait for what never ends."""
        if isinstance(self.arrivals, ClosedLoop):
            return self.until_s is None
        return self.count is None and self.until_s is None and self.arrivals is not None and not self.arrivals.ends

    @property
    def why_endless(self) -> str:
        """The text of the error that it never ends, up to the last remedy."""
        remedy = "until_s" if isinstance(self.arrivals, ClosedLoop) else "a count or until_s"
        return f"workload {self.name!r} never ends: give it {remedy}"


class Arrive(Event, frozen=True, gc=False):
    """The next submission of a stream is due."""

    stream: int


class Resend(Event, frozen=True, gc=False):
    """A submission of a stream is sent again."""

    stream: int
    number: int


class Act(Event, frozen=True, gc=False):
    """A client of a closed loop has thought; client -1: the loop ends."""

    stream: int
    client: int


class _Unsure(msgspec.Struct):
    """A submission whose reply was lost; `left` is how often it may still be sent again."""

    caller_id: str
    message: Message
    left: int
    client: int


Arrival = tuple[int, int, Message]
"""Time in nanoseconds from the beginning, user, and message."""


class Stream:
    """A workload in progress: its submissions to come, and counts of those so far."""

    def __init__(self, clients: Clients, number: int, workload: Workload, arrivals: Iterator[Arrival]) -> None:
        self.clients = clients
        self.number = number
        self.workload = workload
        self.arrivals = arrivals
        self.user_ids = clients.add_users(workload)
        self.unsure: dict[int, _Unsure] = {}
        self.next: Arrival | None = None
        self.first_refusal = ""
        self.submitted = self.refused = self.lost = 0

    def plan(self) -> None:
        """Put the next submission on the agenda."""
        self.next = following = next(self.arrivals, None)
        if following is None:
            self.clients.busy -= 1
        else:
            self.clients.kernel.timetable.planned.add(self.clients.start_ns + following[0], Arrive(self.number))

    def submit(self) -> None:
        """Send the submission that is due, and plan the next one."""
        assert self.next is not None
        _, user, message = self.next
        self.send(self.user_ids[user], message, self.workload.resends)
        self.plan()

    def send(self, caller_id: str, message: Message, left: int, client: int = -1) -> None:
        """Send a submission, which may be sent again `left` times; `client`: of a closed loop, the one that waits."""
        self.submitted += 1
        asked = self.clients.kernel.ask_inside(caller_id, message)
        if type(asked) is Answer:
            self._handle(asked, caller_id, message, left, client)
        else:
            self.clients.busy += 1
            asked.on_answer = partial(self._on_answer, asked, caller_id, message, left, client)

    def _on_answer(self, pending: Pending, caller_id: str, message: Message, left: int, client: int) -> None:
        """Handle the end of a pending call, which may have no answer."""
        self.clients.busy -= 1
        if pending.answer is not None:
            self._handle(pending.answer, caller_id, message, left, client)
        else:
            self.given_up(client)

    def _handle(self, answer: Answer, caller_id: str, message: Message, left: int, client: int) -> None:
        if answer.ok and answer.payload_type != "garbled":
            self.accepted(answer, client)
            return
        if answer.status not in UNKNOWN_OUTCOME and answer.status != 200:
            self.refused += 1
            self.first_refusal = self.first_refusal or str(getattr(answer.body, "message", ""))
            self.given_up(client)
            return
        self.lost += 1
        if not left:
            self.given_up(client)
        else:
            number = answer.ticket
            self.unsure[number] = _Unsure(caller_id, message, left - 1, client)
            self.clients.busy += 1
            kernel = self.clients.kernel
            due_ns = kernel.world.now_ns + randomness.to_ns(self.workload.resend_s)
            kernel.timetable.plan(due_ns, Resend(self.number, number))

    def resend(self, number: int) -> None:
        unsure = self.unsure.pop(number)
        self.clients.busy -= 1
        self.send(unsure.caller_id, unsure.message, unsure.left, unsure.client)

    def accepted(self, answer: Answer, client: int) -> None:
        """A submission has been accepted."""

    def given_up(self, client: int) -> None:
        """A submission has been refused, or lost for the last time."""


class ClosedStream(Stream):
    """A closed loop in progress: who waits for which processes."""

    def __init__(self, clients: Clients, number: int, workload: Workload, loop: ClosedLoop) -> None:
        super().__init__(clients, number, workload, iter(()))
        seed, purpose = clients.sim.settings.seed, f"workload/{workload.name}"
        self.compose = clients.composer_of(workload)
        self.thoughts = [
            randomness.drawer(loop.think, randomness.source(seed, f"{purpose}/client/{client}"))
            for client in range(loop.clients)
        ]
        self.waits_for: dict[str, int] = {}  # which client waits for a process
        self.missing = [0] * loop.clients  # for how many processes each client waits
        self.left = workload.count
        self.ended = False
        end_ns = clients.end_of(workload)
        self.end_ns = None if end_ns is None else clients.start_ns + end_ns

    def plan(self) -> None:
        """Let all clients think for the first time, and plan the end of the loop."""
        from_ns = randomness.to_ns(self.workload.from_s)
        for client in range(len(self.thoughts)):
            self._think(client, from_ns)
        assert self.end_ns is not None
        self.clients.kernel.timetable.plan(self.end_ns, Act(self.number, -1))

    def _think(self, client: int, after_ns: int = 0, least_ns: int = 0) -> None:
        """Let a client think from `after_ns` from now on, for `least_ns` at least; then it submits, if it has time."""
        kernel = self.clients.kernel
        due_ns = kernel.world.now_ns + after_ns + max(self.thoughts[client](None), least_ns)
        if not self.ended and self.end_ns is not None and due_ns < self.end_ns:
            kernel.timetable.plan(due_ns, Act(self.number, client))

    def act(self, client: int) -> None:
        """Let a client submit, or end the loop."""
        if self.ended:
            return
        if self.left is not None and client >= 0:
            self.left -= 1
        if client < 0 or self.left == 0:
            self.ended = True
            self.clients.busy -= 1
        if client >= 0:
            user_id = self.user_ids[client % len(self.user_ids)]
            self.send(user_id, self.compose(), self.workload.resends, client)

    def accepted(self, answer: Answer, client: int) -> None:
        """Wait for the processes that were submitted, unless they have ended already."""
        body: Any = answer.body
        ids = body.process_ids or () if isinstance(body, GraphReply) else (body.process_id,)
        for process_id in ids:
            process = self.clients.kernel.world.processes.get(process_id)
            if process is not None and process.state in (WAITING, RUNNING):
                self.waits_for[process_id] = client
                self.missing[client] += 1
        if not self.missing[client]:
            self._think(client)

    def given_up(self, client: int) -> None:
        self._think(client, least_ns=randomness.to_ns(self.workload.resend_s))

    def read(self, happened: list[Entry]) -> None:
        """Let clients think whose processes have ended in a step."""
        for entry in happened:
            if type(entry) is Transition and entry.new not in (WAITING, RUNNING):
                client = self.waits_for.pop(entry.process_id, None)
                if client is not None:
                    self.missing[client] -= 1
                    if not self.missing[client]:
                        self._think(client)


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
        assert isinstance(stream, ClosedStream)
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
        """Yield the submissions of a trace. Fields that are not recorded have the values of the mix's first entry."""
        like = workload.mix[0]
        plain = like.spec(self.colony)
        conditions = RecordedConditions(plain.conditions, trace.sites, trace.processors)
        patience, users = like.patience(self._source(workload, "limits")), dict[str, int]()
        estimate = estimator(like.expected_s, self._source(workload, "estimates"))
        from_s, end_ns, first_s = workload.from_s, self.end_of(workload), None
        recording = self.recordings.get(workload.name) or trace.load(self.base)
        for record in islice(recording.records, workload.count):
            if first_s is None:
                first_s = record.submit_s
            due_ns = randomness.to_ns(from_s + (record.submit_s - first_s) / trace.speed)
            if end_ns is not None and due_ns >= end_ns:
                return
            user = users.setdefault(record.user, len(users)) % workload.users
            spec = replace(
                plain,
                funcname=record.funcname or plain.funcname,
                args=[record.run_s],
                conditions=conditions.of(record),
            )
            spec = requesting(spec, record, trace.estimates, estimate)
            if patience is not None:
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
