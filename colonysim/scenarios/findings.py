"""The results of checks, as values and as sentences."""

from __future__ import annotations

import msgspec

from colonysim.core.wording import show_seconds, show_times
from colonysim.reports.summary import show_figure


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a check. Times in seconds from the start of the run; `violations` counts how often it failed.

    `looked` counts how often there was something to check: the states that a probe looked at, how often the `when`
    of `leads_to` became true, the processes that `each` followed. At 0 the check has shown nothing. `figure`: what
    `value` is, such as `queue_depth`. `missing`: the figure that could not be compared because there was nothing to
    measure, which makes the check fail. `text`: the problem, as a user's check describes it.
    """

    name: str
    what: str
    passed: bool
    violations: int = 0
    first_s: float | None = None
    value: float | None = None
    process_id: str = ""
    looked: int = 0
    missing: str = ""
    text: str = ""
    figure: str = ""

    def __str__(self) -> str:
        """Describe it in a line: the check, what must hold, and how often and when it did not."""
        required = f"{self.name}: {self.what}"
        if self.passed:
            return required
        if self.text:
            return f"{self.name}: {self.text}"
        if self.missing:
            return f"{required}: not so, because {self.missing} has no value: there was nothing to measure"
        failed = "violated" if self.violations < 2 else f"violated {show_times(self.violations)}"
        if self.first_s is not None:
            failed += f"{', first' if self.violations > 1 else ''} {show_seconds(self.first_s)} after the start"
        if self.value is not None:
            what = f"{self.figure} was" if self.figure else "the value was"
            failed += f", when {what} {show_figure(self.figure, self.value)}"
        return f"{required}: {failed}"
