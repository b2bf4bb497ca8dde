"""Play many cases with a progress bar, and print the differences and a summary."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from colonysim.conformance import player
from colonysim.conformance.targets import Http, InProcess, Target, simulation_for_cases

_SHOWN: Final = 3


class CaseResult(msgspec.Struct, frozen=True):
    """The differences of one case, a line each: from its last attempt, and (`earlier`) from the attempts before."""

    case: str
    group: str
    differences: list[str]
    attempts: int = 1
    earlier: list[str] = []


def files(paths: Iterable[Path]) -> list[Path]:
    """Return the case files in these files and folders, each once. Raises BadCase if a path is missing or empty."""
    found: dict[Path, Path] = {}
    for path in paths:
        if not path.exists():
            raise player.BadCase(f"{path} does not exist")
        below = sorted(path.rglob("*.json")) if path.is_dir() else [path]
        if not below:
            raise player.BadCase(f"{path} has no cases: give files or folders of *.json")
        for each in below:
            found.setdefault(each.resolve(), each)
    if not found:
        raise player.BadCase("no cases given: give files or folders of *.json")
    return list(found.values())


def play_all(
    paths: Iterable[Path],
    url: str | None,
    *,
    virtual: bool,
    timezone: str,
    progress: bool,
    console: Console,
    again: int = 0,
) -> list[CaseResult]:
    """Play all cases against the server at `url`, or (None) against a simulation in this process.

    `virtual`: the server's clock is virtual and is moved through its control API. `timezone` is the simulation's.
    Cases with differences are played again after all others, up to `again` times.
    Raises BadCase if a case cannot be played or no server answers, OSError if a request fails.
    """
    found = files(paths)
    if url is None:
        target: Target = InProcess(simulation_for_cases(timezone))
    else:
        target = Http(url, virtual)
        try:
            target.now()
        except OSError as error:
            raise player.BadCase(f"--url {url}: {error.strerror or error}; is a server running there?") from None
    results = []
    with Progress(console=console, disable=not progress or not console.is_terminal, transient=True) as bar:
        task = bar.add_task("playing", total=len(found))
        for path in found:
            bar.update(task, description=path.stem[:40].ljust(40))
            results.append(CaseResult(path.stem, path.parent.name, _play(path, target)))
            bar.advance(task)
        for _ in range(again):
            for place, (path, result) in enumerate(zip(found, results, strict=True)):
                if result.differences:
                    bar.update(task, description=f"again: {path.stem[:33]}".ljust(40))
                    results[place] = _with_attempt(result, _play(path, target))
    return results


def _with_attempt(result: CaseResult, differences: list[str]) -> CaseResult:
    earlier = [*result.earlier, *result.differences]
    return msgspec.structs.replace(result, differences=differences, attempts=result.attempts + 1, earlier=earlier)


def _play(path: Path, target: Target) -> list[str]:
    try:
        target.reset()
        return list(player.play(player.load_case(path), target))
    except player.BadCase:
        raise
    except Exception as error:  # one broken case must not keep the others from being played
        return [f"{type(error).__name__}: {error}"]


def show(results: list[CaseResult], console: Console, verbose: bool) -> None:
    """Print the cases that failed in any attempt, and a table of passed and failed cases by folder."""
    for result in results:
        attempt = f" at attempt {result.attempts}" if result.attempts > 1 else ""
        if result.differences:
            console.print(f"FAIL {result.group}/{result.case}{attempt}", style="red", highlight=False)
            _show_lines(result.differences, console, verbose)
        elif result.earlier:
            console.print(f"ok   {result.group}/{result.case}{attempt}, before it:", style="yellow", highlight=False)
            _show_lines(result.earlier, console, verbose)
        elif verbose:
            console.print(f"ok   {result.group}/{result.case}", highlight=False)
    passed = Counter(result.group for result in results if not result.differences)
    failed = Counter(result.group for result in results if result.differences)
    table = Table("cases", "passed", "failed", box=None)
    for group in sorted(passed | failed):
        table.add_row(group, str(passed[group]), str(failed[group]))
    table.add_row("all", str(passed.total()), str(failed.total()), style="bold")
    console.print(table)


def _show_lines(lines: list[str], console: Console, verbose: bool) -> None:
    shown = lines if verbose else lines[:_SHOWN]
    for line in shown:
        console.print(f"     {line}", highlight=False, markup=False, soft_wrap=True)
    if len(shown) < len(lines):
        console.print(f"     and {len(lines) - len(shown)} more, see -v", highlight=False)
