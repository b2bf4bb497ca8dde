"""Files around the package agree with each other: versions, supported Pythons, links between documents, release notes."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest
import yaml

import colonysim

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
DOCUMENTS = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "examples").rglob("*.md"),
    *(ROOT / folder / "README.md" for folder in ("benchmarks", "changelog.d", "tests/mutation")),
    ROOT / "benchmarks" / "theory.md",
]
LINK = re.compile(r"\]\(([^()\s]+)\)")
CODE = re.compile(r"^```.*?^```|`[^`\n]*`", re.S | re.M)
KINDS = [kind["directory"] for kind in PROJECT["tool"]["towncrier"]["type"]]


def anchors(document: Path) -> set[str]:
    """The names of a document's headings in links, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings_that_are_there(document: Path) -> None:
    for link in LINK.findall(CODE.sub("", document.read_text(encoding="utf-8"))):
        if link.startswith(("http:", "https:")):
            continue
        name, _, anchor = link.partition("#")
        target = (document.parent / name).resolve() if name else document
        assert target.exists(), f"{link}: there is no such file"
        assert not anchor or anchor in anchors(target), f"{link}: there is no such heading"


def test_the_index_of_documents_lists_each() -> None:
    index = ROOT / "docs" / "README.md"
    listed = {(index.parent / link).resolve() for link in LINK.findall(index.read_text(encoding="utf-8"))}
    pages = {*(ROOT / "docs").glob("*.md"), *(ROOT / "docs" / "how-to").glob("*.md")}
    assert pages | {ROOT / "docs" / "protocol" / "README.md"} <= listed | {index}
    pages = ROOT / "docs" / "protocol" / "README.md"
    listed = {(pages.parent / link).resolve() for link in LINK.findall(pages.read_text(encoding="utf-8"))}
    assert {*pages.parent.glob("*.md")} - {pages} <= listed


def test_the_site_shows_each_document() -> None:
    shown = re.findall(r"- (?:.*: )?(\S+\.md)$", (ROOT / ".ci" / "mkdocs.yml").read_text(encoding="utf-8"), re.M)
    made = {"scenarios/README.md"} | {one for one in shown if one.startswith("reference/")}
    assert sorted(shown) == sorted({document.relative_to(ROOT).as_posix() for document in DOCUMENTS} | made)


def test_the_version_is_the_same_everywhere() -> None:
    assert PROJECT["project"]["version"] == colonysim.__version__


def test_the_supported_pythons_are_the_same_in_metadata_tox_and_ci() -> None:
    classifiers = PROJECT["project"]["classifiers"]
    named = [
        found[1] for one in classifiers if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", one))
    ]
    assert PROJECT["project"]["requires-python"] == f">={named[0]}"
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    assert tox["tox"]["env_list"].startswith("py{" + ",".join(one.replace(".", "") for one in named) + "}")
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    matrix = workflow["jobs"]["tests"]["strategy"]["matrix"]["include"]
    assert [(one["python"], one["env"]) for one in matrix] == [(one, f"py{one.replace('.', '')}") for one in named]


def test_ci_runs_all_that_must_hold() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    assert "bash .ci/run" in [step.get("run") for step in workflow["jobs"]["everything"]["steps"]]


def test_a_release_note_is_named_after_its_kind_and_has_a_text() -> None:
    for note in set((ROOT / "changelog.d").iterdir()) - {ROOT / "changelog.d" / "README.md"}:
        assert re.fullmatch(rf"\+[a-z0-9-]+\.({'|'.join(KINDS)})\.md", note.name), (
            f"{note.name}: see changelog.d/README.md"
        )
        assert note.read_text(encoding="utf-8").strip()


def test_release_notes_can_be_put_together(tmp_path: Path) -> None:
    tmp_path.joinpath("changelog.d").mkdir()
    for name in ("pyproject.toml", "CHANGELOG.md"):
        tmp_path.joinpath(name).write_text((ROOT / name).read_text(encoding="utf-8"), encoding="utf-8")
    for kind in KINDS:
        tmp_path.joinpath("changelog.d", f"+note.{kind}.md").write_text(f"One that is {kind}.\n", encoding="utf-8")
    words = ("--keep", "--version", "9.9.9", "--dir", str(tmp_path))
    command = (sys.executable, "-m", "towncrier", "build", *words)
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    before = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    after = tmp_path.joinpath("CHANGELOG.md").read_text(encoding="utf-8")
    head, mark, rest = before.partition("<!-- towncrier release notes start -->\n")
    assert after.startswith(head + mark)
    assert after.endswith(rest.lstrip("\n"))
    news = after.removeprefix(head + mark).removesuffix(rest.lstrip("\n"))
    assert news.lstrip().startswith("## 9.9.9 (")
    assert [f"- One that is {kind}." in news for kind in KINDS] == [True] * len(KINDS)


def test_hooks_run_tools_of_the_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    tools = {hook["entry"].split()[0] for hook in config["repos"][0]["hooks"]}
    assert {hook["language"] for hook in config["repos"][0]["hooks"]} == {"system"}
    assert tools <= {re.split(r"[>=\[]", one)[0] for one in PROJECT["project"]["optional-dependencies"]["dev"]}


def test_the_picture_of_the_rooms_is_drawn_from_the_source() -> None:
    done = subprocess.run(
        [ROOT / ".ci" / "rooms", "--check", ROOT / "docs" / "architecture.md"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_picture_that_does_not_show_the_rooms_is_found(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    altered = tmp_path / "architecture.md"
    altered.write_text(text.replace("wire --> core", "core --> wire"), encoding="utf-8")
    done = subprocess.run([ROOT / ".ci" / "rooms", "--check", altered], capture_output=True, text=True)
    assert done.returncode == 1
    assert "run .ci/rooms" in done.stderr
