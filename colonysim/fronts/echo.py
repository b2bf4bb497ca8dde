"""An executor for `colonysim dev` that closes whatever it gets."""

from __future__ import annotations

import json
import threading
import time
from typing import Any, Final

from colonysim.sim.actors import OWN_THREADS
from colonysim.sim.client import ColonyClient, Refused
from colonysim.sim.simulation import Simulation

NAME: Final = "echo"
POLL_S: Final = 10


def parse_answer(text: str | None) -> list[Any] | None:
    """The output to answer with. Errors: ValueError that shows how to write it."""
    if text is None:
        return None
    try:
        answer = json.loads(text)
    except ValueError:
        answer = None
    if not isinstance(answer, list):
        raise ValueError(f"--answer takes a JSON list such as '[\"done\", 1]', not {text!r}")
    return answer


class EchoExecutor:
    """Closes each process with the given output, or else with its arguments, after a while."""

    def __init__(self, sim: Simulation, executor_type: str, answer: list[Any] | None, takes_s: float) -> None:
        self._executor = ColonyClient.stock(sim).add_executor(executor_type, NAME)
        self._answer = answer
        self._takes_s = takes_s

    def start(self) -> None:
        """Run in a thread of its own, for as long as the program lives."""
        threading.Thread(target=self._run, name=f"{OWN_THREADS}echo", daemon=True).start()

    def _run(self) -> None:
        while True:
            process = self._executor.assign(timeout_s=POLL_S)
            if process is None:
                continue
            time.sleep(self._takes_s)
            try:
                process.close(process.args if self._answer is None else self._answer)
            except Refused as refused:
                process_id = process.id[:8]
                print(f"# the executor could not close {process_id}: {refused}", flush=True)
