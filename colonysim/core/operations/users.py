"""Users of a colony (docs/protocol/a-foundation.md 6.3)."""

from __future__ import annotations

from typing import Any

from colonysim.core import storage
from colonysim.core.access import any_member, colony_owner
from colonysim.core.errors import Refusal
from colonysim.core.lookup import known_colony, or_null, require_colony
from colonysim.core.protocol import ECHO, EMPTY, Empty, Message
from colonysim.core.registry import operation
from colonysim.core.types import User
from colonysim.core.world import World


def _unreadable() -> Refusal:
    return Refusal(400, "Failed to parse User name")


class AddUser(Message, frozen=True):
    user: User | None = None


def _user_given(world: World, caller: str, message: AddUser) -> User:
    if message.user is None:
        raise Refusal(400, "Failed to add user, executor is nil")
    require_colony(world, message.user.colonyname)
    return message.user


def _colony_of_user(message: AddUser, user: User) -> str:
    return user.colonyname


@operation("addusermsg", AddUser, "Failed to add user", find=_user_given, access=colony_owner(_colony_of_user))
def add_user(world: World, caller: str, message: AddUser, user: User) -> User:
    """Add a user. Quirk: ids are not checked, so several users may share one."""
    colony, name = user.colonyname, user.name
    unreadable = storage.unparsable(name, colony)
    if (colony, name) in world.users:
        if unreadable:
            raise _unreadable()
        raise Refusal(400, f"A user with name <{name}> already exists in Colony with name <{colony}>")
    if world.request.has_nul:
        storage.text(400, user)
    world.add_user(user)
    if unreadable:
        # Quirk: the user is stored nevertheless, and breaks every call that reads it
        # (docs/protocol/a-foundation.md 7.5).
        raise Refusal(500, "Failed to add user, addedUser is nil")
    return user


class GetUsers(Message, frozen=True):
    colonyname: str = ""


@operation("getusersmsg", GetUsers, "Failed to get users", find=known_colony, access=any_member())
def get_users(world: World, caller: str, message: GetUsers, _: None) -> Any:
    """List the users of a colony."""
    users = world.users.where("colony", message.colonyname)
    if any(storage.unparsable(user.name, user.colonyname) for user in users):
        raise _unreadable()
    return or_null(users)


class GetUser(Message, frozen=True):
    colonyname: str = ""
    name: str = ""


@operation("getusermsg", GetUser, "Failed to get user", find=known_colony, access=any_member())
def get_user(world: World, caller: str, message: GetUser, _: None) -> User:
    """Return a user by its name."""
    if world.request.has_nul:
        storage.text(400, message.name)
    user = world.users.get((message.colonyname, message.name))
    if user is None:
        raise Refusal(500, "Failed to get user, user is nil")
    if storage.unparsable(user.name, user.colonyname):
        raise _unreadable()
    return user


class GetUserById(Message, frozen=True):
    colonyname: str = ""
    userid: str = ""


@operation("getuserbyidmsg", GetUserById, "Failed to get user by ID", find=known_colony, access=any_member())
def get_user_by_id(world: World, caller: str, message: GetUserById, _: None) -> User:
    """Return a user by its id."""
    if world.request.has_nul:
        storage.text(400, message.userid)
    users = world.users_by_id.get((message.colonyname, message.userid))
    if not users:
        raise Refusal(404, "Failed to get user by ID, user is nil")
    if any(storage.unparsable(user.name, user.colonyname) for user in users):
        raise _unreadable()
    return users[0]


class RemoveUser(Message, frozen=True):
    colonyname: str = ""
    name: str = ""


@operation("removeusermsg", RemoveUser, "Failed to remove user", find=known_colony, access=colony_owner())
def remove_user(world: World, caller: str, message: RemoveUser, _: None) -> Empty:
    """Remove a user; what the user has submitted stays."""
    if world.request.has_nul:
        storage.text(400, message.name)
    user = world.users.get((message.colonyname, message.name))
    if user is None:
        raise Refusal(400, f"User with name <{message.name}> not found")
    if storage.unparsable(user.name, user.colonyname):
        raise _unreadable()
    world.drop_user(user)
    return EMPTY


class ChangeUserId(Message, frozen=True):
    colonyname: str = ""
    userid: str = ""


def _new_user_id(world: World, caller: str, message: ChangeUserId) -> None:
    if not message.userid:
        raise Refusal(400, "Failed to change user Id, user Id is empty")


@operation(
    "changeuseridmsg",
    ChangeUserId,
    "Failed to add log",
    mismatch="Failed to change user Id, msg.MsgType does not match payloadType",
    find=_new_user_id,
    access=any_member(),
)
def change_user_id(world: World, caller: str, message: ChangeUserId, _: None) -> Any:
    """Change the id of every user of the colony that has the caller's id."""
    users = world.users_by_id.get((message.colonyname, caller))
    if not users:
        raise Refusal(400, "Failed to change user Id, user not found")
    if len(message.userid.encode()) != 64:
        raise Refusal(400, "Failed to change user Id, new user Id is not 64 characters")
    if world.request.has_nul:
        storage.text(403, message.userid)
    world.change_user_ids(message.colonyname, caller, message.userid)
    return ECHO
