"""Parquet without Spark: columns by name, of exactly the declared types; Spark reads what would need more."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    DataType,
    MapType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.autoloader.layout import Layout
from cdc_local.errors import NeedsSparkError, PipelineError

_ROWS = 20_000  # Of a batch
_LEGACY = (b"org.apache.spark.legacyDateTime", b"org.apache.spark.legacyINT96")


def read_parquet_file(
    path: Path,  # A Parquet file
    layout: Layout,  # The columns wanted
) -> Iterator[list[pyarrow.Array]]:  # The data columns
    "Read the declared columns of a file; NULL for those that it does not have."
    schema = to_arrow_schema(StructType(layout.data), timezone="UTC")
    with _open(path) as file:
        there = {field.name: field for field in parquet_columns(file, path)}
        spelled = {name.lower(): name for name in there}
        wanted: dict[str, str] = {}
        for field in layout.data:
            name = field.name if field.name in there else spelled.get(field.name.lower())
            if name is None:
                continue
            if there[name].dataType != _plain(field.dataType) or len(spelled) < len(there):
                raise NeedsSparkError(
                    f"{path.name}: column {name} of type {there[name].dataType.simpleString()} "
                    f"is read as {field.dataType.simpleString()} by Spark alone"
                )
            wanted[field.name] = name
        for batch in file.iter_batches(_ROWS, columns=list(wanted.values())):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            yield [
                _cast(columns[wanted[field.name]], field.type)
                if field.name in wanted
                else pyarrow.nulls(batch.num_rows, field.type)
                for field in schema
            ]


def infer_parquet_columns(
    paths: Sequence[Path],  # Parquet files
) -> StructType:  # Columns of all files, those of the first by name first
    "Merge the columns of files; NeedsSparkError where two files differ in a type."
    merged: StructType = StructType()
    for path in paths:
        with _open(path) as file:
            merged = _merge(merged, parquet_columns(file, path))
    return merged


def parquet_columns(
    file: pyarrow.parquet.ParquetFile,  # An open Parquet file
    path: Path,  # Of the file
) -> StructType:
    "The columns of a file as Spark sees them."
    if any(key in (file.metadata.metadata or {}) for key in _LEGACY):
        raise NeedsSparkError(f"{path.name}: dates in the old calendar are read by Spark alone")
    physical = [file.schema.column(index) for index in range(len(file.schema))]
    old = {column.path for column in physical if column.physical_type == "INT96"}
    return StructType(
        [
            StructField(field.name, _spark_type(field.type, field.name in old, path))
            for field in file.schema_arrow
        ]
    )


def _open(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path, coerce_int96_timestamp_unit="us")
    except pyarrow.ArrowInvalid as error:
        raise PipelineError(f"Auto Loader: {path} is no Parquet file: {error}") from None


def _spark_type(
    kind: pyarrow.DataType,
    is_int96: bool,  # Stored as the timestamps of Impala, which have a zone for Spark
    path: Path,  # Of the file
) -> DataType:
    types = pyarrow.types
    if types.is_struct(kind):
        return StructType([StructField(part.name, _spark_type(part.type, False, path)) for part in kind])
    if types.is_list(kind):
        return ArrayType(_spark_type(kind.value_type, False, path))
    if types.is_map(kind):
        key, value = (_spark_type(part, False, path) for part in (kind.key_type, kind.item_type))
        return MapType(key, value)
    if types.is_timestamp(kind):
        if kind.unit == "ns":
            raise NeedsSparkError(f"{path.name}: timestamps in nanoseconds are read by Spark alone")
        return TimestampType() if kind.tz or is_int96 else TimestampNTZType()
    known: Any = (
        types.is_boolean(kind)
        or types.is_signed_integer(kind)
        or types.is_float32(kind)
        or types.is_float64(kind)
        or types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_binary(kind)
        or types.is_date32(kind)
        or types.is_decimal128(kind)
    )
    if not known:
        raise NeedsSparkError(f"{path.name}: a column of type {kind} is read by Spark alone")
    return from_arrow_type(kind)


def _plain(kind: DataType) -> DataType:
    "A type whose parts may all be NULL, as those of files are read."
    if isinstance(kind, StructType):
        return StructType([StructField(field.name, _plain(field.dataType)) for field in kind.fields])
    if isinstance(kind, ArrayType):
        return ArrayType(_plain(kind.elementType))
    return MapType(_plain(kind.keyType), _plain(kind.valueType)) if isinstance(kind, MapType) else kind


def _merge(old: StructType, new: StructType) -> StructType:
    fields = {field.name: field.dataType for field in old.fields}
    for field in new.fields:
        before = fields.setdefault(field.name, field.dataType)
        if isinstance(before, StructType) and isinstance(field.dataType, StructType):
            fields[field.name] = _merge(before, field.dataType)
        elif before != field.dataType:
            raise NeedsSparkError(
                f"The types of column {field.name}, which differ, are merged by Spark alone"
            )
    return StructType([StructField(name, kind) for name, kind in fields.items()])


def _cast(column: pyarrow.Array, wanted: pyarrow.DataType) -> pyarrow.Array:
    if pyarrow.types.is_timestamp(wanted) and wanted.tz and column.type.tz is None:
        column = column.cast(pyarrow.timestamp("us")).view(pyarrow.int64())
    return column if column.type.equals(wanted) else column.cast(wanted)
