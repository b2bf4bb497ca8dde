"""A day of pycolonies' executors and clients, unmodified, in a storm."""

from __future__ import annotations

import random
import time

from colonysim import Simulation, intercept
from colonysim.faults import Crash, LoseReply, LoseRequest, Partition, Plan, Restart, Times, When
from colonysim.simulation import stock

OWNER_KEY = stock.COLONY_OWNER.private_key
USER_KEY = stock.USER_IDENTITY.private_key
DAY_S = 86_400

STORM = Plan(
    faults=(
        Crash(actors="executor-*", times=Times(mean_every_s=300), restart_after_s=(5, 120)),
        LoseReply(when=When(probability=0.02)),
        LoseRequest(when=When(probability=0.01)),
        Restart(times=Times(mean_every_s=6 * 3600), down_s=(1, 30)),
        Partition(actors="executor-1*", times=Times(mean_every_s=3 * 3600), for_s=(10, 60)),
    ),
    until_s=DAY_S,
)


def executor(name: str) -> None:
    """Register under a new key, then take one process after the other."""
    from crypto import Crypto
    from pycolonies import Colonies

    client, crypto = Colonies("localhost", stock.PORT), Crypto()
    key = crypto.prvkey()
    record = {"executorname": name, "executorid": crypto.id(key), "colonyname": "dev", "executortype": "x"}
    while True:
        try:
            client.add_executor(record, OWNER_KEY)
            client.approve_executor("dev", name, OWNER_KEY)
            break
        except Exception:
            time.sleep(5)
    while True:
        try:
            process = client.assign("dev", 300, key)
        except Exception as error:
            if "No process" not in str(error):
                time.sleep(1)
            continue
        time.sleep(random.expovariate(1 / 60))
        try:
            client.close(process.processid, [name], key)
        except Exception:
            time.sleep(1)


def client(number: int, count: int) -> int:
    """Submit now and then through the day, and wait for each: how many were seen to succeed."""
    from pycolonies import Colonies, func_spec

    colonies, succeeded = Colonies("localhost", stock.PORT), 0
    for place in range(count):
        time.sleep(random.expovariate(count / (0.8 * DAY_S)))
        spec = func_spec(
            func="f", args=[number, place], colonyname="dev", executortype="x", maxexectime=600, maxretries=9
        )
        try:
            process = colonies.wait(colonies.submit_func_spec(spec, USER_KEY), 3600, USER_KEY)
            succeeded += process.state == Colonies.SUCCESSFUL
        except Exception:
            time.sleep(2)
    return succeeded


def day(seed: int, executors: int, clients: int, count: int) -> Simulation:
    """One virtual day of everybody, in the storm."""
    sim = Simulation(seed=seed, journal=True)
    stock.install(sim)
    with intercept(sim):
        for number in range(executors):
            sim.program(executor, f"executor-{number}", name=f"executor-{number}", forever=True)
        for number in range(clients):
            sim.program(client, number, count, name=f"client-{number}", forever=True)
        sim.faults.add(STORM)
        try:
            sim.run(for_s=DAY_S)
        finally:
            sim.stop_programs()
    return sim
