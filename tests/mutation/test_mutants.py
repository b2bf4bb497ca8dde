"""The tool itself: what it plants is one small change, and it reaches the functions that are there."""

from __future__ import annotations

import ast
import json
import os

from tests.mutation.__main__ import LISTED
from tests.mutation.mutants import MODULES, Source
from tests.mutation.planting import Functions
from tests.mutation.processes import Child, Say, run_all


def test_every_mutant_compiles_has_a_key_of_its_own_and_leaves_the_tree_as_it_was() -> None:
    source = Source("agenda")
    before, mutants = ast.dump(source.tree), source.mutants()
    assert ast.dump(source.tree) == before
    assert len({mutant.key for mutant in mutants}) == len(mutants) > 40
    for mutant in mutants:
        old = mutant.edit.apply()
        assert ast.dump(source.tree) != before
        compile(source.tree, "agenda.py", "exec")
        new, mutant.edit.new = mutant.edit.new, old
        mutant.edit.apply()
        mutant.edit.new = new
    assert ast.dump(source.tree) == before


def test_a_planted_mutant_changes_what_a_living_function_does_in_its_own_process_alone() -> None:
    from colonysim.core.agenda import Agenda, Event

    source = Source("agenda")
    functions = Functions(source)
    (mutant,) = [each for each in source.mutants() if each.key.endswith("self.heap[0][0] < now_ns")]
    agenda = Agenda()
    agenda.add(5, Event())
    said: list[dict[str, object]] = []

    def done(child: Child) -> None:
        said.extend(child.said)

    def work(say: Say) -> None:
        say({"planted": functions.plant(mutant), "due": agenda.may_be_due(5), "process": os.getpid()})

    run_all(iter([("job", work)]), 1, done)
    (answer,) = said
    assert (answer["planted"], answer["due"]) == (True, False)
    assert answer["process"] != os.getpid()
    assert agenda.may_be_due(5)


def test_each_survivor_that_has_been_looked_at_is_a_mutant_of_today() -> None:
    """One that is not was given its reason for code that has changed: try what stands there now, or remove it."""
    keys = {mutant.key for module in MODULES for mutant in Source(module).mutants()}
    listed: dict[str, str] = json.loads(LISTED.read_text())
    assert [key for key in listed if key not in keys] == []
    assert all(listed.values())
