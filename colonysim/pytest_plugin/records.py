"""Compare what a test does with the journals that an earlier run has left behind (--colonysim-replay)."""

from __future__ import annotations

from pathlib import Path

import pytest

from colonysim.pytest_plugin import options, stage
from colonysim.pytest_plugin.identity import folder_of, id_of


def record_of(config: pytest.Config, node: pytest.Item | pytest.Collector) -> Path | None:
    """Return the journal that a test is compared with, if there is one; for a wider scope, that of any of its tests."""
    path: Path | None = options.value(config, "replay")
    if path is None or path.is_file():
        return path
    if isinstance(node, pytest.Session):
        return min(path.glob("*/journal.jsonl"), default=None)
    folder = folder_of(path, id_of(node))
    if not isinstance(node, pytest.Item):
        return min(path.glob(f"{folder.name}__*/journal.jsonl"), default=None)
    journal = _journal(folder, 0)
    return journal if journal.is_file() else None


def expected_at(config: pytest.Config, item: pytest.Item) -> Path:
    """Return where the journal of a test would be in the folder of --colonysim-replay."""
    return _journal(folder_of(options.value(config, "replay"), id_of(item)), 0)


def difference(item: pytest.Item) -> str | None:
    """Compare a test with its record, and note that in its run; return what differs.

    A record ends with the phase that failed. So this looks at the phase that fails now, else at the test itself, and,
    where that has come to an end but the record goes on, at the cleaning up.
    """
    run = stage.run_of(item)
    record = record_of(item.config, item)
    simulations = stage.simulations_of(item)
    if record is None or not simulations:
        return None
    run.compared = True
    now_length = [len(lines) for lines in stage.journals_of(item)]
    at_phase = run.lengths.get(run.failed_in or "call") or now_length
    found = _first_difference(record, item, at_phase)
    if found is not None and _first_difference(record, item, now_length) is None:
        return None
    return f"the test differs from its recording {record}: {found}" if found is not None else None


def _first_difference(record: Path, item: pytest.Item, lengths: list[int]) -> str | None:
    """Return the first difference between the recorded journals of a test and so many lines of its own."""
    from colonysim.pytest_plugin import failures

    if any(simulation.journal is None for simulation in stage.simulations_of(item)):
        return "the simulation keeps no journal (journal=False)"
    for number, (lines, length) in enumerate(zip(stage.journals_of(item), lengths, strict=False)):
        recorded = record if number == 0 else _journal(record.parent, number)
        if number and not recorded.is_file():
            continue
        before = recorded.read_bytes().split(b"\n")[1:-1]
        if found := failures.first_difference(before, lines[:length], "recorded", "now"):
            return found if number == 0 else f"in simulation {number + 1}, {found}"
    return None


def _journal(folder: Path, number: int) -> Path:
    from colonysim.pytest_plugin import failures

    return failures.journal_in(folder, number)
