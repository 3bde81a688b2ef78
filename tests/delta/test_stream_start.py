"A new stream reads the commits of a table only where they have the rows of its snapshot."

import shutil
from pathlib import Path

import pytest

pytest.importorskip("pyspark")
from delta.tables import DeltaTable
from deltalake import DeltaTable as Files
from deltalake import write_deltalake

from cdc_local.delta import log
from cdc_local.delta.log import has_only_grown
from cdc_local.delta.stream_progress import choose_starting_options
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update


@pytest.fixture(scope="module")
def made(spark, tmp_path_factory):
    "A table made by Spark: it is created, then come three commits of two files each"
    path = tmp_path_factory.mktemp("made") / "table"
    DeltaTable.create(spark).location(str(path)).addColumn("id", "bigint").addColumn(
        "text", "string"
    ).execute()
    for number in range(3):
        append(spark, path, number)
    return path


@pytest.fixture
def table(made, tmp_path):
    return Path(shutil.copytree(made, tmp_path / "table"))


def append(spark, path, number, **options):
    rows = spark.range(number * 10, number * 10 + 4, numPartitions=2).selectExpr("id", "'\u2028' AS text")
    rows.write.format("delta").mode("append").options(**options).save(str(path))


def streamed(spark, path, checkpoint, options, stop_at=None):
    "The ids that a stream brings, batch after batch; it dies in the batch `stop_at`"
    batches = []

    def take(batch, number):
        if number == stop_at:
            raise RuntimeError("killed here")
        batches.append([row.id for row in batch.collect()])

    query = (
        spark.readStream.format("delta")
        .options(**(options or {}))
        .load(str(path))
        .writeStream.foreachBatch(take)
    )
    query = query.option("checkpointLocation", str(checkpoint)).trigger(availableNow=True).start()
    try:
        query.awaitTermination()
    except Exception as error:
        assert stop_at is not None and "killed here" in str(error)
    return batches


def ids(spark, path):
    return sorted(row.id for row in spark.read.format("delta").load(str(path)).collect())


CHANGES = {  # of a table: what is done, and whether it only grew
    "appended by delta-rs": (
        lambda spark, path: write_deltalake(
            str(path), spark.range(90, 92).selectExpr("id", "'x' AS text").toArrow(), mode="append"
        ),
        True,
    ),
    "nothing appended": (
        lambda spark, path: (
            spark.range(0)
            .selectExpr("id", "'x' AS text")
            .write.format("delta")
            .mode("append")
            .save(str(path))
        ),
        True,
    ),
    "a stream appended": (lambda spark, path: append(spark, path, 9, txnAppId="stream", txnVersion=1), True),
    "rows deleted": (lambda spark, path: DeltaTable.forPath(spark, str(path)).delete("id = 1"), False),
    "rows updated": (
        lambda spark, path: DeltaTable.forPath(spark, str(path)).update("id = 1", {"id": "id + 1000"}),
        False,
    ),
    "overwritten": (
        lambda spark, path: (
            spark.range(3)
            .selectExpr("id", "'x' AS text")
            .write.format("delta")
            .mode("overwrite")
            .save(str(path))
        ),
        False,
    ),
    "compacted": (
        lambda spark, path: DeltaTable.forPath(spark, str(path)).optimize().executeCompaction(),
        False,
    ),
    "a column added": (
        lambda spark, path: spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMN more int"),
        False,
    ),
    "a property set": (
        lambda spark, path: spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('a' = 'b')"),
        False,
    ),
    "a row marked as deleted": (
        lambda spark, path: [
            spark.sql(
                f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('delta.enableDeletionVectors' = 'true')"
            ),
            DeltaTable.forPath(spark, str(path)).delete("id = 1"),
        ],
        False,
    ),
    "an old commit cleaned up": (
        lambda spark, path: [
            Files(str(path)).create_checkpoint(),
            (path / "_delta_log" / f"{0:020d}.json").unlink(),
        ],
        False,
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_new_stream_brings_the_rows_of_the_table(spark, table, tmp_path, change):
    run, grew = CHANGES[change]
    run(spark, table)
    assert has_only_grown(table) == grew
    options = choose_starting_options(table, tmp_path / "checkpoint", None)
    assert options == ({"startingVersion": "0"} if grew else None)
    if grew or change == "rows deleted":
        assert sorted(sum(streamed(spark, table, tmp_path / "checkpoint", options), [])) == ids(spark, table)


def test_columns_that_delta_renames_are_left_to_delta(spark, tmp_path):
    spark.sql(
        f"CREATE TABLE delta.`{tmp_path / 'mapped'}` (id bigint) USING delta "
        "TBLPROPERTIES ('delta.columnMapping.mode' = 'name')"
    )
    assert not has_only_grown(tmp_path / "mapped")


def test_a_table_that_was_created_with_rows_is_left_to_delta(spark, tmp_path):
    "A batch that ends within version 0 could not be planned again without the option"
    for number in range(2):
        append(spark, tmp_path / "filled", number)
    assert not has_only_grown(tmp_path / "filled")


def test_a_long_log_is_left_to_delta(table, monkeypatch):
    monkeypatch.setattr(log, "MOST_COMMITS", 4)
    assert has_only_grown(table)
    monkeypatch.setattr(log, "MOST_COMMITS", 3)
    assert not has_only_grown(table)


@pytest.mark.parametrize("first", [{}, {"startingVersion": "0"}])
@pytest.mark.parametrize("stop_at", [0, 2])
def test_a_stream_that_dies_in_its_first_batches_brings_each_row_once(spark, table, tmp_path, first, stop_at):
    "With one file a batch, a plan ends within a commit; an older version of this project planned snapshots."
    checkpoint, slow = tmp_path / "checkpoint", {"maxFilesPerTrigger": "1"}
    before = streamed(spark, table, checkpoint, slow | first, stop_at)
    assert len(before) == stop_at and choose_starting_options(table, checkpoint, None) is None
    append(spark, table, 9)
    assert sorted(sum(before + streamed(spark, table, checkpoint, slow), [])) == ids(spark, table)


PIPELINE = """
from pyspark import pipelines as dp

@dp.table
def landed():
    reader = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json').schema('id int')
    return reader.load('/Volumes/main/default/raw/ids')

@dp.table
def copied():
    return spark.readStream.table('landed')

@dp.temporary_view
def seen():
    return spark.readStream.table('copied')

@dp.table
def viewed():
    return spark.readStream.table('seen')
"""


def test_an_update_begins_with_commits_and_goes_on(spark, tmp_path, monkeypatch):
    sources = tmp_path / "transformations"
    sources.mkdir()
    (sources / "all.py").write_text(PIPELINE)
    landing, storage = tmp_path / "storage/Volumes/main/default/raw/ids", tmp_path / "storage"
    landing.mkdir(parents=True)
    given = []

    def noting(path, checkpoint, options):
        given.append(
            (path.name, checkpoint.parent.name, found := choose_starting_options(path, checkpoint, options))
        )
        return found

    monkeypatch.setattr("cdc_local.analysis.runtime.choose_starting_options", noting)
    for number in (1, 2):
        given.clear()
        (landing / f"{number}.json").write_text(f'{{"id": {number}}}\n')
        assert run_update(UpdateRequest((str(sources),), storage)).state == "COMPLETED"
        options = {"startingVersion": "0"} if number == 1 else {}
        assert sorted(given) == [
            ("copied", "main.default.viewed", options),
            ("landed", "main.default.copied", options),
        ]
        for name in ("copied", "viewed"):
            assert ids(spark, storage / "tables/main/default" / name) == list(range(1, number + 1))
