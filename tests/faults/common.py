"""What tests of faults share."""

from __future__ import annotations

from typing import Any

from colonysim import ColonyClient
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.faults import Match, When
from colonysim.simulation.client import function_spec

SUBMITS = Match(types="submitfuncspecmsg")
CLOSES = Match(types="close*")
ONCE = When(first=1)


def submit(colony: ColonyClient, **fields: Any) -> Any:
    """Submit a process for executors of type `a`."""
    return colony.submit("f", executortype="a", **fields)


def message_of(colony: ColonyClient, funcname: str) -> SubmitFuncSpec:
    """Return the message that submits a process."""
    return SubmitFuncSpec(spec=function_spec(colony.name, funcname, executortype="a"))
