"""The founder of a second colony: its owner, its user and its executor in one ordinary program."""

import time

from crypto import Crypto
from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec

SERVER_KEY = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d"  # of the stock environment


def founder(colony, user_key, processes):
    client, crypto = Colonies("localhost", 50080), Crypto()
    owner, worker = crypto.prvkey(), crypto.prvkey()
    client.add_colony({"name": "annex", "colonyid": crypto.id(owner)}, SERVER_KEY)
    executor = {"executorname": "cli-1", "executorid": crypto.id(worker), "colonyname": "annex", "executortype": "cli"}
    client.add_executor(executor, owner)
    client.approve_executor("annex", "cli-1", owner)
    client._Colonies__rpc({"msgtype": "pauseassignmentsmsg", "colonyname": "annex"}, owner)
    for _ in range(processes):
        conditions = Conditions(colonyname="annex", executortype="cli")
        client.submit_func_spec(
            FuncSpec(funcname="theirs", conditions=conditions, maxwaittime=-1, maxexectime=60), worker
        )
    time.sleep(300)  # while the other colony works on
    assert len(client.list_processes("annex", 100, 0, worker)) == processes, (
        "somebody else took what waits in the annex"
    )
    client._Colonies__rpc({"msgtype": "resumeassignmentsmsg", "colonyname": "annex"}, owner)
    for _ in range(processes):
        process = client.assign("annex", 10, worker)
        assert process.spec.funcname == "theirs", f"the annex was given {process.spec.funcname}"
        time.sleep(5)
        client.close(process.processid, [], worker)
    try:
        client.list_processes("annex", 100, 2, user_key)
    except ColoniesConnectionError:
        return  # a stranger there, as it should be
    raise AssertionError("a user of the other colony could read the annex")
