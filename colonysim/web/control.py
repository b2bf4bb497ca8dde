"""The control API under /colonysim/: time, state and history of a simulation, for any language's tests."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

import msgspec

from colonysim.core.golang.civil import zone_of
from colonysim.core.golang.times import format_time
from colonysim.core.registry import OPERATIONS
from colonysim.evidence.journal import JournalFailed
from colonysim.evidence.timeline import UNKNOWN
from colonysim.faults.model import Plan, read_faults
from colonysim.kernel import unique_json
from colonysim.kernel.clock import Mode
from colonysim.kernel.driver import Stuck
from colonysim.kernel.snapshots import BadSnapshot
from colonysim.kernel.why_idle import coming
from colonysim.simulation.simulation import Simulation
from colonysim.web.control_access import ControlAccess, Forbidden
from colonysim.web.http1 import HttpRequest
from colonysim.web.limits import DEFAULTS, Limits

JSON: Final = "application/json"
PROMISED: Final = 32  # snapshots kept

_ENCODER: Final = msgspec.json.Encoder(enc_hook=repr)


class Bad(Exception):
    """What was asked for makes no sense: status and text of the reply."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status


class Advance(msgspec.Struct, forbid_unknown_fields=True):
    """`seconds` from now, `to` a time (RFC 3339), or `until` `idle`: one of them."""

    seconds: float | None = None
    to: str | None = None
    until: str | None = None
    limit_seconds: float | None = None


class SetClock(msgspec.Struct, forbid_unknown_fields=True):
    mode: Mode | None = None
    rate: float | None = None


class Seed(msgspec.Struct, forbid_unknown_fields=True):
    seed: int | None = None


class Named(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "default"
    restore: bool = False


class EnableFault(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    enabled: bool


class ActorMessage(msgspec.Struct, forbid_unknown_fields=True):
    """A client that says when it acts and when it waits: while it acts, time does not move on by itself."""

    name: str
    waits: bool = False
    gone: bool = False


class Control:
    """All routes of the control API. It answers those whom `access` lets in: by default this machine only."""

    def __init__(self, sim: Simulation, access: ControlAccess | None = None, limits: Limits = DEFAULTS) -> None:
        self.sim = sim
        self.access = access or ControlAccess()
        self.limits = limits
        self.snapshots: dict[str, bytes] = {}
        self.routes: dict[tuple[str, str], Callable[[bytes, dict[str, str]], Any]] = {
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

    def answer(self, request: HttpRequest) -> tuple[int, bytes, str]:
        """Status, body and content type of the reply."""
        try:
            self.access.check(request)
        except Forbidden as refusal:
            return refusal.status, _ENCODER.encode({"error": str(refusal)}), JSON
        method, path = request.method, request.path
        name = path.removeprefix("/colonysim").strip("/")
        if name == "" and method == "GET":
            return 200, self._page(), "text/html; charset=utf-8"
        route = self.routes.get((method, name))
        try:
            if route is None:
                raise self._no_route(method, name)
            self._check_body(request.body)
            result = route(request.body, _query(request.query))
        except Bad as bad:
            return bad.status, _ENCODER.encode({"error": str(bad)}), JSON
        except (ValueError, OverflowError, msgspec.ValidationError, msgspec.DecodeError, BadSnapshot) as error:
            return 400, _ENCODER.encode({"error": str(error)}), JSON
        except (Stuck, JournalFailed) as error:
            return 409, _ENCODER.encode({"error": str(error)}), JSON
        return 200, _ENCODER.encode(result), JSON

    def _check_body(self, body: bytes) -> None:
        limit = self.limits.control_body_bytes
        if len(body) > limit:
            text = f"a body of {len(body)} bytes is longer than the control API takes: control_body_bytes={limit}"
            raise Bad(413, text)
        if (depth := _depth(body)) > self.limits.control_depth:
            limit = self.limits.control_depth
            raise Bad(400, f"lists and objects stand {depth} deep within each other, {limit} is the most")

    def _no_route(self, method: str, name: str) -> Bad:
        methods = [m for m, n in self.routes if n == name]
        if methods:
            return Bad(405, f"/colonysim/{name} takes {' and '.join(methods)}, not {method}")
        names = ", ".join(sorted({n for _, n in self.routes}))
        return Bad(404, f"there is no /colonysim/{name}; there are {names}")

    # ------------------------------------------------------------ time
    def _clock(self, body: bytes, query: dict[str, str]) -> Any:
        sim = self.sim
        now_ns = sim.now_ns
        shown = {"now": format_time(now_ns, zone_of(sim.settings.timezone), exact=True), "now_ns": now_ns}
        return shown | {"mode": sim.clock.mode.value, "rate": sim.clock.rate}

    def _set_clock(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body or b"{}", type=SetClock)
        self.sim.set_clock(wanted.mode, wanted.rate)
        return self._clock(body, query)

    def _advance(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body or b"{}", type=Advance)
        if wanted.until is not None:
            if wanted.until != "idle" or wanted.seconds is not None or wanted.to is not None:
                raise Bad(400, 'advance takes {"seconds": n}, {"to": time} or {"until": "idle", "limit_seconds": n}')
            self.sim.run_until_idle(wanted.limit_seconds)
        else:
            self.sim.advance(wanted.seconds, to=wanted.to)
        return self._clock(body, query)

    def _why(self, body: bytes, query: dict[str, str]) -> Any:
        return {"why": self.sim.why()}

    def _why_not(self, body: bytes, query: dict[str, str]) -> Any:
        found = self.sim.why_not(_process(query))
        if found.state == "unknown":
            raise Bad(404, str(found.texts[0]))
        return found

    def _story(self, body: bytes, query: dict[str, str]) -> Any:
        process_id = _process(query)
        story = self.sim.story(process_id)
        if story == UNKNOWN or (self.sim.invariants is None and process_id not in self.sim.world.processes):
            raise Bad(404, f"there is no process {process_id}, and none of that id was here lately")
        return {"process_id": process_id, "story": story.splitlines()}

    def _actor(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body, type=ActorMessage)
        self.sim.outside_actor(wanted.name, waits=wanted.waits, gone=wanted.gone)
        return {}

    # ------------------------------------------------------------ state
    def _reset(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body or b"{}", type=Seed)
        self.sim.reset(wanted.seed)
        return self._clock(body, query)

    def _seed(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body, type=Seed)
        if wanted.seed is None:
            raise Bad(400, 'say which seed: {"seed": 7}')
        self.sim.reset(wanted.seed)
        return {"seed": wanted.seed}

    def _snapshot(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body or b"{}", type=Named)
        if wanted.restore:
            if wanted.name not in self.snapshots:
                raise Bad(404, f"there is no snapshot named {wanted.name!r}; there are {sorted(self.snapshots)}")
            self.sim.restore(self.snapshots[wanted.name])
        else:
            if len(self.snapshots) >= PROMISED and wanted.name not in self.snapshots:
                raise Bad(409, f"{PROMISED} snapshots are kept at most; use a name again")
            self.snapshots[wanted.name] = self.sim.snapshot()
        return {"name": wanted.name, "bytes": len(self.snapshots[wanted.name])}

    def _list_snapshots(self, body: bytes, query: dict[str, str]) -> Any:
        return [{"name": name, "bytes": len(frozen)} for name, frozen in self.snapshots.items()]

    # ------------------------------------------------------------ faults
    def _list_faults(self, body: bytes, query: dict[str, str]) -> Any:
        return self.sim.faults.all

    def _add_faults(self, body: bytes, query: dict[str, str]) -> Any:
        """One fault, a list of them, or a plan."""
        wanted = unique_json.read(body)
        if isinstance(wanted, dict) and "faults" in wanted:
            return self.sim.faults.add(msgspec.convert(wanted, Plan))
        return self.sim.faults.add(*read_faults(wanted))

    def _enable_fault(self, body: bytes, query: dict[str, str]) -> Any:
        wanted = msgspec.json.decode(body, type=EnableFault)
        self.sim.faults.enable(wanted.name, wanted.enabled)
        return self.sim.faults.all

    def _remove_faults(self, body: bytes, query: dict[str, str]) -> Any:
        """The fault that the query names, or all."""
        if "name" in query:
            self.sim.faults.remove(query["name"])
        else:
            self.sim.faults.clear()
        return self.sim.faults.all

    # ------------------------------------------------------------ what there is to know
    def _health(self, body: bytes, query: dict[str, str]) -> Any:
        """Problems of the server, and what is wrong with the files that keep its history and its state."""
        problems = [str(problem) for problem in self.sim.problems] + self.sim.troubles
        return {"ok": not problems, "problems": problems}

    def _calls(self, body: bytes, query: dict[str, str]) -> Any:
        calls = list(self.sim.calls)
        after = int(query.get("after", "0"))
        limit = int(query.get("limit", "1000"))
        return [call for call in calls if call.number > after][-limit:] if limit > 0 else []

    def _events(self, body: bytes, query: dict[str, str]) -> Any:
        """What is due next in the server, and what is planned outside of it."""
        with self.sim.locked() as world:
            entries = coming(world, self.sim.planned)[: int(query.get("limit", "100"))]
        return [
            {"due_ns": due_ns, "event": type(event).__name__, "about": getattr(event, "what", "") or event}
            for due_ns, event in entries
        ]

    def _coverage(self, body: bytes, query: dict[str, str]) -> Any:
        return [
            {"type": row.name, "part": row.part, "access": row.access.name, "pubsub": row.streamed}
            for row in OPERATIONS.values()
        ]

    def _page(self) -> bytes:
        from colonysim.web import page

        return page.render(self.sim, self.access.token)


_STRING_OR_BRACKET: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[][{}]', re.DOTALL)


def _depth(body: bytes) -> int:
    """How deep lists and objects stand within each other in a JSON text, whatever else is wrong with it."""
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
        raise Bad(400, "say which process: ?process=<its id>")
    return query["process"]


def _query(text: str) -> dict[str, str]:
    from urllib.parse import parse_qsl

    return dict(parse_qsl(text))
