"""Files of Spark's own streaming readers, as `spark.readStream.json(…)`, read as batches of new files."""

import re
import sys
from collections.abc import Callable, Mapping, Sequence

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.autoloader.file_formats import FORMATS, TEXT
from cdc_local.autoloader.files import (
    FileSelection,
    fixed_folder,
    is_local_path,
    list_files,
    load_selection,
)
from cdc_local.autoloader.options import Options

# Options of Spark's file stream that choose files in a way of their own: its stream goes on to obey them
STREAM_OPTIONS = frozenset(
    {
        "cleansource",
        "filenameonly",
        "latestfirst",
        "maxbytespertrigger",
        "maxcachedfiles",
        "maxfileage",
        "sourcearchivedir",
    }
)
_FILE_FILTERS = {
    "pathglobfilter": "pathGlobFilter",
    "recursivefilelookup": "recursiveFileLookup",
    "modifiedbefore": "modifiedBefore",
    "modifiedafter": "modifiedAfter",
}


def read_plain_files(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    file_format: str,  # As the author named it
    schema: StructType | str | None,  # Declared columns
    options: Mapping[str, str],  # Of the reader, in any spelling
    select_files: Callable[[Options, Sequence[str]], FileSelection],  # Selects files for one batch
) -> DataFrame | None:  # Their rows; None where only Spark's stream reads such files
    """Read new files as Spark's [file source](https://spark.apache.org/docs/latest/streaming/) does.

    Folders named `column=value` are left to Spark's stream: all of them together decide a column's type.
    """
    given = {name.lower(): str(value) for name, value in options.items() if name.lower() != "path"}
    known = FORMATS.get(file_format.lower())
    has_columns = schema is not None or known is TEXT
    if known is None or not has_columns or not is_local_path(path) or given.keys() & STREAM_OPTIONS:
        return None
    filters = {name: given[key] for key, name in _FILE_FILTERS.items() if key in given}
    root, nested = fixed_folder(path), given.get("recursivefilelookup", "").lower() == "true"
    files = list_files(spark, path, filters, True, nested)
    if not nested and any(re.search(r"/[^/=]+=", file.partition(root)[2]) for file in files):
        return None
    limit = int(given.pop("maxfilespertrigger", sys.maxsize))
    chosen = select_files(Options(format=known, file_filters=filters, max_files_per_trigger=limit), files)
    return load_selection(spark, chosen, file_format, given, schema)
