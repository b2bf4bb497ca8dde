"""The fixtures: for one test, and the same for a class, a module and a session.

Imports are inside the fixtures, so that a test run that uses none of them does not pay for the imports.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from inspect import Parameter, Signature
from typing import TYPE_CHECKING, Any, Final, Literal

import pytest

from colonysim.pytest_plugin import leftovers, marker, options, records
from colonysim.pytest_plugin.identity import id_of, seed_of
from colonysim.pytest_plugin.stage import Stage, run_of

if TYPE_CHECKING:
    from colonysim.scenarios.result import Result
    from colonysim.sdk.s3 import ObjectStore
    from colonysim.simulation.client import ColonyClient, ExecutorClient
    from colonysim.simulation.simulation import Simulation
    from colonysim.web.servers import WebServer

MakeSimulation = Callable[..., "Simulation"]
_LOOPBACK: Final = "localhost,127.0.0.1,::1"


# ---------------------------------------------------------------- for one test
@pytest.fixture
def colonysim_seed(request: pytest.FixtureRequest) -> int:
    """Seed of this test's simulations."""
    return _seed(request)


@pytest.fixture
def make_colonysim(request: pytest.FixtureRequest, colonysim_seed: int) -> Iterator[MakeSimulation]:
    """Function that creates simulations. Its keywords are those of `Simulation`, with the marker's as defaults.

    `stock_colony`: add the colony `dev` and its user, before the marker's faults. A broken invariant or a failed
    program in any of the simulations fails the test.
    """
    with _maker(request, colonysim_seed) as make:
        yield make


@pytest.fixture
def colonysim(make_colonysim: MakeSimulation, request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Simulated server with the stock colony `dev`. SDK calls to localhost:50080 reach it without a socket.

    The marker's `faults` (one, several or a plan) begin when all fixtures are set up, and end with the test function.
    """
    with _intercepted(make_colonysim, request) as simulation:
        yield simulation


@pytest.fixture
def colony(colonysim: Simulation) -> ColonyClient:
    """Client of the stock colony `dev`, with its owner and its user."""
    from colonysim.simulation.client import ColonyClient

    return ColonyClient.stock(colonysim)


@pytest.fixture
def executor_factory(colony: ColonyClient) -> Callable[..., ExecutorClient]:
    """Function that adds an approved executor to the colony: `executor_factory("cli", name="e1")`.

    No fault strikes its requests.
    """
    from colonysim.simulation.sparing import without_faults

    def add(*args: Any, **kwargs: Any) -> ExecutorClient:
        with without_faults(colony.sim):
            return colony.add_executor(*args, **kwargs)

    return add


@pytest.fixture
def colonysim_result(request: pytest.FixtureRequest, colonysim_seed: int) -> Result:
    """Result of the marker's scenario with this test's seed; a failure in it fails the test."""
    from colonysim.pytest_plugin import scenarios

    given = marker.arguments(request.node)
    ran = scenarios.run_of(given.get("scenario"), given.get("faults"), colonysim_seed, request)
    run_of(request.node).scenario = ran
    return scenarios.check(ran, request.node, bool(options.value(request.config, "strict")))


@pytest.fixture
def colonysim_server(colonysim: Simulation) -> Iterator[WebServer]:
    """Web server for the simulation of `colonysim` on a free port: see `url` and `port`.

    The variables that SDKs read name this port, so that processes which a test starts find the server.
    """
    from colonysim.web.servers import WebServer

    with WebServer(colonysim) as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLONIES_SERVER_PORT", str(server.port))
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


# ---------------------------------------------------------------- for a class, a module, a session
def _fixtures_of(scope: Literal["class", "module", "session"]) -> tuple[Any, Any, Any]:
    """Create the fixtures of a scope: the seed, the function that creates simulations, and the simulation."""

    def seed(request: pytest.FixtureRequest) -> int:
        return _seed(request)

    def make(request: pytest.FixtureRequest, **needed: int) -> Iterator[MakeSimulation]:
        with _maker(request, needed[f"colonysim_seed_{scope}"]) as made:
            yield made

    def simulation(request: pytest.FixtureRequest, **needed: MakeSimulation) -> Iterator[Simulation]:
        with _intercepted(needed[f"make_colonysim_{scope}"], request) as made:
            yield made

    seed.__doc__ = f"Seed of the simulations of a {scope}."
    make.__doc__ = f"`make_colonysim` for all tests of a {scope}."
    simulation.__doc__ = f"`colonysim` for all tests of a {scope}."
    return (
        pytest.fixture(scope=scope)(seed),
        pytest.fixture(scope=scope)(_needing(f"colonysim_seed_{scope}", make)),
        pytest.fixture(scope=scope)(_needing(f"make_colonysim_{scope}", simulation)),
    )


def _needing(fixture: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Have a fixture function request another fixture, as pytest reads it from its signature."""
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY) for name in ("request", fixture)]
    function.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
    return function


colonysim_seed_class, make_colonysim_class, colonysim_class = _fixtures_of("class")
colonysim_seed_module, make_colonysim_module, colonysim_module = _fixtures_of("module")
colonysim_seed_session, make_colonysim_session, colonysim_session = _fixtures_of("session")

WIDER: Final = ("session", "module", "class")
"""The scopes of the fixtures with a suffix, from the widest to the narrowest."""


# ---------------------------------------------------------------- S3
@pytest.fixture(scope="session")
def colonysim_s3_server() -> Iterator[ObjectStore]:
    """S3 server that all S3 fixtures of a session share. It is started when the first of them is set up."""
    from colonysim.sdk import s3

    with s3.ObjectStore() as store:
        yield store


def _s3_fixture(scope: Literal["function", "class", "module", "session"], doc: str) -> Any:
    def s3(colonysim_s3_server: ObjectStore) -> Iterator[ObjectStore]:
        with _used(colonysim_s3_server):
            yield colonysim_s3_server

    s3.__doc__ = doc
    return pytest.fixture(scope=scope)(s3)


colonysim_s3 = _s3_fixture(
    "function", "S3 server for ColonyFS, with the environment variables that SDKs read. Needs the extra colonysim[s3]."
)
colonysim_s3_class = _s3_fixture("class", "`colonysim_s3` for all tests of a class.")
colonysim_s3_module = _s3_fixture("module", "`colonysim_s3` for all tests of a module.")
colonysim_s3_session = _s3_fixture("session", "`colonysim_s3` for all tests of a session.")


@contextmanager
def _used(store: ObjectStore) -> Iterator[None]:
    from colonysim.sdk import s3

    with store.used(), s3.python_sync():
        yield


# ---------------------------------------------------------------- what they share
def _seed(request: pytest.FixtureRequest) -> int:
    """Return the seed of a scope: a parameter, an option, the seed of a record, the marker's, or one from its id."""
    if hasattr(request, "param"):
        return int(request.param)
    given: int | None = options.value(request.config, "seed")
    if given is not None:
        return given
    if (record := records.record_of(request.config, request.node)) is not None:
        return options.recorded_seed(record)
    of_marker = marker.arguments(request.node).get("seed")
    return seed_of(id_of(request.node)) if of_marker is None else int(of_marker)


@contextmanager
def _maker(request: pytest.FixtureRequest, seed: int) -> Iterator[MakeSimulation]:
    """Give the function that creates the simulations of a scope; stop and check them at the end."""
    of_marker = marker.arguments(request.node)
    for name in marker.OF_TESTS:
        of_marker.pop(name, None)
    stage = Stage(request.node, seed)
    stage.open()
    if not isinstance(request.node, pytest.Item):
        leftovers.begin(request.node)

    def make(*, stock_colony: bool = False, **settings: Any) -> Simulation:
        return stage.make({"seed": seed, "journal": True} | of_marker | settings, stock_colony)

    try:
        yield make
        _stop_all(stage.simulations)
        for simulation in stage.simulations:
            simulation.check()
    finally:
        leftovers.end_of(stage.simulations, request.node)
        stage.close()


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


@contextmanager
def _intercepted(make: MakeSimulation, request: pytest.FixtureRequest) -> Iterator[Simulation]:
    """Create a simulation with the stock colony, and let the SDKs of this process reach it."""
    from colonysim.sdk.environment import sdk_environment
    from colonysim.simulation import stock

    simulation = make(stock_colony=True)
    variables = stock.environment("localhost", stock.PORT, simulation.settings.server_key)
    with ExitStack() as stack:
        stack.enter_context(sdk_environment(simulation, variables | _without_proxy()))
        if marker.arguments(request.node).get("frozen"):
            from colonysim.sdk.freeze import freeze

            stack.enter_context(freeze(simulation))
        yield simulation


def _without_proxy() -> dict[str, str]:
    """Return the variables that keep clients from asking a proxy for this machine."""
    names = ("NO_PROXY", "no_proxy")
    return {name: ",".join(filter(None, (os.environ.get(name), _LOOPBACK))) for name in names}
