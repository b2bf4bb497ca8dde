"""The pytest plugin: options, seeds, reports and the check for determinism. Its fixtures are in fixtures.py.

Imports are inside the hooks, so that a test run that uses no simulation does not pay for them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from typing import Any, Final

import pytest

from colonysim.core.wording import show_times
from colonysim.extras import MissingExtra
from colonysim.pytest_plugin import fixtures, leftovers, marker, options, records, stage
from colonysim.pytest_plugin.identity import id_of, seed_of

pytest_plugins = ["colonysim.pytest_plugin.fixtures"]
_CHECK: Final = pytest.StashKey["_Check"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    options.add(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker and check all options. Raises UsageError for an invalid value."""
    config.addinivalue_line("markers", marker.DESCRIPTION)
    options.check(config)
    if options.value(config, "replay") and not hasattr(config, "workerinput"):  # in the process that reports come to
        from colonysim.pytest_plugin import idle

        config.pluginmanager.register(idle.Comparisons(), "colonysim_comparisons")
    if options.value(config, "check_determinism") and not hasattr(config, "workerinput"):
        from colonysim.pytest_plugin import idle

        config.pluginmanager.register(idle.Unchecked(), "colonysim_unchecked")


# ---------------------------------------------------------------- collecting
@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Make wrong arguments of a test's marker a collection error that names test, argument and fix."""
    report = yield
    problems = marker.problems(item for item in report.result or () if isinstance(item, pytest.Item))
    if problems:
        report.outcome = "failed"
        report.longrepr = "\n".join(problems)
        report.result = []
    return report


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test once for each seed if several are asked for."""
    test = metafunc.definition
    if marker.is_wrong(test):
        return
    given = marker.arguments(test)
    if not (seeds := given.get("seeds") or options.value(metafunc.config, "seeds")):
        return
    scope = next((scope for scope in _SCOPES if _seed_fixture(scope) in metafunc.fixturenames), None)
    if scope is None:
        return
    first = options.value(metafunc.config, "seed")
    if first is None:
        first = given.get("seed", seed_of(id_of(_node_of(test, scope))))
    try:
        options.check_last_seed(first, seeds)
    except ValueError as error:
        raise pytest.Collector.CollectError(f"{test.nodeid}: {error}") from None
    metafunc.parametrize(_seed_fixture(scope), range(first, first + seeds), indirect=True, scope=scope)


_SCOPES: Final[tuple[Any, ...]] = ("function", *reversed(fixtures.WIDER))
_NODES: Final[dict[str, Any]] = {"class": pytest.Class, "module": pytest.Module, "session": pytest.Session}


def _seed_fixture(scope: str) -> str:
    return "colonysim_seed" if scope == "function" else f"colonysim_seed_{scope}"


def _node_of(test: pytest.Item, scope: str) -> pytest.Item | pytest.Collector:
    """Return the node of a scope that a test belongs to."""
    found: pytest.Collector | None = test.getparent(_NODES[scope]) if scope in _NODES else None
    return test if found is None else found


def pytest_itemcollected(item: pytest.Item) -> None:
    """Set up the simulations of wider scopes before anything else: before `setUpClass` and `setup_module` too."""
    names: list[str] | None = getattr(item, "fixturenames", None)
    if names is not None:
        first = [f"colonysim_{scope}" for scope in fixtures.WIDER if f"colonysim_{scope}" in names]
        if first:
            names[:] = first + [name for name in names if name not in first]


# ---------------------------------------------------------------- running
@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin a run of a test."""
    stage.begin_run(item)
    leftovers.begin(item)


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """Let the threads that a fixture of a wider scope starts outlive the test that asks for it first."""
    if fixturedef.scope == "function":
        return (yield)
    before, programs_before = set(threading.enumerate()), leftovers.not_stopped()
    try:
        return (yield)
    finally:
        leftovers.allow(request.config, before, programs_before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Have the faults of the marker strike now that all fixtures are set up."""
    stage.let_faults_strike(item)
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, None, None]:
    """End the marker's faults, report those that never struck, and compare the test with its record."""
    idle_texts = _never_struck(item)
    for one in stage.stages_of(item):
        one.end_faults()
    try:
        yield
    except BaseException as error:
        stage.run_of(item).failed_in = stage.run_of(item).failed_in or "teardown"
        if differs := records.difference(item):
            error.add_note(differs)
        raise
    finally:
        idle_texts += leftovers.end_of_test(item, shares_simulation=stage.shares_simulation(item))
    if differs := records.difference(item):
        pytest.fail(differs, pytrace=False)
    if idle_texts:
        from colonysim.pytest_plugin import idle

        idle.report(item, idle_texts, bool(options.value(item.config, "strict")))


def _never_struck(item: pytest.Item) -> list[str]:
    """Return a text for each of the marker's faults that never struck in a test that passed."""
    given = marker.arguments(item)
    if "faults" not in given or "scenario" in given or not stage.run_of(item).passed:
        return []
    from colonysim.pytest_plugin import idle

    return idle.never_struck(stage.names_of_faults(item), stage.simulations_of(item))


# ---------------------------------------------------------------- reports
@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to the report of a failed test: its seed, the command that repeats it, and the last events."""
    report = yield
    if call.excinfo is not None and call.excinfo.errisinstance(MissingExtra):
        report.longrepr = str(call.excinfo.value)  # it has the command that installs the extra: no traceback needed
    run, simulations = stage.run_of(item), stage.simulations_of(item)
    run.lengths[call.when] = [len(lines) for lines in stage.journals_of(item)]
    if call.when == "call":
        shared = any(name.startswith("make_colonysim_") for name in getattr(item, "fixturenames", ()))
        report.colonysim_unchecked = shared and _CHECK not in item.stash  # type: ignore[attr-defined]
        _compare_runs(item, report)
        run.passed = report.passed
        if any(names := stage.names_of_faults(item)):
            from colonysim.pytest_plugin import idle

            counts = idle.counts_of(names, simulations)
            struck = [f"fault {name} struck {show_times(count)}" for name, count in counts.items()]
            report.sections.append(("colonysim faults", "\n".join(struck)))
    if report.failed:
        run.failed_in = run.failed_in or call.when
    if call.when == "teardown":
        _note_comparison(item, report)
    if report.failed and (simulations or run.scenario is not None):
        problem = call.excinfo.exconly(tryshort=True) if call.excinfo is not None else str(report.longrepr)
        report.sections.append(("colonysim", "\n".join(_evidence(item, problem))))
    return report


def _evidence(item: pytest.Item, problem: str) -> Iterator[str]:
    """Yield the lines about a test that failed with a problem; its files are written at its first failure only."""
    from colonysim.pytest_plugin import failures, scenarios

    run, stages = stage.run_of(item), stage.stages_of(item)
    by_option = options.value(item.config, "seeds") is not None and not marker.arguments(item).get("seeds")
    artifacts = options.value(item.config, "artifacts")
    folder = None if run.kept else artifacts
    run.kept = True
    if run.scenario is not None:
        repeat = failures.command(_call_of(item, item), run.scenario.run.seed, by_option)
        yield from scenarios.report(run.scenario, repeat, id_of(item), folder)
    if stages:
        repeat = failures.command(_call_of(item, stages[-1].node), stages[-1].seed, by_option)
        yield from failures.report(repeat, id_of(item), stage.simulations_of(item), folder, problem)
    if artifacts is None:
        yield "--colonysim-artifacts DIR keeps the journal and an HTML report of each test that fails"


def _call_of(item: pytest.Item, node: pytest.Item | pytest.Collector) -> list[str]:
    """Return the arguments with which pytest runs a test, or all tests of the wider scope that `node` stands for."""
    if isinstance(node, pytest.Session):
        return [str(argument) for argument in item.config.args]
    within = node.nodeid.partition("::")[2]
    path = os.path.relpath(node.path, item.config.invocation_params.dir)
    return [f"{path}::{within}" if within else path]


def _note_comparison(item: pytest.Item, report: Any) -> None:
    """Write into a report whether the test was compared with a record, and where that would be if there is none."""
    report.colonysim_compared = stage.run_of(item).compared
    report.colonysim_missing = ""
    if options.value(item.config, "replay") and stage.simulations_of(item) and not report.colonysim_compared:
        report.colonysim_missing = str(records.expected_at(item.config, item))


# ---------------------------------------------------------------- determinism
class _Check:
    """The check of one test for determinism: which run is under way, and what the first one has done."""

    def __init__(self) -> None:
        self.is_first = True
        self.journals: list[list[bytes]] = []


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> Generator[None, object, object]:
    """With --colonysim-check-determinism: run a test that has passed once more, and fail it if its histories differ."""
    wanted = options.value(item.config, "check_determinism") and "make_colonysim" in getattr(item, "fixturenames", ())
    if not wanted or _CHECK in item.stash:
        return (yield)
    item.stash[_CHECK] = check = _Check()
    try:
        done = yield
        run = stage.run_of(item)
        if run.passed and not run.failed_in:
            check.is_first, check.journals = False, _journals_of_call(item)
            item.ihook.pytest_runtest_protocol(item=item, nextitem=nextitem)
    finally:
        del item.stash[_CHECK]
    return done


def pytest_report_teststatus(report: pytest.CollectReport | pytest.TestReport) -> tuple[str, str, str] | None:
    """Show nothing of the first of two runs if it passed: the second one is the test's result."""
    return ("", "", "") if getattr(report, "colonysim_first_run", False) else None


def _compare_runs(item: pytest.Item, report: pytest.TestReport) -> None:
    """Fail the second run of a test if its history differs from the first run's."""
    check = item.stash.get(_CHECK, None)
    if check is None or not report.passed:
        return
    if check.is_first:
        report.colonysim_first_run = True  # type: ignore[attr-defined]
        return
    from colonysim.pytest_plugin import failures

    first, second = check.journals, _journals_of_call(item)
    if any(simulation.journal is None for simulation in stage.simulations_of(item)):
        report.longrepr = "cannot check whether the test is deterministic: it has a simulation with journal=False"
    elif found := failures.first_difference(_joined(first), _joined(second), "first run", "second run"):
        report.longrepr = f"the test is not deterministic: run twice with one seed, {found}"
    else:
        return
    report.outcome = "failed"


def _joined(journals: list[list[bytes]]) -> list[bytes]:
    return [line for journal in journals for line in journal]


def _journals_of_call(item: pytest.Item) -> list[list[bytes]]:
    """Return the journals of a test's own simulations up to the end of the test function."""
    journals = stage.journals_of(item)[: stage.count_of_own_journals(item)]
    return [lines[:length] for lines, length in zip(journals, stage.run_of(item).lengths["call"], strict=False)]
