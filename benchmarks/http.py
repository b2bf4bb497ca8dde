"""Signed requests a second over HTTP, with one keep-alive client and with 32; many long polls at once.

The client is a process of its own. Its requests are signed before the clock starts: the ids of the processes to
close are known, for they come from the seed.
"""

from __future__ import annotations

import base64
import json
import multiprocessing
import re
import selectors
import socket
import time
from queue import Queue
from typing import Any

from benchmarks.measure import Row
from colonysim import ColonyClient, ServerKind, Simulation, WebServer, identity, stock

SPEC = {
    "funcname": "f", "maxwaittime": 3600, "maxexectime": 3600, "maxretries": 3,
    "conditions": {"colonyname": "dev", "executortype": "cli"},
}  # fmt: skip
_PROCESS_ID = re.compile(rb'"processid": ?"([0-9a-f]{64})"')


def signed(kind: str, message: dict[str, Any], key: str) -> bytes:
    """A whole HTTP request."""
    payload = base64.b64encode(json.dumps({"msgtype": kind} | message).encode()).decode()
    body = json.dumps(
        {"payloadtype": kind, "payload": payload, "signature": identity.sign(payload, key)}, separators=(",", ":")
    ).encode()
    return b"POST /api HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


class Server:
    """A server in this process, and the keys and ids that its clients need."""

    def __init__(self, kind: ServerKind, executors: int = 1) -> None:
        self.sim = Simulation(mode="real", invariants=False)
        stock.install(self.sim)
        colony = ColonyClient.stock(self.sim)
        self.executor_keys = [colony.add_executor("cli").private_key for _ in range(executors)]
        self.web = WebServer(self.sim, kind=kind).start()

    def coming_ids(self, count: int) -> list[str]:
        """The ids of the processes that will be submitted next."""
        twin = self.sim.fork().world
        return [twin.new_id() for _ in range(count)]


def _send_all(connection: socket.socket, request: bytes) -> None:
    connection.setblocking(True)
    connection.sendall(request)
    connection.setblocking(False)


def cycle(port: int, connections: int, seconds: float, key: str, ids: list[str], told: Queue[Any]) -> None:
    """Each connection submits, assigns and closes, over and over: tells how many requests in how long."""
    user = stock.USER_IDENTITY.private_key
    submit = signed("submitfuncspecmsg", {"spec": SPEC}, user)
    assign = signed("assignprocessmsg", {"colonyname": "dev", "timeout": -1}, key)
    close = {i.encode(): signed("closesuccessfulmsg", {"processid": i}, key) for i in ids}
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, [0])
        _send_all(connection, submit)
    told.put("ready")
    start = time.perf_counter()
    count, left = 0, len(ids)
    while time.perf_counter() - start < seconds and left > connections:
        for ready, _ in selector.select(1):
            reply = ready.fileobj.recv(65536)  # type: ignore[union-attr]
            if not reply.startswith(b"HTTP/1.1 200"):
                raise AssertionError(reply)
            count += 1
            ready.data[0] = step = (ready.data[0] + 1) % 3
            if step == 0:
                request = submit
            elif step == 1:
                request = assign
            else:
                payload = reply.partition(b'"payload":"')[2].partition(b'"')[0]
                request = close[_PROCESS_ID.search(base64.b64decode(payload[:256])).group(1)]  # type: ignore[union-attr]
                left -= 1
            ready.fileobj.send(request)  # type: ignore[union-attr]
    told.put((count, time.perf_counter() - start))


def rate(kind: ServerKind, connections: int, seconds: float) -> tuple[float, float]:
    """Requests a second that a client sees, and those a second of the server's processor time is good for."""
    server = Server(kind)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    ids = server.coming_ids(round(seconds * 4000))
    client = context.Process(
        target=cycle, args=(server.web.port, connections, seconds, server.executor_keys[0], ids, told)
    )
    client.start()
    told.get(timeout=60)
    start = time.process_time()
    count, span_s = told.get(timeout=60)
    cpu_s = time.process_time() - start
    client.join()
    server.web.stop()
    assert not server.web.errors, server.web.errors
    return count / span_s, count / cpu_s


def polls(port: int, keys: list[str], told: Queue[Any]) -> None:
    """As many executors as keys wait, then as many processes come: tells how long each took from first to last."""
    waiting = [signed("assignprocessmsg", {"colonyname": "dev", "timeout": 60}, key) for key in keys]
    submit = signed("submitfuncspecmsg", {"spec": SPEC}, stock.USER_IDENTITY.private_key)
    selector = selectors.DefaultSelector()
    for request in waiting:
        connection = socket.create_connection(("127.0.0.1", port))
        connection.sendall(request)
        selector.register(connection, selectors.EVENT_READ)
    told.put("parking")
    time.sleep(1.0)  # for the last of them to be parked; nothing depends on it being long enough
    submitter = socket.create_connection(("127.0.0.1", port))
    start = time.perf_counter()
    submitter.sendall(submit * len(keys))
    submitter.setblocking(False)
    spans: list[float] = []
    while len(spans) < len(keys) and time.perf_counter() - start < 30:
        try:
            submitter.recv(1 << 20)
        except BlockingIOError:
            pass
        for ready, _ in selector.select(0.05):
            if ready.fileobj.recv(65536).startswith(b"HTTP/1.1 200"):  # type: ignore[union-attr]
                spans.append(time.perf_counter() - start)
                selector.unregister(ready.fileobj)
    told.put(spans)


def long_polls(kind: ServerKind, count: int) -> tuple[list[float], float]:
    """Seconds from the first of so many submits to each answer of as many parked assign calls.

    And the processor time the server has taken for all of it, the parking included.
    """
    server = Server(kind, executors=count)
    context = multiprocessing.get_context("spawn")
    told = context.Queue()
    client = context.Process(target=polls, args=(server.web.port, server.executor_keys, told))
    client.start()
    told.get(timeout=60)
    start = time.process_time()
    spans: list[float] = told.get(timeout=60)
    cpu_s = time.process_time() - start
    client.join()
    server.web.stop()
    return spans, cpu_s


def measure(short: bool) -> list[Row]:
    seconds = 1.0 if short else 4.0
    rows = []
    for connections, target in ((1, 2_500), (32, 6_000)):
        for kind in ServerKind:
            seen, good_for = max(rate(kind, connections, seconds) for _ in range(2 if short else 3))
            note = f"{good_for:,.0f} for each second of the server's processor time"
            clients = "one keep-alive client" if connections == 1 else f"{connections} connections"
            question = f"HTTP requests, signed, {clients}, --server {kind.value}"
            rows.append(Row(question, seen, "/s", target, "at least", note))
    count = 200 if short else 1_999  # with the submitter as many as a server takes by default
    for kind in ServerKind:
        spans, cpu_s = long_polls(kind, count)
        note = f"{len(spans)} of {count} answered, {cpu_s:.2f} s of the server's processor time"
        question = f"{count:,} long polls and as many submits: the slowest, --server {kind.value}"
        rows.append(Row(question, max(spans) if len(spans) == count else 60.0, "s", 2.0, note=note))
    return rows
