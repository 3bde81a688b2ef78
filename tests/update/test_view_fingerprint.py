"A materialized view is computed anew only where its query, its inputs or its declaration differ."

from dataclasses import replace

import pytest
from pyspark.sql import Observation
from pyspark.sql import functions as F

from cdc_local.dataflow.graph import Dataset, Expectation
from cdc_local.engines.spark.catalyst import leaf_nodes, query_text
from cdc_local.storage import TableName
from cdc_local.update.materialized_view import (
    fingerprint_query,
    is_unchanged,
    keep_fingerprint,
    query_inputs,
)

VIEW = Dataset(TableName("main", "default", "orders_by_city"), "materialized_view")


class Orders:
    "A table, and a view of it."

    def __init__(self, spark, path):
        self.spark, self.path = spark, path

    def land(self, *rows):
        frame = self.spark.createDataFrame(rows, "id int, city string").coalesce(1)
        frame.write.format("delta").mode("append").save(str(self.path))

    def read(self):
        return self.spark.read.format("delta").load(str(self.path))

    def by_city(self):
        return self.read().groupBy("city").agg(F.count("*").alias("orders"))


@pytest.fixture
def orders(tiny, tmp_path):
    orders = Orders(tiny, tmp_path / "orders")
    orders.land((1, "Oslo"), (2, "Rome"))
    return orders


def test_the_leaves_of_a_plan_are_what_it_reads(tiny, orders):
    frame = orders.read().crossJoin(tiny.range(2))
    assert [leaf.nodeName() for leaf in leaf_nodes(frame)] == ["LogicalRelation", "Range"]


def test_the_same_query_has_the_same_text_in_every_run(orders):
    assert query_text(orders.by_city()) == query_text(orders.by_city())
    assert query_text(orders.by_city()).splitlines() == [
        "Aggregate [city#0], [city#0, count(1) AS orders#1]",
        "+- Relation [id#2,city#0] parquet",
    ]
    observed = [
        orders.by_city().observe(Observation("a rule"), F.count("city").alias("cities")) for _ in range(2)
    ]
    assert query_text(observed[0]) == query_text(observed[1])


def test_queries_that_differ_in_which_of_two_columns_they_take_differ_in_their_text(orders):
    left, right = (orders.read().alias(name) for name in ("left", "right"))
    pairs = left.join(right, F.col("left.id") == F.col("right.id"))
    assert query_text(pairs.select("left.city")) != query_text(pairs.select("right.city"))


def test_a_query_of_tables_depends_on_their_versions(orders):
    [read] = query_inputs(orders.by_city())
    assert "version=0" in read
    orders.land((3, "Bonn"))
    [read] = query_inputs(orders.by_city())
    assert "version=1" in read


def test_a_result_that_depends_on_more_than_tables_has_no_known_inputs(tiny, orders):
    cities = orders.by_city()
    others = {
        "a clock": cities.withColumn("day", F.current_date()),
        "a random number": cities.withColumn("lot", F.rand()),
        "a Python function": cities.withColumn("letter", F.udf(lambda city: city[0])("city")),
        "rows made in Python": cities.join(tiny.createDataFrame([("Oslo",)], "city string"), "city"),
        "a subquery": cities.where("orders > (SELECT count(*) FROM range(3))"),
        "no table": tiny.range(3),
    }
    assert {what: query_inputs(frame) for what, frame in others.items()} == dict.fromkeys(others)
    assert fingerprint_query(others["a clock"], VIEW) is None


def test_a_fingerprint_changes_with_query_declaration_setting_and_rows(tiny, orders):
    before = fingerprint_query(orders.by_city(), VIEW)
    assert fingerprint_query(orders.by_city(), VIEW) == before
    changed = [fingerprint_query(orders.by_city().where("orders > 1"), VIEW)]
    rule = Expectation("few", "orders < 9", "warn")
    for other in ({"partition_cols": ("city",)}, {"cluster_by": ("city",)}, {"expectations": (rule,)}):
        changed.append(fingerprint_query(orders.by_city(), replace(VIEW, **other)))
    zone = tiny.conf.get("spark.sql.session.timeZone")
    tiny.conf.set("spark.sql.session.timeZone", "Asia/Tokyo")
    try:
        changed.append(fingerprint_query(orders.by_city(), VIEW))
    finally:
        tiny.conf.set("spark.sql.session.timeZone", zone)
    orders.land((5, "Bonn"))
    changed.append(fingerprint_query(orders.by_city(), VIEW))
    assert None not in changed and len({before, *changed}) == 7


def test_a_view_is_unchanged_until_its_fingerprint_or_its_table_differs(orders, tmp_path):
    note, table = tmp_path / "note.json", tmp_path / "orders_by_city"
    orders.by_city().write.format("delta").save(str(table))
    assert not is_unchanged(note, table, "a1")
    keep_fingerprint(note, table, "a1")
    assert [is_unchanged(note, table, fingerprint) for fingerprint in ("a1", "b2", None)] == [
        True,
        False,
        False,
    ]
    keep_fingerprint(note, table, None)
    assert not is_unchanged(note, table, None)
    keep_fingerprint(note, table, "a1")
    orders.by_city().write.format("delta").mode("append").save(str(table))  # somebody wrote to it
    assert not is_unchanged(note, table, "a1")
