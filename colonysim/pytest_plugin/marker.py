"""The arguments of the marker `colonysim`, checked while tests are collected."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Iterator
from os import PathLike
from pathlib import Path
from typing import Any, Final

import pytest

from colonysim.extras import MissingExtra
from colonysim.pytest_plugin import options

DESCRIPTION: Final = (
    "colonysim(seed=None, seeds=None, mode='auto', start=None, faults=None, scenario=None, frozen=False, **settings): "
    "how the simulation of a test is set up; further keywords are settings of the server"
)
OF_TESTS: Final = ("seed", "seeds", "faults", "scenario", "frozen")
"""Arguments about the test; the others are those of `Simulation`."""

_LIKE_OURS: Final = 0.7
_SHOWN: Final = 100  # characters of a wrong value that a message repeats
_PROBLEMS: Final = pytest.StashKey[dict[tuple[int, Path], tuple[pytest.Mark, list[str]]]]()


def arguments(item: pytest.Item | Any) -> dict[str, Any]:
    """The arguments that a test's marker gives; one that is None counts as not given."""
    marker = item.get_closest_marker("colonysim")
    return {name: value for name, value in marker.kwargs.items() if value is not None} if marker else {}


def is_wrong(item: pytest.Item | Any) -> bool:
    """Whether the marker of a test has an argument that is wrong for any test."""
    return bool(_of_marker(item))


def problems(items: Iterable[pytest.Item]) -> list[str]:
    """A text for each mistake in the markers of tests, with the first test that has it."""
    found: dict[str, pytest.Item] = {}
    for item in items:
        for text in (*_misspelt(item), *_of_marker(item), *_in_its_place(item)):
            found.setdefault(text, item)
    return [f"{item.nodeid}: {text}" for text, item in found.items()]


# ---------------------------------------------------------------- the arguments by themselves
def known() -> tuple[str, ...]:
    """The names of all arguments."""
    from colonysim.core.settings import Settings

    return (*OF_TESTS, *of_simulation(), *(name for name in Settings.__struct_fields__ if name not in OF_TESTS))


def of_simulation() -> tuple[str, ...]:
    """The arguments of `Simulation` other than the server's settings."""
    from colonysim.simulation.simulation import Simulation

    parameters = list(inspect.signature(Simulation).parameters.values())
    return tuple(one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD)


def _of_marker(item: pytest.Item | Any) -> list[str]:
    """What is wrong with the arguments of a test's marker: found once for all tests in a folder that share it."""
    marker: pytest.Mark | None = item.get_closest_marker("colonysim")
    if marker is None:
        return []
    checked = item.config.stash.setdefault(_PROBLEMS, {})
    key = (id(marker), item.path.parent)
    if key not in checked:
        checked[key] = (marker, list(_wrong(marker, item)))  # the marker is kept, so that its id stays its own
    return checked[key][1]


def _misspelt(item: pytest.Item) -> Iterator[str]:
    """Yield the markers of a test that nobody has registered and that look like ours."""
    registered = {line.partition(":")[0].partition("(")[0].strip() for line in item.config.getini("markers")}
    for name in dict.fromkeys(mark.name for mark in item.iter_markers()):
        if name not in registered and difflib.get_close_matches(name.lower(), ["colonysim"], 1, _LIKE_OURS):
            yield f"@pytest.mark.{name} has no effect; did you mean @pytest.mark.colonysim?"


def _wrong(marker: pytest.Mark, item: pytest.Item) -> Iterator[str]:
    if marker.args:
        yield f"@pytest.mark.colonysim({_shown(marker.args[0])}): it takes keywords only, such as seed=7"
    names = known()
    for name in marker.kwargs:
        if name not in names:
            near = difflib.get_close_matches(name, names, 1)
            fix = f"did you mean {near[0]}?" if near else f"the arguments are {', '.join(names)}"
            yield f"@pytest.mark.colonysim({name}=...): there is no such argument; {fix}"
    given = {name: value for name, value in marker.kwargs.items() if value is not None and name in names}
    for name, value in given.items():
        if text := _refusal(name, value, given, item):
            yield f"@pytest.mark.colonysim({name}={_shown(value)}): {text}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text[:_SHOWN] + "…" if len(text) > _SHOWN else text


# ---------------------------------------------------------------- each argument
def _is_whole(value: Any) -> bool:
    return type(value) is int


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, PathLike))


def _is_settings(value: Any) -> bool:
    from colonysim.core.settings import Settings

    return isinstance(value, Settings)


def _is_mode(value: Any) -> bool:
    from colonysim.kernel.clock import Mode

    return value in tuple(Mode)


def _is_for_journal_errors(value: Any) -> bool:
    from colonysim.evidence.journal import JournalErrors

    return value in tuple(JournalErrors)


def _may_be_invariants(value: Any) -> bool:
    return _is_bool(value) or isinstance(value, (list, tuple))  # Simulation checks what is in it


def _is_scenario(value: Any) -> bool:
    from colonysim.scenarios.scenario import Scenario

    return _is_path(value) or isinstance(value, Scenario)


EXPECTED: Final[dict[str, tuple[str, Callable[[Any], bool]]]] = {
    "seed": ("a whole number, such as 7", _is_whole),
    "seeds": (f"a whole number, 1 or more and {options.MOST_SEEDS} at most: else no test would be run, or too many",
              lambda value: _is_whole(value) and 1 <= value <= options.MOST_SEEDS),
    "scenario": ("a scenario file or a Scenario", _is_scenario),
    "frozen": ("True or False", _is_bool),
    "settings": ("Settings", _is_settings),
    "mode": ("one of 'manual', 'auto', 'scaled' and 'real'", _is_mode),
    "rate": ("a number", _is_number),
    "invariants": ("True or False, or a list of classes", _may_be_invariants),
    "journal": ("True, False or a file", lambda value: _is_bool(value) or _is_path(value)),
    "journal_errors": ("'continue' or 'stop'", _is_for_journal_errors),
    "threshold_s": ("a number of seconds", _is_number),
}  # fmt: skip
"""What the arguments are that neither `Settings` nor the model of faults checks, and whether a value is that."""


def _refusal(name: str, value: Any, given: dict[str, Any], item: pytest.Item) -> str | None:
    """What is wrong with an argument, and what to give instead; None if nothing is."""
    from colonysim.pytest_plugin import scenarios
    from colonysim.simulation.simulation import Simulation

    expected, fits = EXPECTED.get(name, ("", None))
    try:
        if fits is not None and not fits(value):
            return f"expected {expected}"
        if name == "faults":
            scenarios.add_faults(Simulation(mode="manual"), value)
        elif name == "scenario":
            scenarios.scenario_of(value, None, item)
        elif name == "rate":
            Simulation(mode=given.get("mode", "auto"), rate=value)
        elif name == "mode":
            Simulation(mode=value)
        elif name == "seeds":
            if _is_whole(first := given.get("seed", 0)):
                options.check_last_seed(first, value)
        elif name not in ("journal", "frozen"):  # a file is written only where a test runs
            Simulation(**{name: value})
    except MissingExtra:
        return None  # the test fails with the command that installs it
    except OSError as error:
        return error.strerror or str(error)
    except (ValueError, TypeError, pytest.UsageError) as error:
        return str(error)
    return None


# ---------------------------------------------------------------- the arguments and the test
def _in_its_place(item: pytest.Item) -> Iterator[str]:
    """What the marker of this test asks for that has no effect on it."""
    given = arguments(item)
    fixtures = getattr(item, "fixturenames", ())
    own = [mark for mark in item.own_markers if mark.name == "colonysim"]
    if len(own) > 1:
        yield "only the first of two markers colonysim on one test has an effect: give all arguments in one of them"
    if "scenario" in given:
        if "colonysim_result" not in fixtures:
            yield "a scenario is run by the fixture colonysim_result: ask for it, or leave scenario out"
        elif "make_colonysim" not in fixtures:
            for name in given:
                if name not in OF_TESTS:
                    yield f"{name} has no effect on a scenario: set it in the scenario, or leave it out"
    if given.get("frozen") and "colonysim" not in fixtures and own:
        yield "frozen has no effect: ask for the fixture colonysim, or use `with colonysim.freeze(sim):`"
    several = "colonysim_seed" in getattr(getattr(item, "callspec", None), "params", {})
    if "seeds" in given and not several and (own or "colonysim_seed" in fixtures):
        yield "seeds has no effect: mark a test function that uses a fixture of colonysim"
