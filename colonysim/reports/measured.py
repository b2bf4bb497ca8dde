"""What the figures of a run cover: a window of time, without the transient at its start, and batches in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from colonysim.core.wording import show_number as show
from colonysim.statistics.series import BatchMeans


class Covered(NamedTuple):
    """The processes that figures cover, by their places, and the time that those of queue and executors cover."""

    rows: Sequence[int]
    begin_ns: int
    until_ns: int


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """The processes that the figures cover: those submitted from `from_s` on, after the warm-up, and before `until_s`.

    Times in seconds from the start of the run; `until_s` is None if there is no end. `method`: how the length of the
    warm-up was found: MSER-5, given, or none. `processes` are covered, `left_out` are not. `batches`: the batch means
    of each figure, in the order of submission. `problems`: what could not be done, by the name of the field.
    """

    from_s: float
    until_s: float | None
    warmup_s: float
    method: str
    processes: int
    left_out: int
    batches: dict[str, BatchMeans] = {}
    problems: dict[str, str] = {}

    @property
    def scope(self) -> str:
        """Say which processes the figures cover."""
        until = "" if self.until_s is None else f" and before {self.until_s:g} s"
        since = f"from {self.from_s:g} s on{until}"
        warmup = {"none": "", "given": f", without a warm-up of {self.warmup_s:g} s"}
        return f"figures cover processes submitted {since}{warmup.get(self.method, ', without the warm-up (MSER-5)')}"

    def lines(self) -> list[str]:
        """Say what the figures cover and what the batches give, in lines."""
        found = f", which lasted {self.warmup_s:.6g} s" if self.method == "MSER-5" else ""
        made = [f"{self.scope}{found}: {self.processes:,} of {self.processes + self.left_out:,}"]
        for name, batches in self.batches.items():
            related = "" if batches.correlation is None else f", correlation {show(batches.correlation)}"
            made.append(f"{name}: {batches.interval} in this run, by {batches.count} batch means{related}")
        return made
