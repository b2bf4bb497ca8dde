"""Warnings: parts of a scenario that did nothing in a run, or that cannot do anything in any."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Final, Literal, get_args

import msgspec

Kind = Literal[
    "fault",
    "swarm",
    "check",
    "executors",
    "program",
    "workload",
    "cron",
    "generator",
    "policy",
    "scenario",
    "variant",
    "measure",
]
KINDS: Final = get_args(Kind)


class RunWarning(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a scenario that did nothing, so that a successful run means less than it seems to.

    `name` is the part's own, `path` its place in the scenario, such as `faults.0`.
    """

    kind: Kind
    name: str
    path: str
    text: str

    def __str__(self) -> str:
        return f"{self.path}: {self.text}" if self.path else self.text


def check_patterns(patterns: Iterable[str]) -> None:
    """Raise ValueError if a pattern can match no warning."""
    for place, pattern in enumerate(patterns):
        kind, colon, name = pattern.partition(":")
        if not colon or not name.strip() or not fnmatch.filter(KINDS, kind.strip()):
            raise ValueError(
                f"{place}: {pattern!r} does not name a warning; write `kind: name`, such as `fault: lost replies`; "
                f"the kinds are {', '.join(KINDS)}"
            )


def without_accepted(warnings: Iterable[RunWarning], patterns: Iterable[str]) -> list[RunWarning]:
    """Return the warnings that no pattern accepts."""
    accepted = [(kind.strip(), name.strip()) for kind, _, name in (pattern.partition(":") for pattern in patterns)]
    return [
        one
        for one in warnings
        if not any(fnmatch.fnmatchcase(one.kind, kind) and _fits(one.name, name) for kind, name in accepted)
    ]


def _fits(name: str, pattern: str) -> bool:
    return name == pattern or fnmatch.fnmatchcase(name, pattern)
