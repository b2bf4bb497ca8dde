"""SQL LIKE patterns, matched without backtracking: what a search costs is not for the caller's pattern to choose.

A pattern is cut at its `%` into pieces that must stand in the text in order; each is taken where it first fits,
which is never worse than a later place. Python steps are proportional to pattern and text together; each works
on at most as many bits as the text has characters.
"""

from __future__ import annotations

from typing import Final

Piece = tuple[str | None, ...]
"""Characters in order; None stands for any one."""

_NOWHERE: Final = -1


class Like:
    """A pattern: `%` is any text, `_` any character, a backslash makes the next character plain.

    Characters are Unicode code points and match in their own case. A backslash at the very end stands for nothing.
    """

    def __init__(self, pattern: str) -> None:
        self._pieces = _pieces(pattern)
        self._texts = [None if None in piece else "".join(map(str, piece)) for piece in self._pieces]
        self._shortest = sum(map(len, self._pieces))

    def matches(self, text: str) -> bool:
        """Whether the pattern covers the whole text."""
        if len(self._pieces) == 1:
            return len(text) == self._shortest and self._fits(0, text, 0)
        last = len(self._pieces) - 1
        at, end = len(self._pieces[0]), len(text) - len(self._pieces[last])
        if len(text) < self._shortest or not self._fits(0, text, 0) or not self._fits(last, text, end):
            return False
        places = _Places(text)
        for number in range(1, last):
            piece, plain = self._pieces[number], self._texts[number]
            at = places.first(piece, at) if plain is None else text.find(plain, at)
            if at == _NOWHERE or at + len(piece) > end:
                return False
            at += len(piece)
        return True

    def _fits(self, number: int, text: str, at: int) -> bool:
        plain = self._texts[number]
        if plain is not None:
            return text.startswith(plain, at)
        return all(wanted in (None, char) for wanted, char in zip(self._pieces[number], text[at:], strict=False))


def _pieces(pattern: str) -> list[Piece]:
    pieces: list[list[str | None]] = [[]]
    plain = False
    for char in pattern:
        if plain or char not in "%_\\":
            pieces[-1].append(char)
            plain = False
        elif char == "\\":
            plain = True
        elif char == "%":
            pieces.append([])
        else:
            pieces[-1].append(None)
    return list(map(tuple, pieces))


class _Places:
    """Where the characters of a text stand: a number for each, with a bit set for each place."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bits: dict[str, int] = {}

    def first(self, piece: Piece, start: int) -> int:
        """The first place from `start` on at which the piece fits."""
        if not self._bits:
            self._bits = _bits_of(self._text)
        fitting = ((1 << max(len(self._text) - len(piece) + 1, 0)) - 1) >> start << start
        for offset, char in enumerate(piece):
            if not fitting:
                break
            if char is not None:
                fitting &= self._bits.get(char, 0) >> offset
        return (fitting & -fitting).bit_length() - 1  # -1 where there is none


def _bits_of(text: str) -> dict[str, int]:
    places: dict[str, bytearray] = {}
    for place, char in enumerate(text):
        if (marks := places.get(char)) is None:
            marks = places[char] = bytearray(len(text) // 8 + 1)
        marks[place >> 3] |= 1 << (place & 7)
    return {char: int.from_bytes(marks, "little") for char, marks in places.items()}
