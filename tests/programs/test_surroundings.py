"""What programs have of their own: arguments, environment variables, a folder, a main module."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from colonysim import ColonyClient, ProcessState, ProgramFailed, Simulation
from tests.programs.running import ran
from tests.programs.serving import serve


def test_keyword_arguments_go_to_the_function(sim: Simulation) -> None:
    made = sim.program(lambda *args, **kwargs: (args, kwargs), 1, two=2, env={"A": "1"})
    sim.run()
    assert made.result == ((1,), {"two": 2})


def test_environment_variables_are_a_programs_own(sim: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHARED", "from the test")

    def program() -> list[Any]:
        seen: list[Any] = [os.environ["NAME"], os.getenv("SHARED"), "NAME" in os.environ, os.environb[b"NAME"]]
        os.environ["CHANGED"] = os.environ["NAME"]
        del os.environ["SHARED"]
        time.sleep(1)
        show = "import os; print(os.environ['NAME'], os.environ['CHANGED'], 'SHARED' in os.environ)"
        child = subprocess.run([sys.executable, "-c", show], capture_output=True, text=True, check=True)
        seen += [os.environ["CHANGED"], "SHARED" in os.environ, child.stdout.split(), dict(os.environ)["NAME"]]
        return seen

    programs = [sim.program(program, env={"NAME": name}) for name in ("a", "b")]
    sim.run()
    for made, name in zip(programs, "ab", strict=True):
        expected = [name, "from the test", True, name.encode(), name, False, [name, name, "False"], name]
        assert made.result == expected
    assert os.environ["SHARED"] == "from the test"
    assert {"NAME", "CHANGED"}.isdisjoint(os.environ)
    sim.stop_programs()
    assert {"NAME", "CHANGED"}.isdisjoint(os.environ)


def test_a_new_life_has_the_first_variables() -> None:
    seen: list[str | None] = []

    def program() -> None:
        seen.append(os.environ.get("LEFT"))
        os.environ["LEFT"] = "over"
        if len(seen) < 2:
            raise SystemExit(1)

    ran(program, restart_after_s=1)
    assert seen == [None, None]


def test_arguments_and_folders_are_a_programs_own(sim: Simulation, tmp_path: Path) -> None:
    before = sys.argv, os.getcwd()
    (tmp_path / "below").mkdir()

    def program(name: str) -> list[Any]:
        seen: list[Any] = [list(sys.argv), os.getcwd()]
        time.sleep(1)
        Path(f"{name}.txt").write_text("here")
        os.chdir("below")
        sys.argv = [*sys.argv, "more"]
        time.sleep(1)
        return [*seen, sys.argv[-1], os.getcwd()]

    made = [sim.program(program, name, name=name, argv=["-v", name], cwd=tmp_path) for name in "ab"]
    other = sim.program(lambda: [time.sleep(0.5), os.getcwd(), sys.argv][1:])
    sim.run()
    for program_made, name in zip(made, "ab", strict=True):
        assert program_made.result == [[name, "-v", name], str(tmp_path), "more", str(tmp_path / "below")]
    assert other.result == [before[1], before[0]]
    assert (sys.argv, os.getcwd()) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt", "below"]


def test_a_program_that_changes_its_folder_changes_no_others(sim: Simulation, tmp_path: Path) -> None:
    before = os.getcwd()

    def program() -> list[str]:
        seen = []
        thread = threading.Thread(target=lambda: (time.sleep(2), seen.append(os.getcwd())))
        thread.start()
        os.chdir(tmp_path)
        time.sleep(1)
        seen.append(os.getcwd())
        thread.join()
        return seen

    made = sim.program(program)
    other = sim.program(lambda: (time.sleep(0.5), os.getcwd())[1])
    sim.run(until=lambda: made.over)
    assert (made.result, other.result, os.getcwd()) == ([str(tmp_path)] * 2, before, before)


def test_what_is_wrong_is_refused_before_anything_runs(sim: Simulation, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cwd: there is no folder"):
        sim.program(time.sleep, 1, cwd=tmp_path / "missing")
    with pytest.raises(TypeError, match="env: 'A': 1 must be text"):
        sim.program(time.sleep, 1, env={"A": 1})  # type: ignore[dict-item]
    with pytest.raises(FileNotFoundError):
        sim.script(tmp_path / "missing.py")
    (tmp_path / "wrong.py").write_text("def")
    with pytest.raises(SyntaxError):
        sim.script(tmp_path / "wrong.py")
    with pytest.raises(ValueError):  # there is none
        sim.run()


SCRIPT = """
import argparse
import dataclasses
import pickle
import sys
import time
from beside import FACTOR

@dataclasses.dataclass
class Job:
    number: int

def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int)
    seconds = parser.parse_args().seconds
    time.sleep(seconds * FACTOR)
    job = pickle.loads(pickle.dumps(Job(seconds)))
    assert type(job) is Job and sys.modules["__main__"].Job is Job and sys.argv[0] == __file__
    return 0 if seconds < 5 else 3

if __name__ == "__main__":
    sys.exit(main())
"""


def test_a_script_runs_as_main(sim: Simulation, tmp_path: Path) -> None:
    path, main = tmp_path / "job.py", sys.modules["__main__"]
    path.write_text(SCRIPT)
    (tmp_path / "beside.py").write_text("FACTOR = 10\n")
    made = [sim.script(path, ["--seconds", str(seconds)]) for seconds in (1, 2)]
    assert [program.name for program in made] == ["job", "job-2"]
    sim.run()
    assert [program.state for program in made] == ["over", "over"]
    assert sim.now_ns == sim.world.started_ns + 20 * 10**9
    assert sys.modules["__main__"] is main
    sim.script(path, ["--seconds", "5"], name="late")
    with pytest.raises(ProgramFailed, match="program 'late' ended with status 3"):
        sim.run()
    assert "beside" not in sys.modules


def test_modules_beside_a_script_are_its_own(sim: Simulation, tmp_path: Path) -> None:
    (tmp_path / "counter_beside.py").write_text("import os\nNAME = os.environ['NAME']\ncount = 0\n")
    code = "import os, time, counter_beside as c\nfor _ in range(3):\n    c.count += 1\n    time.sleep(1)\n"
    (tmp_path / "counts.py").write_text(
        f"{code}import counter_beside\nos._exit(c.count + (counter_beside.NAME == 'b'))\n"
    )
    made = [sim.script(tmp_path / "counts.py", name=name, env={"NAME": name}, restart_after_s=1e6) for name in "ab"]
    sim.run(for_s=100)
    assert [program.status for program in made] == [3, 4]


def test_each_life_of_a_script_begins_with_an_empty_memory(sim: Simulation, tmp_path: Path) -> None:
    path = tmp_path / "counter.py"
    path.write_text("import os\ncount = globals().get('count', 0) + 1\nos._exit(count - 1)\n")
    made = [sim.script(path, name=name) for name in "ab"]
    sim.run()
    assert [program.status for program in made] == [0, 0]


def test_an_executor_meets_a_script(sim: Simulation, colony: ColonyClient, tmp_path: Path) -> None:
    process = colony.submit("f", executortype="a")
    sim.program(serve, colony.add_executor("a"), forever=True)
    sim.run(until=lambda: process.state is ProcessState.SUCCESS)
