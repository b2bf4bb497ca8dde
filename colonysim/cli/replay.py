"""colonysim replay: run a recorded journal again, up to the first difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from colonysim.cli.console import FAILED, FINE, AsJson, err, fail, out, refuse_idle, saying_what_ends, twice
from colonysim.core.wording import show_count

if TYPE_CHECKING:
    from colonysim.evidence.replay import Replayed

T = TypeVar("T")
Journal = Annotated[Path, typer.Argument(help="Journal: from serve, dev or run --journal, or a test's artifacts.")]
Until = Annotated[int | None, typer.Option(min=1, max=2**63 - 1, help="Replay up to this line only.")]


def replay(
    file: Journal,
    until: Until = None,
    check_determinism: Annotated[
        bool, typer.Option("--check-determinism", help="Replay twice, in fresh processes, and compare.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Replay a journal and stop at the first difference. Exit codes: 0 same, 1 different, 2 no journal to replay."""
    if check_determinism:
        refuse_idle("--check-determinism", {"--json": as_json})
        _compare(file, until)
        return
    replayed = _replay(file, until, quiet=as_json)
    if replayed.same and replayed.lines <= 1:
        what = "line 1 is the header: give a larger --until" if until else "the journal has only a header"
        fail(f"{file}: nothing was replayed: {what}")
    if as_json:
        import msgspec

        print(msgspec.json.encode(replayed).decode())
    elif replayed.difference is not None:
        out.print(str(replayed.difference))
    else:
        _print(replayed)
    raise typer.Exit(FINE if replayed.same else FAILED)


def _replay(file: Path, until: int | None, quiet: bool) -> Replayed:
    from colonysim.evidence.replay import replay

    return with_progress(file, quiet, lambda progress: replay(file, until=until, progress=progress))


def with_progress(file: Path, quiet: bool, do: Callable[[Callable[[int, int], None]], T]) -> T:
    """Replay a journal by `do`, with a progress bar unless `quiet`. Exits with code 2 if it cannot be replayed."""
    from colonysim.evidence.replay import BadJournal

    columns = (TextColumn("replaying"), BarColumn(), TextColumn("{task.fields[lines]:,} lines"), TimeElapsedColumn())
    try:
        with (
            saying_what_ends(lambda: "the journal was not replayed to its end, so nothing is known of the rest"),
            Progress(*columns, console=err, transient=True, disable=quiet or not err.is_terminal) as progress,
        ):
            bar = progress.add_task("", total=file.stat().st_size, lines=0)
            return do(lambda read, lines: progress.update(bar, completed=read, lines=lines))
    except (BadJournal, OSError) as error:
        fail(f"{file}: {error.strerror or error}" if isinstance(error, OSError) else f"{file}: {error}")


def _print(replayed: Replayed) -> None:
    from colonysim.kernel.clock import show_time

    out.print(
        f"the same: {show_count(replayed.lines, 'line')}, up to {show_time(replayed.now_ns)} UTC, seed {replayed.seed}"
    )
    out.print(f"digest {replayed.digest}")
    for problem in replayed.problems:
        out.print(f"problem in the recording and in the replay: {problem}")


def _compare(file: Path, until: int | None) -> None:
    """Replay twice in fresh processes, and print whether both gave the same."""
    arguments = ["replay", str(file), "--json"]
    if until is not None:
        arguments += ["--until", str(until)]
    first, second = twice(arguments)
    if first != second:
        out.print("two replays differ: the simulation is not deterministic here")
        out.print(f"  first:  {first.strip()}\n  second: {second.strip()}")
        raise typer.Exit(FAILED)
    out.print("two replays are equal")
    _print_decoded(first)


def _print_decoded(text: str) -> None:
    import msgspec

    from colonysim.evidence.replay import Replayed

    replayed = msgspec.json.decode(text, type=Replayed)
    if replayed.difference is not None:
        out.print(str(replayed.difference))
        raise typer.Exit(FAILED)
    _print(replayed)
