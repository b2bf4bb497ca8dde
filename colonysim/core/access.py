"""Access rules as values, one for each message type (docs/protocol/a-foundation.md 4)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from colonysim.core.errors import NUL_TEXT, Refusal, Silence
from colonysim.core.records import APPROVED, RUNNING, Process
from colonysim.core.storage import unparsable
from colonysim.core.world import World

Check = Callable[[World, str, Any, Any], None]
"""(world, caller id, message, target): raises the refusal if the caller has no access."""

ColonyOf = Callable[[Any, Any], str]
"""(message, target): returns the name of the colony that the message is about."""


class AccessRule(msgspec.Struct, frozen=True):
    """A named check. Rules joined by `&` are checked in order."""

    name: str
    check: Check

    def __and__(self, other: AccessRule) -> AccessRule:
        first, second = self.check, other.check

        def both(world: World, caller_id: str, message: Any, target: Any) -> None:
            first(world, caller_id, message, target)
            second(world, caller_id, message, target)

        return AccessRule(f"{self.name}, {other.name}", both)


# ---------------------------------------------------------------- which colony
def named(message: Any, _: Any) -> str:
    """Return the colony that the message names."""
    return message.colonyname  # type: ignore[no-any-return]


def of_target(_: Any, target: Any) -> str:
    """Return the colony of the message's target."""
    return target.colony  # type: ignore[no-any-return]


# ---------------------------------------------------------------- the three checks
def _is_executor(world: World, caller_id: str, colony: str, approved: bool) -> bool:
    records = world.executors_by_id.get(caller_id)
    if not records:
        return False
    executor = records[0]  # Quirk: an id in several colonies is an executor of the first one only
    if executor.colony != colony or (approved and executor.state != APPROVED):
        return False
    return not (world.unreadable_names and unparsable(executor.name, colony))


def require_member(world: World, caller_id: str, colony: str, approved: bool = True) -> None:
    """Raise Refusal 403 unless the caller is a user or an executor (by default an approved one) of a colony."""
    if _is_executor(world, caller_id, colony, approved):
        return
    if users := world.users_by_id.get((colony, caller_id)):
        if world.unreadable_names and any(unparsable(user.name, colony) for user in users):
            raise Refusal(403, "Failed to parse User name")  # Quirk: found, but unreadable
        return
    if "\0" in colony:
        raise Refusal(403, NUL_TEXT)
    if colony not in world.colonies:
        raise Refusal(403, f"Colony with name <{colony}> does not exists")
    raise Refusal(403, f"Access denied, not a member of Colony with name <{colony}>")


def require_owner(world: World, caller_id: str, colony: str) -> None:
    """Raise Refusal 403 unless the caller owns a colony."""
    if colony == "":
        raise Refusal(403, "Empty Colony name")
    if "\0" in colony:
        raise Refusal(403, NUL_TEXT)
    if colony not in world.colonies:
        raise Refusal(403, f"Colony with name <{colony}> does not exists")
    if world.colonies[colony].colonyid != caller_id:
        raise Refusal(403, "Access denied, not colony owner")


# ---------------------------------------------------------------- rules
def _anyone(world: World, caller_id: str, message: Any, target: Any) -> None:
    return


def _server_owner(world: World, caller_id: str, message: Any, target: Any) -> None:
    if caller_id != world.server_id:
        raise Refusal(403, "Access denied, not server owner")


anyone: Final = AccessRule("anyone", _anyone)
server_owner: Final = AccessRule("server owner", _server_owner)


def colony_owner(of: ColonyOf = named) -> AccessRule:
    """The owner of the colony."""

    def check(world: World, caller_id: str, message: Any, target: Any) -> None:
        require_owner(world, caller_id, of(message, target))

    return AccessRule("colony owner", check)


def member(of: ColonyOf = named) -> AccessRule:
    """A user or an approved executor of the colony."""
    by_target, by_name = of is of_target, of is named

    def check(world: World, caller_id: str, message: Any, target: Any) -> None:
        colony = target.colony if by_target else message.colonyname if by_name else of(message, target)
        if not world.unreadable_names:  # fast path for the usual case; the full check follows
            if records := world.executors_by_id.get(caller_id):
                executor = records[0]
                if executor.colony == colony and executor.state == APPROVED:
                    return
            elif (colony, caller_id) in world.users_by_id:
                return
        require_member(world, caller_id, colony)

    return AccessRule("member", check)


def any_member(of: ColonyOf = named) -> AccessRule:
    """A user or an executor of the colony, whatever the executor's state."""

    def check(world: World, caller_id: str, message: Any, target: Any) -> None:
        require_member(world, caller_id, of(message, target), approved=False)

    return AccessRule("member in any state", check)


def silent_member(of: ColonyOf = named) -> AccessRule:
    """The same as `member`. Quirk: others get 200 and an empty body (docs/protocol/a-foundation.md 2.6)."""

    def check(world: World, caller_id: str, message: Any, target: Any) -> None:
        try:
            require_member(world, caller_id, of(message, target))
        except Refusal:
            raise Silence(200) from None

    return AccessRule("member, refused silently", check)


def member_or_owner(of: ColonyOf = named) -> AccessRule:
    """A member or the owner of the colony; others get the text of the owner check."""

    def check(world: World, caller_id: str, message: Any, target: Any) -> None:
        colony = of(message, target)
        try:
            require_member(world, caller_id, colony)
        except Refusal:
            require_owner(world, caller_id, colony)

    return AccessRule("member or colony owner", check)


# ---------------------------------------------------------------- rules about a process
def holder(refusal: str, *, unassigned: str | None = None) -> AccessRule:
    """The executor that a process is assigned to. `{}` in the text is replaced by that executor's id."""

    def check(world: World, caller_id: str, message: Any, target: Process) -> None:
        if unassigned is not None and not target.executor_id:
            raise Refusal(403, unassigned)
        if target.executor_id != caller_id:
            raise Refusal(403, refusal.replace("{}", target.executor_id))

    return AccessRule("holder of the process", check)


def running(refusal: str) -> AccessRule:
    """The process is running, on any executor. The reference checks this among the access rules."""

    def check(world: World, caller_id: str, message: Any, target: Process) -> None:
        if target.state != RUNNING:
            raise Refusal(403, refusal)

    return AccessRule("while it runs", check)
