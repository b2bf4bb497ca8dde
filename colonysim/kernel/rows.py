"""Converts records to rows of JSON and back, as derived from their struct definitions.

A record is written as an array of its fields, in order; when it is read, each field is checked against its type.
`layout` describes these definitions as text: versions with the same layout can read each other's rows.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, NamedTuple, Union, get_args, get_origin

import msgspec
from msgspec import structs

from colonysim.core.records import NO_RESOURCES, Channel, Process, Resources
from colonysim.core.settings import Settings
from colonysim.core.types import ZERO_TIME_NS, SchemaProperty, Spec, Timestamp

LEFT_OUT: Final[dict[type, dict[str, Callable[[], Any]]]] = {
    Process: {"spec": lambda: None, "attributes": tuple},
    Channel: {"listeners": dict, "last_turn": lambda: None},
}
"""Fields that are not part of a row, with their values until others fill them: see `stored.Stored`."""

_AS_OBJECTS: Final = (Settings, SchemaProperty)
"""Written with field names: settings for people to read, properties because they contain properties."""

Change = Callable[[Any], Any]


class RowCodec(NamedTuple):
    """The type to decode, and the changes before encoding and after decoding; None for no change."""

    wire: Any
    pack: Change | None = None
    unpack: Change | None = None


@cache
def codec(kind: Any) -> RowCodec:
    """Return how values of a type are written and read."""
    origin, args = get_origin(kind), get_args(kind)
    if kind is Resources:
        return RowCodec(Resources, None, _resources)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        if kind in _AS_OBJECTS or kind.__struct_config__.array_like:
            return RowCodec(kind)
        return _spec(kind) if issubclass(kind, Spec) else _record(kind)
    if origin is list:
        return _list(args[0])
    if origin is tuple and args[1:] == (...,):
        return RowCodec(kind)  # of texts: no record has other tuples
    if origin is dict:
        return _dict(*args)
    if origin in (Union, UnionType):
        return _union(args)
    return RowCodec(kind)


def _resources(amounts: Resources) -> Resources:
    return NO_RESOURCES if amounts == NO_RESOURCES else amounts


# ---------------------------------------------------------------- containers
def _list(item: Any) -> RowCodec:
    inner = codec(item)
    if isinstance(item, type) and issubclass(item, Spec):  # all at once, which is faster
        wire, kind = list[inner.wire], list[item]  # type: ignore[name-defined]
        return RowCodec(wire, lambda items: convert(items, wire), lambda rows: convert(rows, kind))
    pack, unpack = inner.pack, inner.unpack
    return RowCodec(
        list[inner.wire],  # type: ignore[name-defined]
        pack and (lambda items: [pack(each) for each in items]),
        unpack and (lambda rows: [unpack(row) for row in rows]),
    )


def _dict(key: Any, value: Any) -> RowCodec:
    if value is NoneType:
        return RowCodec(list[key], list, dict.fromkeys)  # an ordered set
    inner = codec(value)
    pack, unpack = inner.pack, inner.unpack
    return RowCodec(
        dict[key, inner.wire],  # type: ignore[name-defined]
        pack and (lambda items: {name: pack(each) for name, each in items.items()}),
        unpack and (lambda rows: {name: unpack(row) for name, row in rows.items()}),
    )


def _union(kinds: tuple[Any, ...]) -> RowCodec:
    others = [kind for kind in kinds if kind is not NoneType]
    if len(others) == 2 and get_origin(others[1]) is tuple:  # a list, or the empty tuple of the default
        wire = others[1]  # an empty tuple needs no new list
        return RowCodec(wire if len(others) == len(kinds) else wire | None, None, _sequence)
    (only,) = others
    inner = codec(only)
    pack, unpack = inner.pack, inner.unpack
    return RowCodec(
        inner.wire | None,
        pack and (lambda value: None if value is None else pack(value)),
        unpack and (lambda value: None if value is None else unpack(value)),
    )


def _sequence(values: tuple[Any, ...] | None) -> Any:
    return list(values) if values else values


# ---------------------------------------------------------------- specs, as clients sent them
def convert(value: Any, kind: Any) -> Any:
    """Convert a spec to its row, or back. Raises msgspec.ValidationError."""
    return msgspec.convert(value, kind, from_attributes=True)


def _spec(kind: type) -> RowCodec:
    row = _row_of_spec(kind)
    return RowCodec(row, lambda value: convert(value, row), lambda value: convert(value, kind))


@cache
def _row_of_spec(kind: type) -> Any:
    return _define(kind, [(field.name, _in_row(field.type)) for field in structs.fields(kind)])


def _in_row(kind: Any) -> Any:
    """Return a type with its structs replaced by their rows."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return kind if kind in _AS_OBJECTS else _row_of_spec(kind)
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return Annotated[(_in_row(args[0]), *args[1:])]
    if origin in (Union, UnionType):
        return Union[tuple(map(_in_row, args))]  # noqa: UP007  the types are known only at run time
    return origin[tuple(map(_in_row, args))] if origin in (list, dict) else kind


def _define(kind: type, fields: list[tuple[str, Any]]) -> Any:
    return msgspec.defstruct(kind.__name__ + "Row", fields, array_like=True, forbid_unknown_fields=True, gc=False)


# ---------------------------------------------------------------- records
def _record(kind: type) -> RowCodec:
    """Return the codec of a record, without the fields of LEFT_OUT. The unset time is written as `null`."""
    fields, left_out = structs.fields(kind), LEFT_OUT.get(kind, {})
    gaps = [(place, left_out[field.name]) for place, field in enumerate(fields) if field.name in left_out]
    kept = [field for field in fields if field.name not in left_out]
    codecs = [codec(field.type) for field in kept]
    times = [place for place, field in enumerate(kept) if field.default == ZERO_TIME_NS]
    packs = [(place, each.pack) for place, each in enumerate(codecs) if each.pack]
    unpacks = [(place, each.unpack) for place, each in enumerate(codecs) if each.unpack]
    wires = [each.wire | None if place in times else each.wire for place, each in enumerate(codecs)]
    row_kind = _define(kind, [(field.name, wire) for field, wire in zip(kept, wires, strict=True)])

    def pack(record: Any) -> list[Any]:
        values = list(structs.astuple(record))
        for place, _ in reversed(gaps):
            del values[place]
        for place in times:
            if values[place] == ZERO_TIME_NS:
                values[place] = None
        for place, change in packs:
            values[place] = change(values[place])
        return values

    def unpack(row: Any) -> Any:
        values = list(structs.astuple(row))
        for place in times:
            if values[place] is None:
                values[place] = ZERO_TIME_NS
        for place, change in unpacks:
            values[place] = change(values[place])
        for place, empty in gaps:
            values.insert(place, empty())
        return kind(*values)

    return RowCodec(row_kind, pack, unpack)


# ---------------------------------------------------------------- JSON
def _encode_more(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return [value.ns if _fits(value.ns) else msgspec.Raw(str(value.ns).encode()), value.offset_s]
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def _decode_more(kind: type, value: Any) -> Any:
    ns, offset_s = msgspec.convert(value, tuple[int, int])
    return kind(ns, offset_s)


_ENCODER: Final = msgspec.json.Encoder(enc_hook=_encode_more)


def encode(value: Any) -> bytes:
    """Encode packed values as JSON, including integers of more than 64 bits.

    Raises TypeError, ValueError or RecursionError for values that cannot be written as JSON.
    """
    try:
        return _ENCODER.encode(value)
    except OverflowError:
        return _ENCODER.encode(_with_great_integers(value))


def decoder(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder that reads and checks packed values of a type."""
    return msgspec.json.Decoder(kind, dec_hook=_decode_more)


def _fits(number: int) -> bool:
    return -(2**63) <= number < 2**64


def _with_great_integers(value: Any) -> Any:
    """Replace integers of more than 64 bits by raw JSON, which the encoder accepts."""
    if isinstance(value, int):
        return value if _fits(value) else msgspec.Raw(str(int(value)).encode())
    if isinstance(value, (list, tuple)):
        return [_with_great_integers(each) for each in value]
    if isinstance(value, dict):
        return {key: _with_great_integers(each) for key, each in value.items()}
    if isinstance(value, msgspec.Struct):
        if value.__struct_config__.array_like:
            return [_with_great_integers(each) for each in structs.astuple(value)]
        return {name: _with_great_integers(each) for name, each in structs.asdict(value).items()}
    return value


# ---------------------------------------------------------------- the layout
def layout(*kinds: type) -> dict[str, list[str]]:
    """Return the fields of structs, and of the structs in them, each as `name: type`."""
    found: dict[str, list[str]] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if kind.__name__ not in found:
            left_out = LEFT_OUT.get(kind, {})
            fields = structs.fields(kind)
            found[kind.__name__] = [
                f"{f.name}: {_type_text(f.type, waiting)}" for f in fields if f.name not in left_out
            ]
    return {name: found[name] for name in sorted(found)}


def _type_text(kind: Any, seen: list[type]) -> str:
    """Describe a type, in the same way in every version of Python; adds the structs in it to `seen`."""
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _type_text(args[0], seen)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (Union, UnionType):
        return " or ".join(_type_text(each, seen) for each in args)
    if origin is not None:
        return f"{origin.__name__}[{', '.join('...' if each is ... else _type_text(each, seen) for each in args)}]"
    if kind is NoneType:
        return "null"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        seen.append(kind)
    return str(getattr(kind, "__name__", kind))
