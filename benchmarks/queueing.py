"""Formulas of queueing theory, computed without anything of colonysim. Rates are per second, times in seconds.

`rate` is the rate of arrivals, `service` the rate at which one server serves.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float64]


def erlang_c(servers: int, rate: float, service: float) -> float:
    """Return the mean wait in an M/M/c queue (Erlang C)."""
    load = rate / service
    terms = [load**k / math.factorial(k) for k in range(servers)]
    last = load**servers / math.factorial(servers) * servers / (servers - load)
    return last / (sum(terms) + last) / (servers * service - rate)


def pollaczek_khinchine(rate: float, mean: float, second_moment: float) -> float:
    """Return the mean wait in an M/G/1 queue."""
    return rate * second_moment / (2 * (1 - rate * mean))


def cobham(rates: list[float], mean: float, second_moment: float) -> list[float]:
    """Return the mean waits of the classes of an M/G/1 queue with priorities, the first class first; none preempts."""
    left = sum(rates) * second_moment / 2
    waits, above = [], 0.0
    for rate in rates:
        waits.append(left / ((1 - above * mean) * (1 - (above + rate) * mean)))
        above += rate
    return waits


def gm1(laplace: Callable[[float], float], service: float) -> float:
    """Return the mean wait in a GI/M/1 queue; `laplace` is the Laplace transform of the gaps between arrivals.

    The root r of r = A*(service * (1 - r)) between 0 and 1 is found by repeated substitution from 0.
    """
    root = 0.0
    for _ in range(100_000):
        root, before = laplace(service * (1 - root)), root
        if abs(root - before) < 1e-14:
            break
    return root / (service * (1 - root))


def laplace_of(density: Callable[[float], float], longest: float, steps: int = 200_000) -> Callable[[float], float]:
    """Return the Laplace transform of a density, by the midpoint rule up to the longest value."""
    points = (np.arange(steps) + 0.5) * (longest / steps)
    weights = np.array([density(float(point)) for point in points])
    weights /= weights.sum()
    return lambda s: float(np.sum(np.exp(-s * points) * weights))


def batches_mm1(rate: float, mean: float, second_moment: float, service: float) -> float:
    """Return the mean wait in an M[X]/M/1 queue; `rate` is that of batches, the moments are those of their size."""
    load = rate * mean / service
    number = load * (1 + second_moment / mean) / (2 * (1 - load))
    return number / (rate * mean) - 1 / service


def matrix_geometric(up: Matrix, down: Matrix, phases: Matrix) -> float:
    """Return the mean number in a queue whose level goes up and down at rates that depend on a phase (Neuts).

    `phases` is the generator of the phase. R solves A0 + R A1 + R² A2 = 0, and level n has probability π0 Rⁿ.
    """
    size = len(phases)
    within = phases - np.diag(up.sum(axis=1) + down.sum(axis=1))
    inverse = np.linalg.inv(within)
    r = np.zeros((size, size))
    while True:
        following = -(up + r @ r @ down) @ inverse
        if np.max(np.abs(following - r)) < 1e-15:
            break
        r = following
    boundary = phases - np.diag(up.sum(axis=1)) + r @ down
    beyond = np.linalg.inv(np.eye(size) - r)
    equations = np.vstack([boundary.T[:-1], beyond.sum(axis=1)])
    first = np.linalg.solve(equations, np.array([0.0] * (size - 1) + [1.0]))
    return float((first @ r @ beyond @ beyond).sum())


def mmpp_m1(rates: list[float], phases: list[list[float]], service: float) -> float:
    """Return the mean wait in an MMPP/M/1 queue, by the matrix-geometric method and Little's law."""
    generator = np.array(phases)
    number = matrix_geometric(np.diag(rates), service * np.eye(len(rates)), generator)
    stationary = np.linalg.solve(
        np.vstack([generator.T[:-1], np.ones(len(rates))]), np.array([0.0] * (len(rates) - 1) + [1.0])
    )
    return number / float(stationary @ np.array(rates)) - 1 / service


def breakdowns_mm1(rate: float, service: float, failure: float, repair: float) -> float:
    """Return the mean time in an M/M/1 queue whose server fails, idle or not, and continues after the repair."""
    phases = np.array([[-failure, failure], [repair, -repair]])
    return matrix_geometric(rate * np.eye(2), np.diag([service, 0.0]), phases) / rate


def _birth_death(births: list[float], deaths: list[float]) -> list[float]:
    """Return the stationary probabilities of the states 0 … n."""
    weights = [1.0]
    for birth, death in zip(births, deaths, strict=True):
        weights.append(weights[-1] * birth / death)
    return [weight / math.fsum(weights) for weight in weights]


def machine_repair(clients: int, servers: int, think: float, service: float) -> tuple[float, float]:
    """Return the throughput and the mean wait of M/M/c//N: clients that think and submit, one at a time."""
    births = [(clients - k) * think for k in range(clients)]
    deaths = [min(k, servers) * service for k in range(1, clients + 1)]
    chances = _birth_death(births, deaths)
    throughput = math.fsum(p * min(k, servers) * service for k, p in enumerate(chances))
    queue = math.fsum(p * max(k - servers, 0) for k, p in enumerate(chances))
    return throughput, queue / throughput


def erlang_a(servers: int, rate: float, service: float, patience: float) -> float:
    """Return the share that gives up in M/M/c+M (Erlang A); `patience` is the rate at which a waiting one gives up."""
    most = 2000
    deaths = [min(k, servers) * service + max(k - servers, 0) * patience for k in range(1, most + 1)]
    chances = _birth_death([rate] * most, deaths)
    return math.fsum(p * max(k - servers, 0) * patience for k, p in enumerate(chances)) / rate


def mm1_constant_patience(rate: float, service: float, patience_s: float) -> float:
    """Return the share that gives up in M/M/1+D: all wait equally long (Barrer; Baccelli and Hebuterne).

    The density of the wait offered at x is P0 * rate * exp(rate * min(x, d) - service * x).
    """
    decay = math.exp((rate - service) * patience_s)
    before, after = rate * (1 - decay) / (service - rate), rate * decay / service
    return after / (1 + before + after)


def two_speeds(rate: float, fast: float, slow: float) -> float:
    """Return the mean wait in an M/M/2 queue of servers with two rates, where the one that is idle longer comes first.

    States: both idle and the fast (slow) one comes first; the fast (slow) one alone is busy; both are busy.
    """
    flows = np.zeros((5, 5))
    idle_fast, idle_slow, busy_fast, busy_slow, busy = range(5)
    flows[idle_fast, busy_fast] = flows[idle_slow, busy_slow] = rate
    flows[busy_fast, idle_slow], flows[busy_slow, idle_fast] = fast, slow
    flows[busy_fast, busy] = flows[busy_slow, busy] = rate
    flows[busy, busy_slow], flows[busy, busy_fast] = fast, slow
    generator = flows - np.diag(flows.sum(axis=1))
    ratio = rate / (fast + slow)
    mass = np.array([1.0, 1.0, 1.0, 1.0, 1 / (1 - ratio)])  # of more than two there are ratio times as many each
    chances = np.linalg.solve(np.vstack([generator.T[:-1], mass]), np.array([0.0] * 4 + [1.0]))
    return float(chances[busy]) * ratio / (1 - ratio) ** 2 / rate
