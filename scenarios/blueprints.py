"""An operator who writes blueprints, and the reconciler that makes the world look like them."""

import time

from pycolonies import Colonies, ColoniesConnectionError

SCHEMA = {
    "type": "object",
    "properties": {"replicas": {"type": "number"}, "image": {"type": "string"}},
    "required": ["replicas"],
}


def refused(call, *args):
    """Whether the server refuses a call."""
    try:
        call(*args)
    except ColoniesConnectionError:
        return True
    return False


def service(colony, name, **spec):
    return {"kind": "Service", "metadata": {"name": name, "colonyname": colony}, "spec": spec}


def operator(colony, colony_key, user_key):
    client = Colonies("localhost", 50080)
    definition = {
        "kind": "BlueprintDefinition",
        "metadata": {"name": "service", "colonyname": colony},
        "spec": {
            "group": "example.com",
            "version": "v1",
            "names": {"kind": "Service", "plural": "services"},
            "scope": "Namespaced",
            "schema": SCHEMA,
            "handler": {"executorType": "reconciler", "functionName": "reconcile"},
        },
    }
    assert refused(client.add_blueprint_definition, definition, user_key), "only the owner may define a kind"
    client.add_blueprint_definition(definition, colony_key)
    assert refused(client.add_blueprint, service(colony, "odd", image="web"), user_key), "replicas are required"
    for number, name in enumerate(("web", "mail", "db")):
        client.add_blueprint(service(colony, name, replicas=number + 1), user_key)
    assert refused(client.add_blueprint, service(colony, "web", replicas=1), user_key), "the name is taken"
    settled(client, colony, user_key, {"web": 1, "mail": 2, "db": 3})
    for replicas in (5, 0, 2):
        time.sleep(90)
        client.update_blueprint(service(colony, "web", replicas=replicas), user_key)
        settled(client, colony, user_key, {"web": replicas})
    assert client.get_blueprint(colony, "web", user_key)["metadata"]["generation"] == 3
    client.reconcile_blueprint(colony, "mail", user_key)
    settled(client, colony, user_key, {"mail": 2})
    history = client.get_blueprint_history(client.get_blueprint(colony, "web", user_key)["blueprintid"], user_key)
    assert [change["changetype"] for change in history] == ["update", "update", "update", "create"], history
    for name in ("web", "mail", "db"):
        client.remove_blueprint(colony, name, user_key)
    assert not client.get_blueprints(colony, user_key)
    time.sleep(120)
    assert not client.get_crons(colony, 10, user_key), "nothing is reconciled that is not there"


def settled(client, colony, user_key, expected):
    """Wait until the status of some services says what their specs ask for."""
    while True:
        found = {one["metadata"]["name"]: one.get("status") or {} for one in client.get_blueprints(colony, user_key)}
        if all(found[name].get("replicas") == replicas for name, replicas in expected.items()):
            return
        time.sleep(5)


def reconciler(colony, key):
    client = Colonies("localhost", 50080)
    while True:
        try:
            process = client.assign(colony, 60, key)
        except ColoniesConnectionError:
            continue
        time.sleep(2)
        if process.spec.funcname == "reconcile":
            name = process.spec.kwargs.get("blueprintName")  # none: all of the kind, once a minute
            for blueprint in client.get_blueprints(colony, key) or []:
                if name in (None, blueprint["metadata"]["name"]):
                    status = {"replicas": blueprint["spec"]["replicas"]}
                    client.update_blueprint_status(colony, blueprint["metadata"]["name"], status, key)
        try:
            client.close(process.processid, [], key)
        except ColoniesConnectionError:
            pass  # the reply was lost
