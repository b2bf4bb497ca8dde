"""The conditions under which an executor may have a process: docs/protocol/b-processes.md 4.3."""

from __future__ import annotations

from typing import Final

from colonysim.core.records import NO_RESOURCES, Process
from colonysim.core.scheduling import Demand

MAX_COUNT: Final = 127


def unfit(process: Process, demand: Demand, exclusive: bool = True) -> str | None:
    """Return why an executor may not have a process; None if it may."""
    conditions = process.spec.conditions
    if process.colony != demand.colony:
        return f"which asked for work in {demand.colony!r}, not in {process.colony!r}"
    if conditions.executortype != demand.executor_type:
        return f"an executor of type {demand.executor_type!r}, not {conditions.executortype!r}"
    if (names := conditions.executornames) and demand.name not in names and (exclusive or names != ["*"]):
        return f"not one of {', '.join(names)}"
    if conditions.locationname and conditions.locationname.lower() != demand.location.lower():
        return f"at {demand.location!r}, not at {conditions.locationname!r}"
    if (cpu_milli := demand.cpu_milli) is not None and process.resources.cpu_milli > cpu_milli:
        return f"with {cpu_milli}m of CPU, not {process.resources.cpu_milli}m"
    if (memory_bytes := demand.memory_bytes) is not None and process.resources.memory_bytes > memory_bytes:
        return f"with {memory_bytes} bytes of memory, not {process.resources.memory_bytes}"
    if process.resources is NO_RESOURCES and not (
        conditions.nodes or conditions.processes or conditions.processespernode
    ):
        return None  # the usual case, for speed
    return _for_nobody(process, exclusive)


def is_for_nobody(process: Process, exclusive: bool) -> bool:
    """Whether no executor at all may have a process."""
    return _for_nobody(process, exclusive) is not None


def _for_nobody(process: Process, exclusive: bool) -> str | None:
    conditions = process.spec.conditions
    if exclusive and process.resources.storage_bytes > 0:
        return "although it asks for storage"
    if conditions.nodes > MAX_COUNT or conditions.processes > MAX_COUNT or conditions.processespernode > MAX_COUNT:
        return f"although it asks for more than {MAX_COUNT} nodes or processes"
    return None
