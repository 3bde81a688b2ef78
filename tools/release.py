"""Make a release: raise the version, export, build, commit, tag. It pushes nothing: it prints what to push.

python tools/release.py --version X.Y.Z | --part major|minor|patch  [--dry-run]"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import wheel
from packaging.version import InvalidVersion, Version
from settings_ini import package_version

ROOT = Path(__file__).resolve().parents[1]
CHANGELOG, DIST = ROOT / "CHANGELOG.md", ROOT / "dist"
PARTS = ("major", "minor", "patch")


def run(*command, **environ):
    "Run a command in the clone; what it printed. Ends with its words where it fails"
    done = subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))} failed:\n{done.stdout}{done.stderr}")
    return done.stdout


def raised(version, part):
    "The version with one part raised by one"
    from nbdev.release import bump_version  # takes a second to import, which a refusal need not wait for

    return bump_version(version, PARTS.index(part))


def next_version(asked, current):
    "The version to release; the current one counts as long as it has no tag"
    try:
        version = str(Version(asked.version or raised(current, asked.part)))
    except InvalidVersion:
        raise SystemExit(f"{asked.version!r} is no version; give one as 1.2.3") from None
    if Version(version) < Version(current):
        raise SystemExit(f"{version} is older than {current}, which cdc_utils/__init__.py states")
    return version


def section(text, title):
    "What the changelog says under a title; None where it lacks it"
    found = re.search(rf"^## {re.escape(title)}\b[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return found[1].strip() if found else None


def released(text, version):
    "The changelog with a section of this version: it is there, or `Unreleased` becomes it"
    if section(text, version):
        return text
    if section(text, "Unreleased"):
        return re.sub(r"^## Unreleased\b.*", f"## {version}", text, count=1, flags=re.MULTILINE)
    raise SystemExit(
        f"CHANGELOG.md says nothing under `## {version}` or `## Unreleased`: write what is new, and commit it"
    )


def checked(version):
    "Refuse what can be seen before anything is changed; the changelog as it will be"
    if changed := run("git", "status", "--porcelain").strip():
        raise SystemExit(f"the tree is not clean; commit or stash first:\n{changed}")
    if run("git", "tag", "--list", f"v{version}").strip():
        raise SystemExit(f"the tag v{version} is there already: choose another version")
    return released(CHANGELOG.read_text(), version)


def build():
    "The deployed wheel, those of cdc_utils and cdc_local, and the sources of both; their paths"
    lay_outs = {"cdc_utils": wheel.lay_out_whole, "cdc_local": wheel.lay_out_local}
    for lay_out in lay_outs.values():
        with tempfile.TemporaryDirectory() as work:
            lay_out(work)
            options = ("--sdist", "--no-isolation", "--outdir", DIST)
            run(sys.executable, "-m", "build", *options, work, SOURCE_DATE_EPOCH=wheel.EPOCH)
    sources = [DIST / f"{package}-{package_version(ROOT)}.tar.gz" for package in lay_outs]
    return [wheel.build(DIST), *(wheel.build(DIST, lay_out) for lay_out in lay_outs.values()), *sources]


def make(version, changelog):
    "Change, build, commit, tag; what failed leaves the tree as it was"
    from nbdev.config import set_version

    try:
        CHANGELOG.write_text(changelog)
        set_version(ROOT / "cdc_utils", version)
        run(sys.executable, ROOT / "tools/check.py", "export")
        made = build()
    except BaseException:
        run("git", "checkout", "--", ".")
        raise
    if run("git", "status", "--porcelain").strip():
        run("git", "commit", "-qam", f"Release {version}")
    run(
        "git",
        "tag",
        "-a",
        f"v{version}",
        "-m",
        f"cdc_utils {version}\n\n{section(changelog, version)}",
        "--cleanup=verbatim",
    )
    return made


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="make release ARGS=…")
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--version", metavar="X.Y.Z", help="the version to release")
    which.add_argument("--part", choices=PARTS, help="the part of the version to raise by one")
    parser.add_argument("--dry-run", action="store_true", help="check and tell; change nothing")
    asked = parser.parse_args(arguments)
    current = package_version(ROOT)
    version = next_version(asked, current)
    changelog = checked(version)
    if asked.dry_run:
        return print(f"would release {version} (now {current}):\n\n{section(changelog, version)}")
    for path in make(version, changelog):
        print(f"built {path.relative_to(ROOT)}")
    print(
        f"committed and tagged v{version}; to publish it:\n\n    git push origin HEAD v{version}\n\n"
        f"and to take it back: git tag -d v{version}"
        + ("" if version == current else "; git reset --hard HEAD~1")
    )


if __name__ == "__main__":
    main(sys.argv[1:])
