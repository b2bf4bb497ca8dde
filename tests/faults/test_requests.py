"""What a fault is about: requests by their type, caller and colony."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient, Lost, Simulation
from colonysim.faults import (
    LoseRequest,
    Match,
)
from tests.faults.common import submit


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        (Match(), True),
        (Match(types=("assignprocessmsg", "submit*")), True),
        (Match(types="assignprocessmsg"), False),
        (Match(colony="c"), True),
        (Match(colony="d"), False),
        (Match(callers="user"), True),
        (Match(callers=("a-?", "us*")), True),
        (Match(callers="a-1"), False),
        (Match(role="user"), True),
        (Match(role="executor"), False),
        (Match(role="colony_owner"), False),
        (Match(executor_type="a"), False),
    ],
)
def test_a_fault_is_about_what_it_matches(sim: Simulation, colony: ColonyClient, match: Match, hit: bool) -> None:
    colony.add_executor("a")
    sim.faults.add(LoseRequest(match=match))
    if hit:
        with pytest.raises(Lost):
            submit(colony)
    else:
        submit(colony)


def test_an_executor_is_matched_by_name_type_role_and_the_colony_of_its_process(
    sim: Simulation, colony: ColonyClient
) -> None:
    executor = colony.add_executor("a")
    match = Match(callers="a-1", executor_type="a", role="executor", colony="c", types="closesuccessfulmsg")
    sim.faults.add(LoseRequest(match=match))
    submit(colony)
    process = executor.assign()
    assert process is not None
    with pytest.raises(Lost):
        process.close()
