"""Reports: what is on the page and in the files agrees with the books, and needs nothing from outside."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from colonysim.capacity.backfill import STARTABLE, Backfill
from colonysim.capacity.resources import Capacity
from colonysim.evidence.causes import CLOSED, WAITED
from colonysim.experiments import perfetto, report
from colonysim.faults import Crash, Times
from colonysim.reports.data import MAX_ROWS
from colonysim.scenarios.result import Result
from colonysim.scenarios.runner import Run
from colonysim.scenarios.scenario import Measure, Phases, Scenario
from colonysim.workloads.arrivals import Every, Once
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Workload
from tests.scenarios.test_runner import FAULTS, SMALL


@pytest.fixture(scope="module")
def done() -> Run:
    run = Run(replace(SMALL, faults=tuple(FAULTS), measure=Measure(bins=50), name="a </script> & <b>"), 2)
    run.execute()
    return run


def data_in(page: str) -> Any:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert found is not None
    return json.loads(found[1])


def test_the_page_holds_its_data_and_needs_nothing_from_outside(done: Run) -> None:
    page = report.html_page(done, "colonysim run a.yaml --seed 2")
    data = data_in(page)
    assert data["command"] == "colonysim run a.yaml --seed 2"
    assert Scenario.read(data["scenario"]) == replace(done.scenario, folder="")
    assert data["name"] == "a </script> & <b>"
    assert "<title>a &lt;/script&gt; &amp; &lt;b&gt;" in page
    assert not re.search(r"""(src|href)\s*=\s*["']|url\(|@import|fetch\(|https?://""", page)
    assert "prefers-color-scheme: dark" in page
    assert data["seed"] == 2
    assert len(data["findings"]) == 0


def test_the_binned_figures_add_up(done: Run) -> None:
    data, metrics = report.data(done), done.metrics
    assert sum(data["submitted"]) == len(metrics)
    assert sum(data["succeeded"]) == metrics.gauges.succeeded
    assert sum(data["failed"]) == metrics.gauges.failed
    assert max(data["depth_max"]) == max(metrics.depth)
    assert max(data["running"]) == max(metrics.running)
    assert len(data["depth_mean"]) == len(data["waiting"]["p50"]) == data["bins"] == 50
    mean = sum(data["depth_mean"]) / 50
    assert mean == pytest.approx(done.result.summary.queue_depth_mean, rel=0.05) if done.result else False


def test_the_heat_of_executors_is_their_utilisation() -> None:
    executors = (ExecutorGroup(name="x", count=4, service=30.0),)
    workload = (Workload(name="w", arrivals=Every(20.0), count=60),)
    done = Run(replace(SMALL, measure=Measure(bins=50), executors=executors, workload=workload), 2)
    done.execute()
    shown = report.data(done)["executors"]
    levels = base64.b64decode(shown["levels"])
    assert len(levels) == 50 * len(shown["rows"])
    assert [row["name"] for row in shown["rows"]] == ["x-1", "x-2", "x-3", "x-4"]
    assert sum(row["runs"] for row in shown["rows"]) == len(done.metrics.run_start_ns)
    assert done.result is not None
    busy = sum(row["busy"] for row in shown["rows"]) / 4
    assert busy == pytest.approx(done.result.summary.utilisation, rel=0.02)
    assert sum(levels) / len(levels) / 255 == pytest.approx(busy, rel=0.05)


@pytest.mark.parametrize("backfill", STARTABLE)
def test_an_executor_with_capacity_is_as_hot_as_its_cpus_are_in_use(backfill: Backfill) -> None:
    executors = (ExecutorGroup(name="x", count=2, capacity=Capacity(cpu=8), service=30.0, backfill=backfill),)
    mix = (Submission(cpu=1, walltime=30), Submission(cpu=3, walltime=30))
    workload = (Workload(name="w", arrivals=Every(3.0), count=200, mix=mix),)
    done = Run(replace(SMALL, measure=Measure(bins=50), executors=executors, workload=workload), 2)
    done.execute()
    assert done.result is not None
    shown = report.data(done)["executors"]
    levels = base64.b64decode(shown["levels"])
    busy = sum(row["busy"] for row in shown["rows"]) / 2
    assert 0.4 < busy < 1
    assert busy == pytest.approx(done.result.summary.utilisation, rel=0.02)
    assert sum(levels) / len(levels) / 255 == pytest.approx(busy, rel=0.05)


def test_many_executors_are_shown_by_group() -> None:
    groups = tuple(ExecutorGroup(name=f"g{i}", count=i + 1, service=1.0) for i in range(70))
    run = Run(replace(SMALL, executors=groups, workload=(Workload(name="w", arrivals=Once(500)),), phases=Phases()))
    run.execute()
    executors = report.data(run)["executors"]
    assert len(executors["rows"]) == MAX_ROWS
    assert executors["hidden"] == 10
    assert all(row["count"] == int(row["name"][1:]) + 1 for row in executors["rows"])


def test_faults_are_bands_with_their_strikes(done: Run) -> None:
    faults = {fault["kind"]: fault for fault in report.data(done)["faults"]}
    assert [600.0, 720.0, ""] in faults["partition"]["bands"]
    assert [1000.0, 1060.0, ""] in faults["restart"]["bands"]
    assert sum(faults["crash"]["struck"]) == faults["crash"]["count"] > 3
    assert all(0 <= from_s <= to_s <= 1800 for f in faults.values() for from_s, to_s, _ in f["bands"])


def test_the_longest_waits_come_with_their_stories(done: Run) -> None:
    slowest = report.data(done)["slowest"]
    waits = [done.metrics.waiting_ns(row) / 1e9 for row in range(len(done.metrics))]
    assert [one["waiting_s"] for one in slowest] == sorted(waits, reverse=True)[: len(slowest)]
    assert all("NEW → WAITING" in one["story"] for one in slowest)


def test_the_page_does_not_grow_with_the_processes() -> None:
    sizes = []
    for count in (1000, 4000):
        run = Run(replace(SMALL, workload=(Workload(name="w", arrivals=Once(count)),), phases=Phases(calm_s=10**6)))
        run.execute()
        sizes.append(len(report.html_page(run)))
    assert sizes[1] < 1.3 * sizes[0]


def test_a_run_of_nothing_has_a_page(tmp_path: Path) -> None:
    run = Run(replace(SMALL, executors=(), workload=()))
    run.execute()
    assert data_in(report.html_page(run))["summary"]["submitted"] == 0
    perfetto.write_perfetto(run, tmp_path / "p.json")


def test_an_executor_is_not_drawn_as_busy_after_its_crash() -> None:
    """It takes a process for 100 s, crashes after 40 s and never comes back; the process is taken back after 90 s."""
    spec = Submission(funcname="f", maxexectime=90, maxretries=0)
    done = Run(
        replace(
            SMALL,
            executors=(ExecutorGroup(name="x", count=2, service=100.0),),
            workload=(Workload(name="w", arrivals=Once(2), mix=(spec,)),),
            faults=(Crash(name="c", actors="x-1", times=Times(at_s=(40,))),),
            phases=Phases(storm_s=200, calm_s=1),
            measure=Measure(bins=200),
        )
    )
    done.execute()
    data = report.data(done)
    bins, rows = data["bins"], data["executors"]["rows"]
    levels, held = (base64.b64decode(data["executors"][name]) for name in ("levels", "held"))
    at = {row["name"]: place for place, row in enumerate(rows)}
    crashed = levels[at["x-1"] * bins : (at["x-1"] + 1) * bins]
    after = round(45 / data["bin_s"])
    assert crashed[0] > 200
    assert not any(crashed[after:])
    assert all(held[at["x-1"] * bins + after : at["x-1"] * bins + round(80 / data["bin_s"])])
    assert not any(held[at["x-2"] * bins : (at["x-2"] + 1) * bins])
    assert max(data["left_behind"]) == 1
    assert data["running"][after] == 2


def test_the_result_has_each_process_with_its_cause_and_error(done: Run) -> None:
    result = done.result
    assert result is not None
    assert len(result.processes) == result.summary.submitted
    assert result.processes is result.processes
    failed = [one for one in result.processes if one.cause]
    assert Counter(one.cause for one in failed) == {cause.name: cause.count for cause in result.causes}
    assert {one.state for one in failed} <= {"failed", "cancelled"}
    assert all(one.error == "" for one in result.processes if not one.cause)
    again = msgspec.json.decode(msgspec.json.encode(result), type=Result)
    assert again == result
    with pytest.raises(ValueError, match=r"colonysim\.scenarios\.run"):
        assert again.processes


def test_failed_processes_are_shown_in_the_order_in_which_they_ended(done: Run) -> None:
    shown = report.data(done)["failed_processes"]
    assert done.result is not None
    assert shown["total"] == done.result.summary.failed + done.result.summary.cancelled > 0
    ends = [one["ended_s"] for one in shown["shown"]]
    assert ends == sorted(ends)
    assert all("FAILED" in one["story"] and one["cause"] for one in shown["shown"])


def test_every_request_of_a_run_is_counted(done: Run) -> None:
    assert done.result is not None
    requests = report.data(done)["requests"]
    assert sum(one["count"] for one in requests) == len(done.sim.calls)
    assert {one["type"] for one in requests if one["waited"]} == {"assignprocessmsg"}
    struck = Counter[str]()
    for one in requests:
        struck.update(one["faults"])
    assert struck["lose_reply"] > 0


def test_csv_and_summary_hold_the_whole_run(done: Run, tmp_path: Path) -> None:
    report.write_csv(done, tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == len(done.metrics)
    assert sum(int(row["attempts"]) for row in rows) == len(done.metrics.run_start_ns)
    assert {row["executor"] for row in rows} <= {"x-1", "x-2", "x-3", "x-4", ""}
    assert done.result is not None
    report.write_summary(done.result, tmp_path / "summary.json")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["digest"] == done.result.digest
    assert summary["summary"]["submitted"] == len(rows)


def test_all_outputs_say_why_processes_failed(tmp_path: Path) -> None:
    group = ExecutorGroup(name="x", count=1, service=10.0, success=0.5)
    spec = Submission(funcname="f", maxwaittime=30)
    done = Run(replace(SMALL, executors=(group,), workload=(Workload(name="w", arrivals=Once(30), mix=(spec,)),)), 2)
    result = done.execute()
    counts = {cause.name: cause.count for cause in result.causes}
    assert sum(counts.values()) == result.summary.failed
    assert set(counts) == {CLOSED, WAITED}
    for cause in result.causes:
        assert len(cause.timelines) == min(3, cause.count)
        assert all("→ FAILED" in timeline for timeline in cause.timelines)
    shown = data_in(report.html_page(done))["causes"]
    assert [one["text"] for one in shown] == [str(cause) for cause in result.causes]
    report.write_csv(done, tmp_path / "jobs.csv")
    with (tmp_path / "jobs.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert Counter(row["cause"] for row in rows if row["cause"]) == counts
    assert all(bool(row["cause"]) == (row["state"] == "failed") for row in rows)
    assert {row["error"] for row in rows if row["cause"] == WAITED} == {"Maximum waiting time limit exceeded"}


@pytest.mark.skipif(shutil.which("node") is None, reason="no node to read the page's script with")
def test_the_script_of_the_page_is_javascript(done: Run, tmp_path: Path) -> None:
    script = re.findall(r"<script>\n(.*?)</script>", report.html_page(done), re.DOTALL)
    (tmp_path / "page.js").write_text(script[0])
    checked = subprocess.run(["node", "--check", str(tmp_path / "page.js")], capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr
