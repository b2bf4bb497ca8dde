"""The faults of a simulation: add and remove them, and let those strike that come by time or at an actor's step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from msgspec.structs import replace

from colonysim.core import engine
from colonysim.core.protocol import Answer
from colonysim.core.records import SECOND_NS
from colonysim.faults.messages import FaultyNetwork
from colonysim.faults.model import (
    ActorFault,
    AnyFault,
    BadFault,
    ClockSkew,
    Crash,
    Fault,
    Hazard,
    MessageFault,
    Partition,
    Pause,
    Plan,
    Restart,
    SlowDown,
    Times,
    Victim,
    check_end,
    fits,
    kind_of,
    named,
    read_faults,
)
from colonysim.faults.rule import Rule
from colonysim.faults.tally import FaultTally
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST


class Faults:
    """All faults of one simulation, in the order in which they were added.

    The kernel has a network while there is anything for one to do, and None while not.
    `watches_steps` says whether any fault strikes at the steps of actors. `counts` says how often each struck.
    `added` is how many there are, including those that a swarm leaves out under this seed.
    """

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._tally = FaultTally()
        self._given: dict[str, _Given] = {}
        self._faults: dict[str, _Given] = {}  # of them those that there are under this seed
        self._victims: dict[str, Victim] = {}
        self.watches_steps = False
        self.added = 0

    # ------------------------------------------------------------ which there are
    @property
    def all(self) -> tuple[AnyFault, ...]:
        """The faults that have been added, with their names."""
        return tuple(given.fault for given in self._faults.values())

    @property
    def counts(self) -> dict[str, int]:
        """How often each fault struck since it was added, by name, also of those that have been removed.

        A partition strikes each request and reply that it takes, a fault of actors each actor that it hits.
        Faults that a swarm does not draw are left out. A reset does not set the counts back.
        """
        return dict(self._tally.counts)

    @property
    def idle(self) -> dict[str, str]:
        """The faults that have never struck since they were added, by name, each with the reason."""
        return self._tally.idle(self._rules)

    def add(self, *faults: AnyFault | Plan | dict[str, Any]) -> tuple[AnyFault, ...]:
        """Add faults, or what is active of plans; they come back with their names. Errors: BadFault."""
        with self._kernel.lock:
            new: list[_Given] = []
            for one in faults:
                if not isinstance(one, Plan):
                    new += (_Given(fault, None) for fault in read_faults(one))
                elif one.swarm is None:
                    new += (_Given(fault, one.until_s) for fault in one.active(self._seed))
                else:
                    new += (_Given(fault, one.until_s, one) for fault in one.faults if fault.enabled)
            for given in new:
                if given.until_s is None:
                    check_end(given.fault)
            known = named((given.fault for given in new), self._given)
            added = {fault.name: given._replace(fault=fault) for fault, given in zip(known, new, strict=True)}
            drawn = self._drawn_of(added)
            for name in drawn:
                self._tally.begin(name)
            try:
                for given in drawn.values():
                    self._begin_one(given)
            except BaseException:  # all of them or none
                for name in drawn:
                    self._end_one(name)
                    self._tally.forget(name)
                raise
            self._given |= added
            self._faults |= drawn
            self._refresh()
            return tuple(given.fault for given in drawn.values())

    def _drawn_of(self, given: dict[str, _Given]) -> dict[str, _Given]:
        """Those that there are under this seed: of plans with a swarm the ones that it draws."""
        drawn: dict[str, _Given] = {}
        plan: Plan | None = None
        kept: list[str] = []
        for name, one in given.items():
            if one.plan is not None and one.plan is not plan:  # those of one plan stand together
                plan, kept = one.plan, [fault.name for fault in one.plan.active(self._seed)]
            if one.plan is None or name in kept:
                drawn[name] = one
        return drawn

    def remove(self, name: str) -> None:
        """Take a fault away; what it has begun ends now. Errors: BadFault for a name that there is not."""
        with self._kernel.lock:
            self._known(name)
            del self._faults[name], self._given[name]
            self._end_one(name)
            self._tally.removed(name)
            self._refresh()

    def enable(self, name: str, enabled: bool = True) -> None:
        """Turn a fault on or off; on, it begins anew. Errors: BadFault."""
        with self._kernel.lock:
            given = self._known(name)
            if given.fault.enabled is not enabled:
                given = given._replace(fault=replace(given.fault, enabled=enabled))
                self._faults[name] = self._given[name] = given
                self._end_one(name)
                self._begin_one(given)
                self._refresh()

    def clear(self) -> None:
        """The calm after the storm: no faults any more.

        What is delayed still arrives, and what an actor does slowly just then it does so to its end.
        """
        with self._kernel.lock:
            names = list(self._faults)
            self._faults.clear()
            self._given.clear()
            for name in names:
                self._end_one(name)
                self._tally.removed(name)
            self._refresh()

    def _known(self, name: str) -> _Given:
        if name not in self._faults:
            raise BadFault(f"there is no fault {name!r}; there are {', '.join(self._faults) or 'none'}")
        return self._faults[name]

    # ------------------------------------------------------------ their beginning and end
    @property
    def _seed(self) -> int:
        return self._kernel.world.settings.seed

    def begin(self) -> None:
        """A run begins: everything is as if no fault had struck yet."""
        self._network = FaultyNetwork(self._kernel, self._tally, self.heard)
        self._rules: dict[str, Rule] = {}
        self._timers: dict[str, list[int]] = {}
        self._lasting: dict[str, dict[str, _Lasting]] = {}  # by victim and fault, the latest last
        self._kernel.timetable.server_down = False
        engine.set_wakeups(self._kernel.world, "all")
        self._faults = self._drawn_of(self._given)
        for given in self._faults.values():
            self._begin_one(given)
        self._refresh()

    def _refresh(self) -> None:
        self.added = len(self._given)
        rules = [rule.fault for rule in self._rules.values()]
        self.watches_steps = any(isinstance(fault, ActorFault) and fault.when is not None for fault in rules)
        nothing = self._network.idle and not self._waiting_for_answers()
        self._kernel.network = None if nothing else self._network

    def _waiting_for_answers(self) -> bool:
        return any(rule.armed_ns is None for rule in self._rules.values())

    def _begin_one(self, given: _Given) -> None:
        fault, until_s = given.fault, given.until_s
        if not fault.enabled:
            return
        start_ns = self._kernel.world.started_ns
        end_ns = None if until_s is None else start_ns + round(until_s * SECOND_NS)
        rule = self._rules[fault.name] = Rule(fault, self._seed, start_ns, end_ns, self._kernel.world.now_ns)
        if isinstance(fault, MessageFault):
            self._network.rules[fault.name] = rule
        elif isinstance(fault, Hazard):
            last_ns = start_ns + round(min(s for s in (fault.until_s, until_s) if s is not None) * SECOND_NS)
            from_ns = start_ns + round(fault.from_s * SECOND_NS)
            self._at(rule, from_ns, lambda: self._hazard_on(rule, last_ns), "a hazard")
            self._at(rule, last_ns, lambda: self._hazard_off(rule), "end of a hazard")
        else:
            self._schedule(rule)

    def _at(self, rule: Rule, due_ns: int, act: Callable[[], None], what: str) -> None:
        """Do something at a time, unless the fault is removed before."""
        if due_ns <= self._kernel.world.now_ns:
            act()
            return
        ticket = self._kernel.timetable.add(due_ns, act, f"{what} ({rule.name})")
        self._timers.setdefault(rule.name, []).append(ticket)

    def _schedule(self, rule: Rule) -> None:
        """Put the next time a fault strikes by itself on the timetable."""
        times: Times | None = getattr(rule.fault, "times", None)
        if times is None:
            return
        due_ns = rule.next_time(times, self._kernel.world.now_ns)
        if due_ns is not None:
            ticket = self._kernel.timetable.add(due_ns, lambda: self._strike(rule), f"fault {rule.name}")
            self._timers.setdefault(rule.name, []).append(ticket)

    def _end_one(self, name: str) -> None:
        for ticket in self._timers.pop(name, ()):
            self._kernel.timetable.cancel(ticket)
        rule = self._rules.pop(name, None)
        if rule is None:
            return
        self._tally.ended(rule)
        self._network.rules.pop(name, None)
        self._network.cuts.pop(name, None)
        for victim_name, lasting in self._lasting.items():
            if (struck := lasting.pop(name, None)) is not None and isinstance(struck.fault, Pause):
                self._resume(victim_name)
        if isinstance(rule.fault, Hazard) and self._kernel.world.now_ns < rule.until_ns:
            self._hazard_off(rule)
        if self._network.outage is rule:
            self._come_back(rule)

    # ------------------------------------------------------------ striking
    def heard(self, type_name: str, status: int) -> None:
        """The server has answered a request: that may be what a fault waits for."""
        now_ns = self._kernel.world.now_ns
        for rule in list(self._rules.values()):
            if rule.armed_ns is None and rule.hears(type_name, status, now_ns):
                self._schedule(rule)

    def _strike(self, rule: Rule) -> None:
        rule.strike()
        fault = rule.fault
        if isinstance(fault, ActorFault):
            for victim in self._drawn(rule, fault):
                self._strike_actor(rule, fault, victim)
        elif isinstance(fault, Restart):
            self._go_down(rule, fault)
        elif isinstance(fault, Partition):
            self._partition(rule, fault)
        self._schedule(rule)
        self._refresh()

    def _note(self, rule: Rule, **more: Any) -> None:
        self._network.note({"fault": rule.name, "kind": kind_of(rule.fault), **more})

    # ------------------------------------------------------------ the server
    def _go_down(self, rule: Rule, fault: Restart) -> None:
        """All connections break, what is in memory only is lost; the time until it is back stands still for it."""
        kernel = self._kernel
        world, down_ns = kernel.world, rule.span_ns(fault.down_s)
        self._note(rule, down_ns=down_ns)
        self._network.forget()
        kernel.disconnect_all()
        for ticket in list(world.queues.polls):  # copies of requests, which are nobody's
            engine.abandon(world, ticket)
        for stream in [*dict.fromkeys(s.stream for s in world.subscriptions.all()), *list(world.channel_streams)]:
            engine.close_stream(world, stream)
        engine.lose_memory(world)
        if down_ns > 0:
            rule.lasts_until(world.now_ns + down_ns)
            self._network.outage = self._longest(_keeps_down)
            kernel.timetable.server_down = True
            self._at(rule, world.now_ns + down_ns, lambda: self._come_back(rule), "the server is back")

    def _come_back(self, rule: Rule) -> None:
        """The server is back, unless something keeps it down for longer."""
        if self._network.outage is not rule:
            return
        self._network.outage = self._longest(_keeps_down)
        if self._network.outage is not None:
            return
        self._kernel.timetable.server_down = False
        self._note(rule, back=True)
        self._kernel.fire_overdue()
        self._refresh()

    def _longest(self, are_meant: Callable[[Fault], bool]) -> Rule | None:
        """Of the faults that are meant and on, the one that lasts longest."""
        now_ns = self._kernel.world.now_ns
        on = [rule for rule in self._rules.values() if now_ns < rule.until_ns and are_meant(rule.fault)]
        return max(on, key=lambda rule: rule.until_ns, default=None)

    def _partition(self, rule: Rule, fault: Partition) -> None:
        for_ns = rule.span_ns(fault.for_s)
        self._note(rule, for_ns=for_ns)
        rule.lasts_until(self._kernel.world.now_ns + for_ns)
        self._network.cut(rule)
        self._at(rule, self._kernel.world.now_ns + for_ns, lambda: self._heal(rule), "end of a partition")

    def _heal(self, rule: Rule) -> None:
        if self._kernel.world.now_ns < rule.until_ns:
            return  # it has struck anew meanwhile
        self._network.cuts.pop(rule.name, None)
        self._note(rule, healed=True)
        self._refresh()

    def _hazard_on(self, rule: Rule, until_ns: int) -> None:
        assert isinstance(rule.fault, Hazard)
        rule.lasts_until(until_ns)
        self._network.hazards[rule.fault.hazard] = rule
        self._note(rule, on=True)
        self._refresh()

    def _hazard_off(self, rule: Rule) -> None:
        """It has gone, as after an upgrade: what has never been answered is lost, and the server goes on."""
        assert isinstance(rule.fault, Hazard)
        hazard, hazards = rule.fault.hazard, self._network.hazards
        self._note(rule, on=False)
        if hazards.get(hazard) is rule:
            del hazards[hazard]
            if (other := self._longest(lambda one: isinstance(one, Hazard) and one.hazard == hazard)) is not None:
                hazards[hazard] = other
        if hazard in ("lossy_wakeup", "lost_signal"):
            engine.set_wakeups(self._kernel.world, "all")
        if self._network.stopped_by is rule:
            self._network.forget()
            for pending in list(self._kernel.pending.values()):
                if pending.fault is rule:
                    self._kernel.answer(Answer(pending.ticket, LOST, "", None))
        self._refresh()

    # ------------------------------------------------------------ actors
    def enlist(self, victim: Victim) -> None:
        """From now on faults may strike it. Under the lock."""
        self._victims[victim.name] = victim

    def dismiss(self, victim: Victim) -> None:
        """It is beyond all faults. Under the lock."""
        if self._victims.get(victim.name) is victim:
            del self._victims[victim.name]

    def step(self, name: str) -> None:
        """An actor takes a step, and faults may strike it there. Under the lock."""
        victim = self._victims.get(name)
        if victim is None:
            return
        now_ns = self._kernel.world.now_ns
        for rule in self._rules.values():
            fault = rule.fault
            if isinstance(fault, ActorFault) and fault.when is not None and _is_about(fault, victim):
                if rule.strikes(fault.when, now_ns):
                    self._strike_actor(rule, fault, victim)

    def slowness(self, name: str) -> float:
        """How many times as long an actor takes for what it does by itself, now."""
        struck = self._latest(name, SlowDown)
        return struck.fault.factor if struck is not None and isinstance(struck.fault, SlowDown) else 1.0

    def skew_ns(self, name: str) -> int:
        """How fast an actor's clock is, now."""
        struck = self._latest(name, ClockSkew)
        if struck is None or not isinstance(struck.fault, ClockSkew):
            return 0
        since_ns = self._kernel.world.now_ns - struck.since_ns
        return round(struck.fault.by_s * SECOND_NS + struck.fault.drift * since_ns)

    def _latest(self, victim_name: str, kind: type[ActorFault]) -> _Lasting | None:
        """What has struck an actor last, of all of a kind that are not over."""
        if (lasting := self._lasting.get(victim_name)) is None:
            return None
        now_ns = self._kernel.world.now_ns
        found = (one for one in reversed(lasting.values()) if isinstance(one.fault, kind) and now_ns < one.until_ns)
        return next(found, None)

    def _resume(self, victim_name: str) -> None:
        """A pause has been taken back: the actor goes on, unless another one holds it."""
        victim = self._victims.get(victim_name)
        if victim is None:
            return
        victim.resume()
        if (other := self._latest(victim_name, Pause)) is not None:
            victim.pause(other.until_ns)

    def _drawn(self, rule: Rule, fault: ActorFault) -> list[Victim]:
        found = [victim for victim in self._victims.values() if _is_about(fault, victim)]
        if fault.pick is None or fault.pick >= len(found):
            return found
        return rule.chance.sample(found, fault.pick)

    def _strike_actor(self, rule: Rule, fault: ActorFault, victim: Victim) -> None:
        now_ns = self._kernel.world.now_ns
        if isinstance(fault, Crash):
            again_ns = None if fault.restart_after_s is None else rule.span_ns(fault.restart_after_s)
            self._note(rule, actor=victim.name, restart_after_ns=again_ns)
            lasting = self._lasting.get(victim.name, {})
            self._lasting[victim.name] = {n: one for n, one in lasting.items() if not isinstance(one.fault, Pause)}
            victim.crash(None if again_ns is None else again_ns / SECOND_NS)
            return
        assert isinstance(fault, (Pause, SlowDown, ClockSkew))
        for_ns = rule.span_ns(fault.for_s)
        self._note(rule, actor=victim.name, for_ns=for_ns)
        lasting = self._lasting.setdefault(victim.name, {})
        before = lasting.pop(rule.name, None)
        if before is not None and now_ns < before.until_ns:  # it goes on, and nothing of it ends earlier for that
            struck = _Lasting(fault, before.since_ns, max(before.until_ns, now_ns + for_ns))
        else:
            struck = _Lasting(fault, now_ns, now_ns + for_ns)
        lasting[rule.name] = struck
        if isinstance(fault, Pause):
            victim.pause(struck.until_ns)


def _keeps_down(fault: Fault) -> bool:
    return isinstance(fault, Restart)


class _Given(NamedTuple):
    """A fault that has been added, with the end of the plan that it came with; `plan` where that has a swarm."""

    fault: AnyFault
    until_s: float | None
    plan: Plan | None = None


class _Lasting(NamedTuple):
    """What a fault has begun with an actor."""

    fault: ActorFault
    since_ns: int
    until_ns: int


def _is_about(fault: ActorFault, victim: Victim) -> bool:
    if fault.executor_type and fault.executor_type != victim.executor_type:
        return False
    return not fault.actors or fits(fault.actors, victim.name)
