"""An operator that takes a colony out of service for a while.

pycolonies has no calls for pauses: they are sent as messages.
"""

import time

from pycolonies import Colonies

WAITING, RUNNING = 0, 1


def ask(client, key, msgtype, colony):
    return client._Colonies__rpc({"msgtype": msgtype, "colonyname": colony}, key)


def operator(colony, colony_key, user_key, pauses):
    client = Colonies("localhost", 50080)
    for _ in range(pauses):
        time.sleep(1200)
        ask(client, colony_key, "pauseassignmentsmsg", colony)
        assert ask(client, user_key, "getpausestatusmsg", colony)["ispaused"]
        while client.list_processes(colony, 100, RUNNING, user_key):
            time.sleep(10)
        cron = client.get_crons(colony, 10, user_key)[0]
        client.run_cron(cron["cronid"], user_key)
        time.sleep(500)
        running = client.list_processes(colony, 100, RUNNING, user_key)
        assert not running, f"{len(running)} processes were started during the pause"
        waiting = [process["spec"]["funcname"] for process in client.list_processes(colony, 100, WAITING, user_key)]
        assert waiting.count("clean") == 2, f"the cron was run by hand, and {waiting.count('clean')} processes wait"
        ask(client, colony_key, "resumeassignmentsmsg", colony)
