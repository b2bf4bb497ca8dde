"""A stream over a channel whose replies get lost: ordinary pycolonies code on both sides.

The reader resends what it has no answer to, so that words arrive more than once; the listener counts entries to
go on where it was (`afterseq` is a count), and numbers to leave out what it has had. `careless` is "counts" for a
listener that takes every entry for a new word.
"""

import time

from pycolonies import Colonies, ColoniesConnectionError, Conditions, FuncSpec

WORDS = 40


def insist(call, *args):
    """Ask until there is an answer."""
    while True:
        try:
            return call(*args)
        except ColoniesConnectionError:
            time.sleep(1)


# ---------------------------------------------------------------- the executor
def reader(colony, key):
    client = Colonies("localhost", 50080)
    while True:
        try:
            process = client.assign(colony, 60, key)
        except ColoniesConnectionError:
            time.sleep(1)
            continue
        for number in range(1, WORDS + 1):
            insist(client.channel_append, process.processid, "words", number, f"word {number}", key)
            time.sleep(0.5)
        insist(client.channel_append, process.processid, "words", WORDS + 1, "", key, 0, "end")
        time.sleep(30)  # channels go when their process is closed: leave the listener the time to read the end
        try:
            client.close(process.processid, [], key)
        except ColoniesConnectionError:
            pass  # the reply was lost, or the process is not its own any more


# ---------------------------------------------------------------- the client
def listener(colony, user_key, careless=""):
    client = Colonies("localhost", 50080)
    conditions = Conditions(colonyname=colony, executortype="reader")
    spec = FuncSpec(
        funcname="read", conditions=conditions, channels=["words"], maxwaittime=-1, maxexectime=600, maxretries=3
    )
    process = client.submit_func_spec(spec, user_key)
    heard, taken, ended = [], 0, False
    while not ended:
        time.sleep(2)
        try:
            entries = client.channel_read(process.processid, "words", taken, 0, user_key)
        except ColoniesConnectionError:
            continue
        taken += len(entries)
        for entry in entries:
            ended = ended or entry.get("type") == "end"
            if entry.get("type") != "end" and (careless == "counts" or entry["sequence"] == len(heard) + 1):
                heard.append(entry["payload"].decode())
    assert heard == [f"word {number}" for number in range(1, WORDS + 1)], f"{len(heard)} words were heard"
