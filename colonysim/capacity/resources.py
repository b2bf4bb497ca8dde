"""What an executor can hold at once, and how much of it a process takes.

Of these resources the server knows CPU and memory only: an assign call offers what is left of them. It stores the
nodes, GPUs and storage that a process asks for, but does not compare them with anything that an executor offers, so
an executor compares them itself (docs/protocol/b-processes.md 4.3).
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Annotated, Final

from msgspec import Meta

from colonysim.core.errors import Refusal
from colonysim.core.golang.units import format_cpu, parse_cpu, parse_memory
from colonysim.core.policies import EXPECTED
from colonysim.core.records import SECOND_NS, Process
from colonysim.core.types import FunctionSpec
from colonysim.core.values import Value

Amounts = tuple[int, ...]
"""An amount of each limited resource of an executor."""

Cpu = Annotated[float, Meta(ge=0, le=1e9)] | str
"""A number of CPUs, or a text in milli-CPU such as `500m`."""

Amount = Annotated[int, Meta(ge=0, le=2**31 - 1)]

UNKNOWN_NS: Final = 2**62
"""An expected run time that is not known: 146 years."""

_LONGEST_S: Final = UNKNOWN_NS // SECOND_NS - 1


def wrong_cpu(given: float | str) -> str:
    """Return what is wrong with an amount of CPU; "" if nothing is."""
    fix = "give a number of CPUs, such as 2 or 0.5, or milli-CPU, such as '500m'"
    if isinstance(given, str):
        if not given.endswith("m") and given:
            return f"the server takes it for 0, because it does not end with 'm'; {fix}"
        try:
            milli = parse_cpu(given)
        except Refusal:
            return f"it is not a whole number of milli-CPU; {fix}"
        return f"it is below zero; {fix}" if milli < 0 else ""
    return "" if (given * 1000).is_integer() else f"it is not a whole number of milli-CPU; {fix}"


def cpu_text(given: float | str) -> str:
    """Return an amount of CPU as the server reads it."""
    return given if isinstance(given, str) else format_cpu(round(given * 1000))


def wrong_memory(given: str) -> str:
    """Return what is wrong with an amount of memory or storage; "" if nothing is."""
    try:
        size_bytes = parse_memory(given)
    except Refusal:
        return "it is not a whole number with a unit that the server knows; write for example 512Mi, 4Gi, 1TiB or 10G"
    return "it is below zero, or has more than 63 bits" if size_bytes < 0 else ""


class Capacity(Value, frozen=True, kw_only=True):
    """What an executor has for all processes that it holds at once. What is not given is unlimited."""

    cpu: Cpu | None = None
    memory: str = ""
    gpu: Amount | None = None
    nodes: Amount | None = None
    storage: str = ""

    def check(self) -> None:
        if self.cpu is None and not self.memory and self.gpu is None and self.nodes is None and not self.storage:
            raise ValueError("a capacity needs at least one of cpu, memory, gpu, nodes and storage")
        if self.cpu is not None and (why := wrong_cpu(self.cpu) or ("" if self.cpu != "" else "it is empty")):
            raise self.refused("cpu", why)
        for name in ("memory", "storage"):
            if why := wrong_memory(getattr(self, name)):
                raise self.refused(name, why)


class Resource:
    """One resource: how much of it a process takes, and which amount is one unit of it in utilisation."""

    __slots__ = ("name", "need", "unit")

    def __init__(self, name: str, unit: int, need: Callable[[Process], int]) -> None:
        self.name = name
        self.unit = unit
        self.need = need


def _gpus(process: Process) -> int:
    gpu = process.spec.conditions.gpu
    return 0 if gpu is None else gpu.count


RESOURCES: Final = (
    Resource("cpu", 1000, lambda process: process.resources.cpu_milli),
    Resource("nodes", 1, lambda process: process.spec.conditions.nodes),
    Resource("gpu", 1, _gpus),
    Resource("slots", 1, lambda process: 1),
    Resource("memory", 0, lambda process: process.resources.memory_bytes),
    Resource("storage", 0, lambda process: process.resources.storage_bytes),
)
"""All resources. The first one that an executor limits is the one by which its utilisation is measured."""


class ExecutorLimits:
    """The resources that an executor limits, and how much it has of each."""

    def __init__(self, capacity: Capacity | None, slots: int | None) -> None:
        given: dict[str, int | None] = {"slots": slots}
        if capacity is not None:
            given["cpu"] = None if capacity.cpu is None else parse_cpu(cpu_text(capacity.cpu))
            given["memory"] = parse_memory(capacity.memory) if capacity.memory else None
            given["storage"] = parse_memory(capacity.storage) if capacity.storage else None
            given |= {"gpu": capacity.gpu, "nodes": capacity.nodes}
        limited = [one for one in RESOURCES if given.get(one.name) is not None]
        self.names = tuple(one.name for one in limited)
        self.total: Amounts = tuple(given[name] or 0 for name in self.names)
        self.beyond_server = not {"cpu", "memory", "slots"}.issuperset(self.names)
        """Whether it limits something that the server does not know."""
        self._needs = tuple(one.need for one in limited)
        self.unit = limited[0].unit or max(1, self.total[0])
        self.width = self.total[0] / self.unit
        """How many times it counts in utilisation: its CPUs, or else its nodes, GPUs or slots, or else once."""

    def needs(self, process: Process) -> Amounts:
        """Return how much of each resource a process takes."""
        return tuple(max(0, need(process)) for need in self._needs)

    def lacking(self, need: Amounts) -> str:
        """Return what an executor without any process has too little of for a process; "" if it has enough."""
        return ", ".join(
            f"it needs {amount} {name} and the executor has {total}"
            for name, amount, total in zip(self.names, need, self.total, strict=True)
            if amount > total
        )

    def offer(self, free: Amounts) -> tuple[str, str]:
        """Return the CPU and the memory that an assign call offers; "" for what is unlimited."""
        left = dict(zip(self.names, free, strict=True))
        cpu = format_cpu(left["cpu"]) if "cpu" in left else ""
        return cpu, memory_offer(left["memory"]) if "memory" in left else ""


def memory_offer(size_bytes: int) -> str:
    """Return an amount of memory in the units of the server, rounded down: it has none for single bytes."""
    in_kibi, in_kilo = size_bytes // 1024 * 1024, size_bytes // 1000 * 1000
    return f"{in_kibi // 1024}Ki" if in_kibi >= in_kilo else f"{in_kilo // 1000}K"


def expected_ns(spec: FunctionSpec) -> int:
    """Return how long a process is expected to run: `expected_s`, `walltime` or `maxexectime`; otherwise UNKNOWN_NS.

    `expected_s` is a keyword argument of the process, by which policies of the server rank too.
    """
    stated = (spec.kwargs or {}).get(EXPECTED)
    if isinstance(stated, (int, float)) and not isinstance(stated, bool) and isfinite(stated) and stated >= 0:
        return max(1, round(min(stated, _LONGEST_S) * SECOND_NS))
    limit_s = spec.conditions.walltime if spec.conditions.walltime > 0 else spec.maxexectime
    return min(limit_s, _LONGEST_S) * SECOND_NS if limit_s > 0 else UNKNOWN_NS
