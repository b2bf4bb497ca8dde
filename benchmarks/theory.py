"""Compare scenarios with queueing theory, and write the table: python -m benchmarks.theory --write benchmarks/theory.md

Each case runs with several seeds. The first tenth of the processes of a run is left out, because a run begins with an
empty queue, and the last tenth where what comes later matters. The interval is that of Student's t over the means of
the runs. Services have a mean of 100 s or more, so that it hardly matters that limits are whole seconds.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterator
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from msgspec.structs import replace

from benchmarks import queueing
from benchmarks.__main__ import machine
from colonysim.faults import Crash, Pause, Times
from colonysim.scenarios import (
    Batches,
    Branch,
    ClosedLoop,
    Constant,
    Empirical,
    Erlang,
    ExecutorGroup,
    Exponential,
    Gamma,
    GeometricSize,
    Hyperexponential,
    ListedSize,
    Lognormal,
    Mmpp,
    MmppState,
    Pareto,
    Phases,
    PhaseType,
    Poisson,
    Renewal,
    Run,
    Scenario,
    Submission,
    Uniform,
    Weibull,
    Workload,
)

SEEDS, PROCESSES = 20, 10_000
SHORT = 5, 2_000
MEAN_S = 100.0
SERVICE = 1 / MEAN_S
T_95 = {5: 2.776, 20: 2.093}
"""Quantiles of Student's t for intervals of 95 %, by the number of seeds."""
_FOREVER = 1_000_000_000

Figures = dict[str, float]


class Case(NamedTuple):
    """A scenario for a number of processes, the figures that theory gives, and how to measure them in a run."""

    group: str
    name: str
    scenario: Callable[[int], Scenario]
    theory: Figures
    measured: Callable[[Run], Figures]


# ---------------------------------------------------------------- measuring
def _rows(run: Run, last: float = 1.0) -> range:
    count = len(run.metrics)
    return range(count // 10, round(count * last))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)


def waits(run: Run, last: float = 1.0, **chosen: int) -> Figures:
    """Return the mean wait."""
    return {"mean wait, s": _mean([run.metrics.waiting_ns(row) / 1e9 for row in _rows(run, last)])}


def times_in_system(run: Run) -> Figures:
    """Return the mean time from submission to end."""
    metrics = run.metrics
    return {
        "mean time in system, s": _mean([(metrics.ended_ns[r] - metrics.submitted_ns[r]) / 1e9 for r in _rows(run)])
    }


def shares_of_reneged(run: Run) -> Figures:
    """Return the share of processes that gave up: those that were never started."""
    return {"share that reneges": _mean([float(run.metrics.attempts[row] == 0) for row in _rows(run)])}


def _by_priority(run: Run) -> Figures:
    metrics, found = run.metrics, dict[str, list[float]]()
    for row in _rows(run, 0.9):
        name = metrics.kind_of(row).funcname
        found.setdefault(f"mean wait of {name}, s", []).append(metrics.waiting_ns(row) / 1e9)
    return {name: _mean(values) for name, values in found.items()}


def _throughput(run: Run) -> Figures:
    rows = _rows(run, 0.9)
    span_s = (run.metrics.submitted_ns[rows[-1]] - run.metrics.submitted_ns[rows[0]]) / 1e9
    return {"throughput, /h": 3600 * (len(rows) - 1) / span_s, **waits(run, 0.9)}


# ---------------------------------------------------------------- scenarios
def queue(count: int, arrivals: Any, *groups: ExecutorGroup, mix: Any = None, **fields: Any) -> Scenario:
    """Return a scenario in which executors serve a stream of processes and never stop to ask."""
    asking = tuple(replace(group, poll_timeout_s=_FOREVER) for group in groups)
    return Scenario(
        settings={"stale_executor_duration_s": _FOREVER},
        executors=asking,
        workload=(Workload(name="w", arrivals=arrivals, mix=mix or (Submission(),), count=count),),
        phases=fields.pop("phases", Phases(calm_s=1e8)),
        invariants=False,
        **fields,
    )


def _servers(service: Any, count: int = 1) -> ExecutorGroup:
    return ExecutorGroup(name="server", count=count, service=service)


def _per_hour(load: float, servers: int = 1) -> float:
    return load * servers * SERVICE * 3600


EXPONENTIAL = Exponential(MEAN_S)
LOAD = 0.7
RATE = LOAD * SERVICE


def _gamma_moment(k: int, mean: float, shape: float) -> float:
    return (mean / shape) ** k * math.gamma(shape + k) / math.gamma(shape)


def _weibull_second(shape: float) -> float:
    return (MEAN_S / math.gamma(1 + 1 / shape)) ** 2 * math.gamma(1 + 2 / shape)


def _pareto_moment(k: int, low: float, high: float, alpha: float) -> float:
    return alpha * low**alpha / (1 - (low / high) ** alpha) * (high ** (k - alpha) - low ** (k - alpha)) / (k - alpha)


_PHASES = PhaseType((1.0, 0.0), ((-0.02, 0.01), (0.0, -0.01)))
"""A mean of 50 s, after which half of the processes take 100 s more."""
_VALUES = (10.0, 20.0, 60.0, 110.0, 300.0)
SERVICES: dict[str, tuple[Any, float, float]] = {
    "M/D/1: constant": (Constant(MEAN_S), MEAN_S, MEAN_S**2),
    "M/G/1: uniform": (Uniform(0, 200), MEAN_S, 200**2 / 3),
    "M/G/1: lognormal, σ 1": (Lognormal(MEAN_S * math.exp(-0.5), 1.0), MEAN_S, MEAN_S**2 * math.e),
    "M/G/1: gamma, shape 2.5": (Gamma(MEAN_S, 2.5), MEAN_S, _gamma_moment(2, MEAN_S, 2.5)),
    "M/G/1: gamma, scv 2": (Gamma(MEAN_S, scv=2.0), MEAN_S, 3 * MEAN_S**2),
    "M/G/1: Erlang, 3 stages": (Erlang(MEAN_S, 3), MEAN_S, MEAN_S**2 * 4 / 3),
    "M/G/1: Weibull, shape 0.8": (Weibull(0.8, mean_s=MEAN_S), MEAN_S, _weibull_second(0.8)),
    "M/G/1: Pareto, α 1.5, 40 to 2,000 s": (
        Pareto(40.0, 2000.0, 1.5),
        _pareto_moment(1, 40.0, 2000.0, 1.5),
        _pareto_moment(2, 40.0, 2000.0, 1.5),
    ),
    "M/G/1: hyperexponential, scv 3": (Hyperexponential(MEAN_S, 3.0), MEAN_S, 4 * MEAN_S**2),
    "M/G/1: hyperexponential, branches": (
        Hyperexponential(branches=(Branch(2.0, 50.0), Branch(1.0, 200.0))),
        MEAN_S,
        2 * (2 * 50.0**2 + 200.0**2) / 3,
    ),
    "M/G/1: phase-type": (_PHASES, 100.0, 2 * (50.0 * 100.0 + 50.0 * 100.0)),
    "M/G/1: empirical": (Empirical(_VALUES), 100.0, sum(value**2 for value in _VALUES) / 5),
}
"""Distributions of service with their mean and second moment."""

_GAP_S = 1 / RATE
GAPS: dict[str, tuple[Any, Callable[[float], float]]] = {
    "D/M/1: constant": (_GAP_S, lambda s: math.exp(-s * _GAP_S)),
    "E2/M/1: Erlang, 2 stages": (Erlang(_GAP_S, 2), lambda s: (1 + s * _GAP_S / 2) ** -2),
    "G/M/1: gamma, shape 0.5": (Gamma(_GAP_S, 0.5), lambda s: (1 + s * _GAP_S / 0.5) ** -0.5),
    "G/M/1: uniform": (
        Uniform(0, 2 * _GAP_S),
        lambda s: 1.0 if s == 0 else (1 - math.exp(-2 * s * _GAP_S)) / (2 * s * _GAP_S),
    ),
    "H2/M/1: hyperexponential": (
        Hyperexponential(branches=(Branch(3.0, _GAP_S / 3), Branch(1.0, 3 * _GAP_S))),
        lambda s: 0.75 / (1 + s * _GAP_S / 3) + 0.25 / (1 + s * 3 * _GAP_S),
    ),
    "G/M/1: Weibull, shape 2": (
        Weibull(2.0, scale_s=_GAP_S / math.gamma(1.5)),
        queueing.laplace_of(lambda x: x * math.exp(-((x * math.gamma(1.5) / _GAP_S) ** 2)), 12 * _GAP_S),
    ),
}
"""Distributions of gaps with their Laplace transforms."""


# ---------------------------------------------------------------- cases
def cases() -> Iterator[Case]:
    """Yield all cases."""
    yield from _open()
    yield from _arrivals()
    yield from _closed_and_impatient()
    yield from _servers_of_their_own()


def _open() -> Iterator[Case]:
    wait = "mean wait, s"
    for servers, load in ((1, 0.7), (4, 0.8)):
        yield Case(
            "Erlang C",
            f"M/M/{servers}, ρ {load}",
            lambda n, c=servers, load=load: queue(n, Poisson(_per_hour(load, c)), _servers(EXPONENTIAL, c)),
            {wait: queueing.erlang_c(servers, load * servers * SERVICE, SERVICE)},
            waits,
        )
    for name, (service, mean, second) in SERVICES.items():
        yield Case(
            "Pollaczek–Khinchine",
            name,
            lambda n, service=service, mean=mean: queue(n, Poisson(LOAD / mean * 3600), _servers(service)),
            {wait: queueing.pollaczek_khinchine(LOAD / mean, mean, second)},
            waits,
        )
    first, second_class = queueing.cobham([RATE / 3, RATE * 2 / 3], MEAN_S, 2 * MEAN_S**2)
    classes = (Submission(funcname="urgent", priority=10), Submission(funcname="usual", weight=2))
    yield Case(
        "Cobham",
        "M/M/1 with two priorities, not preemptive",
        lambda n: queue(n, Poisson(_per_hour(LOAD)), _servers(EXPONENTIAL), mix=classes),
        {"mean wait of urgent, s": first, "mean wait of usual, s": second_class},
        _by_priority,
    )


def _arrivals() -> Iterator[Case]:
    wait = "mean wait, s"
    for name, (gaps, laplace) in GAPS.items():
        yield Case(
            "root of σ = A*(μ(1 − σ))",
            name,
            lambda n, gaps=gaps: queue(n, Renewal(gaps), _servers(EXPONENTIAL)),
            {wait: queueing.gm1(laplace, SERVICE)},
            waits,
        )
    two = Mmpp((MmppState(18.0, 2000.0), MmppState(54.0, 500.0)))
    yield Case(
        "matrix-geometric",
        "MMPP/M/1, two states",
        lambda n: queue(n, two, _servers(EXPONENTIAL)),
        {wait: queueing.mmpp_m1([0.005, 0.015], [[-1 / 2000, 1 / 2000], [1 / 500, -1 / 500]], SERVICE)},
        waits,
    )
    three = Mmpp((MmppState(0.0, 600.0), MmppState(18.0, 1200.0, (1, 0, 3)), MmppState(45.0, 300.0)))
    generator = [[-2 / 1200, 1 / 1200, 1 / 1200], [1 / 4800, -4 / 4800, 3 / 4800], [1 / 600, 1 / 600, -2 / 600]]
    yield Case(
        "matrix-geometric",
        "MMPP/M/1, three states, one silent",
        lambda n: queue(n, three, _servers(EXPONENTIAL)),
        {wait: queueing.mmpp_m1([0.0, 0.005, 0.0125], generator, SERVICE)},
        waits,
    )
    for name, size, mean, second in (
        ("geometric, mean 3", GeometricSize(3.0), 3.0, 15.0),
        ("1 or 5", ListedSize((1, 5), (3.0, 1.0)), 2.0, 7.0),
    ):
        rate = RATE / mean
        yield Case(
            "batches",
            f"M[X]/M/1, size {name}",
            lambda n, size=size, rate=rate: queue(n, Batches(Exponential(1 / rate), size), _servers(EXPONENTIAL)),
            {wait: queueing.batches_mm1(rate, mean, second, SERVICE)},
            waits,
        )


def _closed_and_impatient() -> Iterator[Case]:
    for clients, servers, think_s in ((5, 1, 400.0), (10, 2, 300.0)):
        throughput, wait_s = queueing.machine_repair(clients, servers, 1 / think_s, SERVICE)
        yield Case(
            "machine repair",
            f"M/M/{servers}//{clients}, closed loop, mean think time {think_s:.0f} s",
            lambda n, clients=clients, servers=servers, think_s=think_s, rate=throughput: _closed(
                n, clients, servers, think_s, rate
            ),
            {"throughput, /h": 3600 * throughput, "mean wait, s": wait_s},
            _throughput,
        )
    long_s = 10 * MEAN_S  # so that whole seconds matter even less
    for servers, load in ((1, 0.9), (4, 1.2)):
        rate = load * servers / long_s
        yield Case(
            "Erlang A",
            f"M/M/{servers}+M, ρ {load}, mean patience 2,000 s",
            lambda n, servers=servers, rate=rate: queue(
                n,
                Poisson(rate * 3600),
                _servers(Exponential(long_s), servers),
                mix=(Submission(maxwaittime=Exponential(2000.0)),),
            ),
            {"share that reneges": queueing.erlang_a(servers, rate, 1 / long_s, 1 / 2000)},
            shares_of_reneged,
        )
    yield Case(
        "Barrer",
        "M/M/1+D, ρ 0.9, patience 2,000 s",
        lambda n: queue(
            n, Poisson(0.9 / long_s * 3600), _servers(Exponential(long_s)), mix=(Submission(maxwaittime=2000),)
        ),
        {"share that reneges": queueing.mm1_constant_patience(0.9 / long_s, 1 / long_s, 2000.0)},
        shares_of_reneged,
    )


def _closed(count: int, clients: int, servers: int, think_s: float, rate: float) -> Scenario:
    loop = ClosedLoop(clients, Exponential(think_s))
    return queue(count, loop, _servers(EXPONENTIAL, servers), phases=Phases(storm_s=2 * count / rate, calm_s=1e8))


def _servers_of_their_own() -> Iterator[Case]:
    rate, fast, slow = 0.7 * 1.5 * SERVICE, SERVICE, SERVICE / 2
    yield Case(
        "Markov chain",
        "M/M/2, speeds 1 and 0.5, the one that is idle longer first",
        lambda n: queue(
            n,
            Poisson(rate * 3600),
            ExecutorGroup(name="fast", service=EXPONENTIAL),
            ExecutorGroup(name="slow", service=EXPONENTIAL, speed=0.5),
        ),
        {"mean wait, s": queueing.two_speeds(rate, fast, slow)},
        waits,
    )
    failure, repair = 1 / 2000, 1 / 500
    busy = 0.5 * SERVICE
    time_s = {"mean time in system, s": queueing.breakdowns_mm1(busy, SERVICE, failure, repair)}
    clock = Times(mtbf_s=Exponential(1 / failure))
    broken: tuple[tuple[str, Any], ...] = (
        ("pause: continues after the repair", Pause(times=clock, for_s=Exponential(1 / repair))),
        ("crash: begins again after the repair", Crash(times=clock, restart_after_s=Exponential(1 / repair))),
    )
    for name, fault in broken:
        yield Case(
            "matrix-geometric",
            f"M/M/1 with breakdowns, {name}",
            lambda n, fault=fault: queue(
                n,
                Poisson(busy * 3600),
                ExecutorGroup(name="server", service=EXPONENTIAL, registers_again=True),
                phases=Phases(storm_s=1.2 * n / busy, calm_s=1e8),
                faults=(fault,),
            ),
            time_s,
            times_in_system,
        )


# ---------------------------------------------------------------- running
class Compared(NamedTuple):
    """A figure of theory beside the mean of several runs, with its standard error."""

    group: str
    name: str
    figure: str
    theory: float
    mean: float
    error: float

    @property
    def deviation(self) -> float:
        """By how many standard errors the mean differs from theory."""
        return (self.mean - self.theory) / self.error


def compare(number: int, case: Case, seeds: int, processes: int) -> list[Compared]:
    """Run a case with seeds that no other case has: equal seeds draw equal services, so all would err alike."""
    scenario, found = case.scenario(processes), []
    for seed in range(1000 * number + 1, 1000 * number + seeds + 1):
        run = Run(scenario, seed)
        result = run.execute()
        assert result.ok, f"{case.name}, seed {seed}: {result.failures[0].text}"
        found.append(case.measured(run))
    compared = []
    for figure, theory in case.theory.items():
        values = [one[figure] for one in found]
        mean = _mean(values)
        error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (seeds - 1) / seeds)
        compared.append(Compared(case.group, case.name, figure, theory, mean, error))
    return compared


def _compare_numbered(given: tuple[int, int, int]) -> list[Compared]:
    number, seeds, processes = given
    return compare(number, list(cases())[number], seeds, processes)


def table(compared: list[Compared], seeds: int) -> str:
    """Return the lines of the table, and how many intervals have theory in them."""
    lines = [
        "| theory | model | figure | by theory | measured | 95 % interval | in it |",
        "|---|---|---|---|---|---|---|",
    ]
    inside = 0
    for one in compared:
        half = T_95[seeds] * one.error
        holds = abs(one.mean - one.theory) <= half
        inside += holds
        lines.append(
            f"| {one.group} | {one.name} | {one.figure} | {one.theory:.4g} | {one.mean:.4g} | "
            f"{one.mean - half:.4g} to {one.mean + half:.4g} (± {half / one.mean:.1%}) | {'yes' if holds else 'no'} |"
        )
    return "\n".join(lines) + f"\n\n{inside} of {len(compared)} intervals contain the figure of theory.\n"


HEAD = """# Queueing theory

Scenarios against formulas, written by

```console
$ python -m benchmarks.theory --write benchmarks/theory.md
```

{seeds} seeds for each model, {processes:,} processes for each seed; the mean service is 100 s, or 1,000 s where they
renege. The first tenth of each run is left out; where what comes later matters (priorities, closed loops), the last
tenth too. The intervals are those of Student's t over the means of the runs. One in twenty intervals of 95 % misses the
true value even if all is exact, so one or two of the table may. The formulas are in [queueing.py](queueing.py), which
imports nothing of colonysim, the models in [theory.py](theory.py). `tests/workloads/test_theory.py` runs all of them
with fewer processes.

"""
FOOT = """
- **G/M/1.** The Laplace transform of the Weibull distribution is integrated numerically.
- **Reneging.** The server looks for limits once a second, for whole seconds, so a process is up to two seconds more
  patient than the model: 0.1 % of the patience here.
- **Two speeds.** Both executors ask for work when they become idle, and the server gives a process to the one that
  asked first. A Markov chain with that rule is solved, because the known formulas assume other rules.
- **Breakdowns.** The server fails whether it is busy or not. After a `pause` it continues where it stopped (preemptive
  resume). After a `crash` with `registers_again` the process is served again from the beginning with a new service
  time (preemptive repeat different); as services are exponential, both have the same law, that of White and Christie.
- **Data elsewhere** and failures with other distributions have no formula here; their tests compare single runs.

{machine}
"""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.theory", description=__doc__)
    parser.add_argument("--short", action="store_true", help="fewer seeds and processes")
    parser.add_argument("--write", type=Path, metavar="FILE", help="write the page with the table, as Markdown")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="how many processes to use")
    given = parser.parse_args()
    seeds, processes = SHORT if given.short else (SEEDS, PROCESSES)
    jobs = [(number, seeds, processes) for number in range(len(list(cases())))]
    compared: list[Compared] = []
    with get_context("spawn").Pool(given.workers) as pool:
        for found in pool.imap(_compare_numbered, jobs):
            compared += found
            for one in found:
                print(
                    f"{one.name}: {one.figure} {one.mean:.4g}, theory {one.theory:.4g} ({one.deviation:+.1f})",
                    flush=True,
                )
    page = table(compared, seeds)
    print(page)
    if given.write:
        python = machine()["python"]
        foot = FOOT.format(machine=f"Run on {python}; the figures depend on the seeds only.")
        given.write.write_text(HEAD.format(seeds=seeds, processes=processes) + page + foot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
