"""Scenario files: the same values as in Python, and errors that name file, line, path and fix."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from colonysim.core.settings import Settings
from colonysim.faults import Crash, Times
from colonysim.kernel.clock import parse_time
from colonysim.kernel.randomness import Constant, Lognormal
from colonysim.scenarios.checks import Probe
from colonysim.scenarios.files import BadScenario
from colonysim.scenarios.scenario import Phases, Scenario, Sites, groups_of, shares
from colonysim.workloads.arrivals import Poisson
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.workload import Trace, Workload

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "scenarios").glob("*.yaml"))

GOOD = """
version: 1
name: small
seed: 7
phases: {storm_s: 60}
executors:
  - name: x
    count: 2
    service: {kind: lognormal, median_s: 3}
workload:
  - name: w
    arrivals: {kind: poisson, per_hour: 60}
faults:
  - {kind: crash, name: crashes, times: {every_s: 20}}
checks:
  - {kind: probe, that: queue_depth < 50}
"""


def test_a_file_and_python_make_the_same_value(tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(GOOD)
    made = Scenario(
        name="small",
        seed=7,
        phases=Phases(storm_s=60.0),
        executors=(ExecutorGroup(name="x", count=2, service=Lognormal(3.0)),),
        workload=(Workload(name="w", arrivals=Poisson(60.0)),),
        faults=(Crash(name="crashes", times=Times(every_s=20.0)),),
        checks=(Probe(that="queue_depth < 50"),),
        folder=str(tmp_path),
    )
    assert Scenario.load(path) == made
    assert pickle.loads(pickle.dumps(made)) == made


@pytest.mark.parametrize(
    ("change", "line", "path", "words"),
    [
        (("count: 2", "cout: 2"), 8, "executors.0.cout", "there is no `cout` here; did you mean `count`?"),
        (("count: 2", "count: two"), 8, "executors.0.count", "invalid count='two': expected int, got str"),
        (("count: 2", "count: 0"), 8, "executors.0.count", "invalid count=0: must be at least 1"),
        (
            ("lognormal", "lognorm"),
            9,
            "executors.0.service.kind",
            "there is no kind `lognorm` here; did you mean `lognormal`?",
        ),
        (("median_s", "mean_s"), 9, "executors.0.service.mean_s", "did you mean `median_s`?"),
        (("kind: poisson, ", ""), 12, "workload.0.arrivals", "`kind` is missing"),
        (("per_hour: 60", "per_hour: 0"), 12, "workload.0.arrivals.per_hour", "must be greater than 0"),
        (("name: w", "name: w\n    trace: {file: x.swf}"), 11, "workload.0", "either arrivals or a trace"),
        (("phases: {storm_s: 60}\n", ""), 12, "faults", "faults end with the storm: give phases.storm_s"),
        (("every_s: 20", "every_s: -20"), 14, "faults.0.times.every_s", "invalid every_s=-20: must be greater than 0"),
        (("queue_depth <", "queue_length <"), 16, "checks.0.that", "use one of submitted, queue_depth"),
        (("version: 1", "version: 2"), 2, "version", "invalid version=2: must be 1"),
        (("version: 1\n", ""), 1, "version", "write `version: 1`"),
        (("seed: 7", "settings: {timezone: Mars/Olympus}"), 4, "settings.timezone", "IANA"),
        (("seed: 7", "settings: {seed: 7}"), 4, "settings.seed", "beside `settings`"),
        (("  - {kind: probe", "  - [kind: probe"), 16, "", "is not YAML"),
        (("storm_s: 60", "storm_s: .nan"), 5, "phases.storm_s", "invalid storm_s=nan: must be a finite number"),
        (("storm_s: 60", "storm_s: 1.0e+300"), 5, "phases.storm_s", "must be at most 1,000,000,000"),
        (
            ("{kind: lognormal, median_s: 3}", ".inf"),
            9,
            "executors.0.service",
            "invalid service=inf: must be a finite number",
        ),
        (("median_s: 3", "median_s: 3, sigma: 1000"), 9, "executors.0.service.sigma", "must be at most 10"),
        (("every_s: 20", "every_s: -.inf"), 14, "faults.0.times.every_s", "must be a finite number"),
        (("every_s: 20", "every_s: 1.0e+300"), 14, "faults.0.times.every_s", "every_s=1e+300: must be at most"),
        (
            ("storm_s: 60", "storm_s: 1:30"),
            5,
            "phases.storm_s",
            "write a number of seconds: 90 for a minute and a half",
        ),
        (("storm_s: 60", "storm_s: '60'"), 5, "phases.storm_s", "write it as a number: 60"),
        (("storm_s: 60", "storm_s: 1_000"), 5, "phases.storm_s", "write it as a number: 1000"),
        (("storm_s: 60", "storm_s: 1e400"), 5, "phases.storm_s", "must be a finite number"),
        (
            ("seed: 7", "invariants: yes"),
            4,
            "invariants",
            "invalid invariants='yes': expected bool, got str; write true",
        ),
        (("seed: 7", "settings: {retention: off}"), 4, "settings.retention", "write false"),
        (("seed: 7", "seed: 99999999999999999999"), 4, "seed", "has more than 64 bits"),
        (("seed: 7", "settings: {start: 2026-13-01}"), 4, "settings.start", "not an RFC 3339 time"),
        (("seed: 7", "settings: {start: 9999-01-01}"), 4, "settings.start", "start in the years 1970 to 2100"),
        (("name: small", "name: 5"), 3, "name", "write it in quotation marks: '5'"),
        (("name: small", 'name: "\\0"'), 3, "name", "must not hold a NUL character"),
        (("count: 2", "count: 2.5"), 8, "executors.0.count", "invalid count=2.5: expected int, got float"),
        (("count: 2", "count: 1e9"), 8, "executors.0.count", "must be at most 1,000,000"),
        (("seed: 7", "seed: 7\nseed: 8"), 5, "", "the key 'seed' is given twice, first in line 4"),
        (("count: 2", "x" * 900 + ": 2"), 8, "executors.0." + "x" * 900, "there is no `" + "x" * 200 + "…` here"),
        (
            ("seed: 7", "crons: [{name: c, expression: '* * * * *', submit: {}}]"),
            4,
            "crons.0.expression",
            "expected exactly 6 fields, found 5: [* * * * *]; write six fields, seconds first",
        ),
        (
            ("workload:", "  - {name: x-2}\nworkload:"),
            10,
            "executors.1",
            "two are called 'x-2', for the 2 of 'x' are called x-1 and so on; names must differ",
        ),
        (
            (
                "faults:",
                "  - {name: v, users: 3, arrivals: {kind: once}}\n  - {name: v-3, arrivals: {kind: once}}\nfaults:",
            ),
            14,
            "workload.2",
            "two are called 'v-3'",
        ),
        (("depth < 50", "depth < nan"), 16, "checks.0.that", "'nan' must be a finite number"),
    ],
)
def test_what_is_wrong_is_told_with_line_path_and_fix(
    change: tuple[str, str], line: int | None, path: str, words: str
) -> None:
    text = GOOD.replace(*change)
    assert text != GOOD
    with pytest.raises(BadScenario) as told:
        Scenario.read(text, "small.yaml")
    place = f"small.yaml:{line}" if line else "small.yaml"
    assert len(str(told.value)) < 1500
    assert str(told.value).startswith(f"{place}: ")
    assert ".".join(map(str, told.value.path)) == path
    assert words in str(told.value)
    assert str(pickle.loads(pickle.dumps(told.value))) == str(told.value)


def test_two_of_one_name_are_refused() -> None:
    text = GOOD.replace("faults:", "  - {name: w, arrivals: {kind: once}}\nfaults:")
    with pytest.raises(BadScenario, match="workload: two are called 'w'"):
        Scenario.read(text)


def test_values_are_set_by_their_path() -> None:
    changed = Scenario.read(
        GOOD, "s", ("executors.0.count=50", "executors.0.service.median_s=9.5", "phases.calm_s=5", "name=other")
    )
    group = changed.executors[0]
    assert (group.count, group.service, changed.phases.calm_s, changed.name) == (50, Lognormal(9.5), 5, "other")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("executors.3.count=1", "executors has entries 0 to 0, not 3"),
        ("executors.0.count", "PATH=VALUE"),
        ("name.first=x", "name has no fields or entries"),
        ("executors.0.cuont=1", "did you mean `count`?"),
        ("phases.storm_s=1:30", "write a number of seconds"),
        ("executors.0={name: a, name: b}", "the value the key 'name' is given twice"),
        ("executors=" + "[" * 5000, "the value it is nested more than 64 levels deep"),
        (".".join("a" * 5000) + "=1", "the path has more than 64 steps"),
        ("executors.\N{SUPERSCRIPT TWO}=1", "executors has entries 0 to 0"),
        ("executors." + "9" * 5000 + "=1", "executors has entries 0 to 0"),
        (".=1", "PATH=VALUE"),
    ],
)
def test_a_path_that_leads_nowhere_is_told(override: str, words: str) -> None:
    with pytest.raises(BadScenario) as told:
        Scenario.read(GOOD, "s", (override,))
    assert words in str(told.value)


def test_what_an_alias_stands_for_is_set_in_one_place_alone() -> None:
    text = GOOD.replace("name: x", "name: x\n    rest: &rest {kind: constant, value_s: 1}\n    starts: *rest")
    group = Scenario.read(text, "s", ("executors.0.rest.value_s=2",)).executors[0]
    assert (group.rest, group.starts) == (Constant(2.0), Constant(1.0))


def test_whole_numbers_may_have_an_exponent() -> None:
    made = Scenario.read(
        GOOD.replace("count: 2", "count: 1e1").replace(
            "seed: 7", "seed: 2E2\nsettings: {stale_executor_duration_s: 6e2}"
        )
    )
    assert (made.executors[0].count, made.seed, made.server().stale_executor_duration_s) == (10, 200, 600)


def test_the_start_may_be_a_date() -> None:
    made = Scenario.read(GOOD.replace("seed: 7", "settings: {start: 2030-06-01}"))
    assert made == Scenario.read(GOOD.replace("seed: 7", "settings: {start: '2030-06-01'}"))
    assert parse_time(made.server().start) == parse_time("2030-06-01T00:00:00Z")


@pytest.mark.parametrize(
    ("data", "line", "words"),
    [
        (b"", "", "it is empty; a scenario is a mapping that begins with `version: 1`"),
        (b"# nothing\n", "", "it is empty"),
        (b"version: 1\nname: \xe5\n", ":2", "byte 0xe5 is not UTF-8; save it as UTF-8"),
        (GOOD.encode("utf-16"), ":1", "it is UTF-16; save it as UTF-8"),
        (b"version: 1\nname: \0\n", ":2", "character U+0000 is not allowed here"),
        (b"#" * 600_000, "", "it has more than 524,288 bytes; is it a scenario?"),
        (b"version: 1\n---\nversion: 1\n", ":2", "a second document begins here"),
    ],
)
def test_a_file_of_another_kind_is_told(tmp_path: Path, data: bytes, line: str, words: str) -> None:
    path = tmp_path / "s.yaml"
    path.write_bytes(data)
    with pytest.raises(BadScenario) as told:
        Scenario.load(path)
    assert str(told.value).startswith(f"{path}{line}: {words}") or words in str(told.value)
    assert told.value.place == f"{path}{line}"


def test_a_byte_order_mark_is_skipped_and_json_is_read(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(b'\xef\xbb\xbf{"version": 1, "name": "\\ud83d\\ude00", "seed": 5}')
    assert (Scenario.load(path).name, Scenario.load(path).seed) == ("\N{GRINNING FACE}", 5)


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(BadScenario, match="cannot be read"):
        Scenario.load(tmp_path / "nowhere.yaml")
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(BadScenario, match="begins with `version: 1`"):
        Scenario.load(tmp_path / "list.yaml")


def test_executors_are_shared_out_by_work() -> None:
    assert shares({"a": 60.0, "b": 30.0, "c": 0.0}, 12) == {"a": 7, "b": 4, "c": 1}
    assert sum(shares({str(i): float(i) for i in range(170)}, 24_515).values()) == 24_515
    assert shares({"a": 1.0, "b": 1.0}, 1) == {"a": 1, "b": 1}
    assert sum(shares({"a": 0.0, "b": 0.0}, 7).values()) <= 7


def test_each_site_of_a_trace_gets_its_executors(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("submit_s,run_s,site\n0,30,1\n1,10,cern.ch\n")
    scenario = Scenario(
        workload=(Workload(name="w", trace=Trace(file="t.csv")),),
        sites=Sites(workload="w", total=6, like=ExecutorGroup(name="node")),
        folder=str(tmp_path),
    )
    groups = groups_of(scenario)
    assert [(g.name, g.location, g.type, g.count) for g in groups] == [
        ("site1", "site1", "cli", 4),
        ("cern.ch", "cern.ch", "cli", 2),
    ]


def test_the_published_schema_is_current() -> None:
    from colonysim.cli.run import schema_text

    assert (ROOT / "docs" / "scenario.schema.json").read_text() == schema_text(), (
        "write it anew: colonysim validate --schema > docs/scenario.schema.json"
    )


def _fields(part: Any, where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Each field of the schema, however deep, with its place."""
    if isinstance(part, dict):
        for name, of in part.get("properties", {}).items():
            yield f"{where}.{name}", of
        for name, inner in part.items():
            yield from _fields(inner, f"{where}.{name}")
    elif isinstance(part, list):
        for place, inner in enumerate(part):
            yield from _fields(inner, f"{where}.{place}")


def test_the_schema_describes_each_field_in_sentences() -> None:
    fields = dict(_fields(Scenario.schema()["$defs"]))
    assert len(fields) > 300
    assert [where for where, of in fields.items() if not of.get("description", "").endswith(".")] == []


def test_the_schema_describes_the_settings_of_the_server_but_the_seed() -> None:
    described = Scenario.schema()["$defs"]["Scenario"]["properties"]["settings"]["properties"]
    assert set(described) == set(Settings.__struct_fields__) - {"seed"}
    assert "IANA time zone" in described["timezone"]["description"]


def test_each_description_belongs_to_a_field_of_its_class() -> None:
    described = {of.get("description") for _, of in _fields(Scenario.schema()["$defs"])}
    meanings = yaml.safe_load((ROOT / "colonysim" / "scenarios" / "fields.yaml").read_text(encoding="utf-8"))
    unused = [
        (name, field) for name, fields in meanings.items() for field, text in fields.items() if text not in described
    ]
    assert unused == []


def test_a_field_is_described_by_the_nearest_class_and_else_by_its_base() -> None:
    kinds = Scenario.schema()["$defs"]
    assert kinds["ExecutorGroup"]["properties"]["hangs"] == kinds["Behaviour"]["properties"]["hangs"]
    assert kinds["Crash"]["properties"]["enabled"]["description"] == "Whether it is on."
    assert kinds["Crash"]["properties"]["restart_after_s"] != kinds["Terminate"]["properties"]["restart_after_s"]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_scenarios_are_good_and_say_what_they_teach(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith("# ")
    assert len(first) > 30
    assert Scenario.load(path).about
