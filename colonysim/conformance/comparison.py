"""Compare replies: normalise the ids and times of a run, then compare values within tolerances."""

from __future__ import annotations

import base64
import json
import re
from collections import deque
from collections.abc import Iterator
from functools import cache
from itertools import chain
from typing import Any, Final

from colonysim.core.golang.gotypes import parse_timestamp

TOLERANCE: Final = 1.6  # for times in seconds and for floats: the reference's loops run once a second
_EXACT_FLOATS: Final = re.compile(r"\.(args|kwargs|in|out|spec|status)\.|\.(long|lat)$")
_HEX64: Final = re.compile(r"\b[0-9a-f]{64}\b")
_UUID: Final = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_TIME: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d(?::\d\d)?)\Z")
_SECONDS_OF_ZONE: Final = re.compile(r"([+-]\d\d:\d\d):\d\d\Z")
_NAMED_TIME: Final = re.compile(r"\$\{(time|ns)([+-]\d+\.\d)\}\Z")

Json = Any


def decode(text: str) -> dict[str, Json]:
    """Decode a reply or frame into payload type, error flag and body; into its text if it is not an envelope."""
    try:
        envelope = json.loads(text)
        payload = base64.b64decode(envelope["payload"]).decode("utf-8", "replace")
    except (ValueError, KeyError, TypeError):
        return {"text": text}
    try:
        body = json.loads(payload)
    except ValueError:
        body = payload
    return {"payloadtype": envelope.get("payloadtype"), "error": envelope.get("error"), "body": body}


def payload_text(text: str) -> str:
    """Return the JSON text of a reply's payload, undecoded."""
    return base64.b64decode(json.loads(text)["payload"]).decode()


def seconds_of(text: str) -> float:
    """Convert a printed time to seconds since 1970. Raises ValueError if it is not a time.

    Seconds in the zone offset, as Go prints them for the year 1, are ignored.
    """
    parsed = parse_timestamp(_SECONDS_OF_ZONE.sub(r"\1", text))
    if parsed is None:
        raise ValueError(f"invalid time {text!r}: expected RFC 3339")
    return parsed.ns / 1e9


# ---------------------------------------------------------------- placeholders for ids and times
class Names:
    """Replaces the ids and times of one run by the placeholders that stand for them in recorded cases.

    `base_s` is the time that `${time+N}` counts from, in seconds since 1970.
    """

    def __init__(self, base_s: float) -> None:
        self.base_s = base_s
        self.values: dict[str, str] = {}
        self._others: dict[str, str] = {}

    def normalise(self, value: Json, keep_times: bool = False) -> Json:
        """Replace ids, and times unless `keep_times`, in a JSON value."""
        if isinstance(value, dict):
            return {self.of(key): self.normalise(item, keep_times) for key, item in value.items()}
        if isinstance(value, list):
            return [self.normalise(item, keep_times) for item in value]
        if isinstance(value, str):
            return self._text(value, keep_times)
        if isinstance(value, int) and not isinstance(value, bool) and 10**17 < abs(value) < 2**63:
            return f"${{ns{value / 1e9 - self.base_s:+.1f}}}"
        return value

    def _text(self, value: str, keep_times: bool) -> str:
        if _TIME.match(value) and not keep_times:
            if value.startswith("0001-"):
                return "${zerotime}"
            return f"${{time{seconds_of(value) - self.base_s:+.1f}}}"
        return self.of(value)

    def of(self, text: str) -> str:
        """Replace all known values and all ids in a text."""
        for name, known in self.values.items():
            if name != "i" and isinstance(known, str) and len(known) > 7 and known in text:
                text = text.replace(known, f"${{{name}}}")
        for pattern in (_HEX64, _UUID):
            text = pattern.sub(lambda m: self._others.setdefault(m[0], f"${{hash#{len(self._others)}}}"), text)
        return text


# ---------------------------------------------------------------- parts of a reply
def dig(value: Json, path: str) -> Json:
    """Return the part of a value at a path such as `processes.0.state`; "" is the whole value."""
    for part in path.split(".") if path else ():
        value = value[int(part)] if isinstance(value, list) else value[part]
    return value


def pick(body: Json, paths: list[str]) -> Json:
    """Return these fields of an object, or of each object in a list; missing fields are left out."""
    if isinstance(body, list):
        return [pick(item, paths) for item in body]
    if not isinstance(body, dict):
        return body
    picked = {}
    for path in paths:
        try:
            picked[path] = dig(body, path)
        except (KeyError, IndexError, TypeError, ValueError):
            continue
    return picked


def wall_clock(value: Json, names: list[str]) -> Json:
    """Strip the year from the times in the fields `names`, so that they compare equal in every year."""
    if isinstance(value, list):
        return [wall_clock(item, names) for item in value]
    if not isinstance(value, dict):
        return value
    return {key: _yearly(item) if key in names else wall_clock(item, names) for key, item in value.items()}


def _yearly(value: Json) -> Json:
    if isinstance(value, str) and _TIME.match(value) and not value.startswith("0001-"):
        return f"yearly {value[5:]}"
    return value


# ---------------------------------------------------------------- comparing
class Comparison:
    """Compares the reply of one step with the expected one.

    Reads from the step: `ignore` (fields or paths to skip), `unordered` (lists whose order does not matter) and
    `tolerance` (for times in seconds and for floats; 1.6 by default).
    """

    def __init__(self, step: dict[str, Json]) -> None:
        self.ignored: list[str] = step.get("ignore", [])
        self.unordered: list[str] = step.get("unordered", [])
        self.tolerance: float = TOLERANCE if step.get("tolerance") is None else step["tolerance"]

    def differences(self, expected: Json, actual: Json, where: str = "") -> Iterator[str]:
        """Yield each difference as a line that begins with its path below `where`."""
        key = where.rsplit(".", 1)[-1]
        if key in self.ignored or where in self.ignored:
            return
        if isinstance(expected, dict) and isinstance(actual, dict):
            yield from self._in_objects(expected, actual, where)
        elif isinstance(expected, list) and isinstance(actual, list):
            if len(expected) != len(actual):
                yield f"{where}: {len(actual)} items, expected {len(expected)}: {_short(actual)} / {_short(expected)}"
                return
            if key in self.unordered:
                actual = self._in_order_of(expected, actual, where)
            for place, (one, other) in enumerate(zip(expected, actual, strict=True)):
                yield from self.differences(one, other, f"{where}.{place}")
        elif not self._same(expected, actual, _EXACT_FLOATS.search(where) is not None):
            yield f"{where}: got {_short(actual)}, expected {_short(expected)}"

    def _in_objects(self, expected: dict[str, Json], actual: dict[str, Json], where: str) -> Iterator[str]:
        for name in sorted(expected.keys() | actual.keys()):
            if name in self.ignored:
                continue
            if name not in actual:
                yield f"{where}.{name}: missing, expected {_short(expected[name])}"
            elif name not in expected:
                yield f"{where}.{name}: unexpected {_short(actual[name])}"
            else:
                yield from self.differences(expected[name], actual[name], f"{where}.{name}")

    def _in_order_of(self, expected: list[Json], actual: list[Json], where: str) -> list[Json]:
        """Return the actual items reordered so that as many as possible equal the expected item in their place.

        Equality within a tolerance is not transitive, so sorting both lists does not work. This is a maximum
        bipartite matching, found by searching an augmenting path for each expected item.
        """
        places = range(len(expected))
        equal = cache(
            lambda one, other: next(self.differences(expected[one], actual[other], f"{where}.{one}"), None) is None
        )
        taken_by: dict[int, int] = {}
        matched: dict[int, int] = {}
        for one in places:
            reached_from: dict[int, int] = {}
            queue, free = deque([one]), None
            while queue and free is None:
                seeker = queue.popleft()
                for other in chain((seeker,), places):
                    if other not in reached_from and equal(seeker, other):
                        reached_from[other] = seeker
                        if other not in taken_by:
                            free = other
                            break
                        queue.append(taken_by[other])
            while free is not None:  # shift the matches along the path
                seeker = taken_by[free] = reached_from[free]
                matched[seeker], free = free, matched.get(seeker)
        unmatched = iter([other for other in places if other not in taken_by])
        return [actual[matched[one] if one in matched else next(unmatched)] for one in places]

    def _same(self, expected: Json, actual: Json, exact: bool) -> bool:
        if isinstance(expected, str) and isinstance(actual, str):
            one, other = _NAMED_TIME.match(expected), _NAMED_TIME.match(actual)
            if one and other and one[1] == other[1]:
                return abs(float(one[2]) - float(other[2])) <= self.tolerance
            return expected == actual
        if isinstance(expected, bool) or isinstance(actual, bool):
            return expected is actual
        if isinstance(expected, (int, float)) and isinstance(actual, (int, float)):
            if not exact and (isinstance(expected, float) or isinstance(actual, float)):
                return abs(expected - actual) <= self.tolerance
            return expected == actual
        return type(expected) is type(actual) and bool(expected == actual)


def _short(value: Json) -> str:
    text = json.dumps(value)
    return text if len(text) < 160 else text[:157] + "..."
