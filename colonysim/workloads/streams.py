"""Workloads in progress: open ones, closed loops, and traces whose jobs wait for others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import msgspec

from colonysim.core.agenda import Event
from colonysim.core.history import Entry, Transition
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import RUNNING, WAITING
from colonysim.core.replies import GraphReply
from colonysim.kernel import randomness
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import UNKNOWN_OUTCOME, Pending
from colonysim.simulation.simulation import Simulation
from colonysim.traces import TraceRecord
from colonysim.workloads.arrivals import ClosedLoop
from colonysim.workloads.recorded_jobs import Precedence
from colonysim.workloads.submissions import Compose


class WorkloadPlan(Protocol):
    """What a stream uses of a Workload, which knows streams and so cannot be imported here."""

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int | None: ...
    @property
    def from_s(self) -> float: ...
    @property
    def resends(self) -> int: ...
    @property
    def resend_s(self) -> float: ...


class StreamContext(Protocol):
    """What a stream uses of Clients."""

    sim: Simulation
    kernel: Kernel
    start_ns: int
    busy: int

    def add_users(self, workload: Any) -> list[str]: ...
    def composer_of(self, workload: Any) -> Compose: ...
    def end_of(self, workload: Any) -> int | None: ...


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

    def __init__(
        self, clients: StreamContext, number: int, workload: WorkloadPlan, arrivals: Iterator[Arrival]
    ) -> None:
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

    def notes(self) -> list[str]:
        """Return notes for the result."""
        return []


class ClosedStream(Stream):
    """A closed loop in progress: who waits for which processes."""

    def __init__(self, clients: StreamContext, number: int, workload: WorkloadPlan, loop: ClosedLoop) -> None:
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


class DependentStream(Stream):
    """A trace in progress whose jobs wait for others: those that wait for none come when they were recorded."""

    def __init__(
        self,
        clients: StreamContext,
        number: int,
        workload: WorkloadPlan,
        records: Sequence[TraceRecord],
        jobs: Sequence[Arrival],
        speed: float,
    ) -> None:
        self.records = records
        self.speed = speed
        self.jobs = jobs
        self.precedence = Precedence(self.records, self._free)
        self.free = iter([place for place in range(len(self.jobs)) if place not in self.precedence.held])
        super().__init__(clients, number, workload, iter(()))
        self.place = -1
        self.ended = False
        self.left = len(self.jobs)
        end_ns = clients.end_of(workload)
        assert end_ns is not None
        self.end_ns = clients.start_ns + end_ns
        clients.kernel.timetable.plan(self.end_ns, Act(number, -1))

    def plan(self) -> None:
        self.place = next(self.free, -1)
        if self.place >= 0 and (due_ns := self.clients.start_ns + self.jobs[self.place][0]) < self.end_ns:
            self.clients.kernel.timetable.planned.add(due_ns, Arrive(self.number))

    def submit(self) -> None:
        self.act(self.place)
        self.plan()

    def _free(self, place: int) -> None:
        """Plan a job whose preceding job has ended."""
        kernel = self.clients.kernel
        due_ns = kernel.world.now_ns + randomness.to_ns(self.records[place].think_s / self.speed)
        if due_ns < self.end_ns:
            kernel.timetable.plan(due_ns, Act(self.number, place))

    def act(self, client: int) -> None:
        """Submit a job, or end the workload."""
        if not self.ended and client >= 0:
            self.left -= 1
            self.send(self.user_ids[self.jobs[client][1]], self.jobs[client][2], self.workload.resends, client)
        if not self.ended and (client < 0 or not self.left):
            self.ended = True
            self.clients.busy -= 1

    def accepted(self, answer: Answer, client: int) -> None:
        """Note the process of a job, which may have ended before the reply has come."""
        body: Any = answer.body
        process = self.clients.kernel.world.processes.get(body.process_id)
        if process is not None and process.state in (WAITING, RUNNING):
            self.precedence.began(client, body.process_id)
        else:
            self.precedence.ended(client)

    def given_up(self, client: int) -> None:
        self.precedence.ended(client)

    def notes(self) -> list[str]:
        waited, name = self.precedence.count, self.workload.name
        left = [f"{self.left} jobs of {name} were not submitted before its end"] if self.left else []
        return [f"{waited} of {len(self.jobs)} jobs of {name} waited for the end of their preceding job", *left]
