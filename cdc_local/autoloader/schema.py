"""The columns of files: inferred from new files, kept beside the checkpoint, grown as later files bring more.

On Databricks a stream stops at a new column, stores the longer schema, and the pipeline restarts it. An
evaluation here does that beforehand: it looks at the files that it has not seen, once. A type, once found, is
fixed."""

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, DataType, StringType, StructField, StructType

from cdc_local.autoloader.arrow_rows import infer_in_python
from cdc_local.autoloader.csv_lines import infer_csv_columns
from cdc_local.autoloader.file_formats import CSV, JSON
from cdc_local.autoloader.files import fixed_folder, list_files
from cdc_local.autoloader.json_documents import infer_json_columns
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import EvolutionMode, Options
from cdc_local.autoloader.partitions import partition_names
from cdc_local.autoloader.schema_hints import apply_hints
from cdc_local.engines.engine import is_sail
from cdc_local.errors import PipelineError
from cdc_local.storage import read_json, write_json

_FILE_NAME = "auto_loader.json"  # In a schema folder


@dataclass(frozen=True)
class KnownSchemas:
    "What earlier evaluations found out."

    schema: StructType | None = None  # Inferred columns, without hints
    files: tuple[str, ...] = ()  # Files looked at
    started: float = 0.0  # Seconds since 1970 of the first evaluation; 0 before it

    @classmethod
    def read(
        cls,
        folder: Path | None,  # A schema folder, None if nothing is remembered
    ) -> "KnownSchemas":
        "Read it from a folder; nothing is known where there is no file."
        found = folder and read_json(Path(folder) / _FILE_NAME)
        if not found:
            return cls()
        schema = StructType.fromJson(found["schema"]) if found["schema"] else None
        return cls(schema, tuple(found["files"]), found["started"])

    def write(
        self,
        folder: Path | None,  # A schema folder, None to remember nothing
    ) -> None:
        "Write it to a folder in one step; without a folder do nothing."
        if not folder:
            return
        schema = self.schema.jsonValue() if self.schema else None
        write_json(
            Path(folder) / _FILE_NAME, {"schema": schema, "files": self.files, "started": self.started}
        )


def plan_layout(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: Options,  # Of the read
    declared: StructType | str | None,  # Declared columns, None to infer them
    folder: Path | None,  # Where to remember what was inferred; None to remember nothing
    streaming: bool,  # A stream, else one read
) -> tuple[Layout, KnownSchemas]:  # The columns, and what is known now
    "Decide which columns a read has; raises `PipelineError` where there is nothing to infer them from."
    schema = _declared_schema(declared, options)
    before, mode = KnownSchemas.read(folder), options.evolution_mode
    known = replace(before, started=before.started or time.time())
    if schema is None:
        known = _evolve_schema(spark, path, options, known, streaming)
        columns = apply_hints(known.schema or StructType(), options.schema_hints)
    else:
        columns = schema
        may_fail = mode is EvolutionMode.FAIL_ON_NEW_COLUMNS
        if may_fail and list_files(spark, path, options.file_filters, streaming):
            known = _evolve_schema(spark, path, options, replace(known, schema=schema), streaming)
    root = fixed_folder(path)
    is_rescuing = mode is EvolutionMode.RESCUE or (schema is None and mode is not EvolutionMode.NONE)
    rescued = options.rescued_column or ("_rescued_data" if is_rescuing else "")
    partitions = partition_names(options.partition_columns, known.files if schema is None else (), root)
    missing = [name for name in (*partitions, rescued) if name and name not in columns.names]
    columns = StructType(columns.fields + [StructField(name, StringType()) for name in missing])
    return Layout(columns, rescued, options.corrupt_column, partitions, root), known


def _declared_schema(
    declared: StructType | str | None,  # As the pipeline wrote it
    options: Options,  # Of the read
) -> StructType | None:  # None to infer it
    "Parse declared columns, any of which may be NULL in a file; some formats need none."
    if options.format.columns:
        declared = declared or options.format.columns
    schema = cast(StructType, StructType.fromDDL(declared)) if isinstance(declared, str) else declared
    return None if schema is None else schema.toNullable()


def _evolve_schema(
    spark: SparkSession,  # The session
    path: str,  # Folder, file or glob
    options: Options,  # Of the read
    before: KnownSchemas,  # What earlier evaluations found
    streaming: bool,  # A stream, else one read
) -> KnownSchemas:  # The same with new files looked at
    "Look at new files and grow the schema as `schemaEvolutionMode` says; raises `PipelineError`."
    mode = options.evolution_mode
    if before.schema is not None and mode in (EvolutionMode.RESCUE, EvolutionMode.NONE):
        return before
    files = list_files(spark, path, options.file_filters, streaming)
    new = sorted(set(files) - set(before.files))
    if not new and before.schema is None:
        raise PipelineError(
            f"Auto Loader: no files in {path} to infer columns from (CF_EMPTY_DIR_FOR_SCHEMA_INFERENCE)",
            hint="add a file, or give the schema with .schema(...)",
        )
    if not new:
        return before
    found = infer_schema(spark, new, options)
    if before.schema is None:
        return replace(before, schema=found, files=tuple(files))
    merged = merge_schemas(before.schema, found)
    added = new_columns(before.schema, merged)
    if added and mode is EvolutionMode.FAIL_ON_NEW_COLUMNS:
        raise PipelineError(
            f"Auto Loader: {path} has new columns: {', '.join(added)} (schemaEvolutionMode failOnNewColumns)",
            hint="add them to the schema or remove the files",
        )
    return replace(before, schema=merged, files=tuple(sorted({*before.files, *new})))


def infer_schema(
    spark: SparkSession,  # The session
    files: list[str],  # Paths of the files to look at
    options: Options,  # Of the read
) -> StructType:  # Their columns; of names that differ in case only, one
    "Infer the columns of some files."
    found = infer_in_python(files, options) if is_sail(spark) else _infer_with_spark(spark, files, options)
    has_types = options.format.is_typed or options.infer_column_types
    columns: dict[str, StructField] = {}
    for field in found.fields:
        data_type = field.dataType if has_types else StringType()
        columns.setdefault(field.name.lower(), StructField(field.name, data_type))
    return StructType(list(columns.values()))


def _infer_with_spark(
    spark: SparkSession,  # The session
    files: list[str],  # Paths of the files to look at
    options: Options,  # Of the read
) -> StructType:  # Their columns, of which names may differ in case only
    own = spark.newSession()  # where `id` and `ID` are two names: a file with both would stop the inference
    own.conf.set("spark.sql.caseSensitive", "true")
    own.conf.set("spark.sql.mapKeyDedupPolicy", "LAST_WIN")
    reader_options = dict(options.parser_options)
    reader_options |= {"__globPaths__": "false", "recursiveFileLookup": "true"}  # a file's name is no glob
    if options.format is JSON:
        return infer_json_columns(own, files, options, reader_options)
    if options.format is CSV:
        return infer_csv_columns(own, files, options, reader_options)
    reader = own.read.format(options.format.name).options(**reader_options, mergeSchema="true")
    return reader.load(files).schema


def merge_schemas(
    old: StructType,  # Stored columns
    new: StructType,  # Columns found in new files
) -> StructType:  # Stored columns, with what only the new files have appended
    "Add new columns, and new fields of structs, at the end; change no type."
    found = {field.name.lower(): field for field in reversed(new.fields)}
    fields = []
    for field in old.fields:
        other = found.pop(field.name.lower(), field)
        fields.append(StructField(field.name, _merge_types(field.dataType, other.dataType)))
    return StructType(fields + [field for field in new.fields if found.get(field.name.lower()) is field])


def _merge_types(old: DataType, new: DataType) -> DataType:
    if isinstance(old, ArrayType) and isinstance(new, ArrayType):
        return ArrayType(_merge_types(old.elementType, new.elementType))
    if isinstance(old, StructType) and isinstance(new, StructType):
        return merge_schemas(old, new)
    return old


def new_columns(
    old: DataType,  # Stored columns, or a type in them
    merged: DataType,  # The same after `merge_schemas`
    path: str = "",  # Names above it, with a dot at the end
) -> list[str]:  # Dotted names that were added
    "Name what `merge_schemas` added."
    if isinstance(old, ArrayType) and isinstance(merged, ArrayType):
        return new_columns(old.elementType, merged.elementType, path + "element.")
    if not (isinstance(old, StructType) and isinstance(merged, StructType)):
        return []
    inner = [
        name
        for before, after in zip(old.fields, merged.fields, strict=False)
        for name in new_columns(before.dataType, after.dataType, f"{path}{before.name}.")
    ]
    return inner + [path + field.name for field in merged.fields[len(old.fields) :]]
