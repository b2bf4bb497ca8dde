"""Corners of who is let in that the matrix of messages and roles does not reach: docs/protocol/a-foundation.md 4."""

from __future__ import annotations

import pytest

from colonysim import ColonyClient

from .conftest import Ask

NUL = 'pq: invalid byte sequence for encoding "UTF8": 0x00'


@pytest.mark.parametrize("kind", ["getcolonymsg", "removeallprocessesmsg", "getexecutorsmsg", "pauseassignmentsmsg"])
def test_a_colony_with_a_nul_in_its_name_is_refused_by_the_database(colony: ColonyClient, ask: Ask, kind: str) -> None:
    """Both for members and for owners; a name that is merely unknown is another refusal."""
    for name in ("\0", "c\0", "\0c"):
        assert ask(colony.user, kind, colonyname=name) == (403, NUL)
    unknown = (403, "Colony with name <mutant> does not exists")
    assert ask(colony.user, kind, colonyname="mutant") == unknown


def test_an_odd_name_elsewhere_shuts_nobody_out(colony: ColonyClient, ask: Ask) -> None:
    """A record that cannot be read is its own trouble, not that of the other members."""
    executor = colony.add_executor("t", "e")
    ask(colony, "addusermsg", user={"colonyname": "c", "userid": "b" * 64, "name": "a:b"})
    for member in (executor, colony.user):
        assert ask(member, "getcolonymsg", colonyname="c")["name"] == "c"
    assert ask("b" * 64, "getcolonymsg", colonyname="c") == (403, "Failed to parse User name")


def test_one_readable_record_of_a_user_is_not_enough(colony: ColonyClient, ask: Ask) -> None:
    for name in ("plain", "a:b"):
        ask(colony, "addusermsg", user={"colonyname": "c", "userid": "b" * 64, "name": name})
    assert ask("b" * 64, "getcolonymsg", colonyname="c") == (403, "Failed to parse User name")
