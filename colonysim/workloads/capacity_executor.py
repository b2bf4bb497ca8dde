"""Simulated executors with capacity: each holds many processes at once, as one in front of a cluster does.

With `backfill: first_fit` an executor leaves the order to the server, which gives it the first process that fits what
its assign call offers. The call offers what is left, so it is made again whenever that changes. A process that lacks
something that the server does not know (nodes, GPUs, storage) waits in the executor.

With `easy` and `conservative` its assign calls offer all that it has. It takes every process that it could ever run
into a queue of its own, as executors do that pass processes on to a batch system, and starts them by that policy.
With `none` it takes one process at a time, and asks for no other one before that has started.
"""

from __future__ import annotations

from bisect import insort
from functools import partial
from operator import attrgetter
from typing import Final

from colonysim.capacity.backfill import STARTABLE, Job, minus, plus
from colonysim.capacity.resources import Amounts, ExecutorLimits, expected_ns
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import Process
from colonysim.kernel.pending import LOST, UNKNOWN_OUTCOME, Pending
from colonysim.workloads.executors import POLL, REGISTER, FleetRecords, Model, NextStep, SimulatedExecutor

_FIRST_JOB: Final = REGISTER + 1
"""Steps from this number on are those of jobs: the number of the job whose next step is due."""

# Before the arrivals of the same time, so that they meet what all ends of that time have left.
_ENDS_RANK: Final = -2
_ASKS_RANK: Final = -1

_NOTHING: Final = ("-1m", "")
"""What an executor without room offers: it calls so that the server does not take it for dead, and gets nothing."""


class Task(Job):
    """A process in an executor. `closed`: whether it has been closed or given up, so that only its room is left.

    `rests`: it has been closed, and its room will be free after a rest. `error`: why it is closed as failed, if it is.
    """

    __slots__ = ("closed", "due_ns", "error", "number", "pending", "process", "rests")

    def __init__(self, number: int, process: Process, need: Amounts) -> None:
        super().__init__((process.rank, process.serial), need, expected_ns(process.spec))
        self.number = number
        self.process = process
        self.pending: Pending | None = None
        self.due_ns = -1
        self.closed = self.rests = False
        self.error = ""


_order: Final = attrgetter("order")


class CapacityExecutor(SimulatedExecutor):
    """An executor with capacity: what it has taken (`queue`), what takes room in it (`running`), and what is `free`."""

    __slots__ = (
        "area", "arrived", "asked_for", "asks_again_ns", "changed", "changed_ns", "free", "keeps", "last_number",
        "limits", "looks_ns", "queue", "registers_ns", "running", "startable", "used",
    )  # fmt: skip

    def __init__(self, fleet: FleetRecords, model: Model, number: int, name: str, executor_id: str) -> None:
        super().__init__(fleet, model, number, name, executor_id)
        self.limits = ExecutorLimits(model.group.capacity, model.group.slots)
        self.startable = STARTABLE[model.group.backfill]
        self.free = self.limits.total
        self.queue: list[Task] = []
        self.arrived: Task | None = None  # the answer to a parked call, until it looks at it
        self.keeps = model.group.backfill != "first_fit" or self.limits.beyond_server
        """Whether processes may wait in it."""
        self.running: dict[int, Task] = {}
        self.last_number = _FIRST_JOB
        self.asked_for = _NOTHING
        self.asks_again_ns = 0
        self.changed = False  # whether anything has come or ended since it last started what it could
        self.looks_ns = self.registers_ns = -1  # when it will do so, if that is planned
        self.used = self.area = (0,) * len(self.limits.names)
        self.changed_ns = 0

    # ------------------------------------------------------------ steps
    def run_steps(self, step: int | None) -> None:
        """Do a step that is due: look for work, or the next step of a job."""
        if step == POLL:
            self.looks_ns = -1
            self._look()
        elif step is not None:
            self._end(self.running[step])

    def registered(self) -> None:
        self.step, self.registers_ns = POLL, -1
        super().registered()

    def plan_step(self, step: int, after_ns: int) -> None:
        """Plan a step of the executor `after_ns` nanoseconds from now, or from the end of the pause."""
        due_ns = self._due_ns(after_ns)
        if step == POLL:
            if 0 <= self.looks_ns <= due_ns:
                return
            self.looks_ns = due_ns
        else:
            if self.registers_ns > self.fleet.kernel.world.now_ns:
                return
            self.step, self.registers_ns = step, due_ns
        self._plan(due_ns, step, _ASKS_RANK)

    def _plan_job(self, task: Task, after_ns: int) -> None:
        task.due_ns = due_ns = self._due_ns(after_ns)
        self._plan(due_ns, task.number, _ENDS_RANK)

    def _due_ns(self, after_ns: int) -> int:
        return max(self.fleet.kernel.world.now_ns, self.paused_until_ns) + after_ns

    def _plan(self, due_ns: int, step: int, rank: int) -> None:
        self.fleet.kernel.timetable.planned.add(due_ns, NextStep(self.number, self.life, step), rank)

    # ------------------------------------------------------------ taking processes
    def _look(self) -> None:
        """Ask for processes until there is none, and start what may start."""
        backfill = self.model.group.backfill
        gathers = backfill in ("easy", "conservative")
        while True:
            task, self.arrived = self.arrived or self._ask(), None
            if task is not None and gathers:
                continue
            started = self._start_some(task)
            if task is None and (gathers or not started):
                return

    def _offer(self) -> tuple[str, str]:
        """Return the CPU and the memory that the next assign call offers."""
        limits, backfill = self.limits, self.model.group.backfill
        if backfill == "first_fit":
            full = "slots" in limits.names and not self.free[limits.names.index("slots")]
            return _NOTHING if full else limits.offer(self.free)
        return _NOTHING if backfill == "none" and self.queue else limits.offer(limits.total)

    def _ask(self) -> Task | None:
        """Call assign, unless a call that offers the same is parked. Returns the process that it got at once."""
        kernel, offer = self.fleet.kernel, self._offer()
        if self.pending is not None:
            if offer == self.asked_for or self.pending.ticket not in kernel.world.queues.polls:
                return None  # its answer may be on its way
            kernel.abandon_inside(self.pending)
            self.pending = None
        if self.registers_ns >= 0 or kernel.world.now_ns < self.asks_again_ns:
            return None
        self.asked_for = offer
        plain = self.model.poll
        message = AssignProcess(
            colonyname=plain.colonyname, timeout=plain.timeout, availablecpu=offer[0], availablemem=offer[1]
        )
        asked = kernel.ask_inside(self.id, message, self.on_answer)
        if type(asked) is Pending:
            self.pending = asked
            return None
        return self._asked(asked, at_once=True)

    def on_answer(self) -> None:
        """Handle the answer to a parked assign call. This may only plan: the server is in the middle of a step."""
        pending = self.pending
        if pending is not None and pending.answer is not None:
            self.pending = None
            at_once = pending.call.at_ns == self.fleet.kernel.world.now_ns
            self.arrived = self._asked(pending.answer, at_once)
            self.plan_step(POLL, 0)

    def _asked(self, answer: Answer, at_once: bool) -> Task | None:
        """Handle the answer to an assign call: take the process, or plan the next call. Returns what is queued."""
        status = LOST if answer.payload_type == "garbled" else answer.status
        if status == 200:
            return self._take(answer.body.process)
        if status not in (404, 408):
            self.fleet.failed_calls += 1
            if status in (403, 500):
                self.plan_step(REGISTER, self.model.retry_ns)
                return None
        elif not at_once:  # the poll timed out
            self.plan_step(POLL, 0)
            return None
        self.asks_again_ns = self._due_ns(self.model.retry_ns)
        self.plan_step(POLL, self.model.retry_ns)
        return None

    def _take(self, process: Process) -> Task | None:
        """Queue a process, or refuse one that the executor can never run: the server knows only CPU and memory."""
        self.last_number += 1
        task = Task(self.last_number, process, self.limits.needs(process))
        if lacking := self.limits.lacking(task.need):
            task.error = lacking
            task.need = (0,) * len(task.need)
            self.running[task.number] = task
            self._plan_job(task, 0)
            self.plan_step(POLL, 0)
            return None
        insort(self.queue, task, key=_order)
        self.changed = True
        if self.keeps:
            self.fleet.on_held(process.process_id)
        return task

    def _start_some(self, last: Task | None) -> bool:
        """Start what may start, but nothing behind `last`: the server may have something that comes before that."""
        queue = self.queue if last is None else [task for task in self.queue if task.order <= last.order]
        if not queue or not self.changed:
            return False
        self.changed = last is not None
        started = self.startable(queue, self.running.values(), self.free, self.fleet.kernel.world.now_ns)
        for job in started:
            assert isinstance(job, Task)
            self.queue.remove(job)
            self._start_task(job)
        return bool(started)

    def _start_task(self, task: Task) -> None:
        now_ns, process = self.fleet.kernel.world.now_ns, task.process
        self.running[task.number] = task
        self.free = minus(self.free, task.need)
        self._note_use(plus(self.used, task.need))
        task.ends_ns = now_ns + task.expected_ns
        if self.keeps:
            self.fleet.on_begun(process.process_id)
        draws, chance = self.model.draws_for(process), self.model.chance
        if draws.hangs and chance.hangs.number_of(process) < draws.hangs:
            self.fleet.hung += 1
            task.closed = True
            self._plan_job(task, draws.hang_ns)
            return
        if draws.success < 1.0 and chance.outcome.number_of(process) >= draws.success:
            task.error = "modelled failure"
        self._plan_job(task, self.service_ns(process, draws))

    # ------------------------------------------------------------ ending processes
    def _end(self, task: Task) -> None:
        """Close a process, or free the room of one that is closed or given up."""
        task.due_ns = -1
        if task.closed:
            self._free(task)
            return
        process_id = task.process.process_id
        message: Message = CloseSuccessful(processid=process_id)
        if task.error:
            message = CloseFailed(processid=process_id, errors=[task.error])
        asked = self.fleet.kernel.ask_inside(self.id, message, partial(self._on_closed, task))
        if type(asked) is Pending:
            task.pending = asked
        else:
            self._closed(task, asked)

    def _on_closed(self, task: Task) -> None:
        pending, task.pending = task.pending, None
        if pending is not None and pending.answer is not None:
            self._closed(task, pending.answer)

    def _closed(self, task: Task, answer: Answer) -> None:
        """Handle the answer to a close. Only plans steps."""
        status = LOST if answer.payload_type == "garbled" else answer.status
        if status in UNKNOWN_OUTCOME:
            self.fleet.failed_calls += 1
            self._plan_job(task, self.model.retry_ns)
            return
        if status != 200:
            self.fleet.refused_closes += 1
        task.closed = True
        if self.model.rest is None:
            self._free(task)
            return
        self._note_use(minus(self.used, task.need))
        rest_ns = self.model.rest(None)
        task.ends_ns = self._due_ns(rest_ns)
        task.rests = True
        self._plan_job(task, rest_ns)

    def _free(self, task: Task) -> None:
        """Free the room of a process, and look for more."""
        del self.running[task.number]
        self.free = plus(self.free, task.need)
        self.changed = True
        if not task.rests:
            self._note_use(minus(self.used, task.need))
        self.plan_step(POLL, 0)

    # ------------------------------------------------------------ how much is in use
    def _note_use(self, used: Amounts) -> None:
        now_ns = self.fleet.kernel.world.now_ns
        since_ns = now_ns - self.changed_ns
        self.area = tuple(area + amount * since_ns for area, amount in zip(self.area, self.used, strict=True))
        self.used, self.changed_ns = used, now_ns

    def usage(self) -> dict[str, int]:
        """Return for each resource how much of it has been in use up to now, in amount times nanoseconds."""
        self._note_use(self.used)
        return dict(zip(self.limits.names, self.area, strict=True))

    def share(self, process: Process) -> float:
        """Return which part of the executor a process takes, by the resource that utilisation is measured by."""
        return self.limits.needs(process)[0] / (self.limits.total[0] or 1)

    # ------------------------------------------------------------ what faults do to it
    def crash(self, restart_after_s: float | None) -> None:
        """Stop at once without notifying the server: all that it holds stays assigned."""
        if self.down:
            return
        for task in self.running.values():
            if task.pending is not None:
                self.fleet.kernel.abandon_inside(task.pending)
        if self.running:
            self.fleet.dropped.setdefault(self.id, []).append(self.fleet.kernel.world.now_ns)
        self.running.clear()
        self.queue.clear()
        self.arrived = None
        self.free = self.limits.total
        self._note_use((0,) * len(self.used))
        self.looks_ns = self.registers_ns = -1
        self.asks_again_ns = 0
        super().crash(restart_after_s)

    def pause(self, until_ns: int) -> None:
        """Do nothing until `until_ns`; then continue every step for the time that was left."""
        if self.down:
            return
        since_ns = self._due_ns(0)
        self.paused_until_ns = max(until_ns, self.paused_until_ns)
        self._move_steps(since_ns)

    def resume(self) -> None:
        """End the pause now, and continue every step for the time that was left."""
        now_ns, until_ns = self.fleet.kernel.world.now_ns, self.paused_until_ns
        self.paused_until_ns = 0
        if now_ns < until_ns and not self.down:
            self._move_steps(until_ns)

    def _move_steps(self, since_ns: int) -> None:
        """Plan all steps that are due from `since_ns` on anew, for the time that they then had left."""
        self.life += 1
        if (looks_ns := self.looks_ns) >= since_ns:
            self.looks_ns = -1
            self.plan_step(POLL, looks_ns - since_ns)
        if (registers_ns := self.registers_ns) >= since_ns:
            self.registers_ns = -1
            self.plan_step(REGISTER, registers_ns - since_ns)
        for task in self.running.values():
            if task.due_ns >= since_ns:
                self._plan_job(task, task.due_ns - since_ns)
