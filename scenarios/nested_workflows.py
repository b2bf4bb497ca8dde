"""A planner that adds children to its own process, and a client that waits for whole workflows."""

import time

from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec, Workflow

SUCCESS, FAILED = 2, 3
PARTS = 3


def spec(colony, funcname, executortype, nodename, after=()):
    conditions = Conditions(colonyname=colony, executortype=executortype, dependencies=list(after))
    limits = {"maxwaittime": -1, "maxexectime": 60, "maxretries": 50}
    return FuncSpec(funcname=funcname, nodename=nodename, conditions=conditions, **limits)


def planner(colony, key):
    """Split each plan into parts that run beside each other, before the report that was to follow."""
    client = Colonies("localhost", 50080)
    while True:
        try:
            process = client.assign(colony, 60, key)
        except ColoniesConnectionError:
            continue
        graph = process.processgraphid
        follows = process.children[0]
        for number in range(PARTS):
            part = spec(colony, "part", "worker", f"part{number}")
            client.add_child(graph, process.processid, follows, part, f"part{number}", False, key)
            time.sleep(1)  # it takes a while to find out what is to do
        client.close(process.processid, ["planned"], key)


def client(colony, user_key, workflows):
    """Submit a plan and its report every half minute; the report has to see all parts."""
    server = Colonies("localhost", 50080)
    graphs = []
    for _ in range(workflows):
        workflow = Workflow(colonyname=colony)
        workflow.functionspecs.append(spec(colony, "plan", "planner", "plan"))
        workflow.functionspecs.append(spec(colony, "report", "worker", "report", ["plan"]))
        graphs.append(server.submit_workflow(workflow, user_key))
        time.sleep(30)
    for graph in graphs:
        while (now := server.get_processgraph(graph.processgraphid, user_key)).state not in (SUCCESS, FAILED):
            time.sleep(10)
        assert now.state == SUCCESS, f"workflow {graph.processgraphid} has failed"
        processes = [server.get_process(process_id, user_key) for process_id in now.processids]
        (report,) = [process for process in processes if process.spec.funcname == "report"]
        assert len(processes) == PARTS + 2, f"{len(processes)} processes"
        last = max(process.endtime for process in processes if process.spec.funcname == "part")
        assert report.starttime >= last, "the report began before its last part had ended"
