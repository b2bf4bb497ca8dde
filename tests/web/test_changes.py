"""The stream of changes, from both servers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation, WebServer
from colonysim.http.http1 import HttpRequest
from colonysim.http.limits import Limits
from colonysim.web.changes import ChangeStream
from colonysim.web.control import Control
from colonysim.web.control_access import ControlAccess
from tests.serving import Wire, signed


class Stream(Wire):
    """A client that reads the stream, as EventSource does."""

    def __init__(self, server: WebServer, *headers: str, query: str = "") -> None:
        super().__init__(server)
        lines = [f"GET /colonysim/events{query} HTTP/1.1", "Host: localhost", "Accept: text/event-stream", *headers]
        self.send("\r\n".join([*lines, "", ""]).encode())

    def head(self) -> tuple[str, dict[str, str]]:
        status = self.reader.readline().decode().strip()
        headers: dict[str, str] = {}
        while line := self.reader.readline().decode().strip():
            name, _, value = line.partition(": ")
            headers[name.lower()] = value
        return status, headers

    def event(self) -> dict[str, Any]:
        """The overview of the next event."""
        while not (line := self.reader.readline()).startswith(b"data: "):
            assert line, "the stream has ended"
        event: dict[str, Any] = json.loads(line.removeprefix(b"data: "))
        return event

    def event_with(self, **wanted: Any) -> dict[str, Any]:
        """The first event with these values."""
        while True:
            event = self.event()
            if all(event[name] == value for name, value in wanted.items()):
                return event


def waiting(event: dict[str, Any]) -> int:
    count: int = event["colonies"][0]["processes"]["waiting"]
    return count


def test_a_client_is_told_the_present_state_and_each_change(server: WebServer, sim: Simulation) -> None:
    with Stream(server) as stream:
        status, headers = stream.head()
        assert (status, headers["content-type"]) == ("HTTP/1.1 200 OK", "text/event-stream")
        assert stream.reader.readline() == b"retry: 1000\n"
        assert waiting(stream.event()) == 0
        ColonyClient.stock(sim).submit("f")
        assert waiting(stream.event()) == 1
        sim.advance(60)
        assert stream.event()["now_ns"] == sim.now_ns
        sim.faults.add({"kind": "lose_reply"})
        assert stream.event()["faults"] == 1
        sim.set_clock("auto")
        assert stream.event_with(mode="auto")["faults"] == 1
        sim.reset()
        while waiting(stream.event()) != 0:  # the mode of the clock may have been worth another event
            pass


def test_many_changes_between_two_looks_are_one_event(sim: Simulation) -> None:
    stream = ChangeStream(sim, Control(sim).inspection.overview)
    assert stream.due
    stream.read()
    assert not stream.due
    for _ in range(100):
        ColonyClient.stock(sim).submit("f")
    assert stream.due
    assert waiting(json.loads(stream.read().partition(b"data: ")[2])) == 100
    assert not stream.due


def test_a_silent_stream_gives_a_sign_of_life(sim: Simulation) -> None:
    stream = ChangeStream(sim, Control(sim).inspection.overview)
    stream.read()
    looks = next(number for number in range(1000) if stream.due)
    assert stream.read() == b": nothing has changed\n\n"
    assert 10 <= looks <= 100
    assert not stream.due


def test_looking_takes_no_lock(sim: Simulation) -> None:
    stream = ChangeStream(sim, Control(sim).inspection.overview)
    sim.kernel.lock = None  # type: ignore[assignment]  # any use of it fails
    assert stream.due


def test_an_open_page_does_not_move_time(sim: Simulation, kind: str) -> None:
    """It does not hold time back either: in mode auto, an open page does not count as a client."""
    sim.set_clock("auto")
    ColonyClient.stock(sim).submit("f", maxwaittime=100)
    before = sim.now_ns, sim.kernel.steps, sim.kernel.actors.outside_active_at
    with WebServer(sim, kind=kind) as server:
        for _ in range(3):
            with Stream(server) as stream:
                stream.event()
        with Wire(server) as wire:
            wire.send(b"GET /colonysim/tables/processes HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert wire.reply()[0] == "HTTP/1.1 200 OK"
    assert (sim.now_ns, sim.kernel.steps, sim.kernel.actors.outside_active_at) == before
    assert not [name for name in sim.kernel.actors.threads.values() if name.name.startswith("colonysim-")]


def test_the_stream_ends_with_the_server(sim: Simulation, kind: str) -> None:
    server = WebServer(sim, kind=kind).start()
    with Stream(server) as stream:
        stream.event()
        server.stop()
        assert stream.reader.read() == b"\n"  # the end of the last event, and of the stream
    assert server.errors == []


def test_a_client_that_reads_nothing_holds_nobody_up(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind) as server, Stream(server), Stream(server) as reader:
        reader.event()
        with Wire(server) as wire:
            for number in range(200):
                wire.post(signed("getcolonymsg", {"colonyname": "dev"}))
                assert wire.reply()[0] == "HTTP/1.1 200 OK", number
        ColonyClient.stock(sim).submit("f")
        while waiting(reader.event()) != 1:
            pass
    assert server.errors == []


def test_a_connection_that_is_closed_is_forgotten(sim: Simulation, kind: str) -> None:
    with WebServer(sim, kind=kind, limits=Limits(connections=1)) as server:
        for _ in range(3):
            status = ""
            while status != "HTTP/1.1 200 OK":  # the server has not yet seen the end of the one before
                with Stream(server) as stream:
                    status, _ = stream.head()
                    if status == "HTTP/1.1 200 OK":
                        stream.event()


@pytest.mark.parametrize(
    ("headers", "query", "status"),
    [
        (["Origin: http://evil.example"], "", 403),
        (["Sec-Fetch-Site: cross-site"], "", 403),
        ([], "?token=x&unknown=1", 400),
    ],
)
def test_a_stream_is_refused_as_any_other_request(
    server: WebServer, headers: list[str], query: str, status: int
) -> None:
    with Stream(server, *headers, query=query) as stream:
        assert int(stream.reply()[0].split()[1]) == status


def test_a_stream_needs_the_token_which_may_be_in_the_query(sim: Simulation) -> None:
    control = Control(sim, ControlAccess(token="t"))

    def asked(query: str) -> HttpRequest:
        headers = {"host": "localhost", "accept": "text/event-stream"}
        return HttpRequest("GET", "/colonysim/events", query, headers, remote="127.0.0.1", local="127.0.0.1")

    assert control.stream(asked("")) is None
    assert control.stream(asked("token=wrong")) is None
    assert control.answer(asked(""))[0] == 401
    assert control.stream(asked("token=t")) is not None


def test_the_events_that_are_due_are_still_told_as_json(server: WebServer) -> None:
    with Wire(server) as wire:
        wire.send(b"GET /colonysim/events HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n")
        assert wire.reply()[2] == b"[]"
