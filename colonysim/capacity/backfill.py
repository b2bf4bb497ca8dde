"""Which of the processes that an executor has taken start next, if not all of them have room at once.

A rigid job needs all its resources from its start to its end. All functions are pure: they read jobs, and return those
that start now, in this order. The caller takes what these need from what is free. `backfill` of a group of executors
selects one by its name:

- `none`: first come, first served. What does not fit holds up all that stand behind it.
- `first_fit`: whatever fits starts, in order.
- `easy`: what fits starts, unless it would delay the expected start of the first job that does not fit.
- `conservative`: what fits starts, unless it would delay the planned start of any job in front of it.

The last two rely on expected run times. A job that runs longer than expected is taken to end at the next moment.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Literal

from colonysim.capacity.resources import UNKNOWN_NS, Amounts

Backfill = Literal["none", "first_fit", "easy", "conservative"]


class Job:
    """A process that an executor has taken. `expected_ns`: how long it is expected to run. Times are -1 if not set.

    `order`: its place in the queue. `ends_ns`: its expected end, once it runs. `planned_ns`: when it will start at the
    latest, by the plan of conservative backfill.
    """

    __slots__ = ("ends_ns", "expected_ns", "need", "order", "planned_ns")

    def __init__(self, order: tuple[int, int], need: Amounts, expected_ns: int) -> None:
        self.order = order
        self.need = need
        self.expected_ns = expected_ns
        self.ends_ns = -1
        self.planned_ns = -1


def fits(need: Amounts, free: Amounts) -> bool:
    """Return whether there is enough of every resource."""
    return all(amount <= left for amount, left in zip(need, free, strict=True))


def minus(free: Amounts, need: Amounts) -> Amounts:
    """Return what is left."""
    return tuple([left - amount for left, amount in zip(free, need, strict=True)])


def plus(free: Amounts, need: Amounts) -> Amounts:
    """Return the free capacity after some of it has been released."""
    return tuple([left + amount for left, amount in zip(free, need, strict=True)])


Startable = Callable[[Sequence[Job], Iterable[Job], Amounts, int], list[Job]]
"""Returns the jobs of a queue that start now, given the running ones, what is free, and the time in nanoseconds."""


def none(queue: Sequence[Job], running: Iterable[Job], free: Amounts, now_ns: int) -> list[Job]:
    """First come, first served, without backfill."""
    started = []
    for job in queue:
        if not fits(job.need, free):
            break
        free = minus(free, job.need)
        started.append(job)
    return started


def first_fit(queue: Sequence[Job], running: Iterable[Job], free: Amounts, now_ns: int) -> list[Job]:
    """Start whatever fits."""
    started = []
    for job in queue:
        if fits(job.need, free):
            free = minus(free, job.need)
            started.append(job)
    return started


def easy(queue: Sequence[Job], running: Iterable[Job], free: Amounts, now_ns: int) -> list[Job]:
    """Aggressive backfill (Lifka 1995): only the first job that does not fit has a promised start."""
    started = none(queue, running, free, now_ns)
    for job in started:
        free = minus(free, job.need)
    if len(started) == len(queue):
        return started
    first = queue[len(started)]
    ends = [(max(job.ends_ns, now_ns + 1), job.need) for job in running]
    ends += [(now_ns + job.expected_ns, job.need) for job in started]
    shadow_ns, spare = _promise(first, sorted(ends), free)
    for job in queue[len(started) + 1 :]:
        if not fits(job.need, free):
            continue
        if job.expected_ns == UNKNOWN_NS or now_ns + job.expected_ns > shadow_ns:
            if not fits(job.need, spare):
                continue
            spare = minus(spare, job.need)
        free = minus(free, job.need)
        started.append(job)
    return started


def _promise(first: Job, ends: list[tuple[int, Amounts]], free: Amounts) -> tuple[int, Amounts]:
    """Return when the first job of a queue is expected to start, and what will then be left beside it."""
    shadow_ns = -1
    for end_ns, need in ends:
        if shadow_ns >= 0 and end_ns > shadow_ns:
            break
        free = plus(free, need)
        if shadow_ns < 0 and fits(first.need, free):
            shadow_ns = end_ns
    return shadow_ns, minus(free, first.need)


def conservative(queue: Sequence[Job], running: Iterable[Job], free: Amounts, now_ns: int) -> list[Job]:
    """Conservative backfill: every job has a planned start, which becomes earlier when others end early.

    At each end the jobs are planned anew, in order, each around the plans of all others, until none can be planned
    earlier (compression, Mu'alem and Feitelson 2001); then those that are new are planned. So none is planned later
    than before, unless a job runs longer than expected.
    """
    known = [job for job in queue if job.planned_ns >= 0]
    profile = Profile(now_ns, free, [(max(job.ends_ns, now_ns + 1), job.need) for job in running])
    for job in known:
        if job.planned_ns < now_ns:
            job.planned_ns = -1  # a job in front of it runs longer than expected
        else:
            profile.take(job.planned_ns, job.planned_ns + job.expected_ns, job.need)
    moved = True
    while moved:
        moved = sum(_plan(job, profile) for job in known) > 0
    for job in queue:
        if job.planned_ns < 0:
            _plan(job, profile)
    return [job for job in queue if job.planned_ns == now_ns]


def _plan(job: Job, profile: Profile) -> bool:
    """Plan a job around all others, as early as possible. Returns whether this has changed its planned start."""
    before_ns = job.planned_ns
    if before_ns >= 0:
        profile.give(before_ns, before_ns + job.expected_ns, job.need)
    job.planned_ns = profile.earliest(job.need, job.expected_ns)
    profile.take(job.planned_ns, job.planned_ns + job.expected_ns, job.need)
    return job.planned_ns != before_ns


class Profile:
    """What will be free when: from `times[i]` on, `free[i]`. `ends`: when something is given back, and what."""

    def __init__(self, now_ns: int, free: Amounts, ends: list[tuple[int, Amounts]]) -> None:
        self.times = [now_ns]
        self.free = [free]
        for end_ns, need in sorted(ends):
            free = plus(free, need)
            if end_ns == self.times[-1]:
                self.free[-1] = free
            else:
                self.times.append(end_ns)
                self.free.append(free)

    def take(self, from_ns: int, to_ns: int, need: Amounts) -> None:
        """Take something for a time."""
        self._change(from_ns, to_ns, need, minus)

    def give(self, from_ns: int, to_ns: int, need: Amounts) -> None:
        """Give back what was taken for a time."""
        self._change(from_ns, to_ns, need, plus)

    def _change(self, from_ns: int, to_ns: int, need: Amounts, change: Callable[[Amounts, Amounts], Amounts]) -> None:
        first, last = self._step(from_ns), self._step(to_ns)
        for place in range(first, last):
            self.free[place] = change(self.free[place], need)

    def _step(self, time_ns: int) -> int:
        """Return the index of a time, which becomes one of `times`."""
        place = bisect_left(self.times, time_ns)
        if place == len(self.times) or self.times[place] != time_ns:
            insort(self.times, time_ns)
            self.free.insert(place, self.free[place - 1])
        return place

    def earliest(self, need: Amounts, length_ns: int) -> int:
        """Return the first time from which on something is free for `length_ns`."""
        start = 0
        for place, free in enumerate(self.free):
            if self.times[place] >= self.times[start] + length_ns and place > start:
                break
            if not fits(need, free):
                start = place + 1
        return self.times[start]


STARTABLE: Final[dict[Backfill, Startable]] = {
    "none": none,
    "first_fit": first_fit,
    "easy": easy,
    "conservative": conservative,
}
