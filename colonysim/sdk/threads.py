"""Which simulation a thread of this process belongs to: the first one that it called.

A thread that outlives the simulation must not act in the next one: stock keys are the same in all of them.
"""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Iterable
from typing import Any, Final

from colonysim.kernel.actors import OWN_THREAD_PREFIX
from colonysim.kernel.pending import Lost
from colonysim.simulation.simulation import Simulation

_AT_ONCE: Final = 10
"""So many calls of a thread that was left behind are refused at once."""
_PAUSE_S: Final = 0.05
"""Real time that a later one takes: a loop that ignores errors would slow down the tests that follow."""


class Reach:
    """The time in which calls of this process reach a simulation, until `over`."""

    def __init__(self, sim: Simulation | None, hosts: Iterable[str] = (), port: int = 0) -> None:
        self._sim = None if sim is None else weakref.ref(sim)
        self.hosts = tuple(hosts)
        self.port = port
        self.over = False
        self.left_by = ""
        """The test that has left threads behind, if that is known."""
        self._here_before = weakref.WeakSet(threading.enumerate())

    @property
    def sim(self) -> Simulation | None:
        """The simulation, None if nobody holds it any more."""
        return None if self._sim is None else self._sim()

    def owns(self, thread: threading.Thread) -> bool:
        """Return whether a thread that calls for the first time belongs to this simulation: it is younger."""
        return thread not in self._here_before


class _Admitted(threading.local):
    """The reach in which the calling thread has been admitted last."""

    reach: Reach | None = None


here: Final = _Admitted()
_owners: Final[weakref.WeakKeyDictionary[threading.Thread, Reach]] = weakref.WeakKeyDictionary()
_refused: Final[weakref.WeakKeyDictionary[threading.Thread, int]] = weakref.WeakKeyDictionary()


def admit(reach: Reach) -> None:
    """Let the calling thread call a simulation. Raises Lost for a thread whose own simulation is over.

    To save time, callers do this only where `here.reach` is another one.
    """
    thread = threading.current_thread()
    owner = _owners.get(thread)
    if owner is None:
        if reach.owns(thread):
            _owners[thread] = reach
    elif owner.over and (owner.sim is None or owner.sim is not reach.sim):
        refuse(thread, owner)
    here.reach = reach


def refuse(thread: threading.Thread, owner: Reach) -> None:
    """Raise Lost for a thread that was left behind; after some calls, let it wait a little before."""
    _refused[thread] = count = _refused.get(thread, 0) + 1
    if count > _AT_ONCE:
        time.sleep(_PAUSE_S)
    left_by = owner.left_by or "a test or block"
    raise Lost(
        f"thread {thread.name!r} was left behind by {left_by}, which has ended with its simulation: "
        f"the call is lost; stop the thread before that ends"
    )


def owner_of(thread: threading.Thread) -> Reach | None:
    """Return the reach that a thread belongs to, None if it may call any simulation."""
    return _owners.get(thread)


def leave(thread: threading.Thread, reach: Reach) -> None:
    """Have a thread that was left behind belong to a simulation that is over, if it belongs to none."""
    if not thread.name.startswith(OWN_THREAD_PREFIX):
        _owners.setdefault(thread, reach)


def any_left() -> bool:
    """Return whether any thread that lives belongs to a simulation that is over."""
    return any(owner.over and thread.is_alive() for thread, owner in list(_owners.items()))


# ---------------------------------------------------------------- the end of a simulation
class EndedNetwork:
    """The network of a simulation that is over: calls of its threads are lost, others pass."""

    def __init__(self, sim: Simulation, owned: Iterable[threading.Thread]) -> None:
        self._kernel = sim.kernel
        self._before = sim.kernel.network
        self._owned = weakref.WeakSet(owned)

    def send(self, pending: Any, request: Any) -> None:
        """Lose a request of a thread that was left behind."""
        thread = threading.current_thread()
        if thread in self._owned:
            self._kernel.abandon(pending)
            time.sleep(_PAUSE_S)
        elif self._before is not None:
            self._before.send(pending, request)
        else:
            self._kernel.serve_delayed(request)

    def heard(self, type_name: str, status: int) -> None:
        """Pass on that the server has answered a request."""
        if self._before is not None:
            self._before.heard(type_name, status)

    def keeps(self, pending: Any, answer: Any) -> bool:
        """Return whether a fault keeps a reply."""
        return self._before is not None and self._before.keeps(pending, answer)

    def takes(self, push: Any) -> bool:
        """Return whether a fault takes a push."""
        return self._before is not None and self._before.takes(push)

    def unreachable_s(self, program: str) -> float | None:
        """Return in how many seconds a client notices that it cannot connect, if it cannot."""
        return None if self._before is None else self._before.unreachable_s(program)


def end(sim: Simulation, young: Iterable[threading.Thread], patience_s: float) -> list[threading.Thread]:
    """End a simulation for the threads that outlive it, and return those that have called it and still live.

    `young` are the threads that were started for the test. What they wait for is lost now, and so is all that they
    ask from now on; they have `patience_s` seconds of real time to end by that.
    """
    kernel = sim.kernel
    callers = [thread for thread in young if thread in kernel.actors.callers or _calls(thread, sim)]
    if not callers:
        return []
    with kernel.locked():
        kernel.network = EndedNetwork(sim, young)
        kernel.disconnect_all()
    until = time.monotonic() + patience_s
    for thread in callers:
        thread.join(max(0.0, until - time.monotonic()))
    return [thread for thread in callers if thread.is_alive()]


def _calls(thread: threading.Thread, sim: Simulation) -> bool:
    owner = _owners.get(thread)
    return owner is not None and owner.sim is sim
