"""How much memory a waiting process takes beyond its arguments, and whether cancelled timers go."""

from __future__ import annotations

import gc
import tracemalloc

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
    stage = Stage()
    messages = [own_message(number) for number in range(count)]
    stage.sim.calls.clear()
    gc.collect()
    before = resident_bytes()
    for message in messages:
        stage.sim.call(USER_ID, message)
    stage.sim.calls.clear()
    gc.collect()
    shared = (resident_bytes() - before) / count
    del stage, messages
    gc.collect()
    spec = _traced(10_000)
    return [
        Row("memory of a waiting process, its spec apart", shared, "B", None, note=f"resident, {count:,} waiting"),
        Row("memory of a waiting process and its spec, beyond its arguments", shared + spec, "B", 1024,
            note=f"of these {spec:.0f} B are the spec"),
    ]  # fmt: skip


def _traced(count: int) -> float:
    """Bytes of a message with its spec, without the arguments."""
    tracemalloc.start()
    arguments = [[str(number)] for number in range(count)]
    start = tracemalloc.get_traced_memory()[0]
    messages = [own_message(number).spec for number in range(count)]
    used = tracemalloc.get_traced_memory()[0] - start
    tracemalloc.stop()
    assert len(messages) == len(arguments)
    return used / count - _arguments(count)


def _arguments(count: int) -> float:
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]
    arguments = [[str(number)] for number in range(count)]
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
