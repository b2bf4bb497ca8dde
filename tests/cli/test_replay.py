"""Journals of served simulations, and the command that replays them."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from colonysim import ColonyClient, Simulation, WebServer, replay
from colonysim.simulation import stock
from tests.serving import Wire, signed
from tests.web.test_websocket import Socket, listen_to_all, listen_to_channel, settled

from .test_main import Served, run


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


@pytest.fixture(params=["manual", "real"])
def sim(request: pytest.FixtureRequest, path: Path) -> Simulation:
    simulation = Simulation(mode=request.param, journal=path)
    stock.install(simulation)
    return simulation


@pytest.fixture
def server(sim: Simulation, kind: str) -> Iterator[WebServer]:
    with WebServer(sim, kind=kind) as server:
        yield server
    assert server.errors == []


def _submit(server: WebServer, number: int) -> None:
    conditions = {"colonyname": "dev", "executortype": "cli"}
    spec = {"funcname": "f", "args": [number, 0.5, "\u0000"][: 2 + number % 2], "conditions": conditions}
    requests.post(server.url + "/api", signed("submitfuncspecmsg", {"spec": spec | {"channels": ["chat"]}}))


def test_what_was_served_over_http_and_websockets_is_replayed(sim: Simulation, server: WebServer, path: Path) -> None:
    """Calls, subscriptions, pushes, clients that go and polls that are given up: all of it, in order."""
    executor = ColonyClient.stock(sim).add_executor("cli")
    listener, talker = Socket(server), Socket(server)
    listener.ask(listen_to_all(executor, 0))
    settled(sim, 1)
    _submit(server, 1)
    _submit(server, 2)
    listener.body()
    assigned = executor.assign()
    assert assigned is not None
    talker.ask(listen_to_channel(assigned.id))
    settled(sim, 1, 1)
    assigned.say("chat", b"hello")
    talker.body()
    listener.close()
    settled(sim, 0, 1)
    assigned.close()
    executor.assign()
    with Wire(server) as wire:
        wire.post(signed("assignprocessmsg", {"colonyname": "dev", "timeout": 60}, executor.private_key))
        while not sim.world.queues.polls:
            pass
    while sim.world.queues.polls:
        pass
    _submit(server, 3)
    talker.close()
    assert sim.journal is not None
    digest = sim.journal.digest()
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest) == ("", digest)
    kinds = {line[2 : line.index(b'"', 2)] for line in sim.journal.lines}
    assert kinds >= {b"ask", b"answer", b"push", b"close", b"abandon", b"unblock"}


def test_a_served_journal_is_on_disk_as_soon_as_the_client_is_answered(
    sim: Simulation, server: WebServer, path: Path
) -> None:
    for number in range(3):
        _submit(server, number)
        assert path.read_bytes().count(b'"submitfuncspecmsg",[') == number + 1


# ---------------------------------------------------------------- the command
@pytest.fixture
def recorded(path: Path) -> Path:
    served = Served("serve", "--stock", "--journal", str(path), "--seed", "9")
    try:
        requests.post(served.url + "/api", signed("getcolonymsg", {"colonyname": "dev"}))
        served.ask("clock/advance", {"seconds": 90})
        spec = {"funcname": "f", "conditions": {"colonyname": "dev", "executortype": "cli"}}
        requests.post(served.url + "/api", signed("submitfuncspecmsg", {"spec": spec}))
    finally:
        assert served.stop(signal.SIGTERM) == 0
    return path


def test_the_command_says_that_all_is_the_same(recorded: Path) -> None:
    done = run("replay", str(recorded))
    assert done.returncode == 0, done.stderr
    assert "the same: 12 lines, up to 2026-01-01 00:01:30 UTC, seed 9" in done.stdout
    assert f"digest {replay(recorded).digest}" in done.stdout


def test_the_command_shows_the_first_difference(recorded: Path) -> None:
    recorded.write_bytes(recorded.read_bytes().replace(b'"submitfuncspecmsg",[', b'"submitfuncspecmsg",[1'))
    done = run("replay", str(recorded))
    assert done.returncode == 1
    for text in ("line 12 differs", "then: ", "now:  ", "NEW → WAITING  submit", "the lines before:", "getcolonymsg"):
        assert text in done.stdout
    assert run("replay", str(recorded), "--until", "11").returncode == 0
    assert json.loads(run("replay", str(recorded), "--json").stdout)["difference"]["line"] == 12
    twice = run("replay", str(recorded), "--check-determinism")
    assert (twice.returncode, "are equal" in twice.stdout) == (1, True)


def test_the_command_replays_twice(recorded: Path) -> None:
    done = run("replay", str(recorded), "--check-determinism")
    assert done.returncode == 0
    assert "two replays are equal" in done.stdout


def _cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def _of_another_format(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"format":1', b'"format":2', 1))


def _of_something_else(path: Path) -> None:
    path.write_text("to whom it may concern\n")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (_cut_off, "is incomplete"),
        (_of_another_format, "the journal has format 2"),
        (_of_something_else, "not a colonysim journal"),
        (Path.unlink, "No such file"),
    ],
)
def test_the_command_tells_what_is_wrong_with_a_file(recorded: Path, spoil: Callable[[Path], None], told: str) -> None:
    spoil(recorded)
    for more in ([], ["--check-determinism"]):
        done = run("replay", str(recorded), *more)
        assert done.returncode == 2
        assert told in done.stderr
        assert "Traceback" not in done.stderr
