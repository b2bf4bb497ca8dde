"""Shared by all commands: consoles, exit codes, error messages and common options."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from colonysim.core.wording import show_number
from colonysim.evidence.journal import JournalErrors

if TYPE_CHECKING:
    from colonysim.scenarios.scenario import Scenario
    from colonysim.statistics.quantiles import Quantiles

FINE: Final = 0
FAILED: Final = 1
BAD_INPUT: Final = 2
BROKEN: Final = 70
"""A bug in colonysim: EX_SOFTWARE of sysexits.h."""
SIGNALLED: Final = 128
"""Added to the number of the signal that ended a command, as shells do."""
STOPPING: Final = (signal.SIGINT, signal.SIGTERM)
_PACKAGE: Final = Path(__file__).parents[2]
_HASH_SEEDS: Final = ("0", "4711")

_width = None if sys.stdout and sys.stdout.isatty() else 160
out = Console(soft_wrap=True, highlight=False, markup=False, emoji=False, width=_width)
err = Console(stderr=True, highlight=False, markup=False, emoji=False)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
OnJournalErrors = Annotated[
    JournalErrors | None,
    typer.Option(
        "--journal-errors",
        help="If the journal's file cannot be written any more: continue without it (the default), or stop.",
    ),
]
Override = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="PATH=VALUE", help="Change a value of the scenario: --set executors.0.count=50."),
]
Strict = Annotated[
    bool, typer.Option("--strict", help="Exit with code 1 also if part of the scenario did nothing (see warnings).")
]


class Commands(TyperGroup):
    """The commands of the application, listed with whole summaries: the first sentence of each command's help."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # types of click, or of typer's copy of it
        """Write the list of commands into the help."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            text = " ".join((command.help or "").split("\n\n")[0].split()) if command else ""
            rows.append((name, text.split(". ")[0].rstrip(".") + "."))
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class BadOutput(ValueError):
    """An output file cannot be written, or would replace another file of the command. The text starts with its name."""


def complain(text: str) -> None:
    """Print an error on stderr, if it can be written."""
    with suppress(OSError):
        err.print(f"colonysim: {text}", style="red", soft_wrap=True)


def warn(text: str) -> None:
    """Print a warning."""
    out.print(f"WARNING {text}", style="yellow")


def fail(text: str, status: int = BAD_INPUT) -> NoReturn:
    """Print an error and exit, with code 2 by default."""
    complain(text)
    raise typer.Exit(status)


def broken(error: Exception) -> str:
    """Describe a bug in colonysim: the error, its place, and how to report it."""
    if os.environ.get("COLONYSIM_TRACEBACK"):
        return "".join(traceback.format_exception(error)).rstrip()
    frames = traceback.extract_tb(error.__traceback__)
    where = next((frame for frame in reversed(frames) if _PACKAGE in Path(frame.filename).parents), frames[-1])
    place = f"{Path(where.filename).name}:{where.lineno}"
    what = f"{type(error).__name__}: {error}".partition("\n")[0]
    return (
        f"internal error at {place}: {what}\n"
        "This is a bug in colonysim: please report it, with the traceback that COLONYSIM_TRACEBACK=1 shows."
    )


@contextmanager
def on_signal(act: Callable[[int], object]) -> Iterator[None]:
    """During the block, call `act` with the number of the first SIGINT or SIGTERM; a second one ends the process."""

    def received(number: int, _: FrameType | None) -> None:
        for each in STOPPING:
            signal.signal(each, signal.SIG_DFL)
        act(number)

    before = {number: signal.signal(number, received) for number in STOPPING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


CUT_SHORT: Final[list[str]] = []
"""What Ctrl-C has cut short, for the message at the end of the command."""


@contextmanager
def saying_what_ends(describe: Callable[[], str]) -> Iterator[None]:
    """If Ctrl-C ends the block, note what it cut short: `describe` says it, such as `the run ended after 5 min`."""
    try:
        yield
    except KeyboardInterrupt:
        CUT_SHORT.append(describe())
        raise


def refuse_idle(beside: str, given: Mapping[str, object]) -> None:
    """Exit with code 2 if options are given that have no effect beside the option `beside`."""
    if names := [name for name, value in given.items() if value]:
        have, them = ("has", "it") if len(names) == 1 else ("have", "them")
        fail(f"{' and '.join(names)} {have} no effect with {beside}: leave {them} out, or {beside}")


def refuse_long_seeds(first: int, count: int = 1) -> None:
    """Exit with code 2 if one of `count` seeds from `first` on has more than 64 bits, the limit in scenario files."""
    from colonysim.core.settings import check_seed

    try:
        check_seed(first)
        check_seed(first + count - 1)
    except ValueError as error:
        fail(str(error))


def on_journal_errors(wanted: JournalErrors | None, journal: Path | None) -> JournalErrors:
    """Return the value of --journal-errors or its default. Exits with code 2 if there is no --journal."""
    if wanted is not None and journal is None:
        fail("--journal-errors needs --journal FILE, the file to write the journal to")
    return wanted or JournalErrors.CONTINUE


def load(file: Path, overrides: list[str] | None) -> Scenario:
    """Read the scenario of a file. Exits with code 2 if it is invalid."""
    from colonysim.scenarios.files import BadScenario
    from colonysim.scenarios.scenario import Scenario

    try:
        return Scenario.load(file, tuple(overrides or ()))
    except BadScenario as error:
        fail(str(error))


def refusal(error: Exception, file: Path) -> str:
    """Return the message for a scenario that cannot be run, with its file, and with the line where it is known."""
    from colonysim.core.values import BadValue
    from colonysim.scenarios.files import located
    from colonysim.scenarios.programs import BadProgram
    from colonysim.traces import BadTrace

    if isinstance(error, BadValue):
        return str(located(error, file))
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror or error}"
    return str(error) if isinstance(error, (BadTrace, BadProgram, BadOutput)) else f"{file}: {error}"


def repeats(file: Path, seed: int, overrides: list[str] | None = None) -> list[str]:
    """Return the command that repeats a run, as a list of arguments."""
    words = ["colonysim", "run", str(file), "--seed", str(seed)]
    for text in overrides or ():
        words += ["--set", text]
    return words


def twice(arguments: list[str]) -> list[str]:
    """Run a command in two processes with different hash seeds, and return what each prints.

    Randomness that does not come from the seed shows as a difference. Exits with the command's code if that is
    neither 0 nor 1.
    """
    printed = []
    for hash_seed in _HASH_SEEDS:
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        words = [sys.executable, "-m", "colonysim", *arguments]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        if done.returncode not in (FINE, FAILED):
            sys.stderr.write(done.stderr)
            raise typer.Exit(done.returncode)
        printed.append(done.stdout)
    return printed


def spread(values: Quantiles, show: Callable[[float], str] = show_number) -> str:
    """Format the percentiles of a figure as a line, each with `show`."""
    parts = (("p50", values.p50), ("p90", values.p90), ("p99", values.p99), ("max", values.max))
    return ", ".join(f"{name} {show(value)}" for name, value in parts if value is not None) or "none"


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], title: str = "") -> None:
    """Print a table, or, if it is wider than the terminal, a block of lines for each row: no figure is cut."""
    from rich.cells import cell_len
    from rich.table import Column, Table

    widths = [max(map(cell_len, column)) for column in zip(heads, *rows, strict=True)]
    if title:
        out.print(title)
    if sum(widths) + 2 * len(widths) <= out.width:
        table = Table(*(Column(head, no_wrap=True) for head in heads), box=None, pad_edge=False)
        for row in rows:
            table.add_row(*row)
        out.print(table)
        return
    widest = max(map(cell_len, heads[1:]), default=0)
    for first, *rest in rows:
        out.print(f"{heads[0]} {first}".strip())
        for head, cell in zip(heads[1:], rest, strict=True):
            out.print(f"  {head:<{widest}}  {cell}".rstrip())
