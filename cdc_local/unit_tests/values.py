"""Values of a test as values of a table: by the types of its columns, which lose nothing on the way."""

import base64
import binascii
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import pyarrow
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from cdc_local.autoloader.value_texts import cast_text
from cdc_local.errors import NeedsSparkError
from cdc_local.unit_tests.declarations import LocatedRow
from cdc_local.unit_tests.nodes import UnitTestError, suggest

_IN_QUOTES = "YAML reads it as another kind of value: put it in quotes"


class MisfitError(ValueError):
    "A value that is none of its column's type."


def infer_columns(
    rows: Iterable[LocatedRow],  # Rows whose types nobody says
) -> StructType:  # A column for each name, in the order of first appearance
    "Take the types of columns from their values, as YAML has them."
    values: dict[str, list[Any]] = {}
    for row in rows:
        for name, value in row.values.items():
            values.setdefault(name, []).append(value)
    return StructType([StructField(name, _infer_type(found)) for name, found in values.items()])


def _infer_type(
    values: Sequence[Any],  # As YAML or Python has them
) -> DataType:  # Text where they are NULL, or of several kinds
    "Take a type from values."
    known = [value for value in values if value is not None]
    kinds = {_scalar_type(value) for value in known if not isinstance(value, (list, Mapping))}
    if known and all(isinstance(value, list) for value in known):
        return ArrayType(_infer_type([item for value in known for item in value]))
    if known and all(isinstance(value, Mapping) for value in known):
        return infer_columns(LocatedRow(value) for value in known)
    if kinds == {LongType(), DoubleType()}:
        return DoubleType()
    return kinds.pop() if len(kinds) == 1 and len(known) else StringType()


def _scalar_type(
    value: Any,  # A value that is neither list nor mapping
) -> DataType:
    "The type of one value; a moment comes before a day, and true before 1, whose kinds they are too."
    kinds: list[tuple[type, DataType]] = [
        (bool, BooleanType()),
        (int, LongType()),
        (float, DoubleType()),
        (datetime, TimestampType()),
        (date, DateType()),
    ]
    if isinstance(value, Decimal):
        _, digits, exponent = value.as_tuple()
        scale = max(-int(exponent), 0)
        return DecimalType(max(len(digits), scale), scale)
    return next((data_type for kind, data_type in kinds if isinstance(value, kind)), StringType())


def to_arrow(
    rows: Sequence[LocatedRow],  # Rows of a test
    schema: StructType,  # Columns of the table
    table: str,  # Its name
) -> pyarrow.Table:  # A column that a row leaves out is NULL
    "Turn rows into those of a table; `UnitTestError` at a column that is not there, or a value that misfits."
    folded = {name.lower(): name for name in schema.names}
    for row in rows:
        for name in row.values:
            if str(name).lower() not in folded:
                raise UnitTestError(
                    f"{table} has no column {name!r}", row.locate(name), suggest(str(name), schema.names)
                )
    columns = {field.name: [_column_value(row, field, table) for row in rows] for field in schema}
    types = to_arrow_schema(schema, timezone="UTC")
    arrays = [pyarrow.array(columns[field.name], field.type) for field in types]
    return pyarrow.table(arrays, names=schema.names)


def _column_value(
    row: LocatedRow,  # A row
    field: StructField,  # A column of its table
    table: str,  # The table's name
) -> Any:  # What pyarrow takes for it
    "Take the value of a column."
    written = next((name for name in row.values if str(name).lower() == field.name.lower()), None)
    if written is None:
        return None
    try:
        return convert(row.values[written], field.dataType)
    except MisfitError as wrong:
        raise UnitTestError(f"{table}.{field.name}: {wrong}", row.locate(written)) from None


def convert(
    value: Any,  # As YAML or Python has it
    data_type: DataType,  # The type wanted
) -> Any:  # What pyarrow takes for a value of that type
    "Turn a value into one of a type; `MisfitError` where it is none."
    if value is None:
        return None
    if isinstance(data_type, ArrayType):
        return [convert(item, data_type.elementType) for item in _require(value, list, data_type)]
    if isinstance(data_type, MapType):
        entries = _require(value, Mapping, data_type).items()
        return [
            (convert(key, data_type.keyType), convert(item, data_type.valueType)) for key, item in entries
        ]
    if isinstance(data_type, StructType):
        return _convert_struct(_require(value, Mapping, data_type), data_type)
    if isinstance(data_type, BinaryType):
        return _read_base64(value)
    if isinstance(data_type, StringType):
        return _read_string(value)
    return _read_scalar(value, data_type)


def _require(
    value: Any,  # As YAML has it
    kind: type,  # list or Mapping
    data_type: DataType,  # The type wanted
) -> Any:  # The value
    "Refuse a value that is no list, or no mapping."
    if isinstance(value, kind):
        return value
    form = "a list" if kind is list else "name: value"
    raise MisfitError(f"{value!r} is no {data_type.simpleString()}; write {form}")


def _convert_struct(
    value: Mapping[str, Any],  # As YAML has it
    data_type: StructType,  # The type wanted
) -> dict[str, Any]:
    "Turn a mapping into a struct; a field that it leaves out is NULL."
    for name in value:
        if name not in data_type.names:
            raise MisfitError(f"there is no field {name!r}; {suggest(str(name), data_type.names)}")
    return {field.name: convert(value.get(field.name), field.dataType) for field in data_type}


def _read_base64(
    value: Any,  # As YAML has it
) -> bytes:
    "Read the text that stands for bytes, as `cdc show` prints them."
    if isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(str(value), validate=True)
    except (binascii.Error, ValueError):
        raise MisfitError(f"{value!r} is no binary; write its bytes in base64") from None


def _read_string(
    value: Any,  # As YAML has it
) -> str:
    "Read a text; a whole number and true are taken as they are written, what YAML rewrites is refused."
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (str, int)):
        return str(value)
    raise MisfitError(f"{value} is no string; {_IN_QUOTES}")


def _read_scalar(
    value: Any,  # As YAML has it
    data_type: DataType,  # The type wanted
) -> Any:  # What pyarrow takes for it; days and moments as numbers
    "Read a number, a day, a moment or a truth, as Spark casts a text."
    text = str(value).lower() if isinstance(value, bool) else str(value)
    name = data_type.simpleString()
    if isinstance(value, (list, Mapping)):
        raise MisfitError(f"{value!r} is no {name}")
    try:
        found = cast_text(text, data_type)
    except NeedsSparkError:
        raise MisfitError(f"{value!r} is given for a {name}; give such a table with format: sql") from None
    if found is None:
        raise MisfitError(f"{value!r} is no {name}")
    if isinstance(data_type, DecimalType) and Decimal(text) != found:
        raise MisfitError(f"{value!r} is no {name}: it has more than {data_type.scale} decimals")
    return found
