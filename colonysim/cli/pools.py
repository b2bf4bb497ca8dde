"""Commands that run in parallel: their options, a progress bar, and stopping on SIGINT and SIGTERM."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from colonysim.cli.console import complain, err, fail, on_signal
from colonysim.core.wording import show_count

if TYPE_CHECKING:
    from colonysim.experiments.parallel import Stop, WorkerPool

_MOST_WORKERS: Final = 1024

Workers = Annotated[
    int | None, typer.Option(min=1, max=_MOST_WORKERS, help="Parallel processes; by default one per core.")
]
Dask = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Run on a dask.distributed cluster; `local` starts one.")
]

ResultsFolder = Annotated[
    Path | None,
    typer.Option(
        "--results", metavar="FOLDER", help="Keep the result of each run here, and do not repeat runs that are here."
    ),
]


def pool_of(workers: int | None, dask: str | None) -> WorkerPool:
    """Return the pool that --workers and --dask ask for. Exits with code 2 if there is no such cluster."""
    from colonysim.experiments.clusters import Cluster, NoCluster
    from colonysim.experiments.parallel import Processes

    if dask is None:
        return Processes(workers)
    try:
        return Cluster(dask, workers)
    except NoCluster as error:
        fail(str(error))


@contextmanager
def stopped_by_signals() -> Iterator[tuple[Stop, list[int]]]:
    """During the block, let SIGINT and SIGTERM stop the runs. Yields the stop, and the signals that arrived so far."""
    from colonysim.experiments.parallel import Stop

    stop, signals = Stop(), list[int]()

    def stopped(number: int) -> None:
        signals.append(number)
        stop.ask()

    with on_signal(stopped):
        yield stop, signals


def say_interrupted(signals: list[int], done: int, total: int) -> None:
    """Print on stderr that a signal stopped the runs, and how many seeds there are results of."""
    name = signal.Signals(signals[0]).name
    complain(f"interrupted by {name}: these are the results of {done:,} of {show_count(total, 'seed')}")


@contextmanager
def progress(what: str, total: int | None, quiet: bool = False) -> Iterator[Callable[[int, str], None]]:
    """Show a progress bar if stderr is a terminal, and yield the function that updates it: (done, text)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    text = TextColumn("{task.fields[text]}", markup=False)
    with Progress(*columns, text, console=err, transient=True, disable=quiet or not err.is_terminal) as bar:
        line = bar.add_task(what, total=total, text="")
        yield lambda done, text: bar.update(line, completed=done, text=text)
