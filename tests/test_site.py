"""The pages that `.ci/site` makes from the source are complete, and it finds pages that load something from elsewhere."""

from __future__ import annotations

import importlib.util
import re
from importlib import import_module
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from colonysim.cli.main import app
from colonysim.core.settings import Settings
from colonysim.scenarios import Scenario

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def site() -> ModuleType:
    loader = SourceFileLoader("site_of_documents", str(ROOT / ".ci" / "site"))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("package", ["", "faults", "scenarios", "experiments", "conformance"])
def test_the_reference_of_a_package_has_each_public_name(site: ModuleType, package: str) -> None:
    module = import_module(f"colonysim.{package}".rstrip("."))
    shown = set(re.findall(r"^::: \S+\.(\w+)$", site.facade(package), re.M))
    packages = {*site.FACADES, "hypothesis"} if package == "" else set()
    assert shown == set(module.__all__) - packages


def test_the_command_line_reference_has_each_command_and_each_option(site: ModuleType) -> None:
    page = site.command_line()
    top: Any = typer.main.get_command(app)
    sections = dict(
        zip(re.findall(r"^## (\S+)$", page, re.M), re.split(r"^## \S+$", page, flags=re.M)[1:], strict=True)
    )
    assert set(sections) == {name for name, command in top.commands.items() if not command.hidden}
    for name, section in sections.items():
        for parameter in top.commands[name].params:
            assert parameter.hidden or parameter.opts[0] in section.lower(), f"{name}: {parameter.opts[0]}"
    assert "| `--version` | Print the version. |" in page


def test_the_page_of_fields_has_a_row_for_each_field(site: ModuleType) -> None:
    page = site.fields()
    for name, kind in Scenario.schema()["$defs"].items():
        (section,) = re.findall(rf"^## {re.escape(name)}$(.*?)(?=^## |\Z)", page, re.M | re.S)
        fields = re.findall(r"^\| `(\w+)`", section, re.M)
        assert fields == list(kind.get("properties", ()))
        assert not re.search(r"^\| `\w+`[^|]*\| *\|", section, re.M), f"{name}: a field without a type"
    assert "| `count` | integer, ≥ 1" in page


def test_the_page_of_settings_has_each_setting(site: ModuleType) -> None:
    assert set(re.findall(r"^\| `(\w+)`", site.settings(), re.M)) == set(Settings.__struct_fields__)


@pytest.mark.parametrize(
    "page",
    [
        '<script src="https://unpkg.com/mermaid"></script>',
        "<img alt='x' src='http://example.com/a.png'>",
        '<link href="//fonts.example.com/a.css" rel="stylesheet">',
        '<link rel="preconnect" href="https://fonts.example.com">',
    ],
)
def test_a_page_that_loads_something_from_elsewhere_is_found(site: ModuleType, tmp_path: Path, page: str) -> None:
    (tmp_path / "index.html").write_text(page, encoding="utf-8")
    (found,) = site.loaded_from_elsewhere(tmp_path)
    assert found.startswith("index.html loads ")


def test_links_that_a_reader_follows_and_files_of_the_site_are_no_loading(site: ModuleType, tmp_path: Path) -> None:
    text = '<a href="https://colonyos.io">x</a><img src="a.png"><link rel="stylesheet" href="a.css">'
    (tmp_path / "index.html").write_text(text, encoding="utf-8")
    (tmp_path / "a.css").write_text("a { background: url(a.png) }", encoding="utf-8")
    assert list(site.loaded_from_elsewhere(tmp_path)) == []
    (tmp_path / "a.css").write_text("a { background: url(https://example.com/a.png) }", encoding="utf-8")
    assert list(site.loaded_from_elsewhere(tmp_path)) == ["a.css loads https://example.com/a.png"]
