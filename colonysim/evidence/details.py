"""One thing in full, for people: a process, a workflow, or a call as it was on the wire."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

import msgspec

from colonysim.core.errors import Refusal
from colonysim.core.golang.civil import zone_of
from colonysim.core.golang.times import format_sent_time
from colonysim.core.protocol import Echo, Message
from colonysim.core.records import Channel, Process
from colonysim.core.types import Timestamp
from colonysim.core.world import World
from colonysim.evidence.tables import STATES, call_row, executor_name, given_time, graph_row, process_row
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import Call, CorruptedBody
from colonysim.kernel.why_idle import name_of
from colonysim.wire.views import Views

MOST_SHOWN: Final = 500
"""Logs, messages of a channel, and relatives of a process."""
MOST_NODES: Final = 2000
_MOST_TEXT: Final = 4000


def process_details(kernel: Kernel, process_id: str) -> dict[str, Any] | None:
    """Return all there is about a process; None if there is none. Under the kernel's lock.

    `wire` is the process as replies show it; of logs and of each channel's messages the last are shown.
    """
    world = kernel.world
    process = world.processes.get(process_id)
    if process is None:
        return None
    logs = world.logs.of_process.get(process_id, [])
    channels = world.channels.get(process_id)
    return process_row(world, process) | {
        "now_ns": world.now_ns,
        "initiator": process.initiator_name or process.initiator_id,
        "wait_deadline_ns": given_time(process.wait_deadline_ns),
        "exec_deadline_ns": given_time(process.exec_deadline_ns),
        "wire": Views(zone_of(world.settings.timezone)).show(process),
        "logs_total": len(logs),
        "logs": [
            {"at_ns": log.timestamp, "executor": log.executorname, "text": log.message} for log in logs[-MOST_SHOWN:]
        ],
        "channels": [] if channels is None else [_channel(world, *item) for item in channels.by_name.items()],
        "parents": _relatives(world, process.parents),
        "children": _relatives(world, process.children),
    }


def _relatives(world: World, ids: list[str] | tuple[str, ...]) -> list[dict[str, Any]]:
    return [_node(world, world.processes[each]) for each in islice(ids, MOST_SHOWN) if each in world.processes]


def _channel(world: World, name: str, channel: Channel) -> dict[str, Any]:
    messages = [
        {
            "sequence": entry.sequence,
            "in_reply_to": entry.in_reply_to,
            "at_ns": entry.timestamp_ns,
            "sender": name_of(world, entry.sender_id),
            "type": entry.type,
            "text": (entry.payload or b"").decode("utf-8", "backslashreplace")[:_MOST_TEXT],
        }
        for entry in channel.log[-MOST_SHOWN:]
    ]
    return {"name": name, "total": len(channel.log), "messages": messages}


# ---------------------------------------------------------------- workflows
def graph_details(kernel: Kernel, graph_id: str) -> dict[str, Any] | None:
    """Return a workflow with its first processes; None if there is none. Under the kernel's lock."""
    world = kernel.world
    graph = world.graphs.get(graph_id)
    if graph is None:
        return None
    nodes = [world.processes[each] for each in islice(graph.members, MOST_NODES) if each in world.processes]
    return graph_row(world, graph) | {"nodes": [_node(world, node) for node in nodes]}


def _node(world: World, process: Process) -> dict[str, Any]:
    return {
        "id": process.process_id,
        "name": process.spec.nodename or process.spec.funcname,
        "function": process.spec.funcname,
        "state": STATES[process.state],
        "waits_for_parents": process.wait_for_parents,
        "executor": executor_name(world, process),
        "parents": list(process.parents),
    }


# ---------------------------------------------------------------- calls
def call_details(kernel: Kernel, number: int) -> dict[str, Any] | None:
    """Return a kept call with its request and reply; None if it is not kept. Under the kernel's lock.

    `request` is the message's JSON text; `exact` says whether these are the bytes that came: requests of this process
    have none, and those of long requests are not kept, so their text is made of the message. `reply` is the text of the
    reply's body, None while there is none.
    """
    call = next((call for call in reversed(kernel.calls) if call.number <= number), None)
    if call is None or call.number != number:
        return None
    request, exact = _request(call)
    return call_row(kernel.world, call) | {
        "caller_id": call.caller_id,
        "request": request,
        "exact": exact,
        "reply": reply_text(kernel, call, request),
    }


def _request(call: Call) -> tuple[str, bool]:
    if call.payload:
        return call.payload.decode("utf-8", "replace"), True
    if isinstance(call.message, bytes):
        return call.message.decode("utf-8", "replace"), True
    return message_text(call.message, call.payload_type), False


def message_text(message: Message, payload_type: str) -> str:
    """Return the JSON that a client would send for a message: its type, and the fields that differ from the default."""
    return msgspec.json.encode({"msgtype": payload_type} | _set_fields(message)).decode()


def _set_fields(struct: msgspec.Struct) -> dict[str, Any]:
    default = type(struct)()
    names = [name for name in struct.__struct_fields__ if getattr(struct, name) != getattr(default, name)]
    return {name: _plain(getattr(struct, name)) for name in names if name != "msgtype"}


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return _set_fields(value)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    try:
        return format_sent_time(value) if isinstance(value, Timestamp) else value
    except Refusal:  # in its own zone it is in no year that can be written
        return repr(value)


def reply_text(kernel: Kernel, call: Call, request: str) -> str | None:
    """Return the text of a reply's body as it is on the wire; None while there is none. `request`: that of the call."""
    body = call.body
    if body is None:
        return None
    if isinstance(body, Echo):
        return request
    if isinstance(body, CorruptedBody):
        return body.text
    try:
        return Views(zone_of(kernel.world.settings.timezone)).json(body).decode()
    except Refusal as refusal:
        return refusal.text
