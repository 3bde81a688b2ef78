"A target of AUTO CDC: its columns, its properties, its rows."

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from moves import MOVES, auto_cdc, moves
from pyspark.sql.types import IntegerType, StringType, StructField, StructType

from cdc_local.auto_cdc.target import (
    Target,
    backing_properties,
    check_declaration,
    compute_rows,
    extract_events,
    find_visible_schema,
    restore_events,
)
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName

ORDERED = StructType([StructField("__sequence", IntegerType())])  # What declarations say of a backing table


def table(name):
    return TableName("main", "default", name)


def test_targets_resolve_their_lists(spark):  # the session reads the types
    source = StructType.fromDDL("id int, city string, street string, at int, op string")
    every = Target.of(auto_cdc(moves()), source)
    assert (every.columns, every.tracked, every.latest_columns, every.visible_columns[-2:]) == (
        ("id", "city", "street"),
        None,
        [],
        ["__START_AT", "__END_AT"],
    )
    some = Target.of(auto_cdc(moves(track_history_except_column_list=["street"])), source)
    assert (set(some.tracked) - {"id"}, some.latest_columns) == ({"city"}, ["street"])
    assert Target.of(auto_cdc(moves(False)), source).visible_columns == ["id", "city", "street"]
    silent = Target.of(auto_cdc(moves(False, ignore_null_updates_except_column_list=["street"])), source)
    assert (silent.ignoring_nulls, silent.latest_columns, silent.identity, silent.visible_columns) == (
        ("city",),
        ["city"],
        ["id", "__sequence"],
        ["id", "city", "street"],
    )
    told = StructType.fromDDL(
        "id int, city string, street string, at int, op string, changed array<string>, numbers array<int>"
    )
    listed = Target.of(
        auto_cdc(
            replace(
                moves(False, columns_to_update="changed"),
                except_column_list=("op", "at", "changed", "numbers"),
            )
        ),
        told,
    )
    assert (listed.identity, listed.latest_columns) == (["id", "__sequence"], ["city", "street"])
    for wrong, kind in (("city", "string"), ("numbers", "array<int>")):
        with pytest.raises(
            PipelineError, match=f"^t.py:4: t: `columns_to_update` is '{wrong}'; its type is {kind}"
        ):
            Target.of(auto_cdc(moves(columns_to_update=wrong)), told)
    with pytest.raises(PipelineError, match="^t.py:4: .*nowhere"):
        Target.of(auto_cdc(replace(moves(), except_column_list=("nowhere",))), source)


def test_what_readers_of_a_target_are_told():
    told = backing_properties(Target(moves(), ("id",), ("id", "city", "street"), ("id", "city")), ORDERED)
    assert json.loads(told["cdc.declaration"]) == {
        "keys": ["id"],
        "stored_as_scd_type": 2,
        "sequence_type": "int",
        "tracked": ["city", "id"],
    }
    assert json.loads(told["cdc.latest"]) == ["street"] and told["cdc.visible"] == "__START_AT IS NOT NULL"
    assert json.loads(told["cdc.columns"]) == ["id", "city", "street", "__START_AT", "__END_AT"]
    told = backing_properties(Target(moves(False), ("id",), ("id", "city"), None), ORDERED)
    assert (told["cdc.visible"], told["cdc.latest"], json.loads(told["cdc.columns"])) == (
        "NOT __deleted",
        "[]",
        ["id", "city"],
    )
    told = backing_properties(
        Target(moves(False, columns_to_update="changed"), ("id",), ("id", "city"), None), ORDERED
    )
    assert json.loads(told["cdc.declaration"])["columns_to_update"] == "changed"
    assert (told["cdc.visible"], told["cdc.latest"]) == (
        "__START_AT IS NOT NULL AND __END_AT IS NULL",
        '["city"]',
    )


def test_a_bitemporal_target_tells_rows_apart_by_both_times():
    spec = replace(moves(), stored_as_scd_type="bitemporal", system_sequence_by="heard")
    target = Target(spec, ("id",), ("id", "city"), None)
    bounds = ["__START_AT", "__END_AT", "__SYSTEM_START_AT", "__SYSTEM_END_AT"]
    assert target.visible_columns == ["id", "city", *bounds]
    assert target.identity == ["id", "__sequence", "__SYSTEM_START_AT"]
    backing = StructType([*ORDERED, StructField("__system_sequence", StringType())])
    told = json.loads(backing_properties(target, backing)["cdc.declaration"])
    assert (told["sequence_type"], told["system_sequence_type"]) == ("int", "string")
    assert told["stored_as_scd_type"] == "bitemporal"


def test_a_declaration_may_gain_columns_and_nothing_else(tmp_path, monkeypatch):
    before = Target(moves(), ("id",), ("id", "city", "street"), None)
    about = SimpleNamespace(configuration=backing_properties(before, ORDERED))
    monkeypatch.setattr(
        "cdc_local.auto_cdc.target.DeltaTable", lambda path: SimpleNamespace(metadata=lambda: about)
    )

    def checked(target, backing=ORDERED):
        return check_declaration(tmp_path, target, backing_properties(target, backing))

    assert checked(before) == {}
    moved = checked(replace(before, columns=("id", "city", "country")))
    assert json.loads(moved["cdc.columns"]) == ["id", "city", "country", "street", "__START_AT", "__END_AT"]
    assert checked(replace(before, columns=("id", "city"))) == {}  # a lost column stays
    silent = replace(before, spec=replace(before.spec, ignore_null_updates=True))
    with pytest.raises(PipelineError, match="`ignore_null_updates` changed from None to True"):
        checked(silent)
    about.configuration = backing_properties(silent, ORDERED)
    with pytest.raises(PipelineError, match="`ignore_null_updates` changed from True to None"):
        checked(before)
    about.configuration = backing_properties(before, ORDERED)
    for other, backing, field in (
        (replace(before, spec=replace(before.spec, stored_as_scd_type=1)), ORDERED, "stored_as_scd_type"),
        (before, StructType([StructField("__sequence", StringType())]), "sequence_type"),
        (replace(before, tracked=("id",)), ORDERED, "tracked"),
        (replace(before, spec=replace(before.spec, keys=("id", "city"))), ORDERED, "keys"),
    ):
        with pytest.raises(PipelineError, match=f"`{field}` changed from .*--full-refresh t"):
            checked(other, backing)


def test_the_columns_a_target_shows(spark):
    source = StructType.fromDDL(MOVES)
    assert find_visible_schema(spark, auto_cdc(moves()), source).names == [
        "id",
        "city",
        "__START_AT",
        "__END_AT",
    ]
    assert find_visible_schema(spark, auto_cdc(moves(False)), source).names == ["id", "city"]


def test_the_rows_of_a_target_follow_its_lists(spark):
    told = spark.sql(
        "SELECT * FROM VALUES (1, 'Bern', 1, 'U', array('city')), (1, 'Oslo', 2, 'U', array('id')) "
        "AS t (id, city, at, op, changed)"
    )

    def bounds(target):
        return sorted(
            (row["__START_AT"], row["__END_AT"])
            for row in compute_rows(extract_events(told, target), target).collect()
            if row["__START_AT"]
        )

    assert bounds(Target(moves(), ("id",), ("id", "city"), None)) == [(1, 2), (2, None)]
    assert bounds(Target(moves(), ("id",), ("id", "city"), ("id",))) == [(1, None)]
    assert bounds(Target(moves(columns_to_update="changed"), ("id",), ("id", "city"), None)) == [
        (1, None)
    ]  # the second event doesn't write the city


def test_keys_are_spelled_as_the_source_spells_them(spark):
    "Resolved once: the key is no payload column, so that it is not shown from `__latest`."
    source = StructType.fromDDL("id int, city string, at int, op string, changed array<string>")
    shouting = replace(moves(False, columns_to_update="changed"), keys=("ID",))
    target = Target.of(auto_cdc(replace(shouting, except_column_list=("op", "at", "changed"))), source)
    assert (target.keys, target.identity) == (("id",), ["id", "__sequence"])
    assert target.latest_columns == ["city"]
    assert json.loads(backing_properties(target, ORDERED)["cdc.declaration"])["keys"] == ["ID"]  # as declared


def test_stored_rows_and_new_events_give_what_all_events_at_once_give(spark):
    "A late event changes the history; a delete stays as a tombstone, in case an older event comes later."
    monday = spark.createDataFrame([(7, "Lyon", 10, "U"), (7, "Oslo", 12, "U"), (8, "Rome", 10, "U")], MOVES)
    tuesday = spark.createDataFrame([(7, "Bern", 11, "U"), (8, None, 13, "D")], MOVES)
    target = Target(moves(), ("id",), ("id", "city"), None)
    stored = restore_events(compute_rows(extract_events(monday, target), target), target)
    rows = compute_rows(stored.unionByName(extract_events(tuesday, target)), target)
    at_once = compute_rows(extract_events(monday.union(tuesday), target), target)
    assert sorted(map(str, rows.collect())) == sorted(map(str, at_once.collect()))
    assert sorted(
        (row.id, row.city, row["__START_AT"], row["__END_AT"])
        for row in rows.where("NOT __deleted").collect()
    ) == [(7, "Bern", 11, 12), (7, "Lyon", 10, 11), (7, "Oslo", 12, None), (8, "Rome", 10, 13)]
    assert [(row.id, row["__sequence"]) for row in rows.where("__deleted").collect()] == [(8, 13)]


def test_events_are_restored_without_what_was_computed(spark):
    target = Target(moves(columns_to_update="changed"), ("id",), ("id", "city", "street"), None)
    stored = spark.createDataFrame(
        [], "id int, city string, __sequence int, __deleted boolean, __writes array<string>, __START_AT int"
    )
    assert restore_events(stored, target).columns == ["id", "city", "__sequence", "__deleted", "__writes"]
    plain = Target(moves(), ("id",), ("id", "city", "street"), None)
    assert restore_events(stored, plain).columns == ["id", "city", "__sequence", "__deleted"]
