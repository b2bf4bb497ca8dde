"""Every number that a setting, a limit of the web server or an option takes has bounds, and an error that names them."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from colonysim import ColonyClient, Simulation
from colonysim.cli import main
from colonysim.core.settings import Settings, range_of
from colonysim.http.limits import Limits

NUMBERS = [
    field.name
    for field in msgspec.structs.fields(Settings)
    if field.type is not bool and type(field.default) in (int, float)
]
NUMERIC_LIMITS = [field.name for field in msgspec.structs.fields(Limits)]
OWN_CHECKS = {
    "--port": ["--port"], "--seed": ["--seed"], "--from-seed": ["--from-seed"], "--rate": ["--clock", "scaled", "--rate"],
    "--takes": ["--executor", "cli", "--takes"],
}  # fmt: skip
"""Options that have no bounds of their own in the table of options: the value is looked at by the command."""
SCENARIO = """
name: s
workloads: [{name: w, count: 1, arrivals: {every_s: 1}, spec: {type: cli}}]
executors: [{name: e, type: cli, count: 1}]
"""


def numeric_options() -> list[tuple[str, Any]]:
    """Each option of each command that takes a number."""
    commands = get_command(main.app).commands.items()  # type: ignore[attr-defined]
    return [
        (name, option)
        for name, command in commands
        for option in command.params
        if getattr(option.type_descriptor, "annotation", None) in (int, float)
    ]


@pytest.mark.parametrize("name", NUMBERS)
def test_a_setting_beyond_its_range_is_refused_with_the_range(name: str) -> None:
    bounds = range_of(name)
    assert bounds is not None, f"the setting {name} has no bounds"
    least, most = bounds
    for value in (least - 1, most + 1, 10**20, -(10**20), 10**400):
        refusal = rf"{name}[= ].*(at least {least:,}|at most {most:,}|from {least} to {most}|more than 64 bits)"
        with pytest.raises(ValueError, match=refusal):
            Settings().overridden(**{name: value})
        if abs(value) < 10**100:
            with pytest.raises(ValueError, match=refusal):
                Settings.from_texts({name: str(value)})
            done = CliRunner().invoke(main.app, ["serve", "--set", f"{name}={value}"])
            assert done.exit_code == 2
            assert re.search(refusal, " ".join(done.output.split()))


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [1.5, "many", None, [1], True, float("nan"), float("inf")])
def test_a_setting_of_another_type_is_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=rf"invalid {name}=.*: (expected int, got|must be a finite number)"):
        Settings().overridden(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
def test_a_server_works_at_both_ends_of_a_setting_s_range(name: str) -> None:
    for value in range_of(name) or ():
        sim = Simulation(mode="manual", **{name: value, "retention": True})  # type: ignore[arg-type]
        colony = ColonyClient.create(sim)
        executor = colony.add_executor("cli")
        colony.submit("f")
        process = executor.assign()
        assert process is not None
        process.close()
        sim.advance(5)
        assert sim.kernel.problems == []


@pytest.mark.parametrize("name", NUMERIC_LIMITS)
def test_a_limit_of_the_web_server_has_an_upper_bound(name: str) -> None:
    with pytest.raises(ValueError, match=rf"invalid {name}={10**18}: must be at most"):
        Limits.from_texts([f"{name}={10**18}"])


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), 1e300])
def test_the_time_before_clients_outside_count_as_silent_has_bounds(value: float) -> None:
    with pytest.raises(ValueError, match=r"invalid threshold_s=.*: expected 0 to 86,400 seconds"):
        Simulation(threshold_s=value)


def test_every_option_that_takes_a_number_has_bounds() -> None:
    options = numeric_options()
    assert len(options) >= 15
    for command, option in options:
        bounded = option.min is not None and option.max is not None
        assert bounded or option.opts[0] in OWN_CHECKS, f"{command} {option.opts[0]} has no bounds"


@pytest.mark.parametrize(("command", "option"), numeric_options(), ids=lambda value: getattr(value, "name", value))
@pytest.mark.parametrize("value", ["9" * 30, "-" + "9" * 30, "nan", "x", ""])
def test_an_option_beyond_its_bounds_is_refused(
    command: str, option: Any, value: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(SCENARIO)
    files = {"dev": [], "serve": [], "bench": [], "replay": ["j"], "verify": ["case.json"]}.get(command, ["s.yaml"])
    words = OWN_CHECKS.get(option.opts[0], [option.opts[0]])
    done = CliRunner().invoke(main.app, [command, *files, *words, value])
    assert done.exit_code == 2, done.output
    assert "Traceback" not in done.output
