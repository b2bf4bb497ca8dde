"""Reads JSON and refuses repeated keys, of which json and msgspec silently keep the last."""

from __future__ import annotations

import json
from typing import Any


def read(text: bytes) -> Any:
    """Parse JSON. Raises ValueError that says what is wrong."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply; write it flatter") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"the JSON is not UTF-8: {error.reason}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key[:60]!r} is given twice in one object; take one out")
        found[key] = value
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number; write a finite one")
