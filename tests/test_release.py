"`make release` on a clone: what it refuses, and that a release is a commit, a tag, wheels and sources."

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from cdc_utils import __version__

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import scratch_tree

NEXT = "98.7.6"


def run(clone, *command):
    return subprocess.run(list(map(str, command)), cwd=clone, capture_output=True, text=True, check=False)


def git(clone, *args):
    done = run(clone, "git", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def release(clone, *args):
    return run(clone, sys.executable, "tools/release.py", *args)


def commit(clone, name, text):
    (clone / name).write_text(text)
    git(clone, "add", name)
    if git(clone, "status", "--porcelain"):
        git(clone, "commit", "-qm", name)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "A repository with what this tree holds, and this environment"
    folder = tmp_path_factory.mktemp("release") / "tree"
    left_out = shutil.ignore_patterns(*scratch_tree.LEFT_OUT, *scratch_tree.BUILT)
    shutil.copytree(scratch_tree.ROOT, folder, symlinks=True, ignore=left_out)
    git(folder, "init", "-q")
    (folder / ".venv").symlink_to(Path(sys.prefix))
    (folder / ".git/info/exclude").write_text(".venv\n")
    git(folder, "config", "user.name", "t")
    git(folder, "config", "user.email", "t@example.org")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "as it is")
    return folder


@pytest.fixture
def clone(project):
    start = git(project, "rev-parse", "HEAD")
    yield project
    git(project, "reset", "-q", "--hard", start)
    for tag in git(project, "tag", "--list").split():
        git(project, "tag", "-d", tag)
    shutil.rmtree(project / "dist", ignore_errors=True)


def with_news(clone, title=NEXT):
    commit(
        clone,
        "CHANGELOG.md",
        f"# Changelog\n\n## {title}\n\n- `cdc` sings. # Loudly\n\n## 0.0.1\n\n- Older.\n",
    )


def refused(clone, words, *args):
    before = git(clone, "rev-parse", "HEAD"), git(clone, "tag", "--list"), git(clone, "status", "--porcelain")
    done = release(clone, *args)
    assert done.returncode != 0 and words in done.stderr, done.stdout + done.stderr
    assert before == (
        git(clone, "rev-parse", "HEAD"),
        git(clone, "tag", "--list"),
        git(clone, "status", "--porcelain"),
    )


def test_a_dirty_tree_is_refused(clone):
    with_news(clone)
    (clone / "README.md").write_text("changed")
    refused(clone, "README.md", "--version", NEXT)


def test_a_tag_that_is_there_is_refused(clone):
    with_news(clone)
    git(clone, "tag", f"v{NEXT}")
    refused(clone, f"the tag v{NEXT} is there already", "--version", NEXT)


def test_a_changelog_without_news_is_refused(clone):
    commit(clone, "CHANGELOG.md", "# Changelog\n\n## 0.0.1\n\n- Older.\n")
    refused(clone, f"says nothing under `## {NEXT}` or `## Unreleased`", "--version", NEXT)


def test_an_empty_section_is_refused(clone):
    commit(clone, "CHANGELOG.md", f"# Changelog\n\n## {NEXT}\n\n## 0.0.1\n\n- Older.\n")
    refused(clone, "says nothing under", "--version", NEXT)


def test_no_version_and_an_older_one_are_refused(clone):
    refused(clone, "is no version", "--version", "next")
    refused(clone, "0.0.1 is older than", "--version", "0.0.1")
    refused(clone, "required", "--dry-run")


def test_a_dry_run_tells_and_changes_nothing(clone):
    with_news(clone, "Unreleased")
    head = git(clone, "rev-parse", "HEAD")
    done = release(clone, "--part", "minor", "--dry-run")
    major, minor, _ = __version__.split(".")
    assert (
        f"would release {major}.{int(minor) + 1}.0 (now {__version__})" in done.stdout
        and "- `cdc` sings." in done.stdout
        and "Older" not in done.stdout
    )
    assert git(clone, "status", "--porcelain") == "" and git(clone, "rev-parse", "HEAD") == head


def test_what_fails_leaves_the_tree_as_it_was(clone):
    with_news(clone)
    commit(clone, "tools/check.py", "raise OSError('disk full')\n")
    refused(clone, "disk full", "--version", NEXT)


def test_a_release_is_a_commit_a_tag_wheels_and_sources(clone):
    with_news(clone, "Unreleased")
    before = git(clone, "rev-parse", "HEAD")
    done = release(clone, "--version", NEXT)
    assert done.returncode == 0, done.stderr
    assert (
        git(clone, "rev-parse", "HEAD~1") == before
        and git(clone, "log", "-1", "--format=%s") == f"Release {NEXT}"
    )
    assert (
        git(clone, "rev-parse", f"v{NEXT}^{{commit}}") == git(clone, "rev-parse", "HEAD")
        and git(clone, "status", "--porcelain") == ""
    )
    assert (
        git(clone, "tag", "-l", f"v{NEXT}", "--format=%(contents)")
        == f"cdc_utils {NEXT}\n\n- `cdc` sings. # Loudly"
    )
    assert f"git push origin HEAD v{NEXT}" in done.stdout
    changed = set(git(clone, "diff", "--name-only", before, "HEAD").split())
    assert changed == {"CHANGELOG.md", "cdc_utils/__init__.py", "settings.ini", "bundles/app/wheel.yml"}
    assert (
        f"## {NEXT}\n" in (clone / "CHANGELOG.md").read_text()
        and f"version = {NEXT}\n" in (clone / "settings.ini").read_text()
    )
    (deployed,) = (clone / "dist").glob(f"cdc_utils-{NEXT}+*.whl")
    assert deployed.name in (clone / "bundles/app/wheel.yml").read_text()
    for package, module in (("cdc_utils", "spec.py"), ("cdc_local", "cli/run.py")):
        with zipfile.ZipFile(clone / f"dist/{package}-{NEXT}-py3-none-any.whl") as wheel:
            assert f"{package}/{module}" in wheel.namelist()
        with tarfile.open(clone / f"dist/{package}-{NEXT}.tar.gz") as sources:
            assert {f"{package}-{NEXT}/{name}" for name in ("pyproject.toml", f"{package}/{module}")} <= set(
                sources.getnames()
            )
    for path in (clone / "dist").iterdir():
        assert f"built dist/{path.name}" in done.stdout
