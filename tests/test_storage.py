"Names, folders, paths of Databricks and the lock of a storage."

import json
import os
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.errors import UsageError
from cdc_local.storage import STORAGE_FORMAT, Storage, TableName, localize, lock_storage


def table(name):
    return TableName("main", "default", name)


def test_folders(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage(Path("cdc")).root == storage.root
    assert (storage.event_log_path, storage.state_path) == (
        storage.root / "event_log",
        storage.root / "state",
    )
    for name in ("b", "a"):
        (storage.table_path(table(name)) / "_delta_log").mkdir(parents=True)
        (storage.table_path(table(name)) / "_delta_log/00000000000000000000.json").touch()
    (storage.table_path(table("c")) / "data").mkdir(parents=True)
    assert storage.tables() == [table("a"), table("b")]


def test_a_newer_layout_stays_as_it_is(storage):
    marker = storage.root / "storage.json"
    assert json.loads(marker.read_text()) == {"format": STORAGE_FORMAT}
    marker.write_text('{"format": 99}')
    with pytest.raises(UsageError, match="storage format 99"):
        storage.create()
    assert marker.read_text() == '{"format": 99}'


@pytest.mark.parametrize(
    "path, wanted",
    [
        ("/Volumes", "Volumes"),
        ("dbfs:///Volumes/a/b", "Volumes/a/b"),
        ("/dbfs/Volumes/a/b", "Volumes/a/b"),
        ("/dbfs/tmp/x", "dbfs/tmp/x"),
        ("dbfs:/Volumesque/a", "dbfs/Volumesque/a"),
        ("/Volumes/a/./b/", "Volumes/a/b/"),
    ],
)
def test_paths_of_databricks(storage, path, wanted):
    assert localize(storage, path) == f"{storage.root}/{wanted}"


@pytest.mark.parametrize("path", ["/Volumesque/a", "Volumes/a", "/dbfsx/a", "/data//x"])
def test_other_paths_stay(storage, path):
    assert localize(storage, path) == path


@pytest.mark.parametrize("path", ["/Volumes/../Volumes2/x", "dbfs:/../dbfs2", "/databricks-datasets/../../x"])
def test_paths_that_climb_out(storage, path):
    with pytest.raises(UsageError, match="leaves the storage folder"):
        localize(storage, path)


def test_the_lock_names_its_owner_and_goes_with_an_error(storage):
    with pytest.raises(ZeroDivisionError), lock_storage(storage):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"), lock_storage(storage):
            pass
        raise ZeroDivisionError
    with lock_storage(storage):
        pass
