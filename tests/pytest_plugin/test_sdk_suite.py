"""A test suite in the shape of pycolonies' own runs in this process, by the documented conftest.py of a few lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SETUP = """
import os
from pycolonies import Colonies, Crypto

def setup_test_environment():
    client = Colonies(os.environ["COLONIES_SERVER_HOST"], int(os.environ["COLONIES_SERVER_PORT"]), tls=False)
    colony, key = os.environ["COLONIES_COLONY_NAME"], os.environ["COLONIES_COLONY_PRVKEY"]
    assert colony in [one["name"] for one in client.list_colonies(os.environ["COLONIES_SERVER_PRVKEY"])]
    user_id = Crypto().id(os.environ["COLONIES_PRVKEY"])
    client.add_executor({"executorid": user_id, "executorname": "e", "executortype": "cli", "colonyname": colony}, key)
    client.approve_executor(colony, "e", key)
"""
SUITE = """
import os
import tempfile
import threading
import time
import unittest
from pathlib import Path
from cfs import CFS
from pycolonies import Colonies, func_spec

class TestChannels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.port = int(os.environ.get("COLONIES_SERVER_PORT", "50080"))
        cls.client = Colonies("localhost", cls.port, tls=False)
        cls.key = os.environ.get("COLONIES_PRVKEY")
        try:
            cls.client.stats("dev", cls.key)
        except Exception:
            raise unittest.SkipTest("no server")

    def taken(self):
        spec = func_spec("f", [], "dev", "cli", maxexectime=60, maxwaittime=60, maxretries=0)
        spec.channels = ["chat"]
        process = self.client.submit_func_spec(spec, self.key)
        assert self.client.assign("dev", 10, self.key).processid == process.processid
        time.sleep(0.2)
        return process.processid

    def say(self, process, number, text):
        client = Colonies("localhost", self.port, tls=False)
        client.channel_append(process, "chat", number, text, self.key)

    def listen(self, process, most):
        heard = []
        def on_message(entries):
            heard.extend(entry["payload"] for entry in entries)
            return len(heard) < most
        Colonies("localhost", self.port, tls=False).subscribe_channel(process, "chat", self.key, timeout=5, callback=on_message)
        return heard

    def test_a_subscriber_hears_what_comes_later(self):
        process = self.taken()
        def speak():
            time.sleep(0.5)
            for number in range(1, 4):
                self.say(process, number, f"message {number}")
                time.sleep(0.1)
        speaker = threading.Thread(target=speak)
        speaker.start()
        heard = self.listen(process, 3)
        speaker.join()
        assert heard == [b"message 1", b"message 2", b"message 3"]
        self.client.close(process, [], self.key)

    def test_two_threads_chat(self):
        process, heard = self.taken(), []
        threads = [threading.Thread(target=lambda: heard.append(self.listen(process, 2))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for number in (1, 2):
            time.sleep(0.3)
            self.say(process, number, f"message {number}")
        for thread in threads:
            thread.join(timeout=6)
        assert heard == [[b"message 1", b"message 2"]] * 2
        self.client.close(process, [], self.key)

class TestFiles(unittest.TestCase):
    def setUp(self):
        self.client = Colonies("localhost", 50080, tls=False)
        self.key = os.environ.get("COLONIES_PRVKEY")

    def test_bytes_come_back(self):
        self.client.upload_data("dev", self.key, filename="data", label="/l", data=b"x")
        assert self.client.download_data("dev", self.key, label="/l", filename="data") == b"x"

    def test_folders_are_synchronised(self):
        with tempfile.TemporaryDirectory() as here, tempfile.TemporaryDirectory() as there:
            Path(here, "f").write_text("hello")
            port, tls = int(os.environ["COLONIES_SERVER_PORT"]), os.environ["COLONIES_SERVER_TLS"] == "true"
            CFS().sync(os.environ["COLONIES_SERVER_HOST"], port, tls, False, here, "/s", False, "dev", self.key)
            self.client.sync(there, "/s", False, "dev", self.key)
            assert Path(there, "f").read_text() == "hello"
"""


def test_it_runs_by_the_documented_conftest_in_mode_auto(pytester: pytest.Pytester) -> None:
    text = Path(__file__, "../../../docs/pytest.md").resolve().read_text()
    found = re.search(r"The test suite of pycolonies itself.*?```text\n(.*?)```", text, re.DOTALL)
    assert found is not None
    conftest = found[1]
    assert conftest.count("\n") <= 10
    pytester.makeconftest(conftest)
    pytester.makepyfile(setup_test_env=SETUP, channel_test=SUITE)
    result = pytester.runpytest_subprocess("-p", "no:randomly", "channel_test.py")
    result.assert_outcomes(passed=4)
