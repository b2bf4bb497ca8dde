"""What a whole M/M/10 scenario takes, beside the same queue in SimPy and in Ciw, turn by turn in processor time."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final

from benchmarks.measure import Row

SERVERS: Final = 10
SERVICE_S: Final = 10.0
PER_HOUR: Final = 2880.0  # a load of 0.8


def ours(count: int, **options: Any) -> float:
    """Return the mean wait that a scenario has measured."""
    from colonysim.scenarios import ExecutorGroup, Exponential, Poisson, Scenario, Workload, run

    scenario = Scenario(
        executors=(ExecutorGroup(name="cli", count=SERVERS, service=Exponential(SERVICE_S), poll_timeout_s=10**8),),
        workload=(Workload(name="w", arrivals=Poisson(PER_HOUR), count=count),),
        settings={"stale_executor_duration_s": 10**8},
        **{"invariants": False, **options},
    )
    result = run(scenario)
    assert result.ok, result.failures
    assert result.summary.waiting_s.mean is not None
    return result.summary.waiting_s.mean


def simpy_queue(count: int) -> float:
    """Return the mean wait in the way that SimPy's documentation models a queue: one process for each customer."""
    import simpy

    environment, source = simpy.Environment(), random.Random(1)
    servers = simpy.Resource(environment, SERVERS)
    waits: list[float] = []

    def customer() -> Any:
        came = environment.now
        with servers.request() as request:
            yield request
            waits.append(environment.now - came)
            yield environment.timeout(source.expovariate(1 / SERVICE_S))

    def arrivals() -> Any:
        for _ in range(count):
            yield environment.timeout(source.expovariate(PER_HOUR / 3600))
            environment.process(customer())

    environment.process(arrivals())
    environment.run()
    return sum(waits) / count


def ciw_queue(count: int) -> float:
    """Return the mean wait that Ciw finds."""
    import ciw

    network = ciw.create_network(
        arrival_distributions=[ciw.dists.Exponential(rate=PER_HOUR / 3600)],
        service_distributions=[ciw.dists.Exponential(rate=1 / SERVICE_S)],
        number_of_servers=[SERVERS],
    )
    ciw.seed(1)
    simulation = ciw.Simulation(network)
    simulation.simulate_until_max_customers(count, method="Finish")
    waits = [record.waiting_time for record in simulation.get_all_records()]
    return float(sum(waits) / len(waits))


def measure(short: bool) -> list[Row]:
    count, rounds = (10_000, 3) if short else (100_000, 3)
    ways: dict[str, Callable[[int], float]] = {"colonysim": ours}
    if find_spec("simpy"):
        ways["SimPy"] = simpy_queue
    if find_spec("ciw"):
        ways["Ciw"] = ciw_queue
    spans: dict[str, list[float]] = {}
    waits: dict[str, float] = {}
    for _ in range(rounds):
        for name, way in ways.items():
            start = time.process_time()
            waits[name] = way(count)
            spans.setdefault(name, []).append(time.process_time() - start)
    best = {name: min(values) for name, values in spans.items()}
    rows = [
        Row(f"M/M/10 scenario, {count:,} processes, invariants off", best["colonysim"], "s", None,
            note=f"mean wait {waits['colonysim']:.2f} s")
    ]  # fmt: skip
    for name, target in (("SimPy", 3.0), ("Ciw", 1.0)):
        if name in best:
            note = f"{name}: {best[name]:.2f} s, mean wait {waits[name]:.2f} s"
            rows.append(Row(f"the same, against {name}", best["colonysim"] / best[name], "x", target, note=note))
    return rows
