"""What docs/faults.md and docs/programs.md show runs as it is printed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"


@pytest.mark.parametrize("name", ["faults.md", "programs.md"])
def test_the_examples_run(name: str) -> None:
    scope: dict[str, Any] = {}
    examples = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    assert len(examples) >= 3
    for example in examples:
        exec(example, scope)


def test_the_faults_in_yaml_are_faults() -> None:
    import yaml

    from colonysim.sim.faults import Plan, read_faults

    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "faults.md").read_text(), re.DOTALL)
    faults = read_faults(yaml.safe_load(example)["faults"])
    assert [fault.name for fault in Plan(faults=faults).faults] == ["lost closes", "crash"]


def test_every_kind_and_hazard_is_described() -> None:
    from colonysim.sim.faults import HAZARDS, KINDS

    text = (DOCS / "faults.md").read_text()
    assert [kind for kind in (*KINDS, *HAZARDS) if f"`{kind}`" not in text] == []
