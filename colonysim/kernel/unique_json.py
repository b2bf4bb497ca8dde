"""JSON as programs send it: a key that is given twice is refused, where json and msgspec drop the first."""

from __future__ import annotations

import json
from typing import Any


def read(text: bytes) -> Any:
    """Plain data of a JSON text. Errors: ValueError that says what is wrong."""
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
    raise ValueError(f"{name} is no number of JSON; write a finite one")
