"""Columns out of the names of folders, as `day=2026-01-31`."""

import re
from collections.abc import Iterable

from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.types import StructField


def partition_names(
    declared: tuple[str, ...] | None,  # Columns of `cloudFiles.partitionColumns`, None to look at the files
    files: Iterable[str],  # Paths of the files that were looked at
    root: str,  # The folder that is read: only names below it count
) -> tuple[str, ...]:  # Columns that folder names hold
    "Name the columns that stand in folder names: the declared ones, else those of the `name=value` folders."
    if declared is not None:
        return declared
    below = [file.partition(root)[2] if root in file else file for file in files]
    return tuple(dict.fromkeys(name for file in below for name in re.findall(r"/([^/=]+)=[^/]*(?=/)", file)))


def partition_value(
    field: StructField,  # A column that folder names hold
    root: str,  # The folder that is read
) -> Column:  # Its value in the row's file path, NULL where the path has none
    "Read `name=value` out of `_metadata.file_path`."
    path = _decode(F.col("_metadata.file_path"))  # a URI
    found = F.locate(root, path)
    below = F.when(found == 0, path).otherwise(F.substring(path, found + len(root), F.length(path)))
    text = F.regexp_extract(below, f"/{re.escape(field.name)}=([^/]*)/", 1)
    value = _decode(text)  # of what Hive escapes in folder names
    return F.when((text != "") & (text != "__HIVE_DEFAULT_PARTITION__"), value).try_cast(field.dataType)


def _decode(text: Column) -> Column:
    return F.coalesce(F.try_url_decode(F.replace(text, F.lit("+"), F.lit("%2B"))), text)
