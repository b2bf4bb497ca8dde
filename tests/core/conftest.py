"""Messages as JSON, as clients send them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from colonysim import Simulation
from colonysim.core.engine import OPERATIONS
from colonysim.core.golang.civil import zone_of
from colonysim.core.protocol import ErrorBody
from colonysim.simulation.client import Caller
from colonysim.wire.codec import Codec, decode_message

Ask = Callable[..., Any]


@pytest.fixture
def ask(sim: Simulation) -> Ask:
    """Send a message as JSON: the JSON of the reply, or (status, text) of a refusal."""

    def ask(caller: Caller | str, kind: str, /, **fields: Any) -> Any:
        caller_id = caller if isinstance(caller, str) else caller.id
        payload = json.dumps({"msgtype": kind} | fields).encode()
        incoming = decode_message(OPERATIONS[kind], payload, caller_id)
        answer = sim.call(caller_id, incoming.message, has_nul=incoming.has_nul)
        if isinstance(answer.body, ErrorBody):
            return answer.body.status, answer.body.message
        if not answer.payload_type:
            return answer.status, ""
        return json.loads(Codec(zone_of(sim.settings.timezone)).views.json(answer.body))

    return ask
