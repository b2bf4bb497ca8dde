"""Parts of a scenario that colonysim does not have: arrivals, checks, an invariant and a policy (docs/extending.md)."""

from collections.abc import Iterator
from random import Random

from colonysim import Invariant, ProcessState
from colonysim.scenarios import Arrivals, Check, Watch


class Shift(Arrivals):
    """Independent submissions, `per_hour` on average, between two hours of the day (UTC)."""

    per_hour: float
    from_hour: float = 8.0
    until_hour: float = 17.0

    def times(self, random: Random, midnight_s: float) -> Iterator[float]:
        now_s = 0.0
        while True:
            now_s += random.expovariate(self.per_hour / 3600)
            if self.from_hour <= (midnight_s + now_s) / 3600 % 24 < self.until_hour:
                yield now_s


class Requeues(Check):
    """Processes come back to the queue at most `most` times in all."""

    most: int

    def watch(self, checks, name):
        return RequeueWatch(checks, name, self.most)


class RequeueWatch(Watch):
    def __init__(self, checks, name, most):
        super().__init__(checks, name, f"at most {most} processes come back to the queue")
        self.most, self.count = most, 0

    def happened(self, step):
        self.looked += 1
        if (step.old, step.new) == (ProcessState.RUNNING, ProcessState.WAITING):
            self.count += 1
            if self.count > self.most:
                self.fail(step.now_ns, self.count, step.process_id)


def even_waits(summary, ratio=50.0):
    """No wait is out of proportion to the mean one."""
    waiting = summary.waiting_s
    if waiting.count and waiting.max > ratio * waiting.mean:
        return f"somebody waited {waiting.max:.0f} s, {waiting.max / waiting.mean:.0f} times as long as the mean"
    return None


class FewBackups(Invariant):
    """At most two backups run at once."""

    def __init__(self, ledger):
        super().__init__(ledger)
        self.running = set()

    def moved(self, step, record):
        if record.process.spec.funcname == "backup":
            if step.new == ProcessState.RUNNING:
                self.running.add(step.process_id)
            else:
                self.running.discard(step.process_id)
            if len(self.running) > 2:
                raise self.ledger.violation(step.process_id, "is the third backup that runs")


LENGTHS_S = {"look": 2, "render": 60, "backup": 600}


def quick_first(process):
    """By the known length of the function; then by the time of submission."""
    return round(LENGTHS_S[process.spec.funcname] * 1e9)
