"""Simulations for a class, a module and a session: tests of tests."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from colonysim import replay


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_the_tests_of_a_scope_share_its_simulation(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makepyfile(
        f"""
        import pytest
        from colonysim import ColonyClient

        @pytest.fixture(scope="{scope}")
        def colony(colonysim_{scope}):
            return ColonyClient.stock(colonysim_{scope})

        class TestIt:
            def test_one(self, colony):
                colony.submit("f")

            def test_other(self, colony, make_colonysim_{scope}, colonysim_seed_{scope}):
                assert len(colony.processes()) == 1
                assert colony.sim.settings.seed == colonysim_seed_{scope}
                assert make_colonysim_{scope}(mode="manual").settings.seed == colonysim_seed_{scope}

        def test_each_test_may_have_one_of_its_own_besides(colonysim, colonysim_{scope}):
            assert colonysim is not colonysim_{scope}
        """
    )
    run(pytester).assert_outcomes(passed=3)


SET_UP = """
import unittest
import pytest
import requests
from pycolonies import colonies_client

{mark}
class TestApi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.client, cls.colony, _, _, cls.key = colonies_client()
        cls.client.stats(cls.colony, cls.key)

    def test_something(self):
        assert self.client.stats(self.colony, self.key)["waitingprocesses"] == 0

def setup_module():
    {of_module}
"""


@pytest.mark.parametrize("scope", ["class", "module", "session"])
def test_set_up_class_of_unittest_finds_the_server(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makepyfile(SET_UP.format(mark=f'@pytest.mark.usefixtures("colonysim_{scope}")', of_module="pass"))
    run(pytester).assert_outcomes(passed=1)


@pytest.mark.parametrize("scope", ["module", "session"])
def test_a_conftest_gives_a_server_to_tests_that_do_not_know_of_it(pytester: pytest.Pytester, scope: str) -> None:
    pytester.makeconftest(
        f"""
        import pytest

        @pytest.fixture(scope="{scope}", autouse=True)
        def server(colonysim_{scope}):
            pass
        """
    )
    of_module = 'assert requests.get("http://localhost:50080/health").status_code == 200'
    pytester.makepyfile(SET_UP.format(mark="", of_module=of_module))
    run(pytester).assert_outcomes(passed=1)


def test_a_client_that_is_made_at_import_reaches_the_simulation_of_each_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import os
        from colonysim import stock

        os.environ.update(stock.environment("localhost", stock.PORT, stock.SERVER_KEY))
        """
    )
    pytester.makepyfile(
        """
        import pytest
        from pycolonies import colonies_client, func_spec

        colonies, colony_name, _, _, key = colonies_client()

        @pytest.mark.parametrize("number", range(2))
        def test_submit(colonysim, number):
            spec = func_spec("f", [], colony_name, "cli", maxexectime=1, maxwaittime=-1, maxretries=0)
            assert colonies.submit_func_spec(spec, key).state == 0
            assert len(colonysim.world.processes) == 1
        """
    )
    run(pytester).assert_outcomes(passed=2)


def test_a_failure_in_a_wider_scope_is_reported_and_its_command_repeats_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        test_f="""
        class TestIt:
            def test_one(self, colonysim_class):
                from colonysim import ColonyClient
                ColonyClient.stock(colonysim_class).submit("f")

            def test_other(self, colonysim_class):
                assert not colonysim_class.world.processes
        """
    )
    result = run(pytester, "--colonysim-artifacts", "kept")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(["*repeat with: pytest test_f.py::TestIt --colonysim-seed=*", "*1 process unfinished:"])
    journal = Path(pytester.path, "kept", "test_f.py__TestIt__test_other", "journal.jsonl")
    assert replay(journal).same
    told = next(line for line in result.outlines if "repeat with: pytest " in line)
    again = run(pytester, *shlex.split(told.split("repeat with: pytest ")[1]), "--colonysim-artifacts", "again")
    again.assert_outcomes(passed=1, failed=1)
    assert Path(pytester.path, "again", *journal.parts[-2:]).read_bytes() == journal.read_bytes()
    compared = run(pytester, "--colonysim-replay", "kept")
    compared.assert_outcomes(passed=1, failed=1)
    compared.stdout.fnmatch_lines(["*1 of 2 tests were compared with a journal*", "*no record of *::test_one:*"])


def test_a_broken_invariant_in_a_wider_scope_fails_its_last_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_one(colonysim_module):
            from colonysim import ColonyClient
            colony = ColonyClient.stock(colonysim_module)
            process = colony.submit("f")
            del colonysim_module.world.processes_in("dev", 0)[process.id]
            try:
                colony.submit("g")
            except AssertionError:
                pass

        def test_other():
            pass
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*ERROR at teardown of test_other*", "*processes are lost or doubled*"])
    result.stdout.fnmatch_lines(["*seed *; repeat with: pytest *.py --colonysim-seed=*"])


def test_a_class_is_run_with_several_seeds(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        seen = []

        @pytest.mark.colonysim(seed=7, seeds=3)
        class TestIt:
            def test_one(self, colonysim_class):
                seen.append((colonysim_class.settings.seed, colonysim_class))

            def test_other(self, colonysim_class):
                assert (colonysim_class.settings.seed, colonysim_class) in seen

        def test_all():
            assert {seed for seed, _ in seen} == {7, 8, 9}
        """
    )
    run(pytester).assert_outcomes(passed=7)


def test_a_marker_s_faults_are_those_of_one_test_in_a_shared_simulation(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from colonysim import ColonyClient

        LOST = {"kind": "lose_reply", "match": {"types": "submitfuncspecmsg"}}

        class TestIt:
            @pytest.mark.colonysim(faults=LOST)
            def test_one(self, colonysim_class):
                with pytest.raises(ConnectionError, match="fault 'lose_reply'"):
                    ColonyClient.stock(colonysim_class).submit("f")

            def test_other(self, colonysim_class):
                assert ColonyClient.stock(colonysim_class).submit("f").id
        """
    )
    run(pytester).assert_outcomes(passed=2)
