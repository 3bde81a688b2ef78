"""CSV, matched to the columns by the header's names: each line meets the header of its own file.

Spark matches by position, header or no header, so that a column inserted in the middle moves all others.
"""

import re
from urllib.parse import unquote

from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StringType, StructField, StructType

from cdc_local.autoloader.files import FileSource
from cdc_local.autoloader.layout import Layout, assemble_columns
from cdc_local.autoloader.options import Options
from cdc_local.autoloader.rescue import rescue_column, treat_malformed
from cdc_local.autoloader.text import decode_text

SPARE_COLUMNS = 32  # Columns that a file may have beyond the schema before its lines count as corrupt


def read_csv_files(
    source: FileSource,  # The files
    layout: Layout,  # The columns wanted
) -> DataFrame:  # The columns of the layout, in its order
    "Read CSV files by their headers' names; what fits no column is rescued. No cell may hold a line end."
    text_options = source.options.text_options | {"wholetext": "true"}
    text_options.pop("linesep", None)
    return parse_files(source.load("text", text_options), layout, source.options)


def infer_csv_columns(
    spark: SparkSession,  # A session in which names that differ in case are two
    files: list[str],  # Paths of the files to look at
    options: Options,  # Of the read
    reader_options: dict[str, str],  # Options for Spark's reader
) -> StructType:  # The columns found; one with two types is a string
    "Infer the columns of CSV files, one group of files with the same header after the other."
    types: dict[str, DataType] = {}
    for group in _group_by_header(spark, files, options, reader_options):
        reader = spark.read.format("csv").options(**reader_options)
        reader = reader.option("inferSchema", options.infer_column_types)
        found = reader.option("multiLine", options.multiline).load(group).schema
        for field in found.fields:
            if types.setdefault(field.name, field.dataType) != field.dataType:
                types[field.name] = StringType()
    return StructType([StructField(name, data_type) for name, data_type in types.items()])


def parse_files(
    files: DataFrame,  # A `text` frame read with wholetext: column value, a file
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> DataFrame:  # The columns of the layout, in its order
    "Match cells to columns by name, cast them, keep what does not fit."
    fields = {field.name: field for field in layout.data}
    rows = _split_cells(files, layout, options)
    own_cells = F.struct(F.lit(0).alias("__none"), *[_cell_text(name).alias(name) for name in fields])
    rows = rows.select("value", "__names", "__texts", own_cells.alias("__row"))
    texts = {name: F.col("__row")[name] for name in fields}
    values = {name: _cast_text(texts[name], field, options) for name, field in fields.items()}
    mistyped = [F.when(texts[name].isNotNull() & values[name].isNull(), F.lit(name)) for name in fields]
    wrong = F.array_compact(F.array(*mistyped)).cast("array<string>")
    undeclared = F.filter(
        "__names", lambda name, number: ~name.isin(*fields) & F.get("__texts", number).isNotNull()
    )
    rows = rows.select("*", F.concat(wrong, undeclared).alias("__rescue"))
    is_too_wide = F.get("__texts", F.lit(len(fields) + SPARE_COLUMNS - 1)).isNotNull()
    malformed = is_too_wide if layout.rescued else is_too_wide | (F.size("__rescue") > 0)
    raw = F.map_from_arrays("__names", F.transform("__texts", lambda cell: cell.cast("variant")))
    return assemble_columns(
        treat_malformed(rows, malformed, options.mode),
        layout,
        values,
        rescue_column(F.col("__rescue"), raw),
        F.when(malformed, F.col("value")),
    )


def _group_by_header(
    spark: SparkSession,  # The session
    files: list[str],  # Paths of the files
    options: Options,  # Of the read
    reader_options: dict[str, str],  # Options for Spark's reader
) -> list[list[str]]:  # Files with the same header are one group
    if not options.header or options.multiline:
        return [files]
    texts = spark.read.format("text").options(**reader_options | {"wholetext": "true"}).load(files)
    file, header = F.col("_metadata.file_path"), F.get(_split_lines(options), F.lit(0))
    groups: dict[str, list[str]] = {}
    for row in sorted(texts.select(file.alias("file"), header.alias("header")).collect()):
        if row.header is not None:
            groups.setdefault(row.header, []).append(unquote(row.file))
    return list(groups.values())


def _split_lines(
    options: Options,  # Of the read
) -> Column:  # Array of the lines of column value, a whole file
    "Split a file into lines; skip the first `skipRows`, empty ones and comments."
    separator = "\r\n|\r|\n" if options.line_separator is None else re.escape(options.line_separator)
    lines = F.split(decode_text(options.encoding), separator)
    if options.skip_rows:
        lines = F.slice(lines, options.skip_rows + 1, F.size(lines))
    lines = F.filter(lines, lambda line: F.trim(line) != "")
    if options.comment:
        lines = F.filter(lines, lambda line: ~line.startswith(options.comment))
    return lines


def _split_cells(
    files: DataFrame,  # A `text` frame read with wholetext: column value
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> DataFrame:  # Columns value (the line), __names and __texts (arrays: a name and a text for each cell)
    "Give each line the column names of its own file's header; without a header, the declared ones in order."
    width = len(layout.data) + SPARE_COLUMNS
    cells = ", ".join(f"c{number} string" for number in range(width))

    def cell_array(struct: str) -> Column:
        return F.array(*[F.col(struct)[f"c{number}"] for number in range(width)])

    rows = files.select(_split_lines(options).alias("__lines")).where(F.size("__lines") > 0)
    if options.header:
        header = F.from_csv(F.get("__lines", F.lit(0)), cells, options.csv_options)
        rows = rows.select("__lines", header.alias("__header"))
        names = _header_names(cell_array("__header"), layout, options)
        lines = F.slice("__lines", F.lit(2), F.size("__lines"))
    else:
        declared = [field.name for field in layout.data]
        unnamed = [f"_c{number}" for number in range(len(declared), width)]
        names = F.array(*[F.lit(name) for name in declared + unnamed])
        lines = F.col("__lines")
    rows = rows.select(names.alias("__names"), lines.alias("__lines"))
    rows = rows.select("__names", F.explode("__lines").alias("value"))
    rows = rows.select("value", "__names", F.from_csv("value", cells, options.csv_options).alias("__cells"))
    return rows.select("value", "__names", cell_array("__cells").alias("__texts"))


def _header_names(
    header: Column,  # Array of a header's cells
    layout: Layout,  # The columns wanted
    options: Options,  # Of the read
) -> Column:  # Array of names; a cell without a name has `_c` and its number
    names = F.transform(
        header, lambda name, number: F.coalesce(name, F.concat(F.lit("_c"), number.cast("string")))
    )
    return names if options.is_case_sensitive else F.transform(names, lambda name: layout.spell(name))


def _cell_text(
    name: str,  # A column
) -> Column:  # The text of its cell, NULL where the file has no such column
    return F.get("__texts", F.array_position("__names", F.lit(name)).cast("int") - 1)


def _cast_text(
    text: Column,  # Text of a cell
    field: StructField,  # The declared column
    options: Options,  # Of the read
) -> Column:  # The value, NULL if the text does not fit the type
    "Read a cell as its declared type."
    kind = field.dataType.typeName()
    if kind == "timestamp" and options.timestamp_format is not None:
        return F.try_to_timestamp(text, F.lit(options.timestamp_format))
    if kind == "date" and options.date_format is not None:
        return F.try_to_timestamp(text, F.lit(options.date_format)).cast("date")
    return text if isinstance(field.dataType, StringType) else F.trim(text).try_cast(field.dataType)
