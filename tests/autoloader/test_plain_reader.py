"Spark's own readers of CSV and JSON on Sail: rows, hidden columns, and what is left to Spark."

import json
from pathlib import Path

import pytest
from landed_files import put

from cdc_local.autoloader.plain_reader import read_plain_batch, read_plain_stream, split_arguments
from cdc_local.errors import NeedsSparkError

pytestmark = pytest.mark.sail


def rows(frame):
    return sorted(tuple(row) for row in frame.collect())


def test_csv_meets_declared_columns_by_position(spark, tmp_path):
    put(tmp_path, "a.csv", "whatever,name", "1,Ann", "x,", "3,Cid,more")
    found = read_plain_batch(spark, tmp_path, "CSV", {"header": True}, "id INT NOT NULL, name STRING")
    assert found.columns == ["id", "name"]
    assert sorted(found.select("id", "name", "_metadata.file_name").collect(), key=str) == [
        (1, "Ann", "a.csv"),
        (3, "Cid", "a.csv"),
        (None, None, "a.csv"),
    ]
    corrupt = "id INT, name STRING, _corrupt_record STRING"
    found = read_plain_batch(spark, tmp_path, "csv", {"header": "true"}, corrupt).where(
        "id IS NULL OR id = 3"
    )
    assert sorted(row._corrupt_record for row in found.collect()) == ["3,Cid,more", "x,"]


@pytest.mark.parametrize(
    ("options", "types", "first"),
    [
        ({"header": "true"}, [("id", "string"), ("at", "string")], ("1", "2026-01-01")),
        ({"header": "true", "inferSchema": True}, [("id", "int"), ("at", "date")], None),
        ({}, [("_c0", "string"), ("_c1", "string")], ("1", "2026-01-01")),
    ],
    ids=str,
)
def test_csv_without_declared_columns(spark, tmp_path, options, types, first):
    put(tmp_path, "a.csv", "id,at", "1,2026-01-01"), put(tmp_path, "b.csv", "id,at", "2,")
    found = read_plain_batch(spark, str(tmp_path), "csv", options | {"mergeSchema": "true"}, None)
    assert found.dtypes == types and found.count() == (2 if "header" in options else 4)
    assert first is None or first in rows(found.dropna())


def test_json_meets_declared_columns_by_name(spark, tmp_path):
    put(tmp_path, "a.json", '{"id": 1, "more": 2}', '{"id": "x"', '{"id": "x"}')
    found = read_plain_batch(spark, tmp_path, "json", {}, "id INT, _corrupt_record STRING")
    assert sorted(map(tuple, found.collect()), key=str) == [
        (1, None),
        (None, '{"id": "x"'),
        (None, '{"id": "x"}'),
    ]


def test_what_is_left_to_the_engine_or_to_spark(spark, tmp_path):
    put(tmp_path, "a.csv", "id", "1"), put(tmp_path, "in/b.csv", "other", "2")
    assert read_plain_batch(spark, tmp_path / "none", "csv", {}, "id INT") is None
    assert read_plain_batch(spark, str(tmp_path / "*.csv"), "csv", {}, "id INT") is None
    assert read_plain_batch(spark, [str(tmp_path)], "csv", {}, "id INT") is None
    assert read_plain_batch(spark, tmp_path, "parquet", {}, None) is None
    assert read_plain_batch(spark, tmp_path, "json", {}, None) is None
    for options, words in (
        ({}, "folders below it"),
        ({"recursiveFileLookup": "true", "header": "true"}, "several headers"),
        ({"recursiveFileLookup": "true", "multiLine": "true"}, "multiLine"),
        ({"recursiveFileLookup": "true", "dateFormat": "dd.MM.yy"}, "dateformat"),
        ({"recursiveFileLookup": "true", "mode": "DROPMALFORMED"}, "DROPMALFORMED"),
        ({"recursiveFileLookup": "true", "enforceSchema": "false"}, "enforceschema"),
    ):
        with pytest.raises(NeedsSparkError, match=words):
            read_plain_batch(spark, tmp_path, "csv", options, None if "header" in options else "id INT")


def test_a_stream_stands_in_until_its_files_are_chosen(spark, tmp_path):
    put(tmp_path, "a.csv", "1")
    stream = read_plain_stream(spark, tmp_path, "csv", {}, "id INT", None)
    assert stream.isStreaming and stream.columns == ["id"]
    for options, schema, kind in (
        ({}, None, "csv"),
        ({"latestFirst": "true"}, "id INT", "csv"),
        ({}, "id INT", "orc"),
    ):
        with pytest.raises(NeedsSparkError, match=f"a stream of format {kind} is read by Spark alone"):
            read_plain_stream(spark, tmp_path, kind, options, schema, None)


def test_arguments_of_a_reader_by_position_and_by_name():
    def csv(self, path, schema=None, sep=None, header=None):
        "As PySpark's"

    assert split_arguments(csv, None, ("/x", "id INT", ";"), {"header": True}) == (
        *("/x", "id INT", {"sep": ";", "header": True}),
    )


PIPELINE = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.materialized_view
def rates():
    return spark.read.csv('/Volumes/main/crm/rates', header=True, inferSchema=True)

@dp.materialized_view
def cities():
    frame = spark.read.format('json').schema('id INT, city STRING').load('/Volumes/main/crm/cities')
    return frame.withColumn('file', F.col('_metadata.file_name'))

@dp.table
def visits():
    return spark.readStream.schema('id INT, city INT').csv('/Volumes/main/crm/visits')
"""


def test_in_a_pipeline(tmp_path):
    from cdc_local.delta.reader import read_table
    from cdc_local.storage import Storage, TableName, localize
    from cdc_local.update.request import UpdateRequest
    from cdc_local.update.run import run_update

    storage = Storage(tmp_path / "store")
    folder = Path(localize(storage, "/Volumes/main/crm"))
    (tmp_path / "p.py").write_text(PIPELINE)
    put(folder / "rates", "r.csv", "currency,rate", "EUR,2", "USD,3")
    put(folder / "cities", "c.json", json.dumps({"id": 7, "city": "Ulm"}))
    put(folder / "visits", "1.csv", "1,7")
    for step in (1, 2):
        done = run_update(
            UpdateRequest((tmp_path / "p.py",), storage.root, catalog="main", schema="crm", engine="auto")
        )
        assert (done.state, done.error) == ("COMPLETED", None)
        names = [TableName("main", "crm", name) for name in ("rates", "cities", "visits")]
        tables = [read_table(storage, name, ordered=True).to_pylist() for name in names]
        assert [[tuple(row.values()) for row in table] for table in tables] == [
            [("EUR", 2), ("USD", 3)],
            [(7, "Ulm", "c.json")],
            [(1, 7), (2, None)][:step],
        ]
        put(folder / "visits", "2.csv", "2,x")
