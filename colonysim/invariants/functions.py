"""Functions: their statistics follow from the successful calls (docs/protocol/b-processes.md 5.2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from colonysim.core.history import Transition
from colonysim.core.operations.functions import AddFunction
from colonysim.core.protocol import Delivery, Message, Request
from colonysim.core.records import RUNNING, SECOND_NS, SUCCESS
from colonysim.core.types import Function
from colonysim.invariants.executors import Executors
from colonysim.invariants.invariant import Invariant, Look, built_in
from colonysim.invariants.ledger import Ledger, ProcessRecord
from colonysim.invariants.violation import InvariantViolation

_MICROSECOND_NS: Final = 1000


class _Times(msgspec.Struct, eq=False):
    """How long calls have taken, in seconds."""

    least: float = 0.0
    most: float = 0.0
    average: float = 0.0

    def add(self, seconds: float) -> None:
        """Add a call. Quirk: it weighs as much as all before it together, and a time of 0 counts as none."""
        self.least = min(self.least, seconds) if self.least > 0 else seconds
        self.most = max(self.most, seconds) if self.most > 0 else seconds
        self.average = (self.average + seconds) / 2 if self.average > 0 else seconds


class _FunctionRecord(msgspec.Struct, eq=False):
    """The calls of one function of one executor."""

    counter: int
    waited: _Times
    ran: _Times


@built_in
class Functions(Invariant):
    """Counts the calls of registered functions. If a name is registered twice, the first function decides."""

    rare = True

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self.executors = Executors.of(ledger)
        self.records: dict[str, _FunctionRecord] = {}
        self.named: dict[tuple[str, str, str], list[str]] = {}  # by colony, executor and name
        for function in self.world.functions.values():
            self.added(function)

    def added(self, function: Function) -> None:
        """Note a registered function, with the statistics that the client sent."""
        self.records[function.functionid] = _record_of(function)
        key = function.colonyname, function.executorname, function.funcname
        self.named.setdefault(key, []).append(function.functionid)

    def looks(self) -> dict[type[Message], Look]:
        return {AddFunction: self._requested}

    def _requested(self, request: Request, deliveries: Sequence[Delivery]) -> None:
        added = getattr(deliveries[0], "body", None) if deliveries else None
        if isinstance(added, Function):
            self.added(added)

    def moved(self, step: Transition, record: ProcessRecord) -> None:
        """Count a successful call, for the functions of that name that its executor has registered."""
        if step.new != SUCCESS or not self.world.functions:
            return
        records = self.executors.by_id.get(step.executor_id)
        if not records:
            return
        functions, key = self.world.functions, (record.process.colony, records[0].key[1], record.process.spec.funcname)
        listed = [each for each in self.named.get(key, ()) if each in functions]
        if not listed:
            return
        self.named[key] = listed
        started_ns = next((one.now_ns for one in reversed(record.story) if one.new == RUNNING), None)
        if started_ns is None:  # it started before these records
            started_ns = record.process.started_ns
        started_ns = _stored(started_ns)
        count = self.records[listed[0]]
        count.counter += 1
        count.waited.add((started_ns - _stored(record.submitted_ns)) / SECOND_NS)
        count.ran.add((step.now_ns - started_ns) / SECOND_NS)
        for function_id in listed:  # Quirk: computed from the first, written to all
            waited, ran = msgspec.structs.replace(count.waited), msgspec.structs.replace(count.ran)
            self.records[function_id] = _FunctionRecord(count.counter, waited, ran)
            self._compare(functions[function_id])

    def agree(self) -> None:
        """Check that no other call was counted."""
        self.records = {key: record for key, record in self.records.items() if key in self.world.functions}
        for function in self.world.functions.values():
            if function.functionid in self.records:
                self._compare(function)

    def _compare(self, function: Function) -> None:
        record, told = self.records[function.functionid], _record_of(function)
        for what, ours, theirs in (
            ("calls", record.counter, told.counter),
            ("waiting times", _shown(record.waited), _shown(told.waited)),
            ("execution times", _shown(record.ran), _shown(told.ran)),
        ):
            if ours != theirs:
                raise InvariantViolation(
                    f"function {function.funcname!r} of {function.executorname!r} shows {what} {theirs}, not {ours}"
                )


def _record_of(function: Function) -> _FunctionRecord:
    waited = _Times(function.minwaittime, function.maxwaittime, function.avgwaittime)
    return _FunctionRecord(
        function.counter, waited, _Times(function.minexectime, function.maxexectime, function.avgexectime)
    )


def _shown(times: _Times) -> tuple[float, float, float]:
    return times.least, times.most, times.average


def _stored(time_ns: int) -> int:
    """Round a time as the database does: to the nearest microsecond."""
    return (time_ns + _MICROSECOND_NS // 2) // _MICROSECOND_NS * _MICROSECOND_NS
