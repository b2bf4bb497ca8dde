"""The tables of the control API: what they show, how they are filtered, sorted and paged, and what that costs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation
from colonysim.core.records import Process
from colonysim.evidence import tables
from colonysim.evidence.tables import TABLES, Query, TablePage, find
from colonysim.http.http1 import HttpRequest
from colonysim.simulation import stock
from colonysim.web.control import Control


def ask(sim: Simulation, path: str) -> Any:
    name, _, query = path.partition("?")
    request = HttpRequest("GET", f"/colonysim/{name}", query, {"host": "localhost"}, remote="127.0.0.1")
    status, body, _ = Control(sim).answer(request)
    assert status == 200, body
    return json.loads(body)


def page_of(sim: Simulation, name: str, query: Query) -> TablePage:
    with sim.kernel.locked():
        return find(sim.kernel, name, query)


@pytest.fixture
def busy(sim: Simulation, colony: ColonyClient) -> Simulation:
    """Five processes: two have ended, one runs, and of the two that wait one is of another type."""
    executor = colony.add_executor("cli", "ann")
    for number in range(4):
        colony.submit(f"f{number % 2}", executortype="cli")
        sim.advance(1)
    colony.submit("g", executortype="gpu", priority=3)
    for end in (lambda process: process.close([]), lambda process: process.fail("no"), lambda process: None):
        process = executor.assign()
        assert process is not None
        end(process)
    return sim


def test_the_latest_process_comes_first(busy: Simulation) -> None:
    page = ask(busy, "tables/processes")
    assert page["total"] == 5
    assert [row["function"] for row in page["rows"]] == ["g", "f1", "f0", "f1", "f0"]
    assert [row["state"] for row in page["rows"]] == ["waiting", "waiting", "running", "failed", "success"]
    assert page["rows"][2]["executor"] == "ann"


@pytest.mark.parametrize(
    ("query", "functions"),
    [
        ("state=waiting", ["g", "f1"]),
        ("state=success", ["f0"]),
        ("state=nosuch", []),
        ("colony=dev&state=waiting", ["g", "f1"]),
        ("colony=other", []),
        ("executor=ann", ["f0", "f1", "f0"]),
        ("executor_type=gpu", ["g"]),
        ("function=f1", ["f1", "f1"]),
        ("function=f1&state=failed", ["f1"]),
        ("search=F1", ["f1", "f1"]),
        ("search=an&state=running", ["f0"]),
        ("search=nothing", []),
        ("sort=function", ["f0", "f0", "f1", "f1", "g"]),
        ("sort=function&descending=true", ["g", "f1", "f1", "f0", "f0"]),
        ("descending=true", ["f0", "f1", "f0", "f1", "g"]),
        ("limit=2", ["g", "f1"]),
        ("limit=2&offset=3", ["f1", "f0"]),
        ("limit=2&offset=1&sort=function", ["f0", "f1"]),
        ("limit=1&offset=1&function=f1", ["f1"]),
        ("offset=100", []),
        ("limit=0", []),
    ],
)
def test_queries_choose_rows_and_tell_how_many_there_are_on_all_pages(
    busy: Simulation, query: str, functions: list[str]
) -> None:
    page = ask(busy, f"tables/processes?{query}")
    assert [row["function"] for row in page["rows"]] == functions
    without_page = "&".join(part for part in query.split("&") if not part.startswith(("limit", "offset")))
    assert page["total"] == len(ask(busy, f"tables/processes?{without_page}")["rows"])


QUERIES = st.builds(
    Query,
    offset=st.integers(0, 30),
    limit=st.integers(0, 30),
    search=st.sampled_from(["", "f", "F1", "gpu", "zz"]),
    sort=st.sampled_from(["", "state", "function", "submitted", "priority"]),
    descending=st.booleans(),
    fields=st.dictionaries(
        st.sampled_from(["state", "function", "colony"]),
        st.sampled_from(["waiting", "failed", "f1", "dev"]),
        max_size=2,
    ),
)


@given(QUERIES, st.lists(st.tuples(st.sampled_from("fg"), st.integers(0, 3), st.booleans()), max_size=20))
def test_pages_are_parts_of_the_whole_filtered_and_sorted_table(
    query: Query, made: list[tuple[str, int, bool]]
) -> None:
    sim = Simulation(mode="manual", invariants=False)
    stock.install(sim)
    colony = ColonyClient.stock(sim)
    for name, number, cancelled in made:
        process = colony.submit(f"{name}{number}", executortype=name, priority=number)
        if cancelled:
            process.cancel()
    table = TABLES["processes"]
    columns, world = table.columns, sim.world
    expected = [
        process
        for process in reversed(world.processes.values())
        if all(columns[name](world, process) == value for name, value in query.fields.items())
        and (
            any(query.search.lower() in columns[name](world, process).lower() for name in table.searched[1:])
            or process.process_id.startswith(query.search)
        )
    ]
    if query.sort:
        expected.sort(key=lambda process: columns[query.sort](world, process), reverse=query.descending)
    elif query.descending:
        expected.reverse()
    page = page_of(sim, "processes", query)
    assert page.total == len(expected)
    wanted = expected[query.offset : query.offset + query.limit]
    assert [row["id"] for row in page.rows] == [process.process_id for process in wanted]


@pytest.mark.parametrize("query", ["", "state=waiting", "search=f", "sort=function", "function=f&offset=500"])
def test_rows_are_made_only_for_the_page(
    sim: Simulation, colony: ColonyClient, query: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(1000):
        colony.submit("f")
    made: list[str] = []
    row = tables.process_row

    def counted(world: Any, process: Process) -> dict[str, Any]:
        made.append(process.process_id)
        return row(world, process)

    monkeypatch.setitem(TABLES, "processes", TABLES["processes"]._replace(row=counted))
    page = ask(sim, f"tables/processes?limit=25&{query}".rstrip("&"))
    assert (page["total"], len(page["rows"]), len(made)) == (1000, 25, 25)


def test_an_id_is_found_by_its_beginning_alone(busy: Simulation) -> None:
    process_id = list(busy.world.processes)[2]
    assert ask(busy, f"tables/processes?search={process_id[:10]}")["total"] == 1
    assert ask(busy, f"tables/processes?search={process_id[2:12]}")["total"] == 0


def test_no_more_rows_than_a_page_may_have_are_given(sim: Simulation, colony: ColonyClient) -> None:
    for _ in range(tables.MOST_ROWS + 1):
        colony.submit("f")
    page = ask(sim, "tables/processes?limit=1000000")
    assert (page["total"], len(page["rows"])) == (tables.MOST_ROWS + 1, tables.MOST_ROWS)


def test_a_process_that_is_tried_again_has_no_times_of_the_attempt_before(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("cli")
    colony.submit("f", executortype="cli", maxexectime=10, maxretries=3)
    executor.assign()
    sim.advance(15)

    def shown() -> tuple[Any, ...]:
        (row,) = ask(sim, "tables/processes")["rows"]
        return row["state"], row["attempt"], row["started_ns"], row["ended_ns"]

    assert shown() == ("waiting", 2, None, None)
    process = executor.assign()
    assert process is not None
    started_ns = sim.now_ns
    assert shown() == ("running", 2, started_ns, None)
    sim.advance(5)
    process.close([])
    assert shown() == ("success", 2, started_ns, sim.now_ns)


def test_workflows_are_counted_by_the_states_of_their_processes(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli")
    graph = colony.submit_workflow({"a": {"executortype": "cli"}, "b": {"executortype": "cli", "after": ["a"]}})
    assigned = executor.assign()
    assert assigned is not None
    (row,) = ask(sim, "tables/workflows")["rows"]
    assert (row["id"], row["state"], row["processes"]) == (graph.id, "running", 2)
    assert (row["counts"]["running"], row["counts"]["waiting"]) == (1, 1)
    members = ask(sim, f"tables/processes?workflow={graph.id}")
    assert (members["total"], [one["waits_for_parents"] for one in members["rows"]]) == (2, [True, False])
    assert ask(sim, "tables/processes?workflow=nosuch")["total"] == 0


def test_executors_show_what_they_hold_and_when_they_were_heard_of(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("cli", "ann", location="attic")
    colony.add_executor("cli", "bob", approve=False)
    process = colony.submit("f", executortype="cli")
    sim.advance(5)
    executor.assign()
    bob, ann = ask(sim, "tables/executors")["rows"]
    assert (bob["name"], bob["state"], bob["held"]) == ("bob", "pending", 0)
    assert (ann["state"], ann["location"], ann["holds"]) == ("approved", "attic", [{"id": process.id, "function": "f"}])
    assert ann["heard_ns"] == sim.now_ns
    assert [row["name"] for row in ask(sim, "tables/executors?state=approved")["rows"]] == ["ann"]
    assert [row["name"] for row in ask(sim, "tables/executors?sort=held&descending=true")["rows"]] == ["ann", "bob"]


def test_calls_are_found_by_type_caller_and_what_became_of_them(busy: Simulation) -> None:
    types = [row["type"] for row in ask(busy, "tables/calls?caller=ann&answer=answered")["rows"]]
    assert types == ["assignprocessmsg", "closefailedmsg", "assignprocessmsg", "closesuccessfulmsg", "assignprocessmsg"]
    assert ask(busy, "tables/calls?answer=lost")["total"] == 0
    assert ask(busy, "tables/calls?type=closefailedmsg")["total"] == 1
