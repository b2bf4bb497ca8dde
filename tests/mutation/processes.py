"""One process for each mutant: forked, watched, and ended when it takes too long."""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

MOST_MEMORY_BYTES = 6 * 2**30
REAL_TIME_FACTOR = 20
LEAST_REAL_S = 90.0
CPU_FACTOR = 5
LEAST_CPU_S = 1.5


class OutOfTime(BaseException):
    """What is being run has used up its CPU time."""


@contextmanager
def cpu_time(usual_s: float) -> Iterator[None]:
    """Raise OutOfTime where the block takes many times its usual CPU time: a busy machine changes nothing."""

    def end(number: int, frame: object) -> NoReturn:
        raise OutOfTime

    signal.signal(signal.SIGVTALRM, end)
    # Again and again, in case that somebody catches it.
    signal.setitimer(signal.ITIMER_VIRTUAL, max(LEAST_CPU_S, CPU_FACTOR * usual_s), 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


Say = Callable[[dict[str, Any]], None]
Work = Callable[[Say], None]


@dataclass
class Child:
    """A forked process that tells what it has come to, one JSON object a line."""

    job: Any
    work: Work
    pid: int = 0
    pipe: int = -1
    began: float = 0.0
    heard: float = 0.0
    patience_s: float = LEAST_REAL_S
    said: list[dict[str, Any]] = field(default_factory=list)
    rest: bytes = b""
    stopped: bool = False

    def start(self) -> None:
        self.pipe, there = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.pipe)
            _be_child(self.work, there)
        os.close(there)
        self.began = self.heard = time.monotonic()

    def read(self) -> bool:
        """Take what it has said; False at its end."""
        data = os.read(self.pipe, 65536)
        if not data:
            os.close(self.pipe)
            os.waitpid(self.pid, 0)
            return False
        self.heard = time.monotonic()
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            self.said.append(json.loads(line))
            usual_s = self.said[-1].get("usual_s")
            if usual_s is not None:
                self.patience_s = max(LEAST_REAL_S, REAL_TIME_FACTOR * usual_s)
        return True

    def stop_if_silent(self) -> None:
        if not self.stopped and time.monotonic() - self.heard > self.patience_s:
            os.kill(self.pid, signal.SIGKILL)
            self.stopped = True


def _be_child(work: Work, pipe: int) -> NoReturn:
    """The whole life of the child; it never returns to what its parent was doing."""
    try:
        nothing = os.open(os.devnull, os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(nothing, number)
        resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))

        def say(what: dict[str, Any]) -> None:
            os.write(pipe, json.dumps(what).encode() + b"\n")

        work(say)
    finally:
        os._exit(0)


def run_all(jobs: Iterator[tuple[Any, Work]], workers: int, done: Callable[[Child], None]) -> None:
    """Run every job in a process of its own, so many at a time; `done` is told of each at its end."""
    running: dict[int, Child] = {}
    more = True
    while more or running:
        while more and len(running) < workers:
            job = next(jobs, None)
            if job is None:
                more = False
                break
            child = Child(*job)
            child.start()
            running[child.pipe] = child
        if not running:
            break
        ready, _, _ = select.select(list(running), [], [], 1.0)
        for pipe in ready:
            if not running[pipe].read():
                done(running.pop(pipe))
        for child in running.values():
            child.stop_if_silent()
