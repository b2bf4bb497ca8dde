"""The executor of `colonysim dev --executor`, which closes each process it gets."""

from __future__ import annotations

import threading
from typing import Any, Final

import msgspec

from colonysim.kernel.actors import OWN_THREAD_PREFIX
from colonysim.simulation.client import ColonyClient, ExecutorClient, Refused
from colonysim.simulation.simulation import Simulation

NAME: Final = "echo"
POLL_S: Final = 10
RETRY_S: Final = 1.0


def parse_answer(text: str | None) -> list[Any] | None:
    """Parse the value of --answer, a JSON list. Raises ValueError, with an example, if it is not one."""
    if text is None:
        return None
    try:
        answer = msgspec.json.decode(text)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, list):
        raise ValueError(f"--answer takes a JSON list such as '[\"done\", 1]', not {text[:100]!r}")
    return answer


class EchoExecutor:
    """Closes each process after `takes_s` seconds, with the given output or (None) with its arguments.

    Raises Refused if the stock colony does not exist.
    """

    def __init__(self, sim: Simulation, executor_type: str, answer: list[Any] | None, takes_s: float) -> None:
        self._sim = sim
        self._type = executor_type
        self._answer = answer
        self._takes_s = takes_s
        self._stopping = threading.Event()
        self._executor: ExecutorClient | None = self._join()

    def start(self) -> EchoExecutor:
        """Run in a new thread until `stop`."""
        threading.Thread(target=self._run, name=f"{OWN_THREAD_PREFIX}echo", daemon=True).start()
        return self

    def stop(self) -> None:
        """Close no more processes. The thread ends after its last poll, or with the process."""
        self._stopping.set()

    def __enter__(self) -> EchoExecutor:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _join(self) -> ExecutorClient:
        return ColonyClient.stock(self._sim).add_executor(self._type, NAME)

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._executor = self._executor or self._join()
                self._serve(self._executor)
            except (Refused, ConnectionError) as problem:  # the executor was removed, or the server was reset
                print(f"# executor {NAME} joins again: {problem}", flush=True)
                self._executor = None
                self._stopping.wait(RETRY_S)

    def _serve(self, executor: ExecutorClient) -> None:
        process = executor.assign(timeout_s=POLL_S)
        if process is None:
            return
        if self._stopping.wait(self._takes_s):
            return
        try:
            process.close(process.args if self._answer is None else self._answer)
        except Refused as refused:
            print(f"# executor {NAME} could not close {process.id[:8]}: {refused}", flush=True)
