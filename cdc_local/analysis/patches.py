"""What Lakeflow changes in PySpark while a pipeline's own code runs."""

from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from functools import partial, wraps
from typing import Any
from unittest import mock

from pyspark.sql import GroupedData, SparkSession
from pyspark.sql.classic.dataframe import DataFrame as ClassicDataFrame
from pyspark.sql.readwriter import DataFrameReader, DataFrameWriter
from pyspark.sql.streaming.readwriter import DataStreamReader

from cdc_local.analysis.evaluation import current_evaluation
from cdc_local.analysis.queries import run_query
from cdc_local.analysis.runtime import Runtime
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, localize
from cdc_local.volumes import mapped_functions

ACTIONS = (
    "collect",
    "count",
    "toPandas",
    "toArrow",
    "take",
    "first",
    "head",
    "tail",
    "show",
    "foreach",
    "foreachPartition",
    "isEmpty",
    "toLocalIterator",
    "checkpoint",
    "localCheckpoint",
)

WRITES = ("write", "writeStream", "writeTo", "mergeInto")


def refuse_method(
    name: str,  # The method
    what: str,  # 'an action' or 'a write'
    original: Callable,  # The method, or the function of a property
) -> Callable:  # The same, refusing inside a dataset function
    "Refuse a method while a dataset function runs."

    @wraps(original)
    def method(*args, **kwargs):
        evaluation = current_evaluation.get()
        if evaluation is not None and evaluation.flow is not None:
            raise PipelineError(
                f"DataFrame.{name} is {what}, inside the dataset function of {evaluation.flow.name}",
                hint="Lakeflow refuses it; return a DataFrame and let the pipeline write it",
            )
        return original(*args, **kwargs)

    return method


def reader_notes(
    reader: DataFrameReader | DataStreamReader,  # A reader in the user's hands
) -> dict:  # Its `format`, `schema` and `options` so far
    "What a reader was told."
    return reader.__dict__.setdefault("_lakeflow", {"format": None, "schema": None, "options": {}})


def note_reader_call(
    storage: Storage,  # Where volumes lie
    part: str,  # 'format', 'schema', 'option' or 'options'
    original: Callable,  # The reader's method
) -> Callable:  # The same, which also takes a note
    "Note what a reader is told, with paths mapped."

    @wraps(original)
    def method(reader, *args, **kwargs):
        if current_evaluation.get() is None:
            return original(reader, *args, **kwargs)
        args = tuple(localize(storage, value) if isinstance(value, str) else value for value in args)
        kwargs = {
            key: localize(storage, value) if isinstance(value, str) else value
            for key, value in kwargs.items()
        }
        notes, value = reader_notes(reader), args[-1] if args else next(iter(kwargs.values()), None)
        if part == "options":
            notes["options"].update(kwargs)
        elif part == "option":
            notes["options"][args[0] if args else kwargs["key"]] = (
                args[1] if len(args) > 1 else kwargs["value"]
            )
        else:
            notes[part] = value
        if part == "format" and str(value).lower() == "cloudfiles":
            return reader
        return original(reader, *args, **kwargs)

    return method


def localize_paths(
    storage: Storage,  # Where volumes lie
    path: Any,  # A path, a list of paths, or anything else
) -> Any:
    "Map the paths of a reader's argument."
    if isinstance(path, (list, tuple)):
        return [localize_paths(storage, each) for each in path]
    return localize(storage, path) if isinstance(path, str) else path


def writer_patches(
    runtime: Runtime,  # The update
) -> list[tuple]:  # (class, method, replacement)
    "What the batch writer does while the user's code runs."

    def save(original, writer, path=None, *args, **kwargs):
        return original(
            writer,
            localize_paths(runtime.storage, path) if current_evaluation.get() is not None else path,
            *args,
            **kwargs,
        )

    def save_table(original, writer, name, *args, **kwargs):
        if current_evaluation.get() is None:
            return original(writer, name, *args, **kwargs)
        return writer.format("delta").save(str(runtime.storage.table_path(runtime.graph.name(name))))

    patches = [
        (DataFrameWriter, name, partial(partial, save))
        for name in ("save", "json", "csv", "parquet", "orc", "text", "xml")
    ]
    return [*patches, (DataFrameWriter, "saveAsTable", partial(partial, save_table))]


def reader_patches(
    runtime: Runtime,  # The update
) -> list[tuple]:  # (class, method, replacement)
    "What the two readers do while the user's code runs."

    def table(streaming, original, reader, name):
        if current_evaluation.get() is None:
            return original(reader, name)
        return runtime.read_name(name, streaming, reader_notes(reader)["options"])

    def load(streaming, original, reader, path=None, format=None, schema=None, **options):
        if current_evaluation.get() is None:
            return original(reader, path, format, schema, **options)
        notes = reader_notes(reader)
        path, options = (
            localize_paths(
                runtime.storage, path or options.pop("path", None) or notes["options"].get("path")
            ),
            notes["options"] | options,
        )
        if str(format or notes["format"]).lower() == "cloudfiles":
            return runtime.load_files(path, options, schema or notes["schema"], streaming)
        return original(reader, path, format, schema, **options)

    def files(original, reader, path, *args, **kwargs):
        return original(
            reader,
            localize_paths(runtime.storage, path) if current_evaluation.get() is not None else path,
            *args,
            **kwargs,
        )

    patches = []
    for reader, streaming in ((DataFrameReader, False), (DataStreamReader, True)):
        for part in ("format", "schema", "option", "options"):
            patches.append((reader, part, partial(note_reader_call, runtime.storage, part)))
        patches += [
            (reader, "table", partial(partial, table, streaming)),
            (reader, "load", partial(partial, load, streaming)),
        ]
        patches += [
            (reader, name, partial(partial, files))
            for name in ("json", "csv", "parquet", "orc", "text", "xml")
            if hasattr(reader, name)
        ]
    return patches


def as_method(
    wrapped: Callable,  # A function or a partial
) -> Callable:  # A plain function, which binds to its instance
    "Make a callable usable as a method."
    return lambda *args, **kwargs: wrapped(*args, **kwargs)


def session_patches(
    runtime: Runtime,  # The update
) -> list[tuple]:  # (class, method, replacement)
    "What the session and its frames do while the user's code runs."

    def sql(original, session, sqlQuery, *args, **kwargs):
        if current_evaluation.get() is None or kwargs.keys() - {"args"}:
            return original(session, sqlQuery, *args, **kwargs)
        return run_query(runtime, original, session, sqlQuery, *args, **kwargs)

    def table(original, session, tableName):
        return (
            original(session, tableName)
            if current_evaluation.get() is None
            else runtime.read_name(tableName, False)
        )

    def pivot(original, grouped, pivot_col, values=None):
        evaluation = current_evaluation.get()
        if evaluation is not None and evaluation.flow is not None and values is None:
            raise PipelineError(
                f"pivot({pivot_col!r}) without values reads data, inside the dataset function of {evaluation.flow.name}",
                hint="list the values",
            )
        return original(grouped, pivot_col, values)

    patches = [
        (SparkSession, "sql", partial(partial, sql)),
        (SparkSession, "table", partial(partial, table)),
        (GroupedData, "pivot", partial(partial, pivot)),
    ]
    patches += [(ClassicDataFrame, name, partial(refuse_method, name, "an action")) for name in ACTIONS]
    return patches


@contextmanager
def install_patches(
    runtime: Runtime,  # The update
):
    "Put the runtime between the pipeline's code and Spark; takes effect only while that code runs."
    with ExitStack() as stack:
        stack.enter_context(mapped_functions(runtime.storage, lambda: current_evaluation.get() is not None))
        for owner, name, replacement in (
            *reader_patches(runtime),
            *writer_patches(runtime),
            *session_patches(runtime),
        ):
            new = replacement(getattr(owner, name))
            stack.enter_context(
                mock.patch.object(owner, name, as_method(new) if isinstance(owner, type) else new)
            )
        for name in WRITES:
            original = getattr(ClassicDataFrame, name)
            new = (
                property(refuse_method(name, "a write", original.fget))
                if isinstance(original, property)
                else refuse_method(name, "a write", original)
            )
            stack.enter_context(mock.patch.object(ClassicDataFrame, name, new))
        yield runtime
