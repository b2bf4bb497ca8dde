"""colonysim replay: a recorded history again, up to the first difference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from colonysim.cli.console import FAILED, FINE, AsJson, err, fail, out, refuse_idle, twice

if TYPE_CHECKING:
    from colonysim.evidence.replay import Replayed


def replay(
    file: Annotated[Path, typer.Argument(help="A journal: of serve --journal, dev --journal or a test's artifacts.")],
    until: Annotated[int | None, typer.Option(min=1, max=2**63 - 1, help="Replay up to this line only.")] = None,
    check_determinism: Annotated[
        bool, typer.Option("--check-determinism", help="Replay twice, in fresh processes, and compare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a journal and stop at the first difference. Exit codes: 0 same, 1 differs, 2 no journal to replay."""
    if check_determinism:
        refuse_idle("--check-determinism", {"--json": as_json})
        _compare(file, until)
        return
    replayed = _replay(file, until, quiet=as_json)
    if replayed.same and replayed.lines <= 1:
        fail(f"{file}: nothing was replayed: there is nothing but the header" + (" up to line 1" if until else ""))
    if as_json:
        import msgspec

        print(msgspec.json.encode(replayed).decode())
    elif replayed.difference is not None:
        out.print(str(replayed.difference))
    else:
        _tell(replayed)
    raise typer.Exit(FINE if replayed.same else FAILED)


def _replay(file: Path, until: int | None, quiet: bool) -> Replayed:
    from colonysim.evidence.replay import BadJournal, replay

    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.fields[lines]:,} lines"), TimeElapsedColumn())
    try:
        with Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as progress:
            bar = progress.add_task("", total=file.stat().st_size, lines=0)
            return replay(
                file, until=until, progress=lambda read, lines: progress.update(bar, completed=read, lines=lines)
            )
    except (BadJournal, OSError) as error:
        fail(f"{file}: {error.strerror or error}" if isinstance(error, OSError) else f"{file}: {error}")


def _tell(replayed: Replayed) -> None:
    from colonysim.kernel.clock import show_time

    out.print(f"the same: {replayed.lines:,} lines, up to {show_time(replayed.now_ns)} UTC, seed {replayed.seed}")
    out.print(f"digest {replayed.digest}")
    for problem in replayed.problems:
        out.print(f"the history has a problem, now as then: {problem}")


def _compare(file: Path, until: int | None) -> None:
    """Replay twice, and say whether it was the same twice."""
    arguments = ["replay", str(file), "--json"]
    if until is not None:
        arguments += ["--until", str(until)]
    first, second = twice(arguments)
    if first != second:
        out.print("replayed twice, and not the same twice: the server is not deterministic here")
        out.print(f"  once: {first.strip()}\n  then: {second.strip()}")
        raise typer.Exit(FAILED)
    out.print("replayed twice, the same both times")
    _report(first)


def _report(text: str) -> None:
    import msgspec

    from colonysim.evidence.replay import Replayed

    replayed = msgspec.json.decode(text, type=Replayed)
    if replayed.difference is not None:
        out.print(str(replayed.difference))
        raise typer.Exit(FAILED)
    _tell(replayed)
