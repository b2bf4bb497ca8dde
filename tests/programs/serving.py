"""An executor as a program."""

from __future__ import annotations

import datetime
from time import sleep

from colonysim.simulation.client import ExecutorClient

START = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def serve(executor: ExecutorClient, service_s: float = 2.0) -> None:
    """An executor's usual loop."""
    while True:
        process = executor.assign(timeout_s=100)
        if process is not None:
            sleep(service_s)
            process.close([executor.name])
