"""The functions that executors register (docs/protocol/a-foundation.md 6.5)."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from colonysim.core import lookup, storage
from colonysim.core.access import member
from colonysim.core.errors import Refusal
from colonysim.core.lookup import or_null
from colonysim.core.protocol import EMPTY, Empty, Message
from colonysim.core.registry import operation
from colonysim.core.types import Function
from colonysim.core.world import World


class AddFunction(Message, frozen=True):
    fun: Function | None = None


def _colony_of_fun(message: AddFunction, _: None) -> str:
    assert message.fun is not None
    return message.fun.colonyname


@operation(
    "addfunctionmsg",
    AddFunction,
    "Failed to add function",
    find=lookup.given("fun", "Failed to add function, msg.Function is nil"),
    access=member(_colony_of_fun),
)
def add_function(world: World, caller: str, message: AddFunction, _: None) -> Function:
    """Register a function of the calling executor. Quirk: registering a name again adds another record."""
    function = message.fun
    assert function is not None
    if world.request.has_nul:
        storage.text(500, function.executorname)
    executor = world.executors.get((function.colonyname, function.executorname))
    if executor is None:
        raise Refusal(400, f"Failed to add function, Executor with name <{function.executorname}> does not exist")
    if executor.executor_id != caller:
        raise Refusal(403, "Not allowed to add a function to another executor")
    lookup.require_readable(executor)
    storage.int32(500, function.counter)
    if world.request.has_nul:
        storage.text(500, function, free=("locationname",))  # the executor's location is stored instead
    if function.functionid in world.functions:
        raise storage.duplicate_key(500, "prod_functions_pkey")
    stored = replace(function, functionid=function.functionid or world.new_id(), locationname=executor.location)
    world.add_function(stored)
    return stored


class GetFunctions(Message, frozen=True):
    colonyname: str = ""
    executorname: str = ""


@operation("getfunctionsmsg", GetFunctions, "Failed to get function", access=member())
def get_functions(world: World, caller: str, message: GetFunctions, _: None) -> Any:
    """List the functions of one executor, or of the whole colony if no executor is named."""
    if world.request.has_nul:
        storage.text(500, message.executorname)
    if message.executorname:
        ids = world.functions_of.get((message.colonyname, message.executorname), {})
        return or_null(world.functions[i] for i in ids)
    return or_null(world.functions[i] for i in world.functions_in.get(message.colonyname, ()))


class RemoveFunction(Message, frozen=True):
    functionid: str = ""


def _function(world: World, caller: str, message: RemoveFunction) -> Function:
    if not message.functionid:
        raise Refusal(400, "Failed to remove function, msg.FunctionID is empty")
    function = world.functions.get(message.functionid)
    if function is None:
        if world.request.has_nul:
            storage.text(400, message.functionid)
        raise Refusal(404, "Failed to remove function, function does not exist")
    return function


def _colony_of_function(message: RemoveFunction, function: Function) -> str:
    return function.colonyname


@operation(
    "removefunctionmsg",
    RemoveFunction,
    "Failed to remove function",
    find=_function,
    access=member(_colony_of_function),
)
def remove_function(world: World, caller: str, message: RemoveFunction, function: Function) -> Empty:
    """Remove a function of the calling executor."""
    executor = world.executors.get((function.colonyname, function.executorname))
    if executor is None or executor.executor_id != caller:
        raise Refusal(403, "Not allowed to remove a function from another executor")
    world.drop_function(function)
    return EMPTY
