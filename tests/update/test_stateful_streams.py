"""Streams that keep state, which Spark alone runs: an aggregate without a watermark is the answer over all
rows so far, one with a watermark is appended when it is final; deduplication, joins of streams."""

import pytest
from test_both_engines import Updates
from test_replace_flows import Pipeline

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName

SOURCE = """from pyspark import pipelines as dp
from pyspark.sql import functions as F

def events():
    moment = F.timestamp_seconds("seq")
    return spark.readStream.table("main.ext.events").withColumn("moment", moment)

@dp.table
@dp.expect("some", "events > 0")
def by_region():
    counts = F.count("*").alias("events"), F.max("seq").alias("seq")
    return dp.read_stream("main.ext.events").groupBy("region").agg(*counts)

@dp.table
def once_each():
    return events().dropDuplicates(["region", "device"]).select("region", "device")

@dp.table
def minutes():
    by_minute = events().withWatermark("moment", "0 seconds").groupBy(F.window("moment", "60 seconds"))
    counted = by_minute.agg(F.count("*").alias("events"))
    return counted.select(F.unix_timestamp("window.start").alias("start"), "events")

@dp.table
def pairs():
    clicks = events().where("event = 'click'").select("region", "device")
    return events().select("region", "seq").join(clicks, "region")

@dp.materialized_view
def total():
    return spark.read.table("by_region").agg(F.sum("events").alias("events"))
"""


@pytest.fixture(scope="module")
def spark_updates():
    updates = Updates("spark")
    yield updates
    updates.close()


def rows_of(pipeline, table):
    found = read_rows(Storage(pipeline.storage), TableName("main", "default", table))
    return sorted(map(tuple, found.values), key=repr)


def test_streams_with_state_are_the_answer_over_all_rows_so_far(tmp_path, spark_updates):
    pipeline = Pipeline(tmp_path, spark_updates).write(SOURCE)
    done = pipeline.land([(1, "iOS", "click", 10), (1, "iOS", "view", 20), (2, "web", "view", 70)]).run()
    assert done["state"] == "COMPLETED", done
    assert rows_of(pipeline, "by_region") == [(1, 2, 20), (2, 1, 70)]
    assert rows_of(pipeline, "total") == [(3,)]
    assert rows_of(pipeline, "once_each") == [(1, "iOS"), (2, "web")]
    assert rows_of(pipeline, "minutes") == [(0, 2)]  # the second minute may still get rows
    assert rows_of(pipeline, "pairs") == [(1, 10, "iOS"), (1, 20, "iOS")]

    done = pipeline.land(
        [(1, "iOS", "view", 30), (2, "tv", "click", 130)]
    ).run()  # 30 is behind the watermark
    assert done["state"] == "COMPLETED", done
    assert rows_of(pipeline, "by_region") == [(1, 3, 30), (2, 2, 130)]
    assert done["flows"]["main.default.by_region"]["rules"] == [["some", 2, 0]]
    assert rows_of(pipeline, "once_each") == [(1, "iOS"), (2, "tv"), (2, "web")]
    assert rows_of(pipeline, "minutes") == [(0, 2), (60, 1)]
    assert rows_of(pipeline, "pairs") == [
        (1, 10, "iOS"),
        (1, 20, "iOS"),
        (1, 30, "iOS"),
        (2, 130, "tv"),
        (2, 70, "tv"),
    ]
    assert rows_of(pipeline, "total") == [(5,)]

    assert pipeline.run()["state"] == "COMPLETED"
    assert rows_of(pipeline, "by_region") == [(1, 3, 30), (2, 2, 130)]


BESIDE = """from pyspark import pipelines as dp
dp.create_streaming_table("both")
@dp.append_flow(target="both")
def counts():
    return spark.readStream.table("main.ext.events").groupBy("region").count()
@dp.append_flow(target="both")
def rows():
    return spark.readStream.table("main.ext.events").select("region")
"""


def test_an_answer_over_all_rows_is_refused_beside_another_flow(tmp_path, spark_updates):
    pipeline = Pipeline(tmp_path, spark_updates).write(BESIDE).land([(1, "iOS", "click", 10)])
    done = pipeline.run()
    assert done["state"] == "REFUSED" and "beside flow rows" in done["message"], done
    assert "pipeline.py:3" in done["message"] or "pipeline.py:4" in done["message"]


def test_sail_leaves_an_aggregate_of_a_stream_to_spark_by_name(tmp_path):
    sail = Updates("sail")
    try:
        done = Pipeline(tmp_path, sail).write(BESIDE).land([(1, "iOS", "click", 10)]).run()
    finally:
        sail.close()
    assert done["error"] == "NeedsSparkError" and "aggregates a stream" in done["message"]
