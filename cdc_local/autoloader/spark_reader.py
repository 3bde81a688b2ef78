"""`spark.read.json` on Sail, whose own reader fails at the first line that it cannot parse.

With declared columns Spark's reader gives such a line's text in `_corrupt_record`, and NULL for a value of
another type. So does what Auto Loader parses files with here.
"""

import json
import os
from functools import wraps
from pathlib import Path
from typing import Any

from pyspark.sql.types import StructType

from cdc_local.autoloader.read import read_batch
from cdc_local.errors import NeedsSparkError
from cdc_local.storage import strip_scheme


def install_json_reader() -> None:
    "Let `spark.read.schema(…).json(path)` of Sail's sessions in this process read as Spark's does."
    from pyspark.sql.connect.readwriter import DataFrameReader

    original = DataFrameReader.json
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def read_json(reader: Any, path: Any, schema: Any = None, **options: Any) -> Any:
        declared = schema if schema is not None else _declared_columns(reader)
        if declared is None or not isinstance(path, (str, os.PathLike)):
            return original(reader, path, schema, **options)
        given = {**reader._options, **{name: value for name, value in options.items() if value is not None}}
        nested = str(given.pop("recursiveFileLookup", "false")).lower() == "true"
        _refuse_nested(os.fspath(path), nested)
        asked = {"cloudFiles.format": "json", "cloudFiles.schemaEvolutionMode": "none"} | given
        return read_batch(reader._client, os.fspath(path), asked, declared)

    setattr(DataFrameReader, "json", read_json)  # noqa: B010 (its many parameters have other types)


def _declared_columns(reader: Any) -> StructType | str | None:
    "The columns that a reader was given, which it keeps as text: JSON of a StructType, or DDL."
    text: str = reader._schema
    if not text:
        return None
    return StructType.fromJson(json.loads(text)) if text.startswith("{") else text


def _refuse_nested(path: str, reads_nested: bool) -> None:
    "Spark's reader takes folders below a path for partitions."
    folder = Path(strip_scheme(path))
    if not reads_nested and folder.is_dir() and any(entry.is_dir() for entry in folder.iterdir()):
        raise NeedsSparkError(f"{path} has folders below it, which only Spark reads as partitions")
