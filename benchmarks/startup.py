"""How long it takes to import the package, to make a simulation, and to start and stop a server."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measure import Row
from colonysim import ServerKind, Simulation, WebServer

_IMPORT = "import time; t = time.process_time(); {}; print(time.process_time() - t)"


def _import_ms(statement: str, times: int) -> float:
    """Processor time of an import in a fresh interpreter, the quickest of several; the first one compiles."""
    command = [sys.executable, "-c", _IMPORT.format(statement)]
    with TemporaryDirectory() as folder:
        environment = os.environ | {"PYTHONPYCACHEPREFIX": folder, "PYTHONDONTWRITEBYTECODE": ""}
        spans = [float(subprocess.check_output(command, env=environment)) for _ in range(times + 1)]
    return min(spans[1:]) * 1000


def measure(short: bool) -> list[Row]:
    times = 3 if short else 10
    rows = [
        Row("import colonysim", _import_ms("import colonysim", times), "ms", 60),
        Row("from colonysim import Simulation", _import_ms("from colonysim import Simulation", times), "ms", 60),
        Row("from colonysim import Simulation, WebServer", _import_ms(
            "from colonysim import Simulation, WebServer;"
            "from colonysim.web import application, werkzeug_server", times), "ms"),
    ]  # fmt: skip
    spans = []
    for _ in range(100):
        start = time.perf_counter()
        Simulation()
        spans.append(time.perf_counter() - start)
    rows.append(Row("a fresh simulation", median(spans) * 1000, "ms", 2))
    for kind in ServerKind:
        starts, stops = [], []
        for _ in range(20):
            sim = Simulation(mode="real")
            begun = time.perf_counter()
            server = WebServer(sim, kind=kind).start()
            started = time.perf_counter()
            server.stop()
            starts.append(started - begun)
            stops.append(time.perf_counter() - started)
        rows.append(Row(f"HTTP start, --server {kind.value}", median(starts) * 1000, "ms", 20))
        rows.append(Row(f"HTTP stop, --server {kind.value}", median(stops) * 1000, "ms", 10))
    return rows
