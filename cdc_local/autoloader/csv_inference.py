"""The columns of CSV without Spark: names out of headers, and the types that Spark's inference finds."""

import re
from collections.abc import Iterable, Sequence

from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    NullType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from cdc_local.autoloader.csv_rows import CsvDialect, split_lines
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.value_texts import parse_date, parse_timestamp
from cdc_local.errors import NeedsSparkError

_INTEGER = re.compile(r"[+-]?[0-9]+\.?")  # with a point it is a DECIMAL
_DOUBLE = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[dDfF]?")
_SPECIAL_DOUBLES = {"NaN", "+NaN", "-NaN", "Infinity", "+Infinity", "-Infinity", "Inf", "-Inf"}
_DATE = re.compile(r"(-?[0-9]{4}|[+-][0-9]{5,6})-[0-9]{2}-[0-9]{2}")
_MAX_PRECISION = 38


def infer_csv_texts(
    texts: Iterable[str],  # Of the files
    options: Options,  # Of the read
) -> StructType:  # The columns found; one with two types is a string
    "Infer the columns of CSV files, one group of files with the same header after the other."
    if options.multiline or options.skip_rows:
        raise NeedsSparkError("The columns of CSV with multiLine or skipRows are inferred by Spark alone")
    dialect = CsvDialect.of(options)
    groups: dict[str, list[str]] = {}
    for text in texts:
        lines = split_lines(text, options)
        if lines:
            groups.setdefault(lines[0] if options.header else "", []).extend(lines)
    types: dict[str, DataType] = {}
    for header, lines in sorted(groups.items()):
        for name, kind in _infer_group(header, lines, dialect, options).items():
            if types.setdefault(name, kind) != kind:
                types[name] = StringType()
    return StructType([StructField(name, kind) for name, kind in types.items()])


def _infer_group(
    header: str,  # The first line of each of its files; empty without headers
    lines: Sequence[str],  # Of its files
    dialect: CsvDialect,
    options: Options,  # Of the read
) -> dict[str, DataType]:
    first = dialect.split(lines[0])
    names = [
        cell if cell is not None and options.header else f"_c{number}" for number, cell in enumerate(first)
    ]
    if len(set(names)) < len(names):
        raise NeedsSparkError("A CSV header that has a name twice is read by Spark alone")
    kinds: list[DataType] = [NullType()] * len(names)
    if not options.infer_column_types:
        return dict.fromkeys(names, StringType())
    for line in lines:
        if options.header and line == header:
            continue
        cells = dialect.split(line)
        if not options.header and len(cells) != len(names):
            raise NeedsSparkError("The columns of CSV lines of several lengths are inferred by Spark alone")
        for number, cell in enumerate(cells[: len(names)]):
            if cell is not None and not isinstance(kinds[number], StringType):
                kinds[number] = _merge_types(kinds[number], _cell_type(cell, kinds[number]))
    return {
        name: StringType() if isinstance(kind, NullType) else kind
        for name, kind in zip(names, kinds, strict=True)
    }


def _cell_type(
    text: str,  # Of a cell
    before: DataType,  # Type of the cells above: none narrower is looked for
) -> DataType:
    if not text.isascii() and any(char.isdecimal() and not char.isascii() for char in text):
        raise NeedsSparkError(f"The digits of {text!r} are read by Spark alone")
    if isinstance(before, NullType | IntegerType | LongType | DecimalType | DoubleType):
        number = _number_type(text, before)
        if number is not None:
            return number
    if not isinstance(before, TimestampType | BooleanType) and _is_date(text):
        return DateType()
    if not isinstance(before, BooleanType) and parse_timestamp(text) is not None:
        return TimestampType()
    return BooleanType() if text.lower() in ("true", "false") else StringType()


def _is_date(text: str) -> bool:  # In the default format; what else can be read as a date is a timestamp
    return _DATE.fullmatch(text) is not None and parse_date(text) is not None


def _number_type(text: str, before: DataType) -> DataType | None:
    if _INTEGER.fullmatch(text) and not isinstance(before, DoubleType):
        if not isinstance(before, DecimalType) and not text.endswith("."):
            if not isinstance(before, LongType) and -(2**31) <= int(text) < 2**31:
                return IntegerType()
            if -(2**63) <= int(text) < 2**63:
                return LongType()
        digits = len(text.strip("+-.").lstrip("0")) or 1
        return DecimalType(digits, 0) if digits <= _MAX_PRECISION else DoubleType()
    found = _DOUBLE.fullmatch(text.strip())
    if found and found[2] and not isinstance(before, DoubleType):
        raise NeedsSparkError(f"The type of the CSV number {text} is inferred by Spark alone")
    if not found and re.match(r"[+-]?0[xX]", text.strip()):
        raise NeedsSparkError(f"The type of the CSV number {text} is inferred by Spark alone")
    return DoubleType() if found or text.strip() in _SPECIAL_DOUBLES else None


def _merge_types(left: DataType, right: DataType) -> DataType:
    if isinstance(left, NullType) or left == right:
        return right
    if isinstance(left, DateType) and isinstance(right, TimestampType):
        return TimestampType()
    numbers = IntegerType | LongType | DecimalType | DoubleType
    if not isinstance(left, numbers) or not isinstance(right, numbers):
        return StringType()
    if isinstance(left, DoubleType) or isinstance(right, DoubleType):
        return DoubleType()
    if not isinstance(left, DecimalType) and not isinstance(right, DecimalType):
        return LongType()
    digits = max(_precision(left), _precision(right))
    return DecimalType(digits, 0) if digits <= _MAX_PRECISION else DoubleType()


def _precision(kind: DataType) -> int:
    if isinstance(kind, DecimalType):
        return kind.precision
    return 10 if isinstance(kind, IntegerType) else 20  # as Spark has it of INT and BIGINT
