"""The HTML page at /colonysim/: an overview of the server."""

from __future__ import annotations

from html import escape
from typing import Final
from urllib.parse import quote

from colonysim.core.records import STATES, ProcessState
from colonysim.kernel.clock import show_time
from colonysim.kernel.why_idle import name_of
from colonysim.simulation.simulation import Simulation

CALLS_SHOWN: Final = 40
WAITING_SHOWN: Final = 10

_STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 20%, transparent); }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.05rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: .25rem .6rem; }
tr + tr { border-top: 1px solid var(--line); } td.n { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; padding: .8rem; border: 1px solid var(--line); border-radius: .4rem; }
.bad { color: #c0392b; }
"""


def render(sim: Simulation, token: str | None = None) -> bytes:
    """Render the page, which loads nothing else. Its links contain the token, if there is one."""
    clock = f"{show_time(sim.now_ns)} UTC, {sim.kernel.clock.mode.value}, seed {sim.settings.seed}"
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>",
        f"<meta http-equiv=refresh content=2><title>colonysim</title><style>{_STYLE}</style>",
        f"<h1>colonysim</h1><p>{escape(clock)}</p>",
        _problems(sim),
        f"<h2>Colonies</h2>{_colonies(sim)}",
        f"<h2>What waits</h2>{_waiting(sim, token)}",
        f"<h2>Why nothing happens</h2><pre>{escape(sim.why())}</pre>",
        f"<h2>Last calls</h2>{_calls(sim)}",
    ]
    return "".join(parts).encode()


def _problems(sim: Simulation) -> str:
    problems = [str(problem) for problem in sim.kernel.problems] + sim.observers.troubles
    return "".join(f"<pre class=bad>{escape(problem)}</pre>" for problem in problems)


def _colonies(sim: Simulation) -> str:
    names = [state.name.lower() for state in ProcessState]
    rows = []
    with sim.kernel.locked() as world:
        for name in world.colonies:
            executors = world.executors.count("colony", name)
            counts = [len(world.processes_in(name, state)) for state in STATES]
            cells = "".join(f"<td class=n>{count}</td>" for count in (executors, *counts))
            rows.append(f"<tr><td>{escape(name)}</td>{cells}</tr>")
    head = "".join(f"<th>{name}</th>" for name in ("colony", "executors", *names))
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _waiting(sim: Simulation, token: str | None) -> str:
    """List the first waiting processes, each with the reasons why it is not assigned."""
    with sim.kernel.locked() as world:
        first = [(process.process_id, process.spec.funcname) for process in world.queues.first(WAITING_SHOWN)]
    if not first:
        return "<p>nothing</p>"
    rows = []
    for process_id, name in first:
        query = f"?process={process_id}" + (f"&amp;token={quote(token, safe='')}" if token else "")
        link = f"<a href='/colonysim/why-not{query}'>{process_id[:8]}</a> <a href='/colonysim/story{query}'>story</a>"
        texts = "<br>".join(escape(text) for text in sim.why_not(process_id).texts)
        rows.append(f"<tr><td>{link}</td><td>{escape(name)}</td><td>{texts}</td></tr>")
    return f"<table><tr><th>process</th><th>function</th><th>why it is not assigned</th></tr>{''.join(rows)}</table>"


def _calls(sim: Simulation) -> str:
    rows = []
    for call in reversed(list(sim.calls)[-CALLS_SHOWN:]):
        status = "parked" if call.status is None else str(call.status)
        kind = call.payload_type or "unreadable"
        cells = (show_time(call.at_ns), name_of(sim.world, call.caller_id), kind, status)
        rows.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>")
    return f"<table><tr><th>time</th><th>caller</th><th>call</th><th>answer</th></tr>{''.join(rows)}</table>"
