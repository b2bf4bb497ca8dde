"""When faults were on and when they struck: what reports show as bands."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import msgspec

from colonysim.core.records import SECOND_NS
from colonysim.faults.fault import Fault
from colonysim.faults.registry import KINDS
from colonysim.faults.tally import is_strike


class Band(msgspec.Struct):
    """A time in which a fault was on, in virtual nanoseconds since 1970. `actor` is whom it struck, if it was one."""

    name: str
    kind: str
    from_ns: int
    to_ns: int
    actor: str = ""


class Strikes:
    """What the faults of one run have done. `at_ns` are the times of all strikes, `fault` which fault struck then."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.bands: list[Band] = []
        self.names: list[str] = []
        self.kinds: dict[str, str] = {}
        self.at_ns = array("q")
        self.fault = array("H")  # which one struck, by its place in `names`
        self._places: dict[str, int] = {}
        self._faults: dict[str, Fault] = {}
        self._until_ns = start_ns  # the latest end of a band so far
        self._from_ns: list[tuple[int, int]] = []  # bands that are known before they begin

    @property
    def count(self) -> int:
        return len(self.at_ns)

    def expect(self, faults: Iterable[Fault], storm_s: float) -> None:
        """Take in the faults of a run: one with a window is on in it, at most for the storm of so many seconds."""
        for fault in faults:
            self._faults[fault.name] = fault
            self._place(fault.name, fault.kind)
            if (window := fault.window) is not None:
                until_s = storm_s if window.until_s is None else min(window.until_s, storm_s)
                from_ns = self.start_ns + round(window.from_s * SECOND_NS)
                to_ns = self.start_ns + round(until_s * SECOND_NS)
                if from_ns < to_ns:
                    self.bands.append(Band(fault.name, fault.kind, from_ns, to_ns))
                    self._from_ns.append((from_ns, to_ns))

    def _place(self, name: str, kind: str) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self.names)
            self.names.append(name)
            self.kinds[name] = kind
        return place

    def note(self, now_ns: int, line: dict[str, Any]) -> None:
        """Take in what a fault wrote: when it struck, and how long what it began lasts.

        It need not be one that was expected, as in a journal.
        """
        name = line.get("fault")
        if name is None or "back" in line or "healed" in line or "on" in line:
            return
        fault = self._faults.get(name) or KINDS.get(line["kind"])
        if is_strike(line, fault is not None and fault.counts_messages):
            self.at_ns.append(now_ns)
            self.fault.append(self._place(name, line["kind"]))
        span_ns = 0
        if fault is not None and fault.is_on_while_it_lasts:
            span_ns = line.get(f"{fault.lasts.removesuffix('_s')}_ns") or 0
        if span_ns or "ask" not in line:
            shown_ns = span_ns or line.get("restart_after_ns") or 0  # a crash strikes once, and its actor is down
            self.bands.append(Band(name, line["kind"], now_ns, now_ns + shown_ns, line.get("actor", "")))
            self._until_ns = max(self._until_ns, now_ns + span_ns)

    def any_on(self, now_ns: int) -> bool:
        """Return whether a lasting fault is on."""
        return now_ns < self._until_ns or any(from_ns <= now_ns < to_ns for from_ns, to_ns in self._from_ns)

    def end(self, now_ns: int) -> None:
        """End all faults: the storm is over."""
        self._until_ns = min(self._until_ns, now_ns)
        self._from_ns = [(from_ns, min(to_ns, now_ns)) for from_ns, to_ns in self._from_ns]
        for band in self.bands:
            band.to_ns = min(band.to_ns, max(now_ns, band.from_ns))
