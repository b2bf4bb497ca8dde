"""Play a case: send its steps to a target, and compare each reply with the recorded one."""

from __future__ import annotations

import base64
import json
import os
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha3_256
from importlib.resources import files
from pathlib import Path
from typing import Final

from colonysim.conformance.comparison import Comparison, Json, Names, decode, dig, payload_text, pick, wall_clock
from colonysim.conformance.targets import AwaitedReply, Socket, Target, TargetReply
from colonysim.core.settings import STOCK_SERVER_KEY
from colonysim.wire import identity
from colonysim.wire.crypto import GROUP_ORDER

CASES: Final = Path(str(files("colonysim.conformance") / "cases"))
"""Folder of the recorded cases in this package, with a subfolder for each part of the protocol."""
_PLACE: Final = re.compile(r"\$\{([^${}]+)\}")
_PATIENCE_S: Final = 60.0
_SPECIAL: Final = ("sleep", "let", "join", "ws", "send", "recv", "closews", "get")
_STEPS: Final = ("call", "raw", *_SPECIAL)


class BadCase(ValueError):
    """A case cannot be read, or a step of it cannot be played."""


def load_case(path: Path) -> dict[str, Json]:
    """Read a case from its file. Raises BadCase if it is not a case, or expects nothing."""
    try:
        case = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise BadCase(f"{path} cannot be read: {reason}; a case is a JSON file") from None
    if not isinstance(case, dict) or not isinstance(case.get("steps"), list):
        raise BadCase(f'{path} is not a case: expected an object {{"name", "about", "setup", "steps"}}')
    if not isinstance(case.get("setup"), dict | None):
        raise BadCase(f'{path}: "setup" must be null or {{"users": [names], "executors": [{{"name", "type"}}]}}')
    for number, step in enumerate(case["steps"]):
        if not isinstance(step, dict) or not any(kind in step for kind in _STEPS):
            raise BadCase(f"{path}: step {number} has none of the keys {', '.join(_STEPS)}")
    if not any("expect" in step for step in case["steps"]):
        raise BadCase(f'{path}: no step has "expect", so the case tests nothing')
    return case


def play(case: dict[str, Json], target: Target) -> Iterator[str]:
    """Play a case and yield each difference as a line. Raises BadCase if a step cannot be played."""
    run = _Run(case, target)
    try:
        run.set_up()
        for number, step in enumerate(case["steps"]):
            reply = run.step(step)
            if "expect" in step:
                for difference in Comparison(step).differences(step["expect"], reply):
                    yield f"step {number} ({_title(step)}): {difference}"
    finally:
        run.tear_down()


def _title(step: dict[str, Json]) -> str:
    what = step.get("call") or step.get("recv") or step.get("join") or step.get("get") or "raw"
    return what if isinstance(what, str) else f"{len(what)} calls"


class _Run:
    """One run of one case."""

    def __init__(self, case: dict[str, Json], target: Target) -> None:
        self.case = case
        self.target = target
        self.nonce = os.urandom(4).hex()
        self.names = Names(target.now())
        self.values = self.names.values
        self.identities = {"server": identity.identity(os.environ.get("COLONIES_SERVER_PRVKEY", STOCK_SERVER_KEY))}
        self.values |= {"colony": f"conf-{self.nonce}", "id.server": self.identities["server"].id}
        self.local: dict[str, str] = {}  # b64, payload and sig of the request being built
        self.background: dict[str, tuple[AwaitedReply, float]] = {}
        self.sockets: dict[str, Socket] = {}
        self.colonies: list[str] = []

    # ------------------------------------------------------------ placeholders
    def who(self, name: str) -> identity.Identity:
        """Return the identity of an actor of the case, made from its name and this run's nonce."""
        if name not in self.identities:
            key = sha3_256(f"{self.nonce}/{name}".encode()).hexdigest()
            self.identities[name] = identity.identity(key)
            self.values[f"id.{name}"] = self.identities[name].id
        return self.identities[name]

    def fill(self, value: Json) -> Json:
        """Replace the placeholders in a JSON value."""
        if isinstance(value, dict):
            return {self.fill(key): self.fill(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if not isinstance(value, str):
            return value
        if value.startswith("${json:") and value.endswith("}"):
            return self.lookup(value[2:-1])
        if whole := _PLACE.fullmatch(value):
            return self.lookup(whole[1])
        return _PLACE.sub(lambda m: str(self.lookup(m[1])), value)

    def lookup(self, name: str) -> Json:
        """Return the value of a placeholder. Raises BadCase if there is none."""
        kind, _, rest = name.partition(":")
        if name.startswith("id."):
            return self.who(name[3:]).id
        if kind == "json" and rest:
            return json.dumps(self.fill(json.loads(rest)))
        if kind == "zeros" and rest:
            return base64.b64encode(bytes(int(rest))).decode()
        if kind == "upper" and rest:
            return self.values.setdefault(name, str(self.lookup(rest)).upper())
        if kind == "sig" and rest:
            return _altered(self.local["sig"], rest)
        if name.startswith(("time+", "time-")):
            return datetime.fromtimestamp(self.names.base_s + float(name[4:]), UTC).isoformat()
        if name in self.local:
            return self.local[name]
        if name in self.values:
            return self.values[name]
        raise BadCase(f"unknown placeholder ${{{name}}}: no earlier step defines it")

    # ------------------------------------------------------------ requests
    def envelope(self, step: dict[str, Json]) -> str:
        """Build and sign the body of a step's request."""
        if "call" not in step:
            return str(self.fill(step["raw"]))
        kind, message = step["call"], self.fill(step.get("msg", {}))
        if isinstance(message, dict) and step.get("msgtype", True):
            message = {"msgtype": kind, **message}
        text = str(self.fill(step["text"])) if "text" in step else json.dumps(message)
        payload = base64.b64encode(text.encode(step.get("encoding", "utf-8"))).decode()
        if "payload" in step:
            self.local["b64"] = payload
            payload = str(self.fill(step["payload"]))
        signature = identity.sign(payload, self.who(step["as"]).private_key) if step.get("as") else ""
        self.local |= {"payload": payload, "sig": signature}
        if "raw" in step:
            return str(self.fill(step["raw"]))
        envelope = {"payloadtype": kind, "payload": payload, "signature": signature}
        return json.dumps(envelope | self.fill(step.get("envelope", {})))

    def set_up(self) -> None:
        """Create the colony, users and executors of the case. Raises RuntimeError if the target refuses one."""
        setup = self.case.get("setup")
        if setup is None:
            return
        colony = {"colonyid": "${id.colony}", "name": "${colony}"}
        steps = [{"as": "server", "call": "addcolonymsg", "msg": {"colony": colony}}]
        for name in setup.get("users", []):
            user = {"colonyname": "${colony}", "userid": f"${{id.{name}}}", "name": name}
            user |= {"email": f"{name}@example.org", "phone": "1"}
            steps.append({"as": "colony", "call": "addusermsg", "msg": {"user": user}})
        for given in setup.get("executors", []):
            name = given["name"]
            executor = {"executorid": f"${{id.{name}}}", "executortype": given["type"], "executorname": name}
            executor |= {"colonyname": "${colony}"} | given.get("with", {})
            steps.append({"as": "colony", "call": "addexecutormsg", "msg": {"executor": executor}})
            if given.get("approve", True):
                approval = {"colonyname": "${colony}", "executorname": name}
                steps.append({"as": "colony", "call": "approveexecutormsg", "msg": approval})
        for step in steps:
            reply = self.target.request("POST", "/api", self.envelope(step).encode(), {})
            if reply.status != 200:
                raise RuntimeError(f"setup failed: {step['call']} answered {reply.status}: {decode(reply.text)}")
            self._note_colony(step, reply.status)

    def tear_down(self) -> None:
        """Close the connections, and remove the colonies of the case with everything in them."""
        for socket in self.sockets.values():
            socket.close()
        for name in self.colonies:
            step = {"as": "server", "call": "removecolonymsg", "msg": {"colonyname": name}}
            self.target.request("POST", "/api", self.envelope(step).encode(), {})

    def _note_colony(self, step: dict[str, Json], status: int) -> None:
        if step.get("call") == "addcolonymsg" and status == 200 and isinstance(step.get("msg"), dict):
            colony = self.fill(step["msg"].get("colony"))
            name = colony.get("name") if isinstance(colony, dict) else None
            if isinstance(name, str) and self.nonce in name:
                self.colonies.append(name)

    # ------------------------------------------------------------ steps
    def step(self, step: dict[str, Json]) -> Json:
        """Play one step and return its reply in the form that cases record; None if it has none."""
        for kind in _SPECIAL:
            if kind in step:
                return getattr(self, f"_{kind}")(step)
        reply, kinds = None, []
        for count in range(step.get("repeat", 1)):
            self.values["i"] = str(count)
            reply = self._call(step)
            if step.get("kinds") and reply not in kinds:
                kinds.append(reply)
        return {"kinds": kinds} if step.get("kinds") else reply

    def _sleep(self, step: dict[str, Json]) -> None:
        self.target.sleep(step["sleep"])

    def _let(self, step: dict[str, Json]) -> None:
        for name, value in step["let"].items():
            hashed = isinstance(value, dict) and "sha3" in value
            filled = self.fill(value["sha3"] if hashed else value)
            self.values[name] = sha3_256(filled.encode()).hexdigest() if hashed else filled

    def _call(self, step: dict[str, Json]) -> Json:
        for key in ("as", "call"):  # a list of actors or of message types: one reply for each
            if isinstance(step.get(key), list):
                return {str(one or "nobody"): self._call({**step, key: one}) for one in step[key]}
        body, path = self.envelope(step).encode(step.get("encoding", "utf-8")), step.get("path", "/api")
        headers = {"Content-Type": "application/json", **self.fill(step.get("headers", {}))}
        headers = {name: value for name, value in headers.items() if value is not None}
        timeout_s = step["msg"].get("timeout", 0) if isinstance(step.get("msg"), dict) else 0
        timeout_s = timeout_s if isinstance(timeout_s, (int, float)) else 0
        if "bg" in step:
            awaited = self.target.begin("POST", path, body, headers)
            self.background[step["bg"]] = awaited, self.target.now() + timeout_s + 0.1
            return None
        if timeout_s > 0:
            awaited = self.target.begin("POST", path, body, headers)
            return self._observe(step, self._wait(awaited, self.target.now() + timeout_s + 0.1, 0.2))
        reply = self.target.request("POST", path, body, headers)
        self._note_colony(step, reply.status)
        return self._observe(step, reply)

    def _join(self, step: dict[str, Json]) -> Json:
        awaited, until_s = self.background.pop(step["join"])
        return self._observe(step, self._wait(awaited, until_s, 0.5))

    def _wait(self, awaited: AwaitedReply, until_s: float, patience_s: float) -> TargetReply:
        """Return the reply; if it is not there yet, let the server's time pass until the request times out."""
        reply = awaited.wait(patience_s)
        if reply is None:
            self.target.sleep(max(0.1, until_s - self.target.now()))
            reply = awaited.wait(_PATIENCE_S)
        return reply or TargetReply(0, "no reply", {})

    def _get(self, step: dict[str, Json]) -> Json:
        body = self.fill(step["body"]).encode(step.get("encoding", "utf-8")) if "body" in step else None
        reply = self.target.request(step.get("method", "GET"), step["get"], body, self.fill(step.get("headers", {})))
        seen: dict[str, Json] = {"status": reply.status, "text": reply.text}
        return seen | self._shown(step, reply)

    def _ws(self, step: dict[str, Json]) -> None:
        self.sockets[step["ws"]] = self.target.connect()
        self._send({**step, "send": step["ws"]})

    def _send(self, step: dict[str, Json]) -> None:
        self.sockets[step["send"]].send(self.envelope(step).encode(), step.get("frame") == "binary")

    def _closews(self, step: dict[str, Json]) -> None:
        self.sockets.pop(step["closews"]).close()

    def _recv(self, step: dict[str, Json]) -> Json:
        frame = self.sockets[step["recv"]].receive(step.get("within", 2))
        if frame is None:
            return {"nothing": True}
        if not frame:
            return {"closed": True}
        text = frame if isinstance(frame, str) else frame.decode("utf-8", "replace")
        seen = self._observe(step, TargetReply(0, text, {}))
        del seen["status"]
        return seen if isinstance(frame, str) else seen | {"frame": "binary"}

    # ------------------------------------------------------------ replies
    def _observe(self, step: dict[str, Json], reply: TargetReply) -> dict[str, Json]:
        seen: dict[str, Json] = {"status": reply.status, **decode(reply.text)}
        for name, path in step.get("save", {}).items():
            self.values[name] = dig(seen.get("body"), path)
        if "only" in step and "body" in seen and not seen.get("error"):
            seen["body"] = pick(seen["body"], step["only"])
        if "wall" in step and "body" in seen:
            seen["body"] = wall_clock(seen["body"], step["wall"])
        if step.get("exact") and "body" in seen:
            seen["body"] = payload_text(reply.text)
        seen |= self._shown(step, reply)
        normalised: dict[str, Json] = self.names.normalise(seen, step.get("keeptimes", False))
        return normalised

    def _shown(self, step: dict[str, Json], reply: TargetReply) -> dict[str, Json]:
        if "show" not in step:
            return {}
        return {"headers": {name: reply.headers.get(name.lower()) for name in step["show"]}}


def _altered(signature: str, how: str) -> str:
    """Return a variant of a signature: upper, high-s, or v+N (N added to its last byte). Raises BadCase for others."""
    r, s, v = signature[:64], int(signature[64:128], 16), int(signature[128:], 16)
    if how == "upper":
        return signature.upper()
    if how == "high-s":
        return f"{r}{GROUP_ORDER - s:064x}{v ^ 1:02x}"
    if how.startswith("v+"):
        return f"{signature[:128]}{v + int(how[2:]):02x}"
    raise BadCase(f"unknown variant of a signature {how!r}: expected upper, high-s or v+N")
