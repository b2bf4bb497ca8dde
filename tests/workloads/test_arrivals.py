"""Renewal arrivals, Markov-modulated Poisson arrivals and batches: their rates, their sizes, and wrong parameters."""

from __future__ import annotations

from collections import Counter
from itertools import islice, pairwise, takewhile
from typing import Any

import pytest

from colonysim.core.values import BadValue, read_value
from colonysim.kernel.randomness import Erlang, Exponential, Uniform, source
from colonysim.workloads.arrivals import Arrivals, Batches, GeometricSize, ListedSize, Mmpp, MmppState, Renewal


def times(arrivals: Any, count: int, seed: int = 1) -> list[float]:
    return list(islice(arrivals.times(source(seed, "t"), 0.0), count))


def until(arrivals: Any, end_s: float, seed: int = 1) -> list[float]:
    return list(takewhile(lambda time_s: time_s < end_s, arrivals.times(source(seed, "t"), 0.0)))


def test_the_gaps_of_a_renewal_process_are_those_of_its_distribution() -> None:
    came = times(Renewal(Uniform(10.0, 20.0)), 4000)
    gaps = [came[0], *(later - earlier for earlier, later in pairwise(came))]
    assert min(gaps) >= 10
    assert max(gaps) <= 20
    assert sum(gaps) / len(gaps) == pytest.approx(15, rel=0.02)
    assert times(Renewal(30), 3) == [30, 60, 90]
    assert Renewal([2, 5]).first_s == 2


def test_a_modulated_process_has_the_rate_of_its_states() -> None:
    """Two thirds of the time at 60 an hour and one third at 600 are 240 an hour."""
    arrivals = Mmpp((MmppState(60, 2000), MmppState(600, 1000)))
    hours = 3000
    assert len(until(arrivals, hours * 3600)) / hours == pytest.approx(240, rel=0.1)


def test_a_modulated_process_is_silent_in_a_state_without_rate() -> None:
    """With 100 an hour in half the time, the counts of hours have a variance far above that of a Poisson process."""
    came = until(Mmpp((MmppState(0, 36_000), MmppState(100, 36_000))), 2000 * 3600)
    by_hour = Counter(int(time_s // 3600) for time_s in came)
    counts = [by_hour[hour] for hour in range(2000)]
    mean = sum(counts) / len(counts)
    assert mean == pytest.approx(50, rel=0.15)
    assert sum((count - mean) ** 2 for count in counts) / len(counts) > 20 * mean
    assert counts.count(0) > 500


def test_the_states_of_a_modulated_process_follow_each_other_by_weight() -> None:
    """The middle state follows every other one, so it is there for half of the time."""
    states = (MmppState(0, 100, (0, 1, 0)), MmppState(3600, 100, (1, 0, 3)), MmppState(0, 100, (0, 1, 0)))
    assert len(until(Mmpp(states), 1e6)) == pytest.approx(5e5, rel=0.05)
    only_one = (MmppState(3600, 100, (0, 1, 0)), MmppState(3600, 100, (1, 0, 0)), MmppState(0, 1e9))
    assert len(until(Mmpp(only_one), 1e4)) == pytest.approx(1e4, rel=0.05)


@pytest.mark.parametrize(
    ("size", "mean", "seen"),
    [
        (3, 3.0, {3}),
        ([2, 5], 3.5, {2, 3, 4, 5}),
        (ListedSize((1, 10)), 5.5, {1, 10}),
        (ListedSize((1, 10), (8.0, 1.0)), 2.0, {1, 10}),
        (GeometricSize(4.0), 4.0, None),
        (GeometricSize(1.0), 1.0, {1}),
    ],
)
def test_batches_have_the_sizes_of_their_distribution(size: Any, mean: float, seen: set[int] | None) -> None:
    came = times(Batches(Exponential(10.0), size), 20_000)
    sizes = list(Counter(came).values())[:-1]  # the last one is incomplete
    assert sum(sizes) / len(sizes) == pytest.approx(mean, rel=0.05)
    assert seen is None or set(sizes) == seen
    assert came[-1] / (len(sizes) + 1) == pytest.approx(10, rel=0.1)


def test_a_geometric_batch_may_end_after_each_submission() -> None:
    sizes = Counter(Counter(times(Batches(1, GeometricSize(3.0)), 30_000)).values())
    for size in (1, 2, 3, 4):
        assert sizes[size] / sizes.total() == pytest.approx(1 / 3 * (2 / 3) ** (size - 1), rel=0.1)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"kind": "renewal", "gaps": 0}, "invalid gaps=0.0: must not always be 0"),
        ({"kind": "renewal", "gaps": {"kind": "mixed", "parts": [{"weight": 1, "span": 0}]}}, "must not always be 0"),
        ({"kind": "renewal"}, "`gaps` is missing"),
        ({"kind": "batches", "gaps": [0, 0], "size": 2}, "must not always be 0"),
        ({"kind": "batches", "gaps": 1, "size": 0}, "invalid size=0: must be at least 1"),
        ({"kind": "batches", "gaps": 1, "size": [3, 2]}, "the least comes before the most"),
        ({"kind": "batches", "gaps": 1, "size": 1.5}, "invalid size=1.5"),
        ({"kind": "batches", "gaps": 1, "size": {"kind": "geometric", "mean": 0.5}}, "mean=0.5: must be at least 1"),
        (
            {"kind": "batches", "gaps": 1, "size": {"kind": "listed", "values": [1, 2], "weights": [1]}},
            "must be as many as the 2 values",
        ),
        ({"kind": "mmpp", "states": [{"per_hour": 1, "mean_s": 1}]}, "states"),
        (
            {"kind": "mmpp", "states": [{"per_hour": 0, "mean_s": 1}, {"per_hour": 0, "mean_s": 1}]},
            "states.0: invalid per_hour=0.0: from here on no state has submissions",
        ),
        (
            {"kind": "mmpp", "states": [{"per_hour": 9, "mean_s": 1}, {"per_hour": 0, "mean_s": 1, "next": [0, 1]}]},
            "states.1: invalid per_hour=0.0: from here on no state has submissions",
        ),
        (
            {"kind": "mmpp", "states": [{"per_hour": 1, "mean_s": 1, "next": [1]}, {"per_hour": 1, "mean_s": 1}]},
            "states.0: invalid next=(1.0,): must have a weight for each of the 2 states",
        ),
        (
            {"kind": "mmpp", "states": [{"per_hour": 0.01, "mean_s": 1}, {"per_hour": 0.1, "mean_s": 1}]},
            "states.0: invalid mean_s=1.0: no state has 0.0001 submissions on average each time",
        ),
        ({"kind": "closed", "clients": 0, "think": 1}, "invalid clients=0: must be at least 1"),
    ],
)
def test_wrong_parameters_are_refused_with_the_reason(data: object, complaint: str) -> None:
    with pytest.raises(BadValue) as caught:
        read_value(Arrivals, data)
    assert complaint in str(caught.value)


def test_arrivals_of_one_seed_are_the_same_everywhere() -> None:
    """Digests of results depend on them, in every version of Python and on every platform."""
    assert [time_s.hex() for time_s in times(Renewal(Erlang(10.0, 2)), 2)] == RENEWAL
    assert [time_s.hex() for time_s in times(Mmpp((MmppState(60, 60), MmppState(600, 60))), 2)] == MODULATED
    assert list(islice(GeometricSize(4.0).sizes(source(1, "s")), 8)) == GEOMETRIC


RENEWAL = ["0x1.1deab151faa73p+4", "0x1.6c6ae84af9f0cp+4"]
MODULATED = ["0x1.ba6c8d0125d12p+3", "0x1.1dd4c685b91b0p+6"]
GEOMETRIC = [1, 3, 4, 1, 2, 8, 1, 8]
