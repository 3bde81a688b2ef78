"""Which files a read has: listed now or watched by a stream, chosen by name and by time."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.autoloader.file_formats import FORMATS, format_of_ending
from cdc_local.autoloader.listing import list_local_files
from cdc_local.autoloader.options import Options
from cdc_local.engines.engine import is_sail, observe
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.storage import strip_scheme

if TYPE_CHECKING:
    from cdc_local.engines.protocol import Observed

_RECURSIVE = {"recursiveFileLookup": "true"}
FILES_PER_TRIGGER = 1000  # Auto Loader's default


@dataclass(frozen=True)
class FileSelection:
    "The files of one batch."

    files: tuple[str, ...]  # Paths
    rows: "Observed"  # Takes the number of lines, records or files read, as `rows`


@dataclass(frozen=True)
class FileSource:
    "The files of one read, whatever is in them."

    spark: SparkSession
    path: str  # Folder, file or glob
    options: Options
    streaming: bool  # A stream, else one read
    started: float = 0.0  # Seconds since 1970 of the first evaluation
    selection: FileSelection | None = None  # The files to read; None for all that are at the path

    def load(
        self,
        file_format: str,  # A format that Spark knows
        reader_options: Mapping[str, str],  # Options of this format for Spark's reader
        schema: StructType | None = None,  # Columns, for the formats that need them
    ) -> DataFrame:  # Rows of the files that count; `_metadata` can be selected
        "Open the files with Spark; a path that does not exist raises `PipelineError`."
        options = source_options(self.options, self.streaming) | dict(reader_options)
        if self.selection is not None:
            frame = load_selection(self.spark, self.selection, file_format, options, schema)
            return _filter_by_time(frame, self.options, self.started)
        frame = open_with_spark(self.spark, self.path, file_format, options, self.streaming, schema)
        return _filter_by_time(frame, self.options, self.started)


def source_options(
    options: Options,  # Of the read
    streaming: bool,  # For a stream, else for one read
) -> dict[str, str]:  # Options of Spark's own file source
    """Say which files, and how many at once. No file is too old for a stream: Spark forgets those of last
    week."""
    chosen = _RECURSIVE | dict(options.file_filters)
    if not streaming:
        return chosen
    chosen["maxFileAge"] = "36500d"
    if options.max_bytes_per_trigger is not None:
        return chosen | {"maxBytesPerTrigger": str(options.max_bytes_per_trigger)}
    files = options.max_files_per_trigger
    return chosen | {"maxFilesPerTrigger": str(FILES_PER_TRIGGER if files is None else files)}


def open_with_spark(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    file_format: str,  # A format that Spark knows
    options: Mapping[str, str],  # Options for Spark's reader
    streaming: bool,  # A stream, else one read
    schema: StructType | None = None,  # Columns, for the formats that need them
) -> DataFrame:  # Spark's frame over the files
    "Open files with Spark; a path that does not exist raises `PipelineError`."
    reader = (spark.readStream if streaming else spark.read).format(file_format).options(**options)
    if schema is not None:
        reader = reader.schema(schema)
    try:
        return reader.load(path)
    except AnalysisException as error:
        if error.getCondition() != "PATH_NOT_FOUND":
            raise
        raise _refuse_path(path) from None


def _refuse_path(path: str) -> PipelineError:
    return PipelineError(f"Auto Loader: no such path: {path}", hint="create the folder, or correct the path")


def load_selection(
    spark: SparkSession,  # The session
    selection: FileSelection,  # The files; its observation counts what is read
    file_format: str,  # A format that Spark knows
    options: Mapping[str, str],  # Options for Spark's reader
    schema: StructType | str | None = None,  # Columns, for the formats that need them
) -> DataFrame:  # Spark's frame over the files, none of whose names is a glob
    "Open the files of one batch with Spark."
    reader = spark.read.format(file_format).options(**options).option("__globPaths__", "false")
    if schema is not None:
        reader = reader.schema(schema)
    frame = reader.load(list(selection.files))
    return observe(frame, selection.rows, F.count(F.lit(1)).alias("rows"))


def is_local_path(
    path: str,  # As a reader was given it
) -> bool:
    "Whether a path lies on this machine."
    return "://" not in path or path.startswith("file://")


def fixed_folder(
    path: str,  # Folder, file or glob
) -> str:  # The folder that it names before any sign of a glob
    "Find the folder that the names of files are relative to."
    local = strip_scheme(path)
    glob = re.search(r"[*?\[{\\]", local)
    if glob:
        return local[: glob.start()].rpartition("/")[0] or "/"
    return str(Path(local).parent) if Path(local).is_file() else local.rstrip("/") or "/"


def list_files(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    filters: Mapping[str, str],  # `Options.file_filters`
    streaming: bool,  # Whether a glob may match nothing yet
    nested: bool = True,  # List folders below the path too, as Auto Loader does
) -> list[str]:  # Paths, sorted
    """List the files there are now, as the stream will see them; raises `PipelineError` if there is no such
    path."""
    if nested and is_local_path(path):
        local = list_local_files(path, filters.get("pathglobfilter"))
        if local is not None:
            return [f"file://{file}" for file in local]
        if streaming and any(sign in path for sign in "*?[{"):
            return []
        raise _refuse_path(path)
    if is_sail(spark):
        raise NeedsSparkError(f"the files of {path} are listed by Spark alone")
    try:
        options = (_RECURSIVE if nested else {}) | dict(filters)
        found = open_with_spark(spark, path, "binaryFile", options, False).inputFiles()
    except PipelineError:
        if streaming and any(sign in path for sign in "*?[{"):
            return []
        raise
    return sorted(unquote(file) for file in found)


def detect_format(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
) -> str:  # The name of a format of `FORMATS`
    """Tell the format of files by their names, as `read_files` does; raises `PipelineError` for none or
    several."""
    names = set()
    for file in list_files(spark, path, {}, False):
        uncompressed = re.sub(r"\.(gz|bz2|zst|snappy|lz4|deflate)$", "", file.lower())
        ending = uncompressed.rpartition(".")[2]
        found = format_of_ending(ending)
        names.add(found.name if found else f".{ending}")
    if len(names) == 1 and names <= FORMATS.keys():
        return names.pop()
    raise PipelineError(
        f"read_files: cannot tell the format of {path} from {', '.join(sorted(names)) or 'no files'}",
        hint="name it: format => 'json'",
    )


def _filter_by_time(
    frame: DataFrame,  # Rows of files
    options: Options,  # Of the read
    started: float,  # Seconds since 1970 of the first evaluation
) -> DataFrame:  # Rows of the files that count
    """Obey `modifiedAfter`, `modifiedBefore` and `includeExistingFiles`, of which Spark's stream knows
    nothing."""
    modified = F.col("_metadata.file_modification_time")
    if options.modified_after is not None:
        frame = frame.where(modified > F.lit(options.modified_after).cast("timestamp"))
    if options.modified_before is not None:
        frame = frame.where(modified < F.lit(options.modified_before).cast("timestamp"))
    if options.include_existing_files:
        return frame
    return frame.where(modified > F.timestamp_micros(F.lit(int(started * 1e6))))
