"""When faults were on and how often they struck: what reports show as bands."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import Any

import msgspec

from colonysim.core.records import SECOND_NS
from colonysim.faults.model import AnyFault, Hazard, MessageFault, kind_of
from colonysim.faults.tally import is_strike

_SPANS = ("for_ns", "down_ns")


class Band(msgspec.Struct):
    """A time in which a fault was on. `actor` is whom it struck, where it was one."""

    name: str
    kind: str
    from_ns: int
    to_ns: int
    actor: str = ""


class Strikes:
    """What the faults of one run have done."""

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.bands: list[Band] = []
        self.names: list[str] = []
        self.kinds: dict[str, str] = {}
        self.at_ns = array("q")
        self.fault = array("H")  # which one struck, by its place in `names`
        self._places: dict[str, int] = {}
        self._until_ns = start_ns  # the latest end of a band so far
        self._from_ns: list[tuple[int, int]] = []  # bands that are known before they begin

    @property
    def count(self) -> int:
        return len(self.at_ns)

    def expect(self, faults: Iterable[AnyFault], storm_s: float) -> None:
        """Take in the faults of a run: those of messages and hazards are on as long as they say themselves."""
        for fault in faults:
            self._place(fault.name, kind_of(fault))
            window = fault.when if isinstance(fault, MessageFault) else fault if isinstance(fault, Hazard) else None
            if window is not None:
                until_s = storm_s if window.until_s is None else min(window.until_s, storm_s)
                from_ns = self.start_ns + round(window.from_s * SECOND_NS)
                to_ns = self.start_ns + round(until_s * SECOND_NS)
                if from_ns < to_ns:
                    self.bands.append(Band(fault.name, kind_of(fault), from_ns, to_ns))
                    self._from_ns.append((from_ns, to_ns))

    def _place(self, name: str, kind: str) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self.names)
            self.names.append(name)
            self.kinds[name] = kind
        return place

    def note(self, now_ns: int, line: dict[str, Any]) -> None:
        """Take in what a fault wrote: when it struck, and how long what it began lasts."""
        name = line.get("fault")
        if name is None or "back" in line or "healed" in line or "on" in line:
            return
        if is_strike(line):
            self.at_ns.append(now_ns)
            self.fault.append(self._place(name, line["kind"]))
        span_ns = next((line[key] for key in _SPANS if line.get(key)), 0)
        if span_ns or "ask" not in line:
            shown_ns = span_ns or line.get("restart_after_ns") or 0  # a crash strikes once, and its actor is down
            self.bands.append(Band(name, line["kind"], now_ns, now_ns + shown_ns, line.get("actor", "")))
            self._until_ns = max(self._until_ns, now_ns + span_ns)

    def any_on(self, now_ns: int) -> bool:
        """Whether a lasting fault is on."""
        return now_ns < self._until_ns or any(from_ns <= now_ns < to_ns for from_ns, to_ns in self._from_ns)

    def end(self, now_ns: int) -> None:
        """The storm is over, and all faults with it."""
        self._until_ns = min(self._until_ns, now_ns)
        self._from_ns = [(from_ns, min(to_ns, now_ns)) for from_ns, to_ns in self._from_ns]
        for band in self.bands:
            band.to_ns = min(band.to_ns, max(now_ns, band.from_ns))
