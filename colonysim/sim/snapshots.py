"""Worlds that begin, and worlds as bytes and back.

Only the names of colonysim's own state are read: bytes cannot run code.
"""

from __future__ import annotations

import hashlib
import io
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from colonysim import identity
from colonysim.core import engine
from colonysim.core.settings import STOCK_SERVER_ID, STOCK_SERVER_KEY, Settings
from colonysim.core.world import World
from colonysim.sim.clock import parse_start

if TYPE_CHECKING:
    import pickle  # imported late, as few simulations are copied

MAGIC: Final = b"colonysim state 1\n"
_OWN: Final = ("colonysim.core.",)
_OTHERS: Final = {("collections", "deque"), ("msgspec._core", "rebuild"), ("msgspec._utils", "rebuild")}


class BadSnapshot(ValueError):
    """The bytes are no snapshot of this version, or have been damaged."""


@cache
def _reader() -> type[pickle.Unpickler]:
    import pickle

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            if module.startswith(_OWN) or (module, name) in _OTHERS:
                return super().find_class(module, name)
            raise BadSnapshot(f"a snapshot must not hold {module}.{name}")

    return Reader


def begin(settings: Settings, start_ns: int | None = None) -> World:
    """A world in which nothing has happened yet, at the time that the settings give or at another one."""
    stock = settings.server_key == STOCK_SERVER_KEY
    server_id = STOCK_SERVER_ID if stock else identity.identity(settings.server_key).id
    return World(settings, parse_start(settings.start) if start_ns is None else start_ns, server_id)


def freeze(world: World) -> bytes:
    """Everything the world is, with a checksum."""
    import pickle

    trace, world.trace = world.trace, None
    inputs, world.inputs = world.inputs, None
    try:
        body = pickle.dumps(world, protocol=5)
    finally:
        world.trace, world.inputs = trace, inputs
    return MAGIC + hashlib.sha256(body).digest() + body


def thaw(frozen: bytes) -> World:
    """A world from its bytes, without the parked requests and streams of those who waited then.

    Errors: BadSnapshot.
    """
    if not frozen.startswith(MAGIC):
        raise BadSnapshot("this is no state of colonysim, or one of another version")
    start = len(MAGIC) + 32
    body = frozen[start:]
    if hashlib.sha256(body).digest() != frozen[len(MAGIC) : start]:
        raise BadSnapshot("the state is damaged: its checksum does not fit")
    try:
        world = _reader()(io.BytesIO(body)).load()
    except BadSnapshot:
        raise
    except Exception as error:
        raise BadSnapshot(f"the state cannot be read: {error}") from error
    if not isinstance(world, World):
        raise BadSnapshot("the state holds no world")
    for ticket in list(world.queues.polls):
        engine.abandon(world, ticket)
    streams = {s.stream: None for s in world.subscriptions.all()} | dict.fromkeys(world.channel_streams)
    for stream in streams:
        engine.close_stream(world, stream)
    return world
