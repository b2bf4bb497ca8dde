"""The timed events on the agenda, and their order at the same instant: lowest rank first."""

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
    """The release loop examines the processes whose deadline has passed: docs/protocol/b-processes.md 5.5."""

    second: int


class PollOver(Event, frozen=True):
    """A parked assign call times out."""

    ticket: int


class GeneratorCheck(Event, frozen=True):
    """The generator checker may find enough arguments, or a timeout: docs/protocol/c-workflows.md 7.3."""

    generator_id: str


class CronCheck(Event, frozen=True):
    """The cron checker may start a workflow: docs/protocol/c-workflows.md 6.6."""

    cron_id: str


class SubscriptionOver(Event, frozen=True):
    """A channel subscription times out."""

    stream: int


class StreamOver(Event, frozen=True):
    """A process subscription times out: the server drops the whole connection."""

    stream: int


class Cleanup(Event, frozen=True):
    """Unregister executors that have been silent for too long: docs/protocol/a-foundation.md 7.1."""


class Retention(Event, frozen=True):
    """Delete what is older than the retention policy allows: docs/protocol/b-processes.md 7."""
