"""SQL LIKE patterns, matched without backtracking, so that no pattern makes a search expensive.

A pattern is split at each `%` into pieces that must occur in the text in order. Each piece is matched at its first
possible place; a later one could never be better. The number of Python steps is proportional to the lengths of
pattern and text, and each step handles at most one bit for each character of the text.
"""

from __future__ import annotations

from typing import Final

Piece = tuple[str | None, ...]
"""Characters in order; None matches any character."""

_NOWHERE: Final = -1


class Like:
    """A LIKE pattern: `%` matches any text, `_` any character; a backslash escapes the next character.

    Characters are Unicode code points; matching is case-sensitive. A backslash at the end of the pattern is ignored.
    """

    def __init__(self, pattern: str) -> None:
        self._pieces = _pieces(pattern)
        self._texts = [None if None in piece else "".join(map(str, piece)) for piece in self._pieces]
        self._shortest = sum(map(len, self._pieces))

    def matches(self, text: str) -> bool:
        """Whether the pattern matches the whole text."""
        if len(self._pieces) == 1:
            return len(text) == self._shortest and self._fits(0, text, 0)
        last = len(self._pieces) - 1
        at, end = len(self._pieces[0]), len(text) - len(self._pieces[last])
        if len(text) < self._shortest or not self._fits(0, text, 0) or not self._fits(last, text, end):
            return False
        positions = _Positions(text)
        for number in range(1, last):
            piece, plain = self._pieces[number], self._texts[number]
            at = positions.first(piece, at) if plain is None else text.find(plain, at)
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


class _Positions:
    """The positions of each character in a text, as the bits of an integer."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._bits: dict[str, int] = {}

    def first(self, piece: Piece, start: int) -> int:
        """Return the first position from `start` on where the piece matches; -1 if there is none."""
        if not self._bits:
            self._bits = _bits_of(self._text)
        fitting = ((1 << max(len(self._text) - len(piece) + 1, 0)) - 1) >> start << start
        for offset, char in enumerate(piece):
            if not fitting:
                break
            if char is not None:
                fitting &= self._bits.get(char, 0) >> offset
        return (fitting & -fitting).bit_length() - 1  # -1 if no bit is set


def _bits_of(text: str) -> dict[str, int]:
    places: dict[str, bytearray] = {}
    for place, char in enumerate(text):
        if (marks := places.get(char)) is None:
            marks = places[char] = bytearray(len(text) // 8 + 1)
        marks[place >> 3] |= 1 << (place & 7)
    return {char: int.from_bytes(marks, "little") for char, marks in places.items()}
