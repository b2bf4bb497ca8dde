"""Executors that fall silent, come back, and have odd names: docs/protocol/a-foundation.md 7."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim import ColonyClient, Simulation
from colonysim.core.records import APPROVED, REJECTED, UNREGISTERED

from .conftest import Ask

SILENT_S = 600 + 60 + 1


def test_who_has_not_asked_for_work_for_ten_minutes_is_unregistered(sim: Simulation, colony: ColonyClient) -> None:
    executor, never_heard = colony.add_executor("t"), colony.add_executor("t")
    executor.assign()
    sim.advance(600)
    assert executor_state(colony, executor.name) == APPROVED
    sim.advance(60)
    assert executor_state(colony, executor.name) == UNREGISTERED
    assert executor_state(colony, never_heard.name) == APPROVED


def test_who_was_heard_of_exactly_as_long_ago_as_allowed_stays(sim: Simulation, colony: ColonyClient) -> None:
    """The clean-up that finds another one silent leaves it alone, and comes back for it."""
    silent, just_heard = colony.add_executor("t"), colony.add_executor("t")
    sim.advance(30)
    silent.assign()
    sim.advance(30)
    just_heard.assign()
    sim.advance(600)
    assert [executor_state(colony, each.name) for each in (silent, just_heard)] == [UNREGISTERED, APPROVED]
    sim.advance(60)
    assert executor_state(colony, just_heard.name) == UNREGISTERED


def test_an_identity_of_two_executors_stays_known_when_one_of_them_changes_it(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    key = "b" * 64
    for colony_of, name in ((colony, "e"), (ColonyClient.create(sim, "d"), "e")):
        spec = {"executorid": key, "executortype": "t", "executorname": name, "colonyname": colony_of.name}
        ask(colony_of, "addexecutormsg", executor=spec)
        ask(colony_of, "approveexecutormsg", colonyname=colony_of.name, executorname=name)
    assert ask(key, "changeexecutoridmsg", colonyname="c", executorid="e" * 64) == {}
    assert [record.colony for record in sim.world.executors_by_id[key]] == ["d"]
    assert ask(key, "getcolonymsg", colonyname="d")["name"] == "d"
    assert ask("e" * 64, "getcolonymsg", colonyname="c")["name"] == "c"


def test_one_that_is_added_with_an_old_time_is_found_silent_at_the_next_look(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    """The time it was last heard of is taken from who adds it, and from who adds it anew."""
    sim.advance(3600)
    spec = {"executorid": "b" * 64, "executorname": "e", "colonyname": "c"}
    for old in ("2026-01-01T00:00:01Z", "2026-01-01T00:20:00Z"):
        ask(colony, "addexecutormsg", executor=spec | {"lastheardfromtime": old})
        assert executor_state(colony, "e") != UNREGISTERED
        sim.advance(60)
        assert executor_state(colony, "e") == UNREGISTERED


def executor_state(colony: ColonyClient, name: str) -> int:
    return colony.sim.world.executors[colony.name, name].state


def test_asking_keeps_an_executor_alive(sim: Simulation, colony: ColonyClient) -> None:
    executor = colony.add_executor("t")
    for _ in range(20):
        executor.assign()
        sim.advance(300)
    assert executor_state(colony, executor.name) == APPROVED


@pytest.mark.parametrize(("message", "state"), [("approveexecutormsg", APPROVED), ("rejectexecutormsg", REJECTED)])
def test_one_that_is_approved_after_its_removal_is_found_silent_again(
    sim: Simulation, colony: ColonyClient, ask: Ask, message: str, state: int
) -> None:
    executor = colony.add_executor("t", "e")
    executor.assign()
    sim.advance(SILENT_S)
    ask(colony, message, colonyname="c", executorname="e")
    assert executor_state(colony, "e") == state
    sim.advance(60)
    assert executor_state(colony, "e") == UNREGISTERED


def test_a_name_with_a_colon_stops_the_clean_up_until_its_colony_is_gone(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    other = ColonyClient.create(sim, "d")
    executor = colony.add_executor("t", "e")
    executor.assign()
    spec = {"executorid": "b" * 64, "executortype": "t", "executorname": "x:y", "colonyname": "d"}
    assert ask(other, "addexecutormsg", executor=spec) == (500, "Failed to parse Executor name")
    sim.advance(2 * SILENT_S)
    assert executor_state(colony, "e") == APPROVED
    ask(sim.world.server_id, "removecolonymsg", colonyname="d")
    sim.advance(60)
    assert executor_state(colony, "e") == UNREGISTERED


UNREADABLE = (400, "Failed to parse Executor name")


def test_an_executor_with_a_colon_in_its_name_cannot_be_read(colony: ColonyClient, ask: Ask) -> None:
    key = "b" * 64
    spec = {"executorid": key, "executortype": "t", "executorname": "x:y", "colonyname": "c"}
    named = {"colonyname": "c", "executorname": "x:y"}
    ask(colony, "addexecutormsg", executor=spec)
    for kind in ("approveexecutormsg", "rejectexecutormsg", "removeexecutormsg"):
        assert ask(colony, kind, **named) == UNREADABLE
    assert ask(colony, "addexecutormsg", executor=spec) == UNREADABLE
    assert ask(colony.user, "getexecutormsg", **named) == UNREADABLE
    assert ask(colony.user, "getexecutorbyidmsg", executorid=key) == UNREADABLE
    assert ask(colony.user, "getexecutorsmsg", colonyname="c") == UNREADABLE
    for kind, fields in {
        "getcolonymsg": {"colonyname": "c"},
        "reportallocationmsg": named,
        "updateexecutormsg": named,
        "changeexecutoridmsg": {"colonyname": "c", "executorid": "d" * 64},
    }.items():
        assert ask(key, kind, **fields) == (403, "Access denied, not a member of Colony with name <c>")


def test_a_user_with_a_colon_is_neither_member_nor_owner(colony: ColonyClient, ask: Ask) -> None:
    ask(colony, "addusermsg", user={"colonyname": "c", "userid": "b" * 64, "name": "a:b"})
    assert ask("b" * 64, "getcolonymsg", colonyname="c") == (403, "Failed to parse User name")
    assert ask("b" * 64, "getblueprintsmsg", namespace="c") == (403, "Access denied, not colony owner")


@pytest.mark.parametrize(
    ("sent", "text"),
    [
        ("2026-01-01T00:00:00+23:59", "2026-01-01 00:00:00+23:59"),
        ("2026-01-01T00:00:00.25-16:00", "2026-01-01 00:00:00.25-16:00"),
        ("0000-01-01T00:00:00+23:00", "0001-01-01 00:00:00+23:00 BC"),
        ("0000-12-31T23:59:59-23:59", "0001-12-31 23:59:59-23:59 BC"),
    ],
)
def test_offsets_the_database_cannot_hold_are_refused(colony: ColonyClient, ask: Ask, sent: str, text: str) -> None:
    spec = {"executorid": "b" * 64, "executorname": "e", "colonyname": "c", "lastheardfromtime": sent}
    refusal = (400, f'pq: time zone displacement out of range: "{text}"')
    assert ask(colony, "addexecutormsg", executor=spec) == refusal


@pytest.mark.parametrize(
    ("zone", "sent", "shown"),
    [
        ("America/New_York", "9999-12-31T23:00:00-03:00", "9999-12-31T21:00:00-05:00"),
        ("America/New_York", "9999-12-31T23:59:59.9999999Z", "9999-12-31T19:00:00-05:00"),
        ("UTC", "0000-03-01T12:00:00Z", "0000-03-01T12:00:00Z"),
        ("UTC", "0000-12-31T23:59:59.9999998Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_times_at_the_ends_of_the_calendar_are_shown(zone: str, sent: str, shown: str) -> None:
    sim = Simulation(mode="manual", timezone=zone)
    colony = ColonyClient.create(sim, "c")
    ask: Any = ask_of(sim)
    spec = {"executorid": "b" * 64, "executorname": "e", "colonyname": "c", "lastheardfromtime": sent}
    assert ask(colony, "addexecutormsg", executor=spec)["lastheardfromtime"] == shown
    assert ask(colony.user, "getexecutorsmsg", colonyname="c")[0]["lastheardfromtime"] == shown


def ask_of(sim: Simulation) -> Any:
    from .conftest import ask

    return ask.__wrapped__(sim)  # type: ignore[attr-defined]


def test_a_time_that_rounds_to_the_unset_one_counts_as_never_heard(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    sent = "0001-01-01T00:00:00.0000004Z"
    spec = {"executorid": "b" * 64, "executorname": "e", "colonyname": "c", "lastheardfromtime": sent}
    ask(colony, "addexecutormsg", executor=spec)
    sim.advance(SILENT_S)
    assert executor_state(colony, "e") != UNREGISTERED


def test_a_function_is_stored_with_its_executors_location(colony: ColonyClient, ask: Ask) -> None:
    executor = colony.add_executor("t", "e", location="hall")
    fun = {"executorname": "e", "colonyname": "c", "funcname": "f", "locationname": "\0"}
    assert ask(executor, "addfunctionmsg", fun=fun)["locationname"] == "hall"


def test_integers_beyond_any_size_are_invalid_json(colony: ColonyClient) -> None:
    from colonysim.core.engine import OPERATIONS
    from colonysim.core.errors import Refusal
    from colonysim.wire.codec import decode_message

    payload = b'{"msgtype":"addexecutormsg","executor":{"blueprintgen":' + b"9" * 5000 + b"}}"
    with pytest.raises(Refusal, match="invalid JSON"):
        decode_message(OPERATIONS["addexecutormsg"], payload, colony.id)


@pytest.mark.parametrize(
    ("field", "text", "refusal"),
    [
        ("cpu", "9" * 5000 + "m", "Error converting CPU to int"),
        ("mem", "9" * 5000 + "Mi", "value out of range"),
        ("mem", "0" * 5000 + "7Mi", None),
        ("cpu", "0" * 5000 + "7m", None),
    ],
)
def test_endless_amounts_are_out_of_range(
    colony: ColonyClient, ask: Ask, field: str, text: str, refusal: str | None
) -> None:
    reply = ask(colony.user, "submitfuncspecmsg", spec={"conditions": {"colonyname": "c", field: text}})
    if refusal is None:
        assert reply["spec"]["conditions"][field].startswith("7")
    else:
        assert reply[0] == 400
        assert refusal in reply[1]


def test_who_is_heard_of_now_is_found_silent_in_time_though_it_named_a_later_time(
    sim: Simulation, colony: ColonyClient, ask: Ask
) -> None:
    """The clean-up that was planned for the year 9000 is planned anew when the executor asks for work."""
    executor = colony.add_executor("t")
    spec = {"executorid": executor.id, "executorname": executor.name, "executortype": "t", "colonyname": "c"}
    ask(colony, "addexecutormsg", executor=spec | {"lastheardfromtime": "9000-01-01T00:00:00Z"})
    ask(colony, "approveexecutormsg", colonyname="c", executorname=executor.name)
    executor.assign()
    sim.advance(SILENT_S)
    assert executor_state(colony, executor.name) == UNREGISTERED
