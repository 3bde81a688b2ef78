"Names, folders, paths of Databricks and the lock of a storage."

import json
import os
from pathlib import Path, PurePosixPath

import pytest

from cdc_local.errors import UsageError
from cdc_local.storage import (
    STORAGE_FORMAT,
    Storage,
    TableName,
    is_table,
    localize,
    lock_storage,
    read_json,
    remove_empty_log,
    write_json,
)


def table(name):
    return TableName("main", "default", name)


@pytest.mark.parametrize(
    "text, wanted",
    [
        *[
            (text, TableName("main", "default", "customers"))
            for text in (
                "customers",
                "LIVE.customers",
                "live.customers",
                "default.customers",
                "main.default.customers",
                "`main`.`default`.`customers`",
            )
        ],
        ("bronze.raw", TableName("main", "bronze", "raw")),
        ("live", TableName("main", "default", "live")),
        ("`a.b``c`", TableName("main", "default", "a.b`c")),
    ],
)
def test_names_of_tables(text, wanted):
    assert TableName.parse(text, "main", "default") == wanted


@pytest.mark.parametrize(
    "text",
    ["", "a.b.c.d", "../etc", "a/b", "`..`", "``", "main..customers", ".customers", "customers.", "`a`b"],
)
def test_what_is_no_name_of_a_table(text):
    with pytest.raises(UsageError, match="is not a table name"):
        TableName.parse(text, "main", "default")


def test_a_json_file_is_replaced_by_its_new_content(tmp_path):
    file = tmp_path / "state/flow.json"
    assert read_json(file) is None
    for content in ({"version": 3}, {"version": 4}):
        write_json(file, content)
        assert read_json(file) == content
    assert [path.name for path in file.parent.iterdir()] == ["flow.json"]
    write_json(file, {"folder": PurePosixPath("/data")})
    assert read_json(file) == {"folder": "/data"}


@pytest.mark.parametrize("content", [b'{"version": ', b"\xff\xfe"])
def test_a_broken_json_file_is_named(tmp_path, content):
    (tmp_path / "flow.json").write_bytes(content)
    with pytest.raises(UsageError, match="flow.json is broken"):
        read_json(tmp_path / "flow.json")


@pytest.mark.parametrize(
    "commit, is_there", [("00000000000000000000.json", True), (".00000000000000000000.json.2f1e.tmp", False)]
)
def test_a_table_is_there_once_its_log_has_a_commit(tmp_path, commit, is_there):
    log = tmp_path / "_delta_log"
    log.mkdir()
    (log / commit).touch()
    assert is_table(tmp_path) is is_there
    remove_empty_log(tmp_path)
    assert log.exists() is is_there


def test_a_folder_without_a_log_is_no_table(tmp_path):
    remove_empty_log(tmp_path)
    assert not is_table(tmp_path) and tmp_path.exists()


@pytest.mark.parametrize("name", ["my work", "é", "100%"])
def test_a_path_that_both_delta_libraries_find(tmp_path, name):
    assert Storage(tmp_path / name).root == tmp_path / name


@pytest.mark.parametrize("name", ["[work]", "a%41", "a\\b", "a^b", "a\nb"])
def test_a_path_that_a_delta_library_misreads_is_refused(storage, tmp_path, name):
    with pytest.raises(UsageError, match="a Delta table cannot lie there, since"):
        Storage(tmp_path / name)
    with pytest.raises(UsageError, match="is in the path; choose a name without"):
        storage.table_path(table(name))


def test_a_flow_has_a_folder_of_its_own(storage):
    path = storage.flow_path(table("customers"), "from files")
    assert path == storage.root / "checkpoints/main/default/customers/from_files"
    assert storage.table_path(table("customers")) == storage.root / "tables/main/default/customers"


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
        ("dbfs:/Volumes/a/b/*.json", "Volumes/a/b/*.json"),
        ("/dbfs/tmp/x", "dbfs/tmp/x"),
        ("dbfs:/tmp/x", "dbfs/tmp/x"),
        ("/databricks-datasets/songs/", "dbfs/databricks-datasets/songs/"),
        ("dbfs:/Volumesque/a", "dbfs/Volumesque/a"),
        ("/Volumes/a/./b/", "Volumes/a/b/"),
    ],
)
def test_paths_of_databricks(storage, path, wanted):
    assert localize(storage, path) == f"{storage.root}/{wanted}"


@pytest.mark.parametrize("path", ["/Volumesque/a", "Volumes/a", "/dbfsx/a", "/data//x", "s3://bucket/x"])
def test_other_paths_stay(storage, path):
    assert localize(storage, path) == path


@pytest.mark.parametrize(
    "path",
    ["/Volumes/../Volumes2/x", "/Volumes/../../etc/passwd", "dbfs:/../dbfs2", "/databricks-datasets/../../x"],
)
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


@pytest.mark.parametrize("sign", "*?{}")
def test_a_storage_lies_where_no_reader_takes_its_path_for_a_pattern(tmp_path, sign):
    with pytest.raises(UsageError, match="take .* for a pattern"):
        Storage(tmp_path / f"a{sign}b")


def test_what_lies_in_the_storage_is_named_from_there(tmp_path):
    storage = Storage(tmp_path)
    assert storage.relative_path(str(tmp_path / "Volumes/c/s/v/in")) == "Volumes/c/s/v/in"
    for outside in ("/elsewhere/in", str(tmp_path.parent), "s3://bucket/in"):
        assert storage.relative_path(outside) == outside


@pytest.fixture
def tables(storage):
    for path in (
        "main/default/sales",
        "lab/ops/machines",
        "lab/ops/orders",
        "main/crm/orders",
        "main/crm/Items",
    ):
        log = storage.root / "tables" / path / "_delta_log"
        log.mkdir(parents=True)
        (log / "00000000000000000000.json").write_text("{}")
    return storage


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("sales", "main.default.sales"),
        ("machines", "lab.ops.machines"),
        ("OPS.Machines", "lab.ops.machines"),
        ("crm.orders", "main.crm.orders"),
        ("items", "main.crm.Items"),
        ("main.crm.items", "main.crm.Items"),
        ("nowhere", "main.default.nowhere"),
        ("lab.ops.sales", "lab.ops.sales"),
    ],
)
def test_a_table_is_found_by_a_name_that_only_it_has(tables, text, wanted):
    assert str(tables.find_table(text, "main", "default")) == wanted


def test_a_name_that_several_tables_have_lists_them(tables):
    with pytest.raises(UsageError) as refused:
        tables.find_table("orders", "main", "default")
    assert str(refused.value) == (
        "orders is the name of 2 tables; write one in full: lab.ops.orders, main.crm.orders"
    )
