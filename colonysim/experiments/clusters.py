"""Explores past one machine: on a cluster of dask.distributed, which must have colonysim and the scenario's files."""

from __future__ import annotations

import os
from concurrent.futures import Executor
from importlib import import_module
from typing import Any

from colonysim.experiments.parallel import WorkerPool


class NoCluster(ValueError):
    """A cluster is not available. The text says why, and how to fix it."""


class Cluster(WorkerPool):
    """A dask.distributed cluster: an existing one by its address, or a new one on this machine for `local`.

    `width`: number of workers of a local cluster, by default one per core. Raises NoCluster.
    """

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
            text = f"no cluster at {address!r}: {error or type(error).__name__}; "
            raise NoCluster(f"{text}give the address that `dask scheduler` prints, or `local`") from None
        threads = sum(self._client.nthreads().values())
        if not threads:
            self.close(at_once=True)
            raise NoCluster(f"the cluster at {address!r} has no workers: start `dask worker`")
        super().__init__(threads)
        self._executor: Executor = self._client.get_executor(pure=False)

    def executor(self) -> Executor:
        """Return the executor of the cluster's client."""
        return self._executor

    def close(self, at_once: bool) -> None:
        """Disconnect from the cluster, and stop it if it is local."""
        self._client.close()
        if self._local is not None:
            self._local.close()
