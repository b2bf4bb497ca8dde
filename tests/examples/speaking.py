"""Sending messages as other SDKs and the command-line tool send them."""

from __future__ import annotations

import base64
import json
from typing import Any

import requests

from colonysim import identity


class Speaker:
    """Posts signed messages to a server."""

    def __init__(self, host: str, port: int, content_type: str) -> None:
        self.url = f"http://{host}:{port}/api"
        self.content_type = content_type

    def say(self, key: str | None, kind: str, message: dict[str, Any]) -> tuple[int, Any]:
        """Status and body of the reply."""
        payload = base64.b64encode(json.dumps(message | {"msgtype": kind}).encode()).decode()
        signature = identity.sign(payload, key) if key else ""
        envelope = {"payloadtype": kind, "payload": payload, "signature": signature}
        reply = requests.post(self.url, data=json.dumps(envelope), headers={"Content-Type": self.content_type})
        return reply.status_code, json.loads(base64.b64decode(reply.json()["payload"]))

    def must(self, key: str | None, kind: str, message: dict[str, Any]) -> Any:
        status, body = self.say(key, kind, message)
        assert status == 200, (kind, body)
        return body
