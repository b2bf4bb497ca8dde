"""What faults see of the messages on their way: a request with its caller, and a reply or push."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import msgspec

from colonysim.core.protocol import Message
from colonysim.core.world import World
from colonysim.faults.triggers import Match, fits


class RequestInfo:
    """A request and its caller. What takes a search is looked up when it is first asked for.

    `caller_id` is the id that signed it, `type_name` its name on the wire (`submitfuncspecmsg`), `message` its content
    where it could be read, and `program` the name of the program that sends it, "" if it is none.
    """

    def __init__(
        self, world: World, caller_id: str, type_name: str, message: Message | None, program: str = ""
    ) -> None:
        self._world = world
        self.caller_id = caller_id
        self.type_name = type_name
        self.message = message
        self.program = program

    @classmethod
    def supposed(
        cls, type_name: str, *, colony: str, role: str, names: tuple[str, ...], executor_type: str
    ) -> RequestInfo:
        """Return a request that might be sent, with its caller; its message is not known."""
        request = cls.__new__(cls)
        request.type_name, request.message = type_name, None
        request.__dict__.update(colony=colony, role=role, names=names, executor_type=executor_type)
        return request

    @cached_property
    def colony(self) -> str:
        """The name of the colony that the message is about, or else its caller's; "" if neither is known."""
        if found := _colony_named_in(self.message):
            return found
        process = self._world.processes.get(getattr(self.message, "processid", ""))
        if process is not None:
            return process.colony
        records = self._world.executors_by_id.get(self.caller_id)
        return records[0].colony if records else ""

    @cached_property
    def executor_type(self) -> str:
        """The caller's executor type, "" where it is no executor."""
        records = self._world.executors_by_id.get(self.caller_id)
        return records[0].executor_type if records else ""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names of the caller: as an executor, as a user, its id, and its program's name."""
        world, caller_id = self._world, self.caller_id
        names = [record.name for record in world.executors_by_id.get(caller_id, ())]
        names += [user.name for user in world.users_by_id.get((self.colony, caller_id), ())]
        return (*names, caller_id, self.program)

    @cached_property
    def role(self) -> str:
        """What the caller is to the server: one of `colonysim.faults.Role`."""
        world, caller_id = self._world, self.caller_id
        if caller_id in world.executors_by_id:
            return "executor"
        if caller_id == world.server_id:
            return "server_owner"
        if any(colony.colonyid == caller_id for colony in world.colonies.values()):
            return "colony_owner"
        return "user" if (self.colony, caller_id) in world.users_by_id else "unknown"

    def fits(self, match: Match) -> bool:
        """Return whether all that a match gives fits this request."""
        return (
            (not match.types or fits(match.types, self.type_name))
            and (not match.executor_type or match.executor_type == self.executor_type)
            and (not match.colony or match.colony == self.colony)
            and (not match.role or match.role == self.role)
            and (not match.callers or fits(match.callers, *self.names))
        )


class ReplyInfo(msgspec.Struct, frozen=True):
    """What the server sends: a reply, with its HTTP status, or a push to a subscriber, whose status is 200.

    `payload_type` is its name on the wire, `body` what it holds before it is written as JSON. `type_name` is the name
    of the request that it belongs to.
    """

    type_name: str
    status: int
    payload_type: str
    body: Any
    is_push: bool = False


def _colony_named_in(message: Any) -> str:
    """Return the colony name in a message, or in the spec it carries."""
    if found := getattr(message, "colonyname", ""):
        return str(found)
    for field in getattr(message, "__struct_fields__", ()):
        inner = getattr(message, field)
        if found := getattr(inner, "colonyname", "") or getattr(getattr(inner, "conditions", None), "colonyname", ""):
            return str(found)
    return ""
