"""Hazards: weaknesses of the reference server that appear only by chance, and a server that has them.

All methods of `WeakServer` are called under the simulation's lock.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Literal

from colonysim.core import engine
from colonysim.core.operations.closing import CloseFailed, CloseSuccessful
from colonysim.core.protocol import EMPTY, Answer, Request
from colonysim.core.records import FAILED, SECOND_NS, SUCCESS, WAITING
from colonysim.core.world import World
from colonysim.faults.fault import FAULTS, Fault
from colonysim.faults.rule import Rule
from colonysim.faults.tally import FaultTally
from colonysim.faults.triggers import FaultNumber, When, check_window
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import Pending
from colonysim.kernel.randomness import NotNegative, Positive, Probability

HazardName = Literal["lossy_wakeup", "lost_signal", "pool_deadlock", "connection_leak", "retried_close", "double_close"]

HAZARDS: Final[dict[str, str]] = {
    "lossy_wakeup": "a process that begins to wait wakes one parked assign of its type, even if that may not have it",
    "lost_signal": "a process that begins to wait wakes no parked call",  # docs/protocol/b-processes.md 4.4
    "pool_deadlock": "`pool_size` reads of processes within `window_s` stop the server until it is restarted",
    "connection_leak": "after `pool_size` changes of ids nothing that needs storage is answered until a restart",
    "retried_close": "a close is sent twice; the client gets the second reply",
    "double_close": "both kinds of close by the holder at one instant may get 200; only the first takes effect",
}
"""The hazards of the reference by name; all are off unless a fault turns them on."""

_CLOSES: Final = ("closesuccessfulmsg", "closefailedmsg")
_ID_CHANGES: Final = ("changeuseridmsg", "changeexecutoridmsg", "changecolonyidmsg")
_PROCESS_READS: Final = ("getprocessmsg", "getprocessesmsg", "getprocesshistmsg", "assignprocessmsg", *_CLOSES)
_WITHOUT_STORAGE: Final = ("versionmsg",)


@FAULTS.kind
class Hazard(Fault, frozen=True, kw_only=True, tag="hazard"):
    """A weakness of the reference server that appears only by chance (HAZARDS), on from `from_s` to `until_s`.

    Times are in seconds from the start of the run. `pool_size` and `window_s` belong to `pool_deadlock`, `pool_size`
    to `connection_leak` as well.
    """

    hazard: HazardName
    probability: Probability = 1.0
    from_s: NotNegative = 0.0
    until_s: NotNegative | None = None
    pool_size: FaultNumber = 100
    window_s: Positive = 0.01

    def check(self) -> None:
        check_window(self)

    @property
    def window(self) -> When:
        return When(probability=self.probability, from_s=self.from_s, until_s=self.until_s)

    @property
    def trigger(self) -> When:
        return self.window


class WeakServer:
    """The server with the weaknesses of hazards. `on`: the hazards that are on, by name.

    `stopped_by`: the hazard that makes the server answer nothing; None while it answers.
    """

    def __init__(self, kernel: Kernel, tally: FaultTally) -> None:
        self.kernel = kernel
        self.tally = tally
        self.on: dict[str, Rule] = {}
        self.stopped_by: Rule | None = None
        self._reads_ns: deque[int] = deque()
        self._leaked = 0
        self._last_close = (-1, "", "", "")  # time, caller, process and type of the close that came last

    @property
    def is_weak(self) -> bool:
        """Whether any hazard is on, or has stopped the server."""
        return bool(self.on or self.stopped_by)

    def restart(self) -> None:
        """Restart: the server answers again, and all connections to its storage are free."""
        self.stopped_by = None
        self._leaked = 0
        self._reads_ns.clear()

    def switch_on(self, rule: Rule) -> None:
        """Turn a hazard on; it replaces one of the same name."""
        self.on[_hazard(rule).hazard] = rule

    def switch_off(self, rule: Rule, other: Rule | None) -> list[Pending]:
        """Turn a hazard off; `other` is another hazard of that name that is still on.

        Returns the requests that will never be answered because the server had stopped.
        """
        hazard = _hazard(rule).hazard
        if self.on.get(hazard) is rule:
            del self.on[hazard]
            if other is not None:
                self.on[hazard] = other
        if hazard in ("lossy_wakeup", "lost_signal"):
            engine.set_wakeups(self.kernel.world, "all")
        if self.stopped_by is not rule:
            return []
        self.restart()
        return [pending for pending in self.kernel.pending.values() if pending.fault is rule]

    # ------------------------------------------------------------ requests
    def serve(self, pending: Pending, request: Request) -> None:
        """Serve a request of a client, with the effects of hazards."""
        if not self.is_weak:
            self.kernel.serve_delayed(request)
            return
        name = pending.call.payload_type
        if self.swallows(name):
            assert self.stopped_by is not None
            self.tally.mark(self.stopped_by, pending)
            return
        if name in _CLOSES and self._closes_twice(pending, request):
            return
        retried = self.on.get("retried_close")
        if retried is not None and name in _CLOSES and _is_drawn(retried):
            self.tally.mark(retried, pending)
            self.serve_copy(pending, request)
        if limited_by := self._set_wakeups():
            self._serve_with_few_wakeups(limited_by, request)
        else:
            self.kernel.serve_delayed(request)

    def serve_copy(self, pending: Pending, request: Request) -> None:
        """Serve the same request again, and drop the answer."""
        ticket = self.kernel.new_ticket()
        self.tally.write({"arrive": ticket, "copy_of": pending.ticket})
        stream = ticket if request.stream else 0
        self.kernel.serve_delayed(Request(ticket, request.caller_id, request.message, request.has_nul, stream))

    def swallows(self, name: str) -> bool:
        """Return whether the server never answers a request, because no connection to its database is free."""
        if name in _WITHOUT_STORAGE:
            return False
        if self.stopped_by is None:
            if (rule := self.on.get("pool_deadlock")) and name in _PROCESS_READS and self._pool_is_full(rule):
                self._stop(rule)
            if (rule := self.on.get("connection_leak")) and self._leaks(rule, name):
                self._stop(rule)
        return self.stopped_by is not None

    def _stop(self, rule: Rule) -> None:
        self.stopped_by = rule
        self.tally.write({"fault": rule.name, "kind": rule.fault.kind, "stopped": True})

    def _pool_is_full(self, rule: Rule) -> bool:
        fault, reads_ns, now_ns = _hazard(rule), self._reads_ns, self.kernel.world.now_ns
        reads_ns.append(now_ns)
        while now_ns - reads_ns[0] > fault.window_s * SECOND_NS:
            reads_ns.popleft()
        return len(reads_ns) >= fault.pool_size and _is_drawn(rule)

    def _leaks(self, rule: Rule, name: str) -> bool:
        if self._leaked >= _hazard(rule).pool_size:
            return True
        self._leaked += name in _ID_CHANGES
        return False

    def _closes_twice(self, pending: Pending, request: Request) -> bool:
        """Return whether to answer the other close of the same holder at this instant with 200 as well.

        It has no other effect: in the reference both have read the process as running, and one is written last.
        """
        world, name, message = self.kernel.world, pending.call.payload_type, request.message
        assert isinstance(message, (CloseSuccessful, CloseFailed))
        close = world.now_ns, request.caller_id, message.processid, name
        before, self._last_close = self._last_close, close
        rule, process = self.on.get("double_close"), world.processes.get(message.processid)
        if rule is None or process is None or before[:3] != close[:3] or before[3] == name:
            return False
        ended = process.state in (SUCCESS, FAILED) and process.ended_ns == world.now_ns
        if not ended or process.executor_id != request.caller_id or not _is_drawn(rule):
            return False
        self.tally.mark(rule, pending)
        self.kernel.answer(Answer(pending.ticket, 200, name, EMPTY))
        return True

    def _set_wakeups(self) -> Rule | None:
        """Draw how the server wakes parked calls during one request; return the hazard that limits it, if one does."""
        wakeups, limited_by = "all", None
        if (rule := self.on.get("lossy_wakeup")) and _is_drawn(rule):
            wakeups, limited_by = "one", rule
        if (rule := self.on.get("lost_signal")) and _is_drawn(rule):
            wakeups, limited_by = "none", rule
        engine.set_wakeups(self.kernel.world, wakeups)
        return limited_by

    def _serve_with_few_wakeups(self, rule: Rule, request: Request) -> None:
        """Serve a request. The hazard struck if a process began to wait, and still waits, while a call is parked."""
        world = self.kernel.world
        parked, waiting = bool(world.queues.polls), _waiting(world)
        self.kernel.serve_delayed(request)
        if parked and _waiting(world) > waiting:
            self.tally.add(rule.name)


def _waiting(world: World) -> int:
    """Return how many processes wait, in all colonies."""
    return sum(len(tables[WAITING]) for tables in world.by_state.values())


def _hazard(rule: Rule) -> Hazard:
    assert isinstance(rule.fault, Hazard)
    return rule.fault


def _is_drawn(rule: Rule) -> bool:
    return rule.chance.random() < _hazard(rule).probability
