"""Executors report output, success and failure of their processes (docs/protocol/b-processes.md 5.2 to 5.4)."""

from __future__ import annotations

from typing import Any

from colonysim.core import lifecycle, lookup, storage
from colonysim.core.access import holder, member, of_target, running
from colonysim.core.errors import Refusal
from colonysim.core.golang.units import through_double
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import CANCELLED, FAILED, SUCCESS, WAITING, Process
from colonysim.core.registry import operation
from colonysim.core.world import World


class CloseSuccessful(Message, frozen=True):
    processid: str = ""
    out: list[Any] | None = None


@operation(
    "closesuccessfulmsg",
    CloseSuccessful,
    "Failed to close successful",
    mismatch="Failed to close process as successful, msg.MsgType does not match payloadType",
    find=lookup.process(500, "Failed to close process as successful, process is nil"),
    access=member(of_target)
    & holder(
        "Failed to close process as successful, not allowed to close process as successful",
        unassigned="Failed to close process as successful, process is not assigned",
    ),
)
def close_successful(world: World, caller: str, message: CloseSuccessful, process: Process) -> Empty:
    """Close a process as successful. Quirk: it may be closed again, and even a refused close stores its output."""
    output = through_double(message.out) if message.out else []
    state = process.state
    if state in (FAILED, CANCELLED, WAITING):
        process.output = output or process.output
        if state == FAILED:
            raise Refusal(400, "Tried to set failed process as successful")
        if state == CANCELLED:
            raise Refusal(400, "Tried to set cancelled process as successful")
        raise Refusal(400, "Tried to set waiting process as successful without being running")
    lifecycle.succeed(world, process, output)
    return EMPTY


class CloseFailed(Message, frozen=True):
    processid: str = ""
    errors: list[str] | None = None


@operation(
    "closefailedmsg",
    CloseFailed,
    "Failed to close failed",
    mismatch="Failed to close process as failed, msg.MsgType does not match payloadType",
    find=lookup.process(500, "Failed to close process as failed, process is nil"),
    access=member(of_target)
    & holder(
        "Failed to close process as failed, not allowed to close process as failed",
        unassigned="Failed to close process as failed, process is not assigned",
    ),
)
def close_failed(world: World, caller: str, message: CloseFailed, process: Process) -> Empty:
    """Close a process as failed, for good: `maxretries` does not apply."""
    refusal = {
        SUCCESS: "Tried to set successful process as failed",
        FAILED: "Tried to set failed process as failed",
        CANCELLED: "Tried to set cancelled process as failed",
    }.get(process.state)
    if refusal:
        raise Refusal(400, refusal)
    if world.request.has_nul:
        storage.text(400, message.errors)
    lifecycle.fail(world, process, message.errors)
    return EMPTY


class SetOutput(Message, frozen=True):
    processid: str = ""
    out: list[Any] | None = None


@operation(
    "setoutputmsg",
    SetOutput,
    "Failed to set output",
    find=lookup.process(500, "Failed to set output, process is nil"),
    access=member(of_target)
    & holder("Failed to close process as successful, not allowed to close process as successful")
    & running("Failed to set output, process is not running"),
)
def set_output(world: World, caller: str, message: SetOutput, process: Process) -> Empty:
    """Replace the output; an empty one changes nothing."""
    if message.out:
        process.output = through_double(message.out)
    return EMPTY
