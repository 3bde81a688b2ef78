"""Delta Lake agrees with the checksum beside each commit of delta-rs, whoever wrote the commits before it."""

import pyarrow as pa
from deltalake import DeltaTable as Files
from hypothesis import given
from pyspark.sql.types import _parse_datatype_string
from random_tables import merged_by, randomness, some

from cdc_local.delta.writer import (
    append_with_spark,
    commit_rows,
    create_table,
    merge_rows,
    overwrite_with_spark,
)

SCHEMA = (
    "id int NOT NULL COMMENT 'the \"key\"', name string, price decimal(38,9), at timestamp, "
    "list array<struct<a:int>>"
)


def sums(spark, path):
    "The newest snapshot as Delta Lake reads it: version, whether it has a checksum, whether that is right."
    logs = spark._jvm.org.apache.spark.sql.delta.DeltaLog
    logs.clearCache()
    snapshot = logs.forTable(spark._jsparkSession, str(path)).unsafeVolatileSnapshot()
    return (
        snapshot.version(),
        snapshot.checksumOpt().isDefined(),
        snapshot.validateChecksum(getattr(snapshot, "validateChecksum$default$1")()),
    )


def stored(path):
    return Files(str(path))


def forget(path):
    "Lose the newest checksum, and that of its bytes by which Hadoop would know"
    newest = path / "_delta_log" / f"{stored(path).version():020}.crc"
    for file in (newest, newest.with_name(f".{newest.name}.crc")):
        file.unlink(missing_ok=True)


def checkpoint(spark, path):
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(path)).checkpoint()


def visits(choose, ids):
    return pa.table(
        {
            "id": pa.array(ids, pa.int32()),
            "name": pa.array([choose.choice(["", "é'\"\\", None]) for _ in ids], pa.string()),
        }
    )


def some_ids(choose):
    return choose.choices(range(9), k=choose.randrange(4))


def next_batch(path, stream):
    return stream, stored(path).version()


BY_DELTA_RS = {
    "append": lambda path, choose: commit_rows(
        stored(path), visits(choose, some_ids(choose)), "append", next_batch(path, "stream")
    ),
    "overwrite": lambda path, choose: commit_rows(
        stored(path), visits(choose, some_ids(choose)), "overwrite"
    ),
    "upsert": lambda path, choose: merge_rows(
        stored(path), visits(choose, choose.sample(range(9), 3)), ["id"], next_batch(path, "merge")
    ),
}
BY_OTHERS = {
    "append": lambda spark, path, choose: append_with_spark(
        spark.createDataFrame(visits(choose, [1, 1, 2])), path, next_batch(path, "spark")
    ),
    "overwrite": lambda spark, path, choose: overwrite_with_spark(
        spark.read.format("delta").load(str(path)).limit(2).localCheckpoint(), path
    ),
    "delete": lambda spark, path, choose: spark.sql(
        f"DELETE FROM delta.`{path}` WHERE id < {choose.randrange(9)}"
    ),
    "optimize": lambda spark, path, choose: spark.sql(f"OPTIMIZE delta.`{path}`"),
    "property": lambda spark, path, choose: spark.sql(
        f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('level' = '{choose.random()}')"
    ),
    "column": lambda spark, path, choose: spark.sql(
        f"ALTER TABLE delta.`{path}` ADD COLUMN (c{choose.randrange(10**9)} date COMMENT 'é')"
    ),
    "restore": lambda spark, path, choose: spark.sql(
        f"RESTORE delta.`{path}` TO VERSION AS OF {choose.randint(0, stored(path).version())}"
    ),
    "checkpoint": lambda spark, path, choose: checkpoint(spark, path),
    "checkpoint by delta-rs": lambda spark, path, choose: stored(path).create_checkpoint(),
    "compact by delta-rs": lambda spark, path, choose: stored(path).optimize.compact(),  # leaves no checksum
    "crash": lambda spark, path, choose: forget(path),
}


@some
@given(randomness)
def test_delta_lake_agrees_whoever_wrote_before(tiny, tmp_path_factory, choose):
    path = tmp_path_factory.mktemp("sums 100% é") / "t"
    create_table(tiny, path, _parse_datatype_string(SCHEMA), "What it's for", {"quality": "gold"})
    assert merged_by(path) == "delta-rs" and sums(tiny, path) == (0, True, True)
    for name in choose.sample([*BY_OTHERS], 5):
        BY_OTHERS[name](tiny, path, choose)
        before, commit = stored(path).version(), choose.choice([*BY_DELTA_RS])
        BY_DELTA_RS[commit](path, choose)
        assert sums(tiny, path) == (before + 1, True, True), (name, commit)
    BY_OTHERS["append"](tiny, path, choose)
    assert sums(tiny, path) == (before + 2, True, True)  # Spark made its sum of ours
