"""Values with limits: structs that check their fields when they are created, in Python code or from plain data.

The limits of a field are in its annotation, such as `Annotated[int, Meta(ge=1)]`; rules between fields are in `check`.
`read_value` creates a value from plain data, such as parsed YAML or JSON, with the same checks and error texts.
Three keys of `Meta(extra=...)` have a meaning here: `fix` is added to the text of an error; `check` is a function that
returns what is wrong with the value of the field, or ""; `opaque` marks a Python object, such as a function, which no
file can contain.

A family of values has one base class and several kinds, which a mapping distinguishes by `kind`. The type of a field
may be a union of kinds, or the base class if it has a `kind_registry`, as colonysim.extensions.Kinds provides.
"""

from __future__ import annotations

import difflib
import math
import re
import types
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec
from msgspec import NODEFAULT, Meta
from msgspec.structs import force_setattr

from colonysim.core.wording import show_count

Path = tuple[str | int, ...]

_AT: Final = re.compile(r" - at `(?:key in )?\$\.value(.*)`\Z", re.DOTALL)
_STEP: Final = re.compile(r"\.([^.\[]+)|\[(\d+|\.\.\.)\]")
_LIMIT: Final = re.compile(r"Expected `[^`]*` (>=|<=|>|<) (\S+)")
_LENGTH: Final = re.compile(r"Expected `(array|str|object)` of length (>=|<=) (\d+)")
_TYPES: Final = re.compile(r"Expected `(.*)`, got `(.*)`")
_BOUNDS: Final = {">=": "at least", "<=": "at most", ">": "greater than", "<": "less than"}
_TYPE_NAMES: Final = {"array": "list", "object": "mapping"}
_CLOCK: Final = re.compile(r"[0-9]+(:[0-9]+)+(\.[0-9]*)?")
_NUMBER: Final = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?(e[-+]?[0-9]+)?")
_WORDS: Final = {"yes": "true", "on": "true", "y": "true", "true": "true"} | {
    "no": "false", "off": "false", "n": "false", "false": "false",
}  # fmt: skip
_LONGEST_SHOWN: Final = 200

V = TypeVar("V")


class BadValue(ValueError):
    """An invalid value. `text`: what is wrong, and the fix. `path`: where it is in the outermost value.

    The text itself names the last `named` steps of the path, as in `invalid count=-5: must be at least 1`.
    """

    def __init__(self, text: str, path: Path = (), named: int = 0) -> None:
        where = ".".join(map(str, path[: len(path) - named]))
        super().__init__(f"{where}: {text}" if where else text)
        self.text = text
        self.path = path
        self.named = named

    def within(self, path: Path) -> BadValue:
        """Return the same error for an outer value, which contains this one at a path."""
        return BadValue(self.text, (*path, *self.path), self.named) if path else self

    def __reduce__(self) -> tuple[Any, ...]:
        return BadValue, (self.text, self.path, self.named)


def invalid(path: Path, given: Any, why: str) -> BadValue:
    """Return the error for an input at a path within a value."""
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).removeprefix(".")
    return BadValue(f"invalid {name}={shortened(repr(given))}: {why}", path, named=len(path))


class Value(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base class of values with limits. Creating one that violates them raises BadValue.

    A list is accepted where a tuple is wanted, a mapping where a struct is, and a whole float where an int is.
    """

    def __post_init__(self) -> None:
        for field in _fields_of(type(self)):
            given = getattr(self, field.name)
            read = field.read(given, (field.name,))
            if read is not given:
                force_setattr(self, field.name, read)
        try:
            self.check()
        except BadValue:
            raise
        except ValueError as error:
            raise BadValue(str(error)) from error

    def check(self) -> None:
        """Check the rules between fields; the limits of each field hold already. Raises BadValue or ValueError."""

    def refused(self, field: str, why: str) -> BadValue:
        """Return the error for the value of a field; `why` says what must hold, or what to write instead."""
        return invalid((field,), getattr(self, field), why)


def read_value(kind: type[V] | Any, data: Any) -> V:
    """Create a value of a type, such as a struct or a union of structs, from plain data. Raises BadValue."""
    reader: _Reader = _reader_of(kind)  # type: ignore[arg-type]
    made: V = reader.read(data, ())
    return made


def make_value(kind: type[V], fields: Mapping[str, Any]) -> V:
    """Create a value of a class from its fields as plain data. Raises BadValue."""
    made: V = _build(kind, fields, ())
    return made


def read_texts(kind: type[V], texts: Mapping[str, str], base: V | None = None) -> V:
    """Create a value from texts, as in an environment or command line; `base` has the other fields. Raises BadValue."""
    assert issubclass(kind, Value)
    fields = {field.name: field for field in _fields_of(kind)}
    given = {}
    for name, text in texts.items():
        if name not in fields:
            raise unknown_field(name, list(fields))
        given[name] = fields[name].read_text(text, (name,))
    made: Any = msgspec.structs.replace(base, **given) if isinstance(base, Value) else kind(**given)
    return made  # type: ignore[no-any-return]


def unknown_field(name: str, known: list[str]) -> BadValue:
    """Return the error for an unknown field."""
    close = difflib.get_close_matches(name[:_LONGEST_SHOWN], known, 1)
    hint = f"did you mean `{close[0]}`? " if close else ""
    return BadValue(f"there is no `{shortened(name)}` here; {hint}the fields are {', '.join(known)}", (name,), named=1)


def family_of(kind: type) -> type:
    """Return the base class of the family of a struct: all kinds that are allowed wherever it is."""
    bases = [base for base in kind.__mro__ if issubclass(base, Value) and base is not Value]
    return bases[-1] if bases[-1].__struct_config__.tag_field else kind


# ---------------------------------------------------------------- fields
class _Reader(NamedTuple):
    """Reads the input for a type. `deep`: it may contain structs."""

    read: Callable[[Any, Path], Any]
    deep: bool


class _Field(NamedTuple):
    name: str
    required: bool
    read: Callable[[Any, Path], Any]
    deep: bool
    hint: Any

    def read_text(self, text: str, path: Path) -> Any:
        made = _leaf(self.hint, strict=False).read(_Text(text), path)
        return str(made) if isinstance(made, _Text) else made


class _Text(str):
    """A text to read a value from, shown without quotation marks."""

    def __repr__(self) -> str:
        return str(self)


def _fields_of(kind: type) -> tuple[_Field, ...]:
    """Return the fields of a class, cached in the class, so that the cache does not keep a user's class alive."""
    found: tuple[_Field, ...] | None = vars(kind).get("value_fields")
    if found is None:
        found = _read_fields(kind)
        kind.value_fields = found  # type: ignore[attr-defined]
    return found


def _read_fields(kind: type) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    return tuple(
        _Field(
            field.name,
            field.default is NODEFAULT and field.default_factory is NODEFAULT,
            *_reader(hints[field.name]),
            hints[field.name],
        )
        for field in msgspec.structs.fields(kind)
    )


def field_types(kind: type) -> dict[str, Any]:
    """Return the fields of a class of values, with their annotated types."""
    return {field.name: field.hint for field in _fields_of(kind)}


def _build(kind: type, data: Mapping[str, Any], path: Path) -> Any:
    """Create a struct from a mapping. Raises BadValue."""
    fields = _fields_of(kind)
    names = [field.name for field in fields]
    tag_field = kind.__struct_config__.tag_field  # type: ignore[attr-defined]
    for name in data:
        if name not in names and name != tag_field:
            raise unknown_field(str(name), [name for name in names if name != "folder"]).within(path)
    given = {}
    try:
        for field in fields:
            if field.name in data:
                value = data[field.name]
                given[field.name] = field.read(value, (field.name,)) if field.deep else value
            elif field.required:
                raise BadValue(f"`{field.name}` is missing")
        return kind(**given)
    except BadValue as error:
        raise error.within(path) from error.__cause__


def _reader(hint: Any) -> _Reader:
    metas, bare = _unwrapped(hint)
    members = [one for member in _members(bare) for one in _members(_unwrapped(member)[1])]
    structs = [one for one in members if isinstance(one, type) and issubclass(one, Value)]
    if structs:
        plain = [member for member in _members(bare) if _unwrapped(member)[1] not in structs]
        rest = _leaf(_with_metas(Union[tuple(plain)], metas)) if plain else None  # noqa: UP007
        return _Reader(_struct_reader(structs, rest), deep=True)
    containers = [one for one in members if _holds_structs(one)]
    return _container(containers[0], metas, optional=type(None) in members) if containers else _leaf(hint)


_reader_of = cache(_reader)


def _with_metas(hint: Any, metas: tuple[Meta, ...]) -> Any:
    return Annotated[(hint, *metas)] if metas else hint


def _unwrapped(hint: Any) -> tuple[tuple[Meta, ...], Any]:
    """Return the annotations of a type, and the bare type."""
    if get_origin(hint) is Annotated:
        bare, *metas = get_args(hint)
        return tuple(metas), bare
    return (), hint


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _holds_structs(hint: Any) -> bool:
    return get_origin(hint) in (tuple, list, dict) and any(
        isinstance(one, type) and issubclass(one, Value)
        for item in get_args(hint)
        for one in _members(_unwrapped(item)[1])
    )


# ---------------------------------------------------------------- structs
def _struct_reader(structs: list[Any], rest: _Reader | None) -> Callable[[Any, Path], Any]:
    families = tuple({family_of(one): None for one in structs})
    registry = getattr(structs[0], "kind_registry", None) if structs[0] in families else None
    tagged: Mapping[str, Any] = {
        str(one.__struct_config__.tag): one for one in structs if one.__struct_config__.tag is not None
    }
    if registry is not None:
        tagged = registry.known

    def read(given: Any, path: Path) -> Any:
        if isinstance(given, families):
            return given
        try:
            if registry is not None and (own := registry.own(given)) is not None:
                return own
        except BadValue as error:
            raise error.within(path) from error.__cause__
        if isinstance(given, Mapping):
            kind = _kind_of(given, path) if tagged else structs[0]
            return _build(kind, given, path)
        if rest is not None and not isinstance(given, Value):
            return rest.read(given, path)
        wanted = f"a {families[0].__name__}, or a mapping{_choice(tagged)}"
        why = f"expected {wanted}, got {_type_name(given)}"
        raise invalid(path, given, why) if path else BadValue(f"{why}: {shortened(repr(given))}")

    def _kind_of(given: Mapping[str, Any], path: Path) -> type:
        names = ", ".join(tagged) if registry is None else registry.names()
        if "kind" not in given:
            raise BadValue(f"`kind` is missing; the kinds are {names}", path)
        kind = given["kind"]
        found: type | None = tagged.get(kind) if isinstance(kind, str) else None
        if found is None:
            close = difflib.get_close_matches(str(kind), tagged, 1)
            hint = f"did you mean `{close[0]}`? " if close else ""
            text = f"there is no kind `{shortened(str(kind))}` here; {hint}the kinds are {names}"
            raise BadValue(text, (*path, "kind"))
        return found

    return read


def _choice(tagged: Mapping[str, Any]) -> str:
    return f" whose kind is {' or '.join(tagged)}" if tagged else ""


def _container(hint: Any, metas: tuple[Meta, ...], optional: bool) -> _Reader:
    origin, items = get_origin(hint), get_args(hint)
    size = _leaf(_with_metas(dict[str, Any] if origin is dict else tuple[Any, ...], metas)) if metas else None
    item = _reader(items[1] if origin is dict else items[0])

    def read(given: Any, path: Path) -> Any:
        if given is None and optional:
            return None
        if size is not None and isinstance(given, (list, tuple, Mapping)):
            size.read({} if origin is dict else [None] * len(given), path)
        if origin is dict:
            if not isinstance(given, Mapping) or not all(isinstance(key, str) for key in given):
                raise invalid(path, given, f"expected mapping, got {_type_name(given)}")
            made: Any = {key: item.read(one, (*path, key)) for key, one in given.items()}
            same = isinstance(given, dict) and all(made[key] is one for key, one in given.items())
        else:
            if not isinstance(given, (list, tuple)):
                raise invalid(path, given, f"expected list, got {_type_name(given)}")
            made = origin(item.read(one, (*path, place)) for place, one in enumerate(given))
            same = isinstance(given, origin) and all(old is new for old, new in zip(given, made, strict=True))
        return given if same else made

    return _Reader(read, deep=True)


# ---------------------------------------------------------------- numbers, texts and lists of them
def _leaf(hint: Any, strict: bool = True) -> _Reader:
    """Return a reader for a type that msgspec can check alone, with its limits."""
    twin = msgspec.defstruct("Twin", [("value", hint)])
    extras = list(_extras(hint))
    checks = [extra["check"] for extra in extras if "check" in extra]
    fix = next((f"; {extra['fix']}" for extra in extras if "fix" in extra), "")
    literals = [value for member in _all_members(hint) if get_origin(member) is Literal for value in get_args(member)]
    anything = Any in _all_members(hint) and not any(extra.get("opaque") for extra in extras)

    def read(given: Any, path: Path) -> Any:
        for below, wrong, why in unusable(given, ()):
            raise invalid((*path, *below), wrong, why)
        try:
            made = msgspec.convert({"value": given}, twin, strict=strict).value  # type: ignore[attr-defined]
        except msgspec.ValidationError as error:
            what, below = _divided(str(error))
            wrong = _at(given, below)
            if isinstance(wrong, float) and wrong.is_integer() and "got `float`" in what:
                return read(_with(given, below, int(wrong)), path)
            why = _limit_of(what, literals)
            if isinstance(given, _Text):  # as all of them are
                why = why.removesuffix(", got str") + fix
            else:
                why += fix or instead(what, wrong)
            raise invalid((*path, *below), wrong, why) from None
        for below, wrong in _foreign(made, ()) if anything else ():
            why = f"expected number, text, list or mapping, got {_type_name(wrong)}"
            raise invalid((*path, *below), wrong, why)
        for check in checks:
            if why := check(made):
                raise invalid(path, given, f"{why}{fix}")
        return made

    return _Reader(read, deep=False)


def _all_members(hint: Any) -> Iterator[Any]:
    """Iterate over a type and all types in it."""
    bare = _unwrapped(hint)[1]
    yield bare
    if get_origin(bare) is not Literal:
        for below in get_args(bare):
            yield from _all_members(below)


def _extras(hint: Any) -> Iterator[dict[str, Any]]:
    metas, bare = _unwrapped(hint)
    yield from (meta.extra for meta in metas if isinstance(meta, Meta) and meta.extra)
    if get_origin(bare) is not Literal:
        for below in get_args(bare):
            yield from _extras(below)


def unusable(data: Any, path: Path) -> Iterator[tuple[Path, Any, str]]:
    """Find values that no message and no file can contain: the path, the value, and what must hold."""
    if isinstance(data, float):
        if not math.isfinite(data):
            yield path, data, "must be a finite number; leave out what has no limit"
    elif isinstance(data, int):
        if not -(2**63) <= data < 2**64:
            yield path, data, f"has more than 64 bits; must be from {-(2**63)} to {2**64 - 1}"
    elif isinstance(data, str):
        if "\0" in data:
            yield path, data, "must not hold a NUL character, which the server cannot store"
    elif isinstance(data, (set, frozenset)):
        yield path, data, "must be a list: a set has no order"
    elif isinstance(data, (list, tuple)):
        for place, below in enumerate(data):
            yield from unusable(below, (*path, place))
    elif isinstance(data, dict):
        for key, below in data.items():
            yield from unusable(key, path)
            yield from unusable(below, (*path, key))


def _foreign(data: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Find values that JSON cannot represent, with their paths."""
    if isinstance(data, (list, tuple)):
        for place, below in enumerate(data):
            yield from _foreign(below, (*path, place))
    elif isinstance(data, dict):
        for key, below in data.items():
            if not isinstance(key, str):
                yield path, key
            yield from _foreign(below, (*path, key))
    elif data is not None and not isinstance(data, (str, int, float)):
        yield path, data


# ---------------------------------------------------------------- texts
def _divided(text: str) -> tuple[str, Path]:
    """Split an error text of msgspec into what is wrong, and where in the value. A key shown as `[...]` is unknown."""
    found = _AT.search(text)
    if found is None:
        return text, ()
    steps: list[str | int] = []
    for name, place in _STEP.findall(found[1]):
        if place == "...":
            break
        steps.append(name or int(place))
    return text[: found.start()], tuple(steps)


def _limit_of(what: str, literals: list[Any]) -> str:
    """Return what must hold, according to an error text of msgspec."""
    if found := _LENGTH.search(what):
        noun = "character" if found[1] == "str" else "entry"
        return f"must have {_BOUNDS[found[2]]} {show_count(int(found[3]), noun)}"
    if found := _LIMIT.search(what):
        number = float(found[2])
        shown = f"{int(number):,}" if number.is_integer() and abs(number) < 2**53 else found[2]
        return f"must be {_BOUNDS[found[1]]} {shown}"
    if what.startswith("Invalid enum value"):
        return f"must be {' or '.join(map(str, literals))}"
    if found := _TYPES.search(what):
        wanted = [_TYPE_NAMES.get(name, name) for name in found[1].split(" | ")]
        return f"expected {' or '.join(wanted)}, got {_TYPE_NAMES.get(found[2], found[2])}"
    return what[:1].lower() + what[1:]


def instead(what: str, given: Any) -> str:
    """Suggest what to write in place of a value of the wrong type, if possible; `what` is the error text."""
    wanted = what.partition(", got")[0]
    if isinstance(given, str):
        word = given.strip().lower()
        if "`bool" in wanted and word in _WORDS:
            return f"; write {_WORDS[word]}"
        if "`int" in wanted or "`float" in wanted:
            if _CLOCK.fullmatch(word):
                return "; write a number of seconds: 90 for a minute and a half"
            plain = word.replace("_", "").replace(",", "")
            return f"; write it as a number: {shortened(plain) if _NUMBER.fullmatch(plain) else 10}"
    elif "`str" in wanted and isinstance(given, (bool, int, float)):
        return f"; write it in quotation marks: '{shortened(str(given))}'"
    return ""


def shortened(text: str) -> str:
    """Return a text, shortened if it is too long for a message."""
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "…"


def _type_name(given: Any) -> str:
    return {"NoneType": "null", "dict": "mapping", "tuple": "list"}.get(type(given).__name__, type(given).__name__)


def _at(data: Any, path: Path) -> Any:
    for step in path:
        data = data[step]
    return data


def _with(data: Any, path: Path, new: Any) -> Any:
    """Return a copy of plain data with another value at a path."""
    if not path:
        return new
    copy: Any = dict(data) if isinstance(data, dict) else list(data)
    copy[path[0]] = _with(data[path[0]], path[1:], new)
    return copy
