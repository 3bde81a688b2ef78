"""A table is created, appended to or overwritten in one commit: without a Spark job where the rows are few, by Spark where they are many or the table asks for more."""

from contextlib import contextmanager
from pathlib import Path

from delta.tables import DeltaTable
from deltalake import DeltaTable as Files
from deltalake import Schema, write_deltalake
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructType

from cdc_local.delta.checksum import write_checksum
from cdc_local.delta.support import can_append, declared_schema, is_local, is_ordinary_field, stored_schema
from cdc_local.sql_names import quote_for_duckdb

MOST_BYTES = 2**24  # Of what a small frame is made from, as Spark's optimizer sees it: 16 MiB


def is_small_frame(
    frame: DataFrame,  # A batch
) -> bool:  # False also where Spark does not know its size
    "Tell, before anything is read, whether a frame may be held in this process."
    return (
        is_local(frame.sparkSession)
        and frame._jdf.queryExecution().optimizedPlan().stats().sizeInBytes() <= MOST_BYTES
    )


@contextmanager
def hold_rows(
    frame: DataFrame,  # A batch
    wanted: bool = True,  # Whether they are of any use
):  # The frame to go on with, and a `pyarrow.Table` of its rows; None where they are many, or not wanted
    "Hold the rows of a small frame in this process."
    if not (wanted and is_small_frame(frame)):
        yield frame, None
        return
    held = frame.persist()
    try:
        yield held, collect_few_rows(held, MOST_EVENTS)
    finally:
        held.unpersist()


def append_with_spark(
    rows: DataFrame,  # Of a batch
    path: Path,  # A Delta table
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Append rows of any number to any table that Delta Lake writes; new columns are added."
    writer = rows.write.format("delta").mode("append").option("mergeSchema", "true")
    if transaction:
        writer = writer.option("txnAppId", transaction[0]).option("txnVersion", transaction[1])
    writer.save(str(path))


MOST_EVENTS = 100_000  # Of a small batch


def commit_rows(
    table,  # A `deltalake.DeltaTable` that `takes` the rows
    rows,  # A `pyarrow.Table` with some or all of its columns
    mode: str,  # 'append' or 'overwrite'
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Write rows in one commit; a column that they do not have is NULL."
    import pyarrow

    schema = to_arrow_schema(declared_schema(table), timezone="UTC")

    def column(field):
        return (
            rows[field.name] if field.name in rows.column_names else pyarrow.nulls(rows.num_rows, field.type)
        )

    whole = pyarrow.table([column(field) for field in schema], names=schema.names).cast(schema)
    write_deltalake(table, whole, mode=mode, commit_properties=commit_properties(transaction))
    write_checksum(table)


def append_batch(
    batch: DataFrame,  # Rows
    path: Path,  # A Delta table, created before
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Append a batch in one commit; one that the table has already is computed, and not written."
    table = Files(str(path))
    with hold_rows(batch, can_append(table, batch.schema)) as (batch, few):
        if has_batch(table, transaction):
            if few is None:
                batch.write.format("noop").mode("overwrite").save()
        elif few is None:
            append_with_spark(batch, path, transaction)
        elif few.num_rows:
            commit_rows(table, few, "append", transaction)


def arrow_rows(
    frame: DataFrame,  # Rows
):  # A `pyarrow.Table` of them, all nullable: a NULL struct can't have fields that are NOT NULL
    "Collect rows."
    return frame.to(frame.schema.toNullable()).toArrow()


def overwrite_table(
    rows: DataFrame,  # All rows of the table
    path: Path,  # A Delta table, created before
    partition_cols: list[str] | None = None,  # As declared
    cluster_by: list[str] | None = None,  # As declared
) -> None:
    "Replace rows and columns of a table, in one commit."
    table = Files(str(path))
    plain = (
        not partition_cols
        and not cluster_by
        and rows.schema.toNullable() == stored_schema(table)
        and can_append(table, rows.schema)
    )
    with hold_rows(rows, plain) as (rows, few):
        if few is None:
            overwrite_with_spark(rows, path, partition_cols, cluster_by)
        else:
            commit_rows(table, few, "overwrite")


def collect_few_rows(
    frame: DataFrame,  # A batch
    most: int = MOST_EVENTS,  # Rows that are few
):  # A `pyarrow.Table`, None where there are more rows
    "Collect rows if they are few."
    found = arrow_rows(frame.limit(most + 1))
    return found if found.num_rows <= most else None


def overwrite_with_spark(
    rows: DataFrame,  # All rows of the table
    path: Path,  # A Delta table
    partition_cols: list[str] | None = None,  # As declared
    cluster_by: list[str] | None = None,  # As declared
) -> None:
    "Replace rows and columns of any table that Delta Lake writes."
    writer = rows.write.format("delta").mode("overwrite").option("overwriteSchema", "true")
    if partition_cols:
        writer = writer.partitionBy(*partition_cols)
    if cluster_by:
        writer = writer.clusterBy(*cluster_by)
    writer.save(str(path))


def commit_properties(
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
):  # `deltalake.CommitProperties`
    "What a commit carries besides its rows."
    from deltalake import CommitProperties, Transaction

    return CommitProperties(app_transactions=[Transaction(*transaction)] if transaction else None)


PROPERTY_DEFAULTS = (
    "spark.databricks.delta.properties.defaults."  # Settings of a session that give each new table a property
)


def merge_rows(
    table,  # A `deltalake.DeltaTable`
    rows,  # A `pyarrow.Table` with some or all of its columns
    identity: list[str],  # Columns that tell its rows apart; never NULL
    transaction: tuple[str, int] | None = None,  # Name of the stream, number of its batch
) -> None:
    "Merge rows into a table, in one commit; none where there are no rows."
    import pyarrow

    if not rows.num_rows:
        return
    same = " AND ".join(
        f"(old.{quote_for_duckdb(name)} = new.{quote_for_duckdb(name)})" for name in identity
    )  # `a = b AND c` may be read as `a = (b AND c)`
    values = {f"old.{quote_for_duckdb(name)}": f"new.{quote_for_duckdb(name)}" for name in rows.column_names}
    unbounded = any(
        test(rows.schema.field(name).type)
        for name in identity
        for test in (pyarrow.types.is_struct, pyarrow.types.is_decimal)
    )
    merge = table.merge(
        rows,
        same,
        source_alias="new",
        target_alias="old",
        commit_properties=commit_properties(transaction),
        streamed_exec=unbounded,
    )  # else the bounds of `rows` tell which files to leave out: not those of a struct, and a decimal's are rounded
    merge.when_matched_update(values).when_not_matched_insert(values).execute()
    write_checksum(table)


def create_table(
    spark: SparkSession,  # Makes the table where it is not plain
    path: Path,  # Its folder, where there is no table
    schema: StructType,  # Its columns
    comment: str | None = None,  # What it holds
    properties: dict[str, str] | None = None,  # Table properties
    partition_cols: list[str] | None = None,  # Columns that divide its files into folders
    cluster_by: list[str] | None = None,  # Columns of liquid clustering
) -> None:
    "Create a Delta table that has no rows; raises what Spark raises."
    properties = {key: str(value) for key, value in (properties or {}).items()}
    asks = [
        *(partition_cols or ()),
        *(cluster_by or ()),
        *[key for key in properties if key.startswith("delta.")],
        *[key for key in spark.conf.getAll if key.startswith(PROPERTY_DEFAULTS)],
    ]
    if is_local(spark) and is_ordinary_field(schema) and not asks:
        columns = Schema.from_json(schema.json())
        write_checksum(
            Files.create(
                str(path),
                columns,
                description=comment,
                configuration=properties,
                raise_if_key_not_exists=False,
            )
        )
    else:
        create_with_spark(spark, path, schema, comment, properties, partition_cols, cluster_by)


def has_batch(
    table,  # A `deltalake.DeltaTable`
    transaction: tuple[str, int] | None,  # Name of the stream, number of its batch
) -> bool:
    "Ask a table whether it has a batch already."
    if transaction is None:
        return False
    newest = table.transaction_version(transaction[0])
    return newest is not None and newest >= transaction[1]


def create_with_spark(
    spark: SparkSession,  # Makes the table
    path: Path,  # Its folder, where there is no table
    schema: StructType,  # Its columns
    comment: str | None = None,  # What it holds
    properties: dict[str, str] | None = None,  # Table properties
    partition_cols: list[str] | None = None,  # Columns that divide its files into folders
    cluster_by: list[str] | None = None,  # Columns of liquid clustering
) -> None:
    "Create any table that Delta Lake knows."
    builder = DeltaTable.createIfNotExists(spark).location(str(path)).addColumns(schema)
    if comment:
        builder = builder.comment(comment)
    if partition_cols:
        builder = builder.partitionedBy(*partition_cols)
    if cluster_by:
        builder = builder.clusterBy(*cluster_by)
    for key, value in (properties or {}).items():
        builder = builder.property(key, value)
    builder.execute()
