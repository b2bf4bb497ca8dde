"""What Python code may put into messages: what a client could send, or an error that names the field."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import ColonyClient, Simulation, function_spec, replay
from colonysim.core.golang.civil import civil
from colonysim.core.golang.gotypes import GoShape, shapes_of
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.channels import ChannelAppend
from colonysim.core.operations.definitions import AddBlueprintDefinition
from colonysim.core.operations.executors import AddExecutor
from colonysim.core.operations.locations import AddLocation
from colonysim.core.operations.processes import GetProcesses, SubmitFuncSpec
from colonysim.core.protocol import Answer, Message
from colonysim.core.registry import BY_MESSAGE, OPERATIONS
from colonysim.core.types import (
    BlueprintDefinition,
    Conditions,
    DefinitionSpec,
    ExecutorSpec,
    FunctionSpec,
    Location,
    Schema,
    SchemaProperty,
    Timestamp,
)
from colonysim.wire.codec import decode_message
from colonysim.wire.vetting import Vetting


class _Level(enum.IntEnum):
    HIGH = 3


class _Word(str):
    pass


def _cycle() -> list[Any]:
    items: list[Any] = []
    items.append({"again": items})
    return items


def _nested(depth: int) -> list[Any]:
    items: list[Any] = []
    for _ in range(depth):
        items = [items]
    return items


@pytest.fixture
def sim() -> Simulation:
    return Simulation(mode="manual", journal=True)


def _state(sim: Simulation) -> tuple[bytes, str, int]:
    assert sim.journal is not None
    return sim.snapshot(), sim.journal.digest(), len(sim.calls)


# ---------------------------------------------------------------- the typed client
@pytest.mark.parametrize(
    ("fields", "kind", "text"),
    [
        ({"priority": 1.5}, TypeError, "submitfuncspecmsg: spec.priority must be a whole number (int), got 1.5 of type float"),
        ({"priority": True}, TypeError, "spec.priority must be a whole number (int), got True of type bool"),
        ({"priority": 2**63}, ValueError, "spec.priority must fit 64 bits"),
        ({"priority": 10**5000}, ValueError, "spec.priority must fit 64 bits"),
        ({"env": {"a": 1}}, TypeError, "spec.env['a'] must be a text (str), got 1 of type int"),
        ({"env": {1: "a"}}, TypeError, "spec.env (a key) must be a text (str), got 1 of type int"),
        ({"env": ["a"]}, TypeError, "spec.env must be a dict"),
        ({"executornames": "abc"}, TypeError, "spec.conditions.executornames must be a list, got 'abc' of type str"),
        ({"executornames": [None]}, TypeError, "spec.conditions.executornames[0] must be a text (str), got None"),
        ({"executornames": {"a"}}, TypeError, "spec.conditions.executornames must be a list"),
        ({"label": 5}, TypeError, "spec.label must be a text (str), got 5 of type int"),
        ({"label": None}, TypeError, "spec.label must be a text (str), got None"),
        ({"label": b"x"}, TypeError, "spec.label must be a text (str), got b'x' of type bytes"),
        ({"label": datetime(2026, 1, 1)}, TypeError, "spec.label must be a text (str)"),
        ({"label": "\ud800"}, ValueError, "spec.label must be Unicode text, got half of a surrogate pair at 0"),
        ({"label": ANY}, TypeError, "spec.label must be a text (str)"),
        ({"cpu": 1000}, TypeError, "spec.conditions.cpu must be a text (str)"),
        ({"gpu": "1"}, TypeError, "spec.conditions.gpu must be a Gpu, got '1' of type str"),
        ({"fs": {"mount": "/"}}, TypeError, "spec.fs must be a Filesystem"),
        ({"kwargs": {"a": {"b": math.nan}}}, ValueError, "spec.kwargs['a']['b'] must be a finite number, got nan"),
        ({"kwargs": {"a": {2: 3}}}, TypeError, "spec.kwargs['a'] (a key) must be a text (str), got 2"),
        ({"kwargs": _cycle()}, TypeError, "spec.kwargs must be a dict"),
    ],
)  # fmt: skip
def test_a_field_of_the_wrong_kind_is_named(
    sim: Simulation, colony: ColonyClient, fields: dict[str, Any], kind: type[Exception], text: str
) -> None:
    before = _state(sim)
    with pytest.raises(kind) as caught:
        colony.submit("f", **fields)
    assert text in str(caught.value)
    assert _state(sim) == before


@pytest.mark.parametrize(
    ("args", "kind", "text"),
    [
        (_cycle(), ValueError, "spec.args[0]['again'][0] must not contain itself"),
        (_nested(300), ValueError, "is nested deeper than the limit of 200 levels"),
        (_nested(100_000), ValueError, "is nested deeper than the limit of 200 levels"),
        ([math.inf], ValueError, "spec.args[0] must be a finite number, got inf"),
        ([10**309], ValueError, "spec.args[0] must be within the range of a double"),
        ([10**9999], ValueError, "spec.args[0] must be within the range of a double"),
        ([{1, 2}], TypeError, "spec.args[0] must be a JSON value"),
        ([b"x"], TypeError, "spec.args[0] must be a JSON value"),
        ([Decimal(1)], TypeError, "spec.args[0] must be a JSON value"),
        ([datetime(2026, 1, 1)], TypeError, "spec.args[0] must be a JSON value"),
        ([object], TypeError, "spec.args[0] must be a JSON value"),
        ([Conditions()], TypeError, "spec.args[0] must be a JSON value"),
        (["x", ["\udfff"]], ValueError, "spec.args[1][0] must be Unicode text"),
        ("abc", TypeError, "args must be a list, got 'abc' of type str"),
        ({"a": 1}, TypeError, "args must be a list"),
        (5, TypeError, "args must be a list, got 5 of type int"),
    ],
)  # fmt: skip
def test_arguments_that_are_no_json_are_named(
    sim: Simulation, colony: ColonyClient, args: Any, kind: type[Exception], text: str
) -> None:
    before = _state(sim)
    with pytest.raises(kind) as caught:
        colony.submit("f", args)
    assert text in str(caught.value)
    assert len(str(caught.value)) < 500
    assert _state(sim) == before


_WRONG_CALLS: list[tuple[str, Callable[[ColonyClient], object]]] = [
    ("executor_type", lambda colony: colony.add_executor(5)),  # type: ignore[arg-type]
    ("executor_type", lambda colony: colony.add_executor([])),  # type: ignore[arg-type]
    ("name", lambda colony: colony.add_executor("cli", b"x")),  # type: ignore[arg-type]
    ("locationname", lambda colony: colony.add_executor("cli", location=1)),  # type: ignore[arg-type]
    ("name", lambda colony: colony.add_user(3)),  # type: ignore[arg-type]
    ("name", lambda colony: colony.add_user("\ud800")),
    ("timeout", lambda colony: colony.add_executor().assign(1.5)),  # type: ignore[arg-type]
    ("availablecpu", lambda colony: colony.add_executor().assign(cpu=2)),  # type: ignore[arg-type]
    ("funcname", lambda colony: colony.submit(7)),  # type: ignore[arg-type]
    ("funcname", lambda colony: colony.add_executor().add_function(None)),  # type: ignore[arg-type]
    ("state", lambda colony: colony.processes("waiting")),  # type: ignore[arg-type]
    ("count", lambda colony: colony.processes(count=None)),  # type: ignore[arg-type]
    ("processid", lambda colony: colony.user.process(5).cancel()),  # type: ignore[arg-type]
    ("nodes", lambda colony: colony.submit_workflow(["a"])),  # type: ignore[arg-type]
    ("fields of node 'a'", lambda colony: colony.submit_workflow({"a": 5})),  # type: ignore[dict-item]
    ("after of node 'b'", lambda colony: colony.submit_workflow({"a": {}, "b": {"after": "a"}})),
    ("nodes", lambda colony: colony.submit_workflow({1: {}})),  # type: ignore[dict-item]
    ("spec", lambda colony: colony.user.submit_spec({"funcname": "f"})),  # type: ignore[arg-type]
    ("message", lambda colony: colony.ask("submit")),  # type: ignore[arg-type]
    ("name", lambda colony: ColonyClient.create(colony.sim, 5)),  # type: ignore[arg-type]
    ("caller_id", lambda colony: colony.sim.call(5, AssignProcess())),  # type: ignore[arg-type]
    ("caller_id", lambda colony: colony.sim.call(["x"], AssignProcess())),  # type: ignore[arg-type]
    ("caller_id", lambda colony: colony.sim.call("\ud800", AssignProcess())),
    ("timeout", lambda colony: colony.sim.begin("x", AssignProcess(timeout="1"))),  # type: ignore[arg-type]
    ("msgtype", lambda colony: colony.sim.call("x", AssignProcess(msgtype="closesuccessfulmsg"))),
]


@pytest.mark.parametrize(("field", "call"), _WRONG_CALLS)
def test_every_method_names_the_argument_that_is_wrong(
    colony: ColonyClient, field: str, call: Callable[[ColonyClient], object]
) -> None:
    with pytest.raises((TypeError, ValueError), match=field):
        call(colony)


def test_methods_of_a_process_name_the_argument_that_is_wrong(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor()
    colony.submit("f", channels=["c"])
    process = executor.assign()
    assert process is not None
    before = _state(sim)
    calls: list[tuple[str, Callable[[], object]]] = [
        ("errors", lambda: process.fail(["x"])),  # type: ignore[arg-type]
        ("out", lambda: process.close("abc")),
        ("out", lambda: process.close([math.nan])),
        ("out", lambda: process.set_output({1})),  # type: ignore[arg-type]
        ("message", lambda: process.log(b"x")),  # type: ignore[arg-type]
        ("key", lambda: process.add_attribute(1, "x")),  # type: ignore[arg-type]
        ("attributetype", lambda: process.add_attribute("a", "x", None)),  # type: ignore[arg-type]
        ("payload", lambda: process.say("c", "text")),  # type: ignore[arg-type]
        ("sequence", lambda: process.say("c", b"x", "1")),  # type: ignore[arg-type]
        ("afterseq", lambda: process.hear("c", 0.5)),  # type: ignore[arg-type]
        ("count", lambda: process.logs("all")),  # type: ignore[arg-type]
    ]
    for field, call in calls:
        with pytest.raises((TypeError, ValueError), match=field):
            call()
    assert _state(sim) == before
    process.close(["x"])


def test_what_json_has_a_form_for_is_taken_and_belongs_to_the_server(sim: Simulation, colony: ColonyClient) -> None:
    inner, env = [1, (2, 3)], {_Word("k"): _Word("v")}
    process = colony.submit("f", (inner, _Level.HIGH, 10**30, _Word("w")), env=env, priority=_Level.HIGH)
    inner.append(9)
    env[_Word("x")] = _Word("y")
    assert process.args == [[1, [2, 3]], 3, 1e30, "w"]
    assert (process.spec.env, process.spec.priority, type(process.spec.priority)) == ({"k": "v"}, 3, int)
    assert sim.journal is not None
    assert all(b"Level" not in line for line in sim.journal.lines)


def test_an_empty_list_given_by_the_caller_stays_his(colony: ColonyClient) -> None:
    names: list[str] = []
    process = colony.submit("f", executornames=names, kwargs={})
    names.append("changed")
    assert not process.spec.conditions.executornames


def test_bytes_like_payloads_are_copied(sim: Simulation, colony: ColonyClient) -> None:
    process = colony.submit("f", channels=["c"])
    payload = bytearray(b"abc")
    assert sim.call(
        colony.user.id,
        ChannelAppend(processid=process.id, name="c", sequence=1, payload=payload),  # type: ignore[arg-type]
    ).ok
    payload[:] = b"xyz"
    assert process.hear("c") == [b"abc"]


# ---------------------------------------------------------------- messages
@pytest.mark.parametrize(
    ("message", "text"),
    [
        (AddLocation(location=Location(name="l", long=math.nan)), "addlocationmsg: location.long must be a finite number"),
        (AddLocation(location=Location(name="l", lat="1")), "location.lat must be a number"),  # type: ignore[arg-type]
        (AddLocation(location=Conditions()), "location must be a Location"),  # type: ignore[arg-type]
        (AddExecutor(executor=ExecutorSpec(commissiontime=Timestamp("x"))), "executor.commissiontime must be a Timestamp"),  # type: ignore[arg-type]
        (AddExecutor(executor=ExecutorSpec(commissiontime=Timestamp(10**30))), "executor.commissiontime must be a Timestamp"),
        (AddExecutor(executor=ExecutorSpec(commissiontime=5)), "executor.commissiontime must be a Timestamp"),  # type: ignore[arg-type]
        (AddExecutor(executor=ExecutorSpec(requirefuncreg=1)), "executor.requirefuncreg must be True or False"),  # type: ignore[arg-type]
        (GetProcesses(colonyname=["c"]), "getprocessesmsg: colonyname must be a text (str)"),  # type: ignore[arg-type]
        (SubmitFuncSpec(spec=FunctionSpec(args={"a": 1})), "spec.args must be a list"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_a_message_with_a_wrong_field_is_refused_by_name(
    sim: Simulation, colony: ColonyClient, message: Message, text: str
) -> None:
    before = _state(sim)
    with pytest.raises((TypeError, ValueError)) as caught:
        sim.call(colony.user.id, message)
    assert text in str(caught.value)
    assert _state(sim) == before


def test_a_schema_that_contains_itself_is_refused(sim: Simulation, colony: ColonyClient) -> None:
    properties: dict[str, SchemaProperty] = {}
    properties["a"] = SchemaProperty(type="object", properties=properties)
    definition = BlueprintDefinition(spec=DefinitionSpec(schema=Schema(properties=properties)))
    with pytest.raises(ValueError, match="must not contain itself"):
        sim.call(colony.id, AddBlueprintDefinition(blueprintdefinition=definition))


def test_a_repeated_message_that_was_changed_in_between_is_looked_at_again(
    sim: Simulation, colony: ColonyClient
) -> None:
    names = ["a"]
    message = SubmitFuncSpec(spec=function_spec("c", "f", executornames=names))
    for _ in range(3):
        assert sim.call(colony.user.id, message).ok
    names.append(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"executornames\[1\]"):
        sim.call(colony.user.id, message)


def test_a_nul_is_refused_as_over_the_wire(sim: Simulation, colony: ColonyClient) -> None:
    answer = sim.call(colony.user.id, SubmitFuncSpec(spec=function_spec("c", "f", label="a\0b")))
    assert (answer.status, answer.body.message) == (400, 'pq: invalid byte sequence for encoding "UTF8": 0x00')


# ---------------------------------------------------------------- anything at all
_ODD: dict[str, Callable[[], Any]] = {
    "beyond 64 bits": lambda: 2**63,
    "below 64 bits": lambda: -(2**63) - 1,
    "within a double": lambda: 10**308,
    "beyond a double": lambda: 10**309,
    "too long to print": lambda: 10**5000,
    "half a pair": lambda: "\ud800",
    "nul": lambda: "\0",
    "enum": lambda: _Level.HIGH,
    "word": lambda: _Word("w"),
    "set": lambda: {1},
    "complex": lambda: 1j,
    "equal to all": lambda: ANY,
    "type": lambda: object,
    "date": lambda: datetime(2026, 1, 1),
    "decimal": lambda: Decimal(1),
    "time": lambda: Timestamp(1, 10**9),
    "struct": lambda: Conditions(),
    "deep": lambda: _nested(250),
    "itself": _cycle,
}
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.binary(max_size=3)
    | st.sampled_from(sorted(_ODD)).map(lambda name: _ODD[name]())
)
_ANYTHING = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner)
        | st.dictionaries(st.text(max_size=2) | st.integers(), inner, max_size=2)
    ),
    max_leaves=5,
)


def _likely(shape: GoShape) -> st.SearchStrategy[Any]:
    """Mostly of the right kind, at times anything."""
    right: dict[str, Callable[[], st.SearchStrategy[Any]]] = {
        "string": lambda: st.sampled_from(["", "c", "cli", "f", "user", "x"]),
        "int": lambda: st.sampled_from([0, -1, 1, 5, 2**31]),
        "bool": st.booleans,
        "float": lambda: st.sampled_from([0.0, 1.5, -0.0, 1e300]),
        "time": lambda: st.builds(Timestamp, st.integers(0, 10**18), st.sampled_from([0, 3600])),
        "bytes": lambda: st.binary(max_size=4),
        "any": lambda: _ANYTHING,
        "struct": lambda: _messages(shape.inner),
        "list": lambda: st.lists(_likely(shape.inner), max_size=2),
        "map": lambda: st.dictionaries(st.text(max_size=2), _likely(shape.inner), max_size=2),
    }
    made = st.deferred(right[shape.kind])
    return st.integers(0, 30).flatmap(lambda n: _ANYTHING if n == 0 else made)


def _messages(kind: Any) -> st.SearchStrategy[Any]:
    fields = {name: _likely(shape) for name, shape in shapes_of(kind).items() if name != "msgtype"}
    return st.fixed_dictionaries({}, optional=fields).map(lambda given: kind(**given))


_KINDS = [row.message for row in OPERATIONS.values() if not row.streamed and row.signed]
_CALLERS = st.sampled_from(["server", "owner", "user", "executor"])


def _wire_message(message: Message) -> Message:
    """The message as the front reads its JSON."""
    row = BY_MESSAGE[type(message)]
    plain = msgspec.to_builtins(message, enc_hook=lambda time: _rfc3339(time))
    plain["msgtype"] = row.name
    return decode_message(row, msgspec.json.encode(plain), "").message


def _rfc3339(time: Timestamp) -> str:
    sign, offset = "-" if time.offset_s < 0 else "+", abs(time.offset_s) // 60
    seconds, fraction_ns = divmod(time.ns, 10**9)
    year, month, day, hour, minute, second = civil(seconds + time.offset_s)
    date = f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{fraction_ns:09d}"
    return f"{date}{sign}{offset // 60:02d}:{offset % 60:02d}"


def _answered(answer: Answer) -> tuple[Any, ...]:
    return answer.status, answer.payload_type, repr(answer.body)


def _twins() -> tuple[Simulation, dict[str, str]]:
    sim = Simulation(mode="manual", journal=True)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("cli")
    colony.submit("f")
    return sim, {"server": sim.world.server_id, "owner": colony.id, "user": colony.user.id, "executor": executor.id}


@given(st.data())
def test_anything_is_either_refused_by_name_or_taken_as_over_the_wire(
    tmp_path_factory: Any, data: st.DataObject
) -> None:
    """Refused: nothing has changed. Taken: the journal replays, and the JSON of the message is answered alike."""
    sim, ids = _twins()
    other, _ = _twins()
    path: Path = tmp_path_factory.mktemp("vetting") / "run.jsonl"
    refusals: list[str] = []
    for _ in range(data.draw(st.integers(1, 4))):
        kind = data.draw(st.sampled_from(_KINDS))
        message = data.draw(_messages(kind))
        caller = ids[data.draw(_CALLERS)]
        before = _state(sim)
        try:
            pending = sim.begin(caller, message)
        except (TypeError, ValueError) as error:
            refusals.append(str(error))
            assert _state(sim) == before
            continue
        vetted, has_nul = Vetting(lambda size: None).read(caller, message)
        wired = _wire_message(vetted)
        assert msgspec.structs.replace(wired, msgtype="") == vetted
        twin = other.begin(caller, wired, has_nul=has_nul)
        assert (pending.answer is None) == (twin.answer is None)
        if pending.answer is not None and twin.answer is not None:
            assert _answered(pending.answer) == _answered(twin.answer)
    assert sim.journal is not None
    sim.journal.save(path)
    replayed = replay(path)
    assert (replayed.same, replayed.digest) == (True, sim.journal.digest())
    assert all("msg: " in text for text in refusals)
