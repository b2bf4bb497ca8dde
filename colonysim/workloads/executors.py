"""Simulated executors: they poll for processes, hold each for a random time and close it, without code or threads.

Each is a chain of planned steps, and sends the messages that a real executor sends, so that faults, invariants and the
journal apply to it. An idle one costs one parked call, and nothing until that ends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final

from msgspec import Meta

from colonysim.capacity.backfill import Backfill
from colonysim.capacity.resources import Capacity, cpu_text, wrong_cpu, wrong_memory
from colonysim.core.agenda import Event
from colonysim.core.golang.units import parse_cpu
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.protocol import Answer, Message
from colonysim.core.records import SECOND_NS, Process
from colonysim.core.values import Value
from colonysim.kernel import randomness
from colonysim.kernel.pending import LOST, UNKNOWN_OUTCOME, Pending
from colonysim.kernel.randomness import AnySpan, Draw, NotNegative, Probability
from colonysim.simulation.simulation import Simulation
from colonysim.workloads.arrivals import Many
from colonysim.workloads.process_chance import ProcessChance
from colonysim.workloads.submissions import DATA_SITE

_LEAST_SPEED: Final = 0.001

# What an executor does next.
POLL: Final = 0
CLOSE: Final = 1
REGISTER: Final = 2


class Behaviour(Value, frozen=True, kw_only=True):
    """How an executor serves the processes of one function.

    `service` is how long it holds a process, in seconds or as a distribution, and `success` the probability that it
    then closes it as successful rather than as failed. With probability `hangs` it never closes the process, and polls
    again after `hang_s` seconds.
    """

    service: AnySpan = 1.0
    success: Probability = 1.0
    hangs: Probability = 0.0
    hang_s: NotNegative = 600.0


class ExecutorGroup(Behaviour, frozen=True):
    """A group of equal executors: `count` of one type, at one location, called `name`-1 and so on.

    `functions` has other behaviours for single functions. `starts` is when they start, from the start of the run;
    `rest` is the time between a process and the next poll; after a lost connection or a refusal they try again after
    `retry_s`. `registers_again`: an executor that crashed registers again when it restarts, and so
    loses the process it held. `speed` divides service times; a distribution gives each executor a speed of its own, at
    least 0.001. `transfer` is added to the service of a process whose input data are at another location.

    With `capacity`, `slots` or both, an executor holds many processes at once: as many as have room in its capacity,
    and at most `slots`. Its assign calls then offer what it has left, in place of `cpu` and `memory`. `backfill` says
    which processes start next if not all have room. `rest` is then how long the room of a process stays taken after it.
    """

    name: str
    type: str = "cli"
    count: Many = 1
    location: str = ""
    cpu: str = ""
    memory: str = ""
    capacity: Capacity | None = None
    slots: Many | None = None
    backfill: Backfill = "first_fit"
    functions: dict[str, Behaviour] = {}
    starts: AnySpan = 0.0
    rest: AnySpan = 0.0
    speed: AnySpan = 1.0
    transfer: AnySpan = 0.0
    poll_timeout_s: Annotated[int, Meta(ge=1, le=9_000_000_000)] = 60
    retry_s: randomness.Positive = 1.0
    registers_again: bool = False

    @property
    def holds_many(self) -> bool:
        """Whether an executor holds many processes at once."""
        return self.capacity is not None or self.slots is not None

    def check(self) -> None:
        if randomness.distribution(self.speed).is_zero:
            raise self.refused("speed", "must be greater than 0; 2 halves service times")
        if why := wrong_cpu(self.cpu):
            raise self.refused("cpu", why)
        if why := wrong_memory(self.memory):
            raise self.refused("memory", why)
        if not self.holds_many:
            if self.backfill != "first_fit":
                raise self.refused("backfill", "an executor without capacity or slots holds one process at a time")
            return
        for name in ("cpu", "memory"):
            if getattr(self, name):
                why = "assign calls of an executor with capacity or slots offer what is left of its capacity"
                raise self.refused(name, f"{why}; write it as capacity.{name}")


UNLIMITED: Final = 2**80
"""An amount of CPU that no process exceeds."""


def most_cpu_milli(group: ExecutorGroup) -> int:
    """Return the most CPU that a process may ask for and still be run by an executor of a group, in milli-CPU."""
    if group.capacity is not None and group.capacity.cpu is not None:
        return parse_cpu(cpu_text(group.capacity.cpu))
    return parse_cpu(group.cpu) if group.cpu else UNLIMITED


class NextStep(Event, frozen=True, gc=False):
    """A step of an executor is due. It is ignored if the executor has been stopped since, which changes its `life`."""

    number: int
    life: int
    step: int


class _Served:
    """A behaviour with the function that draws its spans of service."""

    __slots__ = ("hang_ns", "hangs", "service", "success")

    def __init__(self, behaviour: Behaviour, chance: ProcessChance) -> None:
        self.service: Draw = randomness.drawer(behaviour.service, chance.service)
        self.success, self.hangs = behaviour.success, behaviour.hangs
        self.hang_ns = randomness.to_ns(behaviour.hang_s)


class Model:
    """The parts that the executors of a group share: their polls, behaviours, and random sources of their own."""

    def __init__(self, group: ExecutorGroup, colony: str, seed: int, chance: ProcessChance) -> None:
        self.group = group
        self.chance = chance
        self.poll = AssignProcess(
            colonyname=colony, timeout=group.poll_timeout_s, availablecpu=group.cpu, availablemem=group.memory
        )
        purpose = f"executors/{group.name}"
        self.draws = _Served(group, chance)
        self.special = {name: _Served(one, chance) for name, one in group.functions.items()}
        self.rest = (
            None if group.rest == 0.0 else randomness.drawer(group.rest, randomness.source(seed, f"{purpose}/rest"))
        )
        self.starts = randomness.drawer(group.starts, randomness.source(seed, f"{purpose}/starts"))
        self.speeds = randomness.drawer(group.speed, randomness.source(seed, f"{purpose}/speed"))
        self.location = group.location.lower()
        self.transfer = None if group.transfer == 0.0 else randomness.drawer(group.transfer, chance.transfer)
        self.retry_ns = randomness.to_ns(group.retry_s)

    def speed(self) -> float:
        """Draw the speed of the next executor of the group."""
        return max(self.speeds(None) / SECOND_NS, _LEAST_SPEED)

    def transfer_ns(self, process: Process) -> int:
        """Return how long it takes to fetch the input data of a process: 0 if they are here, or it has none."""
        site = (process.spec.env or {}).get(DATA_SITE, "").lower()
        if self.transfer is None or not site or site == self.location:
            return 0
        self.chance.transfer.process = process
        return self.transfer(process)

    def draws_for(self, process: Process) -> _Served:
        return self.special.get(process.spec.funcname, self.draws) if self.special else self.draws


def _ignore(process_id: str) -> None:
    """Do nothing: nobody wants to know."""


class FleetRecords:
    """What the executors of one simulation share: the simulation, chance, and counts of what they did."""

    def __init__(self, sim: Simulation) -> None:
        self.sim = sim
        self.kernel = sim.kernel
        self.chance = ProcessChance(sim.settings.seed)
        self.failed_calls = 0
        self.refused_closes = 0
        self.hung = 0
        self.crashes = 0
        self.busy_ns = 0
        self.dropped: dict[str, list[int]] = {}  # for each executor, when it gave up processes, which stay assigned
        self.transfers = 0
        self.chaos = False  # whether faults may strike the executors
        self.on_held: Callable[[str], None] = _ignore
        """Called with the id of a process that an executor has taken and that waits in it for room."""
        self.on_begun: Callable[[str], None] = _ignore
        """Called with the id of such a process when the executor starts to work on it."""


class SimulatedExecutor:
    """One executor: the process it holds, the call it waits for, and its life, a number that crashes increase."""

    __slots__ = (
        "asks", "busy_since_ns", "down", "due_ns", "failing", "fleet", "id", "life", "model", "name", "number",
        "paused_until_ns", "pending", "process_id", "speed", "step",
    )  # fmt: skip

    def __init__(self, fleet: FleetRecords, model: Model, number: int, name: str, executor_id: str) -> None:
        self.fleet = fleet
        self.model = model
        self.number = number
        self.name = name
        self.id = executor_id
        self.life = 0
        self.step = REGISTER
        self.pending: Pending | None = None
        self.process_id = ""
        self.failing = False
        self.due_ns = 0
        self.paused_until_ns = 0
        self.down = False
        self.busy_since_ns = -1
        self.asks = False  # whether it has ever asked for work
        self.speed = model.speed()

    # ------------------------------------------------------------ asking
    def run_steps(self, step: int | None) -> None:
        """Do a step, and the further ones that follow at the same time: each sends a call and handles its answer."""
        ask_inside = self.fleet.kernel.ask_inside
        while step is not None:
            self.step = step
            if step == POLL:
                if self.busy_since_ns >= 0:
                    self._drop()  # it gives up a process that it never closes
                message: Message = self.model.poll
            elif self.failing:
                message = CloseFailed(processid=self.process_id, errors=["modelled failure"])
            else:
                message = CloseSuccessful(processid=self.process_id)
            asked = ask_inside(self.id, message, self.on_answer)
            if type(asked) is Pending:
                self.pending = asked
                return
            step = self._handle(asked, at_once=True)

    def on_answer(self) -> None:
        """Handle the answer to a parked call. This may only plan, because the server is in the middle of a step."""
        pending = self.pending
        if pending is not None and pending.answer is not None:
            self.pending = None
            at_once = pending.call.at_ns == self.fleet.kernel.world.now_ns
            step = self._handle(pending.answer, at_once)
            if step is not None:
                self.plan_step(step, 0)

    def _handle(self, answer: Answer, at_once: bool) -> int | None:
        """Handle an answer. Return the step that follows at once, or None if the next one is planned for later."""
        status = LOST if answer.payload_type == "garbled" else answer.status
        if self.step != POLL:
            return self._after_close(status)
        if status == 200:
            self._start(answer.body.process)
        elif status in (404, 408):  # the poll timed out
            self.plan_step(POLL, self.model.retry_ns if at_once else 0)
        else:
            self.fleet.failed_calls += 1
            self.plan_step(REGISTER if status in (403, 500) else POLL, self.model.retry_ns)
        return None

    def _start(self, process: Process) -> None:
        """Start to work on a process."""
        self.process_id = process.process_id
        self.busy_since_ns = self.fleet.kernel.world.now_ns
        draws, chance = self.model.draws_for(process), self.model.chance
        if draws.hangs and chance.hangs.number_of(process) < draws.hangs:
            self.fleet.hung += 1
            self.plan_step(POLL, draws.hang_ns)
            return
        self.failing = draws.success < 1.0 and chance.outcome.number_of(process) >= draws.success
        self.plan_step(CLOSE, self.service_ns(process, draws))

    def service_ns(self, process: Process, draws: _Served) -> int:
        """Draw how long it works on a process, by its speed, with the transfer of input data and while it is slow."""
        self.model.chance.service.process = process
        service_ns = draws.service(process)
        if self.speed != 1.0:
            service_ns = round(service_ns / self.speed)
        if self.model.transfer is not None and (transfer_ns := self.model.transfer_ns(process)):
            service_ns += transfer_ns
            self.fleet.transfers += 1
        if self.fleet.chaos:
            service_ns = round(service_ns * self.fleet.sim.faults.slowness(self.name))
        return service_ns

    def _after_close(self, status: int) -> int | None:
        if status in UNKNOWN_OUTCOME:
            self.fleet.failed_calls += 1
            self.plan_step(CLOSE, self.model.retry_ns)
            return None
        if status != 200:
            self.fleet.refused_closes += 1
        self.become_idle()
        pause = self.model.rest
        if pause is None:
            return POLL
        self.plan_step(POLL, pause(None))
        return None

    def registered(self) -> None:
        """Ask for work: the server knows the executor now."""
        self.asks = True
        self.run_steps(POLL)

    def become_idle(self) -> None:
        """Add the time since it got its process to its busy time."""
        if self.busy_since_ns >= 0:
            self.fleet.busy_ns += self.fleet.kernel.world.now_ns - self.busy_since_ns
            self.busy_since_ns = -1

    def _drop(self) -> None:
        """Give up the process that it works on, if any, which stays assigned to it."""
        if self.busy_since_ns >= 0:
            self.fleet.dropped.setdefault(self.id, []).append(self.fleet.kernel.world.now_ns)
        self.become_idle()

    def plan_step(self, step: int, after_ns: int) -> None:
        """Plan a step `after_ns` nanoseconds from now, or from the end of the pause."""
        kernel = self.fleet.kernel
        self.step = step
        self.due_ns = due_ns = max(kernel.world.now_ns, self.paused_until_ns) + after_ns
        kernel.timetable.planned.add(due_ns, NextStep(self.number, self.life, step))

    # ------------------------------------------------------------ what faults do to it
    @property
    def executor_type(self) -> str:
        return self.model.group.type

    def terminate(self, number: int, grace_s: float, restart_after_s: float | None) -> None:
        """Crash: a simulated executor handles no signals."""
        self.crash(restart_after_s)

    def crash(self, restart_after_s: float | None) -> None:
        """Stop at once without notifying the server: its call is abandoned, and the process it holds stays assigned."""
        if self.down:
            return
        self.down = True
        self.life += 1
        pending, self.pending = self.pending, None
        self.process_id = ""
        self.due_ns = self.paused_until_ns = 0
        self._drop()
        self.fleet.crashes += 1
        if pending is not None:
            self.fleet.kernel.abandon_inside(pending)
        if restart_after_s is not None:
            step = REGISTER if self.step == REGISTER or self.model.group.registers_again else POLL
            self.plan_step(step, randomness.to_ns(restart_after_s))

    def pause(self, until_ns: int) -> None:
        """Do nothing until `until_ns`; then continue the current step for the time that was left."""
        now_ns = self.fleet.kernel.world.now_ns
        if self.down:
            return
        if self.pending is None and self.due_ns >= now_ns:
            left_ns = self.due_ns - max(now_ns, self.paused_until_ns)
            self.life += 1
            self.paused_until_ns = max(until_ns, self.paused_until_ns)
            self.plan_step(self.step, left_ns)
        self.paused_until_ns = max(until_ns, self.paused_until_ns)

    def resume(self) -> None:
        """End the pause now, and continue the current step for the time that was left."""
        now_ns, until_ns = self.fleet.kernel.world.now_ns, self.paused_until_ns
        self.paused_until_ns = 0
        if now_ns < until_ns <= self.due_ns and self.pending is None and not self.down:
            self.life += 1
            self.plan_step(self.step, self.due_ns - until_ns)
