"""SCD1 and SCD2 by hand: `foreachBatch` and MERGE, as the documentation of Delta Lake has them.

    python benchmarks/handwritten.py CLEAN TABLES    stream what is new in the Delta table CLEAN into
                                                     TABLES/customers and TABLES/customers_history

The patterns are https://docs.delta.io/delta-update/: "Write change data into a Delta table" and "Slowly
changing data (SCD) Type 2 operation into Delta tables", a union of rows that close and rows that open. Beyond
the documented text a batch may hold several events of a key, and events that change nothing. Like the
originals they trust the order in which events arrive: tests/test_benchmarks.py shows what a late one does."""

import sys
from functools import partial
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.sql import Window
from pyspark.sql import functions as F

from cdc_local.engines.spark.session import start_spark
from cdc_utils import customers

COLUMNS = list(customers.COLUMNS)
SCHEMAS = {"customers": ", ".join(f"{name} string" for name in COLUMNS)}
SCHEMAS["customers_history"] = SCHEMAS["customers"] + ", __START_AT timestamp, __END_AT timestamp"


def upsert_current(path, batch, batch_id):
    "SCD1: the newest event of each key in the batch updates, inserts or deletes its row."
    newest_first = Window.partitionBy("id").orderBy(F.desc("operation_date"))
    newest = batch.withColumn("place", F.row_number().over(newest_first)).where("place = 1")
    values = {name: f"new.{name}" for name in COLUMNS}
    merge = (
        DeltaTable.forPath(batch.sparkSession, path)
        .alias("old")
        .merge(newest.alias("new"), "old.id = new.id")
    )
    merge = merge.whenMatchedDelete("new.operation = 'DELETE'").whenMatchedUpdate(set=values)
    merge.whenNotMatchedInsert("new.operation <> 'DELETE'", values).execute()


def staged(stored, batch):
    """Rows for the SCD2 merge: an open row that ends has its id as `merge_key`, a new version has NULL there
    and is inserted."""
    events = batch.dropDuplicates(["id", "operation_date"]).selectExpr(
        *COLUMNS,
        "operation_date AS __START_AT",
        "operation = 'DELETE' AS deleted",
        "CAST(NULL AS string) AS merge_key",
    )
    opened = stored.where("__END_AT IS NULL").join(events.select("id").distinct(), "id", "left_semi")
    opened = opened.selectExpr(*COLUMNS, "__START_AT", "false AS deleted", "id AS merge_key")
    in_order = Window.partitionBy("id").orderBy("__START_AT")
    state = F.struct("deleted", *COLUMNS[1:])
    before = F.coalesce(
        F.lag(F.struct(state.alias("was"))).over(in_order)["was"].eqNullSafe(state), F.col("deleted")
    )
    changes = opened.unionByName(events).withColumn("same", before).where("NOT same")
    return changes.withColumn("__END_AT", F.lead("__START_AT").over(in_order)).where(
        "NOT deleted AND (merge_key IS NULL OR __END_AT IS NOT NULL)"
    )


def upsert_history(path, batch, batch_id):
    "SCD2: one MERGE closes the open rows that changed and inserts the new versions."
    stored = DeltaTable.forPath(batch.sparkSession, path)
    merge = stored.alias("old").merge(
        staged(stored.toDF(), batch).alias("new"), "old.id = new.merge_key AND old.__END_AT IS NULL"
    )
    merge = merge.whenMatchedUpdate(set={"__END_AT": "new.__END_AT"})
    merge.whenNotMatchedInsert(
        values={name: f"new.{name}" for name in [*COLUMNS, "__START_AT", "__END_AT"]}
    ).execute()


MERGES = {"customers": upsert_current, "customers_history": upsert_history}


def catch_up(spark, source, tables, name):
    "Stream what is new in the source into one table, which is made if it is missing."
    path = str(Path(tables, name))
    if not DeltaTable.isDeltaTable(spark, path):
        spark.createDataFrame([], SCHEMAS[name]).write.format("delta").save(path)
    stream = (
        spark.readStream.format("delta")
        .load(str(source))
        .writeStream.foreachBatch(partial(MERGES[name], path))
    )
    stream.option("checkpointLocation", str(Path(tables, "checkpoints", name))).trigger(
        availableNow=True
    ).start().awaitTermination()


def main(source, tables):
    spark = start_spark()
    for name in MERGES:
        catch_up(spark, source, tables, name)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
