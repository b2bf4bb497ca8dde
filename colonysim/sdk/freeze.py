"""Let the time that tests read follow a simulation, by freezegun."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from colonysim.extras import needed_for
from colonysim.kernel.clock import EPOCH
from colonysim.simulation.simulation import Simulation


@contextmanager
def freeze(sim: Simulation) -> Iterator[Any]:
    """Within the context, have `time.time()`, `datetime.now()` and the like give the time of a simulation.

    Yields freezegun's controller, whose `tick` and `move_to` advance the simulation. Programs of the simulation have
    its time anyway. Raises MissingExtra if freezegun is not installed.
    """
    with needed_for("freezing the time of a test"):
        import freezegun
        from freezegun.api import FrozenDateTimeFactory

    class Follower(FrozenDateTimeFactory):
        """Gives the time of the simulation whenever it is asked."""

        def __init__(self) -> None:
            pass

        @property
        def time_to_freeze(self) -> datetime:
            return (EPOCH + timedelta(microseconds=sim.world.now_ns // 1000)).replace(tzinfo=None)

        @time_to_freeze.setter
        def time_to_freeze(self, value: datetime) -> None:
            self.move_to(value)

        def __call__(self) -> datetime:
            return self.time_to_freeze

        def tick(self, delta: timedelta | float = 1) -> datetime:
            """Advance the simulation by some seconds, or by a timedelta."""
            sim.advance(delta)
            return self.time_to_freeze

        def move_to(self, target_datetime: Any) -> None:
            """Advance the simulation to a datetime, or a text such as 2030-01-01; without a zone it is in UTC."""
            target = datetime.fromisoformat(str(target_datetime))
            sim.advance(to=target if target.tzinfo is not None else target.replace(tzinfo=UTC))

    freezer = freezegun.freeze_time(sim.now, ignore=["colonysim"])
    freezer.start()
    try:
        freezegun.api.freeze_factories[-1] = follower = Follower()
        yield follower
    finally:
        freezer.stop()
