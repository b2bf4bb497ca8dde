"""Files that a server keeps: the state is never lost to a journal, and never half written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from colonysim import replay
from colonysim.cli.state_file import StateFile
from colonysim.kernel import snapshots
from tests.serving import opened, signed

from .test_main import COMMAND, ENVIRONMENT, Served, run, serve

__all__ = ["serve"]  # the fixture

SCENARIO = Path(__file__).parents[2] / "scenarios" / "first_steps.yaml"
FULL = "File too large"  # as the system says it for a limit; a full disk has other words


@contextmanager
def pipe(path: Path) -> Iterator[int]:
    """A file that takes what is written until its reader goes."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        yield reader
    finally:
        with suppress(OSError):
            os.close(reader)


def submit(served: Served) -> tuple[int, Any]:
    spec = {"funcname": "f", "conditions": {"colonyname": "dev", "executortype": "t"}}
    body = signed("submitfuncspecmsg", {"spec": spec})
    try:
        with urllib.request.urlopen(f"{served.url}/api", body) as reply:
            return reply.status, opened(reply.read())
    except urllib.error.HTTPError as error:
        return error.code, opened(error.read())


def health(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.ask("health")
    return found


def ended(served: Served, number: int | None = signal.SIGTERM) -> tuple[int, str]:
    """The exit code of a command and what it has said on stderr; it is asked to end, unless `number` is None."""
    if number is not None:
        served.process.send_signal(number)
    _, said = served.process.communicate(timeout=60)
    return served.process.returncode, said.replace("\n", " ")


def processes_in(state: Path) -> int:
    return len(snapshots.load(state.read_bytes()).processes)


# ---------------------------------------------------------------- a journal that fails
@pytest.mark.parametrize("loop", ["werkzeug", "asyncio"])
def test_a_journal_that_fails_is_told_and_costs_neither_answers_nor_the_state(
    serve: Callable[..., Served], tmp_path: Path, loop: str
) -> None:
    state, journal = tmp_path / "state", tmp_path / "run.jsonl"
    with pipe(journal) as reader:
        arguments = ["--clock", "manual", "--stock", "--state", str(state), "--journal", str(journal)]
        served = serve("serve", *arguments, "--server", loop)
        assert submit(served)[0] == 200
        assert health(served) == {"ok": True, "problems": []}
        os.close(reader)
        assert [submit(served)[0] for _ in range(3)] == [200, 200, 200]
    told = f"the journal {journal} cannot be written: Broken pipe"
    assert health(served)["ok"] is False
    assert told in health(served)["problems"][0]
    assert "the server continues without it" in health(served)["problems"][0]
    with urllib.request.urlopen(f"{served.url}/colonysim/overview") as overview:  # as the page shows it
        assert told in json.load(overview)["problems"][0]
    code, said = ended(served)
    assert (code, said.count(told)) == (0, 1)
    assert processes_in(state) == 4


def test_a_server_that_shall_stop_with_its_journal_saves_the_state_and_says_why(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    state, journal = tmp_path / "state", tmp_path / "run.jsonl"
    with pipe(journal) as reader:
        arguments = ["--clock", "manual", "--stock", "--state", str(state), "--journal", str(journal)]
        served = serve("serve", *arguments, "--journal-errors", "stop")
        assert submit(served)[0] == 200
        os.close(reader)
        assert submit(served)[0] == 200  # it has taken effect
        code, said = ended(served, None)
    assert code == 1
    assert f"the journal {journal} cannot be written: Broken pipe" in said
    assert f"stopped because of --journal-errors stop; the state is in {state}" in said
    assert processes_in(state) == 2


def test_a_journal_on_a_full_disk_ends_at_a_whole_line_and_can_be_replayed(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    state, journal = tmp_path / "state", tmp_path / "run.jsonl"
    served = serve("serve", "--clock", "manual", "--stock", "--journal", str(journal), "--state", str(state))
    most = 30_000
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (most, resource.RLIM_INFINITY))
    asked = 0
    while health(served)["ok"]:
        assert submit(served)[0] == 200
        asked += 1
        assert asked < 1000
    assert FULL in health(served)["problems"][0]
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    assert submit(served)[0] == 200
    assert served.stop() == 0
    assert journal.read_bytes().endswith(b"\n")
    assert most - 5000 < journal.stat().st_size <= most
    assert replay(journal).same
    assert processes_in(state) == asked + 1


def test_a_journal_that_cannot_be_begun_is_refused_at_the_start() -> None:
    for file in ("/dev/full", "/nowhere/run.jsonl", "/tmp"):
        refused = run("serve", "--journal", file)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert refused.stderr.startswith(f"colonysim: {file}: cannot be written: ")


def test_a_journal_that_fails_before_the_server_listens_ends_it_where_it_shall(tmp_path: Path) -> None:
    journal = tmp_path / "run.jsonl"
    words = [*COMMAND, "serve", "--stock", "--journal", str(journal), "--journal-errors", "stop"]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1200, 1200))  # the header fits
    refused = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=limit)
    assert (refused.returncode, refused.stdout) == (1, "")
    assert refused.stderr.count("cannot be written") == 1
    assert "Traceback" not in refused.stderr


def test_errors_of_a_journal_need_a_journal() -> None:
    refused = run("serve", "--journal-errors", "stop")
    assert refused.returncode == 2
    assert "--journal-errors needs --journal" in refused.stderr


@pytest.mark.parametrize(("errors", "code"), [("continue", 0), ("stop", 1)])
def test_a_run_goes_on_or_ends_when_its_journal_fails(tmp_path: Path, errors: str, code: int) -> None:
    journal = tmp_path / "run.jsonl"
    words = [*COMMAND, "run", str(SCENARIO), "--journal", str(journal), "--journal-errors", errors]
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (20_000, 20_000))
    done = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, preexec_fn=limit)
    assert done.returncode == code, done.stderr
    assert f"the journal {journal} cannot be written: {FULL}" in done.stderr.replace("\n", " ")
    assert ("digest" in done.stdout) == (code == 0)
    assert replay(journal).same


# ---------------------------------------------------------------- the file of the state
@pytest.mark.parametrize("command", ["serve", "dev"])
def test_a_state_that_could_not_be_written_is_refused_at_the_start(command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "taken.new").mkdir()
    for name, said in (
        ("nowhere/state", f"the folder {tmp_path}/nowhere does not exist: create it first"),
        ("file/state", f"the folder {tmp_path}/file does not exist"),
        (".", "is a folder: name a file in it"),
        ("loop", "is a link that leads to itself"),
        ("taken", "cannot be written: Is a directory"),
        ("/dev/null", "/dev/null is not a regular file"),
        ("/proc/state", "/proc/state cannot be written"),
        ("x" * 300, "File name too long"),
    ):
        refused = run(command, "--port", "0", "--state", str(tmp_path / name))
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr.replace("\n", "")
    assert run(command, "--state-every", "1").returncode == 2


def test_a_killed_server_loses_no_more_than_since_the_last_save(serve: Callable[..., Served], tmp_path: Path) -> None:
    state = tmp_path / "state"
    served = serve("serve", "--clock", "manual", "--stock", "--state", str(state), "--state-every", "0.01")
    for _ in range(3):
        assert submit(served)[0] == 200
    while not state.exists() or processes_in(state) < 3:
        pass  # it is written whole each time, or this would raise
    assert ended(served, signal.SIGKILL)[0] == -signal.SIGKILL
    assert processes_in(state) == 3
    second = serve("serve", "--clock", "manual", "--state", str(state))
    assert health(second)["ok"]
    assert second.stop() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["state"]


def test_a_state_that_cannot_be_saved_is_told_until_it_can(serve: Callable[..., Served], tmp_path: Path) -> None:
    state = tmp_path / "state"
    served = serve("serve", "--clock", "manual", "--stock", "--state", str(state), "--state-every", "0.01")
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    while health(served)["ok"]:
        pass
    assert health(served)["problems"] == [f"the state could not be written to {state}: {FULL}"]
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    while not health(served)["ok"]:
        pass
    assert served.stop() == 0
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_state_that_cannot_be_saved_at_the_end_is_told_and_leaves_the_old_one(
    serve: Callable[..., Served], tmp_path: Path
) -> None:
    state = tmp_path / "state"
    first = serve("serve", "--clock", "manual", "--stock", "--state", str(state))
    assert submit(first)[0] == 200
    assert first.stop() == 0
    before = state.read_bytes()
    served = serve("serve", "--clock", "manual", "--state", str(state))
    assert submit(served)[0] == 200
    resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    code, said = ended(served)
    assert code == 1
    assert f"the state could not be written to {state}: {FULL}" in said
    assert state.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_a_write_that_fails_at_any_step_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state")
    assert file.read() is None
    file.write(b"old")
    (tmp_path / "state.new").write_bytes(b"left by a server that was killed")
    file.write(b"newer")
    assert file.read() == b"newer"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2, before[1]))
    try:
        with pytest.raises(OSError, match=r"the state could not be written to .*state: File too large"):
            file.write(b"a state of more bytes")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert file.read() == b"newer"
    (tmp_path / "state").unlink()
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "in it").touch()
    with pytest.raises(OSError, match="the state could not be written"):
        file.write(b"newest")
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def test_the_file_keeps_its_permissions_and_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    StateFile(tmp_path / "link").write(b"state")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"state"
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o600
    assert len(list(tmp_path.iterdir())) == 2
