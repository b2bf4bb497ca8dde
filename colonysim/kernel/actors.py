"""Who could act before time moves on. Idleness is worked out anew each time, never counted up and down."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic  # of this machine, also in a program's thread
from typing import Any, Final

import msgspec

OUTSIDE_THRESHOLD_S: Final = 0.020
MOST_THRESHOLD_S: Final = 86_400.0
"""How long the world outside must have been silent before it counts as waiting, in seconds of real time."""

THREAD_THRESHOLD_S: Final = 0.050
"""How long a thread of this process must have neither called nor computed before it counts as waiting."""

_PER_THREAD_CLOCK: Final = 0b110  # of the kernel's clock numbers: one thread's, in nanoseconds
_ACTED_SINCE: Final = -2  # in place of a thread's processor time: it has called since it was looked at

OWN_THREAD_PREFIX: Final = "colonysim-"


class Actor(msgspec.Struct):
    """A registered actor, or a thread that has called the simulation. `waits_for` is "" while it acts."""

    name: str
    thread: threading.Thread | None = None  # None for a registered one
    waits_for: str = ""
    since_ns: int = 0
    silent_since: float = 0.0
    program: Any = None  # the program that it is
    outside: bool = False  # registered by a client that is not in this process
    cpu_ns: int = -1

    @property
    def has_ended(self) -> bool:
        return self.thread is not None and not self.thread.is_alive()

    def acts(self) -> None:
        """It waits for nothing any more. When that was is found out at the next look at it."""
        self.waits_for = ""
        self.cpu_ns = _ACTED_SINCE

    def seems_busy_until(self, now: float) -> float:
        """Until when a thread outside of the simulation counts as acting: a while after its last sign of life.

        Such a thread may compute, or be blocked by something of its own; processor time tells which.
        """
        cpu_ns = cpu_time_ns(self.thread) if self.thread is not None else -1
        if cpu_ns != self.cpu_ns:
            self.cpu_ns, self.silent_since = cpu_ns, now
        return self.silent_since + THREAD_THRESHOLD_S


def cpu_time_ns(thread: threading.Thread) -> int:
    """Processor time a thread has used; -1 where that cannot be known, or it has just come to its end.

    The clock is named by the thread's number in the kernel, as `pthread_getcpuclockid` would do it on Linux; that
    call itself must not be made for a thread that may end at any moment.
    """
    if sys.platform != "linux" or thread.native_id is None:
        return -1
    try:
        return time.clock_gettime_ns(~thread.native_id << 3 | _PER_THREAD_CLOCK)
    except OSError:
        return -1


class _CurrentActor(threading.local):
    """The actor of each thread that has called."""

    actor: Actor | None = None


class Actors:
    """All actors of a simulation, and when the world outside was last heard of.

    Threads that were there before the simulation count once they have called it; those that were started
    later count at once, for they may be about to.
    """

    def __init__(self, threshold_s: float = OUTSIDE_THRESHOLD_S) -> None:
        if not 0 <= threshold_s <= MOST_THRESHOLD_S:
            raise ValueError(f"threshold_s={threshold_s} cannot be: take seconds from 0 to {MOST_THRESHOLD_S}")
        self.threshold_s = threshold_s
        self.registered: dict[str, Actor] = {}
        self.threads: dict[int, Actor] = {}
        self.outside_active_at: float | None = None
        self._current = _CurrentActor()
        self._earlier_threads = {id(thread): thread for thread in threading.enumerate()}

    # ------------------------------------------------------------ who is there
    def this_thread(self) -> Actor:
        """The actor of the calling thread."""
        actor = self._current.actor
        if actor is None:
            thread = threading.current_thread()
            actor = self.threads.get(threading.get_ident())
            if actor is None or actor.thread is not thread:
                actor = self.threads[threading.get_ident()] = Actor(thread.name, thread)
            self._current.actor = actor
        return actor

    def adopt(self, actor: Actor) -> None:
        """From now on this is the actor of the calling thread. Time does not wait for it."""
        self._current.actor = actor

    def _find_new_threads(self) -> None:
        """Take in the threads that have been started since the simulation was made."""
        for thread in threading.enumerate():
            ident = thread.ident
            if ident is None or id(thread) in self._earlier_threads or thread.name.startswith(OWN_THREAD_PREFIX):
                continue
            known = self.threads.get(ident)
            if known is None or known.thread is not thread:
                self.threads[ident] = Actor(thread.name, thread)

    def acts(self) -> None:
        """The calling thread waits for nothing any more."""
        actor = self._current.actor or self.this_thread()
        if actor.program is not None:
            actor.acts()
            return
        actor.waits_for = ""
        actor.cpu_ns = _ACTED_SINCE

    def register(self, name: str, *, outside: bool = False) -> Actor:
        """A named actor: time waits for it until it says that it waits. Errors: ValueError for a name in use."""
        if name in self.registered:
            raise ValueError(f"an actor named {name!r} is registered already")
        actor = self.registered[name] = Actor(name, outside=outside)
        return actor

    def unregister_outside(self) -> None:
        """Clients outside who have registered are gone, as those of a test that has ended without a word."""
        self.registered = {name: actor for name, actor in self.registered.items() if not actor.outside}

    def unregister(self, name: str) -> None:
        del self.registered[name]

    def note_outside_activity(self) -> None:
        """A request has come from outside, or a reply has gone there."""
        self.outside_active_at = monotonic()

    def note_activity(self, outside: bool) -> None:
        """Something has come from outside, or from the calling thread."""
        if outside:
            self.note_outside_activity()
        else:
            self.acts()

    # ------------------------------------------------------------ waiting
    @contextmanager
    def waiting(self, actor: Actor, what: str, now_ns: int) -> Iterator[None]:
        """The actor waits for something of the simulation."""
        actor.waits_for, actor.since_ns = what, now_ns
        try:
            yield
        finally:
            actor.acts()

    def seconds_until_idle(self, but: Actor | None = None) -> float | None:
        """Seconds of real time until nobody is left who could act: 0 now, None while a registered actor acts."""
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

    def busy(self) -> list[Actor]:
        """Those who are not waiting."""
        actors = [*self.registered.values(), *self.threads.values()]
        return [actor for actor in actors if not actor.waits_for and not actor.has_ended]

    def blocked(self) -> list[Actor]:
        actors = [*self.registered.values(), *self.threads.values()]
        return [actor for actor in actors if actor.waits_for and not actor.has_ended]
