"""A folder that keeps the result of each run, so that many runs can be continued after an interruption."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec
from msgspec.structs import replace

from colonysim import __version__
from colonysim.scenarios.recorded import files_of
from colonysim.scenarios.scenario import Scenario
from colonysim.scenarios.writer import as_text

R = TypeVar("R")


class Results(Generic[R]):
    """The results in a folder: a file for each scenario and seed.

    The name of a file is a digest of the version of colonysim, the scenario with its traces and programs, and the
    seed; so a result is found again only while all of these are the same. Raises OSError if the folder cannot be made.
    """

    def __init__(self, folder: Path, kind: type[R]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._kind = kind
        self._loaded: set[Path] = set()
        self._digests: dict[int, tuple[Scenario, str]] = {}

    def load(self, scenario: Scenario, seed: int) -> R | None:
        """Return the result of a run; None if there is none, or if its file is damaged."""
        path = self._path(scenario, seed)
        try:
            result = msgspec.json.decode(path.read_bytes(), type=self._kind)
        except (OSError, msgspec.MsgspecError):
            return None
        self._loaded.add(path)
        return result

    def save(self, scenario: Scenario, seed: int, result: R) -> None:
        """Keep the result of a run, unless it has been loaded from here. Raises OSError."""
        path = self._path(scenario, seed)
        if path in self._loaded:
            return
        new = path.with_suffix(f".{os.getpid()}.new")
        new.write_bytes(msgspec.json.encode(result))
        new.replace(path)

    def _path(self, scenario: Scenario, seed: int) -> Path:
        if (known := self._digests.get(id(scenario))) is None:
            known = self._digests[id(scenario)] = scenario, _digest(self._kind.__name__, scenario)
        return self.folder / f"{known[1]}-{seed}.json"


def _digest(kind: str, scenario: Scenario) -> str:
    digest = hashlib.sha256()

    def add(part: Any) -> None:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8) + data)

    add(kind)
    add(__version__)
    add(as_text(replace(scenario, seed=0), scenario.base()))
    for path in sorted(files_of(scenario)):
        add(path.name)
        add(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()[:32]
