"""CSV that rescues nothing, without Spark: cells meet the columns by position, as Spark's own reader has it.

A cell that does not fit its column's type is NULL. Its line, and one with more or fewer cells than there are
columns, is the corrupt record, where somebody asks for it."""

import re
from collections.abc import Iterator

import pyarrow
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    StringType,
    StructType,
    TimestampType,
)

from cdc_local.autoloader.csv_rows import ROWS_OF_A_BATCH, CsvDialect, split_lines
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.value_texts import (
    INTEGER_BITS,
    MAX_DIGITS,
    nearest_float,
    parse_date,
    parse_decimal,
    parse_timestamp,
)
from cdc_local.errors import NeedsSparkError

_CONTROL = "".join(map(chr, range(33)))  # What Java trims
_DOUBLE = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[dDfF]?")
_SPECIAL_DOUBLES = {
    **dict.fromkeys(("NaN", "+NaN", "-NaN"), float("nan")),
    **dict.fromkeys(("Inf", "Infinity", "+Infinity"), float("inf")),
    **dict.fromkeys(("-Inf", "-Infinity"), float("-inf")),
}
_PLAIN_TYPES = (
    *INTEGER_BITS,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    FloatType,
    TimestampType,
)


class PositionalCsvReader:
    "Reads CSV texts as the data columns of a layout, then what is rescued, which is nothing, and corrupt."

    def __init__(
        self,
        layout: Layout,  # The columns wanted
        options: Options,  # Of the read
    ) -> None:
        if options.multiline:
            raise NeedsSparkError("CSV with multiLine is read by Spark alone")
        if options.mode != "PERMISSIVE":
            raise NeedsSparkError(
                f"CSV in mode {options.mode} without a rescued column is read by Spark alone"
            )
        if options.skip_rows:
            raise NeedsSparkError("CSV that rescues nothing, with skipRows, is read by Spark alone")
        if options.parser_options.get("enforceschema", "true").lower() != "true":
            raise NeedsSparkError("Auto Loader's option enforceschema for CSV is obeyed by Spark alone")
        self._options, self._dialect = options, CsvDialect.of(options)
        self._kinds = [field.dataType for field in layout.data]
        for kind in self._kinds:
            if type(kind) is not StringType and type(kind) not in _PLAIN_TYPES:
                raise NeedsSparkError(f"A text is read as {kind.simpleString()} by Spark alone")
        self._types = to_arrow_schema(StructType(layout.data), timezone="UTC").types

    def read(
        self,
        text: str,  # A file
        file_path: str,  # `_metadata.file_path`, which no column has
    ) -> Iterator[list[pyarrow.Array]]:  # The data columns, the rescued one, the corrupt one
        "Read a file."
        lines = [line for line in split_lines(text, self._options) if line.strip(_CONTROL)]
        body = lines[1:] if self._options.header else lines
        types = [*self._types, pyarrow.string(), pyarrow.string()]
        for start in range(0, len(body), ROWS_OF_A_BATCH):
            rows = [self._read_line(line) for line in body[start : start + ROWS_OF_A_BATCH]]
            yield [
                pyarrow.array(values, kind)
                for values, kind in zip(zip(*rows, strict=True), types, strict=True)
            ]

    def _read_line(self, line: str) -> tuple[object, ...]:
        cells = self._dialect.split(line)
        is_corrupt = len(cells) != len(self._kinds)
        values: list[object] = []
        for number, kind in enumerate(self._kinds):
            cell = cells[number] if number < len(cells) else None
            values.append(None if cell is None else _read_cell(cell, kind))
            is_corrupt = is_corrupt or (cell is not None and values[-1] is None)
        return (*values, None, line if is_corrupt else None)


def _read_cell(text: str, kind: DataType) -> object:
    "Read a cell as Java reads a number, and Spark a moment; None for one that does not fit."
    if isinstance(kind, StringType):
        return text
    if not text.isascii():
        raise NeedsSparkError(f"The CSV cell {text[:40]!r} is read as {kind.simpleString()} by Spark alone")
    if isinstance(kind, DateType):
        return parse_date(text.replace("GMT", ""))
    if isinstance(kind, TimestampType):
        found = parse_timestamp(text)
        return parse_timestamp(text.replace("GMT", "")) if found is None else found
    if isinstance(kind, BooleanType):
        return {"true": True, "false": False}.get(text.lower())
    if isinstance(kind, DecimalType):
        return parse_decimal(text.replace(",", ""), kind)
    if isinstance(kind, DoubleType | FloatType):
        return _read_double(text, isinstance(kind, FloatType))
    return _read_integer(text, INTEGER_BITS[type(kind)])


def _read_integer(text: str, bits: int) -> int | None:
    if not re.fullmatch(r"[+-]?[0-9]+", text) or len(text) > MAX_DIGITS:
        return None
    value = int(text)
    return value if -(2 ** (bits - 1)) <= value < 2 ** (bits - 1) else None


def _read_double(text: str, is_float: bool) -> float | None:
    trimmed = text.strip(_CONTROL)
    if trimmed in _SPECIAL_DOUBLES:
        is_spark_own = trimmed in ("Inf", "-Inf") and trimmed != text
        return None if is_spark_own else _SPECIAL_DOUBLES[trimmed]
    if re.match(r"[+-]?0[xX]", trimmed):
        raise NeedsSparkError(f"{text!r} is read as a number by Spark alone")
    if not _DOUBLE.fullmatch(trimmed):
        return None
    number = trimmed.rstrip("dDfF")
    return nearest_float(number) if is_float else float(number)
