"""What docs/faults.md says is complete, and its YAML is read. Its Python is run by tests/examples."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from colonysim.faults import Plan, read_faults
from colonysim.faults.hazards import HAZARDS
from colonysim.faults.registry import KINDS
from colonysim.faults.verdicts import ReplyVerdict, RequestVerdict, ServerVerdict
from colonysim.scenarios import Scenario, as_text

TEXT = (Path(__file__).parent.parent.parent / "docs" / "faults.md").read_text()
EXAMPLE, OWN = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)


def test_the_faults_in_yaml_are_faults() -> None:
    faults = read_faults(yaml.safe_load(EXAMPLE)["faults"])
    assert [fault.name for fault in Plan(faults=faults).faults] == ["lost closes", "crash"]


def test_the_fault_of_ones_own_is_found_in_its_file(tmp_path: Path) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL) if "class CutShort" in block)
    (tmp_path / "my_faults.py").write_text(code)
    (tmp_path / "s.yaml").write_text(f"version: 1\nphases: {{storm_s: 60}}\n{OWN}")
    scenario = Scenario.load(tmp_path / "s.yaml")
    assert [fault.kind for fault in scenario.faults] == ["CutShort"]
    assert "kind: my_faults.py:CutShort" in as_text(scenario, tmp_path)


def test_every_kind_hazard_and_verdict_is_described() -> None:
    verdicts = {kind.__name__ for union in (RequestVerdict, ReplyVerdict, ServerVerdict) for kind in union.__args__}
    assert [kind for kind in (*KINDS, *HAZARDS) if f"`{kind}`" not in TEXT] == []
    assert [name for name in verdicts - {"Pass"} if f"`{name}(" not in TEXT] == []
