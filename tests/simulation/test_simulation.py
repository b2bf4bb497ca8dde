"""Time, waiting, snapshots and what is told of them."""

from __future__ import annotations

import hashlib
import inspect
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from colonysim import BadSnapshot, ColonyClient, Mode, ProcessState, Refused, Simulation, Stuck
from colonysim.core.operations.assignment import AssignProcess
from colonysim.faults import Restart, Times
from colonysim.kernel import snapshots
from colonysim.kernel.clock import LAST_NS, Clock
from colonysim.kernel.pending import LOST


def _colony(sim: Simulation) -> ColonyClient:
    return ColonyClient.create(sim, "c")


# ---------------------------------------------------------------- moving time by hand
def test_time_begins_where_it_is_told() -> None:
    assert Simulation().now == datetime(2026, 1, 1, tzinfo=UTC)
    assert Simulation(start="2031-05-06T07:08:09+02:00").now == datetime(2031, 5, 6, 5, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize(("step", "seconds"), [(1.5, 1.5), (timedelta(minutes=2), 120.0), (10**7, 1e7), (0, 0.0)])
def test_advance_by_a_span(step: float | timedelta, seconds: float) -> None:
    sim = Simulation(mode="manual")
    before = sim.now
    sim.advance(step)
    assert (sim.now - before).total_seconds() == seconds


def test_advance_to_a_time() -> None:
    sim = Simulation(mode="manual")
    sim.advance(to="2026-02-01T00:00:00+01:00")
    assert sim.now == datetime(2026, 1, 31, 23, tzinfo=UTC)
    sim.advance(to=datetime(2026, 3, 1, tzinfo=UTC))
    assert sim.now == datetime(2026, 3, 1, tzinfo=UTC)


def test_advance_until_something_is_true() -> None:
    sim = Simulation(mode="manual")
    process = _colony(sim).submit("f", maxwaittime=60)
    sim.advance(until=lambda: not sim.world.processes_in("c", 0))
    assert sim.now == datetime(2026, 1, 1, 0, 1, 1, tzinfo=UTC)
    assert process.state is ProcessState.FAILED


def test_what_is_waited_for_may_be_asked_of_the_server() -> None:
    sim = Simulation(mode="manual")
    process = _colony(sim).submit("f", maxwaittime=60)
    sim.advance(until=lambda: process.state is ProcessState.FAILED)
    assert sim.now == datetime(2026, 1, 1, 0, 1, 1, tzinfo=UTC)


def test_advance_until_something_that_never_comes_is_told() -> None:
    with pytest.raises(Stuck, match="nothing is due, ever"):
        Simulation(mode="manual").advance(until=lambda: False)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({}, "say how far"),
        ({"seconds": -1}, "time does not go back"),
        ({"seconds": 1, "to": "2027-01-01T00:00:00Z"}, "not both"),
        ({"to": "tomorrow"}, "not an RFC 3339 time"),
        ({"to": datetime(2027, 1, 1)}, r"2027-01-01 00:00:00 has no time zone: give it one, such as tzinfo"),
        ({"to": datetime(9999, 12, 31, 1, tzinfo=UTC)}, "too late: the last time to advance to is 9999-12-31"),
        ({"seconds": float("nan")}, "seconds must be finite, got nan"),
        ({"seconds": float("inf")}, "seconds must be finite, got inf"),
        ({"seconds": -1e300}, "time does not go back"),
        ({"seconds": 1e300}, "after the year 9999: give 251,634,988,800 at most"),
        ({"seconds": timedelta.max}, "after the year 9999"),
    ],
)
def test_advance_nowhere(given: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Simulation(mode="manual").advance(**given)  # type: ignore[arg-type]


def test_real_time_is_not_moved_by_hand() -> None:
    with pytest.raises(ValueError, match="the clock is real"):
        Simulation(mode="real").advance(1)


def test_run_until_idle_ends_with_the_last_event() -> None:
    sim = Simulation(mode="manual")
    process = _colony(sim).submit("f", maxwaittime=30)
    sim.run_until_idle()
    assert process.state is ProcessState.FAILED
    assert sim.now == datetime(2026, 1, 1, 0, 0, 31, tzinfo=UTC)


def test_run_until_idle_stops_at_its_limit() -> None:
    sim = Simulation(mode="manual")
    process = _colony(sim).submit("f", maxwaittime=30)
    sim.run_until_idle(limit_s=10)
    assert process.state is ProcessState.WAITING


def test_an_idle_year_has_no_events() -> None:
    sim = Simulation(mode="manual", retention=True)
    colony = _colony(sim)
    colony.add_executor("cli")
    looked: list[int] = []
    sim.advance(timedelta(days=365), until=lambda: bool(looked.append(sim.world.now_ns)))
    assert len(looked) == 1  # asked after each event


# ---------------------------------------------------------------- time that moves while all wait
def test_a_lone_caller_waits_in_no_time() -> None:
    sim = Simulation()
    executor = _colony(sim).add_executor("cli")
    before = sim.now
    assert executor.assign(timeout_s=500) is None
    assert sim.now - before == timedelta(seconds=500)


def test_what_falls_due_meanwhile_happens_at_its_time() -> None:
    sim = Simulation()
    colony = _colony(sim)
    one, other = colony.add_executor("cli"), colony.add_executor("cli")
    colony.submit("f", maxexectime=100)
    one.assign()
    started = sim.now
    again = other.assign(timeout_s=1000)
    assert again is not None
    assert again.retries == 1
    assert timedelta(seconds=100) < sim.now - started <= timedelta(seconds=102)


def test_a_thread_that_has_just_been_started_is_waited_for() -> None:
    sim = Simulation()
    colony = _colony(sim)
    executor = colony.add_executor("cli")
    made: list[str] = []
    thread = threading.Thread(target=lambda: made.append(colony.submit("f").id))
    thread.start()
    got = executor.assign(timeout_s=100)
    thread.join()
    assert got is not None
    assert made == [got.id]
    assert sim.now == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_registered_actor_holds_time_while_it_acts() -> None:
    sim = Simulation()
    executor = _colony(sim).add_executor("cli")
    ended: list[datetime] = []
    with sim.actor("careful"):
        pending = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=5))
        thread = threading.Thread(target=lambda: ended.append(sim.wait(pending) and sim.now))  # type: ignore[func-returns-value]
        thread.start()
        thread.join(timeout=0.3)
        assert ended == []
        assert "careful acts" in sim.why()
    thread.join()
    assert ended == [datetime(2026, 1, 1, 0, 0, 5, tzinfo=UTC)]


def test_two_threads_talk_through_the_simulation() -> None:
    """A loop of an executor and a client that waits for it; all sixty minutes of it at once."""
    sim = Simulation()
    colony = _colony(sim)
    executor = colony.add_executor("cli")

    def work() -> None:
        while (process := executor.assign(timeout_s=1200)) is not None:
            process.close(process.args)

    thread = threading.Thread(target=work)
    thread.start()
    handles = [colony.submit("f", [number]) for number in range(50)]
    thread.join()
    assert [handle.output for handle in handles] == [[number] for number in range(50)]
    assert sim.now >= datetime(2026, 1, 1, 0, 20, tzinfo=UTC)


def test_waiting_by_a_manual_clock_that_nobody_moves_is_told_at_once() -> None:
    sim = Simulation(mode="manual")
    executor = _colony(sim).add_executor("cli")
    with pytest.raises(Stuck, match="time moves only by advance") as stuck:
        executor.assign(timeout_s=5)
    assert "assignprocessmsg" in str(stuck.value)
    assert "PollOver" in str(stuck.value)


def test_waiting_while_another_thread_moves_the_clock() -> None:
    sim = Simulation(mode="manual")
    executor = _colony(sim).add_executor("cli")
    pending = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=5))
    sim.advance(5)
    assert sim.wait(pending).status == 404


def test_whoever_is_woken_on_the_way_may_act_before_time_goes_on() -> None:
    """An executor that polls every ten seconds polls six times in a minute."""
    sim = Simulation(mode="manual")
    executor = _colony(sim).add_executor("cli")
    polled: list[datetime] = []
    stop = threading.Event()

    def loop() -> None:
        while not stop.is_set():
            polled.append(sim.now)
            executor.assign(timeout_s=10)

    thread = threading.Thread(target=loop)
    with sim.actor("main"):  # or the thread would be told that all wait and nobody moves the clock
        thread.start()
        while not sim.world.queues.polls:
            thread.join(0.001)
        sim.kernel.actors.registered["main"].waits_for = "its turn"
        sim.advance(60)
        stop.set()
        sim.advance(10)
    thread.join()
    assert [(time - polled[0]).total_seconds() for time in polled[:7]] == [0, 10, 20, 30, 40, 50, 60]


# ---------------------------------------------------------------- real and scaled time
def test_scaled_time_passes_by_itself() -> None:
    sim = Simulation(mode="scaled", rate=100_000)
    executor = _colony(sim).add_executor("cli")
    before = sim.now
    assert executor.assign(timeout_s=3600) is None
    assert sim.now - before >= timedelta(hours=1)


def test_changing_the_mode_goes_on_from_now() -> None:
    sim = Simulation(mode="manual")
    sim.advance(100)
    sim.set_clock(Mode.AUTO)
    assert sim.now == datetime(2026, 1, 1, 0, 1, 40, tzinfo=UTC)
    with pytest.raises(ValueError, match="rate must be greater than 0"):
        sim.set_clock("scaled", rate=-1)


def test_the_rate_stays_within_reason() -> None:
    for rate in (float("nan"), float("inf"), 1e-320):
        with pytest.raises(ValueError, match=r"from 1e-06 to 1e\+09"):
            Simulation(mode="scaled", rate=rate)


def test_a_fast_clock_stops_where_times_end() -> None:
    real_ns = 0
    clock = Clock(Mode.SCALED, 1e9, 0, lambda: real_ns)
    real_ns = 10**15
    assert clock.virtual_now() == LAST_NS


def test_nothing_is_idle_in_the_past_or_for_ever() -> None:
    sim = Simulation(mode="manual")
    with pytest.raises(ValueError, match="time does not go back"):
        sim.run_until_idle(-1)
    with pytest.raises(ValueError, match="seconds must be finite, got inf"):
        sim.run_until_idle(float("inf"))


# ---------------------------------------------------------------- state
def test_a_fork_goes_its_own_way() -> None:
    sim = Simulation(mode="manual")
    colony = _colony(sim)
    process = colony.submit("f")
    fork = sim.fork()
    process.cancel()
    assert fork.world.processes[process.id].state == ProcessState.WAITING
    fork.advance(100)
    assert sim.now == datetime(2026, 1, 1, tzinfo=UTC)


def test_a_fork_draws_the_same_ids() -> None:
    sim = Simulation(mode="manual")
    colony = _colony(sim)
    colony.submit("f")
    fork = sim.fork()
    other = ColonyClient(fork, colony.identity, "c", type(colony.user)(fork, colony.user.identity, "c", "user"))
    assert colony.submit("g").id == other.submit("g").id


def test_a_snapshot_brings_everything_back() -> None:
    sim = Simulation(mode="manual")
    colony = ColonyClient.create(sim, "colony")  # a text of one character may become another object of the same value
    executor = colony.add_executor("cli")
    first, second = colony.submit("f", maxexectime=5), colony.submit("g")
    running = executor.assign()
    assert running is not None
    snapshot = sim.snapshot()
    running.close(["x"])
    second.cancel()
    sim.advance(100)
    sim.restore(snapshot)
    assert (first.state, second.state) == (ProcessState.RUNNING, ProcessState.WAITING)
    assert sim.snapshot() == snapshot
    sim.advance(10)
    assert (first.state, first.retries) == (ProcessState.WAITING, 1)


def test_whoever_waits_loses_the_connection_when_the_state_is_replaced() -> None:
    sim = Simulation(mode="manual")
    executor = _colony(sim).add_executor("cli")
    pending = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=5))
    snapshot = sim.snapshot()
    sim.restore(snapshot)
    assert pending.answer is not None
    assert pending.answer.status == LOST
    assert not sim.world.queues.polls


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (lambda frozen: b"", "not a colonysim state"),
        (lambda frozen: frozen[:-1] + bytes([frozen[-1] ^ 1]), "damaged"),
        (lambda frozen: frozen[:100], "damaged"),
    ],
)
def test_a_bad_snapshot_is_refused_and_changes_nothing(spoil: object, text: str) -> None:
    sim = Simulation(mode="manual")
    _colony(sim)
    before = sim.snapshot()
    with pytest.raises(BadSnapshot, match=text):
        sim.restore(spoil(before))  # type: ignore[operator]
    assert sim.snapshot() == before


def test_a_snapshot_cannot_run_code(tmp_path: Path) -> None:
    """Not the way in which it once could, either: by a dotted name in a pickle of the old format."""
    proof = tmp_path / "proof"
    module, name = "colonysim.core.golang.gotypes", "re.copyreg.__builtins__.get"
    body = b"".join(
        (
            b"\x80\x05" + b"\x8c" + bytes([len(module)]) + module.encode(),
            b"\x8c" + bytes([len(name)]) + name.encode() + b"\x93",  # the attribute of that module
            b"\x8c\x04exec\x85R",  # called with the name of what runs code
            b"\x8c" + bytes([len(f"open({str(proof)!r}, 'w')")]) + f"open({str(proof)!r}, 'w')".encode() + b"\x85R.",
        )
    )
    for magic in (b"colonysim state 1\n", snapshots.MAGIC):
        with pytest.raises(BadSnapshot):
            snapshots.load(magic + hashlib.sha256(body).digest() + body)
    assert not proof.exists()


def test_reset_goes_back_to_the_start() -> None:
    sim = Simulation(mode="manual", seed=5)
    _colony(sim)
    sim.advance(10)
    sim.reset()
    assert sim.world.colonies == {}
    assert sim.now == datetime(2026, 1, 1, tzinfo=UTC)
    _colony(sim)
    sim.kernel.mark_initial()
    sim.advance(10)
    sim.reset()
    assert list(sim.world.colonies) == ["c"]


# ---------------------------------------------------------------- what is told
def test_calls_tell_what_was_asked_and_answered() -> None:
    sim = Simulation(mode="manual")
    colony = _colony(sim)
    process = colony.submit("f")
    with pytest.raises(Refused):
        colony.ask(type(process.caller.sim.calls[-1].message)(spec=None))  # type: ignore[operator]
    submit, refused = list(sim.calls)[-2:]
    assert (submit.payload_type, submit.caller_id, submit.status) == ("submitfuncspecmsg", colony.user.id, 200)
    assert (refused.status, refused.body.message) == (
        400,
        "Failed to submit process spec, msg.FunctionSpec is nil",
    )


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"colour": "red"}, "there is no setting 'colour'; the settings are seed"),
        ({"seed": "x"}, "invalid seed='x': expected int, got str"),
        ({"timezone": "Atlantis"}, "invalid timezone='Atlantis': unknown time zone"),
        ({"start": "soon"}, "not an RFC 3339 time"),
        ({"server_key": "ff"}, "64 hex digits"),
        ({"cleanup_interval_s": 0}, "cleanup_interval_s"),
        ({"mode": "slow"}, "'slow' is not a valid Mode"),
    ],
)
def test_bad_settings_are_told_with_the_fix(settings: dict[str, object], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Simulation(**settings)  # type: ignore[arg-type]


def test_why_tells_what_is_planned_outside_of_the_server() -> None:
    sim = Simulation(mode="manual")
    sim.faults.add(Restart(times=Times(at_s=60)))
    assert "due in 60 s: fault restart" in sim.why()


def test_looking_at_why_changes_nothing() -> None:
    sim = Simulation(mode="manual")
    process = _colony(sim).submit("f", maxwaittime=60)
    process.cancel()
    before = sim.snapshot()
    assert "nothing is due, ever" in sim.why()
    assert sim.snapshot() == before


# ---------------------------------------------------------------- what users see of it
def test_a_simulation_shows_few_names_and_explains_each(sim: Simulation) -> None:
    """Whatever else there is to do with a simulation is done with its parts."""
    names = [name for name in {*dir(Simulation), *vars(sim)} if not name.startswith("_")]
    assert len(names) <= 30, sorted(names)
    for name in names:
        if name in vars(sim):
            assert f"`{name}`" in (Simulation.__doc__ or ""), f"the docstring of Simulation does not explain {name}"
        else:
            assert getattr(Simulation, name).__doc__, f"Simulation.{name} has no docstring"


def test_each_parameter_of_a_simulations_methods_is_explained() -> None:
    methods = {name: one for name, one in inspect.getmembers(Simulation, inspect.isfunction) if name[0] != "_"}
    for name, method in {"": Simulation, **methods}.items():
        for parameter in inspect.signature(method).parameters:
            assert parameter in ("self", "args") or f"`{parameter}`" in (method.__doc__ or ""), (name, parameter)


def test_the_latest_calls_are_a_slice(sim: Simulation, colony: ColonyClient) -> None:
    for name in "fgh":
        colony.submit(name)
    names = [call.message.spec.funcname for call in sim.calls[-2:]]  # type: ignore[union-attr]
    assert names == ["g", "h"]
    assert sim.calls[-1:] == [sim.calls[-1]]
    assert sim.calls[len(sim.calls) :] == []


def test_processes_are_listed_by_state_or_all_of_them(colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")
    closed, failed, running, waiting = (colony.submit("f") for _ in range(4))
    for _ in range(3):
        assigned = executor.assign()
        assert assigned is not None
        if assigned.id == closed.id:
            assigned.close()
        elif assigned.id == failed.id:
            assigned.fail("no")
    cancelled = colony.submit("f")
    cancelled.cancel()
    assert [process.id for process in colony.processes()] == [waiting.id]
    assert [process.id for process in colony.processes(ProcessState.RUNNING)] == [running.id]
    everything = [waiting.id, running.id, closed.id, failed.id, cancelled.id]
    assert [process.id for process in colony.processes(None)] == everything
    assert [process.id for process in colony.user.processes(state=None)] == everything
