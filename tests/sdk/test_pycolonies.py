"""What the README of pycolonies does, and the rest of its calls for processes, step by step."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from pycolonies import ColoniesConnectionError

from colonysim import Simulation
from colonysim.simulation import stock

from .conftest import Sdk, spec_of

WAITING, RUNNING, SUCCESS, FAILED = range(4)


def test_submit_assign_close(sdk: Sdk) -> None:
    key = sdk.executor()
    process = sdk.client.submit_func_spec(spec_of("echo", ["hello world"]), sdk.user_key)
    assert process.state == WAITING
    assert process.initiatorname == "myuser"
    assigned = sdk.client.assign("dev", 10, key)
    assert assigned.processid == process.processid
    assert assigned.spec.args == ["hello world"]
    sdk.client.close(assigned.processid, ["hello world"], key)
    closed = sdk.client.get_process(process.processid, sdk.user_key)
    assert closed.state == SUCCESS
    assert closed.output == ["hello world"]


def test_submit_assign_fail(sdk: Sdk) -> None:
    key = sdk.executor()
    sdk.client.submit_func_spec(spec_of("echo"), sdk.user_key)
    assigned = sdk.client.assign("dev", 10, key)
    sdk.client.fail(assigned.processid, ["out of luck"], key)
    failed = sdk.client.get_process(assigned.processid, sdk.user_key)
    assert failed.state == FAILED
    assert failed.errors == ["out of luck"]


def test_nothing_to_assign_costs_no_real_time(sdk: Sdk) -> None:
    key = sdk.executor()
    before = sdk.sim.now
    with pytest.raises(ColoniesConnectionError, match="No process available for assignment"):
        sdk.client.assign("dev", 300, key)
    assert (sdk.sim.now - before).total_seconds() == 300


def test_an_unapproved_executor_is_turned_away(sdk: Sdk) -> None:
    key = sdk.executor()
    sdk.client.reject_executor("dev", "my-executor", sdk.owner_key)
    with pytest.raises(ColoniesConnectionError, match="Access denied, not a member of Colony with name <dev>"):
        sdk.client.assign("dev", 10, key)


def test_a_blocked_executor_wakes_when_something_is_submitted(sdk: Sdk) -> None:
    key = sdk.executor()
    outputs: list[Any] = []

    def loop() -> None:
        assigned = sdk.client.assign("dev", 10, key)
        sdk.client.close(assigned.processid, assigned.spec.args, key)
        outputs.append(assigned.spec.args)

    thread = threading.Thread(target=loop)
    thread.start()
    process = sdk.client.submit_func_spec(spec_of("echo", ["up"]), sdk.user_key)
    thread.join()
    assert outputs == [["up"]]
    assert sdk.client.get_process(process.processid, sdk.user_key).output == ["up"]


def test_waiting_for_a_process(sdk: Sdk) -> None:
    key = sdk.executor()
    process = sdk.client.submit_func_spec(spec_of("echo", ["x"]), sdk.user_key)

    def work() -> None:
        assigned = sdk.client.assign("dev", 10, key)
        sdk.client.close(assigned.processid, ["done"], key)

    thread = threading.Thread(target=work)
    thread.start()
    finished = sdk.client.wait(process, 100, sdk.user_key)
    thread.join()
    assert finished.state == SUCCESS
    assert finished.output == ["done"]


def test_outputs_logs_and_attributes(sdk: Sdk) -> None:
    key = sdk.executor()
    sdk.client.submit_func_spec(spec_of("work"), sdk.user_key)
    assigned = sdk.client.assign("dev", 10, key)
    sdk.client.set_output(assigned.processid, ["so far"], key)
    sdk.client.add_log(assigned.processid, "first line", key)
    sdk.client.add_log(assigned.processid, "second line", key)
    attribute = sdk.client.add_attribute(assigned.processid, "colour", "red", key)
    assert sdk.client.get_attribute(attribute["attributeid"], key)["value"] == "red"
    logs = sdk.client.get_process_log("dev", assigned.processid, 100, -1, key)
    assert [log["message"] for log in logs] == ["first line", "second line"]
    logs = sdk.client.get_executor_log("dev", "my-executor", 1, -1, key)
    assert [log["message"] for log in logs] == ["first line"]
    assert sdk.client.get_process(assigned.processid, key).output == ["so far"]


def test_lists_statistics_and_removal(sdk: Sdk) -> None:
    key = sdk.executor()
    first = sdk.client.submit_func_spec(spec_of("a"), sdk.user_key)
    second = sdk.client.submit_func_spec(spec_of("b"), sdk.user_key)
    waiting = sdk.client.list_processes("dev", 10, WAITING, sdk.user_key)
    assert [process["processid"] for process in waiting] == [first.processid, second.processid]
    statistics = sdk.client.stats("dev", sdk.user_key)
    assert statistics["waitingprocesses"] == 2
    sdk.client.remove_process(first.processid, sdk.user_key)
    with pytest.raises(ColoniesConnectionError, match="process not found"):
        sdk.client.get_process(first.processid, sdk.user_key)
    sdk.client.assign("dev", 10, key)
    running = sdk.client.list_processes("dev", 10, RUNNING, sdk.user_key)
    assert [process["processid"] for process in running] == [second.processid]
    sdk.client.remove_all_processes("dev", sdk.owner_key)
    assert sdk.client.stats("dev", sdk.user_key)["runningprocesses"] == 0


def test_executors_and_functions(sdk: Sdk) -> None:
    key = sdk.executor()
    sdk.client.add_function("dev", "my-executor", "echo", key)
    assert [f["funcname"] for f in sdk.client.get_functions_by_executor("dev", "my-executor", key)] == ["echo"]
    assert [f["executorname"] for f in sdk.client.get_functions_by_colony("dev", key)] == ["my-executor"]
    assert sdk.client.get_executor("dev", "my-executor", sdk.user_key)["state"] == 1
    sdk.client.remove_executor("dev", "my-executor", sdk.owner_key)
    states = [executor["state"] for executor in sdk.client.list_executors("dev", sdk.user_key)]
    assert states == [3]
    assert sdk.client.get_functions_by_colony("dev", sdk.user_key) is None


def test_users_and_colonies(sdk: Sdk) -> None:
    server_key = sdk.sim.settings.server_key
    sdk.client.add_colony({"name": "second", "colonyid": "c" * 64}, server_key)
    assert [colony["name"] for colony in sdk.client.list_colonies(server_key)] == ["dev", "second"]
    sdk.client.del_colony("second", server_key)
    assert sdk.client.get_colony("dev", sdk.user_key)["name"] == "dev"
    user = {"name": "ada", "userid": "a" * 64, "colonyname": "dev", "email": "ada@example.org"}
    sdk.client.add_user(user, sdk.owner_key)
    assert [user["name"] for user in sdk.client.get_users("dev", sdk.user_key)] == ["myuser", "ada"]
    sdk.client.remove_user("dev", "ada", sdk.owner_key)
    assert [user["name"] for user in sdk.client.get_users("dev", sdk.user_key)] == ["myuser"]


@pytest.mark.colonysim(stale_executor_duration_s=100_000)
def test_an_executor_that_dies_costs_three_attempts(sdk: Sdk) -> None:
    """maxretries 2: two attempts more after the first; an hour each, and none of it real."""
    key = sdk.executor()
    spec = spec_of("slow", maxexectime=3600, maxretries=2, maxwaittime=-1)
    process = sdk.client.submit_func_spec(spec, sdk.user_key)
    before = sdk.sim.now
    attempts = []
    for _ in range(3):
        attempts.append(sdk.client.assign("dev", 4000, key).retries)  # and then it never closes
    with pytest.raises(ColoniesConnectionError, match="No process available"):
        sdk.client.assign("dev", 4000, key)
    failed = sdk.client.get_process(process.processid, sdk.user_key)
    assert attempts == [0, 1, 2]
    assert failed.state == FAILED
    assert failed.retries == 2
    assert failed.errors == ["Maximum execution time limit exceeded"]
    assert 3 * 3600 < (sdk.sim.now - before).total_seconds() < 4 * 4000


def test_silence_for_ten_minutes_unregisters_an_executor(sdk: Sdk) -> None:
    """Only assign calls count as signs of life: whoever works longer on one process loses it."""
    key = sdk.executor()
    sdk.client.submit_func_spec(spec_of("slow", maxexectime=-1, maxwaittime=-1), sdk.user_key)
    assigned = sdk.client.assign("dev", 10, key)
    sdk.sim.advance(700)
    waiting = sdk.client.get_process(assigned.processid, sdk.user_key)
    assert (waiting.state, waiting.retries) == (WAITING, 0)
    with pytest.raises(ColoniesConnectionError, match="not a member"):
        sdk.client.close(assigned.processid, [], key)


def test_the_environment_is_the_stock_one(sdk: Sdk) -> None:
    from pycolonies import colonies_client

    client, colony, owner_key, _, user_key = colonies_client()
    assert (client.host, client.port) == ("localhost", stock.PORT)
    assert (colony, owner_key, user_key) == ("dev", sdk.owner_key, sdk.user_key)


def test_signatures_are_those_of_pycolonies(colonysim: Simulation) -> None:
    """The fast signatures are bit for bit those of the package's own arithmetic."""
    import crypto

    def slow(name: str) -> Callable[..., str]:
        """The function as the package has it, without what intercept puts in its place."""
        import importlib.util

        spec = importlib.util.find_spec("crypto")
        assert spec is not None
        assert spec.loader is not None
        fresh = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(fresh)
        return getattr(fresh, name)  # type: ignore[no-any-return]

    assert crypto.sign.__module__ == "colonysim.sdk.intercept"
    for number in range(5):
        key = f"{number + 1:064x}"
        assert crypto.sign(f"message {number}", key) == slow("sign")(f"message {number}", key)
        assert crypto.get_id(key) == slow("get_id")(key)
