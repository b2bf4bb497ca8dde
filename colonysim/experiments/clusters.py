"""Explores past one machine: on a cluster of dask.distributed, which must have colonysim and the scenario's files."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from importlib import import_module
from typing import Any

from colonysim.experiments.exploration import Pool


class NoCluster(ValueError):
    """A cluster that cannot be had. The text says why, and what would do."""


class Cluster(Pool):
    """An existing cluster by its address, or one on this machine for `local`. Errors: NoCluster."""

    def __init__(self, address: str, width: int | None = None) -> None:
        try:
            distributed: Any = import_module("distributed")
        except ImportError:
            raise NoCluster("exploring on a cluster needs an extra: pip install 'colonysim[dask]'") from None
        self._local: Any = None
        if address == "local":
            self._local = distributed.LocalCluster(
                n_workers=width or os.cpu_count() or 1, threads_per_worker=1, dashboard_address=None, silence_logs=50
            )
        try:
            self._client = distributed.Client(self._local or address, timeout="10s")
        except (OSError, ValueError) as error:
            text = f"there is no cluster at {address!r}: {error or type(error).__name__}; "
            raise NoCluster(f"{text}give the address that `dask scheduler` prints, or `local`") from None
        threads = sum(self._client.nthreads().values())
        if not threads:
            self.close(at_once=True)
            raise NoCluster(f"the cluster at {address!r} has nobody who could run anything: start `dask worker`")
        super().__init__(threads)
        self._executor: Executor = self._client.get_executor(pure=False)

    def executor(self) -> Executor:
        return self._executor

    def close(self, at_once: bool) -> None:
        self._client.close()
        if self._local is not None:
            self._local.close()
