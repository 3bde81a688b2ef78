"""Delta Lake agrees with the checksum beside each commit of delta-rs, whoever wrote the commits before it and whatever they did."""
import pyarrow as pa
from deltalake import DeltaTable as Files
from hypothesis import given
from pyspark.sql.types import _parse_datatype_string

from cdc_utils.local import small_batches, writes
from test_scd_oracle import spark, tiny  # noqa: F401 (fixtures)
from test_small_batches import merged_by, randomness, some

SCHEMA = "id int NOT NULL COMMENT 'the \"key\"', name string, price decimal(38,9), at timestamp, list array<struct<a:int>>"


def sums(spark, path):
    "The newest snapshot as Delta Lake reads it anew: its version, whether there is a checksum, whether it agrees with the log."
    logs = spark._jvm.org.apache.spark.sql.delta.DeltaLog
    logs.clearCache()
    snapshot = logs.forTable(spark._jsparkSession, str(path)).unsafeVolatileSnapshot()
    return snapshot.version(), snapshot.checksumOpt().isDefined(), snapshot.validateChecksum(getattr(snapshot, "validateChecksum$default$1")())


def newest(path): return path / "_delta_log" / f"{Files(str(path)).version():020}.crc"


def forget(path):
    "Lose the newest checksum, and that of its bytes by which Hadoop would know"
    newest(path).unlink(missing_ok=True)
    newest(path).with_name(f".{newest(path).name}.crc").unlink(missing_ok=True)


def checkpoint(spark, path):
    spark._jvm.org.apache.spark.sql.delta.DeltaLog.forTable(spark._jsparkSession, str(path)).checkpoint()


def rows(choose, count): return [{"id": choose.randrange(9), "name": choose.choice(["", "é'\"\\", None])} for _ in range(count)]


def arrow(choose, path, count):
    found = rows(choose, count)
    return pa.table({"id": pa.array([row["id"] for row in found], pa.int32()), "name": pa.array([row["name"] for row in found], pa.string())})


BY_DELTA_RS = {
    "append": lambda spark, path, choose: writes.commit_rows(Files(str(path)), arrow(choose, path, 3), "append", ("stream", Files(str(path)).version())),
    "overwrite": lambda spark, path, choose: writes.commit_rows(Files(str(path)), arrow(choose, path, choose.randrange(3)), "overwrite"),
    "upsert": lambda spark, path, choose: small_batches.upsert(Files(str(path)), pa.table({"id": pa.array(choose.sample(range(9), 3), pa.int32()),
        "name": pa.array(["x"] * 3, pa.string())}), ["id"], ("merge", Files(str(path)).version())),
}
BY_OTHERS = {
    "append": lambda spark, path, choose: writes.append_with_spark(spark.createDataFrame(rows(choose, 3), "id int, name string"), path, ("spark", Files(str(path)).version())),
    "overwrite": lambda spark, path, choose: writes.overwrite_with_spark(spark.read.format("delta").load(str(path)).limit(2).localCheckpoint(), path),
    "delete": lambda spark, path, choose: spark.sql(f"DELETE FROM delta.`{path}` WHERE id < {choose.randrange(9)}"),
    "optimize": lambda spark, path, choose: spark.sql(f"OPTIMIZE delta.`{path}`"),
    "property": lambda spark, path, choose: spark.sql(f"ALTER TABLE delta.`{path}` SET TBLPROPERTIES ('level' = '{choose.random()}')"),
    "column": lambda spark, path, choose: spark.sql(f"ALTER TABLE delta.`{path}` ADD COLUMN (c{choose.randrange(10**9)} date COMMENT 'é')"),
    "restore": lambda spark, path, choose: spark.sql(f"RESTORE delta.`{path}` TO VERSION AS OF {choose.randint(0, Files(str(path)).version())}"),
    "checkpoint": lambda spark, path, choose: checkpoint(spark, path),
    "checkpoint by delta-rs": lambda spark, path, choose: Files(str(path)).create_checkpoint(),
    "compact by delta-rs": lambda spark, path, choose: Files(str(path)).optimize.compact(),  # leaves no checksum
    "crash": lambda spark, path, choose: forget(path),
}


@some
@given(randomness)
def test_delta_lake_agrees_whoever_wrote_before(tiny, tmp_path_factory, choose):
    path = tmp_path_factory.mktemp("sums 100% é") / "t"
    writes.create(tiny, path, _parse_datatype_string(SCHEMA), "What it's for", {"quality": "gold"})
    assert merged_by(path) == "delta-rs" and sums(tiny, path) == (0, True, True)
    for name in choose.sample([*BY_OTHERS], 5):
        BY_OTHERS[name](tiny, path, choose)
        before, commit = Files(str(path)).version(), choose.choice([*BY_DELTA_RS])
        BY_DELTA_RS[commit](tiny, path, choose)
        assert sums(tiny, path) == (before + 1, True, True), (name, commit)
    BY_OTHERS["append"](tiny, path, choose)
    assert sums(tiny, path) == (before + 2, True, True)  # Spark made its sum of ours
