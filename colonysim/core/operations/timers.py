"""Register the handlers of timed events that belong to no message type."""

from __future__ import annotations

from colonysim.core import lifecycle, recurring, registration, removal
from colonysim.core.events import Cleanup, CronCheck, GeneratorCheck, ReleaseTick, Retention
from colonysim.core.registry import timer

timer(ReleaseTick)(lifecycle.release_tick)
timer(Cleanup)(registration.cleanup)
timer(Retention)(removal.drop_old)
timer(CronCheck)(recurring.check_cron)
timer(GeneratorCheck)(recurring.check_generator)
