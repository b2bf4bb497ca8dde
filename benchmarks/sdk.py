"""How much faster a pycolonies life cycle is in this process than over HTTP."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import Any

from benchmarks.measure import Row
from colonysim import ColonyClient, Simulation, WebServer, intercept, stock


def _life_cycles(host: str, port: int, key: str, seconds: float) -> float:
    """Life cycles a second of an SDK client in real time."""
    from pycolonies import Colonies, func_spec

    client = Colonies(host, port, False)
    user = stock.USER_IDENTITY.private_key
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        spec: Any = func_spec(
            func="f", args=[], colonyname="dev", executortype="cli", maxexectime=60, maxretries=3, maxwaittime=60
        )
        client.submit_func_spec(spec, user)
        process = client.assign("dev", 10, key)
        client.close(process.processid, ["out"], key)
        count += 1
    return count / (time.perf_counter() - start)


def _rate(http: bool, seconds: float) -> float:
    sim = Simulation(mode="real" if http else "auto", invariants=False)
    stock.install(sim)
    key = ColonyClient.stock(sim).add_executor("cli").private_key
    with ExitStack() as stack:
        if http:
            server = stack.enter_context(WebServer(sim))
            return _life_cycles("127.0.0.1", server.port, key, seconds)
        stack.enter_context(intercept(sim))
        return _life_cycles("localhost", stock.PORT, key, seconds)


def measure(short: bool) -> list[Row]:
    seconds = 1.0 if short else 3.0
    inside = max(_rate(False, seconds) for _ in range(2))
    outside = max(_rate(True, seconds) for _ in range(2))
    note = f"{inside:,.0f} against {outside:,.0f} life cycles a second"
    return [Row("pycolonies in-process against HTTP", inside / outside, "x", 3.0, "at least", note)]
