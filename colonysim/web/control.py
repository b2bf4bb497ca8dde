"""The control API under /colonysim/: time, state and history of a simulation, for any language's tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import asdict

from colonysim.core.golang.civil import zone_of
from colonysim.core.golang.times import format_time
from colonysim.core.registry import OPERATIONS
from colonysim.core.values import read_value
from colonysim.evidence.journal import JournalFailed
from colonysim.faults.plan import Plan
from colonysim.faults.registry import as_data, check_loaded, read_faults
from colonysim.http import unique_json
from colonysim.http.http1 import HttpRequest, Reply
from colonysim.http.limits import DEFAULTS, Limits
from colonysim.invariants.timeline import UNKNOWN
from colonysim.kernel.clock import Mode
from colonysim.kernel.kernel import Stuck
from colonysim.kernel.snapshots import BadSnapshot
from colonysim.kernel.why_idle import due_events
from colonysim.simulation.simulation import Simulation
from colonysim.web import assets
from colonysim.web.changes import ChangeStream, is_stream
from colonysim.web.control_access import (
    CHALLENGE,
    CONTROL_HEADERS,
    PAGE_HEADERS,
    ControlAccess,
    Forbidden,
    report_headers,
)
from colonysim.web.inspection import HtmlReport, Inspection, NotFound, SendCall, queries

JSON: Final = "application/json"
MOST_SNAPSHOTS: Final = 32  # at a time
MOST_ACTORS: Final = 10_000
MOST_FAULTS: Final = 1000
MOST_NAME: Final = 200  # characters
MOST_NUMBER: Final = 2**63 - 1
MOST_FIELDS: Final = 10  # of a query

_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)


class ControlError(Exception):
    """An invalid request: status and text of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """`seconds` from now, `to` a time (RFC 3339), or `until` `idle` or the `next` event: one of them."""

    seconds: float | None = None
    to: str | None = None
    until: str | None = None
    limit_seconds: float | None = None


class SetClock(msgspec.Struct, forbid_unknown_fields=True):
    mode: Mode | None = None
    rate: float | None = None


class Seed(msgspec.Struct, forbid_unknown_fields=True):
    seed: int | None = None


class SnapshotName(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "default"
    restore: bool = False


class EnableFault(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    enabled: bool


class ActorMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A client that reports when it acts and when it waits. While it acts, virtual time does not advance."""

    name: str
    waits: bool = False
    gone: bool = False


BODIES: Final[dict[tuple[str, str], Any]] = {
    ("PUT", "clock"): SetClock,
    ("POST", "clock/advance"): Advance,
    ("POST", "reset"): Seed,
    ("POST", "seed"): Seed,
    ("POST", "faults"): Any,
    ("PATCH", "faults"): EnableFault,
    ("POST", "snapshots"): SnapshotName,
    ("POST", "actors"): ActorMessage,
    ("POST", "calls"): SendCall,
}
"""The type of each route's body; the other routes take none."""
QUERIES: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("GET", "why-not"): ("process",),
    ("GET", "story"): ("process",),
    ("DELETE", "faults"): ("name",),
    ("GET", "calls"): ("after", "limit"),
    ("GET", "events"): ("limit",),
    **queries(),
}
"""The fields that a route takes in its query; the other routes take none."""


class Control:
    """The routes of the control API. `access` decides which clients may use it, by default those on this machine."""

    def __init__(self, sim: Simulation, access: ControlAccess | None = None, limits: Limits = DEFAULTS) -> None:
        self.sim = sim
        self.access = access or ControlAccess()
        self.limits = limits
        self.snapshots: dict[str, bytes] = {}
        self.read_only = ""
        """Why nothing may be changed at present, for errors; "" if it may."""
        self.inspection = Inspection(sim)
        self.routes: dict[tuple[str, str], Callable[[Any, dict[str, str]], Any]] = self.inspection.routes() | {
            ("GET", "overview"): self._overview,
            ("GET", "openapi.json"): self._describe,
            ("GET", "health"): self._health,
            ("GET", "clock"): self._clock,
            ("PUT", "clock"): self._set_clock,
            ("POST", "clock/advance"): self._advance,
            ("GET", "clock/why"): self._why,
            ("GET", "why-not"): self._why_not,
            ("GET", "story"): self._story,
            ("POST", "reset"): self._reset,
            ("POST", "seed"): self._seed,
            ("GET", "faults"): self._list_faults,
            ("POST", "faults"): self._add_faults,
            ("PATCH", "faults"): self._enable_fault,
            ("DELETE", "faults"): self._remove_faults,
            ("GET", "calls"): self._calls,
            ("GET", "snapshots"): self._list_snapshots,
            ("POST", "snapshots"): self._snapshot,
            ("GET", "events"): self._events,
            ("GET", "coverage"): self._coverage,
            ("POST", "actors"): self._actor,
        }

    def reply(self, request: HttpRequest) -> Reply:
        """Answer a request, with all headers."""
        status, body, kind = self.answer(request)
        of_page = report_headers() if _name(request) == "report" else PAGE_HEADERS
        others = CONTROL_HEADERS if kind == JSON else of_page
        headers = [("Content-Type", kind), *others]
        return Reply(status, body, [*headers, CHALLENGE] if status == 401 else headers)

    def stream(self, request: HttpRequest) -> ChangeStream | None:
        """Return the stream of changes if a request asks for it, and may; None otherwise: `reply` says why not."""
        if not is_stream(request):
            return None
        try:
            self.access.check(request)
            _query(request, ())
        except (Forbidden, ControlError):
            return None
        return ChangeStream(self.sim, self._overview, lambda: self.read_only)

    def answer(self, request: HttpRequest) -> tuple[int, bytes, str]:
        """Answer a request: status, body and content type of the reply."""
        file = assets.file_of(request)
        try:
            self.access.check(request, public=file is not None and file.name != assets.INDEX)
        except Forbidden as refusal:
            return refusal.status, _ENCODER.encode({"error": str(refusal)}), JSON
        if file is not None:
            return 200, file.content, file.type
        method, name = request.method, _name(request)
        try:
            route = self.routes.get((method, name))
            if route is None:
                raise self._no_route(method, name)
            if self.read_only and method != "GET":
                raise ControlError(409, self.read_only)
            query = _query(request, QUERIES.get((method, name), ()))
            result = route(self._read(request, BODIES.get((method, name))), query)
            if isinstance(result, HtmlReport):
                return 200, result.text.encode(), assets.HTML
            return 200, _ENCODER.encode(result), JSON
        except ControlError as bad:
            status, text = bad.status, str(bad)
        except NotFound as missing:
            status, text = 404, str(missing)
        except (ValueError, OverflowError, msgspec.ValidationError, msgspec.DecodeError, BadSnapshot) as error:
            status, text = 400, str(error)
        except (Stuck, JournalFailed) as error:
            status, text = 409, str(error)
        return status, _ENCODER.encode({"error": text.encode("utf-8", "backslashreplace").decode()}), JSON

    def _read(self, request: HttpRequest, kind: Any) -> Any:
        """Read the body as the type of its route, None if it takes none. Raises ControlError or ValueError."""
        if request.problem:  # a truncated body must not count as an empty one
            raise ControlError(400, f"the body is incomplete: {request.problem}")
        body = request.body
        if kind is None:
            if body:
                raise ControlError(400, f"{request.method} {request.path} takes no body; give its fields in the query")
            return None
        self._check_body(body)
        read = unique_json.read(body := body or b"{}")
        msgspec.json.decode(body)  # refuses what json lets pass: lone surrogates, numbers out of range
        return msgspec.convert(read, kind)

    def _check_body(self, body: bytes) -> None:
        limit = self.limits.control_body_bytes
        if len(body) > limit:
            text = f"a body of {len(body)} bytes is longer than the limit control_body_bytes={limit}"
            raise ControlError(413, text)
        if (depth := _depth(body)) > self.limits.control_depth:
            limit = self.limits.control_depth
            raise ControlError(
                400, f"lists and objects are nested {depth} deep, beyond the limit control_depth={limit}"
            )

    def _no_route(self, method: str, name: str) -> ControlError:
        if not name:
            return ControlError(405, f"/colonysim/ takes GET, not {method}")
        methods = [m for m, n in self.routes if n == name]
        if methods:
            return ControlError(405, f"/colonysim/{name} takes {' and '.join(methods)}, not {method}")
        names = ", ".join(sorted({n for _, n in self.routes}))
        return ControlError(404, f"there is no route /colonysim/{name}; the routes are {names}")

    # ------------------------------------------------------------ time
    def _clock(self, body: None, query: dict[str, str]) -> Any:
        """Tell the time and how it moves."""
        sim = self.sim
        now_ns = sim.now_ns
        shown = {"now": format_time(now_ns, zone_of(sim.settings.timezone), exact=True), "now_ns": now_ns}
        return shown | {"mode": sim.kernel.clock.mode.value, "rate": sim.kernel.clock.rate}

    def _set_clock(self, body: SetClock, query: dict[str, str]) -> Any:
        """Set the mode of the clock, or its rate."""
        if body.mode is None and body.rate is None:
            raise ControlError(400, 'nothing to set: give {"mode": "auto"}, or {"mode": "scaled", "rate": 60}')
        self.sim.set_clock(body.mode, body.rate)
        return self._clock(None, query)

    def _advance(self, body: Advance, query: dict[str, str]) -> Any:
        """Move time."""
        if body.until is not None and (
            body.until not in ("idle", "next") or body.seconds is not None or body.to is not None
        ):
            raise ControlError(
                400,
                'advance takes {"seconds": n}, {"to": time}, {"until": "next"} or '
                '{"until": "idle", "limit_seconds": n}',
            )
        if body.until == "idle":
            self.sim.run_until_idle(body.limit_seconds)
        elif body.limit_seconds is not None:
            raise ControlError(400, 'limit_seconds has no effect without {"until": "idle"}')
        elif body.until == "next":
            with self.sim.kernel.locked():
                events, due_ns = self.sim.kernel.events, self.sim.kernel.due()
            if due_ns is None:
                raise ControlError(409, "no event is due: nothing happens until a client sends a request")
            self.sim.advance(until=lambda: self.sim.kernel.events > events)
        else:
            self.sim.advance(body.seconds, to=body.to)
        return self._clock(None, query)

    def _why(self, body: None, query: dict[str, str]) -> Any:
        """Tell who acts, who waits for what, and what is due next."""
        return {"why": self.sim.why()}

    def _why_not(self, body: None, query: dict[str, str]) -> Any:
        """Explain why a process is not assigned."""
        found = self.sim.why_not(_process(query))
        if found.state == "unknown":
            raise ControlError(404, str(found.texts[0]))
        return found

    def _story(self, body: None, query: dict[str, str]) -> Any:
        """Tell the timeline of a process, in lines."""
        process_id = _process(query)
        story = self.sim.story(process_id)
        if story == UNKNOWN or (self.sim.observers.invariants is None and process_id not in self.sim.world.processes):
            raise ControlError(404, f"there is no process {process_id}, nor has there been one recently")
        return {"process_id": process_id, "story": story.splitlines()}

    def _actor(self, body: ActorMessage, query: dict[str, str]) -> Any:
        """Say that a client acts, waits or is gone."""
        _check_name("actor", body.name)
        if body.waits and body.gone:
            raise ControlError(400, "give either waits or gone, not both: an actor that is gone does not wait")
        known = self.sim.kernel.actors.registered
        if not body.gone and body.name not in known and len(known) >= MOST_ACTORS:
            raise ControlError(409, f"there are {MOST_ACTORS} actors already, the limit; remove one with gone")
        self.sim.kernel.outside_actor(body.name, waits=body.waits, gone=body.gone)
        return {}

    # ------------------------------------------------------------ state
    def _reset(self, body: Seed, query: dict[str, str]) -> Any:
        """Go back to the state at the start, with another seed if one is given."""
        self.sim.reset(body.seed)
        return self._clock(None, query)

    def _seed(self, body: Seed, query: dict[str, str]) -> Any:
        """Go back to the state at the start, with another seed."""
        if body.seed is None:
            raise ControlError(400, 'the field seed is missing: give {"seed": 7}')
        self.sim.reset(body.seed)
        return {"seed": body.seed}

    def _snapshot(self, body: SnapshotName, query: dict[str, str]) -> Any:
        """Take a snapshot of the state, or go back to one."""
        name = body.name
        _check_name("snapshot", name)
        if body.restore:
            if name not in self.snapshots:
                raise ControlError(
                    404, f"there is no snapshot named {name!r}; the snapshots are {sorted(self.snapshots)}"
                )
            self.sim.restore(self.snapshots[name])
        else:
            if len(self.snapshots) >= MOST_SNAPSHOTS and name not in self.snapshots:
                raise ControlError(
                    409, f"there are {MOST_SNAPSHOTS} snapshots already, the limit; use one of their names again"
                )
            self.snapshots[name] = self.sim.snapshot()
        return {"name": name, "bytes": len(self.snapshots[name])}

    def _list_snapshots(self, body: None, query: dict[str, str]) -> Any:
        """List the snapshots."""
        return [{"name": name, "bytes": len(frozen)} for name, frozen in self.snapshots.items()]

    # ------------------------------------------------------------ faults
    def _list_faults(self, body: None, query: dict[str, str]) -> Any:
        """All faults, each with how often it struck since it was added, or the reason if it never did."""
        faults, counts, idle = self.sim.faults.all, self.sim.faults.counts, self.sim.faults.idle
        return [
            as_data(fault)
            | {"strikes": counts[fault.name]}
            | ({"never_struck": idle[fault.name]} if fault.name in idle else {})
            for fault in faults
        ]

    def _add_faults(self, body: Any, query: dict[str, str]) -> Any:
        """Add one fault, a list of faults, or a plan."""
        is_plan = isinstance(body, dict) and "faults" in body
        check_loaded(body["faults"] if is_plan else body)
        plan = read_value(Plan, body) if is_plan else None
        faults = read_faults(body) if plan is None else plan.faults
        present = self.sim.faults.added
        if present + len(faults) > MOST_FAULTS:
            text = f"{present} faults and {len(faults)} more are too many: at most {MOST_FAULTS} can be added"
            raise ControlError(409, f"{text}; remove some first with DELETE /colonysim/faults")
        return [as_data(fault) for fault in self.sim.faults.add(*(faults if plan is None else [plan]))]

    def _enable_fault(self, body: EnableFault, query: dict[str, str]) -> Any:
        """Switch a fault on or off."""
        self.sim.faults.enable(body.name, body.enabled)
        return [as_data(fault) for fault in self.sim.faults.all]

    def _remove_faults(self, body: None, query: dict[str, str]) -> Any:
        """Remove the fault that the query names, or all of them."""
        if "name" in query:
            self.sim.faults.remove(query["name"])
        else:
            self.sim.faults.clear()
        return [as_data(fault) for fault in self.sim.faults.all]

    # ------------------------------------------------------------ inspection
    def _describe(self, body: None, query: dict[str, str]) -> Any:
        """Describe the control API in OpenAPI 3.1."""
        from colonysim.web import openapi  # few need it

        return openapi.describe(self.routes, BODIES, QUERIES)

    def _overview(self, body: None = None, query: dict[str, str] | None = None) -> Any:
        """Tell the clock, what is due, who acts and waits, and the numbers of each colony."""
        return self.inspection.overview() | {"read_only": self.read_only}

    def _health(self, body: None, query: dict[str, str]) -> Any:
        """Problems of the server, and of the files that keep its history and state."""
        problems = [str(problem) for problem in self.sim.kernel.problems] + self.sim.observers.troubles
        return {"ok": not problems, "problems": problems}

    def _calls(self, body: None, query: dict[str, str]) -> Any:
        """List the last calls."""
        calls = list(self.sim.calls)
        after, limit = _number(query, "after", 0), _number(query, "limit", 1000)
        last = [call for call in calls if call.number > after][-limit:] if limit else []
        return [{key: each for key, each in asdict(call).items() if key != "payload"} for call in last]

    def _events(self, body: None, query: dict[str, str]) -> Any:
        """The events that are due next, in the server and in the clients that it simulates."""
        with self.sim.kernel.locked() as world:
            entries = due_events(world, self.sim.kernel.timetable.planned)[: _number(query, "limit", 100)]
        return [
            {"due_ns": due_ns, "event": type(event).__name__, "about": getattr(event, "what", "") or event}
            for due_ns, event in entries
        ]

    def _coverage(self, body: None, query: dict[str, str]) -> Any:
        """List the message types."""
        return [
            {"type": row.name, "part": row.part, "access": row.access.name, "pubsub": row.streamed}
            for row in OPERATIONS.values()
        ]


def _name(request: HttpRequest) -> str:
    """Return the name of the route that a request asks for."""
    return request.path.removeprefix("/colonysim").strip("/")


_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)


def _depth(body: bytes) -> int:
    """Return the nesting depth of lists and objects in a text, even if it is not valid JSON."""
    depth = deepest = 0
    for found in _STRING_OR_BRACKET.finditer(body):
        if found[0] in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif found[0] in b"]}":
            depth -= 1
    return deepest


def _process(query: dict[str, str]) -> str:
    if "process" not in query:
        raise ControlError(400, "the field process is missing from the query: give ?process=<its id>")
    return query["process"]


def _query(request: HttpRequest, names: tuple[str, ...]) -> dict[str, str]:
    """Read the fields that a route takes from its query; `token` was checked before. Raises ControlError."""
    from urllib.parse import parse_qsl

    found: dict[str, str] = {}
    for name, value in parse_qsl(request.query, keep_blank_values=True, max_num_fields=MOST_FIELDS):
        if name == "token" and request.method == "GET":
            continue
        if name not in names:
            takes = f"takes {' and '.join(names)}" if names else "takes none"
            raise ControlError(
                400, f"unknown field {name[:60]!r} in the query: {request.method} {request.path} {takes}"
            )
        if name in found or not value:
            what = "is given twice" if name in found else "is empty"
            raise ControlError(400, f"the field {name} of the query {what}; give it once with a value, or omit it")
        found[name] = value
    return found


def _number(query: dict[str, str], name: str, otherwise: int) -> int:
    """Read a whole number from a query. Raises ControlError."""
    text = query.get(name, str(otherwise))
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(MOST_NUMBER)) and int(text) <= MOST_NUMBER):
        raise ControlError(400, f"invalid {name}={text[:60]!r}: expected a whole number from 0 to {MOST_NUMBER}")
    return int(text)


def _check_name(what: str, name: str) -> None:
    """Refuse a name that is blank, unprintable or too long. Raises ControlError."""
    if not (name.strip() and name.isprintable() and len(name) <= MOST_NAME):
        raise ControlError(
            400, f"invalid name {name[:60]!r} of the {what}: expected 1 to {MOST_NAME} printable characters"
        )
