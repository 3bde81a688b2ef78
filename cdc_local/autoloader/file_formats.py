"""The file formats of Auto Loader, and those that only Databricks reads.

A format that Spark's own reader takes needs a row in `FORMATS`. A format that is parsed here, so that nothing
of it is lost, also needs a module as `json_documents.py`, which `read.py` calls for rows and `schema.py` for
columns."""

from dataclasses import dataclass

from cdc_local.errors import PipelineError


@dataclass(frozen=True)
class FileFormat:
    "What is known of a file format before a file is opened."

    name: str  # Value of `cloudFiles.format`, in lower case
    endings: tuple[str, ...] = ()  # File names of this format end so, before the ending of a compression
    columns: str = ""  # Columns as SQL DDL where all files have the same, else empty
    is_typed: bool = True  # Files know their columns' types; else all are strings without `inferColumnTypes`
    is_rescued: bool = False  # What fits no column gets into the rescued column
    has_corrupt_column: bool = False  # Spark's reader fills a column with records that it cannot parse


JSON = FileFormat("json", ("json", "jsonl", "ndjson"), is_typed=False, is_rescued=True)
CSV = FileFormat("csv", ("csv", "tsv"), is_typed=False, is_rescued=True, has_corrupt_column=True)
TEXT = FileFormat("text", ("txt",), "value string")
PARQUET = FileFormat("parquet", ("parquet",))
ORC = FileFormat("orc", ("orc",))
XML = FileFormat("xml", ("xml",), is_typed=False, has_corrupt_column=True)
BINARY_FILE = FileFormat(
    "binaryfile",
    columns="path string, modificationTime timestamp, length bigint, content binary",
)

FORMATS = {known.name: known for known in (JSON, CSV, TEXT, PARQUET, ORC, XML, BINARY_FILE)}

# Formats of Auto Loader on Databricks that are refused here, and why
DATABRICKS_ONLY = {"avro": "Avro needs the jar spark-avro, which PySpark does not bring"}


def find_format(
    name: str,  # Value of `cloudFiles.format`, in any case; empty for none
) -> FileFormat:
    "Find a format by its name; raises `PipelineError` for one that is not read here."
    key = name.lower()
    if key in FORMATS:
        return FORMATS[key]
    reasons = [DATABRICKS_ONLY[key]] if key in DATABRICKS_ONLY else []
    raise PipelineError(
        f"Auto Loader: cloudFiles.format is {key!r}",
        hint="; ".join([*reasons, f"supported locally: {', '.join(FORMATS)}"]),
    )


def format_of_ending(
    ending: str,  # What a file's name ends in, without the dot, in lower case
) -> FileFormat | None:  # None for an ending of no format
    "Find a format by the ending of a file's name."
    return next((known for known in FORMATS.values() if ending in known.endings), None)
