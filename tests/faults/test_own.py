"""Faults of a user's own, one class each, work wherever those of colonysim do."""

from __future__ import annotations

import importlib
import inspect
import pickle
import re
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import pytest
import requests
from msgspec import Meta
from msgspec.structs import replace
from typer.testing import CliRunner

from colonysim import ColonyClient, Lost, Simulation, WebServer
from colonysim.cli.main import app
from colonysim.experiments import Processes, explore, shrink
from colonysim.extensions import BadCode
from colonysim.faults import (
    PASS,
    ActorFault,
    BadFault,
    BadVerdict,
    Corrupt,
    CutOff,
    Effect,
    Fault,
    GoDown,
    Hit,
    HoldBack,
    Late,
    LoseReply,
    Match,
    MessageFault,
    Plan,
    Refuse,
    Repeat,
    ReplyInfo,
    ReplyVerdict,
    RequestInfo,
    RequestVerdict,
    ServerFault,
    Span,
    Times,
    Victim,
    When,
    read_faults,
)
from colonysim.scenarios import Probe, Scenario, as_text, run
from colonysim.scenarios.validation import check
from tests.faults.common import ONCE, SUBMITS, submit


class CutShort(MessageFault):
    """The reply ends after `length` characters, or fewer."""

    length: Annotated[int, Meta(ge=0, le=100)] = 5

    def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
        return Corrupt('{"payloadtype":"'[: hit.random.randrange(self.length + 1)]) if reply.status == 200 else PASS

    def changes_nothing(self, known: Any) -> str:
        return "length is 100" if self.length == 100 else ""


class Stall(ActorFault):
    """The actor stands still for `for_s` seconds; what it does meanwhile takes `factor` times as long afterwards."""

    for_s: Span
    factor: float = 3.0

    def begin(self, actor: Victim, effect: Effect) -> None:
        actor.pause(effect.until_ns)

    def end(self, actor: Victim, others: Sequence[Effect]) -> None:
        actor.resume()

    def slowness(self, effect: Effect) -> float:
        return self.factor


HERE = "tests.faults.test_own"
SCENARIO = """
version: 1
executors:
  - {name: e, type: a, count: 2, service: 5}
workload:
  - {name: w, arrivals: {kind: poisson, per_hour: 600}, mix: [{executortype: a}]}
phases: {storm_s: 300, calm_s: 600}
faults:
  - kind: CUT
    match: {types: closesuccessfulmsg}
    when: {probability: 0.2}
  - {kind: STALL, times: {mean_every_s: 60}, for_s: [5, 20]}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the faults in a file beside a scenario."""
    head = inspect.getsource(sys.modules[__name__]).partition("HERE =")[0]
    (tmp_path / "mine.py").write_text(head)
    (tmp_path / "own.yaml").write_text(SCENARIO.replace("CUT", "mine.py:CutShort").replace("STALL", "mine.py:Stall"))
    return tmp_path


# ---------------------------------------------------------------- where faults can be given
def test_a_message_fault_from_python_strikes(sim: Simulation, colony: ColonyClient) -> None:
    (fault,) = sim.faults.add(CutShort(match=SUBMITS, when=ONCE))
    with pytest.raises(Lost):
        submit(colony)
    assert len(colony.processes()) == 1
    assert (fault.name, sim.faults.counts, sim.calls[-2].verdict) == ("CutShort", {"CutShort": 1}, "CutShort")


def test_an_actor_fault_from_python_strikes_and_is_undone(sim: Simulation) -> None:
    woken: list[float] = []

    def sleeper() -> None:
        for _ in range(4):
            time.sleep(10)
            woken.append(sim.now_ns / 1e9 - start_s)

    start_s = sim.now_ns / 1e9
    sim.faults.add(Stall(times=Times(at_s=5), for_s=100, factor=2))
    sim.program(sleeper, name="p")
    sim.run(for_s=110)
    assert woken == [105]
    sim.faults.clear()
    sim.run(for_s=60)
    assert woken == [105, 115, 125, 135]


def test_an_actor_fault_ends_when_it_is_removed(sim: Simulation) -> None:
    woken: list[float] = []

    def sleeper() -> None:
        time.sleep(10)
        woken.append(sim.now_ns / 1e9 - start_s)

    start_s = sim.now_ns / 1e9
    sim.faults.add(Stall(times=Times(at_s=5), for_s=100))
    sim.program(sleeper, name="p")
    sim.run(for_s=20)
    sim.faults.remove("Stall")
    sim.run(for_s=20)
    assert woken == [20]


@pytest.mark.parametrize("colon", ["module", "file"])
def test_a_scenario_file_names_the_class(folder: Path, colon: str) -> None:
    path = folder / "own.yaml"
    if colon == "module":
        path.write_text(SCENARIO.replace("CUT", f"{HERE}:CutShort").replace("STALL", f"{HERE}:Stall"))
    scenario = Scenario.load(path)
    first, second = run(scenario), run(scenario)
    assert [fault.count > 3 for fault in first.faults] == [True, True]
    assert first.digest == second.digest != run(replace(scenario, faults=())).digest


def test_the_same_scenario_is_the_same_from_a_file_and_from_python(folder: Path) -> None:
    from_file = Scenario.load(folder / "own.yaml")
    faults = (
        CutShort(match=Match(types="closesuccessfulmsg"), when=When(probability=0.2)),
        Stall(times=Times(mean_every_s=60), for_s=(5, 20)),
    )
    assert run(replace(from_file, faults=faults)).digest == run(from_file).digest


def test_the_control_api_takes_and_lists_them() -> None:
    sim = Simulation()
    with WebServer(sim) as server:
        body = [
            {"kind": f"{HERE}:CutShort", "length": 3, "name": "short"},
            {"kind": f"{HERE}:Stall", "times": {"at_s": 5}, "for_s": 1},
        ]
        reply = requests.post(f"{server.url}/colonysim/faults", json=body, timeout=20)
        assert (reply.status_code, [one["kind"] for one in reply.json()]) == (
            200,
            [f"{HERE}:CutShort", f"{HERE}:Stall"],
        )
        assert sim.faults.all[0] == CutShort(length=3, name="short")
        assert requests.get(f"{server.url}/colonysim/faults", timeout=20).json()[0]["length"] == 3


@pytest.mark.parametrize("kind", ["os.path:join", "antigravity:X", "FOLDER/mine.py:CutShort"])
@pytest.mark.parametrize("plan", [False, True])
def test_the_control_api_loads_no_code(folder: Path, kind: str, plan: bool) -> None:
    sim = Simulation()
    fault = {"kind": kind.replace("FOLDER", str(folder))}
    with WebServer(sim) as server:
        body = {"faults": [fault]} if plan else fault
        reply = requests.post(f"{server.url}/colonysim/faults", json=body, timeout=20)
    assert reply.status_code == 400
    assert "is a function, not a subclass of Fault" in reply.text or "code is never loaded over HTTP" in reply.text
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("plan", [False, True])
def test_the_control_api_reads_no_files(folder: Path, plan: bool) -> None:
    """Errors of values in a file name what stands in it."""
    (folder / "secret").write_text("password\n")
    span = {"kind": "mixed", "parts": [{"weight": 1, "span": {"kind": "empirical", "file": str(folder / "secret")}}]}
    fault = {"kind": "pause", "times": {"at_s": 1}, "for_s": span}
    sim = Simulation()
    with WebServer(sim) as server:
        body = {"faults": [fault]} if plan else [fault]
        reply = requests.post(f"{server.url}/colonysim/faults", json=body, timeout=20)
    assert reply.status_code == 400
    assert "files of values are never read over HTTP" in reply.text
    assert "password" not in reply.text


def test_validate_finds_nothing_wrong_and_warns_of_what_changes_nothing(folder: Path) -> None:
    scenario = Scenario.load(folder / "own.yaml")
    assert check(scenario) == ([], [])
    idle = Scenario.load(folder / "own.yaml", ("faults.0.length=100", "faults.1.actors=[nobody]"))
    _, found = check(idle)
    assert [warning.text for warning in found] == [
        "fault 'CutShort' has no effect: it changes nothing, for length is 100",
        "fault 'Stall' can never strike: no executor or program is called 'nobody'; the names are e-1, e-2",
    ]


def test_exploring_takes_them_to_other_processes(folder: Path) -> None:
    scenario = Scenario.load(folder / "own.yaml")
    pool = Processes(1)
    try:
        outcomes = list(explore(scenario, range(2), pool))
    finally:
        pool.close(at_once=True)
    assert [outcome.digest for outcome in outcomes] == [run(scenario, seed).digest for seed in range(2)]
    assert [set(outcome.faults) for outcome in outcomes] == [{"CutShort", "Stall"}] * 2


def test_shrinking_keeps_the_strike_that_is_needed(folder: Path) -> None:
    scenario = Scenario.load(folder / "own.yaml")
    short = Probe(name="short", that="queue_depth <= 2", at="continuous")
    small = shrink(replace(scenario, checks=(short,)), seed=2).scenario
    (fault,) = small.faults
    assert type(fault).__name__ == "Stall"
    assert isinstance(fault, ActorFault)
    assert fault.times is not None
    assert len(fault.times.at_s) == 1  # type: ignore[arg-type]
    assert isinstance(fault.for_s, (int, float))  # type: ignore[attr-defined]
    written = folder / "sub" / "small.yaml"
    written.parent.mkdir()
    written.write_text(as_text(small, written.parent))
    assert "kind: ../mine.py:Stall" in written.read_text()
    assert run(Scenario.load(written)).failures == run(small).failures


def test_a_class_within_a_function_can_be_shrunk_in_its_own_process() -> None:
    class Local(MessageFault):
        def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
            return HoldBack(9, 30 * 10**9)

    scenario = Scenario.read(SCENARIO.partition("faults:")[0])
    faults = (Local(match=Match(types="close*"), when=When(every=3)),)
    short = Probe(name="short", that="queue_depth <= 3", at="continuous")
    small = shrink(replace(scenario, faults=faults, checks=(short,)), seed=1)
    assert small.after.processes < small.before.processes
    assert [type(fault) for fault in small.scenario.faults] == [Local]


# ---------------------------------------------------------------- names of classes
def test_an_installed_package_offers_faults_as_entry_points(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "offers-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: offers\nVersion: 1\n")
    offers = f"[colonysim.faults]\ncut_short = {HERE}:CutShort\nwrong = os.path:join\n"
    (info / "entry_points.txt").write_text(offers)
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert read_faults({"kind": "cut_short", "length": 2}) == (CutShort(length=2),)
    with pytest.raises(BadFault, match=r"'wrong', an entry point of colonysim.faults, is a function, not a subclass"):
        read_faults({"kind": "wrong"})


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("mine.py:CutSort", "no subclass of Fault is named 'CutSort'; the module defines CutShort, Stall"),
        ("mine.py:Match", "'Match' is a class, not a subclass of Fault"),
        ("mine.py:MessageFault", "'MessageFault' is a class, not a subclass of Fault"),
        ("gone.py:X", "gone.py cannot be read: No such file or directory"),
        ("broken.py:X", r"broken.py:1: SyntaxError"),
        ("raises.py:X", r"raises.py cannot be loaded: ZeroDivisionError.*line 2"),
        ("typed.py:X", r"typed.py:X: the type of a field cannot be used: name 'Span' is not defined; annotate"),
        ("odd.py:X", r"odd.py:X: the type of a field cannot be used: "),
        ("no.such.module:X", "'no.such.module' cannot be imported"),
        ("mine.py:1", "'.*' does not name code; write file.py:"),
        ("cut_short", "there is no kind `cut_short` here; the kinds are lose_request"),
    ],
)
def test_a_name_that_is_none_of_a_fault_is_refused_with_its_place(folder: Path, kind: str, text: str) -> None:
    (folder / "broken.py").write_text("def\n")
    (folder / "raises.py").write_text("# a comment\n1 / 0\n")
    head = "from __future__ import annotations\nfrom colonysim.faults import MessageFault\n"
    (folder / "typed.py").write_text(f"{head}class X(MessageFault):\n    by_s: Span\n")
    (folder / "odd.py").write_text(f"{head}class X(MessageFault):\n    by: dict[int, int] | dict[str, int] = {{}}\n")
    path = folder / "own.yaml"
    path.write_text(SCENARIO.replace("CUT", kind).replace("STALL", "mine.py:Stall"))
    with pytest.raises(ValueError, match=rf"(?s)own.yaml:9: faults.0.*{text}"):
        Scenario.load(path)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("length: 101", "own.yaml:10: faults.0.length: invalid length=101: must be at most 100"),
        ("length: x", "own.yaml:10: faults.0.length: invalid length='x': expected int, got str"),
        ("lenght: 5", "own.yaml:10: faults.0: there is no `lenght` here; did you mean `length`?"),
    ],
)
def test_their_fields_are_validated_as_those_of_others(folder: Path, field: str, text: str) -> None:
    path = folder / "own.yaml"
    path.write_text(path.read_text().replace("mine.py:CutShort", f"mine.py:CutShort\n    {field}"))
    with pytest.raises(ValueError, match=f"(?s){text}"):
        Scenario.load(path)


def test_a_file_is_loaded_anew_once_it_has_been_written_to(folder: Path) -> None:
    path = folder / "mine.py"
    kind = f"{path}:CutShort"
    (before,) = read_faults({"kind": kind})
    assert read_faults({"kind": kind}) == (before,)
    path.write_text(path.read_text().replace("] = 5", "] = 6"))
    (after,) = read_faults({"kind": kind})
    assert [one.length for one in (before, after)] == [5, 6]  # type: ignore[attr-defined]


def test_a_fault_from_a_file_can_be_pickled(folder: Path) -> None:
    (fault,) = read_faults({"kind": f"{folder / 'mine.py'}:Stall", "times": {"at_s": 1}, "for_s": [1, 2]})
    assert pickle.loads(pickle.dumps(fault)) == fault


# ---------------------------------------------------------------- verdicts
def _fault(on_request: Callable[[], Any], on_reply: Callable[[], Any] = lambda: PASS) -> MessageFault:
    class Given(MessageFault):
        def on_request(self, request: RequestInfo, hit: Hit) -> RequestVerdict:
            return on_request()  # type: ignore[no-any-return]

        def on_reply(self, reply: ReplyInfo, hit: Hit) -> ReplyVerdict:
            return on_reply()  # type: ignore[no-any-return]

    return Given(name="mine", match=SUBMITS)


@pytest.mark.parametrize("verdict", [None, True, "lose", CutOff(1), Corrupt("x")])
def test_what_cannot_be_done_with_a_request_is_an_error(sim: Simulation, colony: ColonyClient, verdict: Any) -> None:
    sim.faults.add(_fault(lambda: verdict))
    with pytest.raises(BadVerdict, match=r"fault 'mine': Given.on_request returned .*; return Pass, Lose, .* or Break"):
        submit(colony)
    sim.kernel.problems.clear()


@pytest.mark.parametrize("verdict", [None, HoldBack(1, 1), GoDown(1)])
def test_what_cannot_be_done_with_a_reply_is_an_error(sim: Simulation, colony: ColonyClient, verdict: Any) -> None:
    sim.faults.add(_fault(lambda: PASS, lambda: verdict))
    with pytest.raises(BadVerdict, match=r"fault 'mine': Given.on_reply returned .*; return Pass, .* or Corrupt"):
        submit(colony)
    sim.kernel.problems.clear()


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        (lambda: Late(1.5), "invalid by_ns=1.5: expected a whole number, at least 0"),
        (lambda: Late(True), "invalid by_ns=True"),
        (lambda: Late(-1), "invalid by_ns=-1"),
        (lambda: Repeat("2"), "invalid copies='2'"),
        (lambda: Refuse(200, "x"), "invalid status=200: errors have a status of 400 to 599"),
        (lambda: Refuse(500, None), "invalid text=None: expected a text"),
    ],
)
def test_a_verdict_is_validated_when_it_is_made(
    sim: Simulation, colony: ColonyClient, verdict: Callable[[], Any], text: str
) -> None:
    sim.faults.add(_fault(verdict))
    with pytest.raises(BadCode, match=f"fault 'mine': Given.on_request raises ValueError: {text}"):
        submit(colony)
    sim.kernel.problems.clear()


class NoFamily(Fault):
    """A fault that nothing would ask."""


class NoMethod(ActorFault):
    """A fault that nothing would ask either."""

    for_s: Span = 1.0


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (NoFamily(), "NoFamily belongs to no family: derive it from MessageFault, ActorFault or ServerFault"),
        (NoMethod(times=Times(at_s=1)), "NoMethod does nothing: override begin or slowness or skew_ns"),
        (MessageFault(), "MessageFault does nothing: override on_request or on_reply"),
        (ServerFault(times=Times(at_s=1)), "ServerFault does nothing: override strike"),
    ],
)
def test_a_class_that_could_do_nothing_is_refused(sim: Simulation, fault: Fault, text: str) -> None:
    with pytest.raises(BadFault, match=text):
        sim.faults.add(fault)
    with pytest.raises(BadFault, match=text):
        Plan(faults=(fault,), until_s=5)


def test_a_fault_of_the_server_decides_each_time_anew(sim: Simulation, colony: ColonyClient) -> None:
    class Flaky(ServerFault):
        def strike(self, hit: Hit) -> Any:
            return GoDown(2 * 10**9) if hit.random.random() < 0.5 else CutOff(4 * 10**9)

    sim.faults.add(Flaky(times=Times(every_s=10, count=8)))
    reached = []
    sim.advance(13)
    for _ in range(8):
        before_ns = sim.now_ns
        try:
            colony.processes()
            reached.append(True)
        except Lost:
            reached.append(False)
        assert sim.now_ns == before_ns
        sim.advance(10)
    assert set(reached) == {True, False}  # two seconds after it struck the server is back, and partitions are not over


def test_a_fault_says_itself_what_it_is_about(sim: Simulation, colony: ColonyClient) -> None:
    class Urgent(LoseReply):
        def concerns(self, request: RequestInfo) -> bool:
            return super().concerns(request) and request.message.spec.priority > 0  # type: ignore[union-attr]

    sim.faults.add(Urgent(match=SUBMITS))
    submit(colony)
    with pytest.raises(Lost):
        submit(colony, priority=1)
    assert sim.faults.counts == {"Urgent": 1}


def test_a_plan_has_faults_of_both_sorts(sim: Simulation) -> None:
    plan = Plan(faults=({"kind": f"{HERE}:CutShort"}, LoseReply()), until_s=10)  # type: ignore[arg-type]
    assert [type(fault) for fault in sim.faults.add(plan)] == [CutShort, LoseReply]


RAISES = """
from colonysim.faults import ActorFault, LoseReply, MessageFault, ServerFault, Span


class OnReply(MessageFault):
    def on_reply(self, reply, hit):
        return 1 / 0


class Concerns(LoseReply):
    def concerns(self, request):
        return request.message.no_such_field


class Begin(ActorFault):
    for_s: Span = 1.0

    def begin(self, actor, effect):
        actor.no_such_method()


class Strike(ServerFault):
    def strike(self, hit):
        raise KeyError("x")


class Warns(LoseReply):
    def changes_nothing(self, known):
        return known["nothing"]
"""


@pytest.mark.parametrize(
    ("kind", "more", "text"),
    [
        ("OnReply", "", r"fault 'OnReply': OnReply.on_reply raises ZeroDivisionError: .*\(raises.py, line 7\)"),
        ("Concerns", "", r"fault 'Concerns': Concerns.concerns raises AttributeError: .*\(raises.py, line 12\)"),
        ("Begin", "times: {at_s: 5}", r"fault 'Begin': Begin.begin raises AttributeError: .*\(raises.py, line 19\)"),
        ("Strike", "times: {at_s: 5}", r"fault 'Strike': Strike.strike raises KeyError: 'x' \(raises.py, line 24\)"),
        ("Warns", "", r"fault 'Warns': Warns.never_strikes or changes_nothing raises TypeError: .*line 29\)"),
    ],
)
def test_what_goes_wrong_in_a_fault_is_told_with_its_file_and_line(
    tmp_path: Path, kind: str, more: str, text: str
) -> None:
    (tmp_path / "raises.py").write_text(RAISES)
    scenario = SCENARIO.partition("  - kind: CUT")[0] + f"  - {{kind: 'raises.py:{kind}', {more}}}\n"
    (tmp_path / "s.yaml").write_text(scenario)
    ended = CliRunner().invoke(app, ["run", str(tmp_path / "s.yaml")])
    assert ended.exit_code == 2, ended.output
    assert re.search(text, " ".join(ended.output.split())), ended.output
