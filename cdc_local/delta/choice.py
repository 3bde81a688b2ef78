"""Who writes a Delta table: delta-rs where the table and the rows ask for nothing more, else Spark.

Every write asks one of the four `choose_…` functions before anything is read. A reason names what needs
Spark; the first reason found is enough.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    ByteType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    IntegerType,
    LongType,
    MapType,
    ShortType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.delta.log import read_nullable_schema, read_schema
from cdc_local.engines.engine import is_sail
from cdc_local.engines.spark.jobs import estimate_bytes, is_local

MOST_BYTES = 2**24  # Of a frame that delta-rs writes, as Spark's optimizer estimates it: 16 MiB
MOST_EVENTS = 100_000  # Rows of a batch that delta-rs writes
MOST_STORED_ROWS = 1_000_000  # Stored rows that the keys of such a batch may have, where it is merged

# Features of Delta tables that DuckDB reads and delta-rs writes as Spark does
PLAIN_FEATURES = frozenset({"appendOnly", "invariants", "timestampNtz"})

# Settings of a session that give each new table a property
PROPERTY_DEFAULTS = "spark.databricks.delta.properties.defaults."

EXACT_TYPES = (
    BooleanType,
    ByteType,
    ShortType,
    IntegerType,
    LongType,
    DateType,
    TimestampType,
    TimestampNTZType,
    DecimalType,
    BinaryType,
)


@dataclass(frozen=True)
class Choice:
    "Who writes, and why Spark where it does."

    reason: str | None = None  # What needs Spark, in words; None where delta-rs may write

    @property
    def is_delta_rs(self) -> bool:
        "Whether delta-rs may write."
        return self.reason is None

    @classmethod
    def from_reasons(
        cls,
        *reasons: Iterable[str],  # What needs Spark, looked for one after the other
    ) -> "Choice":
        "Choose by the first reason found; what comes after it is not looked for."
        return cls(next((reason for found in reasons for reason in found), None))


def choose_create(
    spark: SparkSession,  # The session of the update
    schema: StructType,  # Columns of the new table
    properties: dict[str, str],  # Its table properties
    partition_cols: list[str] | None = None,  # Columns that divide its files into folders
    cluster_by: list[str] | None = None,  # Columns of liquid clustering
) -> Choice:
    "Choose who creates a table."
    return Choice.from_reasons(
        _session_reasons(spark),
        _layout_reasons(partition_cols, cluster_by),
        _property_reasons(spark, properties),
        _nested_null_reasons(schema),
        _new_column_reasons(schema),
    )


def choose_append(
    table: DeltaTable,  # The table
    rows: DataFrame,  # New rows with some or all of its columns
) -> Choice:
    "Choose who appends rows."
    return Choice.from_reasons(
        _table_reasons(table),
        _column_reasons(table, rows.schema),
        _null_reasons(table, rows.schema),
        _compaction_reasons(table),
        _session_reasons(rows.sparkSession),
        _size_reasons(rows),
    )


def choose_overwrite(
    table: DeltaTable,  # The table
    rows: DataFrame,  # All rows that it is to have
    partition_cols: list[str] | None = None,  # As declared
    cluster_by: list[str] | None = None,  # As declared
) -> Choice:
    "Choose who replaces all rows of a table; Spark does where its columns change, too."
    return Choice.from_reasons(
        _layout_reasons(partition_cols, cluster_by),
        _other_schema_reasons(table, rows.schema),
        _table_reasons(table),
        _column_reasons(table, rows.schema),
        _null_reasons(table, rows.schema),
        _compaction_reasons(table),
        _session_reasons(rows.sparkSession),
        _size_reasons(rows),
    )


def choose_merge(
    table: DeltaTable,  # The table
    events: DataFrame,  # New events with some or all of its columns
    identity: list[str],  # Columns that tell its rows apart
) -> Choice:
    "Choose who merges events; how many they are is known later, when they have been computed."
    return Choice.from_reasons(
        _session_reasons(events.sparkSession),
        _table_reasons(table),
        _nested_null_reasons(read_schema(table)),
        _column_reasons(table, events.schema),
        _identity_reasons(table, identity),
    )


def choose_rows_of_sail(
    table: DeltaTable,  # The table
    rows: StructType,  # Columns of the rows to append, or to write over those that are there
) -> Choice:
    "Choose who writes rows that Sail has computed; columns may be new."
    return Choice.from_reasons(
        _table_reasons(table), _nested_null_reasons(read_schema(table)), _new_column_reasons(rows)
    )


def choose_maintenance(
    table: DeltaTable,  # The table
) -> Choice:
    "Choose who cleans up a table, whose files may be named in ways that only Spark knows."
    return Choice.from_reasons(_feature_reasons(table))


def choose_compaction(
    table: DeltaTable,  # The table
) -> Choice:
    "Choose who writes the rows of a table into other files; Spark does where it compacts by itself."
    return Choice.from_reasons(_feature_reasons(table), _type_reasons(table), _compaction_reasons(table))


def _session_reasons(spark: SparkSession) -> Iterator[str]:
    if not is_sail(spark) and not is_local(spark):
        yield "Spark runs on a cluster"


def _size_reasons(rows: DataFrame) -> Iterator[str]:
    "What is large, or of a size that Spark does not know."
    if estimate_bytes(rows) > MOST_BYTES:
        yield f"the rows may be more than {MOST_BYTES} bytes"


def _layout_reasons(partition_cols: list[str] | None, cluster_by: list[str] | None) -> Iterator[str]:
    if partition_cols:
        yield f"the table is partitioned by {', '.join(partition_cols)}"
    if cluster_by:
        yield f"the table is clustered by {', '.join(cluster_by)}"


def _property_reasons(spark: SparkSession, properties: dict[str, str]) -> Iterator[str]:
    "Properties that Delta Lake acts on."
    for key in properties:
        if key.startswith("delta."):
            yield f"the table has the property {key}"
    for key in spark.conf.getAll:
        if str(key).startswith(PROPERTY_DEFAULTS):
            yield f"the session sets {key}"


def _table_reasons(table: DeltaTable) -> Iterator[str]:
    "What in a table's protocol, layout and columns needs Spark: its files hold more, or less, than its rows."
    yield from _feature_reasons(table)
    yield from _layout_reasons(table.metadata().partition_columns, None)
    yield from _type_reasons(table)


def _feature_reasons(table: DeltaTable) -> Iterator[str]:
    "Features of a table's protocol that delta-rs does not know, or does not treat as Spark does."
    protocol = table.protocol()
    if protocol.min_writer_version == 7:
        features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
        if features - PLAIN_FEATURES:
            yield f"the table has the features {', '.join(sorted(features - PLAIN_FEATURES))}"
    elif protocol.min_writer_version > 2:  # versions 3 to 6 imply features
        yield f"the table has the writer version {protocol.min_writer_version}"


def _type_reasons(table: DeltaTable) -> Iterator[str]:
    "Columns whose values do not come back as they were."
    for field in read_nullable_schema(table):
        if not can_round_trip(field.dataType):
            yield f"column {field.name} is {field.dataType.simpleString()}"


def _compaction_reasons(table: DeltaTable) -> Iterator[str]:
    "Properties by which Spark compacts files after it has written."
    for key in table.metadata().configuration:
        if key.startswith("delta.autoOptimize"):
            yield f"the table has the property {key}"


def _column_reasons(table: DeltaTable, schema: StructType) -> Iterator[str]:
    "Columns of the rows that the table does not have in just this type."
    types = {field.name: field.dataType for field in read_nullable_schema(table)}
    for field in schema.toNullable():
        if field.name not in types:
            yield f"column {field.name} is new"
        elif types[field.name] != field.dataType:
            before, now = types[field.name].simpleString(), field.dataType.simpleString()
            yield f"column {field.name} is {before}, and {now} in the rows"


def _null_reasons(table: DeltaTable, schema: StructType) -> Iterator[str]:
    "Columns that are NOT NULL in the table, and may be NULL in the rows."
    types = {field.name: field.dataType for field in read_nullable_schema(table)}
    given = {field.name: field for field in schema}
    for field in read_schema(table):
        row_field = given.get(field.name)
        may_be_null = row_field is None or row_field.nullable
        if may_be_null and not field.nullable:
            yield f"column {field.name} is NOT NULL, and may be NULL in the rows"
        elif row_field is not None and field.dataType not in (types[field.name], row_field.dataType):
            yield f"a field of column {field.name} is NOT NULL, and may be NULL in the rows"


def _nested_null_reasons(schema: StructType) -> Iterator[str]:
    "Fields, elements and values inside of columns that are NOT NULL, which delta-rs does not cast to."
    for field in schema:
        if field.dataType != StructType([field]).toNullable()[0].dataType:
            yield f"column {field.name} has a part that is NOT NULL"


def _other_schema_reasons(table: DeltaTable, schema: StructType) -> Iterator[str]:
    if schema.toNullable() != read_nullable_schema(table):
        yield "the rows have other columns than the table, or another order or other comments of them"


def _identity_reasons(table: DeltaTable, identity: list[str]) -> Iterator[str]:
    "Columns of which Spark and delta-rs may find other values equal."
    types = {field.name: field.dataType for field in read_nullable_schema(table)}
    for name in identity:
        if not has_exact_equality(types[name]):
            yield f"column {name} tells rows apart, and is {types[name].simpleString()}"


def _new_column_reasons(schema: StructType) -> Iterator[str]:
    "Columns of a new table that ask for a feature of Delta's protocol, or for rules about names."
    for fields in _list_structs(schema):
        if not fields:
            yield "a struct has no fields"
        if len({field.name.lower() for field in fields}) < len(fields):
            yield f"two of {', '.join(field.name for field in fields)} differ in nothing but case"
        for field in fields:
            if not can_round_trip(field.dataType):
                yield f"column {field.name} is {field.dataType.simpleString()}"
            if not set(field.metadata or ()) <= {"comment"}:
                yield f"column {field.name} has the metadata {', '.join(field.metadata)}"
            if not re.fullmatch(r"[^ ,;{}()\n\t=]+", field.name):
                yield f"the column's name {field.name!r} has a sign that Parquet does not allow"
    if "timestamp_ntz" in schema.json():
        yield "a column is timestamp_ntz, which is a feature of the table"


def has_exact_equality(
    kind: DataType,  # Type of a key or of a sequence
) -> bool:
    "Whether Spark, DuckDB and delta-rs agree on which values of a type are equal."
    if isinstance(kind, StructType):
        return all(has_exact_equality(field.dataType) for field in kind)
    return isinstance(kind, EXACT_TYPES) or kind == StringType()  # a collated string is not equal to it


def can_round_trip(
    kind: DataType,  # Type of a column
) -> bool:
    "Whether values of a type that delta-rs wrote come back as they were."
    if isinstance(kind, ArrayType):
        return can_round_trip(kind.elementType)
    if isinstance(kind, MapType):
        return can_round_trip(kind.keyType) and can_round_trip(kind.valueType)
    if isinstance(kind, StructType):
        return all(can_round_trip(field.dataType) for field in kind)
    return isinstance(kind, (FloatType, DoubleType)) or has_exact_equality(kind)


def _list_structs(kind: DataType) -> Iterator[list[StructField]]:
    "The fields of each struct in a type, its own first."
    if isinstance(kind, StructType):
        yield list(kind)
        for field in kind:
            yield from _list_structs(field.dataType)
    if isinstance(kind, ArrayType):
        yield from _list_structs(kind.elementType)
    if isinstance(kind, MapType):
        yield from _list_structs(kind.keyType)
        yield from _list_structs(kind.valueType)
