"""The scenario as a test."""

import re
from pathlib import Path

import pytest

from colonysim.scenarios import Scenario, run

STORM = Path(__file__).parent / "storm.yaml"


@pytest.mark.colonysim(scenario="storm.yaml", seeds=5)
def test_each_letter_is_sent_once(colonysim_result):
    assert colonysim_result.summary.succeeded == 100


def test_the_storm_finds_a_careless_mailer():
    result = run(Scenario.load(STORM, ("programs.0.kwargs.careless=true",)))
    assert not result.ok
    assert re.search(r"was sent [2-9] times", result.failures[0].text)
