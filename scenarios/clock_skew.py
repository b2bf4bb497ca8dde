"""Executors whose clocks are wrong: ordinary pycolonies code.

An order may be carried out while it is one's own, which is for `maxexectime`. How long that has been is a span, and a
clock that is an hour fast measures a minute well enough. `careless` is "compares" for executors that hold the
server's deadline against their own clock.
"""

import random
import time
from datetime import UTC, datetime

from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec

LIMIT_S = 60
CARRIED_OUT = []  # as the world outside has it: one entry each time an order is carried out


def worker(colony, key, careless=""):
    client = Colonies("localhost", 50080)
    while True:
        try:
            process = client.assign(colony, 30, key)
        except ColoniesConnectionError:
            time.sleep(1)
            continue
        began = time.monotonic()
        time.sleep(random.uniform(20, 90))  # sometimes longer than it may
        if careless == "compares":
            still_mine = datetime.now(UTC) < process.execdeadline.astimezone(UTC)
        else:
            still_mine = time.monotonic() - began < LIMIT_S - 2
        if still_mine:
            CARRIED_OUT.append(process.spec.label)
            try:
                client.close(process.processid, [], key)
            except ColoniesConnectionError:
                pass  # too late after all


def customer(colony, user_key, orders):
    client = Colonies("localhost", 50080)
    conditions = Conditions(colonyname=colony, executortype="worker")
    limits = {"maxwaittime": -1, "maxexectime": LIMIT_S, "maxretries": 50}
    for number in range(orders):
        spec = FuncSpec(funcname="carry_out", label=f"order {number}", conditions=conditions, **limits)
        client.submit_func_spec(spec, user_key)
        time.sleep(15)
    while client.list_processes(colony, 100, 0, user_key) or client.list_processes(colony, 100, 1, user_key):
        time.sleep(30)
    for number in range(orders):
        times = CARRIED_OUT.count(f"order {number}")
        assert times == 1, f"order {number} was carried out {times} times"
