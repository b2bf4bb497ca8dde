"""Wrong inputs to every command: one line that names the mistake, the right exit code, and no file changed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from colonysim import Simulation
from colonysim.cli import main
from colonysim.evidence import replay
from colonysim.http.http1 import HttpRequest
from colonysim.web.control import Control

SCENARIO = """version: 1
name: small
phases: {storm_s: 600, calm_s: 600}
executors: [{name: e, count: 2, service: {kind: exponential, mean_s: 5}}]
workload: [{name: w, arrivals: {kind: poisson, per_hour: 300}}]
"""
TRACED = """version: 1
name: traced
executors: [{name: e, count: 1}]
workload: [{name: w, trace: {file: t.csv}}]
"""
WRITES_ITSELF = SCENARIO + "report: {csv: itself.yaml}\n"
CASE = '{"name": "x", "about": "", "steps": [{"call": "versionmsg", "expect": {"status": 200}}]}'
HUGE = str(10**25)
KEY = "0" * 64
DEEP = "[" * 50_000
LATIN = "\udcff"  # the byte 0xff, as Python reads it from a command line

WRONG: list[tuple[list[str], str]] = [
    # ------------------------------------------------ outputs that are inputs, or each other
    (["run", "s.yaml", "--csv", "s.yaml"], "--csv would overwrite an input"),
    (["run", "s.yaml", "--journal", "s.yaml"], "--journal would overwrite an input"),
    (["run", "s.yaml", "--report", "./s.yaml"], "--report would overwrite an input"),
    (["run", "s.yaml", "--summary", "link.yaml"], "--summary would overwrite an input"),
    (["run", "s.yaml", "--perfetto", "hard.yaml"], "--perfetto would overwrite an input"),
    (["run", "traced.yaml", "--csv", "t.csv"], "--csv would overwrite an input"),
    (["run", "itself.yaml"], "would overwrite an input"),
    (["validate", "itself.yaml"], "would overwrite an input"),
    (["run", "s.yaml", "--csv", "new", "--summary", "new"], "would overwrite each other"),
    (["run", "s.yaml", "--csv", "new", "--journal", "dir/../new"], "would overwrite each other"),
    (["compare", "s.yaml", "--csv", "s.yaml"], "--csv would overwrite an input"),
    (["compare", "s.yaml", "--csv", "new", "--plot", "new"], "would overwrite each other"),
    (["sweep", "s.yaml", "--vary", "seed=1,2", "--plot", "s.yaml"], "--plot would overwrite an input"),
    (["explore", "s.yaml", "--shrunk", "s.yaml"], "--shrunk would overwrite an input"),
    (["shrink", "s.yaml", "--shrunk", "s.yaml"], "--shrunk would overwrite an input"),
    (["import-trace", "t.csv", "--csv", "t.csv"], "--csv would overwrite an input"),
    (["serve", "--state", "new", "--journal", "new"], "would overwrite each other"),
    (["dev", "--port", "0", "--state", "new", "--journal", "./new"], "would overwrite each other"),
    # ------------------------------------------------ outputs that cannot be written
    (["run", "s.yaml", "--csv", "dir"], "dir: cannot be written: it is a folder"),
    (["run", "s.yaml", "--csv", ""], "cannot be written: it is a folder"),
    (["run", "s.yaml", "--report", "no/x"], "cannot be written: its folder does not exist"),
    (["run", "s.yaml", "--summary", "s.yaml/x"], "cannot be written: its folder does not exist"),
    (["run", "s.yaml", "--journal", "dir"], "dir: cannot be written: it is a folder"),
    (["run", "s.yaml", "--journal", "no/x"], "cannot be written: its folder does not exist"),
    (["run", "s.yaml", "--perfetto", "x" * 300], "File name too long"),
    (["run", "s.yaml", "--journal", "/dev/full"], "/dev/full: No space left on device"),
    (["compare", "s.yaml", "--plot", "dir"], "it is a folder"),
    (["compare", "s.yaml", "--csv", "no/x"], "its folder does not exist"),
    (["sweep", "s.yaml", "--vary", "seed=1,2", "--csv", "dir"], "it is a folder"),
    (["explore", "s.yaml", "--shrunk", "dir"], "it is a folder"),
    (["shrink", "s.yaml", "--shrunk", "no/x.yaml"], "its folder does not exist"),
    (["import-trace", "t.csv", "--csv", "dir"], "it is a folder"),
    (["import-trace", "t.csv", "--csv", "no/x.csv"], "its folder does not exist"),
    (["serve", "--journal", "dir"], "it is a folder"),
    (["serve", "--journal", "/dev/full"], "/dev/full: cannot be written: No space left"),
    # ------------------------------------------------ options that would be ignored
    (["run", "s.yaml", "--dry-run", "--json"], "--json has no effect with --dry-run"),
    (["run", "s.yaml", "--dry-run", "--report", "r"], "--report has no effect with --dry-run"),
    (["run", "s.yaml", "--dry-run", "--journal", "r"], "--journal has no effect with --dry-run"),
    (["run", "s.yaml", "--dry-run", "--strict"], "--strict has no effect with --dry-run"),
    (["run", "s.yaml", "--dry-run", "--check-determinism"], "--check-determinism has no effect"),
    (["run", "s.yaml", "--check-determinism", "--csv", "r"], "--csv has no effect with --check-determinism"),
    (["run", "s.yaml", "--check-determinism", "--json"], "--json has no effect with --check-determinism"),
    (["run", "s.yaml", "--check-determinism", "--strict"], "--strict has no effect"),
    (["validate", "--schema", "s.yaml"], "s.yaml has no effect with --schema"),
    (["validate", "--schema", "--strict"], "--strict has no effect with --schema"),
    (["explore", "s.yaml", "--no-shrink", "--shrunk", "x.yaml"], "--shrunk has no effect with --no-shrink"),
    (["explore", "s.yaml", "--no-shrink", "--shrink-runs", "5"], "--shrink-runs has no effect with --no-shrink"),
    (["replay", "j", "--check-determinism", "--json"], "--json has no effect with --check-determinism"),
    (["coverage", "--json", "--markdown"], "--json has no effect with --markdown"),
    (["verify", "case.json", "--json", "-v"], "-v has no effect with --json"),
    (["verify", "case.json", "--url", "http://127.0.0.1:1", "--timezone", "UTC"], "--timezone has no effect with --url"),
    (["compare", "s.yaml", "--set", "settings.policy=fair"], "--policy replaces it"),
    (["sweep", "s.yaml", "--vary", "seed=1,2", "--set", "seed=9"], "--vary replaces it"),
    # ------------------------------------------------ seeds
    (["run", "s.yaml", "--seed", HUGE], "has more than 64 bits"),
    (["run", "s.yaml", "--seed", f"-{HUGE}"], "has more than 64 bits"),
    (["run", "s.yaml", "--seed", HUGE, "--dry-run"], "has more than 64 bits"),
    (["run", "s.yaml", "--set", f"seed={HUGE}"], "has more than 64 bits"),
    (["shrink", "s.yaml", "--seed", HUGE], "has more than 64 bits"),
    (["explore", "s.yaml", "--from-seed", HUGE], "has more than 64 bits"),
    (["explore", "s.yaml", "--from-seed", str(2**64 - 1), "--seeds", "2"], "has more than 64 bits"),
    (["explore", "s.yaml", "--seeds", HUGE], "--seeds"),
    (["serve", "--seed", HUGE], "has more than 64 bits"),
    (["serve", "--set", f"seed={HUGE}"], "has more than 64 bits"),
    (["run", "s.yaml", "--seed", "9" * 5000], "--seed"),
    (["run", "s.yaml", "--seed", "nan"], "--seed"),
    # ------------------------------------------------ scenarios
    (["run", ""], "cannot be read"),
    (["run", "dir"], "cannot be read"),
    (["run", "/dev/null"], "it is empty"),
    (["run", "/dev/zero"], "more than 524,288 bytes"),
    (["run", "binary"], "UTF-16"),
    (["run", LATIN], "cannot be read"),
    (["run", "x" * 5000], "File name too long"),
    (["run", "s.yaml", "extra"], "extra"),
    (["run", "s.yaml", "--set", "executors.9.count=1"], "entries 0 to 0"),
    (["run", "s.yaml", "--set", "executors.0.count=nan"], "executors.0.count: invalid count='nan'"),
    (["run", "s.yaml", "--set", f"name={LATIN}"], "is not allowed here"),
    (["run", "s.yaml", "--set", f"name={DEEP}"], "--set name="),
    (["sweep", "s.yaml", "--vary", "seed=1..inf"], "invalid range"),
    (["sweep", "s.yaml", "--vary", f"seed=1..{HUGE}:1"], "is not a number with at most 15 digits"),
    (["sweep", "s.yaml", "--vary", "seed=1..1000000000:1"], "more than 1,000 values"),
    # ------------------------------------------------ traces, journals and cases
    (["import-trace", "binary", "--format", "csv"], "UTF-16"),
    (["import-trace", "/dev/zero", "--format", "swf"], "the line has more than"),
    (["import-trace", "deep.json"], "is not WfFormat"),
    (["import-trace", "cut.csv.gz"], "the compressed file is damaged"),
    (["replay", "dir"], "Is a directory"),
    (["replay", "binary"], "not a colonysim journal"),
    (["replay", "deep.json"], "not a colonysim journal"),
    (["replay", "/dev/zero"], "not a colonysim journal"),
    (["replay", "cut.jsonl"], "is incomplete"),
    (["replay", "number.jsonl"], "line 2 cannot be replayed"),
    (["verify", "deep.json"], "deep.json cannot be read"),
    (["verify", "binary"], "binary cannot be read"),
    (["verify", "dir/none"], "dir/none does not exist"),
    (["coverage", "deep.json"], "deep.json cannot be read"),
    (["verify", "case.json", "--url", "http://127.0.0.1:1"], "--url http://127.0.0.1:1: Connection refused"),
    (["verify", "case.json", "--url", "http://127.0.0.1:99999"], "invalid server address"),
    (["verify", "case.json", "--url", "http://[::1"], "invalid server address"),
    (["verify", "case.json", "--url", "https://127.0.0.1"], "invalid server address"),
    (["verify", "case.json", "--timezone", ""], "invalid timezone='': unknown time zone"),
    # ------------------------------------------------ servers
    (["serve", "--set", f"server_key={KEY}"], "server_key is not a private key"),
    (["serve", "--set", f"server_key={'f' * 64}"], "server_key is not a private key"),
    (["serve", "--set", f"build_version={LATIN}"], "must be printable"),
    (["serve", "--set", "build_time=a\nb"], "must be printable"),
    (["serve", "--timezone", LATIN], "unknown time zone"),
    (["serve", "--host", LATIN], "to listen on: give an address"),
    (["serve", "--state", "new", "--state-every", "inf"], "--state-every"),
    (["serve", "--state", "new", "--state-every", "1e300"], "--state-every"),
    (["serve", "--state", "new", "--state-every", "nan"], "--state-every"),
    (["serve", "--state", "/dev/full"], "is not a regular file"),
    (["serve", "--state", "binary"], "is not a colonysim state"),
    (["serve", "--clock", "scaled", "--rate", "nan"], "the clock's rate"),
    (["dev", "--port", "0", "--executor", "cli", "--answer", DEEP], "--answer takes a JSON list"),
    (["dev", "--port", "0", "--executor", "cli", "--answer", "[NaN]"], "--answer takes a JSON list"),
    (["dev", "--port", "0", "--executor", LATIN], "--executor takes the type"),
    (["dev", "--port", "0", "--executor", "cli", "--takes", "inf"], "--takes takes seconds, 0 or more"),
]  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("COLONYSIM_")]:
        monkeypatch.delenv(name)
    (tmp_path / "dir").mkdir()
    texts = {"s.yaml": SCENARIO, "traced.yaml": TRACED, "itself.yaml": WRITES_ITSELF, "t.csv": "submit_s,run_s\n0,1\n"}
    for name, text in (texts | {"case.json": CASE, "deep.json": DEEP}).items():
        (tmp_path / name).write_text(text)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x01binary")
    (tmp_path / "cut.csv.gz").write_bytes(bytes.fromhex("1f8b08000000000000034b"))
    (tmp_path / "link.yaml").symlink_to("s.yaml")
    (tmp_path / "hard.yaml").hardlink_to("s.yaml")
    recorded = Simulation(mode="manual", journal=tmp_path / "j")
    assert recorded.journal is not None
    recorded.journal.close()
    header = (tmp_path / "j").read_text()
    (tmp_path / "cut.jsonl").write_text(header + '["mark"')
    (tmp_path / "number.jsonl").write_text(header + "[1,2,3]\n")
    return tmp_path


def _files(folder: Path) -> dict[str, Any]:
    return {path.name: path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_there_are_a_hundred_wrong_inputs_at_least() -> None:
    assert len(WRONG) >= 100


@pytest.mark.parametrize(("arguments", "text"), WRONG, ids=[" ".join(words)[:60] for words, _ in WRONG])
def test_wrong_input_is_told_in_a_line_and_changes_nothing(here: Path, arguments: list[str], text: str) -> None:
    before = _files(here)
    done = CliRunner().invoke(main.app, arguments)
    assert done.exit_code == 2, (done.output, done.exception)
    said = " ".join(done.output.split())
    assert text in said
    assert "Traceback" not in said
    assert "internal error" not in said
    assert _files(here) == before


# ---------------------------------------------------------------- streams, which only a process has
def _shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    words = f"{sys.executable} -m colonysim"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("COLONY")}
    return subprocess.run(
        ["bash", "-c", command.replace("colonysim", words, 1)],
        capture_output=True,
        text=True,
        env=clean | environment,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ("colonysim run s.yaml > /dev/full", 1, "the output cannot be written: No space left on device"),
        ("colonysim run s.yaml --json > /dev/full", 1, "the output cannot be written: No space left on device"),
        ("colonysim --version > /dev/full", 1, "the output cannot be written: No space left on device"),
        ("colonysim serve > /dev/full", 1, "the output cannot be written: No space left on device"),
        ("colonysim run s.yaml --csv /dev/full", 1, "/dev/full: cannot be written: No space left on device"),
        ("colonysim run s.yaml >&-", 0, ""),
        ("colonysim run s.yaml <&- >&- 2>&-", 0, ""),
        ("colonysim run no.yaml 2>/dev/full", 2, ""),
        ("colonysim run no.yaml 2>&-", 2, ""),
        ("mkdir gone; cd gone; rmdir ../gone; colonysim explore ../s.yaml --seeds 1 --workers 1", 2, "No such file"),
    ],
)
def test_streams_that_are_closed_or_full(here: Path, command: str, code: int, text: str) -> None:
    done = _shell(command)
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_an_encoding_without_the_characters_gets_them_escaped(here: Path) -> None:
    done = _shell("colonysim run s.yaml --set name=äö", PYTHONIOENCODING="ascii")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(r"\xe4\xf6, seed 0")


def test_a_variable_that_is_no_setting_is_told(here: Path) -> None:
    done = _shell("colonysim serve --port -1", COLONYSIM_TIMZONE="UTC")
    assert done.returncode == 2
    assert "the variable COLONYSIM_TIMZONE has no effect" in done.stderr


# ---------------------------------------------------------------- journals, clocks and seeds
def test_a_line_of_a_journal_has_a_longest_length(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "MOST_LINE_BYTES", 1000)
    with (here / "j").open("ab") as file:
        file.write(b'["note",1,"' + b"x" * 2000 + b'"]\n')
    with pytest.raises(replay.BadJournal, match="line 2 has more than 1,000 bytes; --until 1 replays"):
        replay.replay(here / "j")


@pytest.mark.parametrize("mode", ["manual", "auto", "real"])
def test_a_rate_is_refused_where_it_would_have_no_effect(mode: str) -> None:
    with pytest.raises(ValueError, match=r"rate 5\.0 has no effect while the clock is"):
        Simulation(mode=mode, rate=5.0)
    sim = Simulation(mode=mode)
    with pytest.raises(ValueError, match="rate 5 has no effect"):
        sim.set_clock(rate=5)
    body = b'{"rate": 5}'
    headers = {"host": "localhost", "content-type": "application/json"}
    status, told, _ = Control(sim).answer(HttpRequest("PUT", "/colonysim/clock", "", headers, body=body))
    assert status == 400
    assert b"set its mode to scaled" in told
    assert sim.kernel.clock.rate == 1.0


def test_a_scaled_clock_keeps_its_rate_where_none_is_given() -> None:
    sim = Simulation(mode="scaled", rate=5)
    sim.set_clock("scaled")
    assert sim.kernel.clock.rate == 5
    sim.set_clock("manual")
    assert sim.kernel.clock.rate == 1


@pytest.mark.parametrize("seed", [2**64, -(2**63) - 1])
def test_a_seed_beyond_64_bits_is_refused_and_changes_nothing(seed: int) -> None:
    sim = Simulation(mode="manual")
    before = sim.snapshot()
    with pytest.raises(ValueError, match="has more than 64 bits"):
        sim.reset(seed)
    with pytest.raises(ValueError, match="has more than 64 bits"):
        Simulation(seed=seed)
    assert sim.snapshot() == before
