"""What works with the required packages alone, and what is said where an extra is missing.

Each test runs Python in a process of its own that can import the standard library, pytest, colonysim and what
colonysim requires, and only those of its other packages that are named.
"""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROVIDERS = packages_distributions()


def modules(*requirements: str) -> set[str]:
    """The names under which distributions and all that they require are imported, such as `colonysim[cli]`."""
    found: set[tuple[str, str]] = set()
    waiting = [Requirement(text) for text in requirements]
    while waiting:
        wanted = waiting.pop()
        for extra in ("", *wanted.extras):
            if (wanted.name, extra) in found:
                continue
            found.add((wanted.name, extra))
            for one in map(Requirement, requires(wanted.name) or ()):
                if one.marker is None or one.marker.evaluate({"extra": extra}):
                    waiting.append(one)
    names = {canonicalize_name(name) for name, _ in found}
    return {module for module, owners in PROVIDERS.items() if names & set(map(canonicalize_name, owners))} | {
        "colonysim"
    }


BLOCKER = '''
"""Hides every installed package that is not named."""

import sys
from importlib.machinery import PathFinder


class Blocker:
    @staticmethod
    def find_spec(name, path=None, target=None):
        spec = PathFinder.find_spec(name, path, target)
        if spec is None or name.partition(".")[0] in {named!r}:
            return spec
        places = [spec.origin or "", *(spec.submodule_search_locations or ())]
        return None if any("site-packages" in str(place) for place in places) else spec


sys.meta_path[sys.meta_path.index(PathFinder)] = Blocker
'''


def python(folder: Path, *words: str, installed: set[str]) -> subprocess.CompletedProcess[str]:
    """Run a module in a folder, where of all installed packages only these can be imported."""
    folder.joinpath("blocker.py").write_text(BLOCKER.format(named=installed), encoding="utf-8")
    start = "import sys; sys.path.insert(0, ''); import blocker, runpy; "
    run = f"sys.argv = {list(words)!r}; runpy.run_module({words[0]!r}, run_name='__main__', alter_sys=True)"
    environment = {"PATH": "", "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONWARNINGS": "error"}
    return subprocess.run(
        [sys.executable, "-c", start + run], cwd=folder, capture_output=True, text=True, env=environment, check=False
    )


def pytest_in(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a test file with pytest, colonysim without extras, and its plugin."""
    folder.joinpath("test_it.py").write_text(text, encoding="utf-8")
    (plugin,) = entry_points(group="pytest11", name="colonysim")
    words = ("-p", plugin.value, "-p", "no:cacheprovider", "-q")
    return python(folder, "pytest", *words, installed=modules("colonysim", "pytest"))


def test_colonysim_requires_three_packages_and_time_zones() -> None:
    assert modules("colonysim") >= {"colonysim", "msgspec", "sortedcontainers", "coincurve", "tzdata"}
    of_older_coincurve = {"_cffi_backend", "asn1crypto", "cffi", "pycparser"}
    assert modules("colonysim") <= {
        "colonysim",
        "msgspec",
        "sortedcontainers",
        "coincurve",
        "tzdata",
        *of_older_coincurve,
    }


def test_the_fixture_and_a_simulation_need_no_extra(tmp_path: Path) -> None:
    done = pytest_in(
        tmp_path,
        """
import pytest
from colonysim import ColonyClient, Lost, ProcessState, Simulation, faults

@pytest.mark.colonysim(faults=faults.LoseReply(when=faults.When(first=1)), seed=3)
def test_fixture(colony, executor_factory, colonysim):
    with pytest.raises(Lost):
        colony.submit("lost", executortype="none")
    process = colony.submit("square", [7], maxexectime=300, maxretries=1)
    executor = executor_factory("cli")
    executor.assign()
    colonysim.advance(301)
    executor.assign().close([49])
    assert process.output == [49]

def test_simulation(tmp_path):
    sim = Simulation(seed=1, timezone="Europe/Stockholm", journal=tmp_path / "journal")
    colony = ColonyClient.create(sim, "lab")
    executor = colony.add_executor("cli")
    process = colony.submit("greet", ["world"])
    sim.program(lambda one: one.assign(timeout_s=10).close(["hello"]), executor)
    sim.run(for_s=60)
    assert process.state is ProcessState.SUCCESS
    sim.check()
    assert sim.snapshot()
""",
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("test", "told"),
    [
        ("def test_server(colonysim_server): ...", "pip install 'colonysim[server]'"),
        ("def test_url(colonysim_url): ...", "pip install 'colonysim[server]'"),
        ("def test_s3(colonysim_s3): ...", "pip install 'colonysim[s3]'"),
        (
            "import pytest\n@pytest.mark.colonysim(scenario='any.yaml')\ndef test_scenario(colonysim_result): ...",
            "pip install 'colonysim[scenarios]'",
        ),
    ],
)
def test_a_fixture_that_lacks_its_extra_says_what_to_install(tmp_path: Path, test: str, told: str) -> None:
    done = pytest_in(tmp_path, test)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert told in done.stdout
    assert "Traceback" not in done.stdout
    assert "\nE  " not in done.stdout


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (
            "from colonysim import Simulation, WebServer; WebServer(Simulation()).start()",
            "a web server needs wsproto, which is not installed: pip install 'colonysim[server]'",
        ),
        (
            "from colonysim import Simulation, WebServer; WebServer(Simulation(), kind='asyncio').start()",
            "a web server needs wsproto, which is not installed: pip install 'colonysim[server]'",
        ),
        (
            "import colonysim.hypothesis",
            "colonysim.hypothesis needs hypothesis, which is not installed: pip install 'colonysim[hypothesis]'",
        ),
    ],
)
def test_a_part_of_the_library_that_lacks_its_extra_says_what_to_install(tmp_path: Path, code: str, told: str) -> None:
    tmp_path.joinpath("code_of_user.py").write_text(code, encoding="utf-8")
    done = python(tmp_path, "code_of_user", installed=modules("colonysim"))
    assert done.stderr.splitlines()[-1] == f"colonysim.extras.MissingExtra: {told}"
    assert "During handling" not in done.stderr


COMMANDS = [
    "bench", "compare any.yaml", "coverage", "dev --port 0", "explore any.yaml", "import-trace any.swf", "replay any",
    "report any",
    "run any.yaml", "serve --port 0", "shrink any.yaml", "sweep any.yaml", "validate any.yaml", "verify any", "demo", "init",
    "--help",
]  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_without_its_extra_says_what_to_install(tmp_path: Path, command: str) -> None:
    done = python(tmp_path, "colonysim", *command.split(), installed=modules("colonysim"))
    told = "the command line needs typer, which is not installed: pip install 'colonysim[cli]'"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"colonysim: {told}\n")


def test_all_commands_are_tried() -> None:
    from colonysim.cli.main import app

    names = {one.name or one.callback.__name__ for one in app.registered_commands if one.callback is not None}
    assert names == {command.split()[0] for command in COMMANDS} - {"--help"}


@pytest.mark.parametrize(
    ("command", "missing", "extra"),
    [("run any.yaml", "yaml", "scenarios"), ("validate any.yaml", "yaml", "scenarios")]
    + [(f"{command} --port 0", "wsproto", "server") for command in ("serve", "dev")],
)
def test_a_command_line_with_some_of_its_packages_names_the_others(
    tmp_path: Path, command: str, missing: str, extra: str
) -> None:
    done = python(tmp_path, "colonysim", *command.split(), installed=modules("colonysim", "typer", "rich"))
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("colonysim: a ")
    assert done.stderr.replace("\n", " ").endswith(
        f" needs {missing}, which is not installed: pip install 'colonysim[{extra}]' "
    )


def test_what_the_command_line_needs_is_what_its_extra_brings(tmp_path: Path) -> None:
    done = python(tmp_path, "colonysim", "--settings", installed=modules("colonysim[cli]"))
    assert done.returncode == 0, done.stderr
    assert "timezone" in done.stdout


def test_a_mistake_in_an_import_of_ours_is_no_missing_extra() -> None:
    from colonysim.extras import needed_for

    with pytest.raises(ModuleNotFoundError, match=r"colonysim\.nothing") as caught, needed_for("it"):
        import colonysim.nothing  # type: ignore[import-not-found]  # noqa: F401
    assert type(caught.value) is ModuleNotFoundError
