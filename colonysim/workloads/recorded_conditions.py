"""The conditions of recorded processes, by their site and their processors."""

from __future__ import annotations

from msgspec.structs import replace

from colonysim.core.golang.units import format_cpu, parse_cpu
from colonysim.core.types import Conditions
from colonysim.traces import Processors, TraceRecord
from colonysim.workloads.sites import SitePlaces


class RecordedConditions(SitePlaces):
    """The conditions of recorded processes. A processor is as many CPUs as `plain` asks for, or one."""

    def __init__(self, plain: Conditions, sites: str, processors: Processors) -> None:
        super().__init__(plain, sites)
        self.processors = processors
        self.cpu_milli = parse_cpu(plain.cpu) or 1000
        self.last: tuple[str, int] | None = None
        self.last_conditions = plain

    def of(self, record: TraceRecord) -> Conditions:
        if self.processors == "ignore":
            return self.at(record.site)
        key = record.site, record.processors
        if key != self.last:
            processors = record.processors if self.processors == "occupy" else 1
            cpu = format_cpu(processors * self.cpu_milli)
            self.last, self.last_conditions = key, replace(self.at(record.site), cpu=cpu)
        return self.last_conditions
