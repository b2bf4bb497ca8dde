"""Coverage: which message types the server knows, and how often the recorded cases call each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.table import Table

from colonysim.conformance import player
from colonysim.conformance.report import files
from colonysim.conformance.targets import InProcess, simulation_for_cases
from colonysim.core.engine import OPERATIONS

REFUSED_ACCESS: Final = 403
TITLE: Final = """# Coverage

Every message type of the protocol, who may send it, and what the recorded cases of colonysim test of
it: calls that were answered, calls that were refused for who made them (403), and calls refused for
other reasons. A case counts where it passes. Made by `colonysim coverage --markdown`.

"""


class Row(msgspec.Struct):
    """Coverage of one message type. Counts include passing cases only.

    `cases` counts cases that call it; `answered`, `refused_access` and `refused_otherwise` count calls by outcome.
    """

    type: str
    part: str
    access: str
    over: str
    cases: int = 0
    answered: int = 0
    refused_access: int = 0
    refused_otherwise: int = 0


def measure(paths: Iterable[Path], failed: list[Path] | None = None) -> list[Row]:
    """Play cases in a simulation and return the coverage of every message type, sorted by file and type.

    Files of cases that do not pass are appended to `failed`. Raises BadCase if a case cannot be played.
    """
    rows = {
        row.name: Row(row.name, row.part, row.access.name, "pubsub" if row.streamed else "api")
        for row in OPERATIONS.values()
    }
    chosen = list(paths)
    if chosen:
        target = InProcess(simulation_for_cases())
        for path in files(chosen):
            case = player.load_case(path)
            target.reset()
            if not list(player.play(case, target)):
                _count(case, rows)
            elif failed is not None:
                failed.append(path)
    return sorted(rows.values(), key=lambda row: (row.part, row.type))


def _count(case: dict[str, Any], rows: dict[str, Row]) -> None:
    seen: dict[str, None] = {}
    for name, status in _calls(case):
        if name not in rows:
            continue
        seen[name] = None
        row = rows[name]
        if status == 200:
            row.answered += 1
        elif status == REFUSED_ACCESS:
            row.refused_access += 1
        else:
            row.refused_otherwise += 1
    for name in seen:
        rows[name].cases += 1


def _calls(case: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """Yield each call of a case with the HTTP status that its reply must have."""
    for step in case["steps"]:
        call, expected = step.get("call"), step.get("expect") or {}
        if "ws" in step or "send" in step:
            yield call, 200
        elif isinstance(call, list):
            for name in call:
                yield name, expected.get(name, {}).get("status", 0)
        elif isinstance(step.get("as"), list):
            for reply in expected.values():
                yield call, reply.get("status", 0)
        elif call:
            yield call, expected.get("status", 200)


def as_markdown(rows: list[Row]) -> str:
    """Return the page docs/coverage.md."""
    lines = [
        "| message type | file | who may | over | cases | answered | 403 | other refusals |",
        "|---|---|---|---|--:|--:|--:|--:|",
    ]
    for row in rows:
        counts = f"{row.cases} | {row.answered} | {row.refused_access} | {row.refused_otherwise}"
        lines.append(f"| `{row.type}` | {row.part} | {row.access} | {row.over} | {counts} |")
    untested = sum(row.cases == 0 for row in rows)
    lines.append("")
    lines.append(f"{len(rows)} message types, {len(rows) - untested} of them in passing cases.")
    return TITLE + "\n".join(lines) + "\n"


def as_table(rows: list[Row]) -> Table:
    """Return the same rows as a table for the terminal."""
    table = Table("message type", "file", "who may", "over", "cases", "answered", "403", "other", box=None)
    for row in rows:
        counts = (row.cases, row.answered, row.refused_access, row.refused_otherwise)
        table.add_row(row.type, row.part, row.access, row.over, *map(str, counts))
    return table
