"""Vets messages that Python code creates: only what can be sent over the wire is accepted.

A message is encoded as JSON and decoded again, as that of a client would be. If that fails, or gives another message,
each field is examined: values that JSON encodes in another form (a tuple, an IntEnum) are converted, all others raise
an error that names the field.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Sequence
from functools import cache
from itertools import count
from math import isfinite
from typing import Any, Final

import msgspec

from colonysim.core.golang.gotypes import GoShape, shapes_of
from colonysim.core.golang.units import MAX_DEPTH, has_room, levels
from colonysim.core.protocol import Message
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.types import UNSET_TIME, Timestamp

_MOST_CALLERS: Final = 10_000
_INT64: Final = range(-(2**63), 2**63)
_LATEST_NS: Final = 400_000_000_000 * 10**9  # far beyond the year 9999; the same distance before 1970
_LONGEST_OFFSET_S: Final = 25 * 3600
_LONG: Final = 309  # numbers of this many digits exceed a double
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789", b"000000000")
_TOO_DEEP: Final = "its fields are nested too deeply for Python's stack"


def revive(kind: type, value: Any) -> Any:
    """Convert a time from the form in which the journal writes it. Raises ValueError."""
    if kind is Timestamp and isinstance(value, list) and len(value) == 2 and all(type(part) is int for part in value):
        ns, offset_s = value
        if abs(ns) <= _LATEST_NS and abs(offset_s) <= _LONGEST_OFFSET_S:
            return Timestamp(ns, offset_s)
    raise ValueError(f"{kind.__name__} cannot be read from {value!r}")


@cache
def decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return a decoder for messages of a kind, as the journal writes them."""
    return msgspec.json.Decoder(kind, dec_hook=revive)


def _plain(value: Any) -> Any:
    if isinstance(value, Timestamp):
        return [value.ns, value.offset_s]
    raise TypeError


_encode: Final = msgspec.json.Encoder(enc_hook=_plain).encode


class Vetting:
    """Vets the messages of one simulation.

    `unchanging`: for each caller, a small message that it sends repeatedly and that cannot change, so that it need not
    be vetted again. `on_large` is called with the length of each message that is not small.
    """

    def __init__(self, on_large: Callable[[int], None]) -> None:
        self.unchanging: dict[str, Message] = {}
        self._latest: dict[type[Message], Message] = {}
        self._small_checks: dict[type[Message], Callable[[Any], bool]] = {}
        self._on_large = on_large

    def read(self, caller_id: str, message: Message) -> tuple[Message, bool]:
        """Vet a message. Returns a copy, or the message itself if it cannot change, and whether it may contain U+0000.

        Raises TypeError or ValueError that names the field and what it takes.
        """
        kind = type(message)
        is_small = self._small_checks.get(kind)
        if is_small is not None and is_small(message) and type(caller_id) is str and caller_id.isascii():
            if self._latest.get(kind) is not message:
                self._latest[kind] = message
            elif len(self.unchanging) < _MOST_CALLERS:
                self.unchanging[caller_id] = message
            return message, False
        if kind not in BY_MESSAGE:
            raise _wrong(("message",), "a request such as AssignProcess(...)", message)
        self._small_checks[kind] = small_check(kind)
        if type(caller_id) is not str:
            raise _wrong(("caller_id",), "a text (str)", caller_id)
        _text(caller_id, ("caller_id",))
        return self._read_exactly(message, kind)

    def _read_exactly(self, message: Message, kind: type[Message]) -> tuple[Message, bool]:
        name = BY_MESSAGE[kind].name
        try:
            text = _encode(message)
            read = decoder_of(kind).decode(text)
            same = read == message and (len(text) < _LONG or _is_plain(text))
        except (ValueError, TypeError, OverflowError, RecursionError):  # msgspec's own errors are ValueErrors
            same = False
        if not same:
            try:
                read = _ValueReader().struct(message, kind, (name,))
            except RecursionError:
                raise ValueError(f"{name}: {_TOO_DEEP}") from None
            text = _encode(read)
        if not has_room(levels(text)):
            raise ValueError(f"{name}: {_TOO_DEEP}")
        if read.msgtype not in ("", name):
            raise ValueError(f"{name}: msgtype must be {name!r} or empty, got {_shown(read.msgtype)}")
        self._on_large(len(text))
        return read, b"\\u0000" in text


def _is_plain(text: bytes) -> bool:
    """Whether the JSON of a message has no excessive nesting and no number too large for a double."""
    return levels(text) <= MAX_DEPTH and b"0" * _LONG not in text.translate(_DIGITS_ALIKE)


# ---------------------------------------------------------------- small messages
# Most messages contain only short texts and numbers. For each kind of message, one expression is compiled that checks
# all fields: a loop over them, or JSON, would take as long as serving the message.
_LONGEST_TEXT: Final = 200
_DEEPEST: Final = 4  # nested structs; deeper fields must be None

_SMALL: Final = {
    "string": "type({v} := {of}) is str and (not {v} or len({v}) <= longest and {v}.isascii() and '\\0' not in {v})",
    "int": "type({v} := {of}) is int and -0x8000000000000000 <= {v} <= 0x7fffffffffffffff",
    "float": "type({v} := {of}) is float and {v} - {v} == 0",
    "bool": "type({of}) is bool",
    "time": "{of} is unset_time",
}
"""The check of a field by its kind. Fields of other kinds must be None."""


@cache
def small_check(kind: Any) -> Callable[[Any], bool]:
    """Return a check whether a message is small and unchanging, and could be sent over the wire without U+0000."""
    names: dict[str, Any] = {"longest": _LONGEST_TEXT, "unset_time": UNSET_TIME}
    numbers = count()
    fields = _fields("message", kind, names, numbers, 0)
    allowed = f"message.msgtype in ('', {BY_MESSAGE[kind].name!r})"
    check: Callable[[Any], bool] = eval(f"lambda message: {fields} and {allowed}", names)
    return check


def _fields(of: str, kind: Any, names: dict[str, Any], numbers: count[int], depth: int) -> str:
    parts = []
    defaults = {field.name: field.default for field in msgspec.structs.fields(kind)}
    for name, shape in shapes_of(kind).items():
        part = _one(f"{of}.{name}", shape, names, numbers, depth)
        parts.append(f"({of}.{name} is None or {part})" if shape.nullable or defaults[name] is None else f"({part})")
    return " and ".join(parts)


def _one(of: str, shape: GoShape, names: dict[str, Any], numbers: count[int], depth: int) -> str:
    value = f"v{next(numbers)}"
    if shape.kind == "struct" and depth < _DEEPEST:
        kind = f"Kind{next(numbers)}"
        names[kind] = shape.inner
        return f"type({value} := {of}) is {kind} and {_fields(value, shape.inner, names, numbers, depth + 1)}"
    return _SMALL.get(shape.kind, "{of} is None").format(v=value, of=of)


# ---------------------------------------------------------------- arguments of the typed client
def listed(value: Any, name: str) -> list[Any]:
    """Return the items of a list, a tuple or another sequence except a text. Raises TypeError."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes, bytearray, memoryview)):
        return list(value)
    raise _wrong((name,), "a list", value)


def mapping(value: Any, name: str) -> dict[str, Any]:
    """Return a copy of a dict with texts as keys. Raises TypeError or ValueError."""
    if not isinstance(value, dict):
        raise _wrong((name,), "a dict", value)
    return {_text(key, ((name,), " (a key)")): item for key, item in value.items()}


def text(value: Any, name: str) -> str:
    """Return a text. Raises TypeError; ValueError if it contains half of a surrogate pair."""
    return _text(value, (name,))


# ---------------------------------------------------------------- field by field
Path = tuple[Any, ...]
"""The path of a value: that of its container, and a step; at the root only a name."""


def _shown(value: Any) -> str:
    try:
        shown = reprlib.repr(value)
    except Exception:
        shown = "a value"
    return f"{shown} of type {type(value).__name__}"


def _name(path: Path) -> str:
    steps: list[str] = []
    while path:
        *outer, step = path
        steps.append(step if isinstance(step, str) else f"[{reprlib.repr(step[0])}]")
        path = outer[0] if outer else ()
    steps.reverse()
    return "".join(steps if len(steps) <= 12 else [*steps[:6], "…", *steps[-4:]])


def _wrong(path: Path, wanted: str, value: Any) -> TypeError:
    return TypeError(f"{_name(path)} must be {wanted}, got {_shown(value)}")


def _text(value: Any, path: Path) -> str:
    if not isinstance(value, str):
        raise _wrong(path, "a text (str)", value)
    plain = str.__str__(value)
    try:
        plain.encode()
    except UnicodeEncodeError as error:
        where = f"half of a surrogate pair at {error.start}"
        raise ValueError(f"{_name(path)} must be Unicode text, got {where} of {_shown(value)}") from None
    return plain


def _finite(value: float, path: Path) -> float:
    try:
        number = float.__float__(value) if isinstance(value, float) else float(int.__int__(value))
    except OverflowError:
        raise ValueError(f"{_name(path)} must be within the range of a double, got {_shown(value)}") from None
    if not isfinite(number):
        raise ValueError(f"{_name(path)} must be a finite number, got {_shown(value)}")
    return number


@cache
def _may_be_none(kind: Any) -> frozenset[str]:
    shapes = shapes_of(kind)
    return frozenset(f.name for f in msgspec.structs.fields(kind) if f.default is None or shapes[f.name].nullable)


class _ValueReader:
    """Converts each field to what decoding would give, or raises an error that names the field.

    `open`: the containers of the present value, the outermost first.
    """

    def __init__(self) -> None:
        self.open: list[Any] = []

    def struct(self, value: Any, kind: Any, path: Path) -> Any:
        shapes, optional = shapes_of(kind), _may_be_none(kind)
        if type(value) is not kind:
            raise _wrong(path, f"a {kind.__name__}", value)
        self._enter(value, path)
        fields: dict[str, Any] = {}
        for name, shape in shapes.items():
            item = getattr(value, name)
            if item is None and name in optional:
                fields[name] = None
            else:
                fields[name] = self.make(item, shape, (path, ": " + name if len(path) == 1 else "." + name))
        self.open.pop()
        return kind(**fields)

    def make(self, value: Any, shape: GoShape, path: Path) -> Any:
        """Convert a field, or an item in it."""
        return getattr(self, f"_{shape.kind}")(value, shape, path)

    def _enter(self, value: Any, path: Path) -> None:
        if any(each is value for each in self.open):
            raise ValueError(f"{_name(path)} must not contain itself")
        if len(self.open) >= MAX_DEPTH:
            raise ValueError(f"{_name(path)} is nested deeper than the limit of {MAX_DEPTH} levels")
        self.open.append(value)

    def _struct(self, value: Any, shape: GoShape, path: Path) -> Any:
        return self.struct(value, shape.inner, path)

    def _string(self, value: Any, shape: GoShape, path: Path) -> str:
        return _text(value, path)

    def _bool(self, value: Any, shape: GoShape, path: Path) -> bool:
        if not isinstance(value, bool):
            raise _wrong(path, "True or False", value)
        return value

    def _int(self, value: Any, shape: GoShape, path: Path) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise _wrong(path, "a whole number (int)", value)
        plain = int.__int__(value)
        if plain not in _INT64:
            raise ValueError(f"{_name(path)} must fit 64 bits, got {_shown(value)}")
        return plain

    def _float(self, value: Any, shape: GoShape, path: Path) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _wrong(path, "a number", value)
        return _finite(value, path)

    def _time(self, value: Any, shape: GoShape, path: Path) -> Timestamp:
        if not isinstance(value, Timestamp):
            raise _wrong(path, "a Timestamp", value)
        try:
            return revive(Timestamp, [value.ns, value.offset_s])  # type: ignore[no-any-return]
        except ValueError:
            raise _wrong(path, "a Timestamp of whole numbers, not far beyond year 9999", value) from None

    def _bytes(self, value: Any, shape: GoShape, path: Path) -> bytes:
        if not isinstance(value, (bytes, bytearray, memoryview)):
            raise _wrong(path, "bytes", value)
        return bytes(value)

    def _list(self, value: Any, shape: GoShape, path: Path) -> list[Any]:
        if not isinstance(value, (list, tuple)):
            raise _wrong(path, "a list", value)
        self._enter(value, path)
        items = [self._item(item, shape, (path, (place,))) for place, item in enumerate(value)]
        self.open.pop()
        return items

    def _map(self, value: Any, shape: GoShape, path: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _wrong(path, "a dict", value)
        self._enter(value, path)
        entries = {}
        for key, item in value.items():
            name = _text(key, (path, " (a key)"))
            entries[name] = self._item(item, shape, (path, (name,)))
        self.open.pop()
        return entries

    def _item(self, item: Any, outer: GoShape, path: Path) -> Any:
        inner: GoShape = outer.inner
        return None if item is None and inner.nullable else self.make(item, inner, path)

    def _any(self, value: Any, shape: GoShape, path: Path) -> Any:
        return self._json(value, path)

    def _json(self, value: Any, path: Path) -> Any:
        """Convert free JSON, with one call for each level, so that accepted values are not too deep for Python."""
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return _text(value, path)
        if isinstance(value, int):
            _finite(value, path)
            return int.__int__(value)
        if isinstance(value, float):
            return _finite(value, path)
        if not isinstance(value, (list, tuple, dict)):
            raise _wrong(path, "a JSON value (None, bool, int, float, str, list or dict)", value)
        self._enter(value, path)
        made: Any = {} if isinstance(value, dict) else []
        if isinstance(value, dict):
            for key, item in value.items():
                name = _text(key, (path, " (a key)"))
                made[name] = self._json(item, (path, (name,)))
        else:
            for place, item in enumerate(value):
                made.append(self._json(item, (path, (place,))))
        self.open.pop()
        return made
