"""The command line: the application, its entry point, and the commands dev, serve, verify and coverage.

Each of the other commands is in a module of this package, and is registered here.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import msgspec
import typer
from rich.table import Column, Table

import colonysim
from colonysim.cli import bench, compare, demo, explore, init, outputs, replay, report, run, serving, streams, traces
from colonysim.cli.console import (
    BAD_INPUT,
    BROKEN,
    CUT_SHORT,
    FAILED,
    SIGNALLED,
    AsJson,
    Commands,
    OnJournalErrors,
    broken,
    complain,
    err,
    fail,
    on_journal_errors,
    on_signal,
    out,
    refuse_idle,
    saying_what_ends,
)
from colonysim.cli.serving import Anywhere, ControlToken, Host, LimitOption, Verbose
from colonysim.cli.state_file import StateEvery, StateFile, StatePath, saving, state_file
from colonysim.core.settings import Settings, describe
from colonysim.core.wording import show_count, show_list
from colonysim.evidence.journal import JournalFailed
from colonysim.extras import MissingExtra
from colonysim.http.addresses import LOCALHOST, reachable
from colonysim.kernel.clock import Mode
from colonysim.web.servers import ServerKind

if TYPE_CHECKING:
    from colonysim.cli.echo import EchoExecutor
    from colonysim.evidence.journal import JournalErrors
    from colonysim.sdk.s3 import ObjectStore
    from colonysim.simulation.simulation import Simulation

app = typer.Typer(
    name="colonysim",
    cls=Commands,
    help="A deterministic in-memory Colonies server, with a clock you own.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

CLOCK_HELP: Final = (
    "How virtual time advances: auto leaps when every client waits, and follows real time while one holds a process or "
    "has an open subscription; manual only when the control API is called; scaled and real with real time."
)
Timezone = Annotated[
    str | None, typer.Option(help="IANA zone of printed times and cron expressions.", envvar="COLONYSIM_TIMEZONE")
]
Seed = Annotated[int | None, typer.Option(help="Seed of all randomness.", envvar="COLONYSIM_SEED")]
Server = Annotated[ServerKind, typer.Option(help="Web server that serves connections.", envvar="COLONYSIM_SERVER")]
Setting = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the server; --settings lists all."),
]
JournalFile = Annotated[
    Path | None, typer.Option("--journal", metavar="FILE", help="Write the journal to this file, for colonysim replay.")
]
Cases = Annotated[
    list[Path] | None, typer.Argument(help="Case files, or folders of them; by default the cases of colonysim.")
]
STOCK: Final = Settings(timezone="Europe/Stockholm")
"""The settings of the stock development environment."""


def main() -> NoReturn:
    """Run a command and end the process with its exit code.

    SIGTERM ends a command as Ctrl-C does, with the processes it started and a line that says what was cut short; the
    exit code is 128 plus the signal's number, which is 130 for Ctrl-C. If the output cannot be written, as on a full
    disk, the exit code is 1, with one line on stderr. For a bug in colonysim it is 70, with one line on stderr, or with
    a traceback if COLONYSIM_TRACEBACK=1 is set.
    """
    streams.prepare()
    signals: list[int] = []

    def interrupt(number: int) -> None:
        signals.append(number)
        raise KeyboardInterrupt

    try:
        with on_signal(interrupt):
            app()
    except SystemExit as ended:
        status = ended.code
    except KeyboardInterrupt:
        status = SIGNALLED
    except Exception as error:  # users get a message that they can act on, not a traceback
        status = _failed(error)
    try:
        streams.flush()
    except OSError as error:
        streams.give_up()
        complain(streams.unwritable(error) or broken(error))
        status = status or FAILED
    if signals:
        what = CUT_SHORT[0] if CUT_SHORT else "the command was cut short, and its results are incomplete"
        complain(f"interrupted by {signal.Signals(signals[0]).name}: {what}")
        status = SIGNALLED + signals[0]
    sys.exit(status)


def _failed(error: Exception) -> int:
    """Print the error that ended a command, and return the exit code."""
    if isinstance(error, OSError) and (text := streams.unwritable(error)) is not None:
        streams.give_up()
        complain(text)
        return FAILED
    if isinstance(error, MissingExtra):
        complain(str(error))
        return BAD_INPUT
    complain(broken(error))
    return BROKEN


def _settings(given: Iterable[str] | None, base: Settings | None = None, **fields: Any) -> Settings:
    """Return the settings from `base`, the environment, --set and the options (`fields`), the last one winning."""
    serving.warn_of_unknown_variables(Settings.__struct_fields__)
    try:
        settings = Settings.from_texts(
            {
                name.removeprefix("COLONYSIM_").lower(): value
                for name, value in os.environ.items()
                if name.startswith("COLONYSIM_")
                and name.removeprefix("COLONYSIM_").lower() in Settings.__struct_fields__
            },
            base,
        )
        pairs = {}
        for text in given or ():
            name, equals, value = text.partition("=")
            if not equals:
                raise ValueError(f"--set takes NAME=VALUE, such as --set timezone=Europe/Stockholm, not {text!r}")
            pairs[name.strip()] = value.strip()
        settings = Settings.from_texts(pairs, settings)
        return settings.overridden(**{name: value for name, value in fields.items() if value is not None})
    except ValueError as error:
        fail(str(error))


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"colonysim {colonysim.__version__}", highlight=False)
        raise typer.Exit


def _list_settings(wanted: bool) -> None:
    if not wanted:
        return
    table = Table("setting", Column("default", overflow="fold"), "values", "meaning", box=None)
    for setting in describe():
        table.add_row(setting.name, str(setting.default), setting.values, setting.meaning)
    out.print(table)
    out.print("\nEach is also an environment variable, such as COLONYSIM_TIMEZONE, and --set NAME=VALUE sets it.")
    raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    settings: Annotated[
        bool, typer.Option("--settings", callback=_list_settings, is_eager=True, help="List the server's settings.")
    ] = False,
) -> None:
    """A deterministic in-memory Colonies server, with a clock you own."""


# ---------------------------------------------------------------- serving
@app.command()
def dev(
    host: Host = LOCALHOST,
    port: Annotated[int, typer.Option(help="Port to listen on.", envvar="COLONYSIM_PORT")] = 50080,
    timezone: Timezone = None,
    seed: Seed = None,
    executor: Annotated[
        str | None, typer.Option(metavar="TYPE", help="Add an executor of this type that closes each process it gets.")
    ] = None,
    answer: Annotated[
        str | None,
        typer.Option(metavar="JSON", help="Output of that executor, a JSON list; by default the process's arguments."),
    ] = None,
    takes: Annotated[float | None, typer.Option(help="Seconds it takes for each process; by default 0.")] = None,
    s3: Annotated[
        bool, typer.Option("--s3", help="Start an S3 server for ColonyFS as well (extra colonysim[s3]).")
    ] = False,
    server: Server = ServerKind.WERKZEUG,
    state: StatePath = None,
    state_every: StateEvery = None,
    journal: JournalFile = None,
    journal_errors: OnJournalErrors = None,
    setting: Setting = None,
    control_from_anywhere: Anywhere = False,
    control_token: ControlToken = None,
    limit: LimitOption = None,
    verbose: Verbose = False,
) -> None:
    """Serve the stock development environment in real time: the colony `dev` with the user `myuser`."""
    from colonysim.cli import echo
    from colonysim.simulation import stock

    try:
        output = echo.parse_answer(answer)
    except ValueError as error:
        fail(str(error))
    serving.check_executor_options(executor, answer, takes)
    outputs.require([], {"--journal": journal} | ({"--state": state} if journal else {}))
    settings = _settings(setting, STOCK.overridden(start="now"), timezone=timezone, seed=seed)
    with (
        serving.stop_signals() as stopped,
        serving.listen(host, port, server, control_from_anywhere, control_token, limit, verbose) as endpoint,
    ):
        file = state_file(state, state_every)
        serving.warn_of_stored_settings(state, {"--seed": seed is not None, "--timezone": timezone, "--set": setting})
        sim = _simulation(settings, Mode.REAL, 1.0, file, journal, journal_errors, install=True)
        with ExitStack() as running:
            running.enter_context(saving(sim, file, state_every))
            web = running.enter_context(endpoint.server(sim))
            variables = stock.environment(reachable(host), web.port, sim.settings.server_key)
            if s3:
                variables |= running.enter_context(_object_store(host)).environment()
            for name, value in variables.items():
                out.print(f"export {name}={value}", highlight=False, soft_wrap=True)
            token = endpoint.generated_token(web)
            page = f"{web.url}/colonysim/" + (f"?token={token}" if token else "")
            out.print(f"# colonysim on {web.url}, page at {page}, Ctrl-C to stop", highlight=False)
            if executor is not None:
                running.enter_context(_echo(sim, executor, output, takes or 0.0))
                out.print(f"# executor {echo.NAME} of type {executor} closes each process it gets", highlight=False)
            stopped.wait()


@app.command()
def serve(
    host: Host = LOCALHOST,
    port: Annotated[int, typer.Option(help="Port to listen on; 0 for any free one.", envvar="COLONYSIM_PORT")] = 0,
    clock: Annotated[Mode, typer.Option(help=CLOCK_HELP, envvar="COLONYSIM_CLOCK")] = Mode.AUTO,
    rate: Annotated[
        float | None, typer.Option(help="Virtual seconds for each real second, with --clock scaled; by default 1.")
    ] = None,
    timezone: Timezone = None,
    seed: Seed = None,
    start: Annotated[
        str | None, typer.Option(help="Start time: RFC 3339, or `now` (the default with --clock real).")
    ] = None,
    stock: Annotated[bool, typer.Option("--stock", help="Add the colony `dev` and the user `myuser`.")] = False,
    server: Server = ServerKind.WERKZEUG,
    state: StatePath = None,
    state_every: StateEvery = None,
    journal: JournalFile = None,
    journal_errors: OnJournalErrors = None,
    setting: Setting = None,
    control_from_anywhere: Anywhere = False,
    control_token: ControlToken = None,
    limit: LimitOption = None,
    verbose: Verbose = False,
) -> None:
    """Serve test suites in any language. Prints one line of JSON with the url, seed and pid of the server.

    With --stock the line has `environment` as well: the variables that SDKs read, with the keys to sign with.
    """
    rate = serving.rate_of(clock, rate)
    outputs.require([], {"--journal": journal} | ({"--state": state} if journal else {}))
    base = Settings(start="now") if clock is Mode.REAL else None
    settings = _settings(setting, base, timezone=timezone, seed=seed, start=start)
    given = {"--seed": seed is not None, "--timezone": timezone, "--start": start, "--stock": stock, "--set": setting}
    with (
        serving.stop_signals() as stopped,
        serving.listen(host, port, server, control_from_anywhere, control_token, limit, verbose) as endpoint,
    ):
        file = state_file(state, state_every)
        serving.warn_of_stored_settings(state, given)
        sim = _simulation(settings, clock, rate, file, journal, journal_errors, install=stock)
        with saving(sim, file, state_every), endpoint.server(sim) as web:
            line: dict[str, Any] = {"url": web.url, "seed": sim.settings.seed, "pid": os.getpid()}
            from colonysim.simulation import stock as stock_colony

            if stock and stock_colony.COLONY in sim.world.colonies:  # a restored state may have none
                line["environment"] = stock_colony.environment(reachable(host), web.port, sim.settings.server_key)
            if token := endpoint.generated_token(web):
                line["control_token"] = token
            print(msgspec.json.encode(line).decode(), flush=True)
            print(f"clock {clock.value}: {serving.CLOCK_RULES[clock]}", file=sys.stderr, flush=True)
            stopped.wait()


def _simulation(
    settings: Settings,
    mode: Mode,
    rate: float,
    state: StateFile | None,
    journal: Path | None,
    journal_errors: JournalErrors | None,
    install: bool,
) -> Simulation:
    from colonysim.simulation import stock
    from colonysim.simulation.simulation import Simulation

    on_errors = on_journal_errors(journal_errors, journal)
    try:
        sim = Simulation(settings, mode=mode, rate=rate, journal=journal or False, journal_errors=on_errors)
    except OSError as error:
        fail(f"{journal}: cannot be written: {error.strerror or error}")
    except ValueError as error:
        fail(str(error))
    try:
        if state is not None and (saved := state.read()) is not None:
            sim.restore(saved)
        elif install:
            stock.install(sim)
        sim.kernel.mark_initial()
    except (OSError, ValueError, JournalFailed) as error:
        fail(f"{state.path}: {error}" if state is not None else str(error))
    return sim


def _echo(sim: Simulation, executor_type: str, output: list[Any] | None, takes_s: float) -> EchoExecutor:
    from colonysim.cli.echo import EchoExecutor
    from colonysim.simulation.client import Refused

    try:
        return EchoExecutor(sim, executor_type, output, takes_s)
    except Refused as refused:
        fail(f"the executor of --executor cannot join the colony dev: {refused}")


def _object_store(host: str) -> ObjectStore:
    from colonysim.sdk.s3 import ObjectStore

    return ObjectStore("127.0.0.1" if host == "localhost" else host)


# ---------------------------------------------------------------- scenarios
app.command()(demo.demo)
app.command()(init.init)
app.command()(run.run)
app.command()(run.validate)
app.command()(explore.explore)
app.command()(explore.shrink)
app.command("import-trace")(traces.import_trace)
app.command()(replay.replay)
app.command()(report.report)
app.command()(compare.compare)
app.command()(compare.sweep)
app.command()(bench.bench)


# ---------------------------------------------------------------- verifying
@app.command()
def verify(
    cases: Cases = None,
    url: Annotated[
        str | None, typer.Option(help="Server to play against; by default a simulation in this process.")
    ] = None,
    real: Annotated[bool, typer.Option("--real", help="That server has no virtual clock: let real time pass.")] = False,
    again: Annotated[
        int,
        typer.Option(
            min=0,
            max=1000,
            help="With --real: play cases that differ again, up to this many times (timers race with requests).",
        ),
    ] = 0,
    timezone: Annotated[
        str | None, typer.Option(help="IANA zone of printed times of that simulation; by default Europe/Stockholm.")
    ] = None,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Print all differences, and the cases that passed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play recorded requests against a server and compare its replies with the recorded ones."""
    from colonysim.conformance import report
    from colonysim.conformance.player import CASES, BadCase

    if real and url is None:
        fail("--real needs the server's address: --url http://127.0.0.1:50080")
    if url is not None:
        refuse_idle("--url", {"--timezone": timezone})
    if as_json:
        refuse_idle("--json", {"-v": verbose})
    if again and not real:
        fail("--again needs --real: in virtual time a case gives the same replies each time")
    try:
        with saying_what_ends(lambda: "not all cases were played, and no result is shown"):
            results = report.play_all(
                cases or [CASES],
                url,
                virtual=not real,
                timezone="Europe/Stockholm" if timezone is None else timezone,
                progress=not as_json,
                console=err,
                again=again,
            )
    except (BadCase, ValueError, OSError) as error:
        fail(str(error))
    if as_json:
        print(msgspec.json.encode(results).decode())
    else:
        report.show(results, out, verbose)
    if any(result.differences for result in results):
        raise typer.Exit(1)


@app.command()
def coverage(
    cases: Cases = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page docs/coverage.md.")] = False,
    as_json: AsJson = False,
) -> None:
    """List every message type with its access rule, and how often the recorded cases call it."""
    from colonysim.conformance import coverage
    from colonysim.conformance.player import CASES, BadCase

    if markdown:
        refuse_idle("--markdown", {"--json": as_json})
    failed: list[Path] = []
    try:
        rows = coverage.measure(cases or [CASES], failed)
    except (BadCase, OSError) as error:
        fail(str(error))
    if as_json:
        print(msgspec.json.encode(rows).decode())
    elif markdown:
        sys.stdout.write(coverage.as_markdown(rows))
    else:
        out.print(coverage.as_table(rows))
    if failed:
        which = show_list(path.stem for path in failed)
        complain(
            f"{show_count(len(failed), 'case')} failed and {'is' if len(failed) == 1 else 'are'} not counted: {which}"
        )
        raise typer.Exit(1)
