"""colonysim report: make the HTML report of a journal."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from colonysim.cli import outputs
from colonysim.cli.console import FAILED, fail
from colonysim.cli.replay import Journal, Until, with_progress


def report(
    file: Journal,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="By default the journal's name with .html.")
    ] = None,
    until: Until = None,
) -> None:
    """Make an HTML report of a journal. Exit codes: 0 made, 1 the replay differs, 2 no journal to replay."""
    from colonysim.reports import observed
    from colonysim.reports.page import page_of

    path = file.with_suffix(".html") if output is None else output
    outputs.require([file], {"--output": path})
    replayed, found = with_progress(
        file, False, lambda progress: observed.of_journal(file, until=until, progress=progress)
    )
    words = ["colonysim", "replay", str(file)]
    if (difference := replayed.difference) is not None:
        part = f"--until {difference.line - 1} reports what comes before it"
        fail(
            f"{file}: no report, because line {difference.line} differs in a replay: see {shlex.join(words)}; {part}",
            FAILED,
        )
    if replayed.lines <= 1:
        fail(f"{file}: nothing to report: " + ("give a larger --until" if until else "the journal has only a header"))
    lines = f"the first {replayed.lines:,} lines" if until else f"{replayed.lines:,} lines"
    about = f"What the journal {file} tells: {lines}, with seed {replayed.seed}."
    command = shlex.join([*words, *(["--until", str(until)] if until else [])])
    outputs.write(path, page_of(found, file.stem, about=about, command=command, problems=replayed.problems))
