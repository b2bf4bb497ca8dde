"""A worker that does as the name of a function says, and a client that reshapes workflows while they run."""

import json
import time

from pycolonies import Colonies, ColoniesConnectionError

WAITING, RUNNING, SUCCESS, FAILED, CANCELLED = range(5)


def spec(colony, name, after=(), funcname="work", **limits):
    conditions = {"colonyname": colony, "executortype": "worker", "dependencies": list(after)}
    limits = {"maxwaittime": -1, "maxexectime": 60, "maxretries": 3} | limits
    return {"nodename": name, "funcname": funcname, "conditions": conditions} | limits


def worker(colony, key):
    """`work` puts out the name of its node, `split` inserts children, `break` fails, `idle` does nothing in time."""
    client = Colonies("localhost", 50080)

    def ask(msgtype, **fields):
        return client._Colonies__rpc({"msgtype": msgtype, "colonyname": colony} | fields, key)

    def add(process, name, insert, before=""):
        ids = {"processgraphid": process["processgraphid"], "parentprocessid": process["processid"]}
        ask("addchildmsg", spec=spec(colony, name), childprocessid=before, insert=insert, **ids)

    while True:
        try:
            process = ask("assignprocessmsg", timeout=60)
        except ColoniesConnectionError:
            continue
        name, funcname, process_id = process["spec"]["nodename"], process["spec"]["funcname"], process["processid"]
        time.sleep(3)
        if funcname == "split":
            add(process, "between", True)
            add(process, "beside", False)
            follows = ask("getprocessmsg", processid=process_id)["children"][0]
            add(process, "in front", False, follows)
        try:
            if funcname == "break":
                ask("closefailedmsg", processid=process_id, errors=["broken"])
            elif funcname != "idle":
                heard = sorted(process.get("in") or [])
                ask("setoutputmsg", processid=process_id, out=["a draft"])
                ask("closesuccessfulmsg", processid=process_id, out=[name, *heard])
        except ColoniesConnectionError:
            pass  # cancelled or removed meanwhile


def client(colony, colony_key, user_key):
    server = Colonies("localhost", 50080)

    def ask(msgtype, **fields):
        return server._Colonies__rpc({"msgtype": msgtype, "colonyname": colony} | fields, user_key)

    def submit(*nodes):
        return ask("submitworkflowspecmsg", spec={"colonyname": colony, "functionspecs": list(nodes)})["processgraphid"]

    def graph(graph_id):
        return ask("getprocessgraphmsg", processgraphid=graph_id)

    def states(graph_id):
        processes = [ask("getprocessmsg", processid=each) for each in graph(graph_id)["processids"]]
        return {process["spec"]["nodename"]: process["state"] for process in processes}

    def end_of(graph_id):
        while (state := graph(graph_id)["state"]) in (WAITING, RUNNING):
            time.sleep(5)
        return state

    def node(name, *after, **fields):
        return spec(colony, name, after, **fields)

    # What the parents put out comes in, also through those that were inserted.
    diamond = submit(node("a"), node("b", "a"), node("c", "a"), node("d", "b", "c"))
    assert end_of(diamond) == SUCCESS
    last = next(p for p in graph(diamond)["processids"] if ask("getprocessmsg", processid=p)["spec"]["nodename"] == "d")
    assert ask("getprocessmsg", processid=last)["out"] == ["d", "a", "a", "b", "c"]
    split = submit(node("plan", funcname="split"), node("report", "plan"))
    assert end_of(split) == SUCCESS
    assert len(states(split)) == 5, states(split)

    # One that fails takes all with it where others depend on it; a leaf fails alone.
    broken = submit(node("x", funcname="break"), node("y", "x"), node("z"))
    assert end_of(broken) == FAILED
    assert set(states(broken).values()) == {FAILED}
    leaf = submit(node("x"), node("y", "x", funcname="break"), node("z", "x"))
    end_of(leaf)
    time.sleep(20)
    assert states(leaf) == {"x": SUCCESS, "y": FAILED, "z": SUCCESS}, states(leaf)
    lost = submit(node("x", funcname="idle", maxretries=1, maxexectime=5), node("y", "x"))
    assert end_of(lost) == FAILED

    # Two that wait for each other: nothing leads to them, and their time runs out.
    island = submit(node("root"), node("after", "root"), node("i", "j", maxwaittime=40), node("j", "i", maxwaittime=40))
    time.sleep(20)
    assert states(island) == {"root": SUCCESS, "after": SUCCESS}, "the islands are not shown"
    time.sleep(60)

    # Cancelled and removed on the way.
    cancelled = submit(node("x", funcname="idle", maxexectime=600), node("y", "x"), node("z", "y"))
    time.sleep(10)
    ask("cancelprocessgraphmsg", processgraphid=cancelled)
    assert set(states(cancelled).values()) == {CANCELLED}
    unserved = node("x")
    unserved["conditions"]["executortype"] = "nobody"
    removed = submit(unserved, node("y", "x"))
    time.sleep(10)
    ask("removeprocessgraphmsg", processgraphid=removed)
    for gone in (removed, island):
        if gone == island:
            ask("removeprocessgraphmsg", processgraphid=gone)
        try:
            graph(gone)
        except ColoniesConnectionError:
            continue
        raise AssertionError("a removed workflow is still there")

    # Crons and generators come and go.
    workflow = json.dumps({"colonyname": colony, "functionspecs": [node("n"), node("m", "n")]})
    base = {"colonyname": colony, "workflowspec": workflow}
    every = ask("addcronmsg", cron=base | {"name": "every", "interval": 30, "cronexpression": ""})["cronid"]
    slow = base | {"name": "slow", "interval": -1, "cronexpression": "0 * * * * *", "waitforprevprocessgraph": True}
    slow = ask("addcronmsg", cron=slow)["cronid"]
    few = ask("addgeneratormsg", generator=base | {"name": "few", "trigger": 3, "timeout": 20})["generatorid"]
    for number in range(7):
        ask("packgeneratormsg", generatorid=few, arg=f"{number}")
        time.sleep(15 if number == 4 else 1)
    time.sleep(130)
    ask("runcronmsg", cronid=slow)
    time.sleep(60)
    assert ask("getgeneratormsg", generatorid=few)["queuesize"] == 0, "the rest is used when its time is up"
    for cron in (every, slow):
        ask("removecronmsg", cronid=cron)
    ask("removegeneratormsg", generatorid=few)
    before = ask("getcolonystatsmsg")
    time.sleep(120)
    after = ask("getcolonystatsmsg")
    assert after["successfulworkflows"] - before["successfulworkflows"] <= 1, "what was removed starts nothing"
