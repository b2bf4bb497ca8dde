"""The figures of a run, or of a part of it, from the records of its processes."""

from __future__ import annotations

import msgspec

from colonysim.core.records import SECOND_NS, SUCCESS
from colonysim.core.wording import show_number, show_seconds, show_share
from colonysim.reports import counting
from colonysim.reports.measured import Covered, Window
from colonysim.reports.metrics import NEVER, TAU_S, Metrics
from colonysim.statistics.quantiles import Quantiles, quantiles


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of one run. Times in seconds; None where there was nothing to measure.

    `waiting_s` covers the processes that were started, finished or not, up to their first start; `turnaround_s`,
    `running_s` (the last attempt) and `bounded_slowdown` those that succeeded. What is unfinished at the end is
    in none of these three: see `unfinished`. `makespan_s` is from the first submission to the last end,
    `utilisation` the busy part of all simulated executors' time, and covers attempts of any outcome; one with capacity
    counts once for each CPU (or node, GPU, slot), and is busy to the extent that they are in use. `reneged` counts
    the processes that failed because they had waited longer than their `maxwaittime`. `executors` counts the simulated
    executors, `programs` the executors that are programs. `retry_waiting_s` are the waits between attempts, from when a
    process waits again to its next start. `fairness` is Jain's index of the users' mean bounded slowdowns: 1 if all
    users are slowed down alike; None with fewer than two users. `window`: which processes they cover, if not all.
    """

    submitted: int
    succeeded: int
    failed: int
    cancelled: int
    removed: int
    unfinished: int
    attempts: int
    retries: int
    deadline_misses: int
    reneged: int = 0
    executors: int
    span_s: float
    makespan_s: float | None
    throughput_per_hour: float | None
    utilisation: float | None
    queue_depth_max: int
    queue_depth_mean: float
    waiting_s: Quantiles
    turnaround_s: Quantiles
    running_s: Quantiles
    bounded_slowdown: Quantiles
    programs: int = 0
    retry_waiting_s: Quantiles = Quantiles()
    fairness: float | None = None
    window: Window | None = None


def show_figure(name: str, value: float) -> str:
    """Format a gauge or figure for people, by its name: `waiting_s.p95` is a span of time, `utilisation` a share."""
    if name.partition(".")[0].endswith("_s") and not name.endswith(".count"):
        return show_seconds(value)
    return show_share(value) if name == "utilisation" else show_number(value)


def summarise(
    metrics: Metrics,
    end_ns: int,
    executors: int,
    tau_s: float = TAU_S,
    busy_ns: int | None = None,
    programs: int = 0,
    covered: Covered | None = None,
    width: float | None = None,
) -> Summary:
    """Return the figures of a run up to a time. `busy_ns`: how long executors were busy, if they counted it.

    `covered`: which processes and which time they cover, by default all. `width`: how many processes of one CPU all
    executors together can hold at once, by default one each; then only `busy_ns` tells how much of them is in use.
    """
    waiting, turnaround, running, slowdown = [], [], [], []
    users: dict[str, list[float]] = {}
    last_end_ns = NEVER
    part = covered or Covered(range(len(metrics)), metrics.start_ns, end_ns)
    for row in part.rows:
        waiting_ns, ended_ns = metrics.waiting_ns(row), metrics.ended_ns[row]
        if waiting_ns != NEVER:
            waiting.append(waiting_ns / SECOND_NS)
        if ended_ns == NEVER:
            continue
        last_end_ns = max(last_end_ns, ended_ns)
        if metrics.state[row] != SUCCESS:
            continue
        lasted_s, ran_s = (ended_ns - metrics.submitted_ns[row]) / SECOND_NS, metrics.running_ns(row) / SECOND_NS
        turnaround.append(lasted_s)
        running.append(ran_s)
        slowdown.append(slowed := max(1.0, lasted_s / max(ran_s, tau_s)))
        users.setdefault(metrics.classes[metrics.class_place[row]].user, []).append(slowed)
    counts = counting.of_all(metrics) if covered is None else counting.of_some(metrics, part.rows)
    makespan_s = None if last_end_ns == NEVER else (last_end_ns - metrics.submitted_ns[part.rows[0]]) / SECOND_NS
    width = executors if width is None else width
    span_ns = 0 if busy_ns is None and width != executors else (part.until_ns - part.begin_ns) * width
    busy_ns = counting.busy_seen(metrics, end_ns, part) if busy_ns is None else busy_ns
    depth_at_ns, depth = metrics.depth_at_ns, metrics.depth
    if covered is not None:
        depth_at_ns, depth = counting.between(depth_at_ns, depth, part.begin_ns, part.until_ns)
    return Summary(
        **counts,
        executors=executors,
        span_s=(part.until_ns - part.begin_ns) / SECOND_NS,
        makespan_s=makespan_s,
        throughput_per_hour=round(counts["succeeded"] / makespan_s * 3600, 3) if makespan_s else None,
        utilisation=round(busy_ns / span_ns, 6) if span_ns else None,
        queue_depth_max=max(depth, default=0),
        queue_depth_mean=round(counting.mean_over_time(depth_at_ns, depth, part.until_ns), 3),
        waiting_s=quantiles(waiting),
        turnaround_s=quantiles(turnaround),
        running_s=quantiles(running),
        bounded_slowdown=quantiles(slowdown),
        programs=programs,
        retry_waiting_s=quantiles([wait_ns / SECOND_NS for wait_ns in counting.rewaits(metrics, covered)]),
        fairness=counting.fairness(users),
    )
