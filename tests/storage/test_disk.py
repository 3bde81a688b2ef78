"Where a storage cannot be written, or has no room left; what mends a damaged file."

import errno
import os
import shutil
from types import SimpleNamespace

import pytest

from cdc_local import storage as module
from cdc_local.errors import PipelineError, UsageError
from cdc_local.storage import (
    Storage,
    check_free_space,
    check_writable,
    full_disk_error,
    is_full_disk,
    lock_storage,
    mending_hint,
    read_json,
)


@pytest.fixture
def unwritable(monkeypatch):
    "Let this user not write some paths: root may write everything that is not on a read-only disk."
    refused, access = set(), os.access
    monkeypatch.setattr(
        module.os,
        "access",
        lambda path, mode: not (mode & os.W_OK and path in refused) and access(path, mode),
    )
    return refused


def test_a_folder_that_is_there_or_can_be_made(tmp_path):
    check_writable(tmp_path)
    check_writable(tmp_path / "new/deep")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("below", ["", "new", "new/deep"])
def test_a_folder_of_another_user_is_refused_before_anything_starts(tmp_path, unwritable, below):
    unwritable.add(tmp_path)
    with pytest.raises(UsageError, match="cannot be written, since it belongs to another user"):
        Storage(tmp_path / below).create()
    assert list(tmp_path.iterdir()) == []


def test_what_another_user_made_in_a_storage_is_named(storage, unwritable):
    (storage.root / "tables").mkdir()
    unwritable.add(storage.root / "tables")
    with pytest.raises(UsageError, match=f"storage {storage.root}: {storage.root}/tables cannot be written"):
        storage.create()
    with pytest.raises(UsageError, match="tables cannot be written"), lock_storage(storage):
        pass


def test_a_read_only_disk_says_so_and_can_be_read(storage, unwritable, monkeypatch):
    unwritable.add(storage.root)
    monkeypatch.setattr(module.os, "statvfs", lambda path: SimpleNamespace(f_flag=os.ST_RDONLY))
    with pytest.raises(UsageError, match="since its disk is read-only; .*`cdc show` and `cdc events` still"):
        storage.create()
    storage.check()


@pytest.mark.parametrize("below", ["", "new"])
def test_a_file_is_no_storage(tmp_path, below):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(UsageError, match=f"{file} is a file; name a folder with --storage"):
        Storage(file / below).create()


@pytest.mark.parametrize(
    "error, full",
    [
        (OSError(errno.ENOSPC, "x"), True),
        (OSError(errno.EDQUOT, "x"), True),
        ("java.io.IOException: No space left on device", True),
        ("Generic LocalFileSystem error: Disk quota exceeded (os error 122)", True),
        (OSError(errno.ENOENT, "x"), False),
        ("no space", False),
    ],
)
def test_a_full_disk_is_known_by_its_number_or_its_words(error, full):
    assert is_full_disk(error) == full


def test_a_full_disk_says_how_much_is_left_and_where(tmp_path, monkeypatch):
    free = SimpleNamespace(free=3 * 2**20 + 5)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    error = full_disk_error(tmp_path / "new", tmp_path)
    assert str(error) == (
        f"the disk is full; there are 3 MiB in {tmp_path / 'new'} and 3 MiB in {tmp_path}; "
        "make room and run again: what was committed stays, and the next update goes on from there"
    )
    assert error.exit_code == 1
    check_free_space(tmp_path / "new", 2 * 2**20)
    with pytest.raises(PipelineError, match="the disk is full"):
        check_free_space(tmp_path / "new", 2 * 2**20 + 6)


@pytest.mark.parametrize(
    "file, hint",
    [
        ("tables/main/default/sales/_delta_log/00000000000000000001.json", "cdc run … --full-refresh sales"),
        ("checkpoints/main/default/sales/flow/checkpoint/offsets/3", "cdc run … --full-refresh sales"),
        ("checkpoints/main/default/sales/flow/schemas/1a/auto_loader.json", "delete it: the columns"),
        ("event_log/_delta_log/00000000000000000001.json", "move .*event_log away"),
        ("state/reset.json", "restore it from a copy, or begin anew"),
        ("storage.json", "restore it from a copy, or begin anew"),
    ],
)
def test_a_damaged_file_has_a_way_out(storage, file, hint):
    path = storage.root / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{")
    with pytest.raises(UsageError, match=hint):
        read_json(path)
    if file == "storage.json":
        path.unlink()
    assert "restore it from a copy" in mending_hint(storage.root.parent / "elsewhere.json")
