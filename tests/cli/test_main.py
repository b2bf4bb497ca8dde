"""The command line as a user meets it: processes, their output, their exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pycolonies import Colonies, func_spec

from colonysim.cli import main
from colonysim.conformance.player import CASES
from colonysim.core.settings import describe

ONE_CASE = next(iter(sorted((CASES / "a-foundation").glob("*.json"))))
COMMAND = [sys.executable, "-m", "colonysim"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("COLONY")} | {"COLUMNS": "160"}


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=120, env=ENVIRONMENT | environment, check=False
    )


class Served:
    """A command that serves until it is told to stop."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=ENVIRONMENT | environment,
        )
        assert self.process.stdout is not None
        self.line = self.process.stdout.readline()

    @property
    def url(self) -> str:
        url: str = json.loads(self.line)["url"]
        return url

    def ask(self, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/colonysim/{path}", data, headers)) as reply:
            return json.loads(reply.read())

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        for pipe in (self.process.stdout, self.process.stderr):
            assert pipe is not None
            pipe.close()
        return code


@pytest.fixture
def serve() -> Iterator[Callable[..., Served]]:
    made: list[Served] = []

    def serve(*arguments: str, **environment: str) -> Served:
        made.append(Served(*arguments, **environment))
        return made[-1]

    yield serve
    for served in made:
        if served.process.poll() is None:
            served.stop(signal.SIGKILL)


# ---------------------------------------------------------------- finding one's way
def test_without_arguments_it_says_what_it_can() -> None:
    shown = run()
    for command in ("dev", "serve", "verify", "coverage"):
        assert command in shown.stdout + shown.stderr
        assert run(command, "--help").returncode == 0


def test_its_version_and_all_settings() -> None:
    assert run("--version").stdout.startswith("colonysim 0.")
    settings = run("--settings").stdout
    for setting in describe():
        assert setting.name in settings
        assert setting.meaning, f"{setting.name} has no description"
        assert " ".join(setting.meaning.split()[:2]) in settings
    assert "COLONYSIM_TIMEZONE" in settings


def test_each_command_has_its_whole_summary_in_the_help_that_minus_h_shows() -> None:
    shown = run("-h").stdout
    assert shown == run("--help").stdout
    assert "..." not in shown.partition("Commands:")[2]
    assert "--install-completion" in shown
    assert run("run", "-h").stdout == run("run", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["serve", "--timezone", "Mars/Olympus"], ["Mars/Olympus", "IANA"]),
        (["serve", "--set", "nonsense"], ["--set takes NAME=VALUE", "nonsense"]),
        (["serve", "--set", "colour=red"], ["colour"]),
        (["serve", "--set", "cron_checker_period_ms=soon"], ["cron_checker_period_ms", "soon"]),
        (["serve", "--start", "yesterday"], ["yesterday", "2026-01-01T00:00:00Z"]),
        (["serve", "--clock", "scaled", "--rate", "0"], ["greater than 0"]),
        (["serve", "--clock", "scaled", "--rate", "nan"], ["greater than 0"]),
        (["serve", "--rate", "2"], ["--rate needs --clock scaled"]),
        (["serve", "--port", "99999"], ["invalid port=99999", "or 0 for any free port"]),
        (["dev", "--port", "-1"], ["invalid port=-1"]),
        (["serve", "--port", "abc"], ["--port", "integer"]),
        (["serve", "--host", "a..b"], ["invalid host 'a..b' to listen on"]),
        (["serve", "--limit", "bodies=1"], ["there is no limit 'bodies'"]),
        (["serve", "--control-token", "a b"], ["visible ASCII"]),
        (["dev", "--takes", "1"], ["--takes needs --executor TYPE"]),
        (["dev", "--answer", "[1]"], ["--answer needs --executor TYPE"]),
        (["dev", "--executor", "cli", "--takes", "nan"], ["--takes takes seconds, 0 or more"]),
        (["dev", "--answer", "{"], ["JSON"]),
        (["verify", "nowhere"], ["nowhere does not exist"]),
        (["verify", str(ONE_CASE), "--real"], ["--url"]),
        (["verify", str(ONE_CASE), "--again", "1"], ["--again needs --real"]),
        (["verify", str(ONE_CASE), "--url", "http://127.0.0.1:1"], ["refused"]),
        (["coverage", "nowhere"], ["nowhere does not exist"]),
    ],
)
def test_what_makes_no_sense_is_told_without_a_traceback(arguments: list[str], words: list[str]) -> None:
    refused = run(*arguments)
    assert refused.returncode == 2
    for word in words:
        assert word in refused.stderr.replace("\n", " ")
    assert "Traceback" not in refused.stderr


def test_a_bad_setting_of_the_environment_is_told() -> None:
    refused = run("serve", COLONYSIM_RETENTION_POLICY_S="long")
    assert refused.returncode == 2
    assert "retention_policy_s" in refused.stderr


@pytest.mark.parametrize("error", [RecursionError("maximum depth"), MemoryError(), KeyError("name")])
def test_a_mistake_of_colonysim_is_told_in_two_lines_with_its_place(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> None:
        raise error

    monkeypatch.setattr(main, "app", broken)
    monkeypatch.delenv("COLONYSIM_TRACEBACK", raising=False)
    with pytest.raises(SystemExit) as ended:
        main.main()
    told = capsys.readouterr().err
    assert ended.value.code == 70
    assert told.startswith("colonysim: internal error at ")
    assert type(error).__name__ in told
    assert "Traceback" not in told

    monkeypatch.setenv("COLONYSIM_TRACEBACK", "1")
    with pytest.raises(SystemExit):
        main.main()
    assert "Traceback" in capsys.readouterr().err


# ---------------------------------------------------------------- serve
@pytest.mark.parametrize("kind", ["werkzeug", "asyncio"])
def test_serve_prints_one_line_and_answers(serve: Callable[..., Served], kind: str) -> None:
    served = serve("serve", "--clock", "manual", "--seed", "7", "--timezone", "Europe/Stockholm", "--server", kind)
    line = json.loads(served.line)
    assert set(line) == {"url", "seed", "pid"}
    assert (line["seed"], line["pid"]) == (7, served.process.pid)
    clock = served.ask("clock")
    assert (clock["mode"], clock["now"]) == ("manual", "2026-01-01T01:00:00+01:00")
    assert served.ask("clock/advance", {"seconds": 3600})["now"] == "2026-01-01T02:00:00+01:00"
    assert served.stop() == 0


def test_serve_prints_the_variables_with_the_keys_of_the_stock_colony(serve: Callable[..., Served]) -> None:
    served = serve("serve", "--stock")
    variables = json.loads(served.line)["environment"]
    client = Colonies(variables["COLONIES_SERVER_HOST"], int(variables["COLONIES_SERVER_PORT"]), False)
    spec = func_spec("f", [], variables["COLONIES_COLONY_NAME"], "cli", maxexectime=1, maxwaittime=-1, maxretries=0)
    process = client.submit_func_spec(spec, variables["COLONIES_PRVKEY"])
    assert process.spec.conditions.colonyname == "dev"
    assert served.stop() == 0


def test_options_may_come_from_the_environment(serve: Callable[..., Served]) -> None:
    served = serve("serve", COLONYSIM_SEED="9", COLONYSIM_CLOCK="manual", COLONYSIM_START="2030-01-01T00:00:00Z")
    assert json.loads(served.line)["seed"] == 9
    assert served.ask("clock")["now"] == "2030-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("arguments", "environment", "now"),
    [
        ([], {}, "2026-01-01T00:00:00Z"),
        (["--set", "timezone=Europe/Stockholm"], {}, "2026-01-01T01:00:00+01:00"),
        ([], {"COLONYSIM_TIMEZONE": "Europe/Stockholm"}, "2026-01-01T01:00:00+01:00"),
        (["--timezone", "UTC", "--set", "timezone=Asia/Tokyo"], {}, "2026-01-01T00:00:00Z"),
    ],
)
def test_a_setting_is_heeded_however_it_is_given(
    serve: Callable[..., Served], arguments: list[str], environment: dict[str, str], now: str
) -> None:
    served = serve("serve", "--clock", "manual", "--set", "seed=4", *arguments, **environment)
    assert json.loads(served.line)["seed"] == 4
    assert served.ask("clock")["now"] == now


def test_the_state_is_kept_across_restarts(serve: Callable[..., Served], tmp_path: Path) -> None:
    state = tmp_path / "state"
    first = serve("serve", "--clock", "manual", "--stock", "--state", str(state))
    first.ask("clock/advance", {"seconds": 10})
    assert first.stop(signal.SIGINT) == 0
    assert state.exists()
    second = serve("serve", "--clock", "manual", "--state", str(state))
    assert second.ask("clock")["now"] == "2026-01-01T00:00:10Z"
    assert second.ask("coverage")
    assert second.stop() == 0


def test_a_state_that_cannot_be_read_is_left_as_it_is(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.write_text("nonsense")
    refused = run("serve", "--state", str(state))
    assert refused.returncode == 2
    assert "not a colonysim state" in refused.stderr
    assert state.read_text() == "nonsense"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_right_after_the_line_costs_no_state(
    serve: Callable[..., Served], tmp_path: Path, number: signal.Signals
) -> None:
    for attempt in range(5):
        state = tmp_path / f"state {attempt}"
        assert serve("serve", "--stock", "--state", str(state)).stop(number) == 0
        assert state.exists()


def test_a_bad_place_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    assert run("serve", "--port", "70000", "--journal", str(tmp_path / "j")).returncode == 2
    assert list(tmp_path.iterdir()) == []


def test_a_token_that_is_made_up_is_printed(serve: Callable[..., Served]) -> None:
    line = json.loads(serve("serve", "--control-from-anywhere").line)
    asked = urllib.request.Request(f"{line['url']}/colonysim/clock")
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(asked)
    asked.add_header("Authorization", f"Bearer {line['control_token']}")
    assert urllib.request.urlopen(asked).status == 200
    given = serve("serve", "--control-from-anywhere", COLONYSIM_CONTROL_TOKEN="secret")
    assert "secret" not in given.line


def test_a_taken_port_is_told(serve: Callable[..., Served]) -> None:
    port = serve("serve", "--clock", "manual").url.rpartition(":")[2]
    refused = run("serve", "--port", port)
    assert refused.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}" in refused.stderr


# ---------------------------------------------------------------- dev
def test_dev_prints_the_environment_and_runs_an_executor(serve: Callable[..., Served]) -> None:
    from pycolonies import Colonies, func_spec

    served = serve("dev", "--port", "0", "--executor", "cli", "--answer", '["done"]', "--s3")
    assert served.process.stdout is not None
    lines = [served.line]
    while not lines[-1].startswith("# executor"):
        lines.append(served.process.stdout.readline())
    exports = dict(line.removeprefix("export ").strip().split("=", 1) for line in lines if line.startswith("export "))
    assert exports["COLONIES_COLONY_NAME"] == "dev"
    assert exports["AWS_S3_BUCKET"] == "colonies"
    client = Colonies(exports["COLONIES_SERVER_HOST"], int(exports["COLONIES_SERVER_PORT"]))
    spec = func_spec(func="f", args=[], colonyname="dev", executortype="cli", maxexectime=10, maxwaittime=10)
    process = client.submit_func_spec(spec, exports["COLONIES_PRVKEY"])
    done = client.wait(process, 10, exports["COLONIES_PRVKEY"])
    assert client.get_process(done.processid, exports["COLONIES_PRVKEY"]).output == ["done"]
    control = f"http://{exports['COLONIES_SERVER_HOST']}:{exports['COLONIES_SERVER_PORT']}/colonysim"
    reset = urllib.request.Request(f"{control}/reset", b"{}", {"Content-Type": "application/json"})
    urllib.request.urlopen(reset).close()
    process = client.submit_func_spec(spec, exports["COLONIES_PRVKEY"])
    client.wait(process, 60, exports["COLONIES_PRVKEY"])  # the executor is back
    assert served.stop(signal.SIGINT) == 0


# ---------------------------------------------------------------- verify and coverage
def test_verify_passes_here_and_over_http(serve: Callable[..., Served]) -> None:
    cases = [str(path) for path in sorted((CASES / "a-foundation").glob("*.json"))[:5]]
    assert run("verify", *cases).returncode == 0
    served = serve("serve", "--clock", "manual", "--timezone", "Europe/Stockholm")
    passed = run("verify", *cases, "--url", served.url, "--json")
    assert passed.returncode == 0
    assert [result["differences"] for result in json.loads(passed.stdout)] == [[]] * 5


def test_verify_fails_where_an_answer_differs(tmp_path: Path) -> None:
    case = json.loads(ONE_CASE.read_text())
    case["steps"] = [{"raw": "{}", "expect": {"status": 299}}]
    (tmp_path / "wrong.json").write_text(json.dumps(case))
    failed = run("verify", "-v", str(tmp_path))
    assert failed.returncode == 1
    assert "FAIL" in failed.stdout
    assert "299" in failed.stdout


def test_verify_plays_again_what_differed_in_real_time_and_says_so(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    served = serve("serve", "--clock", "real", "--timezone", "Europe/Stockholm")
    case = json.loads(ONE_CASE.read_text())
    case["steps"] = [{"raw": "{}", "expect": {"status": 299}}]
    (tmp_path / "wrong.json").write_text(json.dumps(case))
    command = ("verify", "--real", "--url", served.url, "--again", "2", str(ONE_CASE), str(tmp_path))
    failed = run(*command)
    assert failed.returncode == 1
    assert f"FAIL {tmp_path.name}/wrong at attempt 3" in failed.stdout
    results = json.loads(run(*command, "--json").stdout)
    assert [result["attempts"] for result in results] == [1, 3]
    assert len(results[1]["earlier"]) == 2 * len(results[1]["differences"]) > 0


def test_a_case_that_is_as_recorded_the_second_time_has_passed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from colonysim.conformance import report

    played = iter([["too early"], []])
    monkeypatch.setattr(report, "_play", lambda path, target: next(played))
    console = Console(force_terminal=False, width=100)
    (result,) = report.play_all(
        [ONE_CASE], None, virtual=True, timezone="UTC", progress=False, console=console, again=5
    )
    assert (result.differences, result.attempts, result.earlier) == ([], 2, ["too early"])
    report.show([result], console, verbose=False)
    told = capsys.readouterr().out
    assert f"{ONE_CASE.stem} at attempt 2, before it:" in told
    assert "too early" in told


@pytest.mark.parametrize("text", ["nonsense", "[]", '{"steps": 5}', '{"steps": [{}]}', '{"setup": [], "steps": []}'])
def test_verify_tells_what_is_no_case(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.json").write_text(text)
    refused = run("verify", str(tmp_path))
    assert refused.returncode == 2
    assert "bad.json" in refused.stderr


def test_verify_plays_the_cases_of_colonysim_where_none_are_named() -> None:
    passed = run("verify", "--json")
    assert passed.returncode == 0
    assert len(json.loads(passed.stdout)) == len(list(CASES.rglob("*.json")))


def test_coverage_as_table_json_and_page() -> None:
    assert "submitfuncspecmsg" in run("coverage").stdout
    rows = json.loads(run("coverage", "--json", str(CASES / "b-processes")).stdout)
    assert len(rows) == 99
    submit = next(row for row in rows if row["type"] == "submitfuncspecmsg")
    assert submit["cases"] > 20
    assert submit["refused_access"] > 0
    assert run("coverage", "--markdown").stdout.startswith("# Coverage")
