"""Programs of scenarios: ordinary code from a file, in `count` copies, each with its own name and key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from string import Template
from typing import Annotated, Any, Final, NamedTuple

from msgspec import Meta

from colonysim.core.values import Value
from colonysim.extensions import BadCode, Loader
from colonysim.kernel import randomness
from colonysim.kernel.randomness import AnySpan, NotNegative
from colonysim.programs.host import ProgramFailed
from colonysim.programs.program import Program
from colonysim.programs.surroundings import Script
from colonysim.simulation.client import ColonyClient
from colonysim.simulation.simulation import Simulation
from colonysim.simulation.stock import PORT, environment
from colonysim.wire import identity
from colonysim.workloads.arrivals import Many

HOST: Final = "localhost"
_SCRIPT: Final = ":__main__"
CODE_FIX: Final = "write file.py:function or package.module:function"


class ProgramGroup(Value, frozen=True, kw_only=True):
    """Ordinary blocking code that runs in virtual time: `count` times, called `name`-1 and so on.

    `code` is `file.py:function`, with the file beside the scenario, or `package.module:function`. It is called with
    `args` and `kwargs`; in texts there `$name`, `$key` and `$id` are those of each program, `$number` counts from 1,
    `$seed`, `$colony`, `$colony_key` and `$user_key` are the run's. The environment has the variables that SDKs
    read, for the user of the colony.

    `executor_type`: it is an executor of that type, for faults; `registered`: it is added and approved before it
    starts. `forever`: it is not expected to end. `restart_after_s`: if it ends with an error, it is started again after
    that time; otherwise that is a failure of the run. `env`: more environment variables, and `argv`: what
    `sys.argv` has after the program's name, with the same words as `args`. `child_s`: how many virtual seconds child
    processes take, by patterns of their commands. `file.py:__main__` runs a whole file as a script.
    """

    name: str
    code: Annotated[str, Meta(pattern=r"^[^:]+:[A-Za-z_][A-Za-z0-9_]*$", extra={"fix": CODE_FIX})]
    count: Many = 1
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    executor_type: str = ""
    registered: bool = False
    forever: bool = False
    starts: AnySpan = 0.0
    restart_after_s: NotNegative | None = None
    env: dict[str, str] = {}
    argv: list[str] = []
    child_s: dict[str, NotNegative] = {}

    def check(self) -> None:
        if self.registered and not self.executor_type:
            raise self.refused("executor_type", "a registered program needs an executor type")
        if self.code.endswith(_SCRIPT) and (self.args or self.kwargs):
            raise self.refused("code", "a script takes no args and kwargs: give it argv or env")


class BadProgram(BadCode):
    """Code cannot be run as a program. The text says where it was looked for, and what was found."""


class _Part(NamedTuple):
    group: ProgramGroup
    name: str
    number: int
    key: identity.Identity
    start_ns: int


class ScenarioPrograms:
    """All programs of one run of a scenario."""

    def __init__(self, sim: Simulation, colony: ColonyClient, groups: tuple[ProgramGroup, ...], loader: Loader) -> None:
        self.sim = sim
        self.colony = colony
        self.loader = loader
        self.parts = [part for group in groups for part in self._parts(group)]
        self.functions: dict[str, Callable[..., Any]] = {}
        self.programs: dict[str, Program] = {}

    def _parts(self, group: ProgramGroup) -> Iterator[_Part]:
        seed = self.sim.settings.seed
        starts = randomness.drawer(group.starts, randomness.source(seed, f"programs/{group.name}/starts"))
        for place in range(1, group.count + 1):
            name = group.name if group.count == 1 else f"{group.name}-{place}"
            yield _Part(group, name, place, identity.derived(seed, f"executor/{self.colony.name}/{name}"), starts(None))

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment variables by which SDKs find the server, the colony and its user."""
        colony = self.colony
        return environment(HOST, PORT, self.sim.settings.server_key) | {
            "COLONIES_COLONY_NAME": colony.name,
            "COLONIES_COLONY_PRVKEY": colony.identity.private_key,
            "COLONIES_PRVKEY": colony.user.identity.private_key,
        }

    def register(self) -> None:
        """Add the `registered` programs to the colony. Raises ValueError if a name is used twice."""
        for part in self.parts:
            if part.group.registered:
                self.colony.add_executor(part.group.executor_type, part.name)

    @contextmanager
    def loaded(self) -> Iterator[None]:
        """Load the code, before SDK calls and clocks are redirected. Raises BadProgram."""
        with self.loader.active():
            self.functions = {part.group.code: _function(self.loader, part.group.code) for part in self.parts}
            yield

    @contextmanager
    def running(self) -> Iterator[None]:
        """Start the programs, and stop them at the end."""
        for part in self.parts:
            self._start(part, self.functions[part.group.code])
        try:
            yield
        finally:
            self.sim.stop_programs()

    def _start(self, part: _Part, function: Callable[..., Any]) -> None:
        group = part.group
        words = {
            "name": part.name,
            "key": part.key.private_key,
            "id": part.key.id,
            "number": str(part.number),
            "seed": str(self.sim.settings.seed),
            "colony": self.colony.name,
            "colony_key": self.colony.identity.private_key,
            "user_key": self.colony.user.identity.private_key,
        }
        options: dict[str, Any] = {
            "name": part.name,
            "executor_type": group.executor_type,
            "forever": group.forever,
            "restart_after_s": group.restart_after_s,
            "starts_after_s": part.start_ns / 1e9,
            "env": _filled(group.env, words),
            "child_s": group.child_s or None,
        }
        argv = _filled(group.argv, words)
        if isinstance(function, Script):
            started = self.sim.script(function.path, argv, **options)
        else:
            args, kwargs = _filled(group.args, words), _filled(group.kwargs, words)
            started = self.sim.program(partial(function, *args, **kwargs), argv=argv or None, **options)
        self.programs[part.name] = started

    def group_of(self, failed: ProgramFailed) -> str:
        """Return the name of the group of a failed program."""
        return next((part.group.name for part in self.parts if part.name == failed.name), failed.name)

    def unfinished(self) -> list[tuple[str, str]]:
        """Return the groups of programs that should have ended and have not, and what each waits for."""
        groups = {part.name: part.group.name for part in self.parts}
        found: dict[str, str] = {}
        for name, program in self.programs.items():
            if not program.over and not program.forever:
                found.setdefault(groups[name], program.waits_for or "nothing")
        return list(found.items())

    def is_at_rest(self) -> bool:
        """Whether all programs that are expected to end have ended, and none is about to act."""
        programs = self.sim.kernel.programs
        return programs is None or (programs.finished and not programs.ready)


def check_code(groups: tuple[ProgramGroup, ...], base: Path) -> None:
    """Load the code of programs without starting them. Raises BadProgram."""
    loader = Loader(base)
    with loader.active():
        for group in groups:
            _function(loader, group.code)


def _function(loader: Loader, code: str) -> Callable[..., Any]:
    """Return the function that `code` names, or the script. Raises BadProgram."""
    if code.endswith(_SCRIPT):
        path = loader.base / code.removesuffix(_SCRIPT)
        try:
            return Script(path)
        except OSError as error:
            raise BadProgram(f"{path} cannot be read: {error.strerror or error}") from error
        except (SyntaxError, ValueError) as error:
            raise BadProgram(f"{path} is not Python code: {error}") from error
    try:
        return loader.load(code, "function", callable)  # type: ignore[no-any-return]
    except BadCode as error:
        raise BadProgram(str(error)) from error.__cause__


def _filled(value: Any, words: dict[str, str]) -> Any:
    if isinstance(value, str):
        return Template(value).safe_substitute(words)
    if isinstance(value, list):
        return [_filled(one, words) for one in value]
    if isinstance(value, dict):
        return {key: _filled(one, words) for key, one in value.items()}
    return value
