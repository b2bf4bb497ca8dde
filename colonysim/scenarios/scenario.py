"""Scenarios: the parts of a run, as typed values that Python code and YAML files share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr, replace

from colonysim.core import policies
from colonysim.core.errors import Refusal
from colonysim.core.golang import cronexpr
from colonysim.core.settings import Settings, describe
from colonysim.core.values import BadValue, Value, instead, invalid
from colonysim.core.values import Path as Steps
from colonysim.extensions import BadCode, Loader, Registry, reference
from colonysim.faults.plan import Plan, Swarm
from colonysim.faults.registry import AnyFault
from colonysim.invariants.invariant import is_invariant
from colonysim.invariants.own import INVARIANTS
from colonysim.kernel import clock
from colonysim.kernel.randomness import NotNegative, Positive
from colonysim.reports.metrics import TAU_S
from colonysim.reports.window import MeasuredPart
from colonysim.scenarios import files, warnings
from colonysim.scenarios.checks import Check
from colonysim.scenarios.programs import ProgramGroup
from colonysim.traces import Recording
from colonysim.workloads.arrivals import MANY, Many
from colonysim.workloads.executors import ExecutorGroup
from colonysim.workloads.sites import site_name
from colonysim.workloads.submissions import Submission
from colonysim.workloads.workload import Workload

_LAST_START_NS: Final = clock.parse_time("2100-12-31T23:59:59Z")
"""Times are kept in 64 bits, until 2262; storm and calm may take 31 years each, a storm without an end 100."""
_Named = tuple[Steps, str, int]
"""The path of a name, the name, and its number of copies."""
_COPY: Final = re.compile(r"(.+)-([1-9][0-9]{0,8})", re.DOTALL)


class Phases(Value, frozen=True, kw_only=True):
    """The phases of a run: first a storm, then a calm.

    The storm ends after `storm_s` seconds, by default with the last submission; then faults, crons and submissions
    stop. The calm lasts until everything has come to rest, but at most `calm_s` seconds: anything still active then
    is a failure of the run.
    """

    storm_s: Positive | None = None
    calm_s: Positive = 86_400.0


class CronPlan(Value, frozen=True, kw_only=True):
    """A cron that the first user adds at the start, and removes after the storm.

    It has either an `expression` with six fields, seconds first, or `every_s`.
    """

    name: str
    submit: Submission
    expression: str = ""
    every_s: Annotated[int, Meta(ge=1)] | None = None
    waits_for_previous: bool = False

    def check(self) -> None:
        if bool(self.expression) == (self.every_s is not None):
            raise ValueError(f"cron {self.name!r} needs either an expression or every_s")
        if self.expression:
            try:
                cronexpr.parse(self.expression)
            except Refusal as refusal:
                fix = "write six fields, seconds first, such as '0 * * * * *' for each minute"
                raise self.refused("expression", f"{refusal.text}; {fix}") from None
        _check_same(self.submit)


class GeneratorPlan(Value, frozen=True, kw_only=True):
    """A generator that the first user adds at the start; submissions with its name as `generator` feed it."""

    name: str
    submit: Submission
    trigger: Annotated[int, Meta(ge=1)]
    timeout_s: Annotated[int, Meta(ge=-1)] = -1

    def check(self) -> None:
        _check_same(self.submit)


def _check_same(submission: Submission) -> None:
    """Raise BadValue if a spec that the server submits again and again should differ each time."""
    if submission.is_patience_drawn:
        why = "crons and generators submit the same each time; give maxwaittime as a number"
        raise submission.refused("maxwaittime", why).within(("submit",))
    if submission.estimates_by_run:
        why = "crons and generators submit the same each time; give expected_s as a number"
        raise submission.refused("expected_s", why).within(("submit",))


class Sites(Value, frozen=True, kw_only=True):
    """Executors for the sites of a trace: `total` of them, in proportion to the work of each site, at least one each.

    Each group has the name of its site, and the site as its location or as its type, as the trace says.
    """

    workload: str
    total: Many
    like: ExecutorGroup


class Measure(Value, frozen=True, kw_only=True):
    """What figures cover, and their parameters.

    They cover the processes submitted from `from_s` on and before `until_s`, in seconds from the start, but not those
    of the `warmup`: its length in seconds, or `auto` to find it by MSER-5. `batches`: from how many batch means
    an interval is made within the run. `tau_s` is the bound of the slowdown, `bins` the number of intervals of time in
    reports.
    """

    from_s: NotNegative = 0.0
    until_s: Positive | None = None
    warmup: NotNegative | Literal["auto"] | None = None
    batches: Annotated[int, Meta(ge=2, le=1000)] | None = None
    tau_s: Positive = TAU_S
    bins: Annotated[int, Meta(ge=10, le=5000)] = 600

    def check(self) -> None:
        if self.until_s is None:
            return
        if self.until_s <= self.from_s:
            raise self.refused("until_s", f"must be more than from_s={self.from_s:g}")
        if isinstance(self.warmup, (int, float)) and self.from_s + self.warmup >= self.until_s:
            raise self.refused("warmup", f"must end before until_s={self.until_s:g}, or nothing is left to measure")

    def part(self) -> MeasuredPart:
        """Return the part of the run to measure."""
        return MeasuredPart(from_s=self.from_s, until_s=self.until_s, warmup_s=self.warmup, batches=self.batches or 0)


class Report(Value, frozen=True, kw_only=True):
    """Files to write after a run; options of the command line take precedence."""

    html: str = ""
    perfetto: str = ""
    csv: str = ""
    summary: str = ""
    swf: str = ""
    batsim: str = ""
    parquet: str = ""
    gantt: str = ""
    gantt_by: Literal["function", "user"] = "function"


OWN_POLICIES: Final[Registry[Any]] = Registry("policies", "function", "policies", callable)
"""Policies of users: entry points of installed packages, and named code."""


def _is_own_policy(name: Any) -> bool:
    return isinstance(name, str) and name not in policies.POLICIES and (":" in name or OWN_POLICIES.knows(name))


_SETTINGS: Final = {"properties": {one.name: {"description": one.meaning} for one in describe() if one.name != "seed"}}
_INVARIANTS: Final = {"anyOf": [{"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]}


def _wrong_invariants(given: Any) -> str:
    if isinstance(given, bool):
        return ""
    if isinstance(given, str):
        return "expected bool, got str" + instead("Expected `bool`, got `str`", given)
    if isinstance(given, (list, tuple)) and all(isinstance(one, str) or is_invariant(one) for one in given):
        return ""
    return "expected true, false or a list of your own, each as file.py:Name"


class Scenario(Value, frozen=True, kw_only=True):
    """One run: a server, executors, clients, faults, and what must hold.

    `settings` are those of the server, without the seed; `policy` may be your own, as `file.py:function`. `faults`
    strike during the storm; `swarm` draws for each seed which of them do. `folder`: relative paths of traces and code
    start there, by default in the folder of the scenario file. `journal` keeps the whole history, for replay. `accept`
    names warnings that are expected or possible, as `kind: name` with wildcards: `fault: lost replies`,
    `executors: spare-*`. `invariants: false` turns the invariants off; a list adds your own, each as `file.py:Name`.
    """

    version: Literal[1] = 1
    name: str = "scenario"
    about: str = ""
    seed: int = 0
    settings: Annotated[dict[str, Any], Meta(extra_json_schema=_SETTINGS)] = {}
    colony: Annotated[str, Meta(min_length=1)] = "dev"
    executors: tuple[ExecutorGroup, ...] = ()
    sites: Sites | None = None
    programs: tuple[ProgramGroup, ...] = ()
    workload: tuple[Workload, ...] = ()
    crons: tuple[CronPlan, ...] = ()
    generators: tuple[GeneratorPlan, ...] = ()
    phases: Phases = Phases()
    faults: tuple[AnyFault, ...] = ()
    swarm: Swarm | None = None
    checks: tuple[Check, ...] = ()
    measure: Measure = Measure()
    report: Report = Report()
    accept: tuple[str, ...] = ()
    invariants: Annotated[
        Any, Meta(extra={"opaque": True, "check": _wrong_invariants}, extra_json_schema=_INVARIANTS)
    ] = True
    journal: bool = False
    folder: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.settings, dict) and callable(function := self.settings.get("policy")):
            name = reference(function)
            policies.add_own(name, function, is_given=True)
            force_setattr(self, "settings", {**self.settings, "policy": name})
        super().__post_init__()

    def check(self) -> None:
        self.server()
        groups: list[_Named] = [(("executors", place), one.name, one.count) for place, one in enumerate(self.executors)]
        groups += [(("programs", place), one.name, one.count) for place, one in enumerate(self.programs)]
        _check_names("executors and programs", groups)
        if sum(count for _, _, count in groups) > MANY:
            raise BadValue(f"there are more than {MANY:,} executors and programs in all", ("executors",))
        _check_names(
            "workload", [(("workload", place), one.name, one.users) for place, one in enumerate(self.workload)]
        )
        _check_names("crons", [(("crons", place), one.name, 1) for place, one in enumerate(self.crons)])
        _check_names("generators", [(("generators", place), one.name, 1) for place, one in enumerate(self.generators)])
        if self.faults and self.phases.storm_s is None:
            raise BadValue("faults end with the storm: give phases.storm_s, its length", ("faults",))
        self.plan()
        try:
            warnings.check_patterns(self.accept)
        except ValueError as error:
            raise BadValue(str(error), ("accept",)) from None
        if self.phases.storm_s is None:
            self._check_ends()
        self._check_references()

    def _check_ends(self) -> None:
        """Raise BadValue for parts that never end in a storm that ends with the last submission."""
        if self.crons:
            raise BadValue("crons never end: give phases.storm_s, the length of the storm", ("crons",))
        for place, one in enumerate(self.workload):
            if one.never_ends:
                raise BadValue(f"{one.why_endless}, or give phases.storm_s", ("workload", place))

    def _check_references(self) -> None:
        """Raise BadValue for unknown names of generators and workloads."""
        generators = [generator.name for generator in self.generators]
        for place, one in enumerate(self.workload):
            for submission in one.mix:
                if submission.generator and submission.generator not in generators:
                    known = ", ".join(generators) or "none"
                    text = f"there is no generator {submission.generator!r}; the generators are: {known}"
                    raise BadValue(text, ("workload", place, "mix"))
        if self.sites is not None and self.sites.workload not in [one.name for one in self.workload if one.trace]:
            text = f"there is no workload {self.sites.workload!r} with a trace"
            raise BadValue(text, ("sites", "workload"))

    def server(self, seed: int | None = None) -> Settings:
        """Return the settings of the server. Raises BadValue."""
        if "seed" in self.settings:
            text = "the seed is a field of the scenario itself, beside `settings`"
            raise BadValue(text, ("settings", "seed"))
        given = {**self.settings, "seed": self.seed if seed is None else seed}
        if policies.policy_of(str(policy := given.get("policy"))) is None and _is_own_policy(policy):
            del given["policy"]  # until it is loaded
        try:
            settings = Settings().overridden(**given)
        except BadValue as error:
            raise error.within(("settings",)) from None
        if "start" in self.settings and not 0 <= _time_of(settings.start) <= _LAST_START_NS:
            why = "is too early or too late; start in the years 1970 to 2100"
            raise invalid(("start",), settings.start, why).within(("settings",))
        return settings

    def plan(self) -> Plan:
        """Return the faults, which end with the storm. Raises BadValue."""
        return Plan(faults=self.faults, until_s=self.phases.storm_s, swarm=self.swarm)

    def with_code(self, loader: Loader) -> Scenario:
        """Load the policy, and return the scenario with loaded invariants in place of their names. Raises BadValue."""
        name = str(self.settings.get("policy"))
        known = policies.policy_of(name)
        if "policy" in self.settings and _is_own_policy(name) and (known is None or not known.is_given):
            try:
                policies.add_own(name, OWN_POLICIES.find(name, loader))
            except BadCode as error:
                raise BadValue(str(error), ("settings", "policy")) from error
        if isinstance(self.invariants, bool):
            return self
        kinds = []
        for place, given in enumerate(self.invariants):
            try:
                kinds.append(INVARIANTS.find(given, loader) if isinstance(given, str) else given)
            except BadCode as error:
                raise BadValue(str(error), ("invariants", place)) from error
        return replace(self, invariants=tuple(kinds))

    def base(self) -> Path:
        """Return the folder in which relative paths start."""
        return Path(self.folder)

    @classmethod
    def load(cls, path: Path | str, overrides: tuple[str, ...] = ()) -> Scenario:
        """Read a file; `overrides` are texts like `executors.0.count=50`. Raises BadScenario."""
        return files.load(cls, Path(path), overrides)

    @classmethod
    def read(cls, text: str, name: str = "scenario", overrides: tuple[str, ...] = ()) -> Scenario:
        """Read YAML text; `name` is what errors call it. Raises BadScenario."""
        return files.read(cls, text, name, overrides)

    @classmethod
    def schema(cls) -> dict[str, Any]:
        """Return the JSON Schema of scenario files."""
        return files.schema(cls)


def _time_of(text: str) -> int:
    """Return a time of the settings in nanoseconds. Raises BadValue."""
    try:
        return clock.parse_time(text)
    except ValueError as error:
        raise BadValue(str(error), ("settings", "start")) from None


def _check_names(where: str, groups: Sequence[_Named]) -> None:
    """Raise BadValue for names that are used twice; `count` copies of a name are called name-1, name-2 and so on.

    `groups`: path, name and count of each.
    """
    counts: dict[str, int] = {}
    for path, name, count in groups:
        if name in counts:
            raise BadValue(f"{where}: two are called {name!r}; names must differ", path)
        counts[name] = count
    for path, name, count in groups:
        copy = _COPY.fullmatch(name) if count == 1 else None
        if copy is not None and 1 < counts.get(copy[1], 0) >= int(copy[2]):
            several = f"the {counts[copy[1]]} of {copy[1]!r} are called {copy[1]}-1 and so on"
            raise BadValue(f"{where}: two are called {name!r}, for {several}; names must differ", path)


def groups_of(scenario: Scenario, recording: Recording | None = None) -> list[ExecutorGroup]:
    """Return all groups of executors, including those of sites; `recording`: their trace, if it has been read.

    Raises BadTrace.
    """
    groups = list(scenario.executors)
    if scenario.sites is None:
        return groups
    trace = next(one.trace for one in scenario.workload if one.name == scenario.sites.workload)
    assert trace is not None
    like = scenario.sites.like
    work = _work_by_site(trace.load(scenario.base()) if recording is None else recording)
    for site, count in shares(work, scenario.sites.total).items():
        name = site_name(site) if site else like.name
        fields: dict[str, Any] = {"name": name, "count": count}
        if site and trace.sites in ("location", "data"):
            fields["location"] = name
        elif site and trace.sites == "type":
            fields["type"] = name
        groups.append(msgspec.structs.replace(like, **fields))
    return groups


def _work_by_site(recording: Recording) -> dict[str, float]:
    work: dict[str, float] = {}
    for record in recording.records:
        work[record.site] = work.get(record.site, 0.0) + record.run_s
    return work


def shares(work: dict[str, float], total: int) -> dict[str, int]:
    """Divide a number in proportion, at least one each, by the method of largest remainders."""
    if len(work) >= total:
        return dict.fromkeys(work, 1)
    spare, whole = total - len(work), sum(work.values()) or 1.0
    exact = {site: spare * part / whole for site, part in work.items()}
    given = {site: 1 + int(share) for site, share in exact.items()}
    left = total - sum(given.values())
    for site in sorted(exact, key=lambda site: int(exact[site]) - exact[site])[:left]:
        given[site] += 1
    return given
