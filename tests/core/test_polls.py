"""Who is woken by what: docs/protocol/b-processes.md 4.4 and 4.5."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, ExecutorClient, Simulation
from colonysim.core import registration
from colonysim.core.operations.assignment import AssignProcess
from colonysim.kernel.pending import Pending


def poll(executor: ExecutorClient, timeout_s: int = 100, **given: str) -> Pending:
    message = AssignProcess(colonyname=executor.colony, timeout=timeout_s, **given)
    return executor.sim.begin(executor.id, message)


def got(pending: Pending) -> str | int | None:
    """The id of the process a poll got, or the status it ended with, or None while it waits."""
    if pending.answer is None:
        return None
    return pending.answer.body.process.process_id if pending.answer.ok else pending.answer.status


def test_who_has_waited_longest_is_served_first(colony: ColonyClient) -> None:
    polls = [poll(colony.add_executor("t")) for _ in range(3)]
    processes = [colony.submit("f", executortype="t") for _ in range(2)]
    assert [got(each) for each in polls] == [processes[0].id, processes[1].id, None]


def test_the_submitter_sees_the_process_waiting_even_if_it_is_taken_at_once(colony: ColonyClient) -> None:
    waiting = poll(colony.add_executor("t"))
    process = colony.submit("f", executortype="t")
    assert waiting.answer is not None
    submitted = next(call for call in colony.sim.calls if call.payload_type == "submitfuncspecmsg")
    assert submitted.body.state == 0
    assert process.state == 1


def test_a_process_wakes_only_those_who_may_have_it(colony: ColonyClient) -> None:
    other_type = poll(colony.add_executor("u"))
    other_name = poll(colony.add_executor("t", "e1"))
    small = poll(colony.add_executor("t", "e2"), availablecpu="100m")
    fitting = poll(colony.add_executor("t", "e3"), availablecpu="1000m")
    process = colony.submit("f", executortype="t", executornames=["e2", "e3"], cpu="500m")
    assert [got(each) for each in (other_type, other_name, small, fitting)] == [None, None, None, process.id]


def test_two_colonies_do_not_wake_each_other(sim: Simulation, colony: ColonyClient) -> None:
    other = ColonyClient.create(sim, "other")
    here, there = poll(colony.add_executor("t")), poll(other.add_executor("t"))
    process = other.submit("f", executortype="t")
    assert (got(here), got(there)) == (None, process.id)


def test_a_location_wakes_who_spells_it_the_same(colony: ColonyClient) -> None:
    near, odd = poll(colony.add_executor("t", location="Hall")), poll(colony.add_executor("t", location="HALL"))
    first = colony.submit("f", executortype="t", locationname="HALL")
    assert (got(near), got(odd)) == (None, first.id)
    second = colony.submit("f", executortype="t", locationname="hall")
    assert got(near) is None
    assert colony.processes()[0].id == second.id


def test_a_poll_ends_when_its_time_is_up(sim: Simulation, colony: ColonyClient) -> None:
    waiting = poll(colony.add_executor("t"), timeout_s=10)
    sim.advance(9.999)
    assert got(waiting) is None
    sim.advance(0.001)
    assert got(waiting) == 404


def test_a_requeued_process_is_offered_to_who_waits(sim: Simulation, colony: ColonyClient) -> None:
    lazy, eager = colony.add_executor("t"), colony.add_executor("t")
    process = colony.submit("f", executortype="t", maxexectime=1)
    assert lazy.assign() is not None
    waiting = poll(eager)
    sim.advance(3)
    assert got(waiting) == process.id


def test_an_executors_removal_wakes_nobody(sim: Simulation, colony: ColonyClient) -> None:
    leaving, staying = colony.add_executor("t"), colony.add_executor("t")
    process = colony.submit("f", executortype="t")
    assert leaving.assign() is not None
    waiting = poll(staying, timeout_s=5)
    colony.remove_executor(leaving)
    sim.advance(5)
    assert got(waiting) == 404
    found = staying.assign()
    assert found is not None
    assert found.id == process.id


def test_a_waiting_poll_that_is_woken_for_one_process_takes_the_one_in_front(colony: ColonyClient) -> None:
    """What became free without a wake-up is found by the next one, and the new process goes to the next poll."""
    leaving = colony.add_executor("t")
    first = colony.submit("f", executortype="t")
    leaving.assign()
    one, two = poll(colony.add_executor("t")), poll(colony.add_executor("t"))
    colony.remove_executor(leaving)
    second = colony.submit("f", executortype="t")
    assert (got(one), got(two)) == (first.id, second.id)


def test_an_abandoned_poll_gets_nothing(sim: Simulation, colony: ColonyClient) -> None:
    gone, waiting = poll(colony.add_executor("t")), poll(colony.add_executor("t"))
    sim.abandon(gone)
    process = colony.submit("f", executortype="t")
    assert got(waiting) == process.id


def test_resuming_serves_in_the_order_of_coming(colony: ColonyClient) -> None:
    colony.pause()
    polls = [poll(colony.add_executor("t")) for _ in range(3)]
    processes = [colony.submit("f", executortype="t") for _ in range(2)]
    assert [got(each) for each in polls] == [None] * 3
    colony.resume()
    assert [got(each) for each in polls] == [processes[0].id, processes[1].id, None]
    third = colony.submit("f", executortype="t")
    assert got(polls[2]) == third.id


def test_how_polls_end_in_a_paused_colony(sim: Simulation, colony: ColonyClient) -> None:
    before = poll(colony.add_executor("t"), timeout_s=10)
    woken = poll(colony.add_executor("u"), timeout_s=10)
    colony.pause()
    during = poll(colony.add_executor("t"), timeout_s=10)
    colony.submit("f", executortype="u")
    sim.advance(10)
    assert (got(before), got(woken), got(during)) == (404, 408, 408)


def test_ten_thousand_polls_cost_a_submit_nothing_more(colony: ColonyClient) -> None:
    """All are alike: one look at the first of them is enough."""
    executor = colony.add_executor("t")
    polls = [poll(executor) for _ in range(10_000)]
    pool = colony.sim.world.queues.pools["c", "t"]
    assert len(pool.waiters.groups) == 1
    process = colony.submit("f", executortype="t")
    assert got(polls[0]) == process.id
    assert sum(each.answer is None for each in polls) == 9_999


# ---------------------------------------------------------------- signals that nobody can use
def test_a_signal_gives_one_who_cannot_take_it_another_try(sim: Simulation, colony: ColonyClient) -> None:
    """What has come to wait without a signal is found then (docs/protocol/b-processes.md 4.4)."""
    first, second = colony.add_executor("t", "e1"), colony.add_executor("t", "e2")
    process = colony.submit("f", executortype="t", executornames=["e1", "e2"])
    second.assign()
    waiting = poll(first)
    colony.remove_executor(second)
    assert got(waiting) is None
    colony.submit("g", executortype="t", executornames=["e3"])
    assert got(waiting) == process.id


def test_a_signal_marks_one_who_cannot_take_it_as_alive(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    poll(executor, availablecpu="100m")
    sim.advance(7)
    colony.submit("f", executortype="t", cpu="200m")
    assert executor.details.last_heard_ns == sim.now_ns


@pytest.mark.parametrize("names", [None, ["e1"], ["e3"]])
def test_a_signal_shows_the_pause_to_one_who_waits(
    sim: Simulation, colony: ColonyClient, names: list[str] | None
) -> None:
    executor = colony.add_executor("t", "e1")
    waiting = poll(executor, 10)
    sim.advance(1)
    colony.pause()
    colony.submit("f", executortype="t", executornames=names)
    assert executor.details.last_heard_ns == sim.now_ns
    sim.advance(9)
    assert got(waiting) == 408


def test_signals_that_nobody_can_use_go_round(sim: Simulation, colony: ColonyClient) -> None:
    """At each of three places somebody waits; what waits without a signal is found when its turn has come."""
    holder = colony.add_executor("t", "e0")
    process = colony.submit("f", executortype="t", executornames=["e0", "e3"])
    assert holder.assign() is not None
    polls = [
        poll(colony.add_executor("t", f"e{n}", location=place)) for n, place in ((1, ""), (2, "Hall"), (3, "Attic"))
    ]
    colony.remove_executor(holder)
    heard = []
    for _ in range(3):
        sim.advance(1)
        heard.append([got(each) for each in polls])
        colony.submit("g", executortype="t", executornames=["nobody"])
    assert heard == [[None, None, None]] * 3
    assert [got(each) for each in polls] == [None, None, process.id]
    times = {executor.name: registration.heard_ns(sim.world, executor) for executor in sim.world.executors.values()}
    assert times["e1"] < times["e2"] < times["e3"] == sim.now_ns


def test_one_who_has_met_the_pause_hears_of_its_end_alone(sim: Simulation, colony: ColonyClient) -> None:
    polls = [poll(colony.add_executor("t", f"e{n}", location=place)) for n, place in ((1, "A"), (2, "B"))]
    colony.pause()
    for _ in range(3):
        sim.advance(1)
        colony.submit("f", executortype="t", executornames=["nobody"])
    times = {executor.name: registration.heard_ns(sim.world, executor) for executor in sim.world.executors.values()}
    assert times["e1"] < times["e2"] < sim.now_ns
    sim.advance(200)
    assert [got(each) for each in polls] == [408, 408]


def test_a_signal_of_another_colony_is_heard(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    poll(executor)
    sim.advance(1)
    ColonyClient.create(sim, "other").submit("f", executortype="t")
    assert executor.details.last_heard_ns == sim.now_ns


def test_a_signal_with_a_location_is_heard_there_or_by_one_without(sim: Simulation, colony: ColonyClient) -> None:
    away, nowhere = colony.add_executor("t", location="yard"), colony.add_executor("t")
    for executor in (away, nowhere):
        poll(executor)
    sim.advance(1)
    colony.submit("f", executortype="t", locationname="hall")
    assert nowhere.details.last_heard_ns == sim.now_ns
    assert away.details.last_heard_ns != sim.now_ns


# ---------------------------------------------------------------- the distributed mode
@pytest.mark.parametrize("spec", [{"executornames": ["*"]}, {"storage": "1Ki"}])
def test_without_exclusive_assignment_stars_and_storage_are_served(spec: dict[str, object]) -> None:
    for exclusive in (True, False):
        colony = ColonyClient.create(Simulation(mode="manual", exclusive_assign=exclusive), "c")
        executor = colony.add_executor("t")
        colony.submit("f", executortype="t", **spec)
        assert (executor.assign() is None) is exclusive
