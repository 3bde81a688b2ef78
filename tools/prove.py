"""Deeper proofs than `make test` has time for: more examples, more kills, and faults to catch.

    python tools/prove.py [laws] [kills] [pipelines] [reference] [faults] [mutants] [engines] [PATH …]

All but `engines` without a name: that compares Sail with Spark, function by function, for half an hour, and
writes the list of what is the same (tools/engines.py). `reference` runs on Spark the tests that `make test`
runs on Sail, and writes down anew what Spark gives where `make test` compares with a record
(tests/update/spark_record.py). `faults` are those chosen by hand, `tests/mutants/ROOM.toml`; a PATH there
chooses rooms. `mutants` are made by Cosmic Ray; a PATH is a folder, a file or `FILE::function` of cdc_local
or cdc_utils. They run in a copy of the tree, and a sample of them is tried unless `--all` is given:

    python tools/prove.py mutants cdc_local/delta --sample 50 --minutes 20
    python tools/prove.py mutants cdc_local/delta/log.py::has_only_grown --all

A fault that nothing catches fails the proof. So does a law, a kill or a pipeline. A mutant that survives is
named and fails nothing: some behave like the original, which a person has to judge."""

import argparse
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import engines
import faults
import mutants
from scratch_tree import ROOT

PROOFS = {
    "laws": ("test_laws.py", "test_small_batches.py", "test_writes.py"),
    "kills": ("test_kill.py",),
    "pipelines": ("test_prove.py",),
    "reference": (),
    "faults": (),
    "mutants": (),
    "engines": (),
}  # and the files of tests, wherever in tests/ they lie


@dataclass
class Outcome:
    "What was proved, and what was not."

    good: bool = True
    lines: list[str] = field(default_factory=list)  # to print at the end

    def add(self, good: bool, *lines: str) -> None:
        self.good = self.good and good
        self.lines.extend(lines)


def report(line: str) -> None:
    print(line, flush=True)


def run_tests(
    names: tuple[str, ...],  # of files of tests
    environ: dict[str, str],  # variables that ask these tests for more
    outcome: Outcome,
) -> None:
    "Run tests of the work tree."
    for name in names:
        path = next((ROOT / "tests").rglob(name)).relative_to(ROOT).as_posix()
        run_pytest(["-s", path], environ, outcome)


def run_pytest(
    words: list[str],  # of its command line
    environ: dict[str, str],  # variables that the tests read
    outcome: Outcome,
) -> None:
    "Run some tests of the work tree."
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *words], cwd=ROOT, env={**os.environ, **environ}
    )
    good = done.returncode == 0
    outcome.add(good, f"{'holds     ' if good else 'BROKEN    '}{words[-1]} with {environ}")


def choose_faults(
    paths: list[Path],  # files of tests/mutants, or the folder
) -> list[faults.Fault]:
    if not paths:
        return list(faults.all_faults())
    return [
        fault
        for fault in faults.all_faults()
        if any((faults.FAULTS / f"{fault.room}.toml").is_relative_to(path) for path in paths)
    ]


def read_arguments() -> argparse.Namespace:
    "Read the command line; names of proofs and paths are told apart in `main`."
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help=f"{', '.join(PROOFS)}, or paths of faults or modules")
    parser.add_argument("--examples", default="25", help="examples a law, 25")
    parser.add_argument("--kills", default="20", help="kills, 20")
    parser.add_argument("--sample", type=int, default=40, help="mutants to try, chosen at random: 40")
    parser.add_argument("--seed", type=int, default=0, help="the same seed chooses the same mutants: 0")
    parser.add_argument("--all", action="store_true", help="try every mutant")
    parser.add_argument("--minutes", type=float, help="begin no further mutant after so many minutes")
    parser.add_argument(
        "--tests", action="append", default=[], help="judge mutants by these tests instead of their module's"
    )
    asked = parser.parse_args()
    asked.refuse = parser.error
    return asked


def try_faults(asked: argparse.Namespace, paths: list[Path], outcome: Outcome) -> None:
    chosen = choose_faults(paths)
    if not chosen:
        asked.refuse(f"{', '.join(map(str, paths))}: no fault stands there; name a file of tests/mutants")
    wrong = faults.try_faults(chosen, report)
    outcome.add(
        not wrong, *wrong, f"{len(chosen) - len(wrong)} of {len(chosen)} faults chosen by hand are caught"
    )


def try_mutants(asked: argparse.Namespace, names: list[str], outcome: Outcome) -> None:
    try:
        chosen = mutants.select_modules(names)
    except mutants.SelectionError as error:
        asked.refuse(str(error))
    count = None if asked.all else asked.sample
    tally = mutants.try_mutants(
        mutants.Selection(chosen, count, asked.seed, asked.minutes, tuple(asked.tests)), report
    )
    outcome.add(not tally.unjudged, *tally.conclusions())


def main() -> int:  # 0 if all that was asked for is proved
    asked, outcome = read_arguments(), Outcome()
    names = [name for name in asked.what if name not in PROOFS]
    of_faults = [Path(name).resolve() for name in names if Path(name).resolve().is_relative_to(faults.FAULTS)]
    of_mutants = [name for name in names if not Path(name).resolve().is_relative_to(faults.FAULTS)]
    what = {name for name in asked.what if name in PROOFS}
    what |= ({"faults"} if of_faults else set()) | ({"mutants"} if of_mutants else set())
    what = what or set(PROOFS) - {"engines"}
    environ = {
        "laws": {"LAWS_EXAMPLES": asked.examples, "CDC_ENGINE": "spark"},
        "kills": {"KILLS": asked.kills},
        "pipelines": {"PROVE": "1"},
    }
    for name in ("laws", "kills", "pipelines"):
        if name in what:
            run_tests(PROOFS[name], environ[name], outcome)
    if "laws" in what:
        run_tests(("test_laws.py",), environ["laws"] | {"CDC_ENGINE": "sail"}, outcome)
    if "reference" in what:
        run_pytest(["-m", "sail", "tests"], {"CDC_ENGINE": "spark"}, outcome)
        run_pytest(["tests/update/test_both_engines.py"], {"RECORD": "1"}, outcome)
    if "faults" in what:
        try_faults(asked, of_faults, outcome)
    if "mutants" in what:
        try_mutants(asked, of_mutants, outcome)
    if "engines" in what:
        outcome.add(True, *engines.prove([]))
    print("\n" + "\n".join(outcome.lines))
    return 0 if outcome.good else 1


if __name__ == "__main__":
    sys.exit(main())
