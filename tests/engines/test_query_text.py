"What a plan reads, and its text, which is the same for the same query."

import pytest
from pyspark.sql import Observation
from pyspark.sql import functions as F

from cdc_local.engines.spark.catalyst import leaf_nodes, query_text


class Orders:
    "A table, and a query of it."

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
