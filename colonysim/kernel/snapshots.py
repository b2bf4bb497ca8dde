"""Creates worlds, and converts them to bytes and back: the format of state files and snapshots (docs/state.md).

    colonysim state 2
    {"version":"...","bytes":...,"sha256":"..."}
    the layout, JSON
    the world, JSON

It contains no code: it is read as JSON, checked against the definitions of records, and put together by `rebuilding`.
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
from colonysim.core.wording import show_list, show_size
from colonysim.core.world import World
from colonysim.kernel.clock import parse_start
from colonysim.wire import identity

NAME: Final = b"colonysim state "
FORMAT: Final = 2
"""Number of the format. Layouts within a format are compared by the third line."""

MAGIC: Final = NAME + b"%d\n" % FORMAT
MOST_BYTES: Final = 4 * 2**30
"""A larger state is neither written nor read."""

MOST_TIMES_PACKED: Final = 50
ALWAYS_UNPACKED_BYTES: Final = 16 * 2**20
"""A packed state may grow by this factor, or to this size, when unpacked."""

_MOST_HEADER_BYTES: Final = 1000
_MOST_LAYOUT_BYTES: Final = 100_000
_DIFFERENCES_SHOWN: Final = 3


class BadSnapshot(ValueError):
    """The bytes are not a snapshot of this version or are damaged, or a world cannot be written as one."""


class Header(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The second line: the version that wrote it, the number of bytes that follow, and a checksum of both."""

    version: str
    bytes: int
    sha256: str


def new_world(settings: Settings, start_ns: int | None = None) -> World:
    """Create an empty world. It starts at the time in the settings, unless `start_ns` is given."""
    stock = settings.server_key == STOCK_SERVER_KEY
    server_id = STOCK_SERVER_ID if stock else identity.identity(settings.server_key).id
    return World(settings, parse_start(settings.start) if start_ns is None else start_ns, server_id)


@cache
def _layout() -> bytes:
    """Return the third line: the definitions of the records of a world in this version."""
    from colonysim.kernel import stored

    return msgspec.json.encode(stored.layout()) + b"\n"


def _checksum(version: str, *parts: bytes | memoryview) -> str:
    digest = hashlib.sha256(version.encode() + b"\n")
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# ---------------------------------------------------------------- writing
def dump(world: World) -> bytes:
    """Convert a world to bytes, without parked requests and subscriptions. Equal worlds give equal bytes.

    Raises BadSnapshot if the world holds something that cannot be written as JSON.
    """
    from colonysim.kernel import stored  # imported late, because few simulations need it

    try:
        body = stored.write(world)
    except (ValueError, TypeError, RecursionError) as error:
        raise BadSnapshot(f"the state cannot be stored: {error}") from error
    if len(body) > MOST_BYTES:
        raise BadSnapshot(
            f"the state cannot be stored: it has {show_size(len(body))}, more than the limit of {show_size(MOST_BYTES)}"
        )
    layout = _layout()
    version = sys.modules["colonysim"].__version__  # this layer must not import the package
    header = Header(version=version, bytes=len(layout) + len(body), sha256=_checksum(version, layout, body))
    return b"".join((MAGIC, msgspec.json.encode(header), b"\n", layout, body))


# ---------------------------------------------------------------- reading
def load(data: bytes) -> World:
    """Restore a world from bytes, without the parked requests and subscriptions of that time. Raises BadSnapshot."""
    from colonysim.kernel import rebuilding, stored

    header, start = read_header(data)
    rest = memoryview(data)[start:]
    if len(rest) != header.bytes:
        raise BadSnapshot(f"the state is damaged: it has {len(rest):,} of {header.bytes:,} bytes")
    if _checksum(header.version, rest) != header.sha256:
        raise BadSnapshot("the state is damaged: its checksum does not match")
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
    """Return the header of a state, and the position behind it. Raises BadSnapshot."""
    if not data.startswith(MAGIC):
        raise BadSnapshot(_unknown(data[:100]))
    line, end = _line(data, len(MAGIC), _MOST_HEADER_BYTES, "header")
    try:
        header = msgspec.json.decode(line, type=Header)
    except (msgspec.DecodeError, ValueError) as error:
        raise BadSnapshot(f"the state is damaged: its header cannot be read: {error}") from None
    if not 0 <= header.bytes <= MOST_BYTES:
        raise BadSnapshot(f"the state has {header.bytes} bytes, more than the limit of {MOST_BYTES}")
    return header, end


# ---------------------------------------------------------------- as text, in a line of a journal
def pack(data: bytes) -> str:
    """Convert a state to text: Base64, and compressed unless `unpack` would refuse the ratio."""
    packed = zlib.compress(data)
    if len(data) > _most_unpacked(packed):
        packed = zlib.compress(data, 0)
    return base64.b64encode(packed).decode()


def unpack(text: str) -> bytes:
    """Restore the bytes that `pack` converted. Raises BadSnapshot, also if they grow beyond the limits."""
    try:
        packed = base64.b64decode(text, validate=True)
        most = _most_unpacked(packed)
        unpacking = zlib.decompressobj()
        data = unpacking.decompress(packed, most)
    except (ValueError, zlib.error) as error:
        raise BadSnapshot(f"the packed state is damaged: {error}") from None
    if unpacking.unconsumed_tail:
        raise BadSnapshot(f"the packed state has {show_size(len(packed))} and unpacks to more than {show_size(most)}")
    if not unpacking.eof or unpacking.unused_data:
        raise BadSnapshot("the packed state is damaged: it is truncated, or followed by other data")
    return data


def _most_unpacked(packed: bytes) -> int:
    return min(max(MOST_TIMES_PACKED * len(packed), ALWAYS_UNPACKED_BYTES), MOST_BYTES)


def _line(data: bytes, start: int, most: int, what: str) -> tuple[bytes, int]:
    """Return a line with its newline, and the start of the next one."""
    end = data.find(b"\n", start, start + most)
    if end < 0:
        raise BadSnapshot(f"the state is damaged: its {what} has no end")
    return data[start : end + 1], end + 1


def _unknown(beginning: bytes) -> str:
    """Explain why bytes with this beginning cannot be read."""
    name, newline, _ = beginning.partition(b"\n")
    number = name.removeprefix(NAME)
    if not newline or not name.startswith(NAME) or not number.isdigit():
        return "this is not a colonysim state: it does not begin with the line `colonysim state` and a number"
    if number == b"1":
        return (
            "this state has format 1, a pickle that can run code, and is no longer read: start with a new state, "
            "or use the version that wrote it if you trust its source"
        )
    return f"this state has format {number.decode()}; this version reads format {FORMAT}: use the version that wrote it"


def _differs(header: Header, layout: bytes) -> str:
    """Describe how the layout of a state differs from that of this version."""
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
        f"the state was written by colonysim {version}, which has another layout "
        f"({'; '.join(parts) or 'in another order'}): use that version, or start with a new state"
    )


def _shown(names: list[str]) -> str:
    return show_list([name[:80] for name in names], _DIFFERENCES_SHOWN)
