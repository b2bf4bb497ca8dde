"""How many full life cycles a second pass through one simulation, beside bare tokens through SimPy's PriorityStore."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import Row, once
from colonysim.cli.measure import life_cycles


def simpy_tokens(count: int, executors: int, hold: bool) -> float:
    """Seconds that SimPy takes to pass tokens from one process to others; `hold`: each is kept for a timeout."""
    import simpy

    environment = simpy.Environment()
    store = simpy.PriorityStore(environment)

    def source() -> Any:
        for number in range(count):
            yield store.put(simpy.PriorityItem(number, number))

    def sink() -> Any:
        while True:
            yield store.get()
            if hold:
                yield environment.timeout(1)

    for _ in range(executors):
        environment.process(sink())
    environment.process(source())
    return once(environment.run)


def measure(short: bool) -> list[Row]:
    count, times, executors = (5_000, 3, 10) if short else (20_000, 9, 10)
    # Turn by turn, so that what else the machine does meets all of them.
    spans: dict[str, list[float]] = {}
    for _ in range(times):
        spans.setdefault("plain", []).append(life_cycles(count, executors))
        spans.setdefault("invariants", []).append(life_cycles(count, executors, invariants=True))
        both = life_cycles(count, executors, invariants=True, journal=True)
        spans.setdefault("both", []).append(both)
        spans.setdefault("bare", []).append(simpy_tokens(count, executors, hold=False))
        spans.setdefault("held", []).append(simpy_tokens(count, executors, hold=True))
    rate = {name: count / min(values) for name, values in spans.items()}
    share = rate["both"] / rate["plain"]
    return [
        Row("life cycles (submit, assign, close)", rate["plain"], "/s", 100_000, "at least", f"{executors} executors"),
        Row("the same against SimPy, bare tokens", rate["plain"] / rate["bare"], "x", 1.0, "at least",
            f"SimPy: {rate['bare']:,.0f} /s"),
        Row("the same against SimPy, tokens held for a timeout", rate["plain"] / rate["held"], "x", None, "at least",
            f"SimPy: {rate['held']:,.0f} /s"),
        Row("with invariants", rate["invariants"] / rate["plain"], "x", None, "at least"),
        Row("with invariants and journal", share, "x", 0.4, "at least", f"{rate['both']:,.0f} /s"),
    ]  # fmt: skip
