"""When the faults of a marker strike, and what their victims are told."""

from __future__ import annotations

import pytest

ALL = """
import pytest
import requests
import unittest
from colonysim import ColonyClient, ProcessState

ALL = {"kind": "lose_request", "name": "nothing-arrives", "match": {"types": "*"}}
"""


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:randomly", *arguments)


def test_faults_begin_after_the_set_up_and_end_before_the_cleaning_up(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ALL
        + """
@pytest.fixture
def cluster(colony, executor_factory):
    colony.submit("f")
    executor = executor_factory("cli")
    yield executor
    colony.submit("g")

@pytest.mark.colonysim(faults=ALL)
def test_a_function(colony, cluster):
    with pytest.raises(ConnectionError, match="nothing-arrives"):
        colony.submit("f")

@pytest.mark.colonysim(faults=ALL)
class TestXunit:
    @pytest.fixture(autouse=True)
    def server(self, colony):
        self.colony = colony

    def setup_method(self):
        pass

    def test_it(self, executor_factory):
        executor_factory("cli")
        with pytest.raises(ConnectionError, match="nothing-arrives"):
            self.colony.submit("f")

@pytest.mark.colonysim(faults=ALL)
class TestUnittest(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def server(self, colony):
        self.colony = colony

    def setUp(self):
        self.colony.submit("f")

    def test_it(self):
        with pytest.raises(ConnectionError, match="nothing-arrives"):
            self.colony.submit("f")

@pytest.mark.colonysim(faults=ALL)
class TestAsync(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def server(self, colony):
        self.colony = colony

    async def asyncSetUp(self):
        self.colony.submit("f")

    async def test_it(self):
        with pytest.raises(ConnectionError, match="nothing-arrives"):
            self.colony.submit("f")
"""
    )
    run(pytester).assert_outcomes(passed=4)


def test_executor_factory_is_spared_while_others_are_struck(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ALL
        + """
@pytest.mark.colonysim(faults=ALL)
def test_it(colony, executor_factory):
    for number in range(3):
        assert executor_factory("cli", f"e{number}").name == f"e{number}"
        with pytest.raises(ConnectionError):
            colony.add_executor("cli")

@pytest.mark.colonysim(faults={"kind": "partition", "times": {"at_s": 1}, "for_s": 9})
def test_a_partition(colonysim, executor_factory):
    colonysim.advance(2)
    assert executor_factory("cli").name
"""
    )
    run(pytester).assert_outcomes(passed=2)


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("{'kind': 'lose_request', 'name': 'culprit'}", "lose_request"),
        ("{'kind': 'lose_reply', 'name': 'culprit'}", "lose_reply"),
        ("{'kind': 'disconnect', 'name': 'culprit'}", "disconnect"),
    ],
)
def test_a_loss_names_its_fault(pytester: pytest.Pytester, fault: str, kind: str) -> None:
    pytester.makepyfile(
        ALL
        + f"""
FAULT = {fault}

@pytest.mark.colonysim(faults=FAULT)
def test_it(colony):
    told = "the connection was lost: fault 'culprit' \\\\({kind}\\\\) struck"
    with pytest.raises(ConnectionError, match=told + " submitfuncspecmsg"):
        colony.submit("f")
    from pycolonies import Colonies, ColoniesConnectionError
    with pytest.raises(ColoniesConnectionError, match=told + " getcoloniesmsg"):
        Colonies("localhost", 50080).list_colonies(colony.sim.settings.server_key)
"""
    )
    run(pytester).assert_outcomes(passed=1)


def test_a_loss_by_a_restart_names_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        ALL
        + """
FAULT = {"kind": "restart", "name": "upgrade", "times": {"at_s": 5}, "down_s": 60}

@pytest.mark.colonysim(faults=FAULT)
def test_it(colony, executor_factory):
    with pytest.raises(ConnectionError, match="fault 'upgrade' .restart. struck assignprocessmsg"):
        executor_factory("cli").assign(timeout_s=10)
"""
    )
    run(pytester).assert_outcomes(passed=1)


def test_variables_name_the_port_of_the_server_for_processes_that_a_test_starts(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_PROXY", "example.org")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    pytester.makepyfile(
        """
        import os
        import subprocess
        import sys

        CHILD = '''
        import os, urllib.request
        port = os.environ["COLONIES_SERVER_PORT"]
        print(urllib.request.urlopen(f"http://localhost:{port}/health").status)
        '''

        def test_it(colonysim_server):
            assert os.environ["COLONIES_SERVER_PORT"] == str(colonysim_server.port)
            assert os.environ["NO_PROXY"].startswith("example.org,localhost,")
            child = subprocess.run([sys.executable, "-c", CHILD.replace("        ", "")], capture_output=True, text=True)
            assert child.stdout == "200\\n", child.stderr

        def test_afterwards():
            assert "COLONIES_SERVER_PORT" not in os.environ
            assert os.environ["NO_PROXY"] == "example.org"
        """
    )
    run(pytester).assert_outcomes(passed=2)
