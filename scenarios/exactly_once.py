"""An executor that delivers orders, and a shop that places them: ordinary pycolonies code.

Each order has to be delivered once, and followed by one invoice. `careless` is what to get wrong, for those who
want to see it found: "delivers" delivers and closes without looking whether the process is still its own,
"invoices" submits the invoice once more when the reply was lost, without looking whether it is there.
"""

import time

from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec

DELIVERED = []  # as a database would have it: one entry for each delivery
RUNNING = 1


def spec(colony, funcname, label):
    conditions = Conditions(colonyname=colony, executortype="courier")
    limits = {"maxwaittime": -1, "maxexectime": 60, "maxretries": 20}
    return FuncSpec(funcname=funcname, label=label, conditions=conditions, **limits)


def refused(error):
    """Whether the server has said no, rather than that no answer came."""
    return isinstance(error.args[0], ColoniesConnectionError)


def insist(call, *args):
    """Ask until there is an answer. What is asked like this may take effect more than once."""
    while True:
        try:
            return call(*args)
        except ColoniesConnectionError as error:
            if refused(error):
                raise
            time.sleep(1)


def labels(client, colony, key, *states):
    """The labels of all processes in some states."""
    found = [insist(client.list_processes, colony, 100, state, key) for state in states]
    return [process["spec"]["label"] for some in found for process in some or []]


# ---------------------------------------------------------------- the executor
def courier(colony, key, me, user_key, careless=""):
    client = Colonies("localhost", 50080)
    while True:
        try:
            process = client.assign(colony, 30, key)
        except ColoniesConnectionError:
            time.sleep(1)  # nothing to do, or nobody there
            continue
        try:
            time.sleep(20)  # on the way
            if process.spec.funcname == "deliver":
                deliver(client, process, key, me, careless)
                invoice(client, process, colony, user_key, careless)
            client.close(process.processid, [], key)
        except ColoniesConnectionError:
            pass  # it is somebody else's now, or it comes again when its time is up


def deliver(client, process, key, me, careless):
    order = process.spec.label
    if careless != "delivers":
        now = insist(client.get_process, process.processid, key)
        if now.assignedexecutorid != me or now.state != RUNNING or order in DELIVERED:
            return
    DELIVERED.append(order)


def invoice(client, process, colony, user_key, careless):
    label = f"invoice of {process.spec.label}"
    submit = client.submit_func_spec
    if careless == "invoices":
        if label not in labels(client, colony, user_key, 0, 1, 2, 3):
            insist(submit, spec(colony, "invoice", label), user_key)
    else:
        submit_once(client, colony, user_key, "invoice", label)


def submit_once(client, colony, user_key, funcname, label):
    """Submit it unless it is there: look again whenever it is not known whether it took effect."""
    while label not in labels(client, colony, user_key, 0, 1, 2, 3):
        try:
            client.submit_func_spec(spec(colony, funcname, label), user_key)
        except ColoniesConnectionError as error:
            if refused(error):
                raise
            time.sleep(1)


# ---------------------------------------------------------------- the client
def shop(colony, user_key, orders):
    client = Colonies("localhost", 50080)
    for number in range(1, orders + 1):
        submit_once(client, colony, user_key, "deliver", f"order {number}")
        time.sleep(10)
    while labels(client, colony, user_key, 0, 1):
        time.sleep(60)
    done = labels(client, colony, user_key, 0, 1, 2, 3)
    for number in range(1, orders + 1):
        delivered, invoiced = DELIVERED.count(f"order {number}"), done.count(f"invoice of order {number}")
        assert delivered == 1, f"order {number} was delivered {delivered} times"
        assert invoiced == 1, f"order {number} has {invoiced} invoices"
