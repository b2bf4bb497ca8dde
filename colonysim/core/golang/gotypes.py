"""Fill structs from parsed JSON as Go's `encoding/json` does (docs/protocol/a-foundation.md 2.7).

Keys match case-insensitively; `null` leaves scalars and plain objects unchanged; of duplicate keys the last wins,
but objects merge. If several values have the wrong type, the first one in the text is reported.
"""

from __future__ import annotations

import base64
import binascii
import re
import types
from functools import cache
from typing import Annotated, Any, Final, NamedTuple, Union, get_args, get_origin

import msgspec

from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang.civil import Civil, days_in, seconds_of
from colonysim.core.golang.gojson import JsonError, Number, Object, kind_of, scan
from colonysim.core.golang.units import MAX_DEPTH, NO_ROOM, TOO_DEEP
from colonysim.core.protocol import Message
from colonysim.core.types import Timestamp, WorkflowSpec

_INTEGER: Final = re.compile(r"-?[0-9]+\Z")
_INT64: Final = range(-(2**63), 2**63)
_UINT8: Final = range(256)
_LONGEST_INTEGER: Final = 20  # characters of the longest 64-bit integer, sign included


class GoShape(NamedTuple):
    """The Go type of a field. If `nullable`, `null` sets it to None; otherwise `null` leaves it unchanged."""

    kind: str
    nullable: bool
    inner: Any
    go_name: str


def decode(raw: bytes, cls: type[msgspec.Struct]) -> Any:
    """Decode a JSON text into a struct of class `cls`; None for the text `null`.

    Raises JsonError, with the reference's text, for invalid JSON or a value of the wrong type, and Refusal 400 if
    decoded values are nested deeper than MAX_DEPTH or than the stack has room for.
    """
    value = scan(raw)
    if value is None:
        return None
    filler = _Filler(go_name(cls))
    if not isinstance(value, Object):
        raise JsonError(f"json: cannot unmarshal {kind_of(value)} into Go value of type {go_name(cls)}")
    try:
        fields = filler.fill(value, cls, {}, ())
        if filler.error is not None:
            raise JsonError(filler.error)
        return build(cls, fields)
    except RecursionError:
        raise Refusal(400, NO_ROOM) from None


def go_name(cls: type) -> str:
    """Return the reference's name for a struct, as its error texts show it."""
    if cls.__name__ == "Envelope":
        return "rpc.RPCMsg"
    return f"rpc.{cls.__name__}Msg" if issubclass(cls, Message) else f"core.{cls.__name__}"


# ---------------------------------------------------------------- shapes of fields
@cache
def shapes_of(cls: type[msgspec.Struct]) -> dict[str, GoShape]:
    """Return the Go type of each field of a struct, by field name."""
    return {field.name: _shape(field.type) for field in msgspec.structs.fields(cls)}


@cache
def _names_of(cls: type[msgspec.Struct]) -> dict[str, str]:
    """The field names of a struct, by their lower-case form."""
    return {name.lower(): name for name in shapes_of(cls)}


def _shape(kind: Any) -> GoShape:
    plain, name = False, ""
    if get_origin(kind) is Annotated:
        kind, *marks = get_args(kind)
        for mark in marks:
            extra = getattr(mark, "extra", None) or {}
            plain, name = plain or "plain" in extra, extra.get("go", name)
    nullable = False
    if get_origin(kind) in (Union, types.UnionType):
        options = [option for option in get_args(kind) if option is not type(None)]
        nullable, inner = not plain, _shape(options[0])
        return inner._replace(nullable=nullable, go_name=name or inner.go_name)
    if get_origin(kind) is list:
        inner = _shape(get_args(kind)[0])
        return GoShape("list", nullable, inner, f"[]{inner.go_name}")
    if get_origin(kind) is dict:
        inner = _shape(get_args(kind)[1])
        return GoShape("map", nullable, inner, f"map[string]{inner.go_name}")
    if kind is Any:
        return GoShape("any", True, None, "interface {}")
    if isinstance(kind, type) and issubclass(kind, Timestamp):
        return GoShape("time", nullable, None, "time.Time")
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return GoShape("struct", nullable, kind, go_name(kind))
    words = {str: ("string", "string"), bool: ("bool", "bool"), float: ("float", "float64"), int: ("int", "int")}
    if kind is bytes:
        return GoShape("bytes", True, None, "[]uint8")
    word, go = words[kind]
    return GoShape(word, nullable, None, name or go)


# ---------------------------------------------------------------- filling
class _Fields(dict[str, Any]):
    """The fields of a struct that is still being filled; a later duplicate object can merge into it."""

    cls: type[msgspec.Struct]


_WRONG: Final = object()


class _Filler:
    """Fills fields, and keeps the first type error in `error`."""

    def __init__(self, root: str) -> None:
        self.error: str | None = None
        self.struct = root
        self.depth = 1  # how many lists and objects enclose the current value

    def fill(self, value: Object, cls: type[msgspec.Struct], fields: dict[str, Any], path: tuple[str, ...]) -> Any:
        shapes, names = shapes_of(cls), _names_of(cls)
        for key, item in value.pairs:
            name = key if key in shapes else names.get(_fold(key), "")
            shape = shapes.get(name)
            if shape is None:
                continue
            outer, self.struct = self.struct, go_name(cls)
            made = self.make(item, shape, fields.get(name), (*path, name))
            self.struct = outer
            if made is not _WRONG:
                fields[name] = made
        result = _Fields(fields)
        result.cls = cls
        return result

    def wrong(self, value: Any, shape: GoShape, path: tuple[str, ...], detail: str = "") -> Any:
        if self.error is None:
            struct = self.struct.rpartition(".")[2]
            where = f"struct field {struct}.{'.'.join(path)}" if path else "value"
            self.error = f"json: cannot unmarshal {kind_of(value)}{detail} into Go {where} of type {shape.go_name}"
        return _WRONG

    def make(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        """Convert a parsed value for a field; _WRONG if the field keeps its old value."""
        if value is None:
            return None if shape.nullable else _WRONG
        if self.depth >= MAX_DEPTH and isinstance(value, (list, Object)):
            raise Refusal(400, TOO_DEEP)
        make = getattr(self, f"_{shape.kind}")
        self.depth += 1
        made = make(value, shape, old, path)
        self.depth -= 1
        return made

    def _string(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        return value if isinstance(value, str) else self.wrong(value, shape, path)

    def _bool(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        return value if isinstance(value, bool) else self.wrong(value, shape, path)

    def _int(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Number):
            return self.wrong(value, shape, path)
        whole = _whole(value.text, _INT64)
        return self.wrong(value, shape, path, f" {value.text}") if whole is None else whole

    def _float(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Number):
            return self.wrong(value, shape, path)
        number = float(value.text)
        return self.wrong(value, shape, path, f" {value.text}") if number in (float("inf"), float("-inf")) else number

    def _time(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        time = parse_timestamp(value) if isinstance(value, str) else None
        if time is None:
            self.error = self.error or "Time.UnmarshalJSON: input is not a JSON string"
            return _WRONG
        return time

    def _bytes(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, str):
            try:
                return base64.b64decode(value.replace("\r", "").replace("\n", ""), validate=True)
            except (binascii.Error, ValueError):
                self.error = self.error or "illegal base64 data at input byte 0"
                return _WRONG
        if not isinstance(value, list):
            return self.wrong(value, shape, path)
        items = [self._byte(item, shape, path) for item in value]
        return _WRONG if _WRONG in items else bytes(items)

    def _byte(self, item: Any, shape: GoShape, path: tuple[str, ...]) -> Any:
        if item is None:
            return 0
        if not isinstance(item, Number):
            return self.wrong(item, shape._replace(go_name="uint8"), path)
        whole = _whole(item.text, _UINT8)
        if whole is None:
            return self.wrong(item, shape._replace(go_name="uint8"), path, f" {item.text}")
        return whole

    def _struct(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Object):
            return self.wrong(value, shape, path)
        return self.fill(value, shape.inner, dict(old) if isinstance(old, _Fields) else {}, path)

    def _list(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, list):
            return self.wrong(value, shape, path)
        before = old if isinstance(old, list) else []
        made = []
        for place, item in enumerate(value):
            earlier = before[place] if place < len(before) else None
            new = self.make(item, shape.inner, earlier, path)
            if new is _WRONG:  # null or wrong: keep the item of an earlier duplicate, else the zero value
                new = earlier if earlier is not None else _zero(shape.inner)
            made.append(new)
        return made

    def _map(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(value, Object):
            return self.wrong(value, shape, path)
        made = dict(old) if isinstance(old, dict) else {}
        for key, item in value.pairs:
            new = self.make(item, shape.inner, None, path)
            made[key] = _zero(shape.inner) if new is _WRONG else new
        return made

    def _any(self, value: Any, shape: GoShape, old: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Number):
            number = float(value.text)
            if number in (float("inf"), float("-inf")):
                return self.wrong(value, shape._replace(go_name="float64"), path, f" {value.text}")
            return int(value.text) if _INTEGER.match(value.text) and value.text != "-0" else number
        if isinstance(value, list):
            return [self.make(item, shape, None, (*path, "")) for item in value]
        if isinstance(value, Object):
            return {key: self.make(item, shape, None, (*path, "")) for key, item in value.pairs}
        return value


def _whole(text: str, allowed: range) -> int | None:
    """Parse a number's text as an integer; None if it is not an integer or outside the range."""
    if len(text) > _LONGEST_INTEGER or not _INTEGER.match(text):
        return None
    value = int(text)
    return value if value in allowed else None


def _fold(key: str) -> str:
    return key.lower().replace("\u017f", "s")


def _zero(shape: GoShape) -> Any:
    zeros = {"string": "", "bool": False, "int": 0, "float": 0.0, "any": None, "list": None, "map": None}
    if shape.nullable:
        return None
    if shape.kind == "struct":
        fields = _Fields()
        fields.cls = shape.inner
        return fields
    return zeros[shape.kind]


def build(cls: type[msgspec.Struct], fields: dict[str, Any]) -> Any:
    """Create a struct from filled fields, nested structs included."""
    return cls(**{name: _built(value) for name, value in fields.items()})


def _built(value: Any) -> Any:
    if isinstance(value, _Fields):
        return build(value.cls, value)
    if isinstance(value, list):
        return [_built(item) for item in value]
    if isinstance(value, dict):
        return {key: _built(item) for key, item in value.items()}
    return value


# ---------------------------------------------------------------- timestamps
_RFC3339: Final = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:[.,]([0-9]+))?"
    r"(?:Z|([+-])([0-9]{2}):([0-9]{2}))\Z",
    re.ASCII,
)


def parse_timestamp(text: str) -> Timestamp | None:
    """Parse an RFC 3339 text; None if the reference does not accept it."""
    match = _RFC3339.match(text)
    if match is None:
        return None
    reading = Civil(*(int(match[i]) for i in range(1, 7)))
    if not 1 <= reading.month <= 12 or not 1 <= reading.day <= days_in(reading.year, reading.month):
        return None
    if reading.hour > 23 or reading.minute > 59 or reading.second > 59:
        return None
    fraction_ns = int((match[7] or "0")[:9].ljust(9, "0"))
    offset_s = 0
    if match[8]:
        hours, minutes = int(match[9]), int(match[10])
        if hours > 24 or minutes > 59:
            return None
        offset_s = (hours * 3600 + minutes * 60) * (-1 if match[8] == "-" else 1)
    return Timestamp((seconds_of(reading) - offset_s) * 1_000_000_000 + fraction_ns, offset_s)


def workflow(text: str) -> WorkflowSpec:
    """Decode the workflow in a JSON text. Raises Refusal 400 with the reference's text if it is malformed."""
    try:
        spec = decode(text.encode("utf-8", "replace"), WorkflowSpec)
    except JsonError as error:
        raise Refusal(400, str(error)) from None
    if spec is None:
        raise Silence(500)  # the reference crashes here
    return spec  # type: ignore[no-any-return]
