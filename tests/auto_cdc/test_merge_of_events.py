"Events are merged into the backing table: only touched keys, one commit a batch."

import json
from dataclasses import replace

import pytest

pytest.importorskip("pyspark")

from moves import MOVES, moves

from cdc_local.auto_cdc.merge import apply_events, read_touched_rows, recompute_rows, row_differs
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events


def test_only_touched_keys_are_computed_anew(spark):
    target = Target(moves(), ("id",), ("id", "city", "country"), None)
    stored = spark.createDataFrame(
        [(1, "Bern", 1, False, 1, None), (2, "Rome", 1, False, 1, None)],
        "id int, city string, __sequence int, __deleted boolean, __START_AT int, __END_AT int",
    )  # before `country` was there
    events = spark.createDataFrame(
        [(1, "Oslo", "NO", 2, False)],
        "id int, city string, country string, __sequence int, __deleted boolean",
    )
    rows = (
        recompute_rows(read_touched_rows(stored, events, target), events, target)
        .select("id", "city", "country", "__START_AT", "__END_AT")
        .collect()
    )
    assert sorted(map(tuple, rows)) == [(1, "Bern", None, 1, 2), (1, "Oslo", "NO", 2, None)]


def test_rows_that_stay_are_told_from_those_to_write(spark):
    both = spark.createDataFrame(
        [
            (0, ("x", None), ("x",)),
            (1, ("x", None), ("y",)),
            (2, (None, None), (None,)),
            (3, (None, None), ("x",)),
            (4, ("x", "new"), ("x",)),
        ],
        "n int, new struct<a string, b string>, old struct<a string>",
    )
    written = both.where(row_differs(["a", "b"], ["a"], both.schema["new"].dataType)).select("n").collect()
    assert sorted(row.n for row in written) == [1, 3, 4]


def test_a_batch_is_one_commit_and_a_table_may_be_called_anything(spark, tmp_path):
    from deltalake import DeltaTable

    target, path = Target(moves(False), ("id",), ("id", "city"), None), tmp_path / "t"
    changes = spark.createDataFrame([(1, "Bern", 1, "U"), (2, "Rome", 1, "U")], MOVES)
    create_backing_table(
        spark, path, target, changes.schema, "Where they live", {"quality": "gold", "cdc.visible": "true"}
    )
    about = DeltaTable(path).metadata()
    assert (about.description, about.configuration["quality"], about.configuration["cdc.visible"]) == (
        "Where they live",
        "gold",
        "NOT __deleted",
    )
    later = spark.createDataFrame([(1, "Oslo", 2, "U"), (2, None, 2, "D"), (3, "Kyiv", 1, "U")], MOVES)
    for batch in (changes, later):
        apply_events(extract_events(batch, target), path, target)
    rows = DeltaTable(path).to_pyarrow_table().select(["id", "city", "__deleted"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [
        (1, "Oslo", False),
        (2, None, True),
        (3, "Kyiv", False),
    ]
    assert DeltaTable(path).version() == 2
    wider = changes.selectExpr("*", "'CH' AS country")
    create_backing_table(spark, path, replace(target, columns=("id", "city", "country")), wider.schema)
    assert [field.name for field in DeltaTable(path).schema().fields] == [
        "id",
        "city",
        "__sequence",
        "__deleted",
        "country",
    ]
    assert json.loads(DeltaTable(path).metadata().configuration["cdc.columns"]) == ["id", "city", "country"]
