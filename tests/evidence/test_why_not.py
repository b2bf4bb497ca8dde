"""Why a process is not assigned, and what its life was: in words that agree with what happens."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonysim import ColonyClient, ExecutorClient, ProcessHandle, ProcessState, Refused, Simulation
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.executors import RejectExecutor


def _park(executor: ExecutorClient, cpu: str = "", mem: str = "") -> None:
    message = AssignProcess(colonyname="c", timeout=1000, availablecpu=cpu, availablemem=mem)
    assert executor.sim.begin(executor.id, message).answer is None


def _only(sim: Simulation, process: ProcessHandle) -> tuple[str, str]:
    """Kind and text of the one reason there is, that nobody asks apart."""
    found = sim.why_not(process.id)
    ((kind, text),) = [(r.kind, r.text) for r in found.reasons if r.kind != "nobody asks"]
    return kind, text


# ---------------------------------------------------------------- one reason each
def test_no_such_process(sim: Simulation) -> None:
    assert sim.why_not("f" * 64).kinds == ["unknown"]


def test_a_process_that_does_not_wait(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t")
    assigned = executor.assign()
    sim.advance(5)
    assert _only(sim, process) == ("state", "it does not wait: it is RUNNING by e1 since 2026-01-01 00:00:00, for 5 s")
    assert assigned is not None
    assigned.close()
    assert "SUCCESS by e1 since 2026-01-01 00:00:05" in _only(sim, process)[1]


def test_no_executor_of_the_type(sim: Simulation, colony: ColonyClient) -> None:
    process = colony.submit("f", executortype="t")
    assert _only(sim, process) == (
        "no executor",
        "no executor of type 't' is registered; the colony has no executors",
    )
    colony.add_executor("other")
    assert _only(sim, process)[1].endswith("the types are other")


def test_none_is_approved(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1", approve=False)
    rejected = colony.add_executor("t", "e2")
    colony.ask(RejectExecutor(colonyname="c", executorname="e2"))
    gone = colony.add_executor("t", "e3")
    colony.remove_executor(gone)
    assert rejected.name == "e2"
    process = colony.submit("f", executortype="t")
    text = "no executor of type 't' is approved: e1 (pending), e2 (rejected), e3 (unregistered)"
    assert _only(sim, process) == ("not approved", text)


def test_names(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t", executornames=["e8", "e9"])
    assert _only(sim, process) == ("names", "no approved executor of its type is named e8 or e9; they are named e1")


def test_location(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1", location="cellar")
    process = colony.submit("f", executortype="t", locationname="Attic")
    text = "no approved executor of its type is at 'Attic'; they are at 'cellar'"
    assert _only(sim, process) == ("location", text)


def test_conditions_that_nobody_meets_together(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1", location="attic")
    colony.add_executor("t", "e2")
    process = colony.submit("f", executortype="t", locationname="attic", executornames=["e2"])
    kind, text = _only(sim, process)
    assert kind == "conditions"
    assert "e1 is not one of e2, e2 is at '', not at 'attic'" in text


@pytest.mark.parametrize(
    ("spec", "amounts", "text"),
    [
        ({"cpu": "500m"}, {"cpu": "100m"}, "it needs 500m of CPU; those that ask are e1 with 100m"),
        ({"mem": "1Gi"}, {"mem": "1Mi"}, "it needs 1 GiB of memory; those that ask are e1 with 1 MiB"),
    ],
)
def test_who_asks_has_too_little(
    sim: Simulation, colony: ColonyClient, spec: dict[str, Any], amounts: dict[str, str], text: str
) -> None:
    executor = colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t", **spec)
    _park(executor, **amounts)
    assert _only(sim, process) == (next(iter(spec)).replace("mem", "memory"), text)
    assert sim.why_not(process.id).would_get == ["e1"]


def test_a_paused_colony(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t")
    colony.pause()
    assert _only(sim, process) == ("paused", "assignments of colony 'c' are paused")
    assert sim.why_not(process.id).would_get == []


def test_parents(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1")
    graph = colony.submit_workflow(
        {
            "x": {"executortype": "t"},
            "y": {"executortype": "t"},
            "z": {"executortype": "t", "after": ["x", "y"]},
        }
    )
    nodes = graph.processes
    kind, text = _only(sim, nodes["z"])
    assert kind == "parents"
    assert text == f"it waits for its parents: x {nodes['x'].id[:8]} (WAITING), y {nodes['y'].id[:8]} (WAITING)"
    assert sim.why_not(nodes["x"].id).kinds == ["nobody asks"]


@pytest.mark.parametrize("spec", [{"storage": "1Gi"}, {"nodes": 128}])
def test_what_is_never_given_out(sim: Simulation, colony: ColonyClient, spec: dict[str, Any]) -> None:
    colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t", **spec)
    assert _only(sim, process)[0] == "never"


def test_others_in_front(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1")
    first = colony.submit("first", executortype="t")
    process = colony.submit("f", executortype="t")
    colony.submit("urgent", executortype="t", priority=5)
    colony.submit("later", executortype="t")
    reason = next(r for r in sim.why_not(process.id).reasons if r.kind == "behind")
    assert reason.text.startswith("2 processes in front of it, 1 with a higher priority, first urgent ")
    assert reason.about["in_front"] == 2
    assert reason.about["first"][1] == first.id


def test_nobody_asks(sim: Simulation, colony: ColonyClient) -> None:
    colony.add_executor("t", "e1")
    process = colony.submit("f", executortype="t")
    found = sim.why_not(process.id)
    assert (found.kinds, found.would_get) == (["nobody asks"], ["e1"])
    assert "executors that get it if they ask: e1" in str(found)


def test_a_call_that_was_not_woken(sim: Simulation, colony: ColonyClient) -> None:
    """The reference wakes by the exact spelling of a location, and assigns by any."""
    executor = colony.add_executor("t", "e1", location="hall")
    _park(executor)
    process = colony.submit("f", executortype="t", locationname="HALL")
    kind, text = _only(sim, process)
    assert (kind, "e1 waits for work, and has not been woken" in text) == ("not woken", True)


# ---------------------------------------------------------------- agreeing with what happens
EXECUTORS = st.lists(
    st.tuples(st.sampled_from(["a", "b"]), st.sampled_from(["", "hall", "Cellar"]), st.booleans()), max_size=4
)
SPECS = st.lists(
    st.fixed_dictionaries(
        {"executortype": st.sampled_from(["a", "a", "b", "nowhere"])},
        optional={
            "priority": st.integers(-1, 2),
            "executornames": st.sampled_from([["e0"], ["e1", "e2"], ["nobody"], ["*"]]),
            "locationname": st.sampled_from(["hall", "HALL", "cellar", "nowhere"]),
            "cpu": st.sampled_from(["100m", "2000m"]),
            "mem": st.sampled_from(["1Gi"]),
            "storage": st.sampled_from(["", "1Gi"]),
            "nodes": st.sampled_from([1, 128]),
        },
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None)
@given(EXECUTORS, SPECS, st.booleans(), st.booleans(), st.integers(0, 2), st.booleans())
def test_whoever_would_get_it_gets_it_and_nobody_else_does(
    executors: list[tuple[str, str, bool]],
    specs: list[dict[str, Any]],
    chained: bool,
    paused: bool,
    taken: int,
    exclusive: bool,
) -> None:
    """For each waiting process and each executor: it is given the process by asking if, and only if, it is said so."""
    sim = Simulation(mode="manual", exclusive_assign=exclusive)
    colony = ColonyClient.create(sim, "c")
    clients = [
        colony.add_executor(kind, f"e{number}", approve=approved, location=place)
        for number, (kind, place, approved) in enumerate(executors)
    ]
    for spec in specs:
        colony.submit("f", **spec)
    if chained:
        nodes = {f"n{i}": spec | {"after": [f"n{i - 1}"] if i else []} for i, spec in enumerate(specs)}
        colony.submit_workflow(nodes)
    for client in clients[:taken]:
        try:
            client.assign()
        except Refused:
            continue
    if paused:
        colony.pause()
    said = {process_id: sim.why_not(process_id) for process_id in sim.world.processes_in("c", ProcessState.WAITING)}
    frozen = sim.snapshot()
    for client in clients:
        sim.restore(frozen)
        try:
            got = client.assign()
        except Refused:
            got = None
        for process_id, found in said.items():
            assert (got is not None and got.id == process_id) is (client.name in found.would_get)
    for found in said.values():
        assert found.reasons != []
        blocking = [kind for kind in found.kinds if kind not in ("nobody asks", "cpu", "memory", "not woken")]
        assert bool(blocking) is (found.would_get == [])


# ---------------------------------------------------------------- stories
def test_the_story_of_a_process(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t", "e1")
    process = colony.submit("f", [1], executortype="t", maxexectime=2, maxretries=3, priority=1)
    executor.assign()
    sim.advance(4)
    again = executor.assign()
    assert again is not None
    again.log("half way")
    sim.advance(1)
    again.close(["done"])
    lines = [line.strip().split("  ", 1) for line in sim.story(process.id).splitlines()]
    assert [text for _, text in lines] == [
        "NEW → WAITING  submit by user: f for 't', priority 1, may run 2 s",
        "WAITING → RUNNING  assign by e1",
        "RUNNING → WAITING  timeout after 2 s, retry 1 of 3, taken from e1",
        "WAITING → RUNNING  assign by e1",
        "log of e1: half way",
        "RUNNING → SUCCESS  close by e1",
        'output: ["done"]',
    ]
    assert [time for time, _ in lines] == sorted(time for time, _ in lines)


@pytest.mark.parametrize(
    ("end", "text"),
    [
        ("cancel", "WAITING → CANCELLED  cancel"),
        ("remove", "WAITING → REMOVED  remove"),
        ("wait", "WAITING → FAILED  waited too long"),
    ],
)
def test_the_end_of_a_story(sim: Simulation, colony: ColonyClient, end: str, text: str) -> None:
    process = colony.submit("f", executortype="t", maxwaittime=2)
    sim.advance(10) if end == "wait" else getattr(process, end)()
    assert text in sim.story(process.id)
    if end == "wait":
        assert 'errors: ["Maximum waiting time limit exceeded"]' in sim.story(process.id)


def test_there_is_no_story_of_what_never_was(sim: Simulation) -> None:
    assert "nothing is known of it" in sim.story("f" * 64)


def test_without_books_there_are_no_stories() -> None:
    sim = Simulation(invariants=False)
    process = ColonyClient.create(sim, "c").submit("f")
    assert "invariants=True" in sim.story(process.id)
    assert sim.why_not(process.id).kinds == ["no executor"]
