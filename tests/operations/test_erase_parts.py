"What an erasure is made of: its condition, the rows it finds, streams that are behind, tables written anew."

import json

import pytest

from cdc_local.errors import UsageError
from cdc_local.operations.erase import (
    MissingColumnError,
    TableMatches,
    check_keys_only,
    count_matches,
    delete_old_files,
    erase_rows,
    has_row_changes,
    read_condition,
    rewrite_without,
    streams_behind,
)
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

SEVEN = "id = '7'"
PIPELINE = """
from pyspark import pipelines as dp
@dp.table
def landed():
    files = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    files = files.schema('id string, city string, at int').load('/Volumes/main/default/raw/moves')
    return files.select('*', '_metadata.file_path').withColumnRenamed('file_path', 'source_file')
@dp.table
def quarantine(): return spark.readStream.table('landed').where('at IS NULL')
@dp.temporary_view
def good(): return spark.readStream.table('landed').where('at IS NOT NULL')
dp.create_streaming_table('moves')
dp.create_auto_cdc_flow('moves', 'good', ['id'], 'at', apply_as_deletes="city = 'gone'",
    except_column_list=['source_file'], stored_as_scd_type=2)
@dp.materialized_view
def cities(): return spark.read.table('moves').groupBy('city').count()
"""


def table(name):
    return TableName("main", "default", name)


@pytest.fixture
def rows(spark):
    return spark.createDataFrame([("7", "Bern"), ("8", "Rome"), (None, "Ulm")], "id STRING, city STRING")


def test_an_unknown_answer_keeps_a_row(rows):
    kept = rows.where(~read_condition(rows, SEVEN)).collect()
    assert [row.id for row in kept] == ["8", None]


def test_a_condition_on_a_column_that_a_table_lacks_names_it(rows):
    with pytest.raises(MissingColumnError) as missing:
        read_condition(rows, "customer_id = 7")
    assert missing.value.column == "customer_id"


@pytest.mark.parametrize(
    "where, message", [("1 = 1", "names no column"), ("id = ", "--where 'id = '"), ("id + 1", "--where 'id")]
)
def test_what_is_no_condition_on_rows_is_refused(rows, where, message):
    with pytest.raises(UsageError, match=message):
        read_condition(rows, where)


def test_the_keys_of_an_auto_cdc_target_go_whole(rows):
    check_keys_only(table("moves"), rows, ["id"], SEVEN)
    check_keys_only(table("landed"), rows, [], "city = 'Bern'")
    with pytest.raises(UsageError, match="whose keys go whole; write a condition on its keys: id"):
        check_keys_only(table("moves"), rows, ["id"], "city = 'Bern'")


def test_a_table_is_written_anew_without_rows_and_no_stream_sees_a_change(spark, rows, tmp_path):
    path = tmp_path / "people"
    rows.repartition(2).write.format("delta").save(str(path))
    before = set(path.glob("*.parquet"))
    rewrite_without(spark, path, read_condition(rows, SEVEN))
    assert before <= set(path.glob("*.parquet")), "the rows are gone, and their bytes are not"
    delete_old_files(path)
    assert sorted(row.city for row in spark.read.format("delta").load(str(path)).collect()) == ["Rome", "Ulm"]
    assert not before & set(path.glob("*.parquet"))
    assert (has_row_changes(path, 1), has_row_changes(path, 0)) == (False, True)


def test_rows_are_found_with_their_files_and_only_when_every_stream_has_read_them(spark, tmp_path):
    (tmp_path / "moves.py").write_text(PIPELINE.lstrip())
    storage = Storage(tmp_path / "storage")
    landing = storage.root / "Volumes/main/default/raw/moves"
    landing.mkdir(parents=True)
    sources = (str(tmp_path / "moves.py"),)

    def land(name, *events):
        lines = (json.dumps(dict(zip(("id", "city", "at"), event, strict=True))) for event in events)
        (landing / f"{name}.json").write_text("\n".join(lines))

    land("1", ("7", "Bern", 1), ("7", "Oslo", 2), ("7", "gone", 3), ("8", "Rome", 1))
    land("2", ("8", "Ulm", 2))
    land("3", ("7", "Paris", None))
    assert run_update(UpdateRequest(sources, storage.root)).state == "COMPLETED"
    assert streams_behind(storage) == []
    match, addresses = count_matches(spark, storage, table("landed"), SEVEN)
    assert (match.rows, {address.rpartition("/")[2] for address in addresses}) == (4, {"1.json", "3.json"})
    no_id = TableMatches("main.default.cities", 0, "id")
    assert count_matches(spark, storage, table("cities"), SEVEN) == (no_id, set())

    planned = erase_rows(spark, storage, SEVEN, dry_run=True)
    assert {match.table.split(".")[-1]: match.rows for match in planned.tables if not match.missing} == {
        "landed": 4,
        "moves": 3,
        "quarantine": 1,
    }
    assert spark.read.format("delta").load(str(storage.table_path(table("landed")))).count() == 6
    done = erase_rows(spark, storage, SEVEN)
    assert (done, done.rows, [file.name for file in done.files]) == (planned, 8, ["1.json", "3.json"])
    assert erase_rows(spark, storage, SEVEN).rows == 0

    land("4", ("8", "Kiel", 3), ("9", "Bern", 1))
    assert run_update(UpdateRequest(sources, storage.root)).state == "COMPLETED"
    cities = spark.read.format("delta").load(str(storage.table_path(table("cities")))).collect()
    assert sorted(map(tuple, cities)) == [("Bern", 1), ("Kiel", 1), ("Rome", 1), ("Ulm", 1)]

    land("5", ("7", "Lyon", 9))
    only_landed = UpdateRequest(sources, storage.root, refresh=("landed",))
    assert run_update(only_landed).state == "COMPLETED"
    assert streams_behind(storage) == ["main.default.moves", "main.default.quarantine"]
    with pytest.raises(UsageError, match="has not read all of its source yet; run an update first"):
        erase_rows(spark, storage, SEVEN)
    landed = spark.read.format("delta").load(str(storage.table_path(table("landed"))))
    assert landed.where(SEVEN).count() == 1
