"Paths that a client sends, and where they lie on this machine"

import pytest

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.paths import check_path, is_notebook, object_id

NO_NAMES = [
    "/Users/../../etc/passwd",
    "/Volumes/a/b/c/./d",
    "/Users/a\0b",
    "/Users/..\\..\\x",
    "/Users/%2e%2e/x",
    "/Users/a%2Fb",
    "/Users/%252e",
    "/Users/a\nb",
    "/Users/\ud800",
    "/Users/" + "a" * 256,
]


@pytest.fixture
def home(paths):
    "A folder with a notebook, a notebook in source form, a script, and a link that leads out"
    home = paths.local("/Users/ann")
    home.mkdir(parents=True)
    (home / "exploration.ipynb").write_text("{}")
    (home / "load.py").write_text("# Databricks notebook source\nprint(1)\n")
    (home / "etl.py").write_text("print(1)\n")
    (home / "out").symlink_to(paths.storage.root.parent)
    return home


def test_users_is_the_older_spelling_of_a_path_of_the_workspace():
    assert check_path("/Users/ann/etl.py") == check_path("//Workspace/Users/ann//etl.py/")
    assert check_path("/") == ("Workspace",)


def test_a_path_of_a_volume_is_read_in_lower_case_down_to_the_volume():
    expected = ("Volumes", "main", "default", "raw", "Day.json")
    assert check_path("/Volumes/Main/Default/Raw/Day.json") == expected
    assert check_path("dbfs:/Volumes/main/default/raw/Day.json") == expected


def test_a_name_may_have_letters_of_any_alphabet_and_spaces():
    assert check_path("/Users/ann/grüße an alle.py") == ("Workspace", "Users", "ann", "grüße an alle.py")


@pytest.mark.parametrize("path", NO_NAMES, ids=range(len(NO_NAMES)))
def test_a_part_that_is_no_plain_name_is_refused(path):
    with pytest.raises(CallError, match="no name of a file or folder"):
        check_path(path)


@pytest.mark.parametrize("path", ["", "Users/ann", "C:/Users", "s3://bucket/x"])
def test_a_path_that_does_not_begin_at_the_root_is_refused(path):
    with pytest.raises(CallError, match="is not absolute"):
        check_path(path)


def test_a_notebook_has_no_suffix_in_its_path(paths, home):
    assert paths.local("/Users/ann/exploration") == home / "exploration.ipynb"
    assert paths.local("/Users/ann/load") == home / "load.py"
    assert paths.remote(home / "load.py") == "/Workspace/Users/ann/load"
    assert paths.remote(home / "etl.py") == "/Workspace/Users/ann/etl.py"
    assert [
        is_notebook(home / name) for name in ("exploration.ipynb", "load.py", "etl.py", "none.ipynb")
    ] == [
        True,
        True,
        False,
        False,
    ]


def test_a_path_of_nothing_lies_where_it_would_be(paths, home):
    assert paths.local("/Users/ann/nothing") == home / "nothing"
    assert (
        paths.local("/Volumes/main/default/raw/day.json")
        == paths.storage.root / "Volumes/main/default/raw/day.json"
    )


def test_a_link_that_leads_out_is_refused(paths, home):
    with pytest.raises(CallError, match="leads out of Workspace"):
        paths.local("/Users/ann/out/secret")


def test_an_object_has_one_number_in_every_spelling():
    assert object_id("/Users/ann") == object_id("/Workspace/Users/ann") < 2**52
    assert object_id("/Users/ann") != object_id("/Users/bob")
