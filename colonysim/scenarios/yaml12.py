"""Read YAML for scenario files: the core schema of YAML 1.2, unique keys, and limits on size and depth.

PyYAML parses the structure. The meaning of plain scalars is decided here, because PyYAML follows YAML 1.1: there `1:30`
is 90, `0100` is 64, `1e3` and `0o17` are texts, `yes` is true, and if a key is repeated, the first value is dropped.
JSON is YAML, so this reads JSON files too.
"""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any, Final, NamedTuple

from colonysim.extras import needed_for

with needed_for("a scenario"):
    import yaml
    from yaml.nodes import MappingNode, Node, ScalarNode

MAX_BYTES: Final = 1 << 19
MAX_DEPTH: Final = 64
MAX_ALIASED: Final = 10_000
"""The most values that all aliases together may expand to."""

_TAG: Final = "tag:yaml.org,2002:"
_STR, _MAP, _SEQ = _TAG + "str", _TAG + "map", _TAG + "seq"
_NULL: Final = re.compile(r"|~|null|Null|NULL")
_BOOL: Final = re.compile(r"true|True|TRUE|false|False|FALSE")
_INT: Final = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_PLAIN: Final = {_TAG + "null": _NULL, _TAG + "bool": _BOOL, _TAG + "int": _INT, _TAG + "float": _FLOAT}
"""Patterns of plain scalars by their tag; all others are texts."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MOST_DIGITS: Final = 1000

_HELP: Final = {
    "found character '\\t' that cannot start any token": "there is a tab; YAML is indented and divided by spaces",
    "found character '@' that cannot start any token": "a text cannot begin with @; write it in quotation marks",
    "found character '`' that cannot start any token": "a text cannot begin with `; write it in quotation marks",
    "found character '%' that cannot start any token": "a text cannot begin with %; write it in quotation marks",
    "mapping values are not allowed here": "there is a second colon in a line, or a line is indented wrongly; "
    "write texts with `: ` in quotation marks",
}


class BadYaml(ValueError):
    """A text cannot be read. `line` counts from 1 (0 if it is unknown); the text says what is wrong, and the fix."""

    def __init__(self, line: int, text: str) -> None:
        super().__init__(f"line {line}: {text}" if line else text)
        self.line = line
        self.text = text


class Document(NamedTuple):
    """The content of a text as plain data, and the nodes it was read from, for line numbers in errors."""

    data: Any
    root: Node | None


def read(text: str) -> Document:
    """Read one document. Raises BadYaml."""
    if len(text) > MAX_BYTES:
        raise BadYaml(0, f"it has {len(text):,} characters, and at most {MAX_BYTES:,} are allowed")
    text = text.removeprefix("\ufeff")
    try:
        root = _Composer(text).get_single_node()
    except yaml.reader.ReaderError as error:
        line = 1 + text.count("\n", 0, error.position)
        raise BadYaml(line, f"character U+{int(error.character):04X} is not allowed here; remove it") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = error.problem or error.context or "it cannot be read"
        if isinstance(error, yaml.composer.ComposerError) and "another document" in what:
            raise BadYaml(mark.line + 1 if mark else 0, "a second document begins here; a file holds one") from None
        raise BadYaml(mark.line + 1 if mark else 0, "is not YAML: " + _HELP.get(what, what)) from None
    except BadYaml:
        raise
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # such as the escape of a character beyond Unicode
        raise BadYaml(0, f"is not YAML: {error}") from None
    return Document(None if root is None else _Builder().value(root), root)


def write(data: Any) -> str:
    """Write plain data as a text that `read` reads as the same data."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=110, allow_unicode=True)


def _tag_of(kind: type[Node], value: Any, implicit: Any) -> str:
    """Return the tag of a node without an explicit one; for a plain scalar, by its pattern."""
    if kind is not ScalarNode:
        return _MAP if kind is MappingNode else _SEQ
    if implicit[0]:
        for tag, pattern in _PLAIN.items():
            if pattern.fullmatch(value):
                return tag
    return _STR


class _Dumper(yaml.SafeDumper):
    """Quotes texts that YAML 1.1 or 1.2 would read as something else."""

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        tag = _tag_of(kind, value, implicit)
        return tag if tag != _STR else str(super().resolve(kind, value, implicit))  # type: ignore[no-untyped-call]


# ---------------------------------------------------------------- structure
class _Composer(yaml.SafeLoader):
    """Composes nodes, at most MAX_DEPTH levels deep; an alias is the node that it refers to."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.open: list[str | None] = []  # the anchors of the enclosing nodes, None for those without

    def resolve(self, kind: type[Node], value: Any, implicit: Any) -> str:
        return _tag_of(kind, value, implicit)

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.ScalarEvent) and event.tag == "!":
            event.implicit = (False, True)  # the tag "!" makes any scalar a text
        line = event.start_mark.line + 1
        anchor = None
        if isinstance(event, yaml.AliasEvent):
            if event.anchor in self.open:
                raise BadYaml(line, f"the alias *{event.anchor} refers to a node that contains it; remove it")
        elif event.anchor is not None:
            anchor = event.anchor
            self.anchors.pop(anchor, None)  # an anchor may be redefined (YAML 1.2, 7.1)
        if len(self.open) > MAX_DEPTH:
            raise BadYaml(line, f"it is nested more than {MAX_DEPTH} levels deep; use fewer levels")
        self.open.append(anchor)
        try:
            return super().compose_node(parent, index)
        finally:
            self.open.pop()


# ---------------------------------------------------------------- values
class _Builder:
    """Converts nodes to plain data. The value of an alias is copied for each use, and counted."""

    def __init__(self) -> None:
        self.made: dict[int, tuple[Any, int, int]] = {}  # by node: the data, number of values, depth
        self.aliased = 0
        self.size = 0
        self.height = 0

    def value(self, node: Node, depth: int = 0) -> Any:
        """Return the data of a node. Raises BadYaml."""
        line = node.start_mark.line + 1
        known = self.made.get(id(node))
        if known is not None:
            copied, size, height = known
            self.aliased += size
            if self.aliased > MAX_ALIASED:
                raise BadYaml(line, f"the aliases expand to more than {MAX_ALIASED:,} values; use fewer aliases")
            if depth + height > MAX_DEPTH:
                raise BadYaml(line, f"its aliases are nested more than {MAX_DEPTH} levels deep")
            self.size += size
            self.height = max(self.height, depth + height)
            return deepcopy(copied)
        size, height, self.height = self.size, self.height, depth
        self.size += 1
        data: Any
        if isinstance(node, ScalarNode):
            data = _scalar(node, line)
        elif node.tag != (_MAP if isinstance(node, MappingNode) else _SEQ):
            raise _bad_tag(node, line)
        elif isinstance(node, MappingNode):
            data = self._mapping(node, depth)
        else:
            data = [self.value(one, depth + 1) for one in node.value]
        self.made[id(node)] = data, self.size - size, self.height - depth
        self.height = max(height, self.height)
        return data

    def _mapping(self, node: MappingNode, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = _key(key_node, line)
            if key in lines:
                raise BadYaml(line, f"the key {shortened(key)} is given twice, first in line {lines[key]}; remove one")
            lines[key] = line
            value = self.value(value_node, depth + 1)
            if key == "<<" and key_node.style is None:
                merged = _merged(value, line)
            else:
                found[key] = value
        return {**merged, **found}


def _merged(value: Any, line: int) -> dict[str, Any]:
    """Return the entries that `<<` merges; of several mappings, the first one with a key wins."""
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in several):
        raise BadYaml(line, "the value of `<<` must be a mapping or a list of mappings")
    merged: dict[str, Any] = {}
    for one in several:
        merged = {**one, **merged}
    return merged


def _key(node: Node, line: int) -> str:
    """Return a key, which must be a text. Raises BadYaml."""
    if not isinstance(node, ScalarNode):
        raise BadYaml(line, "a key must be a text, not a list or a mapping; write `key: value`")
    key = _scalar(node, line)
    if isinstance(key, str):
        return key
    raise BadYaml(line, f"a key must be a text, and {node.value or 'this one'} is not; write '{node.value}'")


def _scalar(node: ScalarNode, line: int) -> Any:
    """Return a text, number, boolean or null, as the tag says. Raises BadYaml."""
    text: str = node.value
    if node.tag == _STR:
        return _joined(text, line) if _SURROGATE.search(text) else text
    pattern = _PLAIN.get(node.tag)
    if pattern is None or (not pattern.fullmatch(text) and not (node.tag == _TAG + "float" and _INT.fullmatch(text))):
        raise _bad_tag(node, line)
    if pattern is _NULL:
        return None
    if pattern is _BOOL:
        return text.lower() == "true"
    if len(text) > _MOST_DIGITS:
        raise BadYaml(line, f"a number has {len(text):,} characters, and at most {_MOST_DIGITS:,} are allowed")
    if pattern is _INT:
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10))
    return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))


def _bad_tag(node: Node, line: int) -> BadYaml:
    shown = shortened(node.tag.replace(_TAG, "!!"))
    return BadYaml(line, f"the tag {shown} cannot be used here; write the value without it")


def _joined(text: str, line: int) -> str:
    """Join the surrogate pairs that JSON may have into characters. Raises BadYaml for a single half."""
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise BadYaml(line, "it has half of a surrogate pair (\\ud800 to \\udfff); write the character") from None


def shortened(text: str, most: int = 60) -> str:
    """Return a text in quotation marks for an error message, shortened if it is long."""
    return repr(text) if len(text) <= most else f"{text[:most]!r}…"
