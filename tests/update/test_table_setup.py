"A full refresh removes a table with its checkpoints, even when it was killed half way."

import shutil

import pytest

pytest.importorskip("pyspark")

from pipelines import table
from pyspark.sql.types import StructType

from cdc_local.update.table_setup import narrowing_columns, reset_tables


def folders(storage, name):
    both = [storage.table_path(table(name)), storage.flow_path(table(name), "flow")]
    for folder in both:
        folder.mkdir(parents=True, exist_ok=True)
    return both


def test_reset_removes_table_and_checkpoints(storage):
    reset_tables(storage, set())
    assert not storage.state_path.exists()
    gone, kept = folders(storage, "gone"), folders(storage, "kept")
    reset_tables(storage, {table("gone")})
    assert [folder.exists() for folder in gone + kept] == [False, False, True, True]
    assert list(storage.state_path.iterdir()) == []


@pytest.mark.parametrize("removals", [0, 1, 2, 3])
def test_a_reset_killed_half_way_is_finished_by_the_next(storage, monkeypatch, removals):
    both = folders(storage, "a") + folders(storage, "b")
    done, rmtree = [], shutil.rmtree

    def killed(folder, **options):
        if len(done) == removals:
            raise KeyboardInterrupt
        done.append(rmtree(folder, **options))

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        reset_tables(storage, {table("a"), table("b")})
    monkeypatch.undo()
    reset_tables(storage, set())
    assert not any(folder.exists() for folder in both) and list(storage.state_path.iterdir()) == []


@pytest.mark.parametrize(
    "stored, now, lost",
    [
        (
            "id int, amount bigint, place struct<zip: int>",
            "id bigint, amount int, place struct<zip: string>, more date",
            [("id", "int", "bigint"), ("place.zip", "int", "string")],
        ),
        (
            "n bigint, d decimal(9,2), t string, a array<double>",
            "N int, d decimal(5,1), t date, a array<int>, more string",
            [],
        ),
        (
            "n int, s struct<x: int, y: int>, a array<date>, m map<string, float>",
            "n bigint, s struct<y: string, z: int>, a array<timestamp>, m map<string, double>",
            [
                ("n", "int", "bigint"),
                ("s.y", "int", "string"),
                ("a", "date", "timestamp"),
                ("m", "float", "double"),
            ],
        ),
    ],
    ids=["a number and a nested text", "all that is wider or new", "nested types"],
)
def test_columns_whose_new_values_the_stored_ones_cannot_keep(spark, stored, now, lost):
    types = [StructType.fromDDL(columns) for columns in (stored, now)]
    found = narrowing_columns(*types)
    assert [(name, was.simpleString(), new.simpleString()) for name, was, new in found] == lost
