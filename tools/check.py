"""The project's checks, one after the other, each with its time.

A check of generated files compares the files before and after the step, not with git: it holds with
uncommitted work too."""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv/bin"
WORKERS, REPORTS = "2", "build/reports"  # JUnit's XML, for CI
ENV = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
CLOSING = (" passed", " failed", " error", " skipped", "no tests ran")


def command(name, *args):
    return [str(BIN / name), *map(str, args)]


def starts_session(notebook):
    "Tell that cells of a notebook start an engine, by a name or by a command"
    return bool(
        re.search(r"(local|start)_spark\(|run_update\(|\bcdc\(|checks\.session\(", notebook.read_text())
    )


def may_start_spark(notebook):
    "Tell that the engine may be Spark: no cell asks for Sail, or another asks for more"
    return bool(
        re.search(
            r"start_spark\(|local_spark\((?!engine=\\\"sail)|run_update\(|\bcdc\(|checks\.session\(",
            notebook.read_text(),
        )
    )


EXPORT = [
    command("nbdev-export"),
    command("python", "tools/settings_ini.py"),
    command("python", "tools/readme.py"),
    command("python", "tools/wheel.py", "--name"),
]


PYTEST = {  # folder -> title and options
    "nbs": ("notebooks show what they saved (nbval)", ["--nbval", f"--junitxml={REPORTS}/notebooks.xml"]),
    "tests": ("tests", ["--no-loadscope-reorder", f"--junitxml={REPORTS}/tests.xml"]),
}


def pytest(folder, *paths):
    "Title and command that run a folder, or paths in it"
    title, options = PYTEST[folder]
    return title, command("pytest", "-q", "-n", WORKERS, "--dist", "loadfile", *options, *(paths or [folder]))


def tests():
    "Titles and commands of `make test`"
    slow = sorted(path.name for path in (ROOT / "nbs").rglob("*.ipynb") if starts_session(path))
    return {
        # nbval runs the same cells once more, all of them: left to it are the pages that define nothing, and
        # the chapters that wait for an engine
        "chapters without an engine run (nbdev-test)": command(
            "nbdev-test",
            "--n-workers",
            WORKERS,
            "--skip-folder-re",
            "^([_.]|tutorials$|how_to$)",
            "--skip-file-re",
            f"^({'|'.join(map(re.escape, slow))})$",
        ),
        **dict(map(pytest, PYTEST)),
    }


def chosen(paths):
    """The same for some notebooks, tests, or folders of either; ends with what is wrong about a path that is
    neither"""
    named = {folder: [] for folder in PYTEST}
    for path in paths:
        place = (ROOT / path.partition("::")[0]).resolve()
        folder = (
            place.relative_to(ROOT).parts[0]
            if place != ROOT and place.is_relative_to(ROOT) and place.exists()
            else None
        )
        if folder not in named:
            sys.exit(
                f"{path} is no notebook in nbs/ and no test in tests/: name files as `git status` shows them"
            )
        named[folder].append(path)
    return dict(pytest(folder, *some) for folder, some in named.items() if some)


def docs(folder):
    "The steps that build the site, into `html` below a folder"
    return [
        command("python", "docs/stage.py", f"{folder}/docs-src"),
        command(
            "sphinx-build",
            "-j",
            "auto",
            "-W",
            "--keep-going",
            "-q",
            "-c",
            "docs",
            "-d",
            f"{folder}/doctrees",
            f"{folder}/docs-src",
            f"{folder}/html",
        ),
    ]


def differing(commit):
    """Files of this clone that are not as in a commit, those that git does not know yet included; ends with
    git's words where there is no such commit"""

    def listed(*words):
        done = subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"--since {commit}: {done.stderr.strip()}")
        return done.stdout.split("\0")[:-1]

    return sorted(
        {
            *listed("diff", "-z", "--name-only", "--relative", commit, "--"),
            *listed("ls-files", "-z", "--others", "--exclude-standard"),
        }
    )


def since(commit):
    """Notebooks and tests that differ from a commit, and those that import or name what does; ends where
    there are none"""
    differ = differing(commit)
    texts = {
        path.relative_to(ROOT).as_posix(): path.read_text()
        for pattern in ("nbs/**/[!.]*.ipynb", "tests/**/test_*.py")
        for path in sorted(ROOT.glob(pattern))
    }

    def mention(name):
        if not name.startswith(("cdc_utils/", "cdc_local/")):
            return re.escape(name)
        *package, module = Path(name).with_suffix("").parts
        return rf"{'[.]'.join([*package, module])}\b|from {'[.]'.join(package)} import [^\\\n]*\b{module}\b"

    mentions = {name: re.compile(mention(name)) for name in differ if name not in texts}
    found = [
        name
        for name, text in texts.items()
        if name in differ or any(pattern.search(text) for pattern in mentions.values())
    ]
    unseen = [
        name
        for name, pattern in mentions.items()
        if not any(map(pattern.search, texts.values())) and not name.endswith("_modidx.py")
    ]
    if unseen:
        print(f"no notebook and no test imports or names {', '.join(unseen)}")
    if not found:
        sys.exit(
            f"--since {commit}: no notebook and no test differs, or imports or names what does; "
            "`make test` runs all"
        )
    return found


class Report:
    "What ran, how long it took, how it ended"

    def __init__(self):
        self.rows, self.closing = [], []

    def step(self, title, run):
        print(f"\n== {title}", flush=True)
        began = time.monotonic()
        good = run()
        self.rows.append((title, time.monotonic() - began, good))
        return good

    def close(self):
        "Print the table, pytest's closing lines last; the exit status"
        print()
        for title, seconds, good in self.rows:
            print(f"{'ok    ' if good else 'FAILED'} {seconds:7.1f} s  {title}")
        for line in self.closing:
            print(line)
        return 0 if all(good for *_, good in self.rows) else 1


def run(argv, closing=None):
    "Run a command, its output as it comes; pytest's last line goes to `closing`"
    process = subprocess.Popen(
        argv,
        cwd=ROOT,
        env=ENV,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    last = ""
    for line in process.stdout:
        print(line, end="", flush=True)
        if any(word in line for word in CLOSING):
            last = line.rstrip()
    status = process.wait()
    if closing is not None:
        closing.append(last or f"{Path(argv[0]).name} ended with status {status}")
    return status == 0


def contents(*patterns):
    "Bytes of the files that the patterns name"
    return {
        path: path.read_bytes()
        for pattern in patterns
        for path in ROOT.glob(pattern)
        if path.is_file() and ".ipynb_checkpoints" not in path.parts and "__pycache__" not in path.parts
    }


def unchanged(patterns, commands, advice):
    "Run the commands; True if they ended well and changed none of the files, else say which and what to do"
    before = contents(*patterns)
    if not all(run(argv) for argv in commands):
        return False
    after = contents(*patterns)
    changed = sorted(
        str(path.relative_to(ROOT))
        for path in before.keys() | after.keys()
        if before.get(path) != after.get(path)
    )
    for path in changed:
        print(f"{path}: {advice}")
    return not changed


def test(report, paths=()):
    for title, argv in (chosen(paths) if paths else tests()).items():
        report.step(title, partial(run, argv, report.closing if "pytest" in argv[0] else None))


LINT = {  # title -> command, of what is read and not run
    "code is formatted (ruff format); make format does it": command("ruff", "format", "--check", "-q", "."),
    "code keeps the rules (ruff check)": command("ruff", "check", "-q", "."),
    "types of cdc_local hold (mypy)": command("mypy"),
}


def check(report):
    for title, argv in LINT.items():
        report.step(title, partial(run, argv))
    report.step(
        "notebooks are clean (nbdev-clean)",
        lambda: unchanged(
            ["nbs/**/*.ipynb"],
            [command("nbdev-clean")],
            "was not clean; it is now: look at it with git diff and commit it",
        ),
    )
    report.step(
        "what is generated is fresh (make export)",
        lambda: unchanged(
            ["cdc_utils/**/*", "README.md", "settings.ini", "bundles/app/wheel.yml"],
            EXPORT,
            "was not what the notebooks and pyproject.toml say; it is now: see git diff, and commit it",
        ),
    )
    test(report)


def main(what, *paths):
    "Run a check; the exit status"
    os.environ.pop("IN_TEST", None)
    ENV.pop("IN_TEST", None)  # it would make nbdev-export do nothing, without a word
    if what == "export":
        return 0 if all(run(argv) for argv in EXPORT) else 1
    if what == "docs":
        shutil.rmtree(
            ROOT / "build", ignore_errors=True
        )  # what an interrupted build left would end the next one
        good = all(run(argv) for argv in docs("build"))
        if good:
            print("build/html/index.html")
        return 0 if good else 1
    report = Report()
    if what == "check":
        check(report)
    else:
        test(report, paths)
    return report.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("test", "check", "export", "docs"))
    parser.add_argument(
        "paths",
        nargs="*",
        metavar="PATH",
        help="test only: notebooks, tests, or folders of them; all without",
    )
    parser.add_argument(
        "--since",
        metavar="COMMIT",
        nargs="?",
        const="HEAD",
        help="test only: what differs from a commit (HEAD: what is not committed), and what names that",
    )
    given = parser.parse_args()
    if given.what != "test" and (given.paths or given.since):
        parser.error(f"{given.what} takes no paths and no --since")
    try:
        sys.exit(main(given.what, *given.paths, *(since(given.since) if given.since else ())))
    except KeyboardInterrupt:
        sys.exit(130)
