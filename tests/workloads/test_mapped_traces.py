"""Traces in the columns of others, with priorities, deadlines and users; and SWF whose preceding jobs count."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from colonysim.core.values import BadValue
from colonysim.scenarios.result import Result
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Scenario
from colonysim.traces import BadTrace


def run_of(trace: dict[str, Any], folder: Path, executors: int = 1, until_s: float | None = 10_000, **more: Any) -> Run:
    return Run(
        Scenario(
            executors=({"name": "e", "count": executors, "service": {"kind": "process"}},),  # type: ignore[arg-type]
            workload=({"name": "w", "trace": trace, "until_s": until_s, **more},),  # type: ignore[arg-type]
            folder=str(folder),
        )
    )


def result_of(run: Run) -> Result:
    result = run.execute()
    assert result.ok, result.failures
    return result


# ---------------------------------------------------------------- columns
def test_columns_by_name_in_units_with_priority_deadline_and_user(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "uid,time,duration,prio,due,app,more\n"
        "ann,1700000000000,2000,3,1700000030000,render,x\n"
        "bob,1700000004000,500,-1,,,y\n"
    )
    milli = {"unit": "ms"}
    columns = {
        "submit_s": {"column": "time", **milli}, "run_s": {"column": "duration", **milli}, "user": "uid",
        "priority": "prio", "deadline_s": {"column": "due", **milli}, "funcname": "app",
    }  # fmt: skip
    run = run_of({"file": "t.csv", "columns": columns}, tmp_path, users=2)
    result = result_of(run)
    first, second = run.sim.world.processes.values()
    assert (first.spec.funcname, first.spec.priority, first.spec.maxwaittime) == ("render", 3, 30)
    assert (second.spec.funcname, second.spec.priority, second.spec.maxwaittime) == ("run", -1, -1)
    assert (first.initiator_name, second.initiator_name) == ("w-1", "w-2")
    assert [(p.submitted_s, p.running_s) for p in result.processes] == [(0, 2), (4, 0.5)]


def test_a_table_like_alibabas_has_numbered_columns_and_ends(tmp_path: Path) -> None:
    """task_name,instance_num,job_name,task_type,status,start_time,end_time,plan_cpu,plan_mem; without a header."""
    (tmp_path / "batch_task.csv").write_text(
        "M1,1,j_1,1,Terminated,86400,86410,100,0.2\nR2_1,1,j_1,1,Terminated,86410,86415,100,0.2\n"
        "M1,1,j_2,1,Running,86420,,100,0.2\nM1,2,j_3,1,Failed,86430,86400,100,0.2\n"
    )
    columns = {"submit_s": 6, "run_s": {"column": 7, "minus": 6}, "user": 3, "funcname": 1}
    result = result_of(run_of({"file": "batch_task.csv", "columns": columns}, tmp_path))
    assert [(p.function, p.submitted_s, p.running_s) for p in result.processes] == [("M1", 0, 10), ("R2_1", 10, 5)]
    assert "1 of 4 rows were skipped: they have no time of submission or no run time" in str(result.notes)
    assert "1 of 4 rows were skipped: their run time is below zero" in str(result.notes)


def test_a_table_like_googles_is_in_microseconds(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("600000000,630000000,7,2\n605500000,606000000,8,9\n")
    micro = {"unit": "us"}
    columns = {
        "submit_s": {"column": 1, **micro},
        "run_s": {"column": 2, "minus": 1, **micro},
        "user": 3,
        "priority": 4,
    }
    run = run_of({"file": "jobs.csv", "columns": columns}, tmp_path)
    assert [(p.submitted_s, p.running_s) for p in result_of(run).processes] == [(0, 30), (5.5, 0.5)]
    assert [process.spec.priority for process in run.sim.world.processes.values()] == [2, 9]


def test_dates_are_read_with_and_without_a_zone(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("at,for\n2026-03-01T12:00:00+01:00,1\n2026-03-01 11:01:00,1\n")
    columns = {"submit_s": {"column": "at", "unit": "date"}, "run_s": {"column": "for", "unit": "min"}}
    result = result_of(run_of({"file": "t.csv", "columns": columns}, tmp_path))
    assert [(p.submitted_s, p.running_s) for p in result.processes] == [(0, 60), (60, 60)]


@pytest.mark.parametrize(
    ("columns", "row", "words"),
    [
        (
            {"submit_s": "when", "run_s": "b"},
            "1,2,3",
            r"t.csv:1: there is no column 'when'; the first line has a, b, c",
        ),
        ({"submit_s": "a", "run_s": 2}, "1,2,3", "columns are either all named or all numbered"),
        ({"submit_s": 1, "run_s": 9}, "1,2,3", r"t.csv:\d: it has 3 columns, too few for the map"),
        (
            {"submit_s": "a", "run_s": "b"},
            "x,2,3",
            r"t.csv:2: submit_s is 'x', which is not a number; correct `columns`",
        ),
        ({"submit_s": {"column": "a", "unit": "date"}, "run_s": "b"}, "x,2,3", "submit_s is 'x', which is not a date"),
        ({"submit_s": "a", "run_s": "b", "deadline_s": "c"}, "5,2,3", "deadline_s is 3, which is before submit_s"),
        ({"submit_s": "a", "run_s": "b", "priority": "c"}, "5,2,0.5", "priority is 0.5, and must be a whole number"),
        ({"submit_s": "a"}, "1,2,3", "run_s is missing"),
        (
            {"submit_s": "a", "run_s": "b", "luck": "c"},
            "1,2,3",
            "there is no field 'luck'; the fields are submit_s, run_s",
        ),
        ({"submit_s": {"column": "a", "unit": "year"}, "run_s": "b"}, "1,2,3", "unit"),
    ],
)
def test_a_wrong_map_is_told_with_the_place(columns: Any, row: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(f"a,b,c\n{row}\n")
    with pytest.raises((BadTrace, BadValue), match=words):
        run_of({"file": "t.csv", "columns": columns}, tmp_path).execute()


def test_a_map_for_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="format 'swf' has columns of its own"):
        run_of({"file": "t.swf", "format": "swf", "columns": {"submit_s": 1, "run_s": 2}}, tmp_path)


# ---------------------------------------------------------------- preceding jobs, think times and statuses
def swf(*rows: tuple[int, float, int, int, float]) -> str:
    """SWF of jobs: submit time, run time, status, preceding job, think time."""
    return "".join(
        f"{number} {submit_s} -1 {run_s} 1 -1 -1 1 -1 -1 {status} 1 1 1 1 -1 {before} {think_s}\n"
        for number, (submit_s, run_s, status, before, think_s) in enumerate(rows, 1)
    )


CHAIN = swf((0, 100, 1, -1, -1), (5, 10, 1, 1, 30), (6, 1, 1, -1, -1), (7, 1, 1, 2, -1), (8, 1, 1, 77, 5))


def test_a_job_comes_its_think_time_after_its_preceding_job_has_ended(tmp_path: Path) -> None:
    (tmp_path / "t.swf").write_text(CHAIN)
    result = result_of(run_of({"file": "t.swf", "dependencies": True}, tmp_path, executors=5))
    assert sorted((p.submitted_s, p.running_s) for p in result.processes) == [
        (0, 100), (6, 1), (8, 1), (130, 10), (140, 1),
    ]  # fmt: skip
    assert "2 of 5 jobs of w waited for the end of their preceding job" in result.notes
    assert not any("has no effect" in note for note in result.notes)


def test_without_being_asked_they_have_no_effect_and_a_note_says_so(tmp_path: Path) -> None:
    (tmp_path / "t.swf").write_text(CHAIN)
    result = result_of(run_of({"file": "t.swf"}, tmp_path, executors=5, until_s=None))
    assert [p.submitted_s for p in result.processes] == [0, 5, 6, 7, 8]
    assert "trace t.swf: 3 of 5 rows name a preceding job, which has no effect, nor has think time" in result.notes


def test_a_failed_preceding_job_has_ended_too_and_the_end_leaves_jobs_out(tmp_path: Path) -> None:
    (tmp_path / "t.swf").write_text(CHAIN)
    run = run_of(
        {"file": "t.swf", "dependencies": True, "speed": 2}, tmp_path, executors=5, until_s=120,
        mix=[{"maxexectime": 50, "maxretries": 0}],
    )  # fmt: skip
    result = run.execute()
    submitted = sorted(p.submitted_s for p in result.processes)
    assert submitted[:3] == [0, 3, 4]
    assert 65 <= submitted[3] <= 67  # after 50 s, and 15 s of thought at twice the speed
    (tmp_path / "t.swf").write_text(CHAIN)
    short = run_of({"file": "t.swf", "dependencies": True}, tmp_path, executors=5, until_s=120).execute()
    assert len(short.processes) == 3
    assert "2 jobs of w were not submitted before its end" in short.notes


def test_jobs_that_name_each_other_or_later_ones_do_not_wait_for_ever(tmp_path: Path) -> None:
    (tmp_path / "t.swf").write_text(swf((0, 1, 1, 2, 1), (5, 1, 1, 1, 10), (6, 1, 1, 3, 1)))
    result = result_of(run_of({"file": "t.swf", "dependencies": True}, tmp_path))
    assert sorted(p.submitted_s for p in result.processes) == [0, 6, 11]


def test_dependencies_need_an_end(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="never ends: give it until_s"):
        run_of({"file": "t.swf", "dependencies": True}, tmp_path, until_s=None)


def test_jobs_that_become_several_processes_cannot_precede_others(tmp_path: Path) -> None:
    with pytest.raises(BadValue, match="has no single end to wait for; use processors: occupy"):
        run_of({"file": "t.swf", "dependencies": True, "processors": "expand"}, tmp_path)


def test_failed_and_cancelled_jobs_are_left_out_on_request(tmp_path: Path) -> None:
    (tmp_path / "t.swf").write_text(swf((0, 1, 1, -1, -1), (5, 1, 0, -1, -1), (6, 1, 5, -1, -1)))
    result = result_of(run_of({"file": "t.swf", "statuses": "successful"}, tmp_path))
    assert len(result.processes) == 1
    assert "trace t.swf: 2 of 3 rows were skipped: the job failed or was cancelled (status 0 or 5)" in result.notes
    assert len(result_of(run_of({"file": "t.swf"}, tmp_path)).processes) == 3


# ---------------------------------------------------------------- machines of workflows
WORKFLOW = """{"name": "w", "workflow": {
  "specification": {"tasks": [{"id": "a", "name": "a", "children": ["b"]}, {"id": "b", "name": "b", "parents": ["a"]}]},
  "execution": {"makespanInSeconds": 3, "tasks": [
    {"id": "a", "runtimeInSeconds": 1, "machines": ["east"]}, {"id": "b", "runtimeInSeconds": 2, "machines": ["west"]}]}
}}"""


@pytest.mark.parametrize(
    ("machines", "expected"), [("name", ["east", "west"]), ("location", ["x", "y"]), ("ignore", ["x", "x"])]
)
def test_processes_of_a_recorded_workflow_run_on_their_machines(
    machines: str, expected: list[str], tmp_path: Path
) -> None:
    (tmp_path / "w.json").write_text(WORKFLOW)
    names = [("west", ""), ("east", "")] if machines == "name" else [("x", "east"), ("y", "west")]
    if machines == "ignore":
        names = names[:1]
    scenario = Scenario(
        executors=tuple(  # type: ignore[arg-type]
            {"name": name, "location": place, "service": {"kind": "process"}} for name, place in names
        ),
        workload=(  # type: ignore[arg-type]
            {
                "name": "w", "arrivals": {"kind": "at", "times_s": [0]},
                "mix": [{"workflow": {"kind": "wfformat", "file": "w.json", "machines": machines}}],
            },
        ),
        folder=str(tmp_path),
    )  # fmt: skip
    assert [process.executor for process in Run(scenario).execute().processes] == expected
