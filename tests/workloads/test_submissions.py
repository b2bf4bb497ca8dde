"""The conditions of the submissions of a mix."""

from __future__ import annotations

from typing import Any

import pytest

from colonysim.core.values import BadValue
from colonysim.scenarios import GpuRequest, Submission


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"cpu": "2"}, "invalid cpu='2': the server takes it for 0"),
        ({"cpu": "-5m"}, "invalid cpu='-5m': it is below zero"),
        ({"cpu": True}, "invalid cpu=True"),
        ({"mem": "4"}, "invalid mem='4'"),
        ({"mem": "4gi"}, "invalid mem='4gi'"),
        ({"memory": "4"}, "invalid memory='4'"),
        ({"mem": "1Gi", "memory": "1Gi"}, "another name of mem"),
        ({"storage": "1Ti"}, "invalid storage='1Ti'"),
        ({"gpu": -1}, "invalid gpu=-1"),
        ({"gpu": {"mem": "x"}}, "gpu: invalid mem='x'"),
        ({"nodes": 2**31}, "invalid nodes=2147483648"),
        ({"processes": -1}, "invalid processes=-1"),
        ({"walltime": 2**63}, "invalid walltime=9223372036854775808"),
    ],
)
def test_a_wrong_condition_of_a_mix_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(BadValue, match=text):
        Submission(**fields)


def test_the_conditions_of_a_mix_are_those_of_the_function_spec() -> None:
    submission = Submission(
        cpu=1.5, mem="2Gi", gpu=GpuRequest(count=2, name="A100", mem="40Gi"), nodes=4, processes=8, storage="1TiB",
        walltime=3600,
    )  # fmt: skip
    conditions = submission.spec("c").conditions
    assert (conditions.cpu, conditions.mem, conditions.storage) == ("1500m", "2Gi", "1TiB")
    assert (conditions.nodes, conditions.processes, conditions.walltime) == (4, 8, 3600)
    gpu = conditions.gpu
    assert gpu is not None
    assert (gpu.count, gpu.name, gpu.mem) == (2, "A100", "40Gi")
