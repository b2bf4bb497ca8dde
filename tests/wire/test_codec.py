"""Numbers of any length: docs/protocol/a-foundation.md 2.7."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim.core.engine import OPERATIONS
from colonysim.core.errors import Refusal
from colonysim.core.golang import gotypes
from colonysim.core.golang.gojson import JsonError
from colonysim.wire import codec

SUBMIT = '"msgtype":"submitfuncspecmsg","spec":{"conditions":{"colonyname":"dev"},'
PLACES = [
    ("submitfuncspecmsg", SUBMIT + '"args":[N]}'),
    ("submitfuncspecmsg", SUBMIT + '"kwargs":{"a":{"b":[1,[N]]}}}'),
    ("submitfuncspecmsg", SUBMIT + '"reconciliation":{"a":N},"kwargs":{"x":N}}'),
    ("closesuccessfulmsg", '"msgtype":"closesuccessfulmsg","processid":"p","out":["x",N]'),
    ("setoutputmsg", '"msgtype":"setoutputmsg","processid":"p","out":[N]'),
    ("addlocationmsg", '"msgtype":"addlocationmsg","location":{"long":N}'),
    ("addblueprintmsg", '"msgtype":"addblueprintmsg","blueprint":{"spec":{"a":[N]}}'),
    ("updateblueprintstatusmsg", '"msgtype":"updateblueprintstatusmsg","status":{"a":N}'),
    ("submitworkflowspecmsg", '"msgtype":"submitworkflowspecmsg","spec":{"functionspecs":[{"args":[N]}]}'),
    ("submitfuncspecmsg", SUBMIT + '"priority":N}'),  # a whole number, of which none so long is one
    ("submitfuncspecmsg", SUBMIT + '"maxexectime":N}'),
]
LARGEST = str(int(1.7976931348623157e308))
TOO_LARGE = str(int(LARGEST) + 10**300)


def decoded(name: str, fields: str, number: str) -> object:
    payload = "{" + fields.replace("N", number) + "}"
    return codec.decode_message(OPERATIONS[name], payload.encode(), "")


@pytest.mark.parametrize(("name", "fields"), PLACES)
@pytest.mark.parametrize(
    "number", ["1" * 310, "-" + "1" * 310, "9" * 309, TOO_LARGE, "-" + TOO_LARGE, "1" * 5000, "1" * 400 + ".5", "1e309",
               "1" * 310 + "e0", "1" * 310 + "E+0", "1" * 300 + "e100"],
)  # fmt: skip
def test_numbers_beyond_a_double_are_invalid_json(name: str, fields: str, number: str) -> None:
    with pytest.raises(Refusal) as refused:
        decoded(name, fields, number)
    assert (refused.value.status, refused.value.text) == (400, OPERATIONS[name].invalid_json)


@pytest.mark.parametrize(("name", "fields"), PLACES[:9])
@pytest.mark.parametrize("number", [LARGEST, "-" + LARGEST, "1" * 309, "1" * 400 + "e-200", "0." + "0" * 400 + "1e500"])
def test_the_largest_numbers_are_taken(name: str, fields: str, number: str) -> None:
    decoded(name, fields, number)


def test_long_numbers_in_fields_that_nobody_reads_are_no_matter() -> None:
    decoded("getcolonymsg", '"msgtype":"getcolonymsg","x":N', "1" * 5000)
    decoded("submitfuncspecmsg", SUBMIT + '"nothing":[N]}', "1" * 5000)


@given(
    before=st.integers(0, 700),
    digits=st.integers(290, 330),
    sign=st.sampled_from(["", "-"]),
    tail=st.sampled_from(["", ".0", "e0", "e-30"]),
    place=st.sampled_from(PLACES[:5]),
)
def test_the_fast_decoder_takes_no_number_that_the_exact_one_refuses(
    before: int, digits: int, sign: str, tail: str, place: tuple[str, str]
) -> None:
    """Wherever the number stands in the text."""
    name, fields = place
    row = OPERATIONS[name]
    text = "{" + " " * before + fields.replace("N", sign + "2" * digits + tail) + "}"
    fast = codec._decode_fast(row, text.encode())
    try:
        exact = gotypes.decode(text.encode(), row.message)
    except JsonError:
        exact = None
    assert fast is None or fast == exact
