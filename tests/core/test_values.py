"""Values check themselves: the same limits and the same texts in Python and in plain data, for every struct."""

from __future__ import annotations

import importlib
import pickle
from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import NODEFAULT, Meta
from msgspec.structs import fields

from colonysim.core.values import BadValue, Value, field_types, read_value
from colonysim.faults import Crash, Delay, Hazard, LoseReply, Match, Pause, Plan, Restart, Times, When
from colonysim.kernel.randomness import AnySpan
from colonysim.scenarios import (
    At,
    Bursts,
    Constant,
    CronPlan,
    Each,
    Empirical,
    Every,
    ExecutorGroup,
    Lognormal,
    MapReduce,
    Mixed,
    OfProcess,
    Phases,
    Poisson,
    Probe,
    ProgramGroup,
    Scenario,
    Submission,
    Trace,
    Uniform,
    Workload,
    run,
)

for name in ("core.settings", "http.limits", "faults.plan", "scenarios.scenario"):
    importlib.import_module(f"colonysim.{name}")

NEEDED: dict[str, dict[str, Any]] = {
    "Bursts": {"size": 2, "every_s": 5.0},
    "Crash": {"times": {"at_s": 1}},
    "Terminate": {"times": {"at_s": 1}},
    "Pause": {"times": {"at_s": 1}, "for_s": 1},
    "SlowDown": {"times": {"at_s": 1}, "for_s": 1, "factor": 2},
    "ClockSkew": {"times": {"at_s": 1}, "for_s": 1},
    "Restart": {"times": {"at_s": 1}},
    "Partition": {"times": {"at_s": 1}, "for_s": 1},
    "Times": {"at_s": 1},
    "After": {"type": "closesuccessfulmsg"},
    "Workload": {"name": "w", "arrivals": {"kind": "once"}},
    "CronPlan": {"name": "c", "submit": {}, "every_s": 5},
    "Probe": {"that": "queue_depth < 5"},
    "Eventually": {"that": "queue_depth < 5", "within_s": 5},
    "LeadsTo": {"when": "queue_depth > 5", "then": "queue_depth < 5", "within_s": 5},
    "ProgramGroup": {"name": "p", "code": "x.py:main"},
    "Mixed": {"parts": [{"weight": 1, "span": 1}]},
    "Uniform": {"low_s": 1, "high_s": 2},
    "Pareto": {"low_s": 1, "high_s": 2, "alpha": 1},
    "Weibull": {"shape": 1, "mean_s": 1},
    "Gamma": {"mean_s": 1, "shape": 1},
    "Hyperexponential": {"mean_s": 1, "scv": 2},
    "Empirical": {"values_s": [1]},
    "Mmpp": {"states": [{"per_hour": 1, "mean_s": 1}] * 2},
    "Capacity": {"cpu": 1},
    "Hazard": {"hazard": "lost_signal"},
    "Sites": {"workload": "w", "total": 1, "like": {"name": "x"}},
}
"""Fields without which a struct makes no sense, where the limits of fields alone do not say so."""


def structs() -> Iterator[Any]:
    """All structs of the package that check themselves, but for bases that are never made."""
    todo: list[Any] = Value.__subclasses__()
    for one in todo:
        todo += one.__subclasses__()
        base = one.__struct_config__.tag == one.__name__  # what msgspec calls a class that has no tag of its own
        if one.__module__.startswith("colonysim.") and not base:
            yield one


STRUCTS = sorted(structs(), key=lambda one: one.__name__)


def sample(hint: Any) -> Any:
    """Something that a field of this type takes."""
    bare = get_args(hint)[0] if get_origin(hint) is Annotated else hint
    first = next(iter(get_args(bare)), bare) if get_origin(bare) not in (tuple, list, dict, Literal) else bare
    if first is not bare:
        return sample(first)
    if get_origin(bare) is tuple:
        return [sample(get_args(bare)[0])]
    metas = [meta for meta in get_args(hint)[1:] if isinstance(meta, Meta)] if get_origin(hint) is Annotated else []
    least = max([meta.ge or (meta.gt or 0) + 1 for meta in metas], default=1)
    return {int: least, float: float(least), str: "x", bool: True}.get(bare, {})


def wrong_values(hint: Any) -> Iterator[Any]:
    """Values that a field of this type refuses, from its limits."""
    if get_origin(hint) is Annotated:
        bare, *metas = get_args(hint)
        for meta in metas:
            if not isinstance(meta, Meta):
                continue
            yield from [] if meta.ge is None else [meta.ge - 1]
            yield from [] if meta.gt is None else [meta.gt, meta.gt - 1]
            yield from [] if meta.le is None else [meta.le * 2 + 1]
            yield from [] if meta.lt is None else [meta.lt]
            yield from [[]] if meta.min_length and get_origin(bare) is tuple else []
        yield from wrong_values(bare)
    elif get_origin(hint) is Literal:
        yield "surely none of these"
    elif hint in (int, float):
        yield from (float("nan"), float("inf"), 2**70, True, "ten", {1, 2})
    elif hint is bool:
        yield from (1, "yes")
    elif hint is str:
        yield from (5, "a\0b")
    elif get_origin(hint) is not None and get_origin(hint) not in (tuple, list, dict):
        members = [one for one in get_args(hint) if one is not type(None)]
        if len(members) == 1 or hint == get_args(AnySpan)[0]:
            yield from wrong_values(members[0])


def wrong_fields() -> list[Any]:
    found = []
    for kind in STRUCTS:
        hints = field_types(kind)
        for field in fields(kind):
            wrong = list(wrong_values(hints[field.name]))
            found += [pytest.param(kind, field.name, wrong, id=f"{kind.__name__}.{field.name}")] if wrong else []
    return found


def data_for(kind: Any) -> dict[str, Any]:
    hints, needed = field_types(kind), NEEDED.get(kind.__name__, {})
    required = [field.name for field in fields(kind) if field.default is NODEFAULT]
    required = [
        name for name in required if next(f for f in fields(kind) if f.name == name).default_factory is NODEFAULT
    ]
    return {name: sample(hints[name]) for name in required} | needed


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_the_samples_below_are_good(kind: Any) -> None:
    assert isinstance(read_value(kind, tagged(kind, data_for(kind))), kind)


def tagged(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    config = kind.__struct_config__
    return data if config.tag is None else {config.tag_field: config.tag, **data}


@pytest.mark.parametrize(("kind", "name", "wrong"), wrong_fields())
@given(data=st.data())
def test_a_value_outside_its_limits_is_refused_in_python_and_in_data_with_one_text(
    kind: Any, name: str, wrong: list[Any], data: st.DataObject
) -> None:
    given_value = data.draw(st.sampled_from(wrong))
    told = []
    for make in (lambda fields: kind(**fields), lambda fields: read_value(kind, tagged(kind, fields))):
        with pytest.raises(BadValue) as refused:
            make(data_for(kind) | {name: given_value})
        told.append(str(refused.value))
    assert told[0] == told[1]
    assert told[0].startswith((f"invalid {name}=", f"invalid {name}["))


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Poisson(-100), "invalid per_hour=-100: must be greater than 0"),
        (lambda: ExecutorGroup(name="x", count=-5), "invalid count=-5: must be at least 1"),
        (lambda: ExecutorGroup(name="x", success=7.0), "invalid success=7.0: must be at most 1; write 0.05 for 5 %"),
        (lambda: ExecutorGroup(name="x", service=-5.0), "invalid service=-5.0: must be at least 0; give seconds"),
        (lambda: ExecutorGroup(name="x", service="slow"), "invalid service='slow': expected float"),  # type: ignore[arg-type]
        (lambda: ExecutorGroup(name="x", service=(2, 1)), "the least comes before the most"),
        (lambda: ExecutorGroup(name="x", functions={"f": {"hangs": 2}}), "functions.f: invalid hangs=2: must be at most"),  # type: ignore[dict-item]
        (lambda: Phases(calm_s=-1), "invalid calm_s=-1: must be greater than 0"),
        (lambda: At((3, -1)), "invalid times_s[1]=-1: must be at least 0"),
        (lambda: At(()), "invalid times_s=(): must have at least 1 entry"),
        (lambda: Uniform(5, 4), "invalid high_s=4.0: must be at least low_s=5"),
        (lambda: Bursts(3, 5, 6), "invalid spread_s=6.0: must be at most every_s=5"),
        (lambda: Empirical(()), "an empirical distribution needs either `values_s`, at least one, or a `file`"),
        (lambda: Mixed(()), "invalid parts=[]: must have at least 1 entry"),
        (lambda: Lognormal(0), "invalid median_s=0: must be greater than 0"),
        (lambda: MapReduce(10_000, 10_000), "invalid reductions=10000: 10,000 maps"),
        (lambda: Workload(name="w", arrivals=Every(5), mix=()), "invalid mix=[]: must have at least 1 entry"),
        (lambda: Workload(name="w"), "workload 'w' needs either arrivals or a trace"),
        (lambda: Workload(name="w", arrivals=Every(5), from_s=5, until_s=4), "invalid until_s=4.0: must be at least from_s=5"),
        (lambda: Workload(name="w", arrivals=5), "invalid arrivals=5: expected"),  # type: ignore[arg-type]
        (lambda: Workload(name="w", arrivals=Constant(5)), "invalid arrivals=Constant(value_s=5.0): expected"),  # type: ignore[arg-type]
        (lambda: Trace(file="x.swf", sites="all"), "invalid sites='all': must be location or type or data or ignore"),  # type: ignore[arg-type]
        (lambda: CronPlan(name="c", submit=Submission()), "cron 'c' needs either an expression or every_s"),
        (lambda: CronPlan(name="c", submit=Submission(), expression="* *"), "invalid expression='* *': "),
        (lambda: ProgramGroup(name="p", code="x.py"), "invalid code='x.py': "),
        (lambda: ProgramGroup(name="p", code="x.py:f", registered=True), "invalid executor_type=''"),
        (lambda: Submission(args=[float("nan")]), "invalid args[0]=nan: must be a finite number"),
        (lambda: Submission(kwargs={"a": [object()]}), "invalid kwargs.a[0]=<object"),
        (lambda: Probe(that="queue_dept < 3"), "there is no 'queue_dept' to compare here"),
        (lambda: Each(within_s=-1), "invalid within_s=-1: must be at least 0"),
        (lambda: When(from_s=5, until_s=5), "invalid until_s=5.0: must be later than from_s=5"),
        (lambda: When(nth=2, first=3), "invalid nth=2: nth cannot be combined with first or every"),
        (lambda: Times(at_s=-1), "invalid at_s=-1: must be at least 0"),
        (lambda: Match(types={"a"}), "must be a list: a set has no order"),  # type: ignore[arg-type]
        (lambda: Hazard(hazard="fire"), "invalid hazard='fire': must be lossy_wakeup or"),  # type: ignore[arg-type]
        (lambda: Crash(), "either `when`"),
        (lambda: Plan(faults=(5,)), "expected a Fault"),  # type: ignore[arg-type]
        (lambda: Scenario(faults=(LoseReply(),)), "faults: faults end with the storm"),
        (lambda: Scenario(settings={"policy": "fast"}), "settings: invalid policy='fast': must be reference or"),
        (lambda: Scenario(executors=(ExecutorGroup(name="x"), ExecutorGroup(name="x"))), "executors.1: "),
    ],
)  # fmt: skip
def test_what_breaks_a_limit_in_python_is_refused_when_it_is_made(make: Any, text: str) -> None:
    with pytest.raises(BadValue) as refused:
        make()
    assert text in str(refused.value)
    assert str(pickle.loads(pickle.dumps(refused.value))) == str(refused.value)


@pytest.mark.parametrize("span", [5, 2.5, (1, 2), Uniform(1, 2), Lognormal(20, 0.5), Empirical((1, 2)), OfProcess()])
def test_faults_and_scenarios_take_the_same_spans(span: Any) -> None:
    faults = (
        Crash(times=Times(at_s=1), restart_after_s=span),
        Pause(times=Times(at_s=2), for_s=span),
        Restart(times=Times(at_s=3), down_s=span),
        Delay(by_s=span),
    )
    group = ExecutorGroup(name="x", service=span, rest=span, starts=span, functions={"f": {"service": span}})  # type: ignore[dict-item]
    scenario = Scenario(
        executors=(group,), faults=faults, phases=Phases(storm_s=60), workload=(Workload(name="w", arrivals=Every(5)),)
    )
    assert run(scenario).digest == run(scenario).digest


def test_a_restart_after_a_drawn_time_is_as_long_as_its_distribution_says() -> None:
    crash = Crash(times=Times(every_s=100), restart_after_s=Empirical((3, 7)))
    scenario = Scenario(
        executors=(ExecutorGroup(name="x"),),
        faults=(crash,),
        phases=Phases(storm_s=2000),
        workload=(Workload(name="w", arrivals=Every(5)),),
        journal=True,
    )
    from colonysim.scenarios import Run

    done = Run(scenario)
    lines: list[dict[str, Any]] = []
    done.sim.observers.on_fault = lambda now_ns, line: lines.append(line)
    done.execute()
    spans = [line["restart_after_ns"] for line in lines if "restart_after_ns" in line]
    assert len(spans) > 10
    assert set(spans) == {3_000_000_000, 7_000_000_000}
