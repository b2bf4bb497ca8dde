"""JSON as the reference reads it: docs/protocol/a-foundation.md 2.7."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim.core.golang import gotypes
from colonysim.core.golang.gojson import JsonError, Number, Object, scan, to_text
from colonysim.core.operations.executors import AddExecutor
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.types import WorkflowSpec


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"", "unexpected end of JSON input"),
        (b"  \n", "unexpected end of JSON input"),
        (b'{"a"', "unexpected end of JSON input"),
        (b'{"a":"x', "unexpected end of JSON input"),
        (b"[1", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (b"{} x", "invalid character 'x' after top-level value"),
        (b"{}{}", "invalid character '{' after top-level value"),
        (b"{'a':1}", "invalid character '\\'' looking for beginning of object key string"),
        (b'{"a" 1}', "invalid character '1' after object key"),
        (b'{"a":1 "b"}', "invalid character '\"' after object key:value pair"),
        (b'{"a":1,}', "invalid character '}' looking for beginning of object key string"),
        (b"[1,]", "invalid character ']' looking for beginning of value"),
        (b"[1 2]", "invalid character '2' after array element"),
        (b'{"a":"x\n"}', "invalid character '\\n' in string literal"),
        (b'{"x":01}', "invalid character '1' after object key:value pair"),
        (b'"\\x"', "invalid character 'x' in string escape code"),
        (b'"\\u12G4"', "invalid character 'G' in \\u hexadecimal character escape"),
        (b"nul", "invalid character ' ' in literal null (expecting 'l')"),
        (b"falsE", "invalid character 'E' in literal false (expecting 'e')"),
        (b"-", "invalid character ' ' in numeric literal"),
        (b"1.x", "invalid character 'x' after decimal point in numeric literal"),
        (b"1e", "invalid character ' ' in exponent of numeric literal"),
        (b"\xef\xbb\xbf{}", "invalid character '\u00ef' looking for beginning of value"),
        (b"{}\x00", "invalid character '\\x00' after top-level value"),
        (b"[" * 10_001, "invalid character '[' exceeded max depth"),
    ],
)
def test_grammar_errors(text: bytes, error: str) -> None:
    with pytest.raises(JsonError) as refused:
        scan(text)
    assert str(refused.value) == error


def test_depth_up_to_the_limit_is_taken() -> None:
    assert scan(b"[" * 10_000 + b"]" * 10_000) is not None


def test_values() -> None:
    text = b' {"a":[1,-2.5e3,true,false,null,"x\\u00e9\\n"],"a":{}} '
    assert scan(text) == Object(
        [("a", [Number("1"), Number("-2.5e3"), True, False, None, "x\u00e9\n"]), ("a", Object([]))]
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (b'"\\ud834\\udd1e"', "\U0001d11e"),
        (b'"\\ud800|\\udc00\\ud83d|"', "\ufffd|\ufffd\ufffd|"),
        (b'"x\xff\xc3(y"', "x\ufffd\ufffd(y"),
        (b'"\xe2\x82"', "\ufffd\ufffd"),
    ],
)
def test_bad_text_becomes_the_replacement_character(text: bytes, value: str) -> None:
    assert scan(text) == value


def test_one_replacement_for_each_bad_byte() -> None:
    assert to_text(b"\xf0\x9f\x98") == "\ufffd" * 3


# ---------------------------------------------------------------- filling structs
def _spec(text: str) -> Any:
    return gotypes.decode(text.encode(), SubmitFuncSpec).spec


def test_keys_match_in_any_case() -> None:
    spec = _spec('{"SPEC":{"FuncName":"f","CONDITIONS":{"ColonyName":"c"},"PRIORITY":3}}')
    assert (spec.funcname, spec.conditions.colonyname, spec.priority) == ("f", "c", 3)


def test_keys_fold_the_long_s_and_the_kelvin_sign() -> None:
    assert _spec('{"\u017fpec":{"\u212awargs":{"a":1}}}').kwargs == {"a": 1}


def test_later_duplicates_win_and_objects_merge() -> None:
    spec = _spec(
        '{"spec":{"label":"x","conditions":{"executortype":"a"}},"Spec":{"label":"y","conditions":{"nodes":2}}}'
    )
    assert (spec.label, spec.conditions.executortype, spec.conditions.nodes) == ("y", "a", 2)


def test_maps_merge_by_key_and_lists_by_place() -> None:
    text = (
        '{"executor":{"allocations":{"projects":{"p":{"usedcpu":1}}},"capabilities":{"hardware":[{"cores":3,"cpu":"1m"},{}]}},'
        '"executor":{"allocations":{"projects":{"q":{"usedcpu":2}}},"capabilities":{"hardware":[{"cores":4}]}}}'
    )
    executor = gotypes.decode(text.encode(), AddExecutor).executor
    assert {name: project.usedcpu for name, project in executor.allocations.projects.items()} == {"p": 1, "q": 2}
    assert [(item.cores, item.cpu) for item in executor.capabilities.hardware] == [(4, "1m")]


def test_null_leaves_scalars_and_plain_objects_and_empties_lists_and_pointers() -> None:
    spec = _spec(
        '{"spec":{"label":"x","label":null,"conditions":{"nodes":2},"conditions":null,"args":[1],"args":null}}'
    )
    assert (spec.label, spec.conditions.nodes, spec.args) == ("x", 2, None)
    assert _spec('{"spec":{"label":"x"},"spec":null}') is None
    assert _spec('{"spec":{"fs":{"mount":"/m"},"fs":null}}').fs.mount == "/m"


def test_null_in_a_list_of_texts_is_the_empty_text() -> None:
    assert _spec('{"spec":{"conditions":{"executornames":[null,"a"]}}}').conditions.executornames == ["", "a"]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[]", "json: cannot unmarshal array into Go value of type core.WorkflowSpec"),
        ('{"functionspecs":{}}', "json: cannot unmarshal object into Go struct field WorkflowSpec.functionspecs of type []core.FunctionSpec"),
        ('{"functionspecs":[{"nodename":5}]}', "json: cannot unmarshal number into Go struct field FunctionSpec.functionspecs.nodename of type string"),
        ('{"functionspecs":[{"priority":2.5}]}', "json: cannot unmarshal number 2.5 into Go struct field FunctionSpec.functionspecs.priority of type int"),
        ('{"functionspecs":[{"conditions":{"walltime":"x"}}]}', "json: cannot unmarshal string into Go struct field Conditions.functionspecs.conditions.walltime of type int64"),
        ('{"colonyname":true,"functionspecs":5}', "json: cannot unmarshal bool into Go struct field WorkflowSpec.colonyname of type string"),
    ],
)  # fmt: skip
def test_wrong_types_are_named(text: str, error: str) -> None:
    with pytest.raises(JsonError) as refused:
        gotypes.decode(text.encode(), WorkflowSpec)
    assert str(refused.value) == error


@pytest.mark.parametrize("number", ["1.0", "1e0", '"1"', "9223372036854775808", "true"])
def test_integers_are_whole_and_fit_64_bits(number: str) -> None:
    with pytest.raises(JsonError):
        _spec(f'{{"spec":{{"priority":{number}}}}}')


def test_minus_zero_is_zero_for_integers_and_stays_in_free_json() -> None:
    spec = _spec('{"spec":{"priority":-0,"args":[-0]}}')
    assert spec.priority == 0
    assert str(spec.args[0]) == "-0.0"


def test_a_number_beyond_a_double_is_refused_in_free_json_and_ignored_elsewhere() -> None:
    with pytest.raises(JsonError):
        _spec('{"spec":{"args":[1e400]}}')
    assert _spec('{"spec":{"unknown":1e400}}') is not None


@pytest.mark.parametrize(
    ("text", "seconds", "fraction"),
    [
        ("1970-01-01T00:00:00Z", 0, 0),
        ("2026-03-29T03:00:00.123456789+02:00", 1774746000, 123456789),
        ("2026-03-29T3:00:00,5Z", 1774753200, 500000000),
        ("0001-01-01T00:00:00Z", -62135596800, 0),
        ("0000-02-29T00:00:00Z", -62162121600, 0),
        ("9999-12-31T23:59:59Z", 253402300799, 0),
    ],
)
def test_timestamps(text: str, seconds: int, fraction: int) -> None:
    time = gotypes.parse_timestamp(text)
    assert time is not None
    assert time.ns == seconds * 10**9 + fraction


@pytest.mark.parametrize(
    "text",
    [
        "", "2026-01-01", "2026-01-01 00:00:00Z", "2026-01-01T00:00:00", "2026-01-01t00:00:00Z", "2026-01-01T00:00:00z",
        "2026-02-29T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z",
        "2026-01-01T00:00:00+0100", "2026-13-01T00:00:00Z", "2026-01-01T00:00Z", "26-01-01T00:00:00Z",
    ],
)  # fmt: skip
def test_what_is_no_timestamp(text: str) -> None:
    assert gotypes.parse_timestamp(text) is None
