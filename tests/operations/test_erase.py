"A key leaves every table; what was interrupted is finished; updates go on as if it had never been there."

import json

import pytest
from moves_pipeline import FIRST, Moves
from typer.testing import CliRunner

from cdc_local.cli.main import app
from cdc_local.engines.spark.session import start_spark
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations import erase as erasing
from cdc_local.operations.erase import erase_rows, rewrite_without
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.event_log import read_events

SEVEN = "id = '7'"


@pytest.fixture(scope="module")
def moves(tmp_path_factory):
    return Moves(tmp_path_factory.mktemp("moves"))


def test_a_key_goes_and_updates_go_on(moves, monkeypatch, tmp_path):
    spark, tables = start_spark(), ("direct", "history", "landed", "now")
    before = {table: spark.read.format("delta").load(moves.path(table)).count() for table in tables}
    with lock_storage(moves.storage), pytest.raises(UsageError, match="in use by another update"):
        erase_rows(spark, moves.storage, SEVEN)

    written = []

    def write_two(spark, path, condition):
        if len(written) == 2:
            raise PipelineError("the disk is full")
        written.append(path.name)
        return write(spark, path, condition)

    write = rewrite_without
    monkeypatch.setattr(erasing, "rewrite_without", write_two)
    with pytest.raises(PipelineError, match="the disk is full"):
        erase_rows(spark, moves.storage, SEVEN)
    monkeypatch.setattr(erasing, "rewrite_without", write)

    typed = CliRunner().invoke(
        app, ["erase", "--where", SEVEN, "--storage", str(moves.storage.root)], input="n\n"
    )
    assert typed.exit_code == 1 and "rows for good?" in typed.stderr
    typed = CliRunner().invoke(
        app, ["erase", "--where", SEVEN, "--storage", str(moves.storage.root), "--yes", "--format", "json"]
    )
    assert typed.exit_code == 0, typed.stderr
    told = {row["table"].split(".")[-1]: row["status"] for row in map(json.loads, typed.stdout.splitlines())}
    assert told == {table: "no such row" if table in written else "erased" for table in tables}
    for table in tables:
        rows = spark.read.format("delta").load(moves.path(table))
        assert rows.where(SEVEN).isEmpty() and 0 < rows.count() < before[table], table
    assert not [
        event
        for event in read_events(moves.storage.event_log_path)
        if "'7'" in json.dumps(event, default=str)
    ]  # the log does not say whose rows went

    without = Moves(tmp_path, first=[event for event in FIRST if event[0] != "7"], told=(6, 5, 4, 5))
    for pipeline in (moves, without):
        pipeline.land("2", ("8", "Pisa", 14, "U"), ("10", "Riga", 1, "U"))
        pipeline.update()
    for table in ("now", "history", "direct"):
        assert moves.stored(table) == without.stored(table), table


def test_a_condition_on_no_table_changes_nothing(moves):
    versions = {
        name: erasing.read_table_version(moves.storage.table_path(name)) for name in moves.storage.tables()
    }
    for where, told in (
        ("customer = 7", "has a column customer"),
        ("city = 'Rome'", "whose keys go whole"),
        ("true", "names no column"),
        ("id =", "--where 'id ='"),
    ):
        with pytest.raises(UsageError, match=told):
            erase_rows(start_spark(), moves.storage, where)
    assert erase_rows(start_spark(), moves.storage, "id = 'nobody'").rows == 0
    assert versions == {
        name: erasing.read_table_version(moves.storage.table_path(name)) for name in moves.storage.tables()
    }


def test_old_files_that_an_interrupted_call_left_go_with_the_next(tmp_path, monkeypatch):
    spark, storage = start_spark(), Storage(tmp_path / "cdc").create()
    path = storage.table_path(TableName("main", "default", "people"))
    spark.createDataFrame([("7", "Ada"), ("8", "Bob")], "id STRING, name STRING").write.format("delta").save(
        str(path)
    )
    (path / "part-of-a-killed-writer.parquet").write_bytes(next(path.glob("*.parquet")).read_bytes())
    old = set(path.glob("*.parquet"))
    with monkeypatch.context() as broken:

        def interrupted(path):
            raise KeyboardInterrupt

        broken.setattr(erasing, "delete_old_files", interrupted)
        with pytest.raises(KeyboardInterrupt):
            erase_rows(spark, storage, SEVEN)
    assert old <= set(path.glob("*.parquet")) and [
        row.id for row in spark.read.format("delta").load(str(path)).collect()
    ] == ["8"]
    assert erase_rows(spark, storage, SEVEN, dry_run=True).rows == 0 and old <= set(path.glob("*.parquet"))
    assert erase_rows(spark, storage, SEVEN).rows == 0
    assert not old & set(path.glob("*.parquet")) and not list(storage.state_path.iterdir())
