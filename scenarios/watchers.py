"""Somebody who works and tells of it, and two who are subscribed to that: to processes, and to a channel."""

import base64
import json
import time

from crypto import Crypto
from pycolonies import Colonies, ColoniesConnectionError
from websocket import create_connection

WAITING, SUCCESS, CANCELLED = 0, 2, 4
TALES, WORDS = 5, 6


def ask(client, key, msgtype, **fields):
    return client._Colonies__rpc({"msgtype": msgtype} | fields, key)


def subscribe(key, msgtype, **fields):
    """A connection with a subscription on it."""
    payload = base64.b64encode(json.dumps({"msgtype": msgtype} | fields).encode()).decode()
    socket = create_connection("ws://localhost:50080/pubsub")
    socket.send(json.dumps({"payloadtype": msgtype, "payload": payload, "signature": Crypto().sign(payload, key)}))
    return socket


def heard(socket):
    """What comes next on a connection."""
    return json.loads(base64.b64decode(json.loads(socket.recv())["payload"]))


def teller(colony, key):
    """Tell each tale word by word over a channel, two of them in the wrong order, and log it."""
    client = Colonies("localhost", 50080)
    (me,) = [one for one in ask(client, key, "getexecutorsmsg", colonyname=colony) if one["executortype"] == "teller"]
    for _ in range(2):  # registered twice: both records count
        function = {"executorname": me["executorname"], "colonyname": colony, "funcname": "tell"}
        ask(client, key, "addfunctionmsg", fun=function)
    told = 0
    while True:
        try:
            process = client.assign(colony, 60, key)
        except ColoniesConnectionError:
            continue
        time.sleep(5)
        for number in (1, 2, 4, 3, *range(5, WORDS + 1)):
            client.channel_append(process.processid, "words", number, f"word {number}", key)
            time.sleep(number % 3)
        client.add_attribute(process.processid, "words", str(WORDS), key)
        client.add_log(process.processid, "told", key)
        told += 1
        time.sleep(5 + (told * 3) % 7)
        client.close(process.processid, [WORDS], key)
        time.sleep(13 + 2 * told)


def lookout(colony, key):
    """Hear of each tale that comes to wait, and of each that was told."""
    waits = subscribe(key, "subscribeprocessesmsg", executortype="teller", state=WAITING, timeout=1000)
    ends = subscribe(key, "subscribeprocessesmsg", executortype="teller", state=SUCCESS, timeout=1000)
    for _ in range(TALES):
        begun = heard(waits)
        ended = heard(ends)
        assert (begun["state"], ended["state"]) == (WAITING, SUCCESS)
        assert begun["processid"] == ended["processid"], "each tale ends before the next one begins"
    waits.close()
    ends.close()
    client = Colonies("localhost", 50080)
    client.close(client.assign(colony, 600, key).processid, [f"{TALES} tales"], key)


def reader(colony, user_key):
    client = Colonies("localhost", 50080)
    time.sleep(20)  # until the others listen
    spec = {"funcname": "tell", "maxwaittime": -1, "maxexectime": 100, "maxretries": 2, "channels": ["words"]}
    spec |= {"env": {"language": "plain"}, "conditions": {"colonyname": colony, "executortype": "teller"}}
    for tale in range(TALES):
        process_id = ask(client, user_key, "submitfuncspecmsg", spec=spec)["processid"]
        if tale % 2:
            early = client.subscribe_channel(process_id, "words", user_key, 0, 3)  # ends before the tale begins
            assert not early, early
        end = {"processid": process_id, "executortype": "teller", "state": SUCCESS, "timeout": 200}
        told = subscribe(user_key, "subscribeprocessmsg", **end)
        client.channel_append(process_id, "words", 1, "go on", user_key)
        payloads = []

        def all_came(entries, payloads=payloads):
            """Nobody is told when the channel goes with its process: leave once all is there."""
            payloads += [entry["payload"].decode() for entry in entries]
            return len(payloads) <= WORDS

        client.subscribe_channel(process_id, "words", user_key, 0, 60, all_came)
        assert sorted(payloads) == ["go on", *(f"word {number}" for number in range(1, WORDS + 1))], payloads
        assert heard(told)["processid"] == process_id
        told.close()
        process = client.get_process(process_id, user_key)
        assert sorted(each.key for each in process.attributes) == ["language", "words"], process.attributes
        assert len(client.get_process_log(colony, process_id, 10, 0, user_key)) == 1
        time.sleep(10)
    counted = ask(client, user_key, "getfunctionsmsg", colonyname=colony)
    assert [function["counter"] for function in counted] == [TALES, TALES], counted
    report = {"funcname": "report", "maxwaittime": -1, "maxexectime": 100}
    report["conditions"] = {"colonyname": colony, "executortype": "lookout"}
    ask(client, user_key, "submitfuncspecmsg", spec=report)
    # One that nobody takes is cancelled, another one removed, and the one who waits for their end hears of the first.
    spec["conditions"]["executortype"] = "nobody"
    cancelled, removed = (ask(client, user_key, "submitfuncspecmsg", spec=spec)["processid"] for _ in range(2))
    end = {"processid": cancelled, "executortype": "nobody", "state": CANCELLED, "timeout": 60}
    told = subscribe(user_key, "subscribeprocessmsg", **end)
    ask(client, user_key, "cancelprocessmsg", processid=cancelled)
    assert heard(told)["state"] == CANCELLED
    ask(client, user_key, "removeprocessmsg", processid=removed)
    told.close()
