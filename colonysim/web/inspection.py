"""The routes of the control API for people: an overview, tables, one thing in full, and calls made for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from colonysim.core.errors import Refusal
from colonysim.core.registry import OPERATIONS
from colonysim.evidence import details, tables
from colonysim.evidence.causes import causes_in
from colonysim.faults.registry import schema_of_kinds
from colonysim.kernel.actors import Actor, cpu_time_ns
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.why_idle import due_events
from colonysim.simulation.simulation import Simulation
from colonysim.wire.codec import decode_message

TABLE_FIELDS: Final = ("offset", "limit", "search", "sort", "descending")
_SHOWN: Final = 5
"""Events that are due, and actors, in the overview."""
_ID: Final = re.compile(r"[0-9a-f]{64}\Z")


class NotFound(Exception):
    """There is no such thing, or it is no longer kept."""


class BadCall(ValueError):
    """A call that no client could make. The text says why, with the fix."""


class HtmlReport(NamedTuple):
    """An answer that is a page, not JSON."""

    text: str


class SendCall(msgspec.Struct, forbid_unknown_fields=True):
    """A call that is made as a client without its key: `caller` is the id that a signature would prove."""

    caller: str
    payload: dict[str, Any]


def queries() -> dict[tuple[str, str], tuple[str, ...]]:
    """Return the fields that the queries of the routes take."""
    of_tables = {("GET", f"tables/{name}"): (*TABLE_FIELDS, *table.filters) for name, table in tables.TABLES.items()}
    return {
        ("GET", "process"): ("process",),
        ("GET", "workflow"): ("workflow",),
        ("GET", "wire"): ("call",),
    } | of_tables


class Inspection:
    """Reads a simulation for people, and makes calls for them. Its routes take and return what `Control` describes."""

    def __init__(self, sim: Simulation) -> None:
        self._sim = sim
        self._cpu_ns: dict[int, int] = {}  # processor times of threads at the last overview

    def routes(self) -> dict[tuple[str, str], Callable[[Any, dict[str, str]], Any]]:
        """Return the routes by method and name."""
        of_tables = {("GET", f"tables/{name}"): self._table(name) for name in tables.TABLES}
        return of_tables | {
            ("GET", "process"): self._one(details.process_details, "process"),
            ("GET", "workflow"): self._one(details.graph_details, "workflow"),
            ("GET", "wire"): self._one(_call_details, "call"),
            ("GET", "causes"): self._causes,
            ("GET", "report"): self._report,
            ("GET", "faults/kinds"): self._kinds,
            ("POST", "calls"): self._send,
        }

    # ------------------------------------------------------------ reading
    def overview(self) -> dict[str, Any]:
        """Return the clock, what it waits for, and how much there is of everything; time does not move."""
        sim = self._sim
        with sim.kernel.locked() as world:
            kernel, clock = sim.kernel, sim.kernel.clock
            due = due_events(world, kernel.timetable.planned)
            return {
                "now_ns": max(clock.virtual_now(), world.now_ns) if clock.runs else world.now_ns,
                "mode": clock.mode.value,
                "rate": clock.rate,
                "runs": clock.runs,
                "seed": world.settings.seed,
                "due": [tables.event_row(world, *entry) for entry in due[:_SHOWN]],
                "due_total": len(due),
                "acts": [actor.name for actor in kernel.actors.busy() if self._acts(actor)][:_SHOWN],
                "waits": [
                    {"name": actor.name, "for": actor.waits_for, "since_ns": actor.since_ns}
                    for actor in kernel.actors.blocked()[:_SHOWN]
                ],
                "parked": len(kernel.pending),
                "server_id": world.server_id,
                "colonies": [tables.colony_row(world, name) for name in world.colonies],
                "calls": kernel.calls_asked,
                "faults": len([fault for fault in sim.faults.all if fault.enabled]),
                "strikes": sum(sim.faults.counts.values()),
                "problems": [str(problem) for problem in kernel.problems] + sim.observers.troubles,
            }

    def _acts(self, actor: Actor) -> bool:
        """Whether an actor is one that reports when it waits, or its thread has computed since the last look."""
        if actor.thread is None:
            return True
        number, now_ns = actor.thread.ident or 0, cpu_time_ns(actor.thread)
        before_ns, self._cpu_ns[number] = self._cpu_ns.get(number, now_ns), now_ns
        return before_ns != now_ns

    def _table(self, name: str) -> Callable[[Any, dict[str, str]], Any]:
        def answer(body: None, query: dict[str, str]) -> tables.TablePage:
            """Show a page of a table."""
            fields = {key: value for key, value in query.items() if key not in TABLE_FIELDS}
            asked = tables.Query(
                _whole(query, "offset", 0),
                _whole(query, "limit", 50),
                query.get("search", ""),
                query.get("sort", ""),
                _flag(query, "descending"),
                fields,
            )
            with self._sim.kernel.locked():
                return tables.find(self._sim.kernel, name, asked)

        return answer

    def _one(self, look_up: Callable[[Kernel, str], Any], what: str) -> Callable[[Any, dict[str, str]], Any]:
        def answer(body: None, query: dict[str, str]) -> Any:
            """Show one thing in full."""
            if what not in query:
                raise ValueError(f"the field {what} is missing from the query: give ?{what}=<its id>")
            with self._sim.kernel.locked():
                found = look_up(self._sim.kernel, query[what])
            if found is None:
                raise NotFound(f"there is no {what} {query[what][:100]}: it never was, or it is no longer kept")
            return found

        return answer

    # ------------------------------------------------------------ what failed
    def _causes(self, body: None, query: dict[str, str]) -> Any:
        """Say why processes ended without success, with some timelines for each cause."""
        observers = self._sim.observers
        with self._sim.kernel.locked() as world:
            shown = []
            for cause in causes_in(world, observers.invariants):
                texts = [{"text": text, "count": count} for text, count in cause.texts]
                processes = [
                    {
                        "id": each,
                        "function": world.processes[each].spec.funcname,
                        "story": observers.story(each).splitlines(),
                    }
                    for each in cause.processes
                ]
                shown.append({"cause": cause.name, "count": cause.count, "texts": texts, "processes": processes})
            return {"now_ns": world.now_ns, "causes": shown}

    def _report(self, body: None, query: dict[str, str]) -> HtmlReport:
        """Make an HTML report of all that has happened."""
        from colonysim.reports import observed, page  # few servers are asked for one

        sim = self._sim
        now = sim.now
        with sim.kernel.locked():
            problems = [*map(str, sim.kernel.problems), *sim.observers.troubles]
            about = f"A server at {now:%Y-%m-%d %H:%M:%S} UTC, its virtual time."
            text = page.page_of(observed.of_simulation(sim), "colonysim", about=about, problems=problems)
        return HtmlReport(text)

    def _kinds(self, body: None, query: dict[str, str]) -> Any:
        """Describe the kinds of faults by their JSON Schema."""
        return schema_of_kinds()

    # ------------------------------------------------------------ calls
    def _send(self, body: SendCall, query: dict[str, str]) -> Any:
        """Make a call as any client, and return its answer if that has come at once, else a status of None."""
        name = body.payload.get("msgtype")
        row = OPERATIONS.get(name) if isinstance(name, str) else None
        if row is None or row.streamed:
            raise BadCall('the payload needs a "msgtype" that /api takes, such as submitfuncspecmsg')
        if not _ID.match(body.caller):
            raise BadCall(f"invalid caller {body.caller[:80]!r}: expected an id of 64 hexadecimal digits")
        try:
            incoming = decode_message(row, msgspec.json.encode(body.payload), body.caller)
        except Refusal as refusal:
            raise BadCall(f"the payload cannot be read: {refusal.text or refusal.status}") from None
        sim = self._sim
        pending = sim.begin(body.caller, incoming.message, has_nul=incoming.has_nul, outside=True)
        call, answer = pending.call, pending.answer
        if answer is None:
            return {"number": call.number, "status": None, "body": None}
        text = details.reply_text(sim.kernel, call, incoming.payload.decode())
        return {"number": call.number, "status": answer.status, "body": msgspec.Raw((text or "null").encode())}


def _call_details(kernel: Kernel, number: str) -> Any:
    return details.call_details(kernel, _whole({"call": number}, "call", 0))


def _whole(query: Mapping[str, str], name: str, otherwise: int) -> int:
    """Read a whole number from a query. Raises ValueError."""
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdecimal() and len(text) <= 18):
        raise ValueError(f"invalid {name}={text[:60]!r}: expected a whole number, 0 or more")
    return int(text)


def _flag(query: Mapping[str, str], name: str) -> bool:
    text = query.get(name, "false")
    if text not in ("true", "false"):
        raise ValueError(f"invalid {name}={text[:60]!r}: expected true or false")
    return text == "true"
