"Rows of a repair: what differs, what the source has lost, and how rows are exchanged."

from types import SimpleNamespace

import pytest
from delta.tables import DeltaTable
from pyspark.sql import functions as F

from cdc_local.delta.rows import Rows
from cdc_local.errors import UsageError
from cdc_local.operations.repair_rows import RepairResult, count_difference, refuse_lost_events, replace_rows
from cdc_utils.events import is_keyless

COLUMNS = "id INT, city STRING, at INT"


def test_rows_that_only_go_or_only_come_are_a_change():
    def changed(removed, added):
        return RepairResult("moves", 1, removed, added, removed, added, Rows((), [])).changed

    assert (changed(0, 0), changed(1, 0), changed(0, 1)) == (False, True, True)


def test_a_row_differs_as_often_as_it_comes_or_goes(spark):
    columns = "id INT, tags MAP<STRING,INT>"
    before = spark.createDataFrame([(1, {"a": 1}), (2, {"b": 2}), (2, {"b": 2})], columns)
    after = spark.createDataFrame([(1, {"a": 1}), (2, {"b": 2}), (3, {})], columns)
    difference = count_difference(before, after).orderBy("id").collect()
    assert [(row.id, row["__times"]) for row in difference] == [(2, -1), (3, 1)]
    assert count_difference(before, before).isEmpty()


def test_a_truncate_is_an_event_without_any_key(spark):
    rows = spark.sql("SELECT * FROM VALUES (7, 'CH'), (NULL, 'CH'), (NULL, NULL) AS rows(id, country)")
    assert rows.where(is_keyless(["id", "country"])).collect() == [(None, None)]


def test_what_the_source_has_lost_is_named(spark):
    columns = "id INT, city STRING, __sequence INT"
    stored = spark.createDataFrame([(7, "Bern", 1), (7, "Oslo", 2)], columns)
    events = spark.createDataFrame([(7, "Bern", 1)], columns)
    target = SimpleNamespace(spec=SimpleNamespace(target="moves"), keys=("id",), sequences=["__sequence"])
    with pytest.raises(UsageError, match="no column city any more, in which stored rows have values"):
        refuse_lost_events(stored, stored.drop("city"), target)
    refuse_lost_events(
        stored.withColumn("city", F.lit(None)), stored.drop("city"), target
    )  # no value is lost
    refuse_lost_events(stored, stored, target)
    with pytest.raises(UsageError) as refused:
        refuse_lost_events(stored, events, target)
    assert str(refused.value) == (
        "1 stored events of moves are not in its source, as id 7, sequence 2: it was emptied or lost rows; "
        "a repair would lose it; --force repairs all the same"
    )


def test_the_rows_of_a_key_are_exchanged_in_one_commit_whatever_was_wrong_with_them(spark, tmp_path):
    damaged = [(7, "Olso", 2), (7, "Olso", 2), (7, "Bern", None), (8, "Rome", 1)]
    spark.createDataFrame(damaged, COLUMNS).write.format("delta").save(str(tmp_path / "moves"))
    moves = DeltaTable.forPath(spark, str(tmp_path / "moves"))
    right = spark.createDataFrame([(7, "Bern", 1), (7, "Oslo", 2), (9, "Ulm", 1)], COLUMNS)
    replace_rows(moves, right.select("id").distinct(), right, ["id"])
    assert sorted(map(tuple, moves.toDF().collect())) == [
        (7, "Bern", 1),
        (7, "Oslo", 2),
        (8, "Rome", 1),
        (9, "Ulm", 1),
    ]
    assert moves.history().count() == 2
