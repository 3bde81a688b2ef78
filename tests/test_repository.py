"What the files at the top of the repository say of the others: paths that are there, targets of `make`."

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = sorted(path.parent.name for path in (ROOT / "cdc_local").glob("*/__init__.py"))
TARGETS = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text(), re.M))
ENDINGS = "ipynb|py|md|toml|yml|txt|lock|ini"


def named_paths(text):
    "Files and folders of this repository that a text names in backticks or as a link"
    quoted = re.findall(rf"`([\w.-]+(?:/[\w.-]+)*(?:/|\.(?:{ENDINGS})))`", text)
    return {*quoted, *re.findall(r"\]\((?!\w+:)([^)#]+)\)", text)}


@pytest.mark.parametrize("name", ["AGENTS.md", "llms.txt", "SECURITY.md"])
def test_a_file_names_paths_that_are_there(name):
    paths = named_paths((ROOT / name).read_text())
    assert paths and [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def change_map():
    "What to change -> the paths to open, of the table in CONTRIBUTING.md"
    table = (ROOT / "CONTRIBUTING.md").read_text().split("| to change | open |")[1].split("\n\n")[0]
    rows = [row.strip("| ").split(" | ") for row in table.splitlines()[2:]]
    return {what: named_paths(where) for what, where in rows}


def test_the_map_of_changes_leads_to_files_that_are_there():
    for what, paths in change_map().items():
        assert paths, what
        assert [path for path in sorted(paths) if not (ROOT / path).exists()] == [], what


def test_the_map_of_changes_leads_to_every_room():
    paths = set().union(*change_map().values())
    assert [room for room in ROOMS if not any(path.startswith(f"cdc_local/{room}/") for path in paths)] == []


@pytest.mark.parametrize("name", [".gitlab-ci.yml", ".github/workflows/ci.yml"])
def test_ci_runs_targets_that_make_has(name):
    asked = set(re.findall(r"^ *- (?:run: )?make ([a-z0-9-]+)", (ROOT / name).read_text(), re.M))
    assert {"docs"} <= asked <= TARGETS
