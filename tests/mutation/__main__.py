"""Plant mutants and count what finds them: python -m tests.mutation --help."""

from __future__ import annotations

import argparse
import gc
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from tests.mutation.coverage import Recorder
from tests.mutation.mutants import MODULES, OWN, ROOT, Mutant, Source
from tests.mutation.planting import Functions, MutatedImport
from tests.mutation.processes import Child, Say, Work, run_all
from tests.mutation.trials import BY, Judge, Trial, verdict

LISTED = Path(__file__).with_name("survivors.json")
GOAL = {"tests": 0.97, "invariants": 0.40}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__.partition(":")[0])
    parser.add_argument(
        "--module", action="append", choices=MODULES, help="a module of colonysim.core; may be repeated, all without it"
    )
    parser.add_argument("--by", choices=list(BY), default="tests", help="what has to find the mutants")
    parser.add_argument("--workers", type=int, default=1, help="so many mutants at the same time")
    parser.add_argument("--json", type=Path, help="write every verdict to this file, and go on from those in it")
    parser.add_argument("--again", type=Path, help="only mutants that survived in this file, an earlier --json")
    parser.add_argument(
        "--coverage", type=Path, help="keep in this file which lines each test runs, and use it if it is there"
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=60.0,
        help="try each mutant with the likeliest trials that take so many seconds in all",
    )
    parser.add_argument(
        "--tests", action="append", type=Path, help="only the tests in this file or folder; may be repeated"
    )
    parser.add_argument("--trust", action="store_true", help="take it that what is listed in survivors.json survives")
    parser.add_argument("--only", default="", help="only mutants whose key holds this text")
    parser.add_argument(
        "--every",
        type=int,
        default=1,
        help="a sample: only every mutant whose number is a multiple of this of each module",
    )
    parser.add_argument("--sample", type=int, help="so many mutants of all modules, drawn with --seed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--list", action="store_true", help="print the mutants and do nothing else")
    parser.add_argument("--alone", type=int, help=argparse.SUPPRESS)  # one mutant, imported; trials come on stdin
    return parser.parse_args()


def main() -> None:
    options = arguments()
    names = options.module or list(MODULES)
    sources = [Source(name) for name in names]
    if options.list:
        for source in sources:
            for mutant in source.mutants():
                print(f"{mutant.number:4} {mutant.key}")
    elif options.alone is not None:
        alone(sources[0], options)
    else:
        campaign = Campaign(sources, options)
        BY[options.by](campaign.run, options.tests)
        sys.exit(campaign.report())


class Campaign:
    """All mutants of some modules, tried by one judge."""

    def __init__(self, sources: list[Source], options: argparse.Namespace) -> None:
        self.sources, self.options = sources, options
        again = json.loads(options.again.read_text())["verdicts"] if options.again else None
        self.mutants = {
            source.module: [
                mutant
                for mutant in source.mutants()
                if mutant.number % options.every == 0
                and options.only in mutant.key
                and (again is None or not again.get(mutant.key, {}).get("killed"))
            ]
            for source in sources
        }
        if options.sample is not None:
            drawn = [mutant.key for mutants in self.mutants.values() for mutant in mutants]
            drawn = random.Random(options.seed).sample(drawn, min(options.sample, len(drawn)))
            self.mutants = {name: [each for each in found if each.key in drawn] for name, found in self.mutants.items()}
        self.verdicts: dict[str, dict[str, Any]] = {}
        if options.json is not None and options.json.exists():
            known = json.loads(options.json.read_text())["verdicts"]
            keys = {mutant.key for mutants in self.mutants.values() for mutant in mutants}
            self.verdicts = {key: each for key, each in known.items() if key in keys}
        self.kills: Counter[tuple[str, str]] = Counter()  # by function and trial
        self.began = time.monotonic()

        if options.trust:
            for key in json.loads(LISTED.read_text()):
                if any(mutant.key == key for mutants in self.mutants.values() for mutant in mutants):
                    self.verdicts.setdefault(key, {"killed": False, "tried": 0})

    # ------------------------------------------------------------ the run
    def run(self, judge: Judge) -> None:
        trials = self._trials(judge)
        functions = {source.module: Functions(source) for source in self.sources}
        gc.freeze()
        run_all(self._jobs(judge, trials, functions), self.options.workers, self._done)

    def _trials(self, judge: Judge) -> list[Trial]:
        """All trials, run once without a mutant, in a process of their own."""
        file = self.options.coverage
        known: dict[str, Trial] = {}
        if file is not None and file.exists():
            known = {entry["name"]: Trial(**entry) for entry in json.loads(file.read_text())}
        names = [name for name in judge.names if name not in known]

        def done(child: Child) -> None:
            for entry in child.said:
                if entry.pop("passed"):
                    known[entry["name"]] = Trial(**entry)

        job = partial(_record, judge, names, [Source(name) for name in MODULES])
        run_all(iter([("coverage", job)]), 1, done)
        found = []
        for name in judge.names:
            if name in known:
                found.append(known[name])
            else:
                self._print(f"not used, for it fails without a mutant: {name}")
        self._print(f"{len(found)} trials take {sum(trial.usual_s for trial in found):.1f} s")
        if file is not None:
            file.write_text(json.dumps([asdict(trial) for trial in known.values()]))
        return found

    def _jobs(self, judge: Judge, trials: list[Trial], functions: dict[str, Functions]) -> Iterator[tuple[Any, Work]]:
        for module, mutants in self.mutants.items():
            for mutant in mutants:
                if mutant.key in self.verdicts:
                    continue
                chosen = self._chosen(mutant, trials)
                if not chosen:  # perhaps it runs at the import alone
                    mutant.static = True
                    chosen = self._chosen(mutant, trials)
                yield mutant, partial(_try, judge, mutant, chosen, functions[module], self.options)

    def _chosen(self, mutant: Mutant, trials: list[Trial]) -> list[Trial]:
        """The trials that run the mutated lines, those first that are quick or have found something close by."""

        def concerns(trial: Trial) -> bool:
            lines = trial.lines.get(mutant.module, ())
            return bool(lines) if mutant.static else any(line in mutant.lines for line in lines)

        def cost(trial: Trial) -> float:
            here = self.kills[f"{mutant.module}.{mutant.qualname}", trial.name]
            anywhere = self.kills[mutant.module, trial.name]
            own = 1000 if any(part in trial.name for part in OWN[mutant.module]) else 0
            return trial.usual_s / (1 + own + 20 * here + anywhere)

        affordable, spent_s = [], 0.0
        for trial in sorted(filter(concerns, trials), key=cost):
            spent_s += trial.usual_s
            if spent_s > self.options.budget and affordable:
                break
            affordable.append(trial)
        return affordable

    def _done(self, child: Child) -> None:
        mutant: Mutant = child.job
        took_s = round(time.monotonic() - child.began, 1)
        last = child.said[-1] if child.said else {}
        if "killed" not in last:  # it has died of it, or has been stopped
            by = last.get("trial", "")
            last = {"killed": self.options.by == "tests", "by": by, "how": "stopped" if child.stopped else "died"}
        self.verdicts[mutant.key] = last | {"took_s": took_s}
        if last["killed"]:
            self.kills[f"{mutant.module}.{mutant.qualname}", last["by"]] += 1
            self.kills[mutant.module, last["by"]] += 1
        else:
            self._print(f"survived: {mutant.key}")
        if len(self.verdicts) % 20 == 0:
            self._print(f"{len(self.verdicts)} of {sum(map(len, self.mutants.values()))}")
            self._write()

    def _print(self, text: str) -> None:
        print(f"{time.monotonic() - self.began:6.0f} s  {text}", flush=True)

    # ------------------------------------------------------------ the report
    def report(self) -> int:
        """Print the figures; 1 where the goal is missed or a survivor is not listed, else 0."""
        self._write()
        listed: dict[str, str] = json.loads(LISTED.read_text()) if LISTED.exists() else {}
        print(f"\n{'module':14}{'mutants':>8}{'killed':>8}{'share':>8}{'survive':>9}{'listed':>8}")
        total = Counter[str]()
        for module, mutants in self.mutants.items():
            tried = [mutant for mutant in mutants if mutant.key in self.verdicts]
            survivors = [mutant.key for mutant in tried if not self.verdicts[mutant.key]["killed"]]
            counts = Counter(
                mutants=len(tried),
                killed=len(tried) - len(survivors),
                survive=len(survivors),
                listed=sum(key in listed for key in survivors),
            )
            total += counts
            _print_row(module, counts)
        _print_row("all", total)
        if self.options.by == "invariants":
            return int(total["killed"] < GOAL["invariants"] * total["mutants"])
        unlisted = [key for key, each in self.verdicts.items() if not each["killed"] and key not in listed]
        for key in unlisted:
            print(f"not listed in {LISTED.name}: {key}")
        for key in listed:
            if self.verdicts.get(key, {}).get("killed"):
                print(f"listed in {LISTED.name}, but found: {key}")
        return int(bool(unlisted) or total["killed"] < GOAL["tests"] * total["mutants"])

    def _write(self) -> None:
        if self.options.json is not None:
            self.options.json.write_text(json.dumps({"by": self.options.by, "verdicts": self.verdicts}, indent=1))


def _print_row(name: str, counts: Counter[str]) -> None:
    share = counts["killed"] / counts["mutants"] if counts["mutants"] else 1.0
    print(f"{name:14}{counts['mutants']:8}{counts['killed']:8}{share:8.1%}{counts['survive']:9}{counts['listed']:8}")


# ---------------------------------------------------------------- in a child
def _record(judge: Judge, names: list[str], sources: list[Source], say: Say) -> None:
    recorder = Recorder(sources)
    for name, after in zip(names, [*names[1:], None], strict=False):
        began = time.process_time()
        passed = judge.passes(name, None)
        usual_s = time.process_time() - began
        with recorder.recording():
            passed = judge.passes(name, after) and passed
        say({"name": name, "passed": passed, "usual_s": usual_s, "lines": recorder.lines()})


def _try(
    judge: Judge, mutant: Mutant, trials: list[Trial], functions: Functions, options: argparse.Namespace, say: Say
) -> None:
    def tell(trial: Trial) -> None:
        say({"trial": trial.name, "usual_s": trial.usual_s})

    if functions.plant(mutant):
        say(verdict(judge, trials, tell))
    else:
        usual_s = sum(trial.usual_s for trial in trials)
        say({"trial": "imported anew", "usual_s": usual_s})
        command = [sys.executable, "-m", "tests.mutation", "--by", options.by, "--module", mutant.module]
        command += ["--alone", str(mutant.number)]
        command += [f"--tests={path}" for path in options.tests or ()]
        asked = json.dumps([asdict(Trial(trial.name, trial.usual_s)) for trial in trials])
        ended = subprocess.run(command, input=asked, capture_output=True, text=True, cwd=ROOT, check=False)
        answer = ended.stdout.strip().splitlines()[-1:]
        if answer and answer[0].startswith("{"):
            say(json.loads(answer[0]))
        else:  # it cannot even be imported
            say({"killed": options.by == "tests", "by": "import", "how": ended.stderr[-300:]})


def alone(source: Source, options: argparse.Namespace) -> None:
    """Try one mutant in this process, with its module imported anew; the answer is the last line printed."""
    mutant = source.mutants()[options.alone - 1]
    MutatedImport(source, mutant).install()
    trials = [Trial(**entry) for entry in json.load(sys.stdin)]

    def then(judge: Judge) -> None:
        print("\n" + json.dumps(verdict(judge, trials, lambda trial: None)), flush=True)

    BY[options.by](then, options.tests)


if __name__ == "__main__":
    main()
