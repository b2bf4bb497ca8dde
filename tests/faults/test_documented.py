"""What docs/faults.md says is complete, and its YAML is read. Its Python is run by tests/examples."""

from __future__ import annotations

import re
from pathlib import Path

DOCS = Path(__file__).parent.parent.parent / "docs"


def test_the_faults_in_yaml_are_faults() -> None:
    import yaml

    from colonysim.faults.model import Plan, read_faults

    (example,) = re.findall(r"```yaml\n(.*?)```", (DOCS / "faults.md").read_text(), re.DOTALL)
    faults = read_faults(yaml.safe_load(example)["faults"])
    assert [fault.name for fault in Plan(faults=faults).faults] == ["lost closes", "crash"]


def test_every_kind_and_hazard_is_described() -> None:
    from colonysim.faults.model import HAZARDS, KINDS

    text = (DOCS / "faults.md").read_text()
    assert [kind for kind in (*KINDS, *HAZARDS) if f"`{kind}`" not in text] == []
