"""The actors: who may act before time moves. Idleness is computed afresh each time, never counted up and down."""

from __future__ import annotations

import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic  # of this machine, also in a program's thread
from typing import Any, Final, Protocol

import msgspec

from colonysim.core.wording import show_exact, show_seconds, show_span

OUTSIDE_THRESHOLD_S: Final = 0.020
MOST_THRESHOLD_S: Final = 86_400.0
"""How long clients in other processes must be silent to count as waiting, in real seconds: default and longest."""

THREAD_THRESHOLD_S: Final = 0.050
"""How long a thread of this process must neither call nor compute to count as waiting, in real seconds."""

_PER_THREAD_CLOCK: Final = 0b110  # clock number of Linux: the processor time of one thread
ACTED_SINCE: Final = -2  # in place of a processor time: the thread has called since the last check

_SLEEPS_KEPT: Final = 100

OWN_THREAD_PREFIX: Final = "colonysim-"


class Sleep(msgspec.Struct):
    """A pause of a thread outside of the simulation, during which virtual time moved by `moved_ns`.

    `since` and `until` are on the monotonic clock; `until` is None while the pause lasts.
    """

    name: str
    since: float
    moved_ns: int = 0
    until: float | None = None

    def __str__(self) -> str:
        """Describe it: `time moved 10 s while MainThread slept 0.2 s`."""
        slept_s = (monotonic() if self.until is None else self.until) - self.since
        return (
            f"time moved {show_span(self.moved_ns)} while {self.name} slept {show_seconds(max(round(slept_s, 1), 0.1))}"
        )


class Actor(msgspec.Struct):
    """A registered actor, or a thread that has called the simulation. `waits_for` is "" while it acts.

    `observed`: it is a program or has a `sleep`, so that `Actors.acts` must be called when it acts.
    """

    name: str
    thread: threading.Thread | None = None  # None for a registered actor
    waits_for: str = ""
    since_ns: int = 0
    silent_since: float = 0.0
    program: Any = None  # set if it is a program
    outside: bool = False  # registered by a client in another process
    cpu_ns: int = -1
    observed: bool = False
    sleep: Sleep | None = None  # during which time has moved
    assigned_as: set[str] = set()  # the executors as which it has requested processes

    @property
    def has_ended(self) -> bool:
        """Whether its thread has ended."""
        return self.thread is not None and not self.thread.is_alive()

    def acts(self) -> None:
        """Mark it as acting. When it became silent is determined at the next check."""
        self.waits_for = ""
        self.cpu_ns = ACTED_SINCE
        if self.sleep is not None:
            self.sleep.until, self.sleep = monotonic(), None
            self.observed = self.program is not None

    def seems_busy_until(self, now: float) -> float:
        """Return until when a thread counts as acting: THREAD_THRESHOLD_S after it last called or computed.

        `now` and the result are on the monotonic clock. Processor time tells a thread that computes from a blocked one.
        """
        cpu_ns = cpu_time_ns(self.thread) if self.thread is not None else -1
        if cpu_ns != self.cpu_ns:
            self.cpu_ns, self.silent_since = cpu_ns, now
        return self.silent_since + THREAD_THRESHOLD_S


class HasNativeId(Protocol):
    """A thread, as the operating system knows it."""

    @property
    def native_id(self) -> int | None: ...


def cpu_time_ns(thread: HasNativeId) -> int:
    """Return the processor time that a thread has used, in nanoseconds; -1 if it is unknown or the thread has ended.

    The number of the clock is computed from the thread's id, as `pthread_getcpuclockid` does on Linux; that function
    itself must not be called for a thread that may end at any moment.
    """
    if sys.platform != "linux" or thread.native_id is None:
        return -1
    try:
        return time.clock_gettime_ns(~thread.native_id << 3 | _PER_THREAD_CLOCK)
    except OSError:
        return -1


def busy_time_ns(thread: HasNativeId) -> int:
    """Return the time in which a thread computed or wanted a processor that others had, in nanoseconds.

    It is -1 if it is unknown or the thread has ended. On a system that does not tell it, or from another process, it
    is the processor time alone.
    """
    try:
        with open(f"/proc/self/task/{thread.native_id}/schedstat", encoding="ascii") as stream:
            computed_ns, waited_ns, _ = stream.read().split()
    except (OSError, ValueError):
        return cpu_time_ns(thread)
    return int(computed_ns) + int(waited_ns)


class _CurrentActor(threading.local):
    """The actor of each thread that has called the simulation, and the executors as which it requested processes."""

    actor: Actor | None = None
    assigned_as: set[str]


class Actors:
    """All actors of a simulation, and when clients in other processes were last active.

    Threads that are older than the simulation count from their first call. Newer threads count at once, because they
    may be about to call.
    """

    def __init__(self, threshold_s: float = OUTSIDE_THRESHOLD_S) -> None:
        if not 0 <= threshold_s <= MOST_THRESHOLD_S:
            raise ValueError(f"invalid threshold_s={threshold_s}: expected 0 to {show_exact(MOST_THRESHOLD_S)} seconds")
        self.threshold_s = threshold_s
        self.registered: dict[str, Actor] = {}
        self.threads: dict[int, Actor] = {}
        self.outside_active_at: float | None = None
        self.outside_assignees: set[str] = set()  # executors as which other processes have requested processes
        self.callers: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
        self.current = _CurrentActor()
        self.sleeps: deque[Sleep] = deque(maxlen=_SLEEPS_KEPT)
        """The latest pauses of threads during which time has moved."""
        self._adopted: set[int] = set()  # the threads whose actor time does not wait for
        self._earlier_threads = {id(thread): thread for thread in threading.enumerate()}

    # ------------------------------------------------------------ who acts
    def this_thread(self) -> Actor:
        """Return the actor of the calling thread."""
        actor = self.current.actor
        if actor is None:
            thread = threading.current_thread()
            self.callers.add(thread)
            actor = self.threads.get(threading.get_ident())
            if actor is None or actor.thread is not thread:
                actor = self.threads[threading.get_ident()] = Actor(thread.name, thread)
            self.current.actor, self.current.assigned_as = actor, actor.assigned_as
        return actor

    def adopt(self, actor: Actor) -> None:
        """Make an actor that of the calling thread. Time does not wait for it."""
        self.current.actor, self.current.assigned_as = actor, actor.assigned_as
        self._adopted.add(threading.get_ident())

    def disown(self) -> None:
        """Forget the calling thread, which is about to end: another one may get its number."""
        self._adopted.discard(threading.get_ident())

    def _find_new_threads(self) -> None:
        """Add the threads that were started after the simulation was created."""
        for thread in threading.enumerate():
            ident = thread.ident
            if ident is None or ident in self._adopted:
                continue
            if id(thread) in self._earlier_threads or thread.name.startswith(OWN_THREAD_PREFIX):
                continue
            known = self.threads.get(ident)
            if known is None or known.thread is not thread:
                self.threads[ident] = Actor(thread.name, thread)

    def acts(self) -> None:
        """Mark the calling thread as acting."""
        (self.current.actor or self.this_thread()).acts()

    def register(self, name: str, *, outside: bool = False) -> Actor:
        """Add a named actor. Time waits until it reports that it waits. Raises ValueError if the name is in use."""
        if name in self.registered:
            raise ValueError(f"an actor named {name!r} is registered already; choose another name")
        actor = self.registered[name] = Actor(name, outside=outside)
        return actor

    def unregister_outside(self) -> None:
        """Remove the actors of clients in other processes, which may have ended without reporting it."""
        self.outside_assignees.clear()
        self.registered = {name: actor for name, actor in self.registered.items() if not actor.outside}

    def unregister(self, name: str) -> None:
        """Remove a registered actor."""
        del self.registered[name]

    def note_outside_activity(self) -> None:
        """Note a request from another process, or a reply to one."""
        self.outside_active_at = monotonic()

    def note_activity(self, outside: bool) -> None:
        """Note a request from another process (`outside`), or from the calling thread."""
        if outside:
            self.note_outside_activity()
        else:
            self.acts()

    # ------------------------------------------------------------ waiting
    @contextmanager
    def waiting(self, actor: Actor, what: str, now_ns: int) -> Iterator[None]:
        """Within the context, the actor waits. `what` describes for what, `now_ns` is the virtual time."""
        actor.waits_for, actor.since_ns = what, now_ns
        try:
            yield
        finally:
            actor.acts()

    def seconds_until_idle(self, but: Actor | None = None) -> float | None:
        """Return after how many real seconds every actor but one counts as waiting; None if a registered one acts."""
        for actor in self.registered.values():
            if not actor.waits_for and actor is not but:
                return None
        self._find_new_threads()
        now = monotonic()
        wait_s = 0.0
        for ident, actor in list(self.threads.items()):
            if actor.has_ended:
                del self.threads[ident]
            elif not actor.waits_for and actor is not but:
                wait_s = max(wait_s, actor.seems_busy_until(now) - now)
        if self.outside_active_at is not None:
            wait_s = max(wait_s, self.outside_active_at + self.threshold_s - now)
        return wait_s

    def note_move(self, moved_ns: int) -> None:
        """Note that time has moved, for the threads that were silent without waiting for the simulation."""
        for actor in self.threads.values():
            if not actor.waits_for and actor.cpu_ns != ACTED_SINCE and actor.thread in self.callers:
                if actor.sleep is None:
                    actor.sleep, actor.observed = Sleep(actor.name, actor.silent_since), True
                    self.sleeps.append(actor.sleep)
                actor.sleep.moved_ns += moved_ns

    def busy(self) -> list[Actor]:
        """Return the actors that are not waiting."""
        actors = [*self.registered.values(), *self.threads.values()]
        return [actor for actor in actors if not actor.waits_for and not actor.has_ended]

    def blocked(self) -> list[Actor]:
        """Return the actors that wait."""
        actors = [*self.registered.values(), *self.threads.values()]
        return [actor for actor in actors if actor.waits_for and not actor.has_ended]
