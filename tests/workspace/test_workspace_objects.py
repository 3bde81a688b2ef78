"Files, folders and notebooks below the calls: described, listed, made, deleted and uploaded"

import pytest

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.files import (
    check_volume_path,
    delete_object,
    describe_object,
    list_folder,
    list_volume_folder,
    make_folder,
)
from cdc_local.workspace.uploads import save_file

VOLUMES = {"main.default.raw"}


@pytest.fixture
def home(paths):
    "A folder with a notebook, a notebook in source form and a script"
    make_folder(paths, "/Users/ann")
    home = paths.local("/Users/ann")
    (home / "exploration.ipynb").write_text("{}")
    (home / "load.py").write_text("# Databricks notebook source\nprint(1)\n")
    (home / "etl.py").write_text("print(1)\n")
    return home


def test_a_refused_call_has_a_status_a_code_and_a_sentence():
    refused = CallError("RESOURCE_DOES_NOT_EXIST", "Path (/Workspace/etl.py) doesn't exist.")
    assert (refused.status, refused.answer) == (
        404,
        {"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "Path (/Workspace/etl.py) doesn't exist."},
    )


def test_an_object_is_a_folder_a_notebook_or_a_file(paths, home):
    names = ("", "/exploration", "/load", "/etl.py")
    kinds = [describe_object(paths, f"/Users/ann{name}")["object_type"] for name in names]
    assert kinds == ["DIRECTORY", "NOTEBOOK", "NOTEBOOK", "FILE"]
    assert describe_object(paths, "/Users/ann/load")["language"] == "PYTHON"
    assert describe_object(paths, "/Users/ann/etl.py")["size"] == len("print(1)\n")
    with pytest.raises(CallError, match=r"Path \(/Users/bob\) doesn't exist\."):
        describe_object(paths, "/Users/bob")


def test_a_folder_is_listed_by_name_and_a_file_lists_itself(paths, home):
    names = [entry["path"] for entry in list_folder(paths, "/Users/ann")]
    assert names == [f"/Workspace/Users/ann/{name}" for name in ("etl.py", "exploration", "load")]
    assert [entry["path"] for entry in list_folder(paths, "/Users/ann/etl.py")] == [
        "/Workspace/Users/ann/etl.py"
    ]
    with pytest.raises(CallError, match="doesn't exist"):
        list_folder(paths, "/Users/bob")


def test_a_folder_is_made_with_those_above_it_and_may_be_there(paths, home):
    for _ in range(2):
        make_folder(paths, "/Users/bob/a/b")
    assert describe_object(paths, "/Users/bob/a/b")["object_type"] == "DIRECTORY"
    with pytest.raises(CallError, match="a file is in the way"):
        make_folder(paths, "/Users/ann/etl.py/x")


def test_a_folder_with_something_in_it_is_deleted_only_when_asked_for(paths):
    make_folder(paths, "/Users/bob/a/b")
    with pytest.raises(CallError, match="is not empty"):
        delete_object(paths, "/Users/bob")
    assert len(set(delete_object(paths, "/Users/bob", recursive=True))) == 3  # a number of each folder
    with pytest.raises(CallError, match="doesn't exist"):
        delete_object(paths, "/Users/bob")


def test_a_notebook_is_deleted_by_its_path_without_suffix(paths, home):
    delete_object(paths, "/Users/ann/load")
    assert not (home / "load.py").exists()


def test_the_tree_itself_is_not_deleted(paths, home):
    with pytest.raises(CallError, match="the whole tree"):
        delete_object(paths, "/Workspace", recursive=True)


def test_a_file_is_replaced_only_with_overwrite(paths, home):
    save_file(paths, "/Users/ann/new.py", [b"print", b"(2)"])
    assert (home / "new.py").read_bytes() == b"print(2)"
    with pytest.raises(CallError, match=r"already exists\."):
        save_file(paths, "/Users/ann/new.py", [b"x"])
    assert (home / "new.py").read_bytes() == b"print(2)"
    save_file(paths, "/Users/ann/new.py", [b"print(3)"], overwrite=True)
    assert (home / "new.py").read_bytes() == b"print(3)"


def test_a_folder_is_not_overwritten_by_a_file(paths, home):
    with pytest.raises(CallError, match=r"already exists\."):
        save_file(paths, "/Users/ann", [b"x"], overwrite=True)


def test_a_file_whose_folder_is_missing_is_refused_unless_it_may_be_made(paths, home):
    lock = "/Users/ann/.bundle/state/deploy.lock"
    with pytest.raises(CallError, match=r"The parent folder \(/Users/ann/\.bundle/state\) doesn't exist\."):
        save_file(paths, lock, [b"{}"])
    save_file(paths, lock, [b"{}"], make_parents=True)
    assert paths.local(lock).read_bytes() == b"{}"


def test_an_upload_over_its_limit_leaves_no_file(paths, home):
    with pytest.raises(CallError, match="larger than 10 bytes"):
        save_file(paths, "/Users/ann/big", [b"x" * 11], limit=10)
    assert not (home / "big").exists()
    assert list((paths.storage.root / "workspace/uploads").iterdir()) == []


def test_a_path_must_be_below_a_volume_that_was_declared():
    assert (
        check_volume_path("/Volumes/main/default/RAW/Day.json", VOLUMES.__contains__)
        == "/Volumes/main/default/raw/Day.json"
    )
    with pytest.raises(CallError, match=r"Volume 'main\.default\.other' does not exist\."):
        check_volume_path("/Volumes/main/default/other/x", VOLUMES.__contains__)
    for path in ("/Volumes/main/default", "/Volumes", "/Users/ann/x"):
        with pytest.raises(CallError, match="is not below a volume"):
            check_volume_path(path, VOLUMES.__contains__)


def test_a_folder_of_a_volume_lists_files_with_their_size(paths):
    save_file(paths, "/Volumes/main/default/raw/customers/1.json", [b'{"id": 1}\n'], make_parents=True)
    (folder,) = list_volume_folder(paths, "/Volumes/main/default/raw")
    assert (folder["name"], folder["is_directory"], "file_size" in folder) == ("customers", True, False)
    (file,) = list_volume_folder(paths, "/Volumes/main/default/raw/customers")
    assert (file["path"], file["file_size"]) == ("/Volumes/main/default/raw/customers/1.json", 10)
    with pytest.raises(CallError, match="does not exist"):
        list_volume_folder(paths, "/Volumes/main/default/raw/orders")
