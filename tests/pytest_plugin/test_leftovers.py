"""A thread that outlives its test: it is lost to all simulations, and the test is told of it."""

from __future__ import annotations

import pytest

WORKER = """
import threading
import time
import warnings
import pytest
import requests
from colonysim import Lost, Simulation, intercept, stock
from pycolonies import colonies_client, func_spec

stop = threading.Event()
errors = []

@pytest.fixture(scope="module", autouse=True)
def stops():
    yield
    stop.set()

def by_requests():
    requests.post("http://localhost:50080/api", data="{}").raise_for_status()

def by_a_socket():
    import urllib.request
    urllib.request.urlopen("http://localhost:50080/api", data=b"{}")

def by_pycolonies():
    colonies, colony, _, _, key = colonies_client()
    colonies.submit_func_spec(func_spec("leaked", [], colony, "cli", maxexectime=-1, maxwaittime=-1, maxretries=0), key)

def by_websocket():
    from websocket import create_connection
    create_connection("ws://localhost:50080/pubsub").send("{}")
    raise ValueError("which the server ignores")

def loop(call, pause_s):
    while not stop.is_set():
        try:
            call()
        except Exception as error:
            errors.append(error)
        time.sleep(pause_s)

def start(call, name, pause_s=0.01):
    thread = threading.Thread(target=loop, args=(call, pause_s), name=name, daemon=True)
    thread.start()
    return thread
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


@pytest.mark.parametrize("call", ["by_requests", "by_a_socket", "by_pycolonies", "by_websocket"])
def test_it_does_nothing_in_the_next_simulation(pytester: pytest.Pytester, call: str) -> None:
    pytester.makepyfile(
        WORKER
        + f"""
def test_a(colonysim):
    before = len(colonysim.calls)
    start({call}, "worker")
    while len(colonysim.calls) < before + 2 and not errors:
        time.sleep(0.01)

def test_b(colonysim):
    before, refused = len(colonysim.calls), len(errors)
    while len(errors) < refused + 3:
        time.sleep(0.01)
    assert len(colonysim.calls) == before
    assert "thread 'worker' was left behind by " in str(errors[-1])
    assert "::test_a, which has ended" in str(errors[-1])
"""
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*ColonysimWarning: thread 'worker' outlives its test*"])
    strict = run(pytester, "--colonysim-strict")
    strict.assert_outcomes(passed=2, errors=1)


def test_one_that_has_not_called_yet_is_cut_off_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        WORKER
        + """
go = threading.Event()

def later():
    go.wait()
    by_requests()

@pytest.fixture
def early():
    return start(later, "early")

def test_a(early, colonysim):  # started before there was a simulation
    start(later, "late")

def test_b(colonysim):
    before = len(colonysim.calls)
    go.set()
    while len(errors) < 6:
        time.sleep(0.01)
    assert len(colonysim.calls) == before
    assert {type(error).__name__ for error in errors} == {"ConnectionError"}
    assert all(isinstance(error, Lost) for error in errors)
"""
    )
    run(pytester).assert_outcomes(passed=2)


def test_its_direct_calls_are_lost_and_what_it_waits_for_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        WORKER
        + """
def test_a(colonysim, colony, executor_factory):
    executor = executor_factory("cli")
    colonysim.set_clock("manual")
    start(lambda: executor.assign(timeout_s=100), "executor")
    while not colonysim.kernel.pending:
        time.sleep(0.01)

def test_b(colonysim):
    while len(errors) < 3:
        time.sleep(0.01)
    assert {type(error) for error in errors} == {Lost}
"""
    )
    run(pytester).assert_outcomes(passed=2, warnings=1)


def test_threads_that_end_with_their_test_and_those_of_wider_fixtures_are_welcome(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        WORKER
        + """
from concurrent.futures import ThreadPoolExecutor

@pytest.fixture(scope="module")
def pool():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(int).result()  # it starts its thread
        yield pool

@pytest.mark.parametrize("number", range(3))
def test_it(pool, colonysim, number):
    before = len(colonysim.calls)
    pool.submit(by_pycolonies).result()
    with ThreadPoolExecutor(2) as own:
        own.submit(by_pycolonies).result()
    assert len(colonysim.calls) == before + 2

def test_a_worker_that_ends_by_the_loss(colonysim, colony, executor_factory):
    executor = executor_factory("cli")
    colonysim.set_clock("manual")
    thread = threading.Thread(target=lambda: pytest.raises(Lost, executor.assign, 100), name="ends")
    thread.start()
    while not colonysim.kernel.pending:
        time.sleep(0.01)
"""
    )
    run(pytester).assert_outcomes(passed=4)


def test_after_the_last_simulation_it_does_not_reach_the_network_either(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        WORKER
        + """
def test_a(colonysim):
    start(by_a_socket, "worker")
    while not errors:  # the refusals of an empty request
        time.sleep(0.01)

def test_b():
    errors.clear()
    while len(errors) < 3:
        time.sleep(0.01)
    assert {type(getattr(error, "reason", error)) for error in errors} == {Lost}
"""
    )
    run(pytester).assert_outcomes(passed=2, warnings=1)


def test_a_context_by_itself_cuts_its_threads_off_too(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        WORKER
        + """
def test_a():
    first, second = Simulation(seed=1), Simulation(seed=2)
    with intercept(first):
        start(by_requests, "worker")
        while not first.calls:
            time.sleep(0.01)
    with intercept(second):
        errors.clear()
        while len(errors) < 3:
            time.sleep(0.01)
    assert not second.calls
    calls = len(first.calls)
    with intercept(first):  # its own one is there again
        while len(first.calls) == calls:
            time.sleep(0.01)
    stop.set()
"""
    )
    run(pytester).assert_outcomes(passed=1)
