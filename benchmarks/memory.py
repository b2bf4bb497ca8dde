"""How much memory a waiting process takes beyond its arguments, and whether cancelled timers go."""

from __future__ import annotations

import gc
import tracemalloc

import msgspec

from benchmarks.measure import USER_ID, Row, Stage, once
from colonysim.core.operations.processes import CancelProcess, RemoveProcess, SubmitFuncSpec
from colonysim.core.types import Conditions, FunctionSpec


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * 4096


def own_message(number: int) -> SubmitFuncSpec:
    """A submission whose spec and arguments are its own, as decoding a request makes it."""
    spec = FunctionSpec(
        funcname="f",
        args=[str(number)],
        maxwaittime=3600,
        maxexectime=3600,
        maxretries=3,
        conditions=Conditions(colonyname="dev", executortype="cli"),
    )
    return SubmitFuncSpec(spec=spec)


def waiting(short: bool) -> list[Row]:
    count = 50_000 if short else 1_000_000
    arguments = _arguments(10_000)
    note = f"resident, {count:,} waiting; the arguments take {arguments:.0f} B"
    return [
        Row(f"memory of a waiting process and its spec, beyond its arguments, {when}", used - arguments, "B", 700,
            note=note)
        for when, used in (
            ("all submitted at one time", _each(count, 0.0)),
            ("submitted 1 ms apart", _each(count, 0.001)),
        )
    ]  # fmt: skip


def _each(count: int, gap_s: float) -> float:
    """Resident bytes for each of `count` waiting processes that were submitted `gap_s` apart."""
    stage = Stage()
    stage.sim.call(USER_ID, own_message(0))
    stage.sim.calls.clear()
    gc.collect()
    before = resident_bytes()
    for number in range(1, count + 1):
        if gap_s:
            stage.sim.advance(gap_s)
        stage.sim.call(USER_ID, own_message(number))
    stage.sim.calls.clear()
    gc.collect()
    return (resident_bytes() - before) / count


def _arguments(count: int) -> float:
    """Bytes of a list with one short text, as a decoded message has it."""
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    arguments = [msgspec.json.decode(b'["%d"]' % number) for number in range(count)]
    used = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    return used / len(arguments)


def timers(short: bool) -> list[Row]:
    """Processes come, arm the limit of their waiting and are cancelled: nothing of that may stay."""
    count = 50_000 if short else 1_000_000
    points = []
    stage = Stage()
    call = stage.sim.call
    limits = [own_message(0)] + [
        SubmitFuncSpec(
            spec=FunctionSpec(
                funcname="f", maxwaittime=60 + number, conditions=Conditions(colonyname="dev", executortype="cli")
            )
        )
        for number in range(1000)
    ]

    def turn(times: int) -> None:
        for number in range(times):
            process_id = call(USER_ID, limits[number % 1000 + 1]).body.process_id
            call(USER_ID, CancelProcess(processid=process_id))
            call(USER_ID, RemoveProcess(processid=process_id))

    done = 0
    while done < count:
        size = max(done, 10_000)
        points.append((float(done + size), once(lambda size=size: turn(size)) / size))  # type: ignore[misc]
        done += size
    world = stage.sim.world
    left = sum(len(bucket) for bucket in world.release_ticks.values())
    entries = len(world.release_ticks) + len(world.agenda)
    ratio = points[-1][1] / points[0][1]
    return [
        Row(f"a timer armed and cancelled, after {count:,} against after 10,000", ratio, "x", 1.3,
            note=f"{points[-1][1] * 1e6:.1f} µs for submit, cancel and remove", points=points),
        Row("timers of cancelled processes that are left", left, "", 0, note=f"{entries} empty ticks and entries"),
    ]  # fmt: skip


def measure(short: bool) -> list[Row]:
    return [*waiting(short), *timers(short)]
