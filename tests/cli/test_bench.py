"""colonysim bench: figures with their spread and their circumstances, compared with earlier ones."""

from __future__ import annotations

import json
import platform
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from colonysim.cli.main import app


def bench(*words: str) -> Result:
    return CliRunner().invoke(app, ["bench", "--count", "100", *words])


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    done = bench("--rounds", "2", "--json")
    assert done.exit_code == 0, done.output
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_each_figure_has_its_median_between_its_extremes(measured: dict[str, Any]) -> None:
    assert len(measured["figures"]) == 5
    for figure in measured["figures"]:
        assert 0 < figure["least"] <= figure["median"] <= figure["most"]
        assert figure["unit"] in ("/s", "x", "ms")


def test_a_measurement_says_what_it_depends_on(measured: dict[str, Any]) -> None:
    assert (measured["life_cycles"], measured["rounds"]) == (100, 2)
    assert platform.python_version() in measured["python"]
    assert measured["machine"]
    assert measured["processors"] >= 1


def test_it_is_compared_with_an_earlier_one(measured: dict[str, Any], tmp_path: Path) -> None:
    old = measured | {"figures": [one | {"median": one["median"] * 1000} for one in measured["figures"]]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    done = bench("--rounds", "1", "--compare", str(tmp_path / "old.json"))
    assert done.exit_code == 0, done.output
    assert "ratio" in done.stdout
    assert done.stdout.count(" 0.00") >= 3
    assert "not comparable" not in done.stdout


def test_another_machine_or_python_is_told(measured: dict[str, Any], tmp_path: Path) -> None:
    old = measured | {"machine": "abacus", "python": "CPython 2.7", "figures": measured["figures"][:1]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    said = bench("--rounds", "1", "--compare", str(tmp_path / "old.json")).stdout
    assert "not comparable: machine was abacus" in said
    assert "not comparable: python was CPython 2.7" in said
    assert "n/a" in said


@pytest.mark.parametrize("text", ["", "[]", '{"format": 1}', "nonsense"])
def test_a_file_that_is_no_measurement_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "old.json").write_text(text)
    done = bench("--compare", str(tmp_path / "old.json"))
    assert done.exit_code == 2
    assert "it is not a measurement" in done.stderr.replace("\n", " ")


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert bench("--compare", str(tmp_path / "nowhere.json")).exit_code == 2
