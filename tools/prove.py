"""Deeper proofs than `make test` has time for: more examples, more kills, and every mutant in tests/mutants
caught.

    python tools/prove.py [laws] [kills] [pipelines] [mutants] [PATH …] [--examples N] [--kills N]

All four without a name; PATH is a patch or a folder of them. A mutant is a small fault in one function,
`tests/mutants/MODULE/FUNCTION.patch`, whose first lines say what it breaks and which test or notebook must
catch it. It is applied in a copy of the tree; a patch that no longer applies, or that nothing catches, fails
the proof."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MUTANTS = ROOT / "tests/mutants"
BIN = ROOT / ".venv/bin"
PROOFS = ["laws", "kills", "pipelines", "mutants"]
UPDATE = """from nbdev import sync
absolute = sync.absolute_import # forgets how many dots `from .. import name` has
sync.absolute_import = lambda name, path, level: absolute(name, path, level) if name else '.'.join(path.split('/')[:1 - level or None])
sync.nbdev_update()"""


def caught_by(patch):
    "The test or notebook that a patch names"
    lines = [
        line.removeprefix("Caught-by:").strip()
        for line in patch.read_text().splitlines()
        if line.startswith("Caught-by:")
    ]
    if len(lines) != 1:
        raise SystemExit(f"{patch}: it must have one line `Caught-by: tests/… or nbs/…`")
    return lines[0]


def applies(patch, tree, check=True):
    "Apply a patch, or only see whether it would; with little context, so that its place may move"
    done = subprocess.run(
        ["git", "apply", "--unidiff-zero", "-C1", *(["--check"] if check else []), str(patch)],
        cwd=tree,
        capture_output=True,
        text=True,
    )
    return done.stderr.strip() if done.returncode else ""


def scratch(folder):
    "A copy of what the tests need; it is no git repository, and reads the environment of this one"
    tree = Path(folder) / "tree"
    shutil.copytree(
        ROOT,
        tree,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", ".cache", "build", "dist", "__pycache__", ".hypothesis", ".cdc"
        ),
    )
    subprocess.run(
        ["git", "init", "-q"], cwd=tree, check=True
    )  # else git apply would look at the repository around it
    return tree


def run(argv, cwd, **environ):
    return subprocess.run(
        list(map(str, argv)),
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(cwd), **environ},
        capture_output=True,
        text=True,
        timeout=1200,
    )


def judged(test, tree):
    "Run the test or the notebook that a patch names"
    if test.endswith(".ipynb"):
        run(
            [BIN / "python", "-c", UPDATE], tree
        ).check_returncode()  # a chapter runs its own cells: put the fault there as well
    argv = (
        [BIN / "nbdev_test", test]
        if test.endswith(".ipynb")
        else [BIN / "pytest", "-q", "-x", "-p", "no:cacheprovider", *test.split()]
    )
    return run(argv, tree, HYPOTHESIS_STORAGE_DIRECTORY=str(tree / ".hypothesis"))


def catch(patch, tree, report):
    "Put one fault in, run its test, take it out; True if the test went red"
    wrong, began = applies(patch, tree, check=False), time.monotonic()
    if wrong:
        report(f"STALE     {patch.relative_to(MUTANTS)}: {wrong.splitlines()[0]}")
        return False
    test, before = caught_by(patch), {path: path.read_bytes() for path in tree.glob("nbs/**/*.ipynb")}
    try:
        done = judged(test, tree)
    finally:
        subprocess.run(["git", "apply", "-R", "--unidiff-zero", "-C1", str(patch)], cwd=tree, check=True)
        for path, notebook in before.items():
            path.write_bytes(notebook)
    broken = done.returncode == 1
    report(
        f"{'caught  ' if broken else 'SURVIVED'}  {patch.relative_to(MUTANTS)}  {test}  {time.monotonic() - began:.0f} s"
    )
    if done.returncode not in (0, 1):
        report(f"          the test did not run: {(done.stdout + done.stderr)[-300:]}")
    return broken


def mutants(patches, report):
    "Every fault given; their count and how many were caught"
    with tempfile.TemporaryDirectory(prefix="cdc-mutants-") as folder:
        tree = scratch(folder)
        red = [test for test in sorted(set(map(caught_by, patches))) if judged(test, tree).returncode]
        for test in red:
            report(f"RED       {test} without any fault: it can catch none")
        return len(patches), sum(
            catch(patch, tree, report) for patch in patches if caught_by(patch) not in red
        )


def patches_of(name, refuse):
    "The patches at a path"
    path = Path(name).resolve()
    found = [path] if path.is_file() else sorted(path.rglob("*.patch"))
    if not found or not path.is_relative_to(MUTANTS):
        refuse(f"{name}: no patch of tests/mutants lies there; the proofs are {', '.join(PROOFS)}")
    return found


def tests(report, path, **environ):
    done = subprocess.run([str(BIN / "pytest"), "-q", "-s", path], cwd=ROOT, env={**os.environ, **environ})
    report(f"{'holds     ' if done.returncode == 0 else 'BROKEN    '}{path} with {environ}")
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="*", help="laws, kills, pipelines, mutants, or paths of patches")
    parser.add_argument("--examples", default="25")
    parser.add_argument("--kills", default="20")
    asked, lines, good = parser.parse_args(), [], []

    def report(line):
        lines.append(line)
        print(line, flush=True)

    what = [name for name in asked.what if name in PROOFS]
    patches = sorted(
        {patch for name in asked.what if name not in PROOFS for patch in patches_of(name, parser.error)}
    )
    what = what or ([] if patches else PROOFS)
    if "laws" in what:
        for path in (
            "tests/auto_cdc/test_laws.py",
            "tests/auto_cdc/test_small_batches.py",
            "tests/delta/test_writes.py",
        ):
            good.append(tests(report, path, LAWS_EXAMPLES=asked.examples))
    if "kills" in what:
        good.append(tests(report, "tests/update/test_kill.py", KILLS=asked.kills))
    if "pipelines" in what:
        good.append(tests(report, "tests/operations/test_prove.py", PROVE="1"))
    if "mutants" in what or patches:
        many, caught = mutants(patches or sorted(MUTANTS.rglob("*.patch")), report)
        report(f"{caught} of {many} mutants caught")
        good.append(many == caught)
    print("\n" + "\n".join(lines))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
