"""A client with many kinds of work, and executors that have now more to give and now less."""

import time

from crypto import Crypto
from pycolonies import Colonies, ColoniesConnectionError

KINDS, LATER = 240, 40
SIZES = [("500m", "1Gi"), ("1500m", "2Gi"), ("4100m", "8Gi"), ("", ""), ("2500m", ""), ("", "2Gi"), ("300m", "8Gi")]
IDLE_CALLS = 6


def spec(colony, number):
    conditions = {
        "colonyname": colony,
        "executortype": "hand",
        "cpu": f"{number * 7 % 40 + 1}00m",
        "mem": ("512Mi", "1536Mi", "4Gi")[number % 3],
        "executornames": ["hand-1", "hand-3"] if number % 10 == 0 else [],
        "locationname": "Harbour" if number % 9 == 0 else "",
    }
    limits = {"maxwaittime": -1, "maxexectime": 20, "maxretries": 20, "priority": number % 4 - 1}
    return {"funcname": f"kind {number}", "conditions": conditions} | limits


def client(colony, user_key):
    server = Colonies("localhost", 50080)

    def ask(msgtype, **fields):
        return server._Colonies__rpc({"msgtype": msgtype} | fields, user_key)

    waiting = []
    for number in range(KINDS):
        waiting.append(ask("submitfuncspecmsg", spec=spec(colony, number))["processid"])
        if number % 8 == 0:
            time.sleep(1)
    for number, process_id in enumerate(waiting):
        if number % 7 == 3:
            ask("cancelprocessmsg", processid=process_id)
        elif number % 11 == 4:
            ask("removeprocessmsg", processid=process_id)
    time.sleep(500)
    for number in range(LATER):  # while executors wait
        ask("submitfuncspecmsg", spec=spec(colony, number))
        time.sleep(number % 3 * 4)


def hand(name, place, colony, colony_key):
    server, crypto = Colonies("localhost", 50080), Crypto()
    key = crypto.prvkey()
    executor = {"executorname": name, "executorid": crypto.id(key), "colonyname": colony, "executortype": "hand"}
    server.add_executor(executor | {"locationname": place}, colony_key)
    server.approve_executor(colony, name, colony_key)
    time.sleep(40)  # until there is a backlog
    calls = idle = 0
    while idle < IDLE_CALLS:
        calls += 1
        cpu, memory = SIZES[(calls + len(name + place)) % len(SIZES)]
        has = {"availablecpu": cpu, "availablemem": memory, "timeout": 60 if calls % 2 else 5}
        try:
            process = server._Colonies__rpc({"msgtype": "assignprocessmsg", "colonyname": colony} | has, key)
        except ColoniesConnectionError:
            idle += 1
            continue
        idle = 0
        time.sleep(calls % 4)
        if calls % 9 != 5:  # the others run out of time
            server.close(process["processid"], [], key)
    idle = 0
    while idle < 2:  # with all that it has, for what is left
        try:
            process = server.assign(colony, 120, key)
        except ColoniesConnectionError:
            idle += 1
            continue
        server.close(process.processid, [], key)
