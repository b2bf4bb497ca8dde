"""The faults of one run at work: let those strike that come by time or at an actor's step, and undo what they did.

`RunningFaults` carries out the verdicts on the server, and lets faults of actors act on the actors that are enlisted.
All is called under the simulation's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core import engine
from colonysim.core.protocol import Answer
from colonysim.core.records import SECOND_NS
from colonysim.faults.actors import ActorFault, Effect, Victim
from colonysim.faults.fault import Fault, Hit, asking
from colonysim.faults.hazards import Hazard
from colonysim.faults.messages import MessageFault
from colonysim.faults.network import FaultyNetwork
from colonysim.faults.rule import Rule
from colonysim.faults.server import ServerFault
from colonysim.faults.tally import FaultTally
from colonysim.faults.triggers import Times
from colonysim.faults.verdicts import BadVerdict, CutOff, GoDown
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import LOST


class RunningFaults:
    """The faults that are at work. `tally` counts their strikes, and stays as it is when a run begins anew.

    `watches_steps` says whether any of them strikes at the steps of actors, `victims` are the actors that are enlisted.
    The kernel has a network while there is anything for one to do, and None otherwise.
    """

    def __init__(self, kernel: Kernel, victims: dict[str, Victim]) -> None:
        self.kernel = kernel
        self.victims = victims
        self.tally = FaultTally(kernel)
        self.watches_steps = False
        self.begin()

    def begin(self) -> None:
        """Begin a run: no fault is at work yet."""
        self._network = FaultyNetwork(self.kernel, self.tally, self.heard)
        self.rules: dict[str, Rule] = {}
        self._timers: dict[str, list[int]] = {}
        self._effects: dict[str, dict[str, Effect]] = {}  # by actor and fault, the latest last

    def refresh(self) -> None:
        """Work out anew whether the kernel needs the network, and whether the steps of actors matter."""
        faults = [rule.fault for rule in self.rules.values()]
        self.watches_steps = any(isinstance(fault, ActorFault) and fault.when is not None for fault in faults)
        nothing = self._network.idle and not self._waiting_for_answers()
        self.kernel.network = None if nothing else self._network

    def _waiting_for_answers(self) -> bool:
        return any(rule.armed_ns is None for rule in self.rules.values())

    def start(self, fault: Fault, until_s: float | None) -> None:
        """Let a fault strike from now on, unless it is turned off; `until_s` is the end of its plan in seconds."""
        if not fault.enabled:
            return
        world = self.kernel.world
        start_ns = world.started_ns
        end_ns = None if until_s is None else start_ns + round(until_s * SECOND_NS)
        rule = Rule(fault, world.settings.seed, start_ns, end_ns, world.now_ns)
        self.rules[fault.name] = rule
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
        if due_ns <= self.kernel.world.now_ns:
            act()
            return
        ticket = self.kernel.timetable.add(due_ns, act, f"{what} ({rule.name})")
        self._timers.setdefault(rule.name, []).append(ticket)

    def _schedule(self, rule: Rule) -> None:
        """Put the next time a fault strikes by itself on the timetable."""
        times = rule.fault.trigger
        if not isinstance(times, Times):
            return
        if times.mtbf_s is not None and isinstance(rule.fault, ActorFault):
            for victim in self.victims.values():
                self._schedule_failure(rule, rule.fault, times, victim)
            return
        due_ns = rule.next_time(times, self.kernel.world.now_ns)
        if due_ns is not None:
            ticket = self.kernel.timetable.add(due_ns, lambda: self._strike(rule), f"fault {rule.name}")
            self._timers.setdefault(rule.name, []).append(ticket)

    def enlisted(self, victim: Victim) -> None:
        """Let a new actor fail on its own, if a fault has times between failures."""
        for rule in self.rules.values():
            times = rule.fault.trigger
            if isinstance(rule.fault, ActorFault) and isinstance(times, Times) and times.mtbf_s is not None:
                self._schedule_failure(rule, rule.fault, times, victim)

    def _schedule_failure(self, rule: Rule, fault: ActorFault, times: Times, victim: Victim) -> None:
        """Start the clock of an actor, unless it runs already."""
        if rule.armed_ns is not None and fault.concerns(victim) and victim.name not in rule.clocks:
            self._fail_next(rule, fault, times, victim.name, self.kernel.world.now_ns)

    def _fail_next(self, rule: Rule, fault: ActorFault, times: Times, name: str, from_ns: int) -> None:
        """Plan the next failure of an actor that works from a time on."""
        assert times.mtbf_s is not None
        due_ns = rule.clock_of(name, times.mtbf_s).next_time(times, from_ns)
        if due_ns is not None:
            ticket = self.kernel.timetable.add(
                due_ns, lambda: self._fail(rule, fault, times, name), f"fault {rule.name}"
            )
            self._timers.setdefault(rule.name, []).append(ticket)

    def _fail(self, rule: Rule, fault: ActorFault, times: Times, name: str) -> None:
        """Let an actor fail, if it is there, and plan its next failure after the repair."""
        now_ns = works_ns = self.kernel.world.now_ns
        victim = self.victims.get(name)
        if victim is not None and (times.count is None or rule.struck < times.count):
            rule.strike()
            effect = self._strike_actor(rule, fault, victim, rule.clocks[name].hit(now_ns))
            if effect.span_ns is None and hasattr(fault, fault.lasts):
                return  # it is never repaired
            works_ns = effect.until_ns
        self._fail_next(rule, fault, times, name, works_ns)
        self.refresh()

    def end(self, name: str) -> None:
        """End a fault, and what it has begun."""
        for ticket in self._timers.pop(name, ()):
            self.kernel.timetable.cancel(ticket)
        rule = self.rules.pop(name, None)
        if rule is None:
            return
        self.tally.ended(rule)
        self._network.rules.pop(name, None)
        self._network.cuts.pop(name, None)
        for actor_name, effects in self._effects.items():
            if (effect := effects.pop(name, None)) is not None and actor_name in self.victims:
                others = [other for other in self._lasting(actor_name) if type(other.fault) is type(effect.fault)]
                with asking(effect.fault, "end"):
                    effect.fault.end(self.victims[actor_name], others)
        if isinstance(rule.fault, Hazard) and self.kernel.world.now_ns < rule.until_ns:
            self._hazard_off(rule)
        if self._network.outage is rule:
            self._come_back(rule)

    # ------------------------------------------------------------ striking
    def heard(self, type_name: str, status: int) -> None:
        """The server has answered a request: that may be what a fault waits for."""
        now_ns = self.kernel.world.now_ns
        for rule in list(self.rules.values()):
            if rule.armed_ns is None and rule.hears(type_name, status, now_ns):
                self._schedule(rule)

    def _strike(self, rule: Rule) -> None:
        rule.strike()
        fault = rule.fault
        if isinstance(fault, ActorFault):
            for victim in self._drawn(rule, fault):
                self._strike_actor(rule, fault, victim, rule.hit(self.kernel.world.now_ns))
        elif isinstance(fault, ServerFault):
            self._strike_server(rule, fault)
        self._schedule(rule)
        self.refresh()

    def _write(self, rule: Rule, **more: Any) -> None:
        self.tally.write({"fault": rule.name, "kind": rule.fault.kind, **more})

    # ------------------------------------------------------------ the server
    def _strike_server(self, rule: Rule, fault: ServerFault) -> None:
        """Carry out the verdict of a fault on the server. Errors: BadVerdict."""
        with asking(fault, "strike"):
            verdict = fault.strike(rule.hit(self.kernel.world.now_ns))
        if not isinstance(verdict, (GoDown, CutOff)):
            raise BadVerdict(f"fault {fault.name!r}: {fault.kind}.strike returned {verdict!r}; return GoDown or CutOff")
        self._write(rule, **{_in_log(fault.lasts): verdict.for_ns})
        if isinstance(verdict, GoDown):
            self._go_down(rule, verdict.for_ns)
        else:
            rule.lasts_until(self.kernel.world.now_ns + verdict.for_ns)
            self._network.cut(rule)
            self._at(rule, self.kernel.world.now_ns + verdict.for_ns, lambda: self._heal(rule), "end of a partition")

    def _go_down(self, rule: Rule, down_ns: int) -> None:
        """Break all connections and lose what is in memory only; the agenda stands still until the server is back."""
        kernel = self.kernel
        world = kernel.world
        self._network.server.restart()
        for pending in kernel.pending.values():
            pending.call.fault, pending.call.verdict = rule.name, rule.fault.kind
        kernel.disconnect_all()
        for ticket in list(world.queues.polls):  # copies of requests, which are nobody's
            engine.abandon(world, ticket)
        for stream in [*dict.fromkeys(s.stream for s in world.subscriptions.all()), *list(world.channel_streams)]:
            engine.close_stream(world, stream)
        engine.lose_memory(world)
        if down_ns > 0:
            rule.down_until_ns = max(rule.down_until_ns, world.now_ns + down_ns)
            self._network.outage = self._longest_outage()
            kernel.timetable.server_down = True
            self._at(rule, world.now_ns + down_ns, lambda: self._come_back(rule), "the server is back")

    def _come_back(self, rule: Rule) -> None:
        """Let the server be back, unless another fault keeps it down for longer."""
        if self._network.outage is not rule:
            return
        self._network.outage = self._longest_outage()
        if self._network.outage is not None:
            return
        self.kernel.timetable.server_down = False
        self._write(rule, back=True)
        self.kernel.fire_overdue()
        self.refresh()

    def _longest_outage(self) -> Rule | None:
        """Return, of the faults that keep the server down, the one that does so longest."""
        now_ns = self.kernel.world.now_ns
        down = [rule for rule in self.rules.values() if now_ns < rule.down_until_ns]
        return max(down, key=lambda rule: rule.down_until_ns, default=None)

    def _heal(self, rule: Rule) -> None:
        if self.kernel.world.now_ns < rule.until_ns:
            return  # it has struck anew meanwhile
        self._network.cuts.pop(rule.name, None)
        self._write(rule, healed=True)
        self.refresh()

    def _hazard_on(self, rule: Rule, until_ns: int) -> None:
        rule.lasts_until(until_ns)
        self._network.server.switch_on(rule)
        self._write(rule, on=True)
        self.refresh()

    def _hazard_off(self, rule: Rule) -> None:
        """End a hazard, as an upgrade of the server would: what was never answered is lost, and the server goes on."""
        fault = rule.fault
        assert isinstance(fault, Hazard)
        self._write(rule, on=False)
        now_ns = self.kernel.world.now_ns
        others = [
            one
            for one in self.rules.values()
            if now_ns < one.until_ns and isinstance(one.fault, Hazard) and one.fault.hazard == fault.hazard
        ]
        other = max(others, key=lambda one: one.until_ns, default=None)
        for pending in self._network.server.switch_off(rule, other):
            self.kernel.answer(Answer(pending.ticket, LOST, "", None))
        self.refresh()

    # ------------------------------------------------------------ actors
    def step(self, name: str) -> None:
        """Let faults strike an actor that takes a step. Called under the lock."""
        victim = self.victims.get(name)
        if victim is None:
            return
        now_ns = self.kernel.world.now_ns
        for rule in self.rules.values():
            fault = rule.fault
            if isinstance(fault, ActorFault) and fault.when is not None and fault.concerns(victim):
                if rule.strikes(fault.when, now_ns):
                    self._strike_actor(rule, fault, victim, rule.hit(now_ns))

    def slowness(self, name: str) -> float:
        """Return how many times as long an actor takes for what it does by itself, now."""
        for effect in self._lasting(name):
            with asking(effect.fault, "slowness"):
                if (factor := effect.fault.slowness(effect)) is not None:
                    return factor
        return 1.0

    def skew_ns(self, name: str) -> int:
        """Return how far an actor's clock is ahead now, in nanoseconds; below 0: behind."""
        now_ns = self.kernel.world.now_ns
        for effect in self._lasting(name):
            with asking(effect.fault, "skew_ns"):
                if (skew_ns := effect.fault.skew_ns(effect, now_ns)) is not None:
                    return skew_ns
        return 0

    def _lasting(self, actor_name: str) -> list[Effect]:
        """Return the effects on an actor that are not over, the latest first."""
        if (effects := self._effects.get(actor_name)) is None:
            return []
        now_ns = self.kernel.world.now_ns
        return [effect for effect in reversed(effects.values()) if now_ns < effect.until_ns]

    def _drawn(self, rule: Rule, fault: ActorFault) -> list[Victim]:
        found = [victim for victim in self.victims.values() if fault.concerns(victim)]
        if fault.pick is None or fault.pick >= len(found):
            return found
        return rule.chance.sample(found, fault.pick)

    def _strike_actor(self, rule: Rule, fault: ActorFault, victim: Victim, hit: Hit) -> Effect:
        now_ns = self.kernel.world.now_ns
        drawn: dict[str, int | None] = {}
        span_ns = None
        if hasattr(fault, fault.lasts):
            span = getattr(fault, fault.lasts)
            span_ns = drawn[_in_log(fault.lasts)] = None if span is None else hit.span_ns(span)
        with asking(fault, "offsets_ns"):
            drawn |= {f"{name}_ns": offset_ns for name, offset_ns in fault.offsets_ns(hit).items()}
        self._write(rule, actor=victim.name, **drawn)
        effects = self._effects.setdefault(victim.name, {})
        if fault.kills:
            ended = [name for name, effect in effects.items() if effect.fault.ends_with_process]
            for name in ended:
                del effects[name]
        since_ns, until_ns = now_ns, now_ns + (span_ns or 0)
        before = effects.pop(rule.name, None)
        if before is not None and now_ns < before.until_ns:  # it goes on, and nothing of it ends earlier for that
            since_ns, until_ns = before.since_ns, max(before.until_ns, until_ns)
        effect = effects[rule.name] = Effect(fault, hit, since_ns, until_ns, span_ns)
        with asking(fault, "begin"):
            fault.begin(victim, effect)
        return effect


def _in_log(field: str) -> str:
    """Return the name under which the log has a span: `down_ns` for the field `down_s`."""
    return f"{field.removesuffix('_s')}_ns"
