"Events are merged into the backing table: only rows of touched keys, one commit a batch."

import json
from dataclasses import replace

from deltalake import DeltaTable
from moves import MOVES, moves

from cdc_local.analysis.runtime import read_stored
from cdc_local.auto_cdc.merge import (
    apply_events,
    find_changed_rows,
    merge_with_spark,
    read_touched_rows,
    recompute_rows,
    row_differs,
)
from cdc_local.auto_cdc.target import Target, compute_rows, create_backing_table, extract_events


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


MONDAY = [(7, "Lyon", 10, "U"), (7, "Oslo", 12, "U"), (8, "Rome", 10, "U")]
TUESDAY = [(7, "Bern", 11, "U"), (8, None, 13, "D")]


class Feed:
    "A target, its backing table, and batches that go into it."

    def __init__(self, spark, path, spec, ignoring_nulls=()):
        self.spark, self.path = spark, path
        self.target = Target(spec, ("id",), ("id", "city"), None, ignoring_nulls)
        create_backing_table(spark, path, self.target, spark.createDataFrame([], MOVES).schema)

    def events(self, rows):
        return extract_events(self.spark.createDataFrame(rows, MOVES), self.target)

    def apply(self, *batches, transaction=None):
        for rows in batches:
            apply_events(self.events(rows), self.path, self.target, transaction)

    def stored(self):
        return sorted(map(tuple, self.spark.read.format("delta").load(str(self.path)).collect()), key=str)

    def shown(self):
        return sorted(map(tuple, read_stored(self.spark, self.path).collect()), key=str)

    def commits(self):
        "Version, operation, rows inserted, rows updated."
        names = ("num_target_rows_inserted", "num_target_rows_updated")
        history = reversed(DeltaTable(self.path).history())
        return [
            (
                commit["version"],
                commit["operation"],
                *[commit["operationMetrics"].get(name) for name in names],
            )
            for commit in history
            if commit["version"] > 0
        ]


def test_only_rows_that_came_out_otherwise_are_written(tiny):
    "Customer 8 has no event and is not read; Oslo began at 12 and still does."
    target = Target(moves(), ("id",), ("id", "city"), None)
    monday = extract_events(tiny.createDataFrame(MONDAY, MOVES), target)
    tuesday = extract_events(
        tiny.createDataFrame([(7, "Bern", 11, "U"), (9, "Bonn", 10, "U")], MOVES), target
    )
    touched = read_touched_rows(compute_rows(monday, target), tuesday, target)
    assert {row.id for row in recompute_rows(touched, tuesday, target).collect()} == {7, 9}
    rows = find_changed_rows(touched, tuesday, target).collect()
    assert sorted((row.city, row["__END_AT"]) for row in rows) == [("Bern", 12), ("Bonn", None), ("Lyon", 11)]


def test_a_batch_that_comes_again_makes_no_commit(tiny, tmp_path):
    history = Feed(tiny, tmp_path / "moves", moves())
    history.apply(MONDAY, TUESDAY, TUESDAY)
    assert history.commits() == [(1, "WRITE", None, None), (2, "MERGE", 2, 2)]
    assert history.shown() == [
        (7, "Bern", 11, 12),
        (7, "Lyon", 10, 11),
        (7, "Oslo", 12, None),
        (8, "Rome", 10, 13),
    ]


def test_current_rows_keep_the_newest_event_of_a_key_in_whatever_order_batches_come(tiny, tmp_path):
    current = Feed(tiny, tmp_path / "current", moves(False))
    current.apply(TUESDAY, MONDAY)
    assert current.stored() == [(7, "Oslo", 12, False), (8, None, 13, True)]
    assert current.shown() == [(7, "Oslo")]


def test_a_table_whose_events_may_leave_values_as_they_are_keeps_every_event(tiny, tmp_path):
    sparse = Feed(tiny, tmp_path / "sparse", moves(False, ignore_null_updates=True), ("city",))
    sparse.apply([(7, None, 20, "U")], TUESDAY, MONDAY)
    assert sparse.shown() == [(7, "Oslo")] and len(sparse.stored()) == 6


def test_a_truncate_stops_older_events_that_arrive_after_it(tiny, tmp_path):
    "It is stored as a row without a key."
    emptying = Feed(tiny, tmp_path / "emptying", moves(False, apply_as_truncates="op = 'T'"))
    emptying.apply(MONDAY, [(None, None, 12, "T")], TUESDAY)
    assert emptying.shown() == [(7, "Oslo")]
    assert emptying.stored() == [(7, "Oslo", 12, False), (8, None, 13, True), (None, None, 12, True)]


def test_spark_goes_on_where_delta_rs_has_written_and_the_other_way_round(tiny, tmp_path):
    history = Feed(tiny, tmp_path / "moves", moves())
    history.apply(MONDAY)
    history.apply([(7, "Bern", 11, "U"), (9, "Bonn", 10, "U")], transaction=("moving", 1))
    before = set(history.stored())
    wednesday = history.events([(8, "Riga", 20, "U"), (7, "Bern", 30, "U")])
    merge_with_spark(wednesday, history.path, history.target)
    history.apply([(7, "Bern", 11, "U")], transaction=("moving", 2))
    changed = [(row[0], row[1], *row[-2:]) for row in set(history.stored()) - before]
    assert sorted(changed) == [
        (7, "Bern", 30, None),
        (7, "Oslo", 12, 30),
        (8, "Riga", 20, None),
        (8, "Rome", 10, 20),
    ]


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
