"""What may stand on the agenda, and which comes first at the same instant (lowest rank first)."""

from __future__ import annotations

from typing import Final

from colonysim.core.agenda import Event

RELEASE_RANK: Final = 10
POLL_RANK: Final = 20
GENERATOR_RANK: Final = 30
CRON_RANK: Final = 35
STREAM_RANK: Final = 40
CLEANUP_RANK: Final = 50
RETENTION_RANK: Final = 55


class ReleaseTick(Event, frozen=True):
    """The release loop looks at the processes whose deadline has passed: docs/protocol/b-processes.md 5.5."""

    second: int


class PollOver(Event, frozen=True):
    """The time of a parked assign call is up."""

    ticket: int


class GeneratorCheck(Event, frozen=True):
    """The generator checker may find enough arguments, or its time to be up: docs/protocol/c-workflows.md 7.3."""

    generator_id: str


class CronCheck(Event, frozen=True):
    """The cron checker may start a workflow: docs/protocol/c-workflows.md 6.6."""

    cron_id: str


class SubscriptionOver(Event, frozen=True):
    """The time of a channel subscription is up."""

    stream: int


class StreamOver(Event, frozen=True):
    """The time of a process subscription is up: the server drops the whole connection."""

    stream: int


class Cleanup(Event, frozen=True):
    """Look for executors that have not been heard of for too long: docs/protocol/a-foundation.md 7.1."""


class Retention(Event, frozen=True):
    """Delete what is older than the retention policy allows: docs/protocol/b-processes.md 7."""
