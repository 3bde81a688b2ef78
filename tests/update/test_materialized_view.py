"A materialized view is computed only where it could come out different."

import re
from dataclasses import replace

import pytest

pytest.importorskip("pyspark")

from pipelines import table
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Dataset, Expectation
from cdc_local.update.materialized_view import (
    describe_query,
    fingerprint_query,
    is_unchanged,
    keep_fingerprint,
)

VIEW = Dataset(table("orders_by_city"), "materialized_view")


@pytest.fixture(scope="module")
def orders(spark, tmp_path_factory):
    "The folder of a Delta table of three orders."
    path = str(tmp_path_factory.mktemp("delta") / "orders")
    rows = [(1, "Oslo"), (2, "Rome"), (3, "Oslo")]
    spark.createDataFrame(rows, "id int, city string").coalesce(1).write.format("delta").save(path)
    return path


def by_city(spark, orders):
    return spark.read.format("delta").load(orders).groupBy("city").agg(F.count("*").alias("orders"))


def test_a_query_over_delta_tables_depends_on_their_versions(spark, orders):
    _, found = describe_query(by_city(spark, orders))
    assert re.search(r"version=0", found)


@pytest.mark.parametrize(
    "change",
    [
        lambda spark, cities: cities.withColumn("day", F.current_date()),
        lambda spark, cities: cities.withColumn("lot", F.rand()),
        lambda spark, cities: cities.withColumn("letter", F.udf(lambda city: city[0])("city")),
        lambda spark, cities: cities.join(spark.createDataFrame([("Oslo",)], "city string"), "city"),
        lambda spark, cities: cities.where("orders > (SELECT count(*) FROM range(3))"),
        lambda spark, cities: spark.range(3),
    ],
    ids=["a clock", "chance", "a Python function", "rows made in Python", "a subquery", "no table"],
)
def test_a_query_that_depends_on_more_is_always_computed(spark, orders, change):
    frame = change(spark, by_city(spark, orders))
    assert describe_query(frame) is None and fingerprint_query(frame, VIEW) is None


def test_the_same_query_has_the_same_fingerprint(spark, orders):
    before = fingerprint_query(by_city(spark, orders), VIEW)
    assert before is not None and fingerprint_query(by_city(spark, orders), VIEW) == before
    assert fingerprint_query(by_city(spark, orders).where("orders > 1"), VIEW) != before


@pytest.mark.parametrize(
    "change",
    [
        {"partition_cols": ("city",)},
        {"cluster_by": ("city",)},
        {"expectations": (Expectation("few", "orders < 9", "warn"),)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_another_declaration_has_another_fingerprint(spark, orders, change):
    frame = by_city(spark, orders)
    assert fingerprint_query(frame, replace(VIEW, **change)) != fingerprint_query(frame, VIEW)


def test_another_setting_has_another_fingerprint(spark, orders):
    frame, zone = by_city(spark, orders), spark.conf.get("spark.sql.session.timeZone")
    before = fingerprint_query(frame, VIEW)
    try:
        spark.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
        assert fingerprint_query(frame, VIEW) != before
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    assert fingerprint_query(frame, VIEW) == before


def test_new_rows_have_another_fingerprint(spark, tmp_path):
    path = str(tmp_path / "orders")
    row = spark.createDataFrame([(5, "Bonn")], "id int, city string").write.format("delta").mode("append")
    row.save(path)
    before = fingerprint_query(by_city(spark, path), VIEW)
    row.save(path)
    assert fingerprint_query(by_city(spark, path), VIEW) != before


def test_a_view_is_unchanged_while_its_fingerprint_and_its_table_are_those_noted(spark, tmp_path):
    note, path = tmp_path / "computed.json", tmp_path / "view"
    write = spark.range(1).write.format("delta").mode("append")
    write.save(str(path))
    assert not is_unchanged(note, path, "a1")
    keep_fingerprint(note, path, "a1")
    assert [is_unchanged(note, path, mark) for mark in ("a1", "b2", None)] == [True, False, False]
    keep_fingerprint(note, path, None)
    assert not is_unchanged(note, path, None)
    keep_fingerprint(note, path, "a1")
    write.save(str(path))  # somebody wrote to the view
    assert not is_unchanged(note, path, "a1")
