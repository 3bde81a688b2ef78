"""Checks of the Sail engine; test_sail_engine.py runs them in a process that has no other engine."""

import json
import sys
import tempfile
import traceback
from pathlib import Path

import pyarrow as pa
from deltalake import DeltaTable, write_deltalake
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.delta import sail_writer
from cdc_local.delta.new_files import read_new_files
from cdc_local.engines.engine import engine_of, is_sail, observe
from cdc_local.engines.sail.session import start_sail
from cdc_local.engines.sail.settings import refuse_setting
from cdc_local.engines.sail.staged_rows import forget_staged_rows, stage_frame
from cdc_local.errors import NeedsSparkError, PipelineError

METADATA = pa.struct([("file_path", pa.string()), ("file_size", pa.int64())])


def read_files(spark):
    "A frame over files: two columns, and `_metadata`."
    schema = pa.schema([("id", pa.int64()), ("v", pa.string()), ("_metadata", METADATA)])
    rows = [[1, 2], ["a", "b"], [{"file_path": "x", "file_size": 5}, {"file_path": "y", "file_size": 7}]]
    batch = pa.RecordBatch.from_arrays(
        [pa.array(column, kind) for column, kind in zip(rows, schema.types, strict=True)], schema=schema
    )
    return engine_of(spark).frame_of_batches(spark, schema, iter([batch]))


def values(frame):
    return sorted(tuple(row) for row in frame.collect())


def refusal(call):
    try:
        call()
    except NeedsSparkError as error:
        return error.message
    raise AssertionError("it was not refused")


def check_metadata_is_hidden_from_a_star(spark, folder):
    frame = read_files(spark)
    assert frame.columns == ["id", "v"] and values(frame) == [(1, "a"), (2, "b")]
    assert values(frame.select("*")) == [(1, "a"), (2, "b")]
    assert frame.withColumn("w", F.lit(1)).columns == ["id", "v", "w"]


def check_metadata_shows_where_it_is_named(spark, folder):
    frame = read_files(spark)
    named = frame.select("*", F.col("_metadata.file_path").alias("file"))
    assert named.columns == ["id", "v", "file"] and values(named) == [(1, "a", "x"), (2, "b", "y")]
    assert values(frame.where("_metadata.file_size > 5")) == [(2, "b")]
    assert values(frame.withColumn("size", F.col("_metadata.file_size"))) == [(1, "a", 5), (2, "b", 7)]
    assert frame.select("id", "_metadata").columns == ["id", "_metadata"]


def check_metadata_is_carried_through_selections(spark, folder):
    frame = read_files(spark).where("id > 0").select("*", F.upper("v").alias("u")).alias("t")
    named = frame.select("t.id", "u", F.col("_metadata.file_path").alias("file"))
    assert values(named) == [(1, "A", "x"), (2, "B", "y")]
    joined = read_files(spark).join(
        read_files(spark).select("id", F.col("_metadata.file_size").alias("n")), "id"
    )
    assert values(joined) == [(1, "a", 5), (2, "b", 7)]
    both = read_files(spark).select("*", "_metadata.file_path").union(read_files(spark).selectExpr("*", "v"))
    assert len(values(both)) == 4 and both.columns == ["id", "v", "file_path"]


def check_a_stand_in_is_a_stream_without_rows(spark, folder):
    schema = StructType.fromJson(
        spark.createDataFrame([], "id int, s struct<a:decimal(9,2)>").schema.jsonValue()
    )
    stream = engine_of(spark).stand_in_stream(spark, schema)
    assert stream.isStreaming and stream.schema == schema
    assert engine_of(spark).describe_state(stream.where("id > 1")) is None
    assert "sorts" in engine_of(spark).describe_state(stream.orderBy("id"))


def check_only_new_files_of_a_table_are_read(spark, folder):
    path = folder / "t"
    for number in range(3):
        write_deltalake(str(path), pa.table({"id": [number]}), mode="append")
    new = read_new_files(path, 1, 2)
    assert values(engine_of(spark).read_added_files(spark, path, new.actions)) == [(1,), (2,)]
    assert values(engine_of(spark).read_added_files(spark, path, ())) == []
    assert values(engine_of(spark).read_delta(spark, path, {"versionAsOf": 0})) == [(0,)]


def check_tables_that_only_spark_reads_are_refused(spark, folder):
    path = folder / "partitioned"
    write_deltalake(str(path), pa.table({"id": [1], "day": ["a"]}), partition_by=["day"])
    new = read_new_files(path, 0, 0)
    engine = engine_of(spark)
    assert "partitioned by day" in refusal(lambda: engine.read_added_files(spark, path, new.actions))
    assert "ignoreDeletes" in refusal(lambda: engine.read_delta(spark, path, {"ignoreDeletes": "true"}))
    log = path / "_delta_log" / "00000000000000000000.json"
    text = log.read_text().replace('"minReaderVersion":1', '"minReaderVersion":2')
    log.write_text(text.replace('"minWriterVersion":2', '"minWriterVersion":5'))
    assert "columnMapping" in refusal(lambda: engine.read_delta(spark, path, {}))


def check_rows_are_counted_by_a_query_of_their_own(spark, folder):
    engine = engine_of(spark)
    counted = engine.new_observation("rows")
    frame = spark.range(5)
    assert observe(frame, counted, F.count(F.lit(1)).alias("rows")) is frame
    assert engine.read_counts(spark, [counted]) == [{"rows": 5}]


def check_rows_are_written_in_one_commit_or_none(spark, folder):
    path = folder / "written"
    write_deltalake(str(path), pa.table({"id": pa.array([1], pa.int64())}))
    table = DeltaTable(str(path))
    assert sail_writer.write_rows(spark.range(0), table, "append") == 0 and table.version() == 0
    more = spark.range(2, 4).withColumn("v", F.lit("x"))
    assert sail_writer.write_rows(more, table, "append", ("flow", 3)) == 2
    assert table.version() == 2 and table.transaction_version("flow") == 3  # a column, then its rows
    assert not (path / "staged").exists() and len(table.file_uris()) == len(list(path.glob("*.parquet")))
    assert values(spark.read.format("delta").load(str(path))) == [(1, None), (2, "x"), (3, "x")]
    assert sail_writer.write_rows(spark.range(1).withColumn("n", F.lit(1)), table, "overwrite") == 1
    assert spark.read.format("delta").load(str(path)).columns == ["id", "n"]


def check_null_is_refused_where_a_column_must_have_a_value(spark, folder):
    path = folder / "strict"
    schema = pa.schema([pa.field("id", pa.int64(), nullable=False)])
    DeltaTable.create(str(path), schema)
    rows = spark.createDataFrame([(1,), (None,)], "id bigint")
    try:
        sail_writer.write_rows(rows, DeltaTable(str(path)), "append")
    except PipelineError as error:
        assert "column id is NOT NULL" in str(error)
    else:
        raise AssertionError("NULL was written")
    assert DeltaTable(str(path)).version() == 0


def check_held_rows_are_computed_once(spark, folder):
    with stage_frame(spark.range(3).select(F.expr("uuid()").alias("u"))) as held:
        assert values(held) == values(held) and len(values(held)) == 3
    with stage_frame(spark.createDataFrame([], "a int")) as none:
        assert values(none) == [] and none.columns == ["a"]
    forget_staged_rows()


def check_a_query_is_described_by_its_text_and_its_tables(spark, folder):
    path = folder / "seen"
    write_deltalake(str(path), pa.table({"id": [1]}))

    def describe(of=lambda frame: frame.where(F.col("id") > 1)):
        return engine_of(spark).describe_query(of(engine_of(spark).read_delta(spark, path, {})))

    first = describe()
    assert first == describe() and first[1] == [(str(path), "version=0")]
    assert describe(lambda frame: frame.where(F.col("id") > 2))[0] != first[0]
    assert describe(lambda frame: frame.withColumn("t", F.current_timestamp())) is None
    assert describe(lambda frame: frame.where("rand() > 0.5")) is None
    write_deltalake(str(path), pa.table({"id": [2]}), mode="append")
    assert describe()[0] == first[0] and describe()[1] != first[1]
    assert engine_of(spark).describe_query(spark.createDataFrame([(1,)], "id int")) is not None


def check_settings_that_change_answers_are_refused(spark, folder):
    for key in ("cdc.catalog", "spark.sql.shuffle.partitions", "spark.executor.memory", "my.setting"):
        refuse_setting(key)
    for key in ("spark.sql.ansi.enabled", "spark.sql.session.timeZone", "spark.sql.caseSensitive"):
        assert key in refusal(lambda key=key: refuse_setting(key))


def main():
    spark, found = start_sail(), {}
    assert is_sail(spark)
    for name, check in [item for item in globals().items() if item[0].startswith("check_")]:
        with tempfile.TemporaryDirectory() as folder:
            try:
                check(spark, Path(folder))
                found[name] = None
            except Exception:
                found[name] = traceback.format_exc()
    print(json.dumps(found))


if __name__ == "__main__":
    sys.exit(main())
