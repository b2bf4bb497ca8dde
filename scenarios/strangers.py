"""Somebody who asks in every role for what that role must not have."""

import time

from crypto import Crypto
from pycolonies import Colonies, ColoniesConnectionError

SERVER_KEY = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d"  # of the stock environment


def silent(call):
    """Whether an answer is empty."""
    try:
        return not call()
    except (ColoniesConnectionError, ValueError):
        return True


def guard(colony, colony_key, user_key):
    crypto, client = Crypto(), Colonies("localhost", 50080)
    keys = {
        name: crypto.prvkey()
        for name in ("owner", "annex", "other", "user", "hand", "hand2", "heir", "idler", "nobody")
    }
    ids = {name: crypto.id(key) for name, key in keys.items()}

    def ask(key, msgtype, **fields):
        return client._Colonies__rpc({"msgtype": msgtype, "colonyname": colony} | fields, key)

    def refuse(who, msgtype, **fields):
        try:
            ask(keys.get(who, who), msgtype, **fields)
        except ColoniesConnectionError:
            return
        raise AssertionError(f"{msgtype} was served for {who}")

    def executor(name, key, **fields):
        one = {"executorname": name, "executorid": ids[key], "colonyname": colony, "executortype": "hand"}
        return one | fields

    # The second colony, and a user of each.
    refuse("nobody", "addcolonymsg", colony={"name": "annex", "colonyid": ids["annex"]})
    refuse(colony_key, "addcolonymsg", colony={"name": "annex", "colonyid": ids["annex"]})
    ask(SERVER_KEY, "addcolonymsg", colony={"name": "annex", "colonyid": ids["annex"]})
    other = {"colonyname": "annex", "userid": ids["other"], "name": "other", "email": "", "phone": ""}
    refuse(colony_key, "addusermsg", user=other)
    ask(keys["annex"], "addusermsg", user=other)
    mine = {"colonyname": colony, "userid": ids["user"], "name": "helper", "email": "", "phone": ""}
    refuse(user_key, "addusermsg", user=mine)
    ask(colony_key, "addusermsg", user=mine)

    # An executor: unknown, waiting for approval, approved, rejected, removed, and as another one of its name.
    spec = {"funcname": "by hand", "maxexectime": 600, "maxretries": 5, "maxwaittime": -1}
    spec["conditions"] = {"colonyname": colony, "executortype": "hand"}
    process = ask(keys["user"], "submitfuncspecmsg", spec=spec)["processid"]
    for who in ("nobody", "other", "hand", "owner"):
        refuse(who, "submitfuncspecmsg", spec=spec)
        refuse(who, "getprocessmsg", processid=process)
        refuse(who, "cancelprocessmsg", processid=process)
    refuse(user_key, "addexecutormsg", executor=executor("hand", "hand"))
    ask(colony_key, "addexecutormsg", executor=executor("hand", "hand"))
    refuse("hand", "assignprocessmsg", timeout=1)
    ask(keys["hand"], "getexecutorsmsg")  # for this one need not be approved
    refuse("other", "getexecutorsmsg")
    refuse("hand", "approveexecutormsg", executorname="hand")
    refuse(keys["annex"], "approveexecutormsg", executorname="hand")
    ask(colony_key, "approveexecutormsg", executorname="hand")
    refuse("user", "assignprocessmsg", timeout=1)
    refuse("hand", "addattributemsg", attribute={"targetid": process, "key": "early", "value": "v"})
    time.sleep(5)
    ask(keys["hand"], "assignprocessmsg", timeout=1)
    refuse("hand", "getcolonymsg", colonyname="annex")  # an executor of another colony
    for who in ("other", "nobody"):
        refuse(who, "getblueprintsmsg", namespace=colony)
    ask(colony_key, "getblueprintsmsg", namespace=colony)
    assert silent(lambda: ask(keys["other"], "getcolonystatsmsg")), "the statistics are for members"
    for who in ("user", "other", "nobody"):
        refuse(who, "closesuccessfulmsg", processid=process)
        refuse(who, "closefailedmsg", processid=process, errors=["mine"])
        refuse(who, "setoutputmsg", processid=process, out=["mine"])
        refuse(who, "addlogmsg", processid=process, message="mine")
        refuse(who, "addattributemsg", attribute={"targetid": process, "key": "k", "value": "v"})
    attribute = {"targetid": process, "key": "k", "value": "v", "targetcolonyname": colony, "attributetype": 1}
    ask(keys["hand"], "addattributemsg", attribute=attribute)
    ask(colony_key, "rejectexecutormsg", executorname="hand")
    refuse("hand", "closesuccessfulmsg", processid=process)
    ask(colony_key, "approveexecutormsg", executorname="hand")

    # A name is taken over: what the one before ran waits again, for one whose key then changes.
    ask(colony_key, "addexecutormsg", executor=executor("hand", "nobody"))
    refuse("hand", "getprocessmsg", processid=process)
    refuse("nobody", "assignprocessmsg", timeout=1)
    ask(colony_key, "approveexecutormsg", executorname="hand")
    ask(keys["nobody"], "changeexecutoridmsg", executorid=ids["hand2"])
    refuse("nobody", "assignprocessmsg", timeout=1)
    keys["hand"] = keys["hand2"]
    ask(keys["user"], "changeuseridmsg", userid=ids["heir"])
    refuse("user", "getprocessmsg", processid=process)
    held = ask(keys["hand"], "assignprocessmsg", timeout=60)
    assert held["processid"] == process, "what the one before ran waits for the next of that name"
    ask(keys["hand"], "addfunctionmsg", fun={"executorname": "hand", "colonyname": colony, "funcname": "by hand"})
    ask(keys["hand"], "closesuccessfulmsg", processid=process, out=["done"])
    (counted,) = ask(keys["heir"], "getfunctionsmsg", executorname="hand")
    assert counted["counter"] == 1, counted
    ask(colony_key, "removeexecutormsg", executorname="hand")
    refuse("hand", "assignprocessmsg", timeout=1)
    refuse("hand", "getprocessmsg", processid=process)
    assert not ask(keys["heir"], "getfunctionsmsg", executorname="hand"), "its functions go with it"

    # What belongs to owners alone; and one who gives no sign for too long.
    for who in ("heir", "annex", "other", "nobody"):
        refuse(who, "pauseassignmentsmsg")
        refuse(who, "removeallprocessesmsg")
        refuse(who, "removeusermsg", name="helper")
        refuse(who, "removecolonymsg")
        refuse(who, "getstatisticsmsg")
    ask(colony_key, "addexecutormsg", executor=executor("idler", "idler"))
    ask(colony_key, "approveexecutormsg", executorname="idler")
    waiting = ask(keys["heir"], "submitfuncspecmsg", spec=spec)["processid"]
    assert ask(keys["idler"], "assignprocessmsg", timeout=1)["processid"] == waiting
    time.sleep(700)
    refuse("idler", "getprocessmsg", processid=waiting)  # it has been unregistered meanwhile
    assert ask(keys["heir"], "getprocessmsg", processid=waiting)["state"] == 0, "and what it ran waits again"
    ask(keys["heir"], "cancelprocessmsg", processid=waiting)
    ask(colony_key, "removeusermsg", name="helper")
    refuse("heir", "getprocessmsg", processid=waiting)
    ask(SERVER_KEY, "removecolonymsg", colonyname="annex")
    refuse("other", "getusersmsg", colonyname="annex")
