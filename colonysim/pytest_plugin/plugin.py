"""The pytest plugin: a fresh simulation for each test, with its fixtures, marker and options.

Imports are inside the fixtures, so that a test run that uses none of them does not pay for the imports.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from colonysim.extras import MissingExtra
from colonysim.pytest_plugin import marker, options

if TYPE_CHECKING:
    from colonysim.scenarios.runner import Result
    from colonysim.sdk.s3 import ObjectStore
    from colonysim.simulation.client import ColonyClient, ExecutorClient
    from colonysim.simulation.simulation import Simulation
    from colonysim.web.servers import WebServer

_SIMULATIONS: Final = pytest.StashKey[list[Any]]()
_SEED: Final = pytest.StashKey[int]()
_FAULTS: Final = pytest.StashKey[list[list[str]]]()
_PASSED: Final = pytest.StashKey[bool]()
_COMPARED: Final = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the command-line options and ini keys."""
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check all options. Raises UsageError for an invalid value."""
    config.addinivalue_line("markers", marker.DESCRIPTION)
    options.check(config)
    if options.value(config, "replay") and not hasattr(config, "workerinput"):  # where reports arrive
        from colonysim.pytest_plugin import idle

        config.pluginmanager.register(idle.Comparisons(), "colonysim_comparisons")


# ---------------------------------------------------------------- seeds
def seed_of(node_id: str) -> int:
    """Return the default seed of a test, a hash of its node id."""
    return int.from_bytes(hashlib.sha256(node_id.encode()).digest()[:4])


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn invalid arguments of a test's marker into a collection error that names test, argument and fix."""
    report = yield
    problems = marker.problems(item for item in report.result or () if isinstance(item, pytest.Item))
    if problems:
        report.outcome = "failed"
        report.longrepr = "\n".join(problems)
        report.result = []
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each seed, if several are requested. Raises CollectError for seeds out of range."""
    test = metafunc.definition
    if "colonysim_seed" not in metafunc.fixturenames or marker.is_wrong(test):
        return
    given = marker.arguments(test)
    if seeds := given.get("seeds") or options.value(metafunc.config, "seeds"):
        first = options.value(metafunc.config, "seed")
        if first is None:
            first = given.get("seed", seed_of(test.nodeid))
        try:
            options.check_last_seed(first, seeds)
        except ValueError as error:
            raise pytest.Collector.CollectError(f"{test.nodeid}: {error}") from None
        metafunc.parametrize("colonysim_seed", range(first, first + seeds), indirect=True)


@pytest.fixture
def colonysim_seed(request: pytest.FixtureRequest) -> int:
    """Seed of this test's simulations: the option, the replayed journal, the marker, or a hash of the node id."""
    if hasattr(request, "param"):
        return int(request.param)
    given: int | None = options.value(request.config, "seed")
    if given is not None:
        return given
    if (record := _record_of(request)) is not None:
        return options.recorded_seed(record)
    of_marker = marker.arguments(request.node).get("seed")
    return seed_of(request.node.nodeid) if of_marker is None else int(of_marker)


# ---------------------------------------------------------------- simulations
@pytest.fixture
def make_colonysim(request: pytest.FixtureRequest, colonysim_seed: int) -> Iterator[Callable[..., Simulation]]:
    """Function that creates simulations. Its keywords are those of `Simulation`, with the marker's as defaults.

    `stock_colony`: add the colony `dev` and its user, before the marker's faults. A broken invariant or a failed
    program in any of the simulations fails the test.
    """
    from colonysim.simulation.simulation import Simulation

    of_marker = marker.arguments(request.node)
    faults = of_marker.pop("faults", None)
    for name in ("seed", "seeds", "scenario"):
        of_marker.pop(name, None)
    made: list[Simulation] = []
    names: list[list[str]] = []
    request.node.stash[_SIMULATIONS] = made
    request.node.stash[_FAULTS] = names
    request.node.stash[_SEED] = colonysim_seed

    def make(*, stock_colony: bool = False, **settings: Any) -> Simulation:
        simulation = Simulation(**({"seed": colonysim_seed, "journal": True} | of_marker | settings))
        made.append(simulation)
        names.append([])
        if stock_colony:
            from colonysim.simulation import stock

            stock.install(simulation)
        if faults is not None:
            from colonysim.pytest_plugin import scenarios

            names[-1] += scenarios.add_faults(simulation, faults)
        return simulation

    yield make
    _stop_all(made)
    for simulation in made:
        simulation.check()
    if made and (record := _record_of(request)) is not None:
        _compare_with(record, made)
        request.node.stash[_COMPARED] = True


def _stop_all(simulations: list[Simulation]) -> None:
    """Stop the programs of all simulations, then raise the first error."""
    problems = []
    for simulation in simulations:
        try:
            simulation.stop_programs()
        except Exception as problem:
            problems.append(problem)
    if problems:
        raise problems[0]


@pytest.fixture
def colonysim(
    make_colonysim: Callable[..., Simulation], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Simulation]:
    """Simulated server with the stock colony `dev`. SDK calls to localhost:50080 reach it without a socket.

    The marker's `faults` (one, several or a plan) are active from the beginning of the test.
    """
    from colonysim.sdk.intercept import intercept
    from colonysim.simulation import stock

    simulation = make_colonysim(stock_colony=True)
    for name, value in stock.environment("localhost", stock.PORT, simulation.settings.server_key).items():
        monkeypatch.setenv(name, value)
    with intercept(simulation):
        yield simulation


@pytest.fixture
def colony(colonysim: Simulation) -> ColonyClient:
    """Client of the stock colony `dev`, with its owner and its user."""
    from colonysim.simulation.client import ColonyClient

    return ColonyClient.stock(colonysim)


@pytest.fixture
def executor_factory(colony: ColonyClient) -> Callable[..., ExecutorClient]:
    """Function that adds an approved executor to the colony: `executor_factory("cli", name="e1")`."""
    return colony.add_executor


@pytest.fixture
def colonysim_result(request: pytest.FixtureRequest, colonysim_seed: int) -> Result:
    """Result of the marker's scenario with this test's seed; a failure in it fails the test."""
    from colonysim.pytest_plugin import scenarios

    given = marker.arguments(request.node)
    strict = bool(options.value(request.config, "strict"))
    return scenarios.result_of(given.get("scenario"), given.get("faults"), colonysim_seed, request, strict)


@pytest.fixture
def colonysim_server(colonysim: Simulation) -> Iterator[WebServer]:
    """Web server for the simulation of `colonysim` on a free port: see `url` and `port`."""
    from colonysim.web.servers import WebServer

    with WebServer(colonysim) as server:
        yield server
    if server.errors:
        raise server.errors[0]


@pytest.fixture
def colonysim_url(request: pytest.FixtureRequest) -> str:
    """The url of a server to test with: a simulated one, or the real one given by --colonysim-real."""
    real: str | None = options.value(request.config, "real")
    if real is not None:
        return real
    server: WebServer = request.getfixturevalue("colonysim_server")
    return server.url


@pytest.fixture
def colonysim_s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ObjectStore]:
    """S3 server for ColonyFS, with the environment variables that SDKs read. Needs the extra colonysim[s3]."""
    from colonysim.sdk import s3

    with s3.ObjectStore() as store, s3.python_sync():
        for name, value in store.environment().items():
            monkeypatch.setenv(name, value)
        yield store


# ---------------------------------------------------------------- reports
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the strikes of faults to the report; if a test failed, also seed, command to repeat it and last events."""
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(MissingExtra):
        report.longrepr = str(call.excinfo.value)  # it says how to install the extra; a traceback adds nothing
    simulations = item.stash.get(_SIMULATIONS, [])
    report.colonysim_compared = item.stash.get(_COMPARED, False)  # type: ignore[attr-defined]
    if report.when == "call":
        item.stash[_PASSED] = report.passed
        if any(names := item.stash.get(_FAULTS, [])):
            from colonysim.pytest_plugin import idle

            counts = idle.counts_of(names, simulations)
            struck = [f"fault {name} struck {count} times" for name, count in counts.items()]
            report.sections.append(("colonysim faults", "\n".join(struck)))
    if report.failed and simulations:
        from colonysim.pytest_plugin import failures

        folder = options.value(item.config, "artifacts")
        seed = item.stash.get(_SEED, simulations[0].settings.seed)
        by_option = options.value(item.config, "seeds") is not None and not marker.arguments(item).get("seeds")
        repeat = failures.command(item.nodeid, seed, by_option)
        lines = failures.report(repeat, item.nodeid, simulations, folder)
        report.sections.append(("colonysim", "\n".join(lines)))
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """After a test has passed, report the faults of its marker that never struck: a warning, or a failure if strict."""
    yield
    given = marker.arguments(item)
    if "faults" not in given or "scenario" in given or not item.stash.get(_PASSED, False):
        return
    from colonysim.pytest_plugin import idle

    texts = idle.never_struck(item.stash.get(_FAULTS, []), item.stash.get(_SIMULATIONS, []))
    idle.report(item, texts, bool(options.value(item.config, "strict")))


def _record_of(request: pytest.FixtureRequest) -> Path | None:
    """Return the journal that --colonysim-replay gives for this test, if there is one."""
    path: Path | None = options.value(request.config, "replay")
    if path is None or path.is_file():
        return path
    from colonysim.pytest_plugin import failures

    journal = failures.journal_in(failures.folder_of(path, request.node.nodeid), 0)
    return journal if journal.is_file() else None


def _compare_with(record: Path, made: list[Simulation]) -> None:
    """Fail the test if the journal of its first simulation differs from the recorded one."""
    from colonysim.pytest_plugin import failures

    if difference := failures.difference(record, made[0]):
        pytest.fail(f"the test differs from its recording {record}: {difference}", pytrace=False)


# ---------------------------------------------------------------- determinism
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """With --colonysim-check-determinism, run a test twice, and fail it if the two journals differ."""
    if not options.value(item.config, "check_determinism") or "make_colonysim" not in getattr(item, "fixturenames", ()):
        return None
    from _pytest.runner import runtestprotocol

    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    first = runtestprotocol(item, log=False, nextitem=nextitem)
    lines = _journals(item)
    reports = first
    if all(report.passed for report in first):
        item._initrequest()  # type: ignore[attr-defined]
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        difference = _first_difference(lines, _journals(item))
        if difference or _unrecorded(item):
            call = next(report for report in reports if report.when == "call")
            call.outcome = "failed"
            call.longrepr = (
                f"the test is not deterministic: run twice with one seed, {difference}"
                if difference
                else "cannot check whether the test is deterministic: it has a simulation with journal=False"
            )
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def _journals(item: pytest.Item) -> list[bytes]:
    """Return the journals of all simulations of a test, as one list of lines."""
    simulations: list[Simulation] = item.stash.get(_SIMULATIONS, [])
    return [line for simulation in simulations if simulation.journal for line in simulation.journal.lines]


def _unrecorded(item: pytest.Item) -> bool:
    """Return whether a simulation of the test keeps no journal to compare."""
    return any(simulation.journal is None for simulation in item.stash.get(_SIMULATIONS, []))


def _first_difference(first: list[bytes], second: list[bytes]) -> str | None:
    """Describe the first difference between the journals of two runs; None if there is none."""
    from colonysim.pytest_plugin import failures

    return failures.first_difference(first, second, "first run", "second run")
