"""What multiprocessing and pools of processes do in programs.

Semaphores that processes share are waited for in virtual time. A pool has one worker process, so that results come in
the order of the tasks. The numbers in the names of processes, threads and tasks begin anew in each life of a program.
"""

from __future__ import annotations

import multiprocessing.connection
import multiprocessing.forkserver
import multiprocessing.pool
import multiprocessing.process
import multiprocessing.synchronize
import sys
import threading
from asyncio import BaseEventLoop
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Final

from colonysim.programs import children
from colonysim.stdlib import inplace
from colonysim.stdlib.here import here, replace_attribute
from colonysim.stdlib.own_names import NumbersOfLives

_MODULE: Final = vars(multiprocessing.process)
_free_semaphore: Final = vars(multiprocessing.synchronize.SemLock)["_cleanup"].__func__


# ---------------------------------------------------------------- semaphores
def _acquire(real: Any) -> Callable[..., bool]:
    def acquire(self: Any, block: bool = True, timeout: float | None = None) -> bool:
        who = here.thread
        if who is None:
            return real(self, block, timeout)  # type: ignore[no-any-return]
        children.settle(who)
        if real(self, False):
            return True
        if not block:
            return False
        with children.polling(who, lambda: not self._is_zero()):
            return who.wait_until(lambda: real(self, False), "a lock shared with other processes", timeout)  # type: ignore[no-any-return]

    return acquire


def _take_saved() -> list[inplace.Undo]:
    """Have the locks that were made before take the replaced method: each of them has saved its own."""
    made = list(vars(multiprocessing.util)["_afterfork_registry"].values())
    locks = [lock for lock in made if isinstance(lock, multiprocessing.synchronize.SemLock)]
    return [replace_attribute(lock, "acquire", vars(lock)["_semlock"].acquire) for lock in locks]


# ---------------------------------------------------------------- processes
def _launch(real: Any) -> Callable[[Any, Any], None]:
    """Have the fork server start a process; it answers in real time, and the process counts as a child."""

    def launch(self: Any, process: Any) -> None:
        who = here.thread
        here.thread = None
        try:
            real(self, process)
        finally:
            here.thread = who
        if who is not None:
            server: int = vars(vars(multiprocessing.forkserver)["_forkserver"])["_forkserver_pid"]
            children.begin(who, self.pid, "multiprocessing", server=server)

    return launch


def _active_children(real: Any) -> Callable[[], list[Any]]:
    def active_children() -> list[Any]:
        who = here.thread
        alive: list[Any] = real() if who is None else [one for one in _own_children(who.program) if one.is_alive()]
        return alive

    return active_children


def _cleanup(real: Any) -> Callable[[], None]:
    """Before a process starts: let those work that have started before, so that they write to a queue in this order."""

    def cleanup() -> None:
        if here.thread is None:
            real()
        else:
            children.settle(here.thread)

    return cleanup


def _own_children(program: Any) -> list[Any]:
    """The processes that multiprocessing has started for a program, and that have not been joined."""
    return [process for process in _MODULE["_children"] if vars(process)["_popen"].pid in program.children]


def exit_process(program: Any) -> None:
    """Do what multiprocessing does when a process exits: run finalizers, and join the processes that are no daemons."""
    own = _finalizers(program)
    for key in sorted((key for key in own if key[0] is not None), reverse=True):
        own[key]()
    for process in sorted(_own_children(program), key=lambda process: not process.daemon):
        process.terminate() if process.daemon else process.join()


def free_semaphores(program: Any) -> None:
    """Free the semaphores that a program which is gone has left."""
    for finalizer in _finalizers(program).values():
        if vars(finalizer)["_callback"] is _free_semaphore:
            _free_semaphore(*vars(finalizer)["_args"])
            finalizer.cancel()


def _finalizers(program: Any) -> dict[Any, Any]:
    """The finalizers of a program by their priorities, of those with the same priority the later ones higher."""
    registry = vars(multiprocessing.util)["_finalizer_registry"]
    return {key: one for key, one in list(registry.items()) if vars(one)["_pid"] == program.pid}


def _wait(real: Any) -> Callable[..., Any]:
    """Wait for connections: the real function looks again and again until more than the time limit has passed."""

    def wait(connections: Any, timeout: float | None = None) -> Any:
        less = 0.0 if here.thread is None or timeout is None else 1e-6
        return real(connections, timeout if timeout is None else timeout - less)

    return wait


# ---------------------------------------------------------------- pools
def _one_worker(real: Any) -> Callable[..., None]:
    def init(self: Any, workers: int | None = None, *args: Any, **kwargs: Any) -> None:
        workers = kwargs.pop("processes", kwargs.pop("max_workers", workers))
        if here.thread is not None and not isinstance(self, multiprocessing.pool.ThreadPool):
            if not children.CAN_BE_SEEN_WAITING:
                raise RuntimeError(
                    f"{type(self).__name__} cannot be had in a program on {sys.platform}, which does not say "
                    "whether a process waits: use ThreadPoolExecutor there, or multiprocessing.Process for each task"
                )
            workers = 1 if workers is None or workers > 1 else workers
        real(self, workers, *args, **kwargs)

    return init


def shut_down(threads: list[threading.Thread]) -> None:
    """Tell pools that nothing more comes, as the interpreter does at its end; what they have still to do they do."""
    for thread in threads:
        work = vars(thread)
        is_worker = getattr(work.get("_target"), "__module__", "") == "concurrent.futures.thread"
        refer = work["_args"][0] if is_worker and work.get("_args") else work.get("executor_reference")
        executor = refer() if refer is not None else None
        if executor is not None:
            executor.shutdown(wait=False)


def _create_task(real: Any) -> Callable[..., Any]:
    def create_task(self: Any, *args: Any, name: Any = None, **kwargs: Any) -> Any:
        if here.thread is not None and name is None and self.get_task_factory() is None:
            name = f"Task-{here.thread.program.names.number('task', 1)}"
        return real(self, *args, **kwargs) if name is None else real(self, *args, name=name, **kwargs)

    return create_task


def patch() -> list[inplace.Undo]:
    """Replace the functions and methods; what is returned puts them back."""
    import multiprocessing.popen_forkserver  # refuses to be imported under eventlet

    thread_numbers, pool_numbers = vars(threading)["_counter"], vars(ThreadPoolExecutor)["_counter"]
    process_numbers = NumbersOfLives(_MODULE["_process_counter"].__next__, "process", 1)
    shared = vars(multiprocessing.synchronize)["_multiprocessing"].SemLock
    undo = [
        inplace.replace_method(shared, "acquire", _acquire),
        inplace.replace_method(shared, "__enter__", lambda _: lambda self: shared.acquire(self)),
        inplace.replace_function(vars(multiprocessing.popen_forkserver.Popen)["_launch"], _launch),
        inplace.replace_function(multiprocessing.connection.wait, _wait),
        inplace.replace_function(multiprocessing.process.active_children, _active_children),
        inplace.replace_function(_MODULE["_cleanup"], _cleanup),
        inplace.replace_function(vars(multiprocessing.pool.Pool)["__init__"], _one_worker),
        inplace.replace_function(vars(ProcessPoolExecutor)["__init__"], _one_worker),
        inplace.replace_function(vars(BaseEventLoop)["create_task"], _create_task),
        replace_attribute(threading, "_counter", NumbersOfLives(thread_numbers, "thread", 1).__next__),
        replace_attribute(ThreadPoolExecutor, "_counter", NumbersOfLives(pool_numbers, "pool", 0).__next__),
        replace_attribute(multiprocessing.process, "_process_counter", process_numbers),
    ]
    return undo + _take_saved()
