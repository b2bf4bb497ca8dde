"""Checks: what they look at, when they fail, and what they say of the first time."""

from __future__ import annotations

import pytest

from colonysim.core.history import Transition
from colonysim.reports.metrics import Metrics
from colonysim.scenarios.checks import Check, Checks, Each, Eventually, LeadsTo, Probe, condition
from colonysim.scenarios.findings import Finding
from colonysim.simulation.simulation import Simulation

SECOND = 1_000_000_000


class Lab:
    """Checks that are told by hand what happens: each letter is a step of a process of that name."""

    def __init__(self, *checks: Check) -> None:
        self.metrics = Metrics(Simulation().world)
        self.faulty = False
        self.checks = Checks(self.metrics, checks, lambda: self.faulty)
        self.now_ns = self.metrics.start_ns
        self.phase("start").phase("storm")

    def at(self, second: float) -> Lab:
        self.now_ns = self.metrics.start_ns + round(second * SECOND)
        return self

    def phase(self, name: str) -> Lab:
        self.checks.begin(self.now_ns, name)
        return self

    def _step(self, names: str, old: int, new: int) -> Lab:
        for name in names:
            self.metrics.read([Transition(self.now_ns, name, old, new, "e", "")])
        return self

    def submit(self, names: str) -> Lab:
        return self._step(names, -1, 0)

    def start(self, names: str) -> Lab:
        return self._step(names, 0, 1)

    def succeed(self, names: str) -> Lab:
        return self._step(names, 1, 2)

    def fail(self, names: str) -> Lab:
        return self._step(names, 1, 3)

    def finding(self) -> Finding:
        return self.checks.findings()[0]


def test_a_continuous_probe_tells_the_first_time_and_value_and_counts_the_others() -> None:
    lab = Lab(Probe(that="queue_depth <= 1"))
    lab.at(1).submit("ab").at(5).start("a").at(7).submit("c").at(8).start("bc")
    finding = lab.finding()
    assert not finding.passed
    assert (finding.first_s, finding.value, finding.violations) == (1, 2, 2)
    assert str(finding) == (
        "check 1: queue_depth <= 1 at all times: violated twice, first 1 s after the start, when queue_depth was 2"
    )


def test_a_probe_looks_only_when_it_is_told_to() -> None:
    for at, broken in (("start", False), ("storm", True), ("calm", False), ("end", False), ("faults", False)):
        lab = Lab(Probe(that="queue_depth < 1", at=at))
        lab.at(1).submit("a").at(2).start("a").phase("calm").succeed("a")
        lab.at(3).phase("end")
        assert lab.finding().passed is not broken, at


def test_a_probe_during_faults_looks_while_one_is_on() -> None:
    lab = Lab(Probe(that="running < 2", at="faults"))
    lab.submit("abc").at(1).start("ab").succeed("ab")
    assert lab.finding().passed
    lab.submit("de").at(2).start("d")
    lab.faulty = True
    lab.start("e")
    assert (lab.finding().passed, lab.finding().value) == (False, 2)


def test_eventually_is_met_in_time_or_fails_at_its_time() -> None:
    for started, passed in ((14, True), (16, False)):
        lab = Lab(Eventually(that="unfinished == 0", within_s=5))
        lab.submit("a").at(10).phase("calm")
        lab.at(started).start("a").succeed("a").at(20).phase("end")
        assert lab.finding().passed is passed
    assert (lab.finding().first_s, lab.finding().value) == (15, 1)


def test_eventually_fails_where_nothing_happens_any_more() -> None:
    lab = Lab(Eventually(that="succeeded >= 1", within_s=100, after="start"))
    lab.submit("a").at(30).phase("calm").phase("end")
    assert (lab.finding().passed, lab.finding().first_s) == (False, 30)


def test_leads_to_watches_each_time_anew() -> None:
    lab = Lab(LeadsTo(when="queue_depth > 1", then="queue_depth == 0", within_s=10))
    lab.at(1).submit("ab").at(9).start("ab")
    assert lab.finding().passed
    lab.at(20).submit("cd").at(29).start("c").at(40).start("d").phase("end")
    assert (lab.finding().passed, lab.finding().first_s, lab.finding().value) == (False, 30, 1)
    assert lab.finding().violations == 1


def test_each_process_gets_there_in_time_and_the_one_that_does_not_is_named() -> None:
    lab = Lab(Each(until="started", within_s=10))
    lab.at(0).submit("ab").at(9).start("a").at(11).start("b").at(12).submit("c").at(15).phase("end")
    finding = lab.finding()
    assert (finding.passed, finding.process_id, finding.first_s, finding.violations) == (False, "b", 10, 2)
    assert finding.looked == 3


@pytest.mark.parametrize(("until", "passed"), [("started", True), ("ended", True), ("succeeded", False)])
def test_what_counts_as_getting_there(until: str, passed: bool) -> None:
    lab = Lab(Each(until=until, within_s=10))  # type: ignore[arg-type]
    lab.submit("a").at(5).start("a").at(6).fail("a").at(20).phase("end")
    assert lab.finding().passed is passed


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queue_depth", "must be a condition such as"),
        ("queue_depth =< 3", "must be a condition such as"),
        ("queue_dept < 3", "there is no 'queue_dept' to compare here; use one of .*queue_depth"),
        ("running < capacity", "'capacity'"),
        ("waiting_s.p95 < 3", "there is no .* to compare here"),
    ],
)
def test_a_condition_that_makes_no_sense_is_told(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Probe(that=text)


def test_figures_can_be_asked_for_at_the_end() -> None:
    Probe(that="waiting_s.p95 < 3", at="end")
    Probe(that="utilisation >= 0.5", at="end")


def test_a_gauge_can_be_compared_with_another() -> None:
    made = condition("failed < succeeded", ("failed", "succeeded"))
    assert made.holds({"failed": 1.0, "succeeded": 2.0}.__getitem__)
    assert not made.holds({"failed": 2.0, "succeeded": 2.0}.__getitem__)
