"""Which tables and rows delta-rs may write and DuckDB may read as Spark would."""

import glob
import json
import re
from collections.abc import Iterator
from pathlib import Path

from pyspark.sql import SparkSession
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

PLAIN_FEATURES = frozenset(
    {"appendOnly", "invariants", "timestampNtz"}
)  # Of Delta tables: what DuckDB and delta-rs do as Spark does


def is_plain_table(
    table,  # A `deltalake.DeltaTable`
) -> bool:  # Whether every file of it holds just its rows, as any reader of Parquet sees them
    "Tell from its protocol that a table needs no Spark."
    protocol = table.protocol()
    named = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    known = (
        named <= PLAIN_FEATURES if protocol.min_writer_version == 7 else protocol.min_writer_version <= 2
    )  # versions 3 to 6 imply features
    return known and not table.metadata().partition_columns


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


def can_identify(
    kind: DataType,  # Type of a key or of a sequence
) -> bool:  # Whether Spark, DuckDB and delta-rs agree on which of its values are equal
    "Tell types that may identify a row."
    if isinstance(kind, StructType):
        return all(can_identify(field.dataType) for field in kind)
    return isinstance(kind, EXACT_TYPES) or kind == StringType()


def can_be_kept(
    kind: DataType,  # Type of a column
) -> bool:  # Whether its values come back as they were
    "Tell types that a row may have."
    if isinstance(kind, ArrayType):
        return can_be_kept(kind.elementType)
    if isinstance(kind, MapType):
        return can_be_kept(kind.keyType) and can_be_kept(kind.valueType)
    if isinstance(kind, StructType):
        return all(can_be_kept(field.dataType) for field in kind)
    return isinstance(kind, (FloatType, DoubleType)) or can_identify(kind)


def declared_schema(
    table,  # A `deltalake.DeltaTable`
) -> StructType:  # Its columns
    "Read a table's schema as Spark has it."
    return StructType.fromJson(json.loads(table.schema().to_json()))


def stored_schema(
    table,  # A `deltalake.DeltaTable`
) -> StructType:  # Its columns, all of them nullable
    "Read a table's schema as that of any rows: Spark would refuse a NULL struct whose fields are NOT NULL."
    return declared_schema(table).toNullable()


def fits_rows(
    table,  # A `deltalake.DeltaTable`
    schema: StructType,  # Columns of the rows
) -> bool:
    "Tell that a table needs no Spark, and has the columns of the rows as they are."
    types = {field.name: field.dataType for field in stored_schema(table)}
    return (
        is_plain_table(table)
        and all(map(can_be_kept, types.values()))
        and all(types.get(field.name) == field.dataType for field in schema.toNullable())
    )


def data_files(
    table,  # A `deltalake.DeltaTable`
    path: Path,  # Its folder
) -> list[Path]:
    "The files that hold its rows."
    import pyarrow

    return [path / name for name in pyarrow.table(table.get_add_actions())["path"].to_pylist()]


def can_read_files(
    files: list[Path],  # Of a Delta table
) -> bool:  # Whether they all lie in its folder, and none has a timestamp in the old format
    "Tell from their footers that files need no Spark."
    import duckdb

    if not all(file.exists() for file in files):
        return False  # a clone's files lie elsewhere, and are named in another way
    old = "SELECT count(*) FROM parquet_schema($files) WHERE type = 'INT96'"
    return duckdb.connect().execute(
        old, {"files": [glob.escape(str(file)) for file in files]}
    ).fetchone() == (0,)


def is_local(
    spark: SparkSession,  # Any session
) -> bool:
    "Tell that Spark runs in this machine's processes."
    return spark.sparkContext.master.startswith("local")


def can_append(
    table,  # A `deltalake.DeltaTable`
    schema: StructType,  # Columns of the rows
) -> bool:
    "Tell, before anything is read, whether rows can be appended as they are, without Spark."
    types, now = (
        {field.name: field.dataType for field in stored_schema(table)},
        {field.name: field for field in schema},
    )

    def filled(field):  # whatever may not be NULL in the table is not NULL in the rows
        given = now.get(field.name)
        return (
            field.nullable
            if given is None
            else (field.nullable or not given.nullable)
            and field.dataType in (types[field.name], given.dataType)
        )

    compacted = any(name.startswith("delta.autoOptimize") for name in table.metadata().configuration)
    return fits_rows(table, schema) and all(map(filled, declared_schema(table))) and not compacted


def named_fields(
    kind: DataType,  # A type
) -> Iterator[list[StructField]]:  # The fields of each struct in it
    "Walk the structs of a type."
    if isinstance(kind, StructType):
        yield list(kind)
        for field in kind:
            yield from named_fields(field.dataType)
    if isinstance(kind, ArrayType):
        yield from named_fields(kind.elementType)
    if isinstance(kind, MapType):
        yield from named_fields(kind.keyType)
        yield from named_fields(kind.valueType)


def is_ordinary_field(
    schema: StructType,  # Columns of a new table
) -> bool:
    "Tell columns that ask for nothing but their place: no feature of Delta's protocol, no rule about names."

    def plain(field):
        return can_be_kept(field.dataType) and set(field.metadata or ()) <= {"comment"}

    def distinct(fields):
        return len({field.name.lower() for field in fields}) == len(fields) > 0

    named = all(
        distinct(fields)
        and all(plain(field) and re.fullmatch(r"[^ ,;{}()\n\t=]+", field.name) for field in fields)
        for fields in named_fields(schema)
    )
    return named and "timestamp_ntz" not in schema.json()  # that type is a feature
