"""Worlds that begin, and worlds as bytes and back: the format of state files and snapshots (docs/state.md).

    colonysim state 2
    {"version":"...","bytes":...,"sha256":"..."}
    the layout in words, JSON
    the world, JSON

Nothing in it is code: it is read as JSON, checked against the definitions of what the server keeps, and put
together by `rebuilding`.
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib
from functools import cache
from typing import Final

import msgspec

from colonysim.core.settings import STOCK_SERVER_ID, STOCK_SERVER_KEY, Settings
from colonysim.core.world import World
from colonysim.kernel.clock import parse_start
from colonysim.wire import identity

NAME: Final = b"colonysim state "
FORMAT: Final = 2
"""Number of the format; another layout of the same format is told by the header."""

MAGIC: Final = NAME + b"%d\n" % FORMAT
MOST_BYTES: Final = 4 * 2**30
"""A state of more bytes is neither written nor read."""

MOST_TIMES_PACKED: Final = 50
ALWAYS_UNPACKED_BYTES: Final = 16 * 2**20
"""A packed state is at most so many times as large when unpacked, or has so many bytes."""

_MOST_HEADER_BYTES: Final = 1000
_MOST_LAYOUT_BYTES: Final = 100_000
_DIFFERENCES_SHOWN: Final = 3


class BadSnapshot(ValueError):
    """The bytes are no snapshot of this version, or have been damaged; or a world cannot be written as one."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The second line: which version wrote it, how many bytes follow, and the checksum of both."""

    version: str
    bytes: int
    sha256: str


def new_world(settings: Settings, start_ns: int | None = None) -> World:
    """A world in which nothing has happened yet, at the time that the settings give or at another one."""
    stock = settings.server_key == STOCK_SERVER_KEY
    server_id = STOCK_SERVER_ID if stock else identity.identity(settings.server_key).id
    return World(settings, parse_start(settings.start) if start_ns is None else start_ns, server_id)


@cache
def _layout() -> bytes:
    """The third line: what a world consists of in this version."""
    from colonysim.kernel import stored

    return msgspec.json.encode(stored.layout()) + b"\n"


def _checksum(version: str, *parts: bytes | memoryview) -> str:
    digest = hashlib.sha256(version.encode() + b"\n")
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# ---------------------------------------------------------------- writing
def dump(world: World) -> bytes:
    """Everything that the world is but those who wait, with a checksum. Equal worlds give equal bytes.

    Errors: BadSnapshot for a world that holds what has no form in JSON.
    """
    from colonysim.kernel import stored  # imported late, as few simulations are copied

    try:
        body = stored.write(world)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadSnapshot(f"the state cannot be stored: {error}") from error
    if len(body) > MOST_BYTES:
        raise BadSnapshot(f"the state cannot be stored: it has {len(body)} bytes, and {MOST_BYTES} are the most")
    layout = _layout()
    version = sys.modules["colonysim"].__version__  # the front door, which this layer does not import
    header = Header(version=version, bytes=len(layout) + len(body), sha256=_checksum(version, layout, body))
    return b"".join((MAGIC, msgspec.json.encode(header), b"\n", layout, body))


# ---------------------------------------------------------------- reading
def load(data: bytes) -> World:
    """A world from its bytes, without the parked requests and streams of those who waited then.

    Errors: BadSnapshot.
    """
    from colonysim.kernel import rebuilding, stored

    header, start = read_header(data)
    rest = memoryview(data)[start:]
    if len(rest) != header.bytes:
        raise BadSnapshot(f"the state is damaged: it has {len(rest)} bytes of {header.bytes}")
    if _checksum(header.version, rest) != header.sha256:
        raise BadSnapshot("the state is damaged: its checksum does not fit")
    layout, start = _line(data, start, _MOST_LAYOUT_BYTES, "layout")
    if layout != _layout():
        raise BadSnapshot(_differs(header, layout))
    body = memoryview(data)[start:]
    try:
        return rebuilding.world_of(stored.read(body))
    except rebuilding.Contradiction as error:
        raise BadSnapshot(f"the state contradicts itself: {error}") from None
    except (ValueError, TypeError, RecursionError, OverflowError) as error:
        raise BadSnapshot(f"the state cannot be read: {error}") from error


def read_header(data: bytes) -> tuple[Header, int]:
    """The header at the beginning of a state, and where it ends. Errors: BadSnapshot."""
    if not data.startswith(MAGIC):
        raise BadSnapshot(_unknown(data[:100]))
    line, end = _line(data, len(MAGIC), _MOST_HEADER_BYTES, "header")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadSnapshot(f"the state is damaged: its header cannot be read: {error}") from None
    if not 0 <= header.bytes <= MOST_BYTES:
        raise BadSnapshot(f"the state has {header.bytes} bytes, and {MOST_BYTES} are the most")
    return header, end


# ---------------------------------------------------------------- in a line of a journal
def pack(data: bytes) -> str:
    """A state as a short text: compressed, unless that makes it suspiciously small, and in Base64."""
    packed = zlib.compress(data)
    if len(data) > _most_unpacked(packed):
        packed = zlib.compress(data, 0)
    return base64.b64encode(packed).decode()


def unpack(text: str) -> bytes:
    """The state that `pack` has packed. Errors: BadSnapshot, also for a small text that would become a large state."""
    try:
        packed = base64.b64decode(text, validate=True)
        most = _most_unpacked(packed)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, most)
    except (ValueError, zlib.error) as error:
        raise BadSnapshot(f"the packed state is damaged: {error}") from None
    if unpacking.unconsumed_tail:
        raise BadSnapshot(f"the packed state has {len(packed)} bytes and unpacks to more than {most}")
    if not unpacking.eof or unpacking.unused_data:
        raise BadSnapshot("the packed state is damaged: it is cut off, or more comes after it")
    return data


def _most_unpacked(packed: bytes) -> int:
    return min(max(MOST_TIMES_PACKED * len(packed), ALWAYS_UNPACKED_BYTES), MOST_BYTES)


def _line(data: bytes, start: int, most: int, what: str) -> tuple[bytes, int]:
    """A line with its end, and where the next one begins."""
    end = data.find(b"\n", start, start + most)
    if end < 0:
        raise BadSnapshot(f"the state is damaged: its {what} has no end")
    return data[start : end + 1], end + 1


def _unknown(beginning: bytes) -> str:
    """Why bytes with this beginning are not read."""
    name, newline, _ = beginning.partition(b"\n")
    number = name.removeprefix(NAME)
    if not newline or not name.startswith(NAME) or not number.isdigit():
        return "this is no state of colonysim: it does not begin with the line `colonysim state` and a number"
    if number == b"1":
        return (
            "this state has format 1, a pickle that can run code, and is not read any more: begin with a new state, "
            "or use the version that wrote it if you know where it comes from"
        )
    return f"this state has format {number.decode()}; this version reads format {FORMAT}: use the version that wrote it"


def _differs(header: Header, layout: bytes) -> str:
    """What stands in a state that is otherwise laid out than ours."""
    try:
        theirs: dict[str, list[str]] = msgspec.json.decode(layout, type=dict[str, list[str]])
    except (msgspec.DecodeError, ValueError):
        return "the state is damaged: its layout cannot be read"
    ours: dict[str, list[str]] = msgspec.json.decode(_layout(), type=dict[str, list[str]])
    old = [f"{kind}.{field}" for kind, fields in theirs.items() for field in fields if field not in ours.get(kind, ())]
    new = [f"{kind}.{field}" for kind, fields in ours.items() for field in fields if field not in theirs.get(kind, ())]
    parts = [f"{_shown(names)} {where}" for names, where in ((old, "only there"), (new, "only here")) if names]
    version = header.version[:50]
    return (
        f"the state was written by colonysim {version}, which lays it out otherwise "
        f"({'; '.join(parts) or 'in another order'}): use that version, or begin with a new state"
    )


def _shown(names: list[str]) -> str:
    more = len(names) - _DIFFERENCES_SHOWN
    shown = ", ".join(name[:80] for name in names[:_DIFFERENCES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown
