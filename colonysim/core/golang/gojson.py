"""Parse JSON exactly as the reference does: slow, for input that the fast decoder does not handle.

As in the reference, the grammar of the whole text is checked first; `gotypes` then fills in the fields. Rules and
texts: docs/protocol/a-foundation.md 2.7.
"""

from __future__ import annotations

import codecs
import re
from typing import Any, Final, NamedTuple

from colonysim.core.golang.units import go_quote

MAX_DEPTH: Final = 10_000


class JsonError(Exception):
    """The text is not valid JSON, or not of the expected type; `str` gives the reference's text."""


class Object(NamedTuple):
    """A JSON object as its key-value pairs in order, duplicates included."""

    pairs: list[tuple[str, Any]]


class Number(NamedTuple):
    """A JSON number as its text."""

    text: str


def kind_of(value: Any) -> str:
    """Return the reference's name for the type of a scanned value."""
    if value is None:
        return "null"
    words: dict[type, str] = {Object: "object", list: "array", str: "string", Number: "number", bool: "bool"}
    return words[type(value)]


# ---------------------------------------------------------------- text
def _first_bad_byte(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return "\ufffd", error.start + 1


codecs.register_error("colonysim.byte", _first_bad_byte)


def to_text(raw: bytes) -> str:
    """Decode UTF-8, with U+FFFD for each invalid byte."""
    return raw.decode("utf-8", "colonysim.byte")


_ESCAPE: Final = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_SIMPLE: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PAIR: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
_LONE: Final = re.compile("[\ud800-\udfff]")


def _unescape(text: str) -> str:
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(lambda m: chr(int(m[1], 16)) if m[1] else _SIMPLE.get(m[2], m[2]), text)
    text = _PAIR.sub(lambda m: m[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)
    return _LONE.sub("\ufffd", text)


# ---------------------------------------------------------------- grammar
_SPACE: Final = re.compile(rb"[ \t\r\n]*")
_STRING_RUN: Final = re.compile(rb'[^"\\\x00-\x1f]*')
_DIGITS: Final = re.compile(rb"[0-9]*")
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
_ESCAPES: Final = frozenset(b'"\\/bfnrt')
_LITERALS: Final[dict[int, tuple[bytes, Any]]] = {
    ord("t"): (b"true", True),
    ord("f"): (b"false", False),
    ord("n"): (b"null", None),
}


def scan(raw: bytes) -> Any:
    """Parse a JSON text into Object, list, str, Number, bool or None. Raises JsonError."""
    return _Scanner(raw).document()


class _Scanner:
    """Parses a text in one pass, with an explicit stack because texts may be nested deeply."""

    def __init__(self, raw: bytes) -> None:
        self.raw = raw
        self.at = 0
        self.stack: list[Any] = []  # open arrays, and open objects as (object, current key)

    def document(self) -> Any:
        done, value = self._value()
        while self.stack:
            if done:
                done, value = self._close_or_go_on(value)
            else:
                done, value = self._value()
        if self._skip() is not None:
            raise self._bad("after top-level value")
        return value

    # -- position
    def _skip(self) -> int | None:
        """Skip white space. Returns the byte that follows, or None at the end of the text."""
        match = _SPACE.match(self.raw, self.at)
        assert match is not None
        self.at = match.end()
        return self.raw[self.at] if self.at < len(self.raw) else None

    def _need(self) -> int:
        byte = self._skip()
        if byte is None:
            raise JsonError("unexpected end of JSON input")
        return byte

    def _bad(self, place: str) -> JsonError:
        """Return the error for an unexpected byte; the end of the text is reported as a blank."""
        char = chr(self.raw[self.at]) if self.at < len(self.raw) else " "
        quoted = {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{go_quote(char)[1:-1]}'"
        return JsonError(f"invalid character {quoted} {place}")

    # -- values
    def _value(self) -> tuple[bool, Any]:
        """Read a scalar, or open an object or array. Returns (whether the value is complete, value)."""
        byte = self._need()
        if byte in b"{[":
            return self._open(byte)
        if byte == ord('"'):
            return True, self._string()
        if byte in b"-0123456789":
            return True, self._number()
        if byte in _LITERALS:
            return True, self._literal(*_LITERALS[byte])
        raise self._bad("looking for beginning of value")

    def _open(self, byte: int) -> tuple[bool, Any]:
        if len(self.stack) >= MAX_DEPTH:
            raise self._bad("exceeded max depth")
        self.at += 1
        if byte == ord("["):
            if self._need() == ord("]"):
                self.at += 1
                return True, []
            self.stack.append([])
            return False, None
        if self._need() == ord("}"):
            self.at += 1
            return True, Object([])
        self.stack.append((Object([]), self._key()))
        return False, None

    def _key(self) -> str:
        if self._need() != ord('"'):
            raise self._bad("looking for beginning of object key string")
        key = self._string()
        if self._need() != ord(":"):
            raise self._bad("after object key")
        self.at += 1
        return key

    def _close_or_go_on(self, value: Any) -> tuple[bool, Any]:
        """Add a complete value to the innermost open container, and close that if it ends here."""
        outer = self.stack[-1]
        byte = self._need()
        if isinstance(outer, list):
            outer.append(value)
            if byte not in b",]":
                raise self._bad("after array element")
            self.at += 1
            if byte == ord(","):
                return False, None
            return True, self.stack.pop()
        container, key = outer
        container.pairs.append((key, value))
        if byte not in b",}":
            raise self._bad("after object key:value pair")
        self.at += 1
        if byte == ord(","):
            self.stack[-1] = (container, self._key())
            return False, None
        self.stack.pop()
        return True, container

    def _literal(self, word: bytes, value: Any) -> Any:
        for offset, byte in enumerate(word):
            if self.raw[self.at : self.at + 1] != bytes((byte,)):
                assert offset
                raise self._bad(f"in literal {word.decode()} (expecting '{chr(byte)}')")
            self.at += 1
        return value

    def _string(self) -> str:
        self.at += 1
        start = self.at
        while True:
            match = _STRING_RUN.match(self.raw, self.at)
            assert match is not None
            self.at = match.end()
            if self.at >= len(self.raw):
                raise JsonError("unexpected end of JSON input")
            byte = self.raw[self.at]
            if byte == ord('"'):
                text = to_text(self.raw[start : self.at])
                self.at += 1
                return _unescape(text)
            if byte != ord("\\"):
                raise self._bad("in string literal")
            self._escape()

    def _escape(self) -> None:
        self.at += 1
        if self.raw[self.at : self.at + 1] == b"u":
            self.at += 1
            for _ in range(4):
                if self.at >= len(self.raw) or self.raw[self.at] not in _HEX:
                    raise self._bad("in \\u hexadecimal character escape")
                self.at += 1
        elif self.at < len(self.raw) and self.raw[self.at] in _ESCAPES:
            self.at += 1
        else:
            raise self._bad("in string escape code")

    def _number(self) -> Number:
        start = self.at
        if self.raw[self.at] == ord("-"):
            self.at += 1
        if self.raw[self.at : self.at + 1] == b"0":
            self.at += 1
        else:
            self._digits("in numeric literal")
        if self.raw[self.at : self.at + 1] == b".":
            self.at += 1
            self._digits("after decimal point in numeric literal")
        if self.raw[self.at : self.at + 1] in (b"e", b"E"):
            self.at += 1
            if self.raw[self.at : self.at + 1] in (b"+", b"-"):
                self.at += 1
            self._digits("in exponent of numeric literal")
        return Number(self.raw[start : self.at].decode())

    def _digits(self, place: str) -> None:
        match = _DIGITS.match(self.raw, self.at)
        assert match is not None
        if match.end() == self.at:
            raise self._bad(place)
        self.at = match.end()
