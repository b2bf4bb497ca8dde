"""Arrivals, mixes, shapes of workflows, recorded workloads: what clients submit, and when."""

from __future__ import annotations

import json
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.faults import Delay, LoseReply, LoseRequest, Match, When
from colonysim.kernel.randomness import Exponential, source
from colonysim.workloads.arrivals import At, Bursts, Diurnal, Every, Once, Poisson
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.fleet import Fleet
from colonysim.workloads.submissions import Chain, Diamond, FanOut, MapReduce, Submission
from colonysim.workloads.workload import Clients, Trace, Workload


def times(arrivals: Any, count: int, midnight_s: float = 0.0, seed: int = 1) -> list[float]:
    return list(islice(arrivals.times(source(seed, "t"), midnight_s), count))


# ---------------------------------------------------------------- when
def test_arrivals_come_as_they_say() -> None:
    assert times(Every(2.5), 3) == [0, 2.5, 5]
    assert times(Once(3, 7.0), 9) == [7, 7, 7]
    assert times(At((5.0, 1.0)), 9) == [1, 5]
    assert times(Poisson(60.0), 3000)[-1] == pytest.approx(3000 * 60, rel=0.1)


def test_bursts_come_together_and_in_order() -> None:
    drawn = times(Bursts(size=10, every_s=100, spread_s=5), 30)
    assert drawn == sorted(drawn)
    assert [int(time_s // 100) for time_s in drawn] == [0] * 10 + [1] * 10 + [2] * 10
    assert max(time_s % 100 for time_s in drawn) < 5


def test_a_day_has_its_peak_at_its_hour() -> None:
    noon_s = 12 * 3600.0
    drawn = [
        (noon_s + time_s) / 3600 % 24
        for time_s in times(Diurnal(per_hour=100, peak_hour=15, swing=0.9), 24_000, noon_s)
    ]
    by_hour = [sum(int(hour) == h for hour in drawn) for h in range(24)]
    assert by_hour.index(max(by_hour)) in (13, 14, 15, 16)
    assert by_hour.index(min(by_hour)) in (1, 2, 3, 4)
    assert max(by_hour) > 5 * min(by_hour)


def test_a_seed_is_a_sequence_and_another_is_another() -> None:
    assert times(Poisson(60.0), 50) == times(Poisson(60.0), 50)
    assert times(Poisson(60.0), 50) != times(Poisson(60.0), 50, seed=2)


# ---------------------------------------------------------------- what
def edges(shape: Any) -> dict[str, tuple[str, ...]]:
    return {node.name: node.after for node in shape.nodes(Path())}


def test_shapes_of_workflows() -> None:
    assert edges(Chain(3)) == {"n0": (), "n1": ("n0",), "n2": ("n1",)}
    assert edges(FanOut(2)) == {"root": (), "leaf0": ("root",), "leaf1": ("root",)}
    assert edges(Diamond(2))["bottom"] == ("middle0", "middle1")
    assert edges(MapReduce(2, 2))["reduce1"] == ("map0", "map1")


class Lab:
    """Clients of one colony, with a fleet that closes at once."""

    def __init__(self, *workloads: Workload, storm_s: float | None = 3600, base: Path = Path(), seed: int = 3) -> None:
        self.sim = Simulation(mode="manual", seed=seed)
        self.colony = ColonyClient.create(self.sim, "c")
        Fleet(self.sim, self.colony.id, "c").add([ExecutorGroup(name="x", count=3, service=0.5)])
        storm_ns = None if storm_s is None else round(storm_s * 1e9)
        self.clients = Clients(self.sim, self.colony.id, "c", base, storm_ns, {})
        for workload in workloads:
            self.clients.add(workload)

    def submitted(self) -> list[tuple[float, str, str]]:
        start_ns = self.clients.start_ns
        return [
            ((p.submitted_ns - start_ns) / 1e9, p.spec.funcname, p.initiator_name)
            for p in self.sim.world.processes.values()
        ]


def test_clients_submit_until_the_storm_is_over() -> None:
    lab = Lab(Workload(name="w", arrivals=Every(10.0), users=2), storm_s=35)
    lab.sim.advance(100)
    assert lab.submitted() == [(0, "run", "w-1"), (10, "run", "w-2"), (20, "run", "w-1"), (30, "run", "w-2")]
    assert lab.clients.all_submitted()


def test_a_window_and_a_count_limit_a_stream() -> None:
    lab = Lab(
        Workload(name="a", arrivals=Every(10.0), from_s=5, until_s=26),
        Workload(name="b", arrivals=Every(10.0), count=1, mix=(Submission(funcname="b"),)),
        storm_s=None,
    )
    lab.sim.advance(100)
    assert sorted(lab.submitted()) == [(0, "b", "b"), (5, "run", "a"), (15, "run", "a"), (25, "run", "a")]


def test_what_would_never_end_is_refused() -> None:
    with pytest.raises(ValueError, match="'w' never ends"):
        Lab(Workload(name="w", arrivals=Every(10.0)), storm_s=None)
    with pytest.raises(ValueError, match="either arrivals or a trace"):
        Workload(name="w")


def test_a_mix_is_drawn_by_weight_and_its_run_times_are_arguments() -> None:
    often = Submission(weight=3, funcname="often", run_s=Exponential(5.0))
    graph = Submission(weight=1, funcname="graph", workflow=Chain(2))
    lab = Lab(Workload(name="w", arrivals=Every(1.0), mix=(often, graph)), storm_s=400)
    lab.sim.advance(500)
    names = [name for _, name, _ in lab.submitted()]
    assert names.count("often") == pytest.approx(300, rel=0.15)
    assert names.count("graph") == 2 * (400 - names.count("often"))
    drawn = [p.spec.args[0] for p in lab.sim.world.processes.values() if p.spec.funcname == "often" and p.spec.args]
    assert sum(drawn) / len(drawn) == pytest.approx(5, rel=0.25)


def test_one_stream_more_leaves_the_others_as_they_were() -> None:
    people = Workload(name="people", arrivals=Poisson(200.0))
    alone, together = Lab(people), Lab(Workload(name="more", arrivals=Poisson(90.0)), people)
    for lab in (alone, together):
        lab.sim.advance(3600)
    assert [s for s in together.submitted() if s[2] == "people"] == alone.submitted()


# ---------------------------------------------------------------- recorded
CSV = "submit_s,run_s,user,site,funcname\n100,5,u1,7,\n104,6,u2,cern.ch,sim\n110,7,u1,7,\n"


@pytest.mark.parametrize(
    ("sites", "where"),
    [("location", ["site7", "cern.ch", "site7"]), ("type", ["", "", ""]), ("ignore", ["", "", ""])],
)
def test_a_recorded_workload_keeps_times_users_and_sites(tmp_path: Path, sites: str, where: list[str]) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    like = (Submission(executortype="node", funcname="f", maxretries=2),)
    trace = Trace(file="t.csv", speed=2, sites=sites)
    lab = Lab(Workload(name="w", trace=trace, users=2, mix=like), storm_s=None, base=tmp_path)
    lab.sim.advance(100)
    processes = list(lab.sim.world.processes.values())
    assert lab.submitted() == [(0, "f", "w-1"), (2, "sim", "w-2"), (5, "f", "w-1")]
    assert [p.spec.args for p in processes] == [[5.0], [6.0], [7.0]]
    assert [p.spec.conditions.locationname for p in processes] == where
    types = [p.spec.conditions.executortype for p in processes]
    assert types == (["site7", "cern.ch", "site7"] if sites == "type" else ["node"] * 3)
    assert {p.spec.maxretries for p in processes} == {2}


def test_a_piece_of_a_trace_begins_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    lab = Lab(Workload(name="w", trace=Trace(file="t.csv", first=1, count=1)), storm_s=None, base=tmp_path)
    lab.sim.advance(100)
    assert lab.submitted() == [(0, "sim", "w")]


# ---------------------------------------------------------------- under faults
@pytest.mark.parametrize(("fault", "left"), [(LoseReply, 2), (LoseRequest, 1)])
def test_what_is_lost_is_sent_again_whether_or_not_it_took_effect(fault: Any, left: int) -> None:
    lab = Lab(Workload(name="w", arrivals=Once(), resends=3, resend_s=5), storm_s=None)
    lab.sim.faults.add(fault(match=Match(types="submitfuncspecmsg"), when=When(first=1)))
    lab.sim.advance(30)
    assert len(lab.submitted()) == left
    stream = lab.clients.streams[0]
    assert (stream.submitted, stream.lost) == (2, 1)
    assert lab.clients.all_submitted()


@pytest.mark.parametrize("fault", [Delay(by_s=500, when=When(nth=2)), LoseRequest(notice_s=500, when=When(nth=2))])
def test_not_all_is_submitted_while_an_answer_is_still_to_come(fault: Any) -> None:
    lab = Lab(Workload(name="w", arrivals=Once(2), resends=1), storm_s=None)
    lab.sim.faults.add(fault)
    lab.sim.advance(100)
    assert not lab.clients.all_submitted()
    lab.sim.advance(500)
    assert lab.clients.all_submitted()
    assert len(lab.submitted()) == 2


def test_what_is_refused_is_counted_with_the_reason() -> None:
    lab = Lab(
        Workload(name="w", arrivals=Once(2), mix=(Submission(args=json.loads("[" * 250 + "]" * 250)),)), storm_s=None
    )
    lab.sim.advance(1)
    stream = lab.clients.streams[0]
    assert stream.refused == 2
    assert "may be nested at most 200 levels deep" in stream.first_refusal


def test_the_times_of_arrivals_are_in_order_for_each_kind() -> None:
    for arrivals in (Every(1.0), Poisson(600.0), Bursts(5, 60.0, 30.0), Diurnal(600.0)):
        assert all(a <= b for a, b in pairwise(times(arrivals, 200)))


def test_a_message_that_is_always_the_same_is_made_once() -> None:
    lab = Lab(Workload(name="w", arrivals=Every(1.0), count=5))
    lab.sim.advance(10)
    asked = [call.message for call in lab.sim.calls if isinstance(call.message, SubmitFuncSpec)]
    assert len({id(message) for message in asked}) == 1
