"""The plugin's options: command-line options, variables of the environment and ini keys, all checked at the start."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import pytest

MOST_SEEDS: Final = 100_000
"""Of one test. pytest holds all its runs in memory from the beginning."""

_SHOWN: Final = 100  # characters of a wrong value that a message repeats
_YES: Final = ("yes", "true", "1")
_NO: Final = ("no", "false", "0")
_WHOLE: Final = re.compile(r"[+-]?[0-9]{1,40}", re.ASCII)
_HOST: Final = re.compile(r"\w[\w.-]*|[0-9a-f]*:[0-9a-f:.]*(%\w+)?")
_NOT_IN_A_URL: Final = re.compile(r"[\s?#@]")


class Option(NamedTuple):
    """An option: its help, what its value must be, and how to read it. `read` raises ValueError with a reason or ""."""

    about: str
    expected: str
    read: Callable[[str], Any]
    is_flag: bool = False


# ---------------------------------------------------------------- how values are read
def _seed(text: str) -> int:
    from colonysim.core.settings import check_seed

    return check_seed(_whole(text))


def _seeds(text: str) -> int:
    seeds = _whole(text)
    if seeds < 1:
        raise ValueError("no test would be run")
    if seeds > MOST_SEEDS:
        raise ValueError("too many")
    return seeds


def _whole(text: str) -> int:
    if not _WHOLE.fullmatch(text):
        raise ValueError
    return int(text)


def _yes_or_no(text: str) -> bool:
    if text.lower() not in (*_YES, *_NO):
        raise ValueError
    return text.lower() in _YES


def _url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("it does not begin with http:// or https://")
    if not _HOST.fullmatch(parts.hostname or "") or ".." in (parts.hostname or ""):
        raise ValueError("it names no host")
    if parts.port == 0:
        raise ValueError("no server listens on port 0")
    if not text.isprintable() or _NOT_IN_A_URL.search(text):
        raise ValueError("it has a blank, a query, a fragment or a user")
    return text.rstrip("/")


def _artifacts(text: str) -> Path:
    """The folder, which need not exist yet."""
    path = Path(text)
    place = next(one for one in (path.absolute(), *path.absolute().parents) if one.exists())
    if not place.is_dir():
        raise ValueError(f"{place} is a file")
    if not os.access(place, os.W_OK | os.X_OK):
        raise ValueError(f"{place} cannot be written")
    return path


def _records(text: str) -> Path:
    """The recorded journal, or the folder of those of many tests; all of them have a header that can be read."""
    path = Path(text)
    if path.is_dir():
        journals = sorted(path.glob("*/journal.jsonl"))
        if not journals:
            raise ValueError(f"there is no journal in {text}, so nothing to compare with")
    elif path.exists():
        journals = [path]
    else:
        raise ValueError(f"there is no {text}")
    for journal in journals:
        recorded_seed(journal)
    return path


def recorded_seed(record: Path) -> int:
    """The seed of a recorded journal. Raises ValueError if the file is not a journal, OSError if it cannot be read."""
    from colonysim.evidence.replay import MOST_HEADER_BYTES, BadJournal, read_header

    try:
        with record.open("rb") as file:
            return read_header(file.readline(MOST_HEADER_BYTES)).seed
    except BadJournal as error:
        raise ValueError(f"{record}: {error}") from None


OPTIONS: Final = {
    "seed": Option(
        "seed of every simulation; by default each test has its own, made from its name",
        "a whole number from -9223372036854775808 to 18446744073709551615, such as 7",
        _seed,
    ),
    "seeds": Option(
        "number of seeds to run each test of a simulation with",
        f"a whole number, 1 or more and {MOST_SEEDS} at most, such as 20",
        _seeds,
    ),
    "replay": Option(
        "journal, or folder of artifacts: run with the seed it was recorded with, and fail where histories differ",
        "a journal, or the folder that --colonysim-artifacts has written",
        _records,
    ),
    "check_determinism": Option(
        "run each test of a simulation twice and compare the histories: yes or no", "yes or no", _yes_or_no, True
    ),
    "strict": Option(
        "fail a test where a fault of its marker never struck, or part of its scenario did nothing: yes or no",
        "yes or no",
        _yes_or_no,
        True,
    ),
    "artifacts": Option(
        "folder for the journal of each test that fails, and for the timelines of its unfinished processes",
        "a folder that can be written; it is created when a test fails",
        _artifacts,
    ),
    "real": Option(
        "url of a real Colonies server for the fixture colonysim_url",
        "the address of a server, such as http://127.0.0.1:50080",
        _url,
    ),
}
_VALUES: Final = pytest.StashKey[dict[str, Any]]()


# ---------------------------------------------------------------- adding and reading them all
def add(parser: pytest.Parser) -> None:
    """Add every option to the command line and to the ini file."""
    group = parser.getgroup("colonysim", "a simulated Colonies server")
    for name, option in OPTIONS.items():
        key = f"colonysim_{name}"
        parser.addini(key, option.about, default="")
        if option.is_flag:
            group.addoption(_flag(name), dest=key, action="store_const", const="yes", help=option.about)
        else:
            group.addoption(_flag(name), dest=key, metavar=name.upper(), help=option.about)


def check(config: pytest.Config) -> None:
    """Read every option, and keep the values for `value`. Raises UsageError if a value given anywhere is invalid."""
    values: dict[str, Any] = {}
    for name, option in OPTIONS.items():
        for source, text in _given(config, name):
            values.setdefault(name, _read(option, source, text))
    if "seed" in values and "seeds" in values:
        try:
            check_last_seed(values["seed"], values["seeds"])
        except ValueError as error:
            raise pytest.UsageError(f"--colonysim-seed and --colonysim-seeds: {error}") from None
    config.stash[_VALUES] = values
    for text in _ineffective_variables():
        config.issue_config_time_warning(pytest.PytestConfigWarning(text), stacklevel=2)


def value(config: pytest.Config, name: str) -> Any:
    """An option's value: from the command line, else from the environment, else from the ini file, else None."""
    return config.stash[_VALUES].get(name)


def check_last_seed(first: int, seeds: int) -> None:
    """Raises ValueError if the last of `seeds` seeds from `first` on has more than 64 bits."""
    from colonysim.core.settings import check_seed

    try:
        check_seed(first + seeds - 1)
    except ValueError as error:
        raise ValueError(f"the last of {seeds} seeds from {first} on is too high: {error}") from None


def _flag(name: str) -> str:
    return f"--colonysim-{name.replace('_', '-')}"


def _given(config: pytest.Config, name: str) -> Iterator[tuple[str, str]]:
    """The values that an option is given, each after its source; the first one holds.

    An empty variable or ini key counts as not given; on the command line an empty value is a mistake.
    """
    key = f"colonysim_{name}"
    if (text := config.getoption(key)) is not None:
        yield _flag(name), str(text)
    if text := os.environ.get(key.upper()):
        yield f"the variable {key.upper()}", text
    if text := config.getini(key):
        yield f"the ini key {key}", str(text)


def _read(option: Option, source: str, text: str) -> Any:
    try:
        if not text.strip():
            raise ValueError("it is empty")
        return option.read(text)
    except OSError as error:
        reason = error.strerror or str(error)
    except ValueError as error:
        reason = str(error)
    shown = repr(text[:_SHOWN]) + ("…" if len(text) > _SHOWN else "")
    because = f": {reason}" if reason else ""
    raise pytest.UsageError(f"invalid value {shown} of {source}{because}; expected {option.expected}")


def _ineffective_variables() -> Iterator[str]:
    """A text for each variable that looks like a misspelt option. The others are settings of the command line."""
    for variable in sorted(name for name in os.environ if name.startswith("COLONYSIM_")):
        name = variable.removeprefix("COLONYSIM_").lower()
        if name not in OPTIONS and (near := difflib.get_close_matches(name, OPTIONS, 1, cutoff=0.75)):
            yield f"the variable {variable} has no effect; did you mean COLONYSIM_{near[0].upper()}?"
