"""How long a virtual day of unmodified pycolonies executors and clients takes, and what one turn of a program costs.

python -m benchmarks.programs [executors] [clients] [processes of each client]
"""

from __future__ import annotations

import resource
import sys
import time

from colonysim import Simulation
from tests.programs.day import day


def turn_us(count: int = 200, rounds: int = 200) -> float:
    """Microseconds for one turn among so many programs that only sleep."""
    sim = Simulation()

    def doze() -> None:
        for _ in range(rounds):
            time.sleep(1)

    for _ in range(count):
        sim.program(doze)
    started = time.perf_counter()
    sim.run()
    passed_s = time.perf_counter() - started
    sim.stop_programs()
    return passed_s / count / rounds * 1e6


def main(executors: int = 200, clients: int = 20, count: int = 100) -> None:
    """The day twice with one seed, in the storm of tests/programs/day.py: the digests must be equal."""
    digests = []
    for _ in range(2):
        started, used_s = time.perf_counter(), time.process_time()
        sim = day(1, executors, clients, count)
        passed_s, used_s = time.perf_counter() - started, time.process_time() - used_s
        assert sim.journal is not None
        digests.append(sim.journal.digest())
        calls = sim.kernel.calls_asked
        print(
            f"{executors} executors, {clients} clients, {len(sim.world.processes)} processes, {calls} calls: "
            f"{passed_s:.1f} s ({used_s:.1f} s of processor time), {used_s / calls * 1e6:.0f} µs a call, "
            f"journal {digests[-1][:16]}"
        )
    memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"equal digests: {digests[0] == digests[1]}; a turn takes {turn_us():.1f} µs; {memory_mib:.0f} MiB in all")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
