"""A simulator of rigid parallel jobs on one cluster: an independent oracle for executors with capacity.

It shares no code with colonysim, and is written for being plainly right, not for speed: everything is computed anew at
each event, by the definitions of the policies. Times are whole nanoseconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

FOREVER = 2**62


@dataclass
class RigidJob:
    """A job that needs `size` (an amount of each resource) for `run_ns`. `estimate_ns` is FOREVER if unknown."""

    submit_ns: int
    run_ns: int
    size: tuple[int, ...]
    estimate_ns: int = FOREVER
    start_ns: int = -1
    reserved_ns: int = -1

    @property
    def wait_ns(self) -> int:
        return self.start_ns - self.submit_ns


@dataclass
class Cluster:
    """A cluster at a moment: its total, the running jobs, and the waiting ones in order."""

    total: tuple[int, ...]
    now_ns: int = 0
    running: list[RigidJob] = field(default_factory=list)
    waiting: list[RigidJob] = field(default_factory=list)

    def expected_end(self, job: RigidJob) -> int:
        """A job that has run longer than estimated may end at any moment."""
        return max(job.start_ns + job.estimate_ns, self.now_ns + 1)

    def left(self, *used: tuple[int, ...]) -> list[int]:
        """What is left of the total beside some sizes."""
        return [total - sum(size[place] for size in used) for place, total in enumerate(self.total)]

    def has_room(self, job: RigidJob) -> bool:
        left = self.left(*(other.size for other in self.running))
        return all(need <= there for need, there in zip(job.size, left, strict=True))

    def start(self, job: RigidJob) -> None:
        job.start_ns = self.now_ns
        self.waiting.remove(job)
        self.running.append(job)


def fcfs(cluster: Cluster) -> None:
    while cluster.waiting and cluster.has_room(cluster.waiting[0]):
        cluster.start(cluster.waiting[0])


def first_fit(cluster: Cluster) -> None:
    for job in list(cluster.waiting):
        if cluster.has_room(job):
            cluster.start(job)


def easy(cluster: Cluster) -> None:
    fcfs(cluster)
    if not cluster.waiting:
        return
    head = cluster.waiting[0]
    for job in list(cluster.waiting[1:]):
        if not cluster.has_room(job):
            continue
        before = promised_start(cluster, head)
        estimated, place = job.estimate_ns < FOREVER, cluster.waiting.index(job)
        cluster.start(job)
        late = [other for other in cluster.running if cluster.expected_end(other) > before]
        beside = cluster.left(*(other.size for other in late if other is not job), job.size)
        harmless = all(need <= there for need, there in zip(head.size, beside, strict=True))
        if not harmless and not (estimated and cluster.now_ns + job.estimate_ns <= before):
            cluster.running.remove(job)  # it would delay the first one
            cluster.waiting.insert(place, job)
            job.start_ns = -1


def promised_start(cluster: Cluster, head: RigidJob) -> int:
    """When the first job starts if all running ones end as expected."""
    for moment in sorted(cluster.expected_end(job) for job in cluster.running):
        left = cluster.left(*(job.size for job in cluster.running if cluster.expected_end(job) > moment))
        if all(need <= there for need, there in zip(head.size, left, strict=True)):
            return moment
    raise AssertionError("the job is larger than the cluster")


def conservative(cluster: Cluster) -> None:
    """Give each job the earliest start beside the reservations of all others, until none changes; then new ones."""
    old = [job for job in cluster.waiting if job.reserved_ns >= 0]
    for job in old:
        if job.reserved_ns < cluster.now_ns:
            job.reserved_ns = -1
    before = None
    while before != [job.reserved_ns for job in old]:
        before = [job.reserved_ns for job in old]
        for job in old:
            job.reserved_ns = -1
            job.reserved_ns = earliest(cluster, job)
    for job in cluster.waiting:
        if job not in old:
            job.reserved_ns = earliest(cluster, job)
    for job in list(cluster.waiting):
        if job.reserved_ns == cluster.now_ns:
            cluster.start(job)


def earliest(cluster: Cluster, job: RigidJob) -> int:
    """The earliest moment from which on a job finds room until its estimated end."""
    spans = [(other.start_ns, cluster.expected_end(other), other.size) for other in cluster.running]
    spans += [
        (other.reserved_ns, other.reserved_ns + other.estimate_ns, other.size)
        for other in cluster.waiting
        if other.reserved_ns >= 0
    ]
    moments = sorted({cluster.now_ns, *(end for _, end, _ in spans if end >= cluster.now_ns)})
    return next(moment for moment in moments if stays_free(cluster, job, moment, spans))


def stays_free(cluster: Cluster, job: RigidJob, begin: int, spans: list[tuple[int, int, tuple[int, ...]]]) -> bool:
    """Whether there is room for a job from `begin` until its estimated end."""
    end = begin + job.estimate_ns
    for moment in (begin, *(start for start, _, _ in spans if begin < start < end)):
        left = cluster.left(*(size for start, stop, size in spans if start <= moment < stop))
        if not all(need <= there for need, there in zip(job.size, left, strict=True)):
            return False
    return True


POLICIES: dict[str, Callable[[Cluster], None]] = {
    "none": fcfs,
    "first_fit": first_fit,
    "easy": easy,
    "conservative": conservative,
}


def simulate(jobs: list[RigidJob], total: tuple[int, ...], policy: str) -> list[int]:
    """Run jobs, which are in the order of submission, and return their waits in nanoseconds."""
    cluster, coming = Cluster(total), list(jobs)
    while coming or cluster.running:
        times = [job.start_ns + job.run_ns for job in cluster.running] + [job.submit_ns for job in coming[:1]]
        cluster.now_ns = min(times)
        cluster.running = [job for job in cluster.running if job.start_ns + job.run_ns > cluster.now_ns]
        while coming and coming[0].submit_ns == cluster.now_ns:
            cluster.waiting.append(coming.pop(0))
        POLICIES[policy](cluster)
    assert not cluster.waiting
    return [job.wait_ns for job in jobs]
