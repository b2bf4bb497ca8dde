"""A short run of the fuzzer, and that it sees what it looks for."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from colonysim.core import registry
from colonysim.core.engine import OPERATIONS
from colonysim.core.errors import Refusal
from colonysim.core.world import World

from .running import NAMES, Fuzzer, Player


def test_a_few_thousand_messages_find_nothing_and_reach_all_types() -> None:
    fuzzer = Fuzzer(seed=2)
    fuzzer.run(8000)
    assert fuzzer.findings == []
    assert fuzzer.messages == 8000
    assert {name for name, _ in fuzzer.counts} == set(NAMES)
    answered = {name for name, status in fuzzer.counts if status in ("200", "subscribed")}
    assert len(answered) > 85, set(NAMES) - answered  # no fuzzing of refusals only
    assert fuzzer.signed > 0


def test_one_seed_is_one_run_and_another_is_another() -> None:
    def counts(seed: int) -> dict[tuple[str, str], int]:
        fuzzer = Fuzzer(seed)
        fuzzer.run(600)
        return dict(fuzzer.counts)

    assert counts(5) == counts(5) != counts(6)


def _changes_and_refuses(world: World, *_: Any) -> None:
    world.server_id = "e" * 64
    raise Refusal(400, "no")


def _draws_an_id_and_refuses(world: World, *_: Any) -> None:
    world.new_id()
    raise Refusal(400, "no")


def _fails(*_: Any) -> None:
    raise ZeroDivisionError("planted")


def _answers_oddly(*_: Any) -> None:
    raise Refusal(418, "no")


@pytest.mark.parametrize(
    ("planted", "what"),
    [
        (_changes_and_refuses, "Wrong a refusal changed 1 things"),
        (_draws_an_id_and_refuses, "Wrong a refusal changed"),
        (_fails, "ZeroDivisionError in _fails"),
        (_answers_oddly, "Wrong answered with the unknown status 418"),
    ],
)
def test_a_planted_bug_is_found_with_the_one_message_that_shows_it(
    monkeypatch: pytest.MonkeyPatch, planted: Callable[..., Any], what: str
) -> None:
    row = OPERATIONS["getcolonymsg"]
    monkeypatch.setitem(registry.BY_MESSAGE, row.message, replace(row, serve=planted))
    fuzzer = Fuzzer(seed=3)
    fuzzer.run(2000, most_findings=1)
    (finding,) = fuzzer.findings
    assert finding.what.startswith(what)
    assert [step[0] for step in finding.steps] == ["api"]
    with pytest.raises(Exception, match=r"planted|changed|unknown status"):
        Player().take(finding.steps[0])


@pytest.mark.parametrize("wrong", [["--messages", "0"], ["--messages", "x"], ["--findings", "0"], ["--no"]])
def test_a_run_of_nothing_is_refused(wrong: list[str]) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.fuzz", *wrong], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
