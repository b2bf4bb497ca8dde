"""docs/scenarios.md: its scenario runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path

from colonysim.scenarios.runner import run
from colonysim.scenarios.scenario import Scenario

PAGE = (Path(__file__).parents[2] / "docs" / "scenarios.md").read_text()


def test_the_complete_example_runs() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    result = run(Scenario.read(text))
    assert result.ok, result.failures
    assert result.summary.retries > 0
