"""docs/scenarios.md: its scenario and its Python run as they are printed."""

from __future__ import annotations

import re
from pathlib import Path

from colonysim.sim.scenario import Scenario
from colonysim.sim.scenario_runner import run

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_complete_example_runs() -> None:
    (text,) = blocks("yaml")
    result = run(Scenario.read(text))
    assert result.ok, result.failures
    assert result.summary.retries > 0


def test_the_python_example_runs() -> None:
    (text,) = blocks("python")
    exec(compile(text, "docs/scenarios.md", "exec"), {})
