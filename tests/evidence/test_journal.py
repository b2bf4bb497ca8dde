"""The journal holds all that went in, and a replay finds the first difference."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest

from colonysim import (
    AssignedProcess,
    BadJournal,
    ColonyClient,
    ExecutorClient,
    InvariantViolation,
    ProcessState,
    Refused,
    Simulation,
    function_spec,
    replay,
)
from colonysim.conformance import player
from colonysim.conformance.targets import InProcess
from colonysim.core import lifecycle, transitions
from colonysim.core.lifecycle import ASSIGN
from colonysim.core.operations.assignment import AssignProcess
from colonysim.core.operations.processes import SubmitFuncSpec
from colonysim.core.registry import BY_MESSAGE
from colonysim.core.types import FunctionSpec
from colonysim.core.world import World
from colonysim.faults import (
    AnswerWith,
    Crash,
    Delay,
    Disconnect,
    Duplicate,
    Fault,
    Hazard,
    LoseReply,
    LoseRequest,
    Malformed,
    Partition,
    Reorder,
    Restart,
)
from colonysim.faults.triggers import Times, When
from colonysim.kernel.calls import ENCODER
from colonysim.kernel.pending import Lost

CASES = sorted(player.CASES.rglob("*.json"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.jsonl"


def _busy(sim: Simulation) -> ColonyClient:
    """A history with a bit of everything."""
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    for number in range(12):
        colony.submit("f", [number], executortype="t", maxexectime=2, maxretries=1, priority=number % 3)
        if number % 2 and (assigned := executor.assign(timeout_s=5)):
            if number % 3:
                assigned.close([number])
        sim.advance(1)
    colony.submit_workflow({"x": {"executortype": "t"}, "y": {"executortype": "t", "after": ["x"]}})
    colony.processes()
    return colony


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().split(b"\n")


# ---------------------------------------------------------------- what stands in it
def test_a_stream_holds_what_memory_holds(path: Path) -> None:
    streaming, remembering = Simulation(journal=path), Simulation(journal=True)
    for sim in (streaming, remembering):
        _busy(sim)
    assert streaming.journal is not None
    assert remembering.journal is not None
    assert streaming.journal.digest() == remembering.journal.digest()
    assert streaming.journal.lines == remembering.journal.lines
    remembering.journal.save(path.with_suffix(".saved"))
    assert replay(path.with_suffix(".saved")).digest == streaming.journal.digest()


def test_looking_at_a_journal_does_not_change_it() -> None:
    one, other = Simulation(journal=True), Simulation(journal=True)
    for sim in (one, other):
        colony = ColonyClient.create(sim, "c")
        for number in range(5):
            colony.submit("f", [number])
            if sim is one:
                assert sim.journal is not None
                sim.journal.digest()
    assert one.journal is not None
    assert other.journal is not None
    assert one.journal.digest() == other.journal.digest()


def test_a_stream_keeps_little_in_memory(path: Path) -> None:
    sim = Simulation(mode="manual", journal=path)
    colony = ColonyClient.create(sim, "c")
    assert sim.journal is not None
    for number in range(1000):
        colony.submit("f", [number])
        assert len(sim.journal._waiting) < 256
    assert sim.journal._written == []
    assert len(_lines(path)) > 1700


def test_a_simulation_that_is_dropped_leaves_a_whole_journal(path: Path) -> None:
    def history() -> str:
        sim = Simulation(journal=path)
        _busy(sim)
        assert sim.journal is not None
        return sim.journal.digest()

    digest = history()
    gc.collect()
    assert replay(path).digest == digest


def test_a_program_that_ends_leaves_a_whole_journal(path: Path) -> None:
    program = (
        "import sys; from colonysim import ColonyClient, Simulation\n"
        "sim = Simulation(journal=sys.argv[1]); ColonyClient.create(sim, 'c').submit('f')"
    )
    subprocess.run([sys.executable, "-c", program, str(path)], check=True)
    replayed = replay(path)
    assert replayed.same
    assert replayed.lines == 7


def test_another_seed_has_another_digest() -> None:
    digests = set()
    for seed in (1, 2, 3):
        sim = Simulation(seed=seed, journal=True)
        _busy(sim)
        assert sim.journal is not None
        digests.add(sim.journal.digest())
    assert len(digests) == 3


def test_a_fork_keeps_its_history_in_memory(path: Path) -> None:
    sim = Simulation(journal=path)
    colony = _busy(sim)
    fork = sim.fork()
    ColonyClient(fork, colony.identity, "c", type(colony.user)(fork, colony.user.identity, "c", "user")).submit("g")
    assert fork.journal is not None
    fork.journal.save(path.with_suffix(".fork"))
    assert replay(path.with_suffix(".fork")).digest == fork.journal.digest()
    assert replay(path).same


def test_notes_are_passed_over(path: Path) -> None:
    sim = Simulation(journal=path)
    colony = ColonyClient.create(sim, "c")
    assert sim.journal is not None
    sim.journal.noted(sim.now_ns, {"verdict": "lost", "ask": 7})
    colony.submit("f")
    digest = sim.journal.digest()
    replayed = replay(path)
    assert (replayed.same, replayed.digest) == (True, digest)


def test_a_message_without_a_form_in_json_does_not_break_the_simulation(path: Path) -> None:
    sim = Simulation(journal=path)
    colony = ColonyClient.create(sim, "c")
    spec = function_spec("c", "f", ["half a pair: \ud800"])
    sim.call(colony.user.id, SubmitFuncSpec(spec=spec), has_nul=False)  # as if it had been vetted
    assert sim.journal is not None
    sim.journal.close()
    with pytest.raises(BadJournal, match="line 6 cannot be replayed"):
        replay(path)


# ---------------------------------------------------------------- the same again
def _hang_up(sim: Simulation, colony: ColonyClient) -> None:
    from colonysim.core.operations.assignment import AssignProcess

    executor = colony.add_executor("late")
    pending = sim.begin(executor.id, AssignProcess(colonyname="c", timeout=50))
    sim.abandon(pending)
    colony.submit("f", executortype="late")


def _restore(sim: Simulation, colony: ColonyClient) -> None:
    frozen = sim.snapshot()
    colony.submit("g")
    sim.restore(frozen)
    colony.submit("h")


def _reset(sim: Simulation, colony: ColonyClient) -> None:
    sim.kernel.mark_initial()
    colony.submit("g")
    sim.reset(seed=99)
    colony.submit("h")


def _reset_to_nothing(sim: Simulation, colony: ColonyClient) -> None:
    sim.reset()
    _busy(sim)


def _let_time_pass(sim: Simulation, colony: ColonyClient) -> None:
    colony.submit("g", maxwaittime=3)
    sim.advance(3600)


@pytest.mark.parametrize("more", [_hang_up, _restore, _reset, _reset_to_nothing, _let_time_pass])
def test_all_that_goes_in_is_replayed(path: Path, more: Callable[[Simulation, ColonyClient], None]) -> None:
    sim = Simulation(journal=path)
    more(sim, _busy(sim))
    assert sim.journal is not None
    digest = sim.journal.digest()
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest, replayed.now_ns) == ("", digest, sim.now_ns)


@pytest.mark.parametrize("mode", ["manual", "auto", "real", "scaled"])
def test_histories_of_every_clock_are_replayed(path: Path, mode: str) -> None:
    sim = Simulation(mode=mode, rate=100.0 if mode == "scaled" else None, journal=path)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    for number in range(20):
        colony.submit("f", [number], executortype="t", maxwaittime=1)
        executor.assign()
    assert sim.journal is not None
    digest = sim.journal.digest()
    sim.journal.close()
    assert replay(path).digest == digest


def test_every_recorded_case_is_replayed(path: Path) -> None:
    """Whatever a client may send and whatever the server has to say to it comes back from the journal."""
    sim = Simulation(mode="manual", timezone="Europe/Stockholm", journal=path)
    target = InProcess(sim)
    asked = set()
    for case in CASES:
        target.reset()
        list(player.play(player.load_case(case), target))
        asked |= {call.payload_type for call in sim.calls}
    assert sim.journal is not None
    digest = sim.journal.digest()
    sim.journal.close()
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest) == ("", digest)
    assert len(asked & {row.name for row in BY_MESSAGE.values()}) > 80


PROGRAM = "import sys; from colonysim import replay; print(replay(sys.argv[1]).digest)"


def test_replays_agree_across_processes_and_hash_seeds(path: Path) -> None:
    sim = Simulation(seed=5, journal=path)
    _busy(sim)
    assert sim.journal is not None
    digests = {sim.journal.digest()}
    for hash_seed in ("0", "1", "4711"):
        environment = os.environ | {"PYTHONHASHSEED": hash_seed}
        run = subprocess.run([sys.executable, "-c", PROGRAM, path], env=environment, capture_output=True, check=True)
        digests.add(run.stdout.decode().strip())
    assert len(digests) == 1


# ---------------------------------------------------------------- the first difference
@pytest.fixture
def recorded(path: Path) -> Path:
    sim = Simulation(journal=path)
    _busy(sim)
    assert sim.journal is not None
    sim.journal.close()
    return path


def test_an_altered_answer_is_found_at_its_line(recorded: Path) -> None:
    lines = _lines(recorded)
    answers = [number for number, line in enumerate(lines) if line.startswith(b'["answer"')]
    for number in answers[3::7]:
        altered = [*lines]
        altered[number] = altered[number].replace(b",200,", b",403,")
        recorded.write_bytes(b"\n".join(altered))
        difference = replay(recorded).difference
        assert difference is not None
        assert difference.line == number + 1
        assert (": 403 " in difference.then, ": 200 " in difference.now) == (True, True)
        assert len(difference.before) == min(number - 1, 8)


def test_a_line_too_many_or_too_few_is_found_there(recorded: Path) -> None:
    lines = _lines(recorded)
    number = next(n for n, line in enumerate(lines) if b'"submitfuncspecmsg"' in line and line.startswith(b'["answer"'))
    recorded.write_bytes(b"\n".join(lines[:number] + lines[number + 1 :]))
    difference = replay(recorded).difference
    assert difference is not None
    assert difference.line == number + 1
    assert "submitfuncspecmsg" in difference.now
    recorded.write_bytes(b"\n".join(lines[: number + 1] + lines[number:]))
    difference = replay(recorded).difference
    assert difference is not None
    assert (difference.line, difference.now) == (number + 2, "no further output")


def test_an_altered_request_shows_in_what_comes_of_it(recorded: Path) -> None:
    lines = _lines(recorded)
    number = next(n for n, line in enumerate(lines) if b'"args":[3]' in line)
    lines[number] = lines[number].replace(b'"args":[3]', b'"args":[4]')
    recorded.write_bytes(b"\n".join(lines))
    difference = replay(recorded).difference
    assert difference is not None
    assert difference.line == number + 2
    assert '"args":[4]' in difference.now
    assert "NEW → WAITING" in difference.story
    assert difference.process_id in str(difference)


def test_an_altered_time_is_found(recorded: Path) -> None:
    lines = _lines(recorded)
    number = next(n for n, line in enumerate(lines) if line.startswith(b'["fire"'))
    lines[number] = lines[number].replace(b"000000000,", b"000000001,", 1)
    recorded.write_bytes(b"\n".join(lines))
    difference = replay(recorded).difference
    assert difference is not None
    assert difference.line == number + 1


def test_a_change_of_the_core_is_found(recorded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation that has been broken since: a retry is not counted."""
    real = transitions.requeue_after_timeout

    def uncounted(world: World, process: lifecycle.Process) -> None:
        real(world, process)
        process.retries -= 1

    monkeypatch.setattr(transitions, "requeue_after_timeout", uncounted)
    difference = replay(recorded).difference
    assert difference is not None
    assert "shows retries 0, not 1" in difference.now
    assert "timeout" in difference.story


def test_a_broken_invariant_is_replayed_with_the_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lifecycle, "cancel", lambda world, process: lifecycle.succeed(world, process, []))
    monkeypatch.setattr(transitions, "_IS_LEGAL", ((True,) * 6,) * 6)  # else the core itself refuses it
    sim = Simulation(journal=path)
    colony = ColonyClient.create(sim, "c")
    process = colony.submit("f")
    with pytest.raises(InvariantViolation) as violated:
        process.cancel()
    assert sim.journal is not None
    replayed = replay(path)
    assert replayed.same
    assert replayed.problems == [str(violated.value)]
    monkeypatch.undo()
    difference = replay(path).difference
    assert difference is not None
    assert (difference.line, difference.now) == (10, "no further output")
    assert "InvariantViolation: process" in difference.then


def test_an_error_of_the_core_is_replayed_with_the_rest(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("planted")

    sim = Simulation(journal=path)
    colony = ColonyClient.create(sim, "c")
    monkeypatch.setattr(lifecycle, "submit", broken)
    with pytest.raises(InvariantViolation, match="the server raised ZeroDivisionError: planted while serving submitf"):
        colony.submit("f")
    assert replay(path).problems == ["planted"]
    monkeypatch.undo()
    difference = replay(path).difference
    assert difference is not None
    assert "ZeroDivisionError: planted" in difference.then


# ---------------------------------------------------------------- files that are none
def test_only_part_of_a_journal_may_be_replayed(recorded: Path) -> None:
    assert replay(recorded, until=10).lines == 10
    assert replay(recorded, until=1).lines == 1


def test_a_line_that_is_cut_off_is_told(recorded: Path) -> None:
    whole = recorded.read_bytes()
    recorded.write_bytes(whole[:-10])
    number = whole.count(b"\n")
    with pytest.raises(BadJournal, match=f"line {number}, the last one, is incomplete.*--until {number - 1} replays"):
        replay(recorded)
    assert replay(recorded, until=number - 1).same


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"", "not a colonysim journal"),
        (b"\x00\xff\n", "not a colonysim journal"),
        (b'{"a":1}\n', "not a colonysim journal"),
        (b'{"colonysim":"journal","format":99,"version":"9.9"}\n', "format 99, written by colonysim 9.9"),
        (b'{"colonysim":"journal","format":1}\n', "invalid journal header"),
    ],
)
def test_what_is_no_journal_is_told(path: Path, text: bytes, told: str) -> None:
    path.write_bytes(text)
    with pytest.raises(BadJournal, match=told):
        replay(path)


@pytest.mark.parametrize("line", [b"x", b"[]", b'["ask"]', b'["dance",1]', b'["ask",1,1,"a","nosuchmsg",{}]'])
def test_a_line_that_makes_no_sense_is_told(recorded: Path, line: bytes) -> None:
    recorded.write_bytes(_lines(recorded)[0] + b"\n" + line + b"\n")
    with pytest.raises(BadJournal, match="line 2 cannot be replayed"):
        replay(recorded)


@pytest.mark.parametrize("looks", [True, False], ids=["written at once", "written at the end"])
def test_an_answer_is_written_with_the_time_at_which_it_was_given(looks: bool) -> None:
    sim = Simulation(mode="manual", journal=True)
    colony = ColonyClient.create(sim, "c")
    executor = colony.add_executor("t")
    journal, start_ns = sim.journal, sim.now_ns
    assert journal is not None
    for timeout_s in (2, 60):
        assert sim.begin(executor.id, AssignProcess(colonyname="c", timeout=timeout_s)).answer is None
        if looks:
            journal.digest()
        sim.advance(5)
    colony.submit("f", executortype="t")  # which the second call gets
    lines = [msgspec.json.decode(line) for line in journal.lines]
    given = [(line[1] - start_ns, line[3]) for line in lines if line[0] == "answer" and line[4] in ("error", ASSIGN)]
    assert given == [(2 * 10**9, 404), (10 * 10**9, 200)]


def test_lines_later_in_form_are_the_lines_of_that_moment() -> None:
    """What is put in form when somebody looks says what was said then."""
    lines = []
    for look in (True, False):
        sim = Simulation(mode="manual", journal=True)
        colony = ColonyClient.create(sim, "c")
        executor = colony.add_executor("t")
        graph = colony.submit_workflow({"x": {"executortype": "t", "env": {"a": "b"}}})
        assert sim.journal is not None
        for step in ("details", "assign", "details", "cancel", "details"):
            executor.assign() if step == "assign" else graph.cancel() if step == "cancel" else graph.details
            if look:
                sim.journal.digest()
        lines.append(sim.journal.lines)
    assert lines[0] == lines[1]


def test_messages_come_back_as_they_were() -> None:
    """A journal that is replayed asks with equal messages, whatever stands in them."""
    spec = FunctionSpec(funcname="f", args=[1, 1.0, None, "ü", [True], {"k": 10**30}], kwargs={"": -0.0})
    message = SubmitFuncSpec(spec=spec)
    again = msgspec.json.decode(ENCODER.encode(message), type=SubmitFuncSpec)
    assert again == message
    assert repr(again) == repr(message)


# ---------------------------------------------------------------- with faults
OFTEN = When(probability=0.3)
FAULTS = [
    LoseRequest(when=OFTEN, notice_s=1.0),
    LoseReply(when=OFTEN, notice_s=1.0),
    Duplicate(when=OFTEN, copies=2, after_s=0.5),
    Delay(when=OFTEN, by_s=2.0),
    Delay(when=OFTEN, by_s=2.0, what="reply"),
    Reorder(when=OFTEN, within_s=3.0),
    AnswerWith(when=OFTEN, status=500, text="no", served=True),
    Disconnect(when=OFTEN, after_s=1.0),
    Malformed(when=OFTEN),
    Restart(times=Times(every_s=10, count=2), down_s=4.0),
    Partition(times=Times(every_s=10, count=2), for_s=5.0),
    Hazard(hazard="retried_close", probability=0.5, until_s=1000),
    Hazard(hazard="double_close", until_s=1000),
    Hazard(hazard="lossy_wakeup", probability=0.5, until_s=20),
    Hazard(hazard="lost_signal", probability=0.5, until_s=20),
    Hazard(hazard="pool_deadlock", pool_size=3, until_s=20),
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{type(fault).__name__}-{getattr(fault, 'hazard', '')}")
def test_what_faults_do_is_replayed(path: Path, fault: Fault) -> None:
    """However a request gets to the server, and whatever becomes of the reply: the server's side comes back."""
    sim = Simulation(seed=3, journal=path)
    colony = ColonyClient.create(sim, "c")
    executors = [colony.add_executor("t") for _ in range(2)]
    sim.faults.add(fault)
    for number in range(25):
        for act in (
            lambda number=number: colony.submit("f", [number], executortype="t", maxexectime=3, channels=["say"]),
            lambda number=number: executors[number % 2].assign(timeout_s=2),
            lambda: next(iter(colony.processes(ProcessState.RUNNING))).say("say", b"hello"),
            lambda number=number: _close_what_runs(colony, executors[number % 2]),
        ):
            try:
                act()
            except (Refused, StopIteration, Lost):
                continue
        sim.advance(0.7)
    sim.faults.clear()
    sim.advance(60)
    assert sim.journal is not None
    digest = sim.journal.digest()
    assert any(line.startswith(b'["note"') for line in sim.journal.lines)
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest) == ("", digest)


def test_what_programs_do_is_replayed(path: Path) -> None:
    """Blocking code in lock-step, crashed and started anew in a storm."""
    sim = Simulation(seed=11, journal=path)
    colony = ColonyClient.create(sim, "c")

    def executor_loop(executor: ExecutorClient) -> None:
        while True:
            try:
                if process := executor.assign(timeout_s=10):
                    time.sleep(2)
                    process.close(["done"])
            except (Refused, Lost):
                continue

    def client() -> None:
        for number in range(20):
            with suppress(Lost):
                colony.submit("f", [number], executortype="t", maxexectime=5)
            time.sleep(1)

    for number in range(3):
        sim.program(executor_loop, colony.add_executor("t"), name=f"e{number}", forever=True, restart_after_s=3)
    sim.program(client)
    sim.faults.add(
        LoseReply(when=When(probability=0.2, until_s=40), notice_s=1.0),
        Crash(times=Times(every_s=4, count=5), restart_after_s=3.0),
        Restart(times=Times(at_s=12.0), down_s=3.0),
    )
    sim.run(120)
    sim.stop_programs()
    assert sim.journal is not None
    digest = sim.journal.digest()
    assert sum(b'"crash"' in line for line in sim.journal.lines) == 5
    replayed = replay(path)
    assert (str(replayed.difference or ""), replayed.digest) == ("", digest)


def _close_what_runs(colony: ColonyClient, executor: ExecutorClient) -> None:
    for process in colony.processes(ProcessState.RUNNING):
        AssignedProcess(executor, process.id).close()
