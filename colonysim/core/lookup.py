"""Find the target of a message, or raise the refusal of its message type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from colonysim.core import storage
from colonysim.core.errors import Refusal
from colonysim.core.records import Executor, Process
from colonysim.core.world import World


def process(status: int, text: str) -> Callable[[World, str, Any], Process]:
    """Return a function that finds the process named by `processid`, or raises this refusal."""

    def find(world: World, _: str, message: Any) -> Process:
        found = world.processes.get(message.processid)
        if found is None:
            raise Refusal(status, text)
        return found

    return find


def executor(status: int, text: str) -> Callable[[World, str, Any], Executor]:
    """Return a function that finds the executor named by `colonyname` and `executorname`, or raises this refusal."""

    def find(world: World, _: str, message: Any) -> Executor:
        found = world.executors.get((message.colonyname, message.executorname))
        if found is None:
            if world.request.has_nul:
                storage.text(400, message.colonyname, message.executorname)
            raise Refusal(status, text)
        require_readable(found)
        return found

    return find


def require_readable(executor: Executor) -> None:
    """Raise Refusal 400 for a colon in the name. Quirk: such executors are stored, but unreadable.

    Source: docs/protocol/a-foundation.md 7.5.
    """
    if storage.unparsable(executor.name, executor.colony):
        raise Refusal(400, "Failed to parse Executor name")


def known_colony(world: World, _: str, message: Any) -> None:
    """Raise Refusal 400, before any access rule, unless the colony exists (docs/protocol/a-foundation.md 6.3)."""
    require_colony(world, message.colonyname)


def require_colony(world: World, colony: str) -> None:
    """Raise Refusal 400 unless a colony exists."""
    if colony in world.colonies:
        return
    if "\0" in colony:
        raise Refusal(400, "Failed to resolve colony name")
    raise Refusal(400, f"Colony with name <{colony}> does not exists")


def given(field: str, text: str) -> Callable[[World, str, Any], None]:
    """Return a function that raises Refusal 400, before any access rule, if a field is null."""

    def find(world: World, _: str, message: Any) -> None:
        if getattr(message, field) is None:
            raise Refusal(400, text)

    return find


def or_null(items: Any) -> Any:
    """Return a tuple, or None if it is empty. Quirk: most empty lists are null in replies."""
    return tuple(items) or None
