"""Spark's own readers of CSV and JSON, as `spark.read.csv(…)`, on Sail: files are read in Python.

Sail's own readers fail at the first line that they cannot parse, and know no `_metadata`. Here the rows are
those of Spark's readers: CSV by position, text that cannot be parsed in `_corrupt_record`, NULL for a value
of another type.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.autoloader.arrow_rows import read_file
from cdc_local.autoloader.csv_rows import split_lines
from cdc_local.autoloader.file_formats import CSV
from cdc_local.autoloader.files import FileSelection, is_local_path
from cdc_local.autoloader.listing import list_local_files
from cdc_local.autoloader.options import Options, parse_options
from cdc_local.autoloader.plain_files import STREAM_OPTIONS
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.errors import NeedsSparkError
from cdc_local.storage import strip_scheme

PLAIN_FORMATS = ("csv", "json")
_IGNORED = ("mergeschema",)  # Options that mean nothing to these formats

Columns = StructType | str | None  # As an author declares them


def read_plain_batch(
    spark: SparkSession,  # The session, on Sail
    path: Any,  # As the author wrote it
    file_format: str,  # As the author named it
    options: Mapping[str, Any],  # Of the reader, in any spelling
    schema: Columns,  # Declared columns
) -> DataFrame | None:  # The rows of all files there are now; None where Sail's own reader reads them
    "Read files as Spark's own reader does; `NeedsSparkError` for what only Spark reads."
    files = _list_files(path) if file_format.lower() in PLAIN_FORMATS else []
    if not files or (schema is None and file_format.lower() != "csv"):
        return None
    asked = _translate_options(path, file_format, options)
    if schema is None:
        _refuse_other_headers(files, asked)
    return read_batch(spark, str(path), asked, schema, _say_nothing)


def read_plain_stream(
    spark: SparkSession,  # The session, on Sail
    path: Any,  # As the author wrote it
    file_format: str,  # As the author named it
    options: Mapping[str, Any],  # Of the reader, in any spelling
    schema: Columns,  # Declared columns, which Spark demands
    select_files: Callable[[Options, Sequence[str]], FileSelection]
    | None,  # For one batch; None for a stream
) -> DataFrame:
    "Read new files as Spark's own stream does; `NeedsSparkError` for what only Spark reads."
    known = file_format.lower() in PLAIN_FORMATS and schema is not None and _list_files(path) is not None
    if not known or {name.lower() for name in options} & STREAM_OPTIONS:
        raise NeedsSparkError(f"a stream of format {file_format} is read by Spark alone")
    asked = _translate_options(path, file_format, options)
    return read_stream(spark, str(path), asked, schema, None, _say_nothing, select_files)


def install_plain_readers() -> None:
    "Let `spark.read.csv(path)` and `json(path)` of Sail's sessions in this process read as Spark's do."
    from pyspark.sql.connect.readwriter import DataFrameReader

    for name in PLAIN_FORMATS:
        original = getattr(DataFrameReader, name)
        if not hasattr(original, "__wrapped__"):
            setattr(DataFrameReader, name, _make_reader(name, original))


def _make_reader(name: str, original: Any) -> Any:
    @wraps(original)
    def read(reader: Any, *args: Any, **kwargs: Any) -> Any:
        path, schema, named = split_arguments(original, reader, args, kwargs)
        declared = schema if schema is not None else _declared_columns(reader)
        frame = read_plain_batch(reader._client, path, name, reader._options | named, declared)
        return original(reader, *args, **kwargs) if frame is None else frame

    return read


def split_arguments(
    method: Any,  # A reader's, named after a format
    reader: Any,  # It is called of
    args: Sequence[Any],  # By position
    kwargs: Mapping[str, Any],  # By name
) -> tuple[Any, Columns, dict[str, Any]]:  # The path, the declared columns, and options
    "Tell what a call such as `spark.read.csv(path, header=True)` means."
    given = signature(method).bind(reader, *args, **kwargs).arguments
    values = dict(list(given.items())[1:]) | given.get("options", {})
    values.pop("options", None)
    path, schema = values.pop("path", None), values.pop("schema", None)
    return path, schema, {name: value for name, value in values.items() if value is not None}


def _declared_columns(reader: Any) -> Columns:
    "The columns that a reader was given, which it keeps as text: JSON of a StructType, or DDL."
    text: str = reader._schema
    if not text:
        return None
    return StructType.fromJson(json.loads(text)) if text.startswith("{") else text


def _list_files(path: Any) -> list[str] | None:
    "The files of a path; None for what is no path of this machine, and for a glob, which may name folders."
    if not isinstance(path, (str, os.PathLike)) or not is_local_path(str(path)):
        return None
    return None if any(sign in str(path) for sign in "*?[{\\") else list_local_files(str(path))


def _translate_options(path: Any, file_format: str, options: Mapping[str, Any]) -> dict[str, str]:
    "Say in Auto Loader's words what a plain reader was asked."
    given = {name.lower(): str(value) for name, value in options.items() if name.lower() != "path"}
    given = {name: value for name, value in given.items() if name not in _IGNORED}
    nested = given.pop("recursivefilelookup", "false").lower() == "true"
    folder = Path(strip_scheme(str(path)))
    if not nested and folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir()):
        raise NeedsSparkError(f"{path} has folders below it, which only Spark reads as partitions")
    asked = {"cloudFiles.format": file_format.lower(), "cloudFiles.schemaEvolutionMode": "none"} | given
    if file_format.lower() == "csv":
        asked |= {"header": given.get("header", "false").lower()}
        asked |= {"cloudFiles.inferColumnTypes": asked.pop("inferschema", "false").lower()}
    return asked


def _refuse_other_headers(files: Sequence[str], asked: Mapping[str, str]) -> None:
    "Without declared columns Spark takes the header of one file for all."
    options = parse_options(asked, _say_nothing)
    if not options.header or options.format is not CSV or len(files) == 1:
        return
    headers = {tuple(split_lines(read_file(Path(file)), options)[:1]) for file in files} - {()}
    if len(headers) > 1:
        raise NeedsSparkError(
            "CSV files with several headers, and no declared columns, are read by Spark alone"
        )


def _say_nothing(text: str) -> None:
    "Spark says nothing of an option that it does not know."
