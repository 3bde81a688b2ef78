"""Where files are opened: `read_stream` as `cloudFiles` does, `read_batch` as SQL's `read_files` does."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema
from pyspark.sql.types import StructType

from cdc_local.autoloader.arrow_rows import arrow_schema, check_readable, parse_files
from cdc_local.autoloader.csv_lines import read_csv_files
from cdc_local.autoloader.file_formats import CSV, JSON
from cdc_local.autoloader.files import FileSelection, FileSource, detect_format, list_files
from cdc_local.autoloader.json_documents import read_json_files
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import Options, option_key, parse_options
from cdc_local.autoloader.schema import plan_layout
from cdc_local.autoloader.spark_formats import read_with_spark
from cdc_local.engines.engine import engine_of, is_sail, observe


def read_stream(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: Mapping[str, str | bool],  # Options of `cloudFiles`
    schema: StructType | str | None = None,  # Declared columns; None to infer them from the files
    schema_folder: Path | None = None,  # Where to remember inferred columns; None to remember nothing
    warn: Callable[[str], None] = warnings.warn,  # Called with each thing that is not emulated
    # Selects files for one batch, of all that are there now; None for a stream
    select_files: Callable[[Options, Sequence[str]], FileSelection] | None = None,
) -> DataFrame:  # A stream, or the selected files' rows; `_metadata` can be selected from it
    "Read files as Auto Loader does, each exactly once; raises `PipelineError`."
    parsed = parse_options(options, warn, has_schema=schema is not None)
    layout, known = plan_layout(spark, path, parsed, schema, schema_folder, True)
    _warn_of_format(parsed, layout, warn)
    selection = None
    if select_files is not None:
        selection = select_files(parsed, list_files(spark, path, parsed.file_filters, True))
    source = FileSource(spark, path, parsed, selection is None, known.started, selection)
    frame = _open_on_sail(source, layout) if is_sail(spark) else _open_files(source, layout)
    known.write(schema_folder)
    return frame


def read_batch(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: Mapping[str, str | bool],  # Options of `read_files`
    schema: StructType | str | None = None,  # Declared columns; None to infer them from the files
    warn: Callable[[str], None] = warnings.warn,  # Called with each thing that is not emulated
) -> DataFrame:  # The rows of all files there are now
    """Read files as
    [`read_files`](https://docs.databricks.com/aws/en/sql/language-manual/functions/read_files) does; types
    are inferred unless `inferColumnTypes` is off, and the format unless it is named."""
    has_format = any(option_key(name) == "format" for name in options)
    parsed = parse_options(
        options,
        warn,
        has_schema=schema is not None,
        default_format="" if has_format else detect_format(spark, path),
        infers_types=True,
    )
    layout, known = plan_layout(spark, path, parsed, schema, None, False)
    _warn_of_format(parsed, layout, warn)
    source = FileSource(spark, path, parsed, False, known.started)
    return _open_on_sail(source, layout) if is_sail(spark) else _open_files(source, layout)


def _open_files(
    source: FileSource,  # The files
    layout: Layout,  # The columns wanted
) -> DataFrame:  # The columns of the layout, in its order
    "Open the files in the way their format and the options call for."
    options = source.options
    if options.format is JSON:
        return read_json_files(source, layout)
    if options.format is CSV and layout.rescued and not options.multiline:
        return read_csv_files(source, layout)
    return read_with_spark(source, layout)


def _open_on_sail(
    source: FileSource,  # The files
    layout: Layout,  # The columns wanted
) -> DataFrame:  # The columns of the layout, in its order
    "Read files in Python and give their rows to Sail; a stream is a stand-in, its files are read in batches."
    spark, options, schema = source.spark, source.options, arrow_schema(layout)
    check_readable(layout, options)
    if source.streaming:
        list_files(spark, source.path, options.file_filters, True)  # refuses a path that there is not
        return engine_of(spark).stand_in_stream(spark, from_arrow_schema(schema))
    selection = source.selection
    files = (
        list_files(spark, source.path, options.file_filters, False) if selection is None else selection.files
    )
    rows = parse_files(files, layout, options, source.started)
    frame = engine_of(spark).frame_of_batches(spark, schema, rows)
    if selection is None:
        return frame
    return observe(frame, selection.rows, F.count(F.lit(1)).alias("rows"))


def _warn_of_format(
    options: Options,  # Of the read
    layout: Layout,  # The columns wanted
    warn: Callable[[str], None],  # Called with each thing that is not emulated
) -> None:
    "Say where a format keeps less than Auto Loader would."
    if options.format is CSV and options.multiline:
        warn("CSV with multiLine is matched by position, and nothing of it is rescued locally")
    if layout.rescued and not options.format.is_rescued:
        warn(f"{options.format.name}: the rescued column {layout.rescued} stays NULL locally")
