"""Programs in scenarios: ordinary code from a file beside the scenario, under the scenario's faults."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from colonysim.scenarios.files import BadScenario
from colonysim.scenarios.programs import BadProgram, check_code
from colonysim.scenarios.result import Result
from colonysim.scenarios.runner import Run, run
from colonysim.scenarios.scenario import Scenario

HEAD = "version: 1\nphases: {storm_s: 600, calm_s: 3600}\n"


def written(folder: Path, code: str, text: str) -> Scenario:
    (folder / "code.py").write_text(dedent(code), encoding="utf-8")
    (folder / "scenario.yaml").write_text(HEAD + dedent(text), encoding="utf-8")
    return Scenario.load(folder / "scenario.yaml")


def played(folder: Path, code: str, text: str, seed: int = 1) -> Result:
    return run(written(folder, code, text), seed)


EXECUTOR = """
import os, time
from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec, colonies_client

def executor(key, takes=5):
    client, colony, *_ = colonies_client()
    while True:
        try:
            process = client.assign(colony, 10, key)
        except ColoniesConnectionError:
            time.sleep(1)
            continue
        time.sleep(takes)
        try:
            client.close(process.processid, [process.spec.funcname], key)
        except ColoniesConnectionError:
            pass

def client(count):
    client, colony, _, _, key = colonies_client()
    spec = FuncSpec(funcname="work", conditions=Conditions(colonyname=colony, executortype="cli"),
                    maxwaittime=-1, maxexectime=60, maxretries=9)
    for _ in range(count):
        process = client.submit_func_spec(spec, key)
        assert client.wait(process, 300, key).output == ["work"]
"""
PROGRAMS = """
programs:
  - {name: executor, code: "code.py:executor", count: 3, executor_type: cli, registered: true, forever: true, kwargs: {key: $key}}
  - {name: client, code: "code.py:client", args: [10]}
"""


# ---------------------------------------------------------------- running
def test_unmodified_sdk_code_finds_the_server_by_its_environment(tmp_path: Path) -> None:
    result = played(tmp_path, EXECUTOR, PROGRAMS)
    assert result.ok, result.failures
    assert result.summary.succeeded == 10
    assert "COLONIES_COLONY_PRVKEY" not in os.environ


def test_programs_modelled_executors_and_workloads_share_one_server(tmp_path: Path) -> None:
    more = """
    executors: [{name: modelled, type: other, count: 2, service: 3}]
    workload: [{name: others, arrivals: {kind: constant, every_s: 20}, count: 12, mix: [{executortype: cli}, {executortype: other}]}]
    """
    result = played(tmp_path, EXECUTOR, PROGRAMS + dedent(more))
    assert result.ok, result.failures
    assert result.summary.succeeded == 22


def test_the_faults_of_the_scenario_strike_programs(tmp_path: Path) -> None:
    faults = "faults: [{kind: crash, executor_type: cli, times: {mean_every_s: 20}, restart_after_s: 5}]\n"
    result = played(tmp_path, EXECUTOR, PROGRAMS + faults)
    calm = played(tmp_path, EXECUTOR, PROGRAMS)  # and one run leaves nothing to the next
    assert result.ok, result.failures
    assert result.summary.retries > 0
    assert calm.summary.retries == 0


def test_one_seed_is_one_history_and_another_seed_another(tmp_path: Path) -> None:
    text = PROGRAMS + "faults: [{kind: crash, executor_type: cli, times: {mean_every_s: 20}, restart_after_s: 5}]\n"
    digests = [played(tmp_path, EXECUTOR, text, seed).digest for seed in (1, 1, 2)]
    assert digests[0] == digests[1] != digests[2]


def test_each_program_is_told_who_it_is(tmp_path: Path) -> None:
    code = """
    import json, pathlib
    def main(path, **told):
        with open(path, "a") as file:
            file.write(json.dumps(told) + "\\n")
    """
    told = "{name: $name, number: $number, seed: $seed, nested: [$colony, {id: $id}], other: 5, price: 3 $, key: $key}"
    text = f"""
    colony: here
    programs:
      - {{name: one, code: "code.py:main", count: 2, args: ["{tmp_path}/told"], kwargs: {told}}}
      - {{name: two, code: "code.py:main", args: ["{tmp_path}/told"], kwargs: {told}}}
    """
    assert played(tmp_path, code, text, seed=7).ok
    lines = [__import__("json").loads(line) for line in (tmp_path / "told").read_text().splitlines()]
    by_name = {line["name"]: line for line in lines}
    assert sorted(by_name) == ["one-1", "one-2", "two"]
    assert by_name["one-2"]["number"] == "2"
    assert by_name["two"] | {"key": "", "nested": []} == {
        "name": "two", "number": "1", "seed": "7", "nested": [], "other": 5, "price": "3 $", "key": ""
    }  # fmt: skip
    assert by_name["two"]["nested"][0] == "here"
    assert len({line["key"] for line in lines}) == len({line["nested"][1]["id"] for line in lines}) == 3


def test_what_one_run_leaves_in_its_modules_is_not_the_next_ones(tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("seen = []\n")
    code = """
    import shared
    mine = []
    def main():
        mine.append(1)
        shared.seen.append(1)
        assert len(mine) == len(shared.seen) == 1
    """
    path, modules = list(sys.path), set(sys.modules)
    for _ in range(2):
        result = played(tmp_path, code, "programs: [{name: one, code: 'code.py:main'}]\n")
        assert result.ok, result.failures
    assert sys.path == path
    assert "shared" not in set(sys.modules) - modules


def test_time_is_virtual_for_names_that_the_code_has_imported(tmp_path: Path) -> None:
    code = """
    from time import sleep, time
    def main():
        before = time()
        sleep(500)
        assert time() - before == 500
    """
    result = played(tmp_path, code, "programs: [{name: one, code: 'code.py:main'}]\n")
    assert result.ok, result.failures
    assert result.end_s >= 500


# ---------------------------------------------------------------- failing
def test_a_program_that_fails_fails_the_run_with_its_stack(tmp_path: Path) -> None:
    code = """
    import time
    def main():
        time.sleep(3)
        deep()
    def deep():
        assert 1 == 2, "sums are wrong"
    """
    result = played(tmp_path, code, "programs: [{name: one, count: 2, code: 'code.py:main'}]\n")
    (failure,) = result.failures
    assert (failure.kind, failure.name, failure.at_s) == ("program", "one: AssertionError", 3.0)
    assert "sums are wrong" in failure.text
    assert "in deep" in failure.story


def test_one_that_is_started_anew_may_fail(tmp_path: Path) -> None:
    code = """
    tries = []
    def main():
        tries.append(1)
        assert len(tries) == 3
    """
    text = "programs: [{name: one, code: 'code.py:main', restart_after_s: 5}]\n"
    result = played(tmp_path, code, text)
    assert result.ok, result.failures


def test_a_program_that_does_not_end_is_not_at_rest(tmp_path: Path) -> None:
    code = "import time\ndef main():\n    while True:\n        time.sleep(100)\n"
    result = played(tmp_path, code, "programs: [{name: one, code: 'code.py:main'}]\n")
    (failure,) = result.failures
    assert (failure.kind, failure.name) == ("rest", "one")
    assert "sleep" in failure.text
    forever = played(tmp_path, code, "programs: [{name: one, code: 'code.py:main', forever: true}]\n")
    assert forever.ok


# ---------------------------------------------------------------- what makes no sense
@pytest.mark.parametrize(
    ("code", "place", "words"),
    [
        ("", "nowhere.py:main", ["nowhere.py", "No such file", "scenario's folder"]),
        ("def other(): pass", "code.py:main", ["no function is named 'main'", "other"]),
        ("def main(:", "code.py:main", ["code.py", "invalid syntax"]),
        ("import nothing_like_it\ndef main(): pass", "code.py:main", ["nothing_like_it"]),
        ("", "no_such_package.parts:main", ["no_such_package", "file.py:function"]),
    ],
)
def test_code_that_cannot_be_run_is_told_with_what_would_do(
    tmp_path: Path, code: str, place: str, words: list[str]
) -> None:
    scenario = written(tmp_path, code, f"programs: [{{name: one, code: '{place}'}}]\n")
    for tried in (lambda: run(scenario, 1), lambda: check_code(scenario.programs, scenario.base())):
        with pytest.raises(BadProgram) as refused:
            tried()
        for word in words:
            assert word in str(refused.value)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"code": "code.py"}, ["code"]),
        ({"count": 0}, ["count"]),
        ({"registered": True}, ["executor_type"]),
        ({"cuont": 2}, ["cuont", "did you mean `count`"]),
    ],
)
def test_fields_that_make_no_sense_are_told_by_name(tmp_path: Path, fields: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(BadScenario) as refused:
        written(tmp_path, "", f"programs: [{ {'name': 'one', 'code': 'code.py:main'} | fields }]\n")
    for word in words:
        assert word in str(refused.value)


CLOSES_TWICE = """
from pycolonies import ColoniesConnectionError, colonies_client

def executor(key):
    client, colony, *_ = colonies_client()
    for _ in range(40):
        process = client.assign(colony, 100, key)
        client.close(process.processid, ["x"], key)
        try:
            client.fail(process.processid, ["e"], key)
            print("both")
        except Exception:
            pass
"""


@pytest.mark.parametrize(("probability", "least", "most"), [(0, 0, 0), (0.4, 5, 30), (1, 40, 40)])
def test_a_double_close_strikes_in_a_scenario(tmp_path: Path, probability: float, least: int, most: int) -> None:
    text = f"""
    programs: [{{name: executor, code: "code.py:executor", executor_type: cli, registered: true, kwargs: {{key: $key}}}}]
    workload: [{{name: w, arrivals: {{kind: constant, every_s: 1}}, count: 40, mix: [{{executortype: cli}}]}}]
    faults: [{{kind: hazard, hazard: double_close, until_s: 500, probability: {probability}}}]
    """
    again = Run(written(tmp_path, CLOSES_TWICE, text), 1)
    result = again.execute()
    struck = sum(call.verdict == "hazard" for call in again.sim.calls)
    assert least <= struck <= most
    assert result.summary.succeeded == 40
    assert result.ok, result.failures


def test_programs_have_arguments_variables_and_children_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import os, subprocess, sys, time\n"
        "def main(name):\n"
        "    begun = time.time()\n"
        "    subprocess.run([sys.executable, '-c', ''], check=True)\n"
        "    assert time.time() - begun == 60, time.time() - begun\n"
        "    assert (os.environ['ME'], sys.argv[1:]) == (name, ['--me', name]), (os.environ['ME'], sys.argv)\n"
        "    assert os.environ['COLONIES_COLONY_NAME']\n"
    )
    (tmp_path / "own.yaml").write_text(
        "version: 1\nprograms:\n  - {name: one, code: 'own.py:main', count: 2, args: [$name], env: {ME: $name},\n"
        "     argv: [--me, $name], child_s: {'*python*': 60}}\n"
    )
    result = run(Scenario.load(tmp_path / "own.yaml"))
    assert result.ok, result.failures


def test_a_script_runs_as_published(tmp_path: Path) -> None:
    (tmp_path / "worker.py").write_text(
        "import argparse, os, signal, sys, time\n"
        "parser = argparse.ArgumentParser()\n"
        "parser.add_argument('--sleep', type=float)\n"
        "signal.signal(signal.SIGTERM, lambda *_: os._exit(0))\n"
        "if __name__ == '__main__':\n"
        "    given = parser.parse_args()\n"
        "    time.sleep(given.sleep)\n"
        "    sys.exit(0 if given.sleep < 50 else 3)\n"
    )
    text = "version: 1\nprograms: [{name: one, code: 'worker.py:__main__', argv: [--sleep, '%s']}]\n"
    (tmp_path / "s.yaml").write_text(text % 40)
    result = run(Scenario.load(tmp_path / "s.yaml"))
    assert (result.ok, result.end_s) == (True, 40)
    (tmp_path / "s.yaml").write_text(text % 60)
    (failure,) = run(Scenario.load(tmp_path / "s.yaml")).failures
    assert (failure.kind, "status 3" in failure.text) == ("program", True), failure


@pytest.mark.parametrize(
    ("code", "more", "words"),
    [
        ("nowhere.py:__main__", "", "nowhere.py cannot be read"),
        ("torn.py:__main__", "", "torn.py is not Python code"),
        ("torn.py:__main__", ", args: [1]", "a script takes no args"),
    ],
)
def test_a_script_that_cannot_be_run_is_told(tmp_path: Path, code: str, more: str, words: str) -> None:
    (tmp_path / "torn.py").write_text("def f(:\n")
    (tmp_path / "s.yaml").write_text(f"version: 1\nprograms: [{{name: one, code: '{code}'{more}}}]\n")
    with pytest.raises(ValueError, match=words):
        run(Scenario.load(tmp_path / "s.yaml"))
