"""Long histories of the queues against plain lists that are searched from end to end.

The lists know the rules of docs/protocol/b-processes.md 4.3 and 4.4 alone: no ranks, runs, lanes or heaps.
The histories must reach what the queues do out of sight (clearing tombstones, heaps of processes that came back,
views and their logs), so they count how often they did.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from colonysim.core.records import CANCELLED, RUNNING, WAITING, Process, Resources
from colonysim.core.scheduling import Demand, Poll, Pool, Queues
from colonysim.core.types import Conditions, FunctionSpec

DAY_NS = 86_400_000_000_000
Pick = Callable[[int], int]
"""A number from 0 up to but without the one given."""


# ---------------------------------------------------------------- the plain lists
@dataclass
class Wish:
    """What one process asks for, as its submitter wrote it."""

    process: Process
    number: int
    submitted_ns: int
    priority: int
    colony: str
    executor_type: str
    names: list[str] | None
    location: str
    cpu: int
    memory: int
    storage: int
    nodes: int
    blocked: bool

    @property
    def place(self) -> tuple[int, int]:
        """One step of priority is worth a day; then whoever was submitted first."""
        return self.submitted_ns - self.priority * DAY_NS, self.number

    def suits(self, demand: Demand, exclusive: bool) -> bool:
        """Whether an executor may have it: docs/protocol/b-processes.md 4.3."""
        return (
            not self.blocked
            and (self.colony, self.executor_type) == (demand.colony, demand.executor_type)
            and self.is_for(demand.name, exclusive)
            and (self.location == "" or self.location.lower() == demand.location.lower())
            and self.has_room_in(demand)
            and self.can_ever_run(exclusive)
        )

    def is_for(self, name: str, exclusive: bool) -> bool:
        return not self.names or name in self.names or (self.names == ["*"] and not exclusive)

    def has_room_in(self, demand: Demand) -> bool:
        enough_cpu = demand.cpu_milli is None or demand.cpu_milli >= self.cpu
        enough_memory = demand.memory_bytes is None or demand.memory_bytes >= self.memory
        return enough_cpu and enough_memory

    def can_ever_run(self, exclusive: bool) -> bool:
        return self.nodes <= 127 and (self.storage <= 0 or not exclusive)


@dataclass
class Lists:
    """All that waits in one list, all parked calls in two: by when they came, and by whose turn it is."""

    exclusive: bool
    waiting: list[Wish] = field(default_factory=list)
    calls: list[Poll] = field(default_factory=list)
    turns: list[Poll] = field(default_factory=list)

    def first(self, count: int) -> list[Process]:
        return [wish.process for wish in sorted(self.waiting, key=lambda wish: wish.place)[:count]]

    def next_for(self, demand: Demand) -> Wish | None:
        suiting = [wish for wish in self.waiting if wish.suits(demand, self.exclusive)]
        return sorted(suiting, key=lambda wish: wish.place)[0] if suiting else None

    def woken_by(self, wish: Wish) -> Poll | None:
        """Who has been parked longest of those that may have it. A place is compared letter by letter."""
        for poll in self.calls:
            demand = poll.demand
            if poll.found_paused or (wish.location and wish.location != demand.location):
                continue
            if wish.suits(demand, self.exclusive):
                return poll
        return None

    def hears_of(self, wish: Wish) -> Poll | None:
        """Whose turn it is: a signal carries the executor type and the location alone."""
        hearing = [
            poll for poll in self.turns if not poll.found_paused and poll.demand.executor_type == wish.executor_type
        ]
        if wish.location:
            there = [poll for poll in hearing if poll.demand.location == wish.location]
            hearing = there or [poll for poll in hearing if not poll.demand.location]
        return hearing[0] if hearing else None


# ---------------------------------------------------------------- what the queues do out of sight
@dataclass
class Sizes:
    """How large the parts of a pool are: only what changes tells which way the queues went."""

    runs: int = 0
    live: int = 0
    fifo: int = 0
    late: int = 0
    logs_began: int = 0
    views: dict[tuple[object, ...], tuple[object, int]] = field(default_factory=dict)

    @classmethod
    def of(cls, pool: Pool | None) -> Sizes:
        sizes = cls()
        if pool is None:
            return sizes
        for run in pool.runs.values():
            sizes.runs += 1
            sizes.live += run.live
            sizes.fifo += len(run.fifo)
            sizes.late += len(run.late)
        for place, lane in pool.lanes.items():
            sizes.logs_began += lane.log_start
            for size, view in lane.views.items():
                sizes.views[*place, *size] = view, view.read
        return sizes


def ways_of(kind: str, before: Sizes, after: Sizes) -> list[str]:
    """The names of what has happened out of sight in one step."""
    ways = {
        "came back in front": kind in ("back", "all_back") and after.late > before.late,
        "tombstone left": kind == "cancel" and after.live < before.live and after.fifo + after.late == before.fifo + before.late,
        "tombstones cleared": kind == "cancel" and after.fifo < before.fifo,
        "tombstones cleared among the late": kind == "cancel" and 0 < after.late < before.late,
        "late kept while tombstones are cleared": kind == "cancel" and after.fifo < before.fifo and after.late > 0,
        "tombstones surfaced": kind == "take" and after.fifo < before.fifo - 1,
        "late tombstones surfaced": kind == "take" and after.late < before.late - 1,
        "taken from the late": kind == "take" and after.late < before.late and after.fifo == before.fifo and after.live < before.live,
        "empty runs dropped": kind == "submit" and after.runs < before.runs,
        "log of new heads begun anew": after.logs_began > before.logs_began,
    }  # fmt: skip
    found = [way for way, happened in ways.items() if happened]
    if kind == "take":
        for place, (view, read) in after.views.items():
            old, old_read = before.views.get(place, (None, 0))
            if old is None:
                found.append("view made")
            elif old is not view:
                found.append("view made anew")
            elif read > old_read:
                found.append("view caught up")
        if any(place not in after.views for place in before.views):
            found.append("view given up for another")
    elif len(after.views) < len(before.views):
        found.append("views dropped")
    return found


def keeps_within_bounds(pool: Pool, most_runs: int) -> None:
    """Nothing is kept for ever: no dropped run, no long log, no view and no step that nobody asks for."""
    numbers = {run.number for run in pool.runs.values()}
    for lane in pool.lanes.values():
        assert numbers.issuperset(lane.runs)
        assert len(lane.views) <= 64
        assert len(lane.log) <= 2 * most_runs + 1
        assert len(lane.cpu_steps) + len(lane.memory_steps) <= 4 * most_runs + 66


# ---------------------------------------------------------------- one history
@dataclass
class Shape:
    """How many different things a history asks for, and how often it does what."""

    steps: int
    weights: dict[str, int]
    sizes: int = 4
    priorities: int = 3
    colonies: int = 2
    alike: bool = False


class History:
    """The queues and the lists side by side; each step is done to both and compared."""

    def __init__(self, pick: Pick, shape: Shape, exclusive: bool = True) -> None:
        self.pick, self.shape = pick, shape
        self.queues = Queues(exclusive)
        self.lists = Lists(exclusive)
        self.running: list[Wish] = []
        self.now_ns = self.submitted = self.tickets = self.most_runs = self.steps_done = 0
        self.ways: Counter[str] = Counter()

    def step(self, kind: str) -> None:
        before = {key: Sizes.of(pool) for key, pool in self.queues.pools.items()}
        getattr(self, kind)()
        self.steps_done += 1
        for key, pool in self.queues.pools.items():
            self.ways.update(ways_of(kind, before.get(key, Sizes()), Sizes.of(pool)))
            self.most_runs = max([self.most_runs, *(len(lane.runs) for lane in pool.lanes.values())])
            if self.steps_done % 16 == 0:
                keeps_within_bounds(pool, self.most_runs)
        assert len(self.queues) == len(self.lists.waiting)

    def run(self) -> None:
        kinds = [kind for kind, weight in self.shape.weights.items() for _ in range(weight)]
        for _ in range(self.shape.steps):
            self.step(kinds[self.pick(len(kinds))])
        assert self.queues.first(10**9) == self.lists.first(10**9)

    # ------------------------------------------------------------ choices
    def _one_of(self, *choices: object) -> object:
        return choices[self.pick(len(choices))]

    def _amount(self) -> int:
        return self.pick(self.shape.sizes)

    def _demand(self) -> Demand:
        cpu = None if self.pick(3) == 0 else self._amount()
        memory = None if self.pick(3) == 0 else self._amount()
        name = str(self._one_of("a", "b", "*"))
        place = str(self._one_of("", "", "x", "X", "y"))
        executor_type = str(self._one_of("t", "t", "t", "u"))
        return Demand(self._colony(), "e", executor_type, name, place, cpu, memory)

    def _colony(self) -> str:
        return f"c{self.pick(self.shape.colonies)}"

    # ------------------------------------------------------------ processes
    def submit(self) -> None:
        """Now and then at the same nanosecond as the one before."""
        self.submitted += 1
        self.now_ns += self.pick(2) * 1000
        alike = self.shape.alike
        names = None if alike else self._one_of(None, None, None, [], ["a"], ["b", "a", "b"], ["*"], ["nobody"])
        wish = Wish(
            process=None,  # type: ignore[arg-type]
            number=self.submitted,
            submitted_ns=self.now_ns,
            priority=self.pick(self.shape.priorities) - 1,
            colony=self._colony(),
            executor_type="t" if alike else str(self._one_of("t", "t", "t", "u")),
            names=names,  # type: ignore[arg-type]
            location="" if alike else str(self._one_of("", "", "", "x", "X")),
            cpu=self._amount(),
            memory=self._amount(),
            storage=0 if alike else int(self.pick(20) == 0),
            nodes=0 if alike else 127 + int(self.pick(20) == 0),
            blocked=not alike and self.pick(8) == 0,
        )
        wish.process = process_of(wish)
        self.queues.push(wish.process)
        self.lists.waiting.append(wish)

    def release(self) -> None:
        blocked = [wish for wish in self.lists.waiting if wish.blocked]
        if blocked:
            wish = blocked[self.pick(len(blocked))]
            wish.blocked = wish.process.wait_for_parents = False
            self.queues.release(wish.process)

    def take(self) -> None:
        demand = self._demand()
        expected = self.lists.next_for(demand)
        found = self.queues.take(demand)
        assert found is (expected and expected.process)
        if expected is not None:
            expected.process.state = RUNNING
            self.lists.waiting.remove(expected)
            self.running.append(expected)

    def back(self) -> None:
        """One that ran waits again, where it stood."""
        if self.running:
            wish = self.running.pop(self.pick(len(self.running)))
            wish.process.state = WAITING
            self.queues.push(wish.process)
            self.lists.waiting.append(wish)

    def all_back(self) -> None:
        for _ in range(len(self.running)):
            self.back()

    def cancel(self) -> None:
        if self.lists.waiting:
            wish = self.lists.waiting.pop(self.pick(len(self.lists.waiting)))
            wish.process.state = CANCELLED
            self.queues.forget(wish.process)

    def look(self) -> None:
        count = self.pick(30)
        assert self.queues.first(count) == self.lists.first(count)

    # ------------------------------------------------------------ parked calls
    def park(self) -> None:
        self.tickets += 1
        poll = Poll(self.tickets, self._demand(), 0, self.pick(5) == 0)
        self.queues.park(poll)
        self.lists.calls.append(poll)
        self.lists.turns.append(poll)

    def unpark(self) -> None:
        assert self.queues.unpark(self.tickets + 1) is None
        if self.lists.calls:
            poll = self.lists.calls.pop(self.pick(len(self.lists.calls)))
            self.lists.turns.remove(poll)
            assert self.queues.unpark(poll.ticket) is poll
            assert self.queues.unpark(poll.ticket) is None

    def signal(self) -> None:
        """A process tells of itself: who can have it, and whose turn it is to hear of it."""
        if not self.lists.waiting:
            return
        wish = self.lists.waiting[self.pick(len(self.lists.waiting))]
        assert self.queues.waiter(wish.process) is self.lists.woken_by(wish)
        poll = self.queues.next_notified(wish.process)
        assert poll is self.lists.hears_of(wish)
        if poll is not None:
            self.queues.pass_turn(poll)
            self.lists.turns.remove(poll)
            self.lists.turns.append(poll)


def process_of(wish: Wish) -> Process:
    conditions = Conditions(
        colonyname=wish.colony,
        executortype=wish.executor_type,
        executornames=wish.names,
        locationname=wish.location,
        nodes=wish.nodes,
    )
    spec = FunctionSpec(priority=wish.priority, conditions=conditions)
    resources = Resources(wish.cpu, wish.memory, wish.storage)
    process = Process(
        f"p{wish.number}", wish.number, wish.colony, spec, "", "",
        wish.submitted_ns - wish.priority * DAY_NS, wish.submitted_ns, resources,
    )  # fmt: skip
    process.wait_for_parents = wish.blocked
    return process


# ---------------------------------------------------------------- histories
def test_in_histories_of_ten_thousands_of_steps_the_queues_do_what_a_linear_search_does() -> None:
    """Shapes: many that are alike, much that is cancelled, much that comes back, sizes without number."""
    others = {"take": 24, "back": 4, "cancel": 4, "release": 4, "look": 1}
    waves = {"submit": 60, "take": 14, "cancel": 55, "all_back": 1, "look": 1}
    tides = {"submit": 200, "take": 200, "cancel": 330, "all_back": 1, "look": 2}
    ebb = {"submit": 30, "take": 60, "back": 30, "cancel": 5}
    other_sizes = {"submit": 30, "take": 70, "cancel": 10}
    shapes = [
        Shape(3000, {"submit": 28, **others}),
        Shape(10_000, waves, sizes=1, priorities=1, colonies=1, alike=True),
        Shape(10_000, tides, sizes=1, priorities=1, colonies=1, alike=True),
        Shape(6000, ebb, sizes=3, priorities=1, colonies=1, alike=True),
        Shape(2500, other_sizes, sizes=10**9, priorities=1, colonies=1, alike=True),
        Shape(3000, {"submit": 28, **others}, sizes=12, priorities=1, colonies=1),
        Shape(6000, {"submit": 5, "take": 9, "back": 3, "cancel": 1}, sizes=40, colonies=1),
    ]
    ways: Counter[str] = Counter()
    for seed, shape in enumerate(shapes):
        history = History(random.Random(seed).randrange, shape)
        history.run()
        ways += history.ways
    seldom = {way: ways[way] for way in WAYS if ways[way] < 5}
    assert seldom == {}, f"reached too seldom; all: {ways}"


WAYS = [
    "came back in front",
    "taken from the late",
    "tombstone left",
    "tombstones surfaced",
    "late tombstones surfaced",
    "tombstones cleared",
    "tombstones cleared among the late",
    "late kept while tombstones are cleared",
    "empty runs dropped",
    "view made",
    "view made anew",
    "view caught up",
    "view given up for another",
    "views dropped",
    "log of new heads begun anew",
]


@pytest.mark.parametrize("exclusive", [True, False])
def test_in_long_histories_signals_go_to_whom_a_plain_list_names(exclusive: bool) -> None:
    weights = {"submit": 5, "take": 3, "cancel": 2, "release": 1, "park": 5, "unpark": 4, "signal": 12}
    history = History(random.Random(7).randrange, Shape(6000, weights), exclusive)
    history.run()
    assert history.tickets > 500
    while history.lists.calls:
        history.unpark()
    assert history.queues.polls == history.queues.parked == history.queues.pause_polls == {}
    assert all(pool.waiters.groups == pool.waiters.indexes == {} for pool in history.queues.pools.values())


KINDS = ["submit", "submit", "submit", "release", "take", "take", "back", "cancel", "look", "park", "unpark", "signal"]


@given(st.data(), st.booleans(), st.sampled_from([1, 2, 9]))
@hypothesis_settings(max_examples=100)
def test_in_any_short_history_the_queues_do_what_a_linear_search_does(
    data: st.DataObject, exclusive: bool, sizes: int
) -> None:
    def pick(count: int) -> int:
        return data.draw(st.integers(0, count - 1))

    history = History(pick, Shape(0, {}, sizes=sizes, colonies=1), exclusive)
    for kind in data.draw(st.lists(st.sampled_from(KINDS), max_size=40)):
        history.step(kind)
    assert history.queues.first(1000) == history.lists.first(1000)
