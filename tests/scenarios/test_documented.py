"""docs/scenarios.md, docs/extending.md and docs/metrics.md: what they print is what runs, and what they list is complete."""

from __future__ import annotations

import re
from pathlib import Path

from colonysim.reports.processes import ProcessResult
from colonysim.scenarios.conditions import FIGURES, GAUGES
from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()


EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_the_complete_example_runs() -> None:
    result = run(Scenario.read(EXAMPLES[0]))
    assert result.ok, result.failures
    assert result.summary.retries > 0


def test_the_example_of_executors_with_capacity_runs() -> None:
    result = run(Scenario.read(EXAMPLES[1]))
    assert result.ok, result.failures
    assert [warning.text for warning in result.warnings] == []
    assert [note for note in result.notes if note.startswith("executors cluster used")]
    assert len(EXAMPLES) == 2


def test_the_parts_of_the_scenario_with_code_of_its_own_are_explained_as_they_are() -> None:
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    code = (Path(__file__).parents[2] / "scenarios" / "own_parts.py").read_text()
    parts = [part.strip() for part in re.split(r"\n\n\n", code.partition('"""\n')[2].partition("\n\n")[2])]
    assert [part.splitlines()[0] for part in parts if part not in page] == []
    assert len(parts) > 5


def listed(heading: str) -> list[str]:
    """The names in the first column of the table below a heading of docs/metrics.md."""
    page = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
    section = page.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = re.findall(r"^\| (`.*?) \|", section, re.M)
    return [name for cell in cells for name in re.findall(r"`(\w+)`", cell)]


def test_the_page_of_metrics_lists_every_gauge_figure_and_column() -> None:
    assert sorted(listed("Gauges")) == sorted(GAUGES)
    assert sorted(listed("Figures")) == sorted({name.partition(".")[0] for name in FIGURES})
    assert listed("Columns of the CSV file") == list(ProcessResult.__struct_fields__)
