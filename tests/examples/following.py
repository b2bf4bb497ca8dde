"""Following a document as a reader would: save its files, type its commands, and compare what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

BLOCK = re.compile(r"^```(python|console|yaml|bash)\n(.*?)^```", re.S | re.M)
NAMED = re.compile(r"# ([\w./-]+\.(?:py|yaml|yml|sh))\n")
"""The first line of a block that readers save as a file of this name."""


class Save(NamedTuple):
    """A file that the reader saves."""

    name: str
    text: str


class Type(NamedTuple):
    """A command that the reader types, and the lines that it shows; `…` stands for anything."""

    command: str
    shown: list[str]

    @property
    def fails(self) -> bool:
        return any(re.search(r"\b[1-9]\d* failed|FAILED", line) for line in self.shown)


def steps(text: str) -> Iterator[Save | Type]:
    """What a document asks its reader to do, in its order."""
    for kind, block in BLOCK.findall(text):
        if kind != "console":
            if name := NAMED.match(block):
                yield Save(name[1], block)
            continue
        for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
            command, *shown = part.splitlines()
            yield Type(command.partition("  # ")[0], shown)


def environment(folder: Path) -> dict[str, str]:
    """An environment in which `python`, `pytest` and `colonysim` are those of this Python."""
    programs = folder / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    for name, module in (("python", ""), ("pytest", "-m pytest"), ("colonysim", "-m colonysim")):
        path = programs / name
        path.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n', encoding="utf-8")
        path.chmod(0o755)
    own = {name: value for name, value in os.environ.items() if not name.startswith(("COLONYSIM_", "PYTEST_"))}
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return own | {"PATH": path, "PYTEST_ADDOPTS": "-p no:randomly -p no:cacheprovider", "COLUMNS": "80"}


def run(command: str, folder: Path, variables: dict[str, str]) -> tuple[int, str]:
    """The status of a command, and what it printed."""
    ended = subprocess.run(
        ["bash", "-c", command], cwd=folder, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    return ended.returncode, ended.stdout


def missing(shown: list[str], printed: str) -> str | None:
    """The first shown line that is not among the printed ones, after those before it."""
    lines = iter(printed.splitlines())
    for line in shown:
        pattern = ".*".join(map(re.escape, line.split("…")))
        if line != "…" and not any(re.fullmatch(pattern, one) for one in lines):
            return line
    return None
