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
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.operations.users import AddUser
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import DAY_NS, SECOND_NS
from colonysim.core.types import Conditions, User
from colonysim.core.values import Value
from colonysim.extensions import BadCode, error_line
from colonysim.kernel import randomness
from colonysim.kernel.pending import UNKNOWN_OUTCOME, Pending
from colonysim.kernel.randomness import NotNegative, Positive
from colonysim.simulation.simulation import Simulation
from colonysim.wire import identity
from colonysim.workloads import traces
from colonysim.workloads.arrivals import ARRIVALS, Arrivals, Count, Many
from colonysim.workloads.submissions import Compose, Submission, mixer
from colonysim.workloads.traces import BadTrace, Recording


def _wrong_format(given: Any) -> str:
    return "" if isinstance(given, str) or callable(given) else "expected the name of a format, or a function"


class Trace(Value, frozen=True, kw_only=True):
    """A recorded workload: SWF or CSV, compressed or not; a relative path starts at the scenario's folder.

    `format` is `swf` or `csv`, by default that of the file's name, or a reader of your own: `file.py:function`, in
    Python also the function. `first` and `count` select rows of the file, which are then sorted by time of
    submission; `speed` 2 makes it arrive twice as fast. Each site of the trace is a location, or an executor type for
    `sites: type`, or nothing for `sites: ignore`. The recorded run time is the first argument, for executors whose
    `service` is of kind `process`.
    """

    file: str
    format: Annotated[
        Any, Meta(extra={"opaque": True, "check": _wrong_format}, extra_json_schema={"type": "string"})
    ] = ""
    first: Annotated[int, Meta(ge=0)] = 0
    count: Count | None = None
    speed: Positive = 1.0
    sites: Literal["location", "type", "ignore"] = "location"

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
        recording = traces.load(path, self.format, self.first, self.count, base)
        span_s = (recording.records[-1].submit_s - recording.records[0].submit_s) / self.speed
        if span_s > randomness.MOST:
            what = f"its last process comes {span_s:g} s after the first; a run lasts at most {randomness.MOST:g} s"
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
            raise self.refused("until_s", f"must be at least from_s={self.from_s:g}")

    @property
    def never_ends(self) -> bool:
        """Whether it is endless unless the storm has an end."""
        return self.count is None and self.until_s is None and self.arrivals is not None and not self.arrivals.ends


class Arrive(Event, frozen=True, gc=False):
    """The next submission of a stream is due."""

    stream: int


class Resend(Event, frozen=True, gc=False):
    """A submission of a stream is sent again."""

    stream: int
    number: int


class _Unsure(msgspec.Struct):
    """A submission whose reply was lost; `left` is how often it may still be sent again."""

    caller_id: str
    message: Message
    left: int


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

    def send(self, caller_id: str, message: Message, left: int) -> None:
        self.submitted += 1
        asked = self.clients.kernel.ask_inside(caller_id, message)
        if type(asked) is Answer:
            self._handle(asked, caller_id, message, left)
        else:
            self.clients.busy += 1
            asked.on_answer = partial(self._on_answer, asked, caller_id, message, left)

    def _on_answer(self, pending: Pending, caller_id: str, message: Message, left: int) -> None:
        """Handle the end of a pending call, which may have no answer."""
        self.clients.busy -= 1
        if pending.answer is not None:
            self._handle(pending.answer, caller_id, message, left)

    def _handle(self, answer: Answer, caller_id: str, message: Message, left: int) -> None:
        if answer.ok and answer.payload_type != "garbled":
            return
        if answer.status not in UNKNOWN_OUTCOME and answer.status != 200:
            self.refused += 1
            self.first_refusal = self.first_refusal or str(getattr(answer.body, "message", ""))
            return
        self.lost += 1
        if left:
            number = answer.ticket
            self.unsure[number] = _Unsure(caller_id, message, left - 1)
            self.clients.busy += 1
            kernel = self.clients.kernel
            due_ns = kernel.world.now_ns + randomness.to_ns(self.workload.resend_s)
            kernel.timetable.plan(due_ns, Resend(self.number, number))

    def resend(self, number: int) -> None:
        unsure = self.unsure.pop(number)
        self.clients.busy -= 1
        self.send(unsure.caller_id, unsure.message, unsure.left)


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

    def add(self, workload: Workload) -> None:
        """Start a workload. Raises ValueError if it would never end, BadTrace."""
        if self.storm_ns is None and workload.never_ends:
            raise ValueError(
                f"workload {workload.name!r} never ends: give it a count or until_s, or the storm a length"
            )
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

    # ------------------------------------------------------------ what is submitted when
    def _drawn(self, workload: Workload) -> Iterator[Arrival]:
        seed, purpose = self.sim.settings.seed, f"workload/{workload.name}"
        compose: Compose = mixer(
            workload.mix, self.colony, self.base, randomness.source(seed, f"{purpose}/mix"), self.generators
        )
        assert workload.arrivals is not None
        midnight_s = self.start_ns % DAY_NS / SECOND_NS + workload.from_s
        random = randomness.source(seed, f"{purpose}/arrivals")
        if ARRIVALS.has(workload.arrivals):
            times = workload.arrivals.times(random, midnight_s)
        else:
            times = _checked(workload.arrivals, random, midnight_s, workload.name)
        from_ns, end_ns = randomness.to_ns(workload.from_s), self._end(workload)
        for number, time_s in enumerate(islice(times, workload.count)):
            due_ns = from_ns + randomness.to_ns(time_s)
            if end_ns is not None and due_ns >= end_ns:
                return
            yield due_ns, number % workload.users, compose()

    def _end(self, workload: Workload) -> int | None:
        return self.storm_ns if workload.until_s is None else randomness.to_ns(workload.until_s)

    def _recorded(self, workload: Workload, trace: Trace) -> Iterator[Arrival]:
        """Yield the submissions of a trace. Fields that are not recorded have the values of the mix's first entry."""
        like = workload.mix[0]
        plain, conditions = like.spec(self.colony), _Places(like.conditions(self.colony), trace.sites)
        users: dict[str, int] = {}
        from_s, end_ns, first_s = workload.from_s, self._end(workload), None
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
                conditions=conditions.at(record.site),
            )
            yield due_ns, user, SubmitFuncSpec(spec=spec)


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


class _Places:
    """The conditions of recorded processes, by their site."""

    def __init__(self, plain: Conditions, sites: str) -> None:
        self.plain = plain
        self.sites = sites
        self.known: dict[str, Conditions] = {}

    def at(self, site: str) -> Conditions:
        found = self.known.get(site)
        if found is None:
            fields: dict[str, Any] = {}
            if site and self.sites == "location":
                fields = {"locationname": site_name(site)}
            elif site and self.sites == "type":
                fields = {"executortype": site_name(site)}
            found = self.known[site] = replace(self.plain, **fields) if fields else self.plain
        return found


def site_name(site: str) -> str:
    """Return the name of a site: `site7` for 7, because a number alone is not clear."""
    return f"site{site}" if site.isdigit() else site
