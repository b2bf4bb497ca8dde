"""Cron expressions: every recorded answer, and croniter as a second opinion on plain expressions."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import croniter
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from colonysim.core.errors import Refusal, Silence
from colonysim.core.golang import cronexpr

VECTORS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "cron-vectors.json").read_text())


def _nanoseconds(text: str) -> int:
    time = datetime.fromisoformat(text)
    return int(time.timestamp()) * 10**9 + time.microsecond * 1000


def _text(time_ns: int, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(time_ns // 10**9, zone).isoformat().replace("+00:00", "Z")


def test_there_are_vectors() -> None:
    assert len(VECTORS) == 279


@pytest.mark.parametrize(
    "vector", [v for v in VECTORS if "next" in v], ids=lambda v: f"{v['expr']} {v['start']} {v['tz']}"
)
def test_run_times(vector: dict[str, Any]) -> None:
    zone = ZoneInfo(vector["tz"])
    schedule = cronexpr.parse(vector["expr"])
    now_ns: int | None = _nanoseconds(vector["start"])
    found = []
    while len(found) < 5 and now_ns is not None:
        now_ns = schedule.next(now_ns, zone)
        if now_ns is not None:
            found.append(_text(now_ns, zone))
    assert found == vector["next"]


@pytest.mark.parametrize("vector", [v for v in VECTORS if v.get("error")], ids=lambda v: repr(v["expr"]))
def test_errors(vector: dict[str, Any]) -> None:
    with pytest.raises(Refusal) as refused:
        cronexpr.parse(vector["expr"])
    assert (refused.value.status, refused.value.text) == (400, vector["error"])


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["class"] == "crash"], ids=lambda v: repr(v["expr"]))
def test_what_the_reference_faults_on_is_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(Silence):
        cronexpr.parse(vector["expr"])


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("9" * 5000 + " * * * * *", "value out of range"),
        ("@every " + "9" * 5000 + "s", "invalid duration"),
    ],
)
def test_numbers_of_any_length_are_told_apart(expression: str, text: str) -> None:
    with pytest.raises(Refusal, match=text):
        cronexpr.parse(expression)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("TZ=UTC \x1c* * * * * *", "failed to parse int from \x1c*"),
        ("TZ=UTC @daily\x1f", "unrecognized descriptor: @daily\x1f"),
    ],
)
def test_separators_of_information_are_no_white_space(expression: str, text: str) -> None:
    with pytest.raises(Refusal) as refused:
        cronexpr.parse(expression)
    assert refused.value.text.startswith(text)
    assert cronexpr.parse("TZ=UTC \u2028@daily\u3000") == cronexpr.parse("TZ=UTC @daily")


def test_zeros_in_front_and_behind_do_not_count() -> None:
    assert cronexpr.parse("0" * 5000 + "1 * * * * *").next(0, ZoneInfo("UTC")) == 1_000_000_000
    assert cronexpr.parse("@every 1." + "0" * 5000 + "s").next(0, ZoneInfo("UTC")) == 1_000_000_000


EMPTY_LISTS = (",", ",,", ",,,,")
JANUARY_FIRST_NS = 1_767_225_600 * 10**9  # 2026, a Thursday


@pytest.mark.parametrize("empty", EMPTY_LISTS)
@pytest.mark.parametrize("zone", ["", "TZ=Asia/Tokyo ", "CRON_TZ=Europe/Stockholm "])
@pytest.mark.parametrize("place", [0, 1, 2, 4])
def test_an_empty_list_of_seconds_minutes_hours_or_months_never_matches(empty: str, zone: str, place: int) -> None:
    words = ["*", "*", "*", "1", "*", "1"]
    words[place] = empty
    schedule = cronexpr.parse(zone + " ".join(words))
    assert schedule.next(0, UTC) is None
    assert schedule.next_chance(0, UTC) is None


@pytest.mark.parametrize("empty", EMPTY_LISTS)
@pytest.mark.parametrize(
    ("days", "found"),
    [
        ("1 1 {}", "2027-01-01"),
        ("1,15 * {}", "2026-01-15"),
        ("29 2 {}", "2028-02-29"),
        ("{} 1 0-6", "2026-01-02"),
        ("{} * mon", "2026-01-05"),
        ("{} feb 3-5/2", "2026-02-04"),
        ("*/2 1 {}", "2026-01-03"),  # a star with a step counts as a list
        ("* 1 {}", None),
        ("? 1 {}", None),
        ("{} 1 *", None),
        ("{} 1 ?", None),
        ("{} 1 *,2", None),
        ("{} 1 {}", None),
    ],
)
def test_an_empty_list_of_days_leaves_the_other_day_field_to_decide(empty: str, days: str, found: str | None) -> None:
    next_ns = cronexpr.parse("0 0 0 " + days.format(empty, empty)).next(JANUARY_FIRST_NS, UTC)
    assert (next_ns and datetime.fromtimestamp(next_ns // 10**9, UTC).date().isoformat()) == found


def test_an_empty_part_of_a_list_is_read_over() -> None:
    assert cronexpr.parse("0 0 0 ,,1,,15, , ,1") != cronexpr.parse("0 0 0 1,15 * 1")
    assert cronexpr.parse("0 0 0 ,,1,,15, * ,1") == cronexpr.parse("0 0 0 1,15 * 1")
    assert cronexpr.parse("0 0 0 ,*, * ,1") == cronexpr.parse("0 0 0 * * 1")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("é", r'invalid duration "\xc3\xa9"'),
        ("\t", r'invalid duration "\x09"'),
        ("\x7f", 'invalid duration "\x7f"'),
        ("1\x7f", 'unknown unit "\x7f" in duration "1\x7f"'),
        ('1"', r'unknown unit "\"" in duration "1\""'),
        ("1\\", r'unknown unit "\\" in duration "1\\"'),
        ("5\u2028", r'unknown unit "\xe2\x80\xa8" in duration "5\xe2\x80\xa8"'),
        ("1\U0001f600", r'unknown unit "\xf0\x9f\x98\x80" in duration "1\xf0\x9f\x98\x80"'),
        ("1\ufffd", r'unknown unit "\xef\xbf\xbd" in duration "1\xef\xbf\xbd"'),
        ("1\x00s", r'unknown unit "\x00s" in duration "1\x00s"'),
        ("-", 'invalid duration "-"'),
        ("é5", r'invalid duration "\xc3\xa95"'),
        ("5é.", r'unknown unit "\xc3\xa9" in duration "5\xc3\xa9."'),
        ("5sé7", r'unknown unit "s\xc3\xa9" in duration "5s\xc3\xa97"'),
        ("9223372036854775808ns", 'invalid duration "9223372036854775808ns"'),
    ],
)
def test_durations_are_quoted_byte_by_byte(text: str, told: str) -> None:
    with pytest.raises(Refusal) as refused:
        cronexpr.parse(f"@every {text}")
    assert refused.value.text == f"failed to parse duration @every {text}: time: {told}"


def test_numbers_are_quoted_by_characters() -> None:
    with pytest.raises(Refusal) as refused:
        cronexpr.parse("é\x7f\u200b * * * * *")
    assert refused.value.text.endswith(r'strconv.Atoi: parsing "é\x7f\u200b": invalid syntax')


def test_the_shortest_duration_that_fits_is_taken() -> None:
    assert cronexpr.parse("@every -9223372036854775808ns") == cronexpr.EveryInterval(1)


# ---------------------------------------------------------------- days that never were, and far times
NEVER_WERE = [
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Fakaofo", "2011-12-30"),
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Pacific/Kiritimati", "1994-12-31"),
    ("Pacific/Kanton", "1994-12-31"),
    ("Asia/Manila", "1844-12-31"),
    ("Pacific/Guam", "1844-12-31"),
]
REPEATED = [("Kwajalein", "1969-09-30"), ("America/Juneau", "1867-10-18"), ("Pacific/Pago_Pago", "1892-07-04")]


def runs_after(expression: str, start: datetime, zone: tzinfo, count: int = 12) -> list[datetime]:
    """The first runs; they are in order, and each matches."""
    schedule, now_ns, found = cronexpr.parse(expression), int(start.timestamp()) * 10**9, []
    for _ in range(count):
        next_ns = schedule.next(now_ns, zone)
        assert next_ns is not None
        assert next_ns > now_ns
        now_ns = next_ns
        found.append(datetime.fromtimestamp(now_ns // 10**9, zone))
    return found


@pytest.mark.parametrize(("name", "missing"), NEVER_WERE)
def test_a_cron_leaves_out_a_day_that_never_was(name: str, missing: str) -> None:
    """The reference would look at the day before it for ever."""
    zone = ZoneInfo(name)
    day = datetime.fromisoformat(missing).replace(tzinfo=zone)
    before, after = day - timedelta(days=3), day + timedelta(days=3)
    weekday = day.isoweekday() % 7
    daily = [f"{run:%Y-%m-%d %H:%M}" for run in runs_after("0 0 12 * * *", before, zone, 6)]
    expected = [f"{(before + timedelta(days=n)).date()} 12:00" for n in range(7)]
    assert daily == [text for text in expected if not text.startswith(missing)]
    weekly = runs_after(f"0 0 12 * * {weekday}", before, zone, 2)
    assert [run.date() - day.date() for run in weekly] == [timedelta(days=7), timedelta(days=14)]
    next_day = (day + timedelta(days=1)).day
    assert runs_after(f"0 0 0 {next_day} * *", before, zone, 1)[0].date() - day.date() == timedelta(days=1)
    for expression in (
        "59 59 23 30,31 12 5",
        "0 0 0 , * 5",
        "0 0 0 29 2 *",
        f"0 0 0 {day.day} {day.month} ?",
        "0 0 1 1 * 1",
    ):
        assert runs_after(expression, before, zone, 3)[-1] > after


@pytest.mark.parametrize(("name", "twice"), REPEATED)
def test_a_cron_never_runs_before_the_time_it_is_asked_for(name: str, twice: str) -> None:
    zone = ZoneInfo(name)
    first = datetime.fromisoformat(twice).replace(tzinfo=UTC) - timedelta(days=1)
    for hours in range(0, 72, 3):
        for expression in ("0 0 0 * * *", "59 59 23 * * *", "0 30 5 * * 5", "0 0 0 , * 0-6"):
            runs_after(expression, first + timedelta(hours=hours), zone, 3)


@pytest.mark.parametrize("name", ["UTC", "Europe/Stockholm", "America/St_Johns", "Australia/Lord_Howe", "Asia/Gaza"])
@pytest.mark.parametrize("expression", ["0 0 0 29 2 *", "0 30 2 * * 0", "0 0 12 1 1 ?", "@weekly"])
def test_runs_repeat_every_400_years_beyond_the_last_year_of_python(name: str, expression: str) -> None:
    """Nothing but the printing ends with the year 9999."""
    zone, schedule = ZoneInfo(name), cronexpr.parse(expression)
    cycle_ns = 146_097 * 86_400 * 10**9
    near_ns = int(datetime(2399, 12, 20, tzinfo=UTC).timestamp()) * 10**9
    near = schedule.next(near_ns, zone)
    assert near is not None
    for cycles in (18, 19, 20, 1000):
        far_ns = near_ns + cycles * cycle_ns
        assert schedule.next(far_ns, zone) == near + cycles * cycle_ns
        chance, near_chance = schedule.next_chance(far_ns, zone), schedule.next_chance(near_ns, zone)
        assert chance is not None
        assert near_chance is not None
        assert chance - near_chance == cycles * cycle_ns


@pytest.mark.parametrize("year", [-5000, -1, 0, 1, 5])
def test_runs_are_found_in_years_before_the_first_of_python(year: int) -> None:
    start_ns = (year - 1970) * 31_556_952 * 10**9
    for name in ("UTC", "Europe/Stockholm"):
        found = cronexpr.parse("0 0 0 1 1 *").next(start_ns, ZoneInfo(name))
        assert found is not None
        assert 0 < found - start_ns <= 366 * 86_400 * 10**9


# ---------------------------------------------------------------- croniter
def _field(low: int, high: int) -> st.SearchStrategy[str]:
    """Items that mean the same to both: docs/protocol/c-workflows.md 10 lists what does not."""
    number = st.integers(low, high)
    pairs = st.tuples(number, number).filter(lambda pair: pair[0] < pair[1])
    item = st.one_of(
        number.map(str),
        pairs.map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.tuples(pairs, st.integers(1, high)).map(lambda given: f"{given[0][0]}-{given[0][1]}/{given[1]}"),
    )
    return st.one_of(
        st.just("*"),
        st.integers(2, high).map(lambda step: f"*/{step}"),
        st.lists(item, min_size=1, max_size=3).map(",".join),
    )


def _days_read_alike(fields: tuple[str, ...]) -> bool:
    """Whether neither field of days spells out all there are: croniter takes that for a `*`, the reference does not."""
    return not any(field[0] != "*" and _count(field) == most for field, most in ((fields[3], 31), (fields[5], 7)))


def _count(field: str) -> int:
    """How many numbers a field of items matches."""
    found: dict[int, None] = {}
    for item in field.split(","):
        ends, _, step = item.partition("/")
        low, _, high = ends.partition("-")
        found |= dict.fromkeys(range(int(low), int(high or low) + 1, int(step or 1)))
    return len(found)


fields = st.tuples(_field(0, 59), _field(0, 59), _field(0, 23), _field(1, 31), _field(1, 12), _field(0, 6))
expressions = fields.filter(_days_read_alike).map(" ".join)
instants = st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1), timezones=st.just(UTC))


@given(expression=expressions, start=instants)
@hypothesis_settings(max_examples=400)
def test_croniter_agrees_on_plain_expressions(expression: str, start: datetime) -> None:
    start_ns = int(start.timestamp()) * 10**9 + start.microsecond * 1000
    found = cronexpr.parse(expression).next(start_ns, UTC)
    try:
        iterator = croniter.croniter(expression, start, second_at_beginning=True, max_years_between_matches=4)
        expected = iterator.get_next(datetime)
    except croniter.CroniterBadDateError:
        return  # its horizon is another one
    assert found is not None
    assert datetime.fromtimestamp(found // 10**9, UTC) == expected


def test_a_duration_of_many_parts_is_read_in_one_pass() -> None:
    """Cutting off each part copied what was left, terabytes in all for this one."""
    assert cronexpr.parse("@every " + "0ns" * 1_000_000 + "7s") == cronexpr.EveryInterval(7)
