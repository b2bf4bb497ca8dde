"""Who may still act though nobody calls: then mode `auto` lets time pass no faster than real time does.

Outside of this process: an executor that holds a process, as long as none of its requests waits at the server, and a
client with an open subscription. A client that registers as an actor says itself when it acts, and so for all others.
In this process: a thread that holds a process and sleeps, or is blocked by anything but another thread, such as a child
process; a thread that sleeps before its first call, or while a subscription is open; and a thread that wants to run but
gets no processor because the machine is busy.
"""

from __future__ import annotations

import os
import sys
import threading
from time import monotonic
from typing import Final

from colonysim.core.records import RUNNING
from colonysim.core.world import World
from colonysim.kernel.actors import THREAD_THRESHOLD_S, Actors
from colonysim.kernel.connections import Connections
from colonysim.kernel.kernel import Kernel
from colonysim.kernel.pending import Pending

NEWBORN_S: Final = 5.0
"""So long, in real time, a thread may sleep before its first call and count as acting."""

_SLEEPS: Final = {"x86_64": ("35", "230"), "aarch64": ("101", "115")}
_LOCKS: Final = {"x86_64": ("202",), "aarch64": ("98",)}
"""The numbers of the system calls in which a thread sleeps or waits for another thread, by machine."""
_RUNNABLE: Final = "running"
_WAITING_MODULES: Final = ("threading", "queue", "concurrent.futures")


def time_to_spare(kernel: Kernel) -> float:
    """Return the real seconds until the next event may happen: 0 if it may now, as it always may if nobody may act.

    Starts and stops the kernel's clock by that. Called under the lock, when all have been silent.
    """
    clock = kernel.clock
    if not may_act(kernel):
        clock.rest()
        return 0.0
    clock.run(kernel.world.now_ns)
    due_ns = kernel.due()
    due_s = THREAD_THRESHOLD_S if due_ns is None else clock.real_seconds(due_ns - clock.virtual_now())
    return min(max(due_s, 0.0), THREAD_THRESHOLD_S)  # by then, an actor that may act now may be known to wait


def may_act(kernel: Kernel) -> bool:
    """Return whether somebody may act who does not wait for the simulation. Under the lock, when all are silent."""
    world, actors, connections = kernel.world, kernel.actors, kernel.connections
    return _outside_may_act(world, actors, kernel.pending, connections) or _thread_may_act(world, actors, connections)


def _outside_may_act(world: World, actors: Actors, pending: dict[int, Pending], connections: Connections) -> bool:
    if actors.outside_active_at is None or any(actor.outside for actor in actors.registered.values()):
        return False
    if any(connection.outside for connection in connections):
        return True
    waiting = {one.call.caller_id for one in pending.values() if one.outside}
    return _holds(world, actors.outside_assignees - waiting)


def _thread_may_act(world: World, actors: Actors, connections: Connections) -> bool:
    for actor in actors.threads.values():
        thread = actor.thread
        if actor.waits_for or actor.program is not None or thread is None or not thread.is_alive():
            continue
        holds = _holds(world, actor.assigned_as)
        newborn = thread not in actors.callers and monotonic() - actor.silent_since < NEWBORN_S
        if not (holds or len(connections) or newborn or thread in actors.callers):
            continue
        system_call = _system_call(thread)
        if system_call == _RUNNABLE:
            return True
        if holds or newborn or len(connections):
            sleeps, waits_for_thread = _blocked_in(thread, system_call)
            if sleeps or (holds and not waits_for_thread):
                return True
    return False


def _holds(world: World, executors: set[str]) -> bool:
    """Return whether one of the executors runs a process."""
    if not executors:
        return False
    running = (tables[RUNNING].values() for tables in world.by_state.values())
    return any(process.executor_id in executors for processes in running for process in processes)


def _system_call(thread: threading.Thread) -> str:
    """Return the number of the system call in which a thread waits, _RUNNABLE if in none, "" if that is not known."""
    try:
        with open(f"/proc/self/task/{thread.native_id}/syscall", encoding="ascii") as file:
            return file.readline().split(maxsplit=1)[0]
    except (OSError, IndexError):
        return ""  # the thread has ended, or this system does not tell


def _blocked_in(thread: threading.Thread, system_call: str) -> tuple[bool, bool]:
    """Return whether a silent thread sleeps, and whether it waits for another thread; (False, False) if unknown."""
    machine = os.uname().machine if sys.platform == "linux" else ""
    if system_call and machine in _SLEEPS:
        return system_call in _SLEEPS[machine], system_call in _LOCKS[machine]
    frame = sys._current_frames().get(thread.ident or 0)
    return False, frame is not None and frame.f_globals.get("__name__", "").startswith(_WAITING_MODULES)
