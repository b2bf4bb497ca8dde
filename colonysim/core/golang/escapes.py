"""Escape JSON for embedding in HTML, as Go's encoder does."""

from __future__ import annotations

import re
from typing import Final

_HTML: Final = re.compile("[<>&]|\u2028|\u2029".encode())
_ESCAPES: Final = {
    b"<": b"\\u003c",
    b">": b"\\u003e",
    b"&": b"\\u0026",
    "\u2028".encode(): b"\\u2028",
    "\u2029".encode(): b"\\u2029",
}


def escaped(text: bytes) -> bytes:
    """Replace `<`, `>`, `&`, U+2028 and U+2029 with their JSON escapes."""
    # Five substring searches are much faster than one search with the regular expression.
    if any(map(text.__contains__, _ESCAPES)):
        return _HTML.sub(lambda match: _ESCAPES[match[0]], text)
    return text
