"""Logs of processes and executors (docs/protocol/b-processes.md 6.1, 6.2)."""

from __future__ import annotations

from itertools import islice
from typing import Any, Final

from colonysim.core import lookup, retention, storage
from colonysim.core.access import holder, member, of_target, running
from colonysim.core.errors import NUL_TEXT, DoubleRefusal, Refusal, Silence
from colonysim.core.like import Like
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.records import APPROVED, DAY_NS, Process
from colonysim.core.registry import operation
from colonysim.core.types import Int, Log
from colonysim.core.world import World

MAX_COUNT: Final = 500
MAX_SEARCH_COUNT: Final = 100
MAX_SEARCH_DAYS: Final = 30


def _write(world: World, log: Log) -> None:
    if "\0" in log.message:
        raise DoubleRefusal(400, NUL_TEXT)
    world.add_log(log)
    retention.log_added(world, log.colonyname)


class AddLog(Message, frozen=True):
    processid: str = ""
    message: str = ""


@operation(
    "addlogmsg",
    AddLog,
    "Failed to add log",
    find=lookup.process(500, "Failed to add log, process is nil"),
    access=member(of_target)
    & running("Failed to set output, process is not running")
    & holder("Failed to add log, not allowed to add log, only the assigned Executor may att logs"),
)
def add_log(world: World, caller: str, message: AddLog, process: Process) -> Empty:
    """Add a log line to a process that the caller runs."""
    records = world.executors_by_id.get(caller)
    if not records:
        raise Silence(500)  # a user who holds a process, or an executor under its old id: the reference crashes
    _write(
        world,
        Log(
            processid=process.process_id,
            colonyname=process.colony,
            executorname=records[0].name,
            message=message.message,
            timestamp=world.now_ns,
        ),
    )
    return EMPTY


class AddExecutorLog(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""
    message: str = ""


@operation("addexecutorlogmsg", AddExecutorLog, "Failed to add executor log", access=member())
def add_executor_log(world: World, caller: str, message: AddExecutorLog, _: None) -> Empty:
    """Add a log line that belongs to no process; only the executor itself may write it."""
    records = world.executors_by_id.get(caller)
    if not records or records[0].colony != message.colonyname or records[0].state != APPROVED:
        raise Refusal(403, "Failed to add executor log, executor not found")
    if records[0].name != message.executorname:
        raise Refusal(403, "Failed to add executor log, executor name mismatch")
    _write(
        world,
        Log(
            colonyname=message.colonyname,
            executorname=message.executorname,
            message=message.message,
            timestamp=world.now_ns,
        ),
    )
    return EMPTY


class GetLogs(Message, frozen=True):
    """`since` is in nanoseconds since 1970."""

    colonyname: str = ""
    processid: str = ""
    executorname: str = ""
    count: Int = 0
    since: Int = 0
    latest: bool = False


def _colony_requested(world: World, caller: str, message: GetLogs) -> str:
    """Return the colony of the executor, or else of the process, whose logs are requested."""
    if message.executorname:
        if (message.colonyname, message.executorname) not in world.executors:
            raise Refusal(500, "Failed to get logs, executor does not exist")
        return message.colonyname
    process = world.processes.get(message.processid)
    if process is None:
        raise Refusal(500, "Failed to get logs, process does not exist")
    return process.colony


def _requested(message: GetLogs, colony: str) -> str:
    return colony


@operation("getlogsmsg", GetLogs, "Failed to get logs", find=_colony_requested, access=member(_requested))
def get_logs(world: World, caller: str, message: GetLogs, colony: str) -> Any:
    """List logs of an executor or of a process, oldest first.

    Quirk: an executor's logs are looked up by its name alone, so those of other colonies are included.
    """
    if message.count > MAX_COUNT:
        raise Refusal(403, f"Count exceeds max log count ({MAX_COUNT})")
    if message.count < 0:
        raise DoubleRefusal(400, "pq: LIMIT must not be negative")
    if message.executorname:
        parts = list(world.logs.of_executor.get(message.executorname, {}).values())
    else:
        parts = [world.logs.of_process.get(message.processid, [])]
    if message.latest:
        return or_null(world.logs.latest(parts, message.count))
    return or_null(world.logs.after(parts, message.since, message.count))


class SearchLogs(Message, frozen=True):
    colonyname: str = ""
    text: str = ""
    days: Int = 0
    count: Int = 0


@operation(
    "searchlogsmsg",
    SearchLogs,
    "Failed to search logs",
    mismatch="Failed to get logs, msg.MsgType does not match payloadType",
    access=member(),
)
def search_logs(world: World, caller: str, message: SearchLogs, _: None) -> Any:
    """List log lines of the last days that contain a text, in which % and _ are wildcards. The order is unspecified."""
    if message.count > MAX_SEARCH_COUNT:
        raise Refusal(400, f"Count exceeds max log count ({MAX_SEARCH_COUNT})")
    if message.days > MAX_SEARCH_DAYS:
        raise Refusal(400, f"Count exceeds max day count ({MAX_SEARCH_DAYS})")
    storage.limit(message.count)
    if world.request.has_nul:
        storage.text(400, message.text)
    if message.days <= 0:
        return None
    since_ns = world.now_ns - message.days * DAY_NS
    pattern = Like(f"%{message.text}%")
    recent = world.logs.since(message.colonyname, since_ns)
    found = (log for log in recent if pattern.matches(log.message))
    return or_null(islice(found, message.count))
