"""Measured values from files, wherever a scenario has a span."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from colonysim import Simulation
from colonysim.core.records import SECOND_NS
from colonysim.core.values import BadValue
from colonysim.experiments.results import Results
from colonysim.faults import Pause, Times
from colonysim.kernel.randomness import drawer, source
from colonysim.scenarios import Empirical, Result, Scenario, as_text, run
from colonysim.scenarios.recorded import files_of
from colonysim.scenarios.validation import check

TEXT = """
version: 1
phases: {storm_s: 600}
executors:
  - name: cli
    service: {kind: empirical, file: SERVICE}
    rest: {kind: mixed, parts: [{weight: 1, span: {kind: empirical, file: rest.txt}}]}
    functions: {other: {service: {kind: empirical, file: jobs.csv, column: run_s}}}
workload:
  - name: people
    arrivals: {kind: constant, every_s: 60}
    mix: [{funcname: run}, {funcname: other}]
faults:
  - {kind: pause, times: {at_s: 100}, for_s: {kind: empirical, file: rest.txt}}
"""


def written(folder: Path, text: str = TEXT, service: str = "service.txt") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "service.txt").write_text("# seconds\n3\n\n 5.5 \n")
    (folder / "rest.txt").write_text("1")
    (folder / "jobs.csv").write_text('name,run_s\n"a, b",7\nc,7\n\n')
    (folder / "scenario.yaml").write_text(text.replace("SERVICE", service))
    return folder / "scenario.yaml"


def test_a_scenario_draws_the_values_of_files_beside_it(tmp_path: Path) -> None:
    result = run(Scenario.load(written(tmp_path)))
    assert result.ok
    plain = TEXT.replace("file: SERVICE", "values_s: [3, 5.5]").replace("file: rest.txt", "values_s: [1]")
    plain = plain.replace("file: jobs.csv, column: run_s", "values_s: [7, 7]")
    assert run(Scenario.read(plain)).digest == result.digest
    assert result.summary.running_s.max is not None
    assert result.summary.running_s.max >= 7.0


def test_the_files_belong_to_what_identifies_a_result(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    scenario = Scenario.load(path)
    assert {file.name for file in files_of(scenario)} == {"service.txt", "rest.txt", "jobs.csv"}
    kept = tmp_path / "kept"
    result = run(scenario)
    Results(kept, Result).save(scenario, 0, result)
    assert Results(kept, Result).load(Scenario.load(path), 0) is not None
    (tmp_path / "a" / "jobs.csv").write_text("name,run_s\na,8\n")
    assert Results(kept, Result).load(Scenario.load(path), 0) is None


def test_a_file_that_changes_between_draws_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "values.txt"
    for number in (1, 2):  # the size stays the same
        file.write_text(f"{number}\n")
        os.utime(file, ns=(number, number))
        assert drawer(Empirical(file=str(file)), source(1, "x"))(None) == number * SECOND_NS


def test_a_scenario_written_for_another_folder_names_the_same_files(tmp_path: Path) -> None:
    scenario = Scenario.load(written(tmp_path / "a"))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy.yaml").write_text(as_text(scenario, tmp_path / "b"))
    copy = Scenario.load(tmp_path / "b" / "copy.yaml")
    assert {file.resolve() for file in files_of(copy)} == {file.resolve() for file in files_of(scenario)}
    assert run(copy).digest == run(scenario).digest


def test_outside_of_scenarios_a_path_starts_at_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (3, 4):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "rest.txt").write_text(f"{number}\n")
        os.utime(folder / "rest.txt", ns=(1, 1))
        monkeypatch.chdir(folder)
        assert drawer(Empirical(file="rest.txt"), source(1, "x"))(None) == number * SECOND_NS


def test_a_fault_without_its_file_is_refused_when_it_is_added(tmp_path: Path) -> None:
    sim = Simulation()
    with pytest.raises(BadValue, match=r"for_s\.file: .*absent\.txt: cannot be read"):
        sim.faults.add(Pause(times=Times(at_s=1), for_s=Empirical(file=str(tmp_path / "absent.txt"))))
    assert sim.faults.all == ()


@pytest.mark.parametrize(
    ("content", "column", "complaint"),
    [
        ("1\ntwo\n", "", "values:2: 'two' is not a number of seconds"),
        ("a,b\n1,2\n", "", "values:1: 'a,b' is not a number of seconds; name the column of a CSV file in `column`"),
        ("1\n-2\n", "", "values:2: -2 must be from 0 to 1e+09 seconds"),
        ("nan\n", "", "values:1: nan must be from 0"),
        ("\n# nothing\n", "", "it has no values"),
        ("a,b\n1,2\n", "c", "there is no column 'c'; the columns are a, b"),
        ("", "c", "there is no column 'c'; the columns are none"),
        ("a,b\n1,2\n3\n", "b", "values:3: '' is not a number of seconds"),
        (b"\xff\xfe1\n", "", "it is not UTF-8 text"),
        (None, "", "cannot be read: No such file"),
    ],
)
def test_files_without_usable_values_are_refused_by_file_and_line(
    tmp_path: Path, content: str | bytes | None, column: str, complaint: str
) -> None:
    if content is not None:
        (tmp_path / "values").write_bytes(content if isinstance(content, bytes) else content.encode())
    text = TEXT.replace("file: SERVICE", f"file: values, column: {column!r}")
    written(tmp_path, text)
    scenario = Scenario.load(tmp_path / "scenario.yaml")
    with pytest.raises(BadValue) as caught:
        run(scenario)
    assert complaint in str(caught.value)
    assert caught.value.path[:3] == ("executors", 0, "service")


def test_an_error_in_a_file_for_a_single_function_names_its_place(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "jobs.csv").write_text("run_s\nx\n")
    with pytest.raises(BadValue) as caught:
        run(Scenario.load(path))
    assert caught.value.path == ("executors", 0, "functions", "other", "service", "file")


def test_validate_notes_missing_values_as_it_notes_missing_traces(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "rest.txt").unlink()
    notes, warnings = check(Scenario.load(path))
    assert notes == ["rest.txt does not exist; a run needs it"]
    assert warnings == []
