"""colonysim demo: workflows in a storm of crashes, played back in the terminal, with a report at the end."""

from __future__ import annotations

import tempfile
import time
from bisect import bisect_right
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from colonysim.cli import outputs
from colonysim.cli.console import FAILED, FINE, fail, out, saying_what_ends
from colonysim.core.wording import show_count, show_seconds

if TYPE_CHECKING:
    from rich.console import RenderableType

    from colonysim.scenarios.result import Result
    from colonysim.scenarios.runner import Run
    from colonysim.scenarios.scenario import Scenario

_FRAMES_PER_S: Final = 12
_EVENTS_SHOWN: Final = 5
_SYMBOLS: Final = {"blocked": "·", "waiting": "○", "running": "◐", "success": "●", "failed": "✗"}
_STYLES: Final = {"running": "yellow", "success": "green", "failed": "red"}


def demo(
    seed: Annotated[int | None, typer.Option(help="Another seed is another history.")] = None,
    seconds: Annotated[
        float, typer.Option(min=0.0, max=3600.0, help="Length of the playback; 0 shows only the end.")
    ] = 12.0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Where to write the HTML report; by default a new folder.")
    ] = None,
) -> None:
    """Show what colonysim does: a storm of crashes over workflows, live in the terminal, in under 20 seconds."""
    from colonysim.experiments.report import write_html
    from colonysim.scenarios.runner import Run

    outputs.require([], {"--report": report})
    scenario = _scenario()
    run = Run(scenario, seed)
    result = run.execute()
    if not out.is_terminal:
        out.print("The playback needs a terminal; this is what happened.")
    elif seconds:
        with saying_what_ends(lambda: "the playback was cut short, and no report was written"):
            _play(run, seconds)
    _print_end(run, result)
    path = report or Path(tempfile.mkdtemp(prefix="colonysim-demo-")) / "report.html"
    try:
        write_html(run, path, f"colonysim demo --seed {result.seed}")
    except OSError as error:
        fail(f"{path}: cannot be written: {error.strerror or error}", FAILED)
    out.print(f"  report      {path}  (open it in a browser)")
    out.print("  next        colonysim init: a test and a scenario for your own executor")
    raise typer.Exit(FINE if result.ok else FAILED)


def _scenario() -> Scenario:
    from colonysim.scenarios.scenario import Scenario

    return Scenario.read(resources.files("colonysim.cli").joinpath("demo.yaml").read_text(encoding="utf-8"))


# ---------------------------------------------------------------- the history
class _Node(NamedTuple):
    """When a process of a workflow could be started, was started (each attempt), and ended; in ns, -1 for never."""

    eligible_ns: int
    attempts: list[tuple[int, int]]
    ended_ns: int
    succeeded: bool

    def state(self, now_ns: int) -> str:
        """Return what it does at a time."""
        if 0 <= self.ended_ns <= now_ns:
            return "success" if self.succeeded else "failed"
        if any(start_ns <= now_ns < end_ns for start_ns, end_ns in self.attempts):
            return "running"
        return "waiting" if 0 <= self.eligible_ns <= now_ns else "blocked"


class History:
    """What happened in a run, to be asked for any moment of it."""

    def __init__(self, run: Run) -> None:
        from colonysim.core.records import SUCCESS

        metrics = run.metrics
        attempts: dict[int, list[tuple[int, int]]] = {}
        self.holds: dict[str, list[tuple[int, int]]] = {executor.name: [] for executor in run.fleet.executors}
        for row, place, start_ns, end_ns in zip(
            metrics.run_process, metrics.run_executor, metrics.run_start_ns, metrics.run_end_ns, strict=True
        ):
            attempts.setdefault(row, []).append((start_ns, end_ns))
            if (executor := run.fleet.by_id.get(metrics.executors[place])) is not None:
                self.holds[executor.name].append((start_ns, end_ns))
        self.workflows: dict[str, list[_Node]] = {}
        self.submitted_ns: dict[str, int] = {}
        for process_id, row in metrics.place.items():
            process = run.sim.world.processes[process_id]
            node = _Node(
                metrics.eligible_ns[row], attempts.get(row, []), metrics.ended_ns[row], metrics.state[row] == SUCCESS
            )
            self.workflows.setdefault(process.graph_id, []).append(node)
            self.submitted_ns.setdefault(process.graph_id, metrics.submitted_ns[row])
        self.start_ns, self.end_ns = run.start_ns, run.sim.world.now_ns
        self.down = [(band.actor, band.from_ns, band.to_ns) for band in run.strikes.bands if band.kind == "crash"]
        strikes = sorted(
            (at_ns, run.strikes.names[fault]) for at_ns, fault in zip(run.strikes.at_ns, run.strikes.fault, strict=True)
        )
        actors = {(from_ns, "crash"): actor for actor, from_ns, _ in self.down}
        self.strikes = [(at_ns, f"{name} {actors.get((at_ns, name), '')}".strip()) for at_ns, name in strikes]

    def executor(self, name: str, now_ns: int) -> str:
        """Return what an executor does at a time: crashed, busy or idle."""
        if any(name == actor and from_ns <= now_ns < to_ns for actor, from_ns, to_ns in self.down):
            return "crashed"
        return "busy" if any(start_ns <= now_ns < end_ns for start_ns, end_ns in self.holds[name]) else "idle"

    def latest(self, now_ns: int) -> list[tuple[int, str]]:
        """Return the latest strikes of faults up to a time."""
        place = bisect_right(self.strikes, now_ns, key=lambda strike: strike[0])
        return self.strikes[max(0, place - _EVENTS_SHOWN) : place]


# ---------------------------------------------------------------- the terminal
def _play(run: Run, seconds: float) -> None:
    """Show the history in the terminal, at even speed."""
    from rich.live import Live

    history = History(run)
    span_ns = history.end_ns - history.start_ns
    with Live(console=out, refresh_per_second=_FRAMES_PER_S, transient=True) as live:
        begun = time.monotonic()
        while (share := (time.monotonic() - begun) / seconds) < 1.0:
            live.update(frame(history, history.start_ns + round(span_ns * share)))
            time.sleep(1 / _FRAMES_PER_S)


def frame(history: History, now_ns: int) -> RenderableType:
    """Return what the terminal shows at a time of the run."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    from colonysim.kernel.clock import show_time

    head = Text.assemble(("colonysim demo  ", "bold"), show_time(now_ns)[:19], "   ", *_legend(), style="")
    grid = Table(box=None, pad_edge=False)
    for title in ("workflow", "processes", "executor", "does", "latest faults"):
        grid.add_column(title)
    flows = [
        (f"{number:>2}", _nodes(nodes, now_ns))
        for number, (graph_id, nodes) in enumerate(history.workflows.items(), 1)
        if history.submitted_ns[graph_id] <= now_ns
    ]
    executors = [(name, _doing(history.executor(name, now_ns))) for name in history.holds]
    faults = [Text(f"{show_time(at_ns)[11:19]}  {what}", "red") for at_ns, what in reversed(history.latest(now_ns))]
    for row in range(max(len(history.workflows), len(executors), _EVENTS_SHOWN)):
        grid.add_row(
            *(flows[row] if row < len(flows) else ("", "")),
            *(executors[row] if row < len(executors) else ("", "")),
            faults[row] if row < len(faults) else "",
        )
    return Group(head, grid)


def _legend() -> list[tuple[str, str]]:
    return [(f"{symbol} {state}  ", _STYLES.get(state, "dim")) for state, symbol in _SYMBOLS.items()]


def _nodes(nodes: list[_Node], now_ns: int) -> RenderableType:
    from rich.text import Text

    states = [node.state(now_ns) for node in nodes]
    return Text.assemble(*((f"{_SYMBOLS[state]} ", _STYLES.get(state, "dim")) for state in states))


def _doing(what: str) -> RenderableType:
    from rich.text import Text

    return Text(what, {"crashed": "bold red", "busy": "yellow"}.get(what, "dim"))


def _print_end(run: Run, result: Result) -> None:
    figures = result.summary
    lost = sum(fault.count for fault in result.faults if fault.kind == "lose_reply")
    crashes = show_count(run.fleet.crashes, "crash")
    workflows = len({process.graph_id for process in run.sim.world.processes.values()})
    lines = [
        ("processes", f"{figures.submitted:,} in {show_count(workflows, 'workflow')}"),
        ("faults", f"{crashes}, {show_count(lost, 'lost reply')}; {show_count(figures.retries, 'attempt')} repeated"),
        *(("held" if finding.passed else "FAILED", str(finding)) for finding in result.findings),
        ("held", "one holder for each process, the order of priorities, nothing lost: checked after each step"),
        ("again", f"colonysim demo --seed {result.seed}  (one seed is one history: {result.digest[:12]})"),
    ]
    took = show_seconds(result.cost.real_s)
    out.print(f"demo, seed {result.seed}: {show_seconds(result.end_s)} simulated in {took} of real time")
    for name, text in lines:
        out.print(f"  {name:<11} {text}", style="red" if name == "FAILED" else "")
