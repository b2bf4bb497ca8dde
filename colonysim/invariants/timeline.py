"""Describe the timeline of a process: its state transitions, their causes, and the logs of its executors."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from colonysim.core.history import Transition
from colonysim.core.records import FAILED, NEW, RUNNING, STATE_NAMES, SUCCESS, WAITING, Process
from colonysim.core.types import Log
from colonysim.core.wording import show_count, show_limit
from colonysim.core.world import World
from colonysim.kernel.clock import show_time
from colonysim.kernel.why_idle import name_of

UNKNOWN: Final = "  nothing is known of it"
"""The timeline of a process that never existed, or whose timeline is no longer kept."""
_SHOWN: Final = 200  # characters of an output or an error


def describe(world: World, process: Process, steps: list[Transition]) -> str:
    """Return the timeline of a process as text: a line for each transition and each log, in order of time."""
    logs = deque(world.logs.of_process.get(process.process_id, ()))
    lines: list[tuple[int, str]] = []
    retries = 0
    for step in steps:
        written_before = step.now_ns if step.old == RUNNING else step.now_ns - 1
        while logs and logs[0].timestamp <= written_before:
            lines.append(_log(logs.popleft()))
        retries += step.cause == "timeout"
        lines.append((step.now_ns, _step(world, process, step, retries)))
    lines += map(_log, logs)
    if not lines:
        return UNKNOWN
    if steps and process.state in (SUCCESS, FAILED):
        what, text = ("output", process.output) if process.state == SUCCESS else ("errors", process.errors)
        lines.append((lines[-1][0], f"{what}: {_cut(_json(text or []))}"))
    return "\n".join(f"  {show_time(at_ns)}  {line}" for at_ns, line in lines)


def _log(log: Log) -> tuple[int, str]:
    return log.timestamp, f"log of {log.executorname}: {_cut(log.message)}"


def _step(world: World, process: Process, step: Transition, retries: int) -> str:
    line = f"{STATE_NAMES[step.old]} → {STATE_NAMES[step.new]}  {step.cause}"
    if step.old == NEW:
        return f"{line} by {process.initiator_name or process.initiator_id[:8]}: {_request(process)}"
    if step.cause == "timeout":
        limit = process.spec.maxretries
        most = limit if limit >= 0 else "any number"
        line += f" after {show_limit(process.spec.maxexectime)}, retry {retries} of {most},"
    if step.new == WAITING and step.executor_id:
        return f"{line} taken from {name_of(world, step.executor_id)}"
    if step.executor_id and (step.new == RUNNING or step.cause == "close"):
        return f"{line} by {name_of(world, step.executor_id)}"
    return line


def _request(process: Process) -> str:
    """Describe the function of a process, and its conditions and limits."""
    spec, conditions = process.spec, process.spec.conditions
    parts = [f"{spec.funcname or 'a function without a name'} for {conditions.executortype!r}"]
    if conditions.executornames:
        parts.append(f"named {', '.join(conditions.executornames)}")
    for text, value in (("at", conditions.locationname), ("cpu", conditions.cpu), ("mem", conditions.mem)):
        if value:
            parts.append(f"{text} {value}")
    if spec.priority:
        parts.append(f"priority {spec.priority}")
    for text, limit_s in (("may wait", spec.maxwaittime), ("may run", spec.maxexectime)):
        if limit_s > 0:
            parts.append(f"{text} {show_limit(limit_s)}")
    if process.parents:
        parts.append(f"after {show_count(len(process.parents), 'parent')}")
    return ", ".join(parts)


def _json(value: Any) -> str:
    return msgspec.json.encode(value, enc_hook=repr).decode()


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
