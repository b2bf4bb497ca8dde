"""Open 10,000 connections that send half of a request, and count what becomes of them.

    python -m benchmarks.half_open [CONNECTIONS]

For both servers: the server answers /health while they are open, holds no more connections than its limit, and closes
those that send nothing more. The server runs in a process of its own, so its memory is its own. Exit code 1 where not.
"""

from __future__ import annotations

import json
import os
import re
import resource
import select
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

COUNT: Final = 10_000
MOST_OPEN: Final = 2000 + 1024
"""Connections that a server keeps, and those that the system keeps until the server takes them."""
MOST_GROWTH_MIB: Final = 512
"""The limit `held_bytes`; the connections hold far less."""
WAIT_S: Final = 60
HALF: Final = b"POST /api HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + b"x" * 1000
LIMITS: Final = ("--limit", "body_timeout_s=20", "--limit", "header_timeout_s=20", "--limit", "idle_timeout_s=20")


def resident_mib(pid: int) -> int:
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) // 1024


def healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=WAIT_S) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def closed(connections: list[socket.socket]) -> int:
    """How many of the connections the server has closed, or has sent its last word on."""
    poll = select.poll()
    for connection in connections:
        poll.register(connection, select.POLLIN)
    return len(poll.poll(0))


def measure(kind: str, count: int) -> bool:
    """Flood one server, print the counts; whether it held."""
    command = [sys.executable, "-m", "colonysim", "serve", "--server", kind, *LIMITS]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        connections: list[socket.socket] = []
        answered = 0
        try:
            assert process.stdout is not None
            port = int(json.loads(process.stdout.readline())["url"].rpartition(":")[2])
            before = resident_mib(process.pid)
            for number in range(count):
                connection = socket.create_connection(("127.0.0.1", port), timeout=WAIT_S)
                connections.append(connection)
                try:
                    connection.sendall(HALF[: len(HALF) if number % 2 else 20])
                except OSError:
                    pass  # closed already for a newer one
                if number % (count // 10 or 1) == 0:
                    answered += healthy(port)
            at_once, growth = count - closed(connections), resident_mib(process.pid) - before
            waited = select.poll()
            waited.register(connections[-1], select.POLLIN)
            ended = bool(waited.poll(WAIT_S * 1000))
            answered += healthy(port)
            late = closed(connections)
        finally:
            for connection in connections:
                connection.close()
            process.terminate()
    print(f"{kind}: {count:,} opened, {at_once:,} open at once, {late:,} closed by the server in the end, ", end="")
    print(f"{answered} of 11 requests beside them answered, memory grew by {growth} MiB", flush=True)
    return answered == 11 and at_once <= MOST_OPEN and growth <= MOST_GROWTH_MIB and ended


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count + 500
    if hard not in (resource.RLIM_INFINITY,) and hard < wanted:
        print(f"this process may open {hard} files, {wanted} are needed: raise the limit (ulimit -Hn)", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    os.environ.pop("COLONYSIM_LIMITS", None)
    return 0 if min(measure("asyncio", count), measure("werkzeug", count)) else 1


if __name__ == "__main__":
    sys.exit(main())
