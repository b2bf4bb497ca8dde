"""Channels between who submits and who executes: docs/protocol/d-realtime-and-data.md 1."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonysim import AssignedProcess, ColonyClient, ProcessHandle, Refused, Simulation
from colonysim.core import channels, engine
from colonysim.core.events import SubscriptionOver
from colonysim.core.operations.closing import CloseSuccessful
from colonysim.core.protocol import Request, Unblock
from tests.steps import steps

from .conftest import Ask

BUCKET, PER_SECOND = 500, 100
MAX_CHANNELS, MAX_ENTRIES, MAX_PAYLOAD_BYTES = 100, 10_000, 10 * 2**20


@pytest.fixture
def submitted(colony: ColonyClient) -> ProcessHandle:
    return colony.submit("f", executortype="t", channels=["chat"])


@pytest.fixture
def assigned(colony: ColonyClient, submitted: ProcessHandle) -> AssignedProcess:
    assigned = colony.add_executor("t").assign()
    assert assigned is not None
    return assigned


def test_a_conversation_of_a_thousand_messages_each_way_arrives_in_order(
    sim: Simulation, submitted: ProcessHandle, assigned: AssignedProcess
) -> None:
    heard: list[bytes] = []
    for number in range(1000):
        submitted.say("chat", b"question %d" % number, number)
        assigned.say("chat", b"answer %d" % number, number)
        sim.advance(2 / PER_SECOND)
        heard += assigned.hear("chat", len(heard))
    assert heard == [b"%b %d" % (kind, n) for n in range(1000) for kind in (b"question", b"answer")]


def test_five_hundred_at_once_then_a_hundred_a_second(sim: Simulation, submitted: ProcessHandle) -> None:
    for number in range(BUCKET):
        submitted.say("chat", b"", number)
    with pytest.raises(Refused, match="500 rate limit exceeded"):
        submitted.say("chat", b"", BUCKET)
    sim.advance(0.25)
    for number in range(25):
        submitted.say("chat", b"", number)
    with pytest.raises(Refused, match="500 rate limit exceeded"):
        submitted.say("chat", b"", 26)
    sim.advance(1000)
    for number in range(BUCKET):
        submitted.say("chat", b"", number)
    with pytest.raises(Refused, match="500 rate limit exceeded"):
        submitted.say("chat", b"", 0)


def test_the_channels_of_a_process_share_their_rate(colony: ColonyClient) -> None:
    process = colony.submit("f", channels=["a", "b"])
    for number in range(BUCKET // 2):
        process.say("a", b"", number)
        process.say("b", b"", number)
    with pytest.raises(Refused, match="rate limit"):
        process.say("a", b"", 1)


def test_a_full_log_takes_nothing_more(sim: Simulation, submitted: ProcessHandle) -> None:
    for number in range(MAX_ENTRIES):
        submitted.say("chat", b"", number)
        sim.advance(0.01)
    with pytest.raises(Refused, match="500 channel log is full"):
        submitted.say("chat", b"", MAX_ENTRIES)
    assert len(submitted.hear("chat")) == MAX_ENTRIES


def test_more_channels_than_are_allowed_are_not_there(colony: ColonyClient) -> None:
    process = colony.submit("f", channels=[f"c{number}" for number in range(MAX_CHANNELS + 1)])
    process.say(f"c{MAX_CHANNELS - 1}", b"x")
    with pytest.raises(Refused, match="500 process has too many channels"):
        process.say(f"c{MAX_CHANNELS}", b"x")


def test_a_payload_of_ten_mebibytes_is_taken_and_a_byte_more_refused(submitted: ProcessHandle) -> None:
    submitted.say("chat", b"x" * MAX_PAYLOAD_BYTES)
    with pytest.raises(Refused, match="500 message payload exceeds maximum size"):
        submitted.say("chat", b"x" * (MAX_PAYLOAD_BYTES + 1))
    assert len(submitted.hear("chat")) == 1


def test_only_the_two_sides_may_speak_and_listen(colony: ColonyClient, submitted: ProcessHandle, ask: Ask) -> None:
    executor, stranger = colony.add_executor("t"), colony.add_user("stranger")
    append: dict[str, Any] = {"processid": submitted.id, "name": "chat", "sequence": 1, "payload": "eA=="}
    for other in (executor, stranger):
        assert ask(other, "channelappendmsg", **append) == (403, "Not authorized to write to channel")
        read = ask(other, "channelreadmsg", processid=submitted.id, name="chat")
        assert read == (403, "Not authorized to read from channel")
    assert executor.assign() is not None
    assert ask(executor, "channelappendmsg", **append) == {}
    assert ask(stranger, "channelappendmsg", **append) == (403, "Not authorized to write to channel")


def test_who_loses_the_process_loses_its_channels(sim: Simulation, colony: ColonyClient) -> None:
    first, second = colony.add_executor("t"), colony.add_executor("t")
    process = colony.submit("f", executortype="t", channels=["chat"], maxexectime=1)
    lost = first.assign()
    assert lost is not None
    lost.say("chat", b"mine", 1)
    sim.advance(3)
    found = second.assign()
    assert found is not None
    assert found.hear("chat") == [b"mine"]
    with pytest.raises(Refused, match="403 Not authorized"):
        lost.say("chat", b"still mine", 2)
    assert process.hear("chat") == [b"mine"]


@pytest.mark.parametrize("end", ["close", "fail", "cancel"])
def test_a_process_that_has_ended_has_no_channels(assigned: AssignedProcess, end: str) -> None:
    assigned.say("chat", b"x", 1)
    getattr(assigned, end)()
    if end == "cancel":
        assert assigned.hear("chat") == []  # made anew, where it is declared and the process has not come to its end
        return
    with pytest.raises(Refused, match="404 Channel not found"):
        assigned.hear("chat")


def test_a_message_with_a_lower_number_does_not_walk_the_log() -> None:
    sim = Simulation(mode="manual", invariants=False)
    submitted = ColonyClient.create(sim, "c").submit("f", executortype="t", channels=["chat"])

    def cost(last: int, first: int) -> int:
        def work() -> None:
            for number in range(last, first, -1):
                submitted.say("chat", b"", number)
            sim.advance(1)

        return steps(work)

    for _ in range(15):
        for number in range(100):
            submitted.say("chat", b"", 10_000 + number)
        sim.advance(1)
    before = cost(5000, 4900)
    for start in range(4900, 2000, -100):
        cost(start, start - 100)
    assert cost(2000, 1900) <= 1.2 * before


def test_the_order_of_a_log_that_was_stored_goes_on(sim: Simulation, submitted: ProcessHandle) -> None:
    for number in (5, 3, 9):
        submitted.say("chat", b"%d" % number, number)
    sim.restore(sim.snapshot())
    for number in (4, 1):
        submitted.say("chat", b"%d" % number, number)
    assert submitted.hear("chat") == [b"1", b"3", b"4", b"5", b"9"]


@given(sequences=st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.booleans()), max_size=30))
def test_the_log_is_in_the_order_the_facts_describe(sequences: list[tuple[bool, int, bool]]) -> None:
    """Against an insertion that looks at every neighbour: by number within a sender, by time between them."""
    sim = Simulation(mode="manual")
    colony = ColonyClient.create(sim, "c")
    submitted = colony.submit("f", executortype="t", channels=["chat"])
    assigned = colony.add_executor("t").assign()
    assert assigned is not None
    model: list[tuple[bool, int, int, bytes]] = []
    for place, (first, sequence, moves) in enumerate(sequences):
        (submitted if first else assigned).say("chat", b"%d" % place, sequence)
        entry = first, sequence, sim.now_ns, b"%d" % place
        behind = len(model)
        while behind and _before(entry, model[behind - 1]):
            behind -= 1
        model.insert(behind, entry)
        if moves:
            sim.advance(1)
    assert submitted.hear("chat") == [payload for *_, payload in model]


def _before(one: tuple[bool, int, int, bytes], other: tuple[bool, int, int, bytes]) -> bool:
    return one[1] < other[1] if one[0] is other[0] else one[2] < other[2]


def test_an_end_and_a_payload_are_taken_in_every_form(colony: ColonyClient, submitted: ProcessHandle, ask: Ask) -> None:
    for sequence, payload in enumerate(("eA==", [120], "", None)):
        fields = {"processid": submitted.id, "name": "chat", "sequence": sequence, "payload": payload}
        assert ask(colony.user, "channelappendmsg", **fields, payloadtype="end" if sequence == 3 else "") == {}
    read = ask(colony.user, "channelreadmsg", processid=submitted.id, name="chat", afterseq=0, limit=0)
    assert [entry["payload"] for entry in read] == ["eA==", "eA==", "", None]
    assert [entry["type"] for entry in read] == ["data", "data", "data", "end"]


@pytest.mark.parametrize(("kind", "verb"), [("channelreadmsg", "read from"), ("channelappendmsg", "write to")])
def test_who_may_not_use_a_channel_brings_none_into_being(
    sim: Simulation, colony: ColonyClient, assigned: AssignedProcess, ask: Ask, kind: str, verb: str
) -> None:
    """A cancelled process has lost its channels, and gets one back when somebody who may uses it."""
    assigned.cancel()
    refused = ask(colony.add_user("other"), kind, processid=assigned.id, name="chat")
    assert refused == (403, f"Not authorized to {verb} channel")
    assert sim.world.channels == {}
    assert ask(assigned.caller, kind, processid=assigned.id, name="chat") in ([], {})
    assert list(sim.world.channels) == [assigned.id]


# ---------------------------------------------------------------- what becomes of subscribers
def _listen(sim: Simulation, process: ProcessHandle, stream: int, name: str) -> None:
    world = sim.world
    channels.subscribe(world, process.id, name, world.channels[process.id].by_name[name], stream, 60)


def test_the_end_of_a_process_ends_its_subscriptions(sim: Simulation, assigned: AssignedProcess) -> None:
    _listen(sim, assigned, 1, "chat")
    message = CloseSuccessful(processid=assigned.id)
    deliveries = engine.handle(sim.world, Request(1000, assigned.caller.id, message))
    assert deliveries[1:] == [Unblock(1)]
    assert not sim.world.channel_streams
    assert not any(isinstance(event, SubscriptionOver) for _, _, event in sim.world.agenda.entries())


def test_the_channels_of_a_removed_process_stay_until_the_last_subscriber_has_gone(
    sim: Simulation, colony: ColonyClient
) -> None:
    process = colony.submit("f", channels=["one", "two", "nobody's"])
    _listen(sim, process, 1, "one")
    _listen(sim, process, 2, "two")
    process.remove()
    for stream, left in ((1, True), (2, False)):
        engine.close_stream(sim.world, stream)
        assert (process.id in sim.world.channels) is left


def test_one_listener_of_all_channels_keeps_them(sim: Simulation, colony: ColonyClient) -> None:
    process = colony.submit("f", channels=["one"])
    _listen(sim, process, 1, "one")
    _listen(sim, process, 2, "one")
    process.remove()
    engine.close_stream(sim.world, 1)
    assert process.id in sim.world.channels


def test_after_a_restart_each_channel_comes_back_as_it_is_used(sim: Simulation, colony: ColonyClient) -> None:
    """And its parties are who submitted the process, and whoever runs it, also when that is another one later."""
    process = colony.submit("f", executortype="t", channels=["one", "two"], maxexectime=5, maxretries=3)
    first, second = colony.add_executor("t"), colony.add_executor("t")
    assert first.assign() is not None
    engine.lose_memory(sim.world)
    for name in ("one", "two"):
        process.say(name, b"word", 1)
    sim.advance(60)
    again = second.assign()
    assert again is not None
    process.say("one", b"word", 2)
    assert again.hear("one") == [b"word", b"word"]
