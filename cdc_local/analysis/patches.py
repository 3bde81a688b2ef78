"""The table of all that PySpark and Python do differently while a pipeline's own code runs.

Each row of `PATCHES` names an attribute, what stands there instead, and why. A patched method asks what is
being evaluated, and does what it always did while our own code runs, in this thread or in another. Python's
file functions have a table of their own in `cdc_local/volumes.py`.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isfunction
from typing import Any

import pyspark
from pyspark.sql import GroupedData, SparkSession, functions
from pyspark.sql.catalog import Catalog
from pyspark.sql.classic.dataframe import DataFrame as ClassicDataFrame
from pyspark.sql.conf import RuntimeConfig
from pyspark.sql.functions import builtin
from pyspark.sql.readwriter import DataFrameReader, DataFrameWriter
from pyspark.sql.streaming.readwriter import DataStreamReader

from cdc_local.analysis.actions import ACTIONS, allow_action
from cdc_local.analysis.catalog_methods import CATALOG_METHODS, REFUSED_CATALOG_METHODS, CatalogMethods
from cdc_local.analysis.evaluation import current_evaluation, evaluated_flow, evaluating
from cdc_local.analysis.expressions import name_tables
from cdc_local.analysis.queries import run_query
from cdc_local.analysis.runtime import Runtime
from cdc_local.analysis.sql_texts import translate_condition, translate_expression, translate_selection
from cdc_local.analysis.table_statements import run_table_statement
from cdc_local.autoloader.plain_reader import PLAIN_FORMATS, split_arguments
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.engines.sail.settings import refuse_setting
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, localize
from cdc_local.volumes import mapped_functions

# What stands at an attribute meanwhile, made from the update and from what stands there otherwise
Replacement = Callable[[Runtime, Any], Any]


@dataclass(frozen=True)
class Patch:
    "One attribute that is another one during an update."

    owner: Any  # The class or module that has it
    name: str  # The attribute
    replacement: Replacement  # Makes what stands there meanwhile
    reason: str  # Why Spark's or Python's own does not do


def _refuse_write(
    name: str,  # The method or property
    runtime: Runtime,  # The update
    original: Any,  # The method or property
) -> Any:  # The same, refusing inside a dataset function
    "Refuse to write a frame while a dataset function runs."
    if isinstance(original, property):
        return property(_refuse_write(name, runtime, original.fget))

    @wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        flow = evaluated_flow()
        if flow is not None:
            raise PipelineError(
                f"DataFrame.{name} is a write, inside the dataset function of {flow.name}",
                hint="Lakeflow refuses it; return a DataFrame and let the pipeline write it",
            )
        return original(*args, **kwargs)

    return method


def _refuse_pivot(runtime: Runtime, original: Any) -> Any:
    "Refuse a pivot that looks at the data for its columns, while a dataset function runs."

    @wraps(original)
    def pivot(grouped: GroupedData, pivot_col: str, values: list[Any] | None = None) -> Any:
        flow = evaluated_flow()
        if flow is not None and values is None:
            raise PipelineError(
                f"pivot({pivot_col!r}) without values reads data, inside the dataset function of {flow.name}",
                hint="Databricks supports no pivot that looks at rows for its columns; list the values",
            )
        return original(grouped, pivot_col, values)

    return pivot


def _reader_calls(
    reader: DataFrameReader | DataStreamReader,  # A reader in the user's hands
) -> dict[str, Any]:  # Its `format`, `schema` and `options` so far
    "What a reader was called with: Spark's own keeps it on the engine's side."
    calls: dict[str, Any] = {"format": None, "schema": None, "options": {}}
    kept: dict[str, Any] = vars(reader).setdefault("_lakeflow", calls)
    return kept


def _localize_paths(
    storage: Storage,  # Where volumes lie
    value: Any,  # A path, a list of paths, or anything else
) -> Any:  # The same, with the paths of this machine
    "Map the paths in an argument."
    if isinstance(value, (list, tuple)):
        return [_localize_paths(storage, path) for path in value]
    return localize(storage, value) if isinstance(value, str) else value


def _note_reader_call(part: str, runtime: Runtime, original: Any) -> Any:
    "Note what a reader's `format`, `schema`, `option` or `options` was called with, with paths mapped."

    @wraps(original)
    def method(reader: Any, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(reader, *args, **kwargs)
        args = tuple(localize(runtime.storage, arg) if isinstance(arg, str) else arg for arg in args)
        kwargs = {
            key: localize(runtime.storage, arg) if isinstance(arg, str) else arg
            for key, arg in kwargs.items()
        }
        calls = _reader_calls(reader)
        last = args[-1] if args else next(iter(kwargs.values()), None)
        if part == "options":
            calls["options"].update(kwargs)
        elif part == "option":
            key = args[0] if args else kwargs["key"]
            calls["options"][key] = args[1] if len(args) > 1 else kwargs["value"]
        else:
            calls[part] = last
        if part == "format" and str(last).lower() == "cloudfiles":
            return reader
        return original(reader, *args, **kwargs)

    return method


def _read_pipeline_table(streaming: bool, runtime: Runtime, original: Any) -> Any:
    "`spark.read.table` and `spark.readStream.table`: a table of the pipeline or of its storage."

    @wraps(original)
    def table(reader: Any, tableName: str) -> Any:  # noqa: N803 (PySpark's own name for it)
        if current_evaluation.get() is None:
            return original(reader, tableName)
        return runtime.read_table(tableName, streaming, _reader_calls(reader)["options"])

    return table


def _load_files(streaming: bool, runtime: Runtime, original: Any) -> Any:
    "`load`: with Auto Loader where the format is `cloudFiles`, and with paths mapped."

    @wraps(original)
    def load(reader: Any, path: Any = None, format: Any = None, schema: Any = None, **options: Any) -> Any:
        if current_evaluation.get() is None:
            return original(reader, path, format, schema, **options)
        calls = _reader_calls(reader)
        path = _localize_paths(runtime.storage, path or options.pop("path", None))
        source = path or calls["options"].get("path")
        runtime.update_inputs.add_paths(source)
        kind, given = str(format or calls["format"]).lower(), calls["options"] | options
        if kind != "cloudfiles":
            frame = runtime.read_plain_source(source, kind, given, schema or calls["schema"], streaming)
            if frame is not None:
                return frame
            return original(reader, path, format, schema, **options)  # which has the options of `calls`
        return runtime.read_files(source, given, schema or calls["schema"], streaming)

    return load


def _stream_files(name: str, runtime: Runtime, original: Any) -> Any:
    "`readStream.json(…)` and its like: with paths mapped, and as new rows where a batch is evaluated."

    @wraps(original)
    def method(reader: Any, path: str, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(reader, path, *args, **kwargs)
        path, calls = _localize_paths(runtime.storage, path), _reader_calls(reader)
        runtime.update_inputs.add_paths(path)
        named = {key: value for key, value in kwargs.items() if value is not None}
        schema = named.pop("schema", None) or calls["schema"]
        frame = None
        if not args:  # positional ones are left to Spark
            frame = runtime.read_plain_source(path, name, calls["options"] | named, schema, True)
        return original(reader, path, *args, **kwargs) if frame is None else frame

    return method


def _read_files(name: str, runtime: Runtime, original: Any) -> Any:
    "`read.csv(…)` and its like: with paths mapped, and as Spark reads them."
    mapped = _map_paths(runtime, original)

    @wraps(original)
    def method(reader: Any, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(reader, *args, **kwargs)
        path, schema, named = split_arguments(original, reader, args, kwargs)
        path, calls = _localize_paths(runtime.storage, path), _reader_calls(reader)
        runtime.update_inputs.add_paths(path)
        frame = runtime.read_plain_source(
            path, name, calls["options"] | named, schema or calls["schema"], False
        )
        return mapped(reader, *args, **kwargs) if frame is None else frame

    return method


def _map_paths(runtime: Runtime, original: Any) -> Any:
    "A method of a reader or writer among whose arguments are paths."

    @wraps(original)
    def method(target: Any, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(target, *args, **kwargs)
        mapped = {name: _localize_paths(runtime.storage, arg) for name, arg in kwargs.items()}
        localized = [_localize_paths(runtime.storage, arg) for arg in args]
        if type(target).__name__ in ("DataFrameReader", "DataStreamReader"):
            is_each_a_path = original.__name__ == "parquet"  # of the others only the first argument is one
            for value in localized if is_each_a_path else localized[:1]:
                runtime.update_inputs.add_paths(value)
            runtime.update_inputs.add_paths(mapped.get("path") or mapped.get("paths"))
        return original(target, *localized, **mapped)

    return method


def _refuse_changes(streaming: bool, runtime: Runtime, original: Any) -> Any:
    "`changes`: asks a catalog for a table's change feed, which neither Delta's nor the pipeline's has."

    @wraps(original)
    def changes(reader: Any, tableName: str) -> Any:  # noqa: N803 (PySpark's own name for it)
        if current_evaluation.get() is None:
            return original(reader, tableName)
        name = "readStream" if streaming else "read"
        raise PipelineError(
            f"spark.{name}.changes({tableName!r}) is not supported by the local runner",
            hint=f'spark.{name}.option("readChangeFeed", "true").table({tableName!r}) reads a change feed',
        )

    return changes


def _save_pipeline_table(runtime: Runtime, original: Any) -> Any:
    "`saveAsTable`: a Delta table in the pipeline's storage."

    @wraps(original)
    def save(writer: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(writer, name, *args, **kwargs)
        return writer.format("delta").save(str(runtime.storage.table_path(runtime.graph.name(name))))

    return save


def _query_pipeline(runtime: Runtime, original: Any) -> Any:
    "`spark.sql`: over the pipeline's tables."

    @wraps(original)
    def sql(session: SparkSession, sqlQuery: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N803 (as above)
        if current_evaluation.get() is None:
            return original(session, sqlQuery, *args, **kwargs)
        run_sql = partial(original, session)
        if evaluated_flow() is None and not runtime.analysing:  # the handler of a sink
            with evaluating(None):
                done = run_table_statement(
                    runtime, session, lambda text: run_sql(text, *args, **kwargs), sqlQuery
                )
            if done is not None:
                return done
        return run_query(runtime, run_sql, sqlQuery, *args, **kwargs)

    return sql


def _ask_catalog(name: str, runtime: Runtime, original: Any) -> Any:
    "A method of `spark.catalog` that tells of tables: of those of the storage."

    @wraps(original)
    def method(catalog: Any, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(catalog, *args, **kwargs)
        with evaluating(None):
            return getattr(CatalogMethods(runtime.catalog), name)(*args, **kwargs)

    return method


def _refuse_catalog_method(name: str, hint: str, runtime: Runtime, original: Any) -> Any:
    "A method of `spark.catalog` that changes tables or the session."

    @wraps(original)
    def method(catalog: Any, *args: Any, **kwargs: Any) -> Any:
        if current_evaluation.get() is None:
            return original(catalog, *args, **kwargs)
        raise PipelineError(f"spark.catalog.{name} is not for a pipeline's code", hint=hint)

    return method


def _filter_by_text(runtime: Runtime, original: Any) -> Any:
    "`filter` and `where`, which take an expression as a text."

    @wraps(original)
    def filter_rows(frame: Any, condition: Any) -> Any:
        return original(frame, name_tables(runtime, condition) if isinstance(condition, str) else condition)

    return filter_rows


def _select_texts(runtime: Runtime, original: Any) -> Any:
    "`selectExpr`."

    @wraps(original)
    def select(frame: Any, *expr: Any) -> Any:
        texts = expr[0] if len(expr) == 1 and isinstance(expr[0], list) else expr
        return original(
            frame, *[name_tables(runtime, text) if isinstance(text, str) else text for text in texts]
        )

    return select


def _after(
    first: Replacement,  # Gets what the user wrote
    second: Replacement,  # Gets what the first makes of it
) -> Replacement:
    "Put two replacements in one place."
    return lambda runtime, original: first(runtime, second(runtime, original))


def _make_column_of_text(runtime: Runtime, original: Any) -> Any:
    "What `F.expr` of classic Spark calls, from whatever name a file has it."

    @wraps(original)
    def invoke(name: str, *args: Any) -> Any:
        if name == "expr" and isinstance(args[0], str):
            return original(name, name_tables(runtime, args[0], is_used_now=False))
        return original(name, *args)

    return invoke


def _make_expression_of_text(runtime: Runtime, original: Any) -> Any:
    "A SQL expression of Spark Connect: `where`, `selectExpr` and `F.expr` make one."

    @wraps(original)
    def initialize(expression: Any, expr: str) -> None:
        original(expression, name_tables(runtime, expr, is_used_now=False))

    return initialize


def _table_for_name(runtime: Runtime, original: Any) -> Any:
    "`DeltaTable.forName`: a table of the storage, which a source file or the handler of a sink may write."

    def for_name(owner: Any, sparkSession: SparkSession, tableOrViewName: str) -> Any:  # noqa: N803 (as above)
        if current_evaluation.get() is None:
            return original(sparkSession, tableOrViewName)
        path = runtime.storage.table_path(runtime.graph.name(tableOrViewName))
        return owner.forPath(sparkSession, str(path))

    return classmethod(for_name)


def _session_table(runtime: Runtime, original: Any) -> Any:
    "`spark.table`: a table of the pipeline or of its storage."

    @wraps(original)
    def table(session: SparkSession, tableName: str) -> Any:  # noqa: N803 (as above)
        if current_evaluation.get() is None:
            return original(session, tableName)
        return runtime.read_table(tableName, False)

    return table


def _analyse_at_once(runtime: Runtime, original: Any) -> Any:
    "A frame of Spark Connect: a mistake in it is found where it is made, as on classic Spark."

    @wraps(original)
    def initialize(frame: Any, *args: Any, **kwargs: Any) -> None:
        original(frame, *args, **kwargs)
        if evaluated_flow() is not None:
            engine_of(runtime.spark).analyse(frame)

    return initialize


def _add_older_spellings(runtime: Runtime, original: list[str]) -> list[str]:
    "`__all__` of PySpark's functions, with `countDistinct` and its like."
    own = {name: value for name, value in vars(builtin).items() if isfunction(value) and name[0] != "_"}
    older = {name for name in own if not name.islower() and own[name].__module__ == builtin.__name__}
    return [*original, *sorted(older - set(original))]


def _set_option(runtime: Runtime, original: Any) -> Any:
    "`spark.conf.set`: on Sail not for what it does not obey."

    @wraps(original)
    def set_option(settings: Any, key: str, value: Any) -> Any:
        if current_evaluation.get() is not None and is_sail(runtime.spark):
            refuse_setting(key)
        return original(settings, key, value)

    return set_option


_WRITES = ("write", "writeStream", "writeTo", "mergeInto")

_READER_SETTINGS = ("format", "schema", "option", "options")

# Methods of readers and writers that have paths among their arguments, each named after a format
_PATH_METHODS = ("json", "csv", "parquet", "orc", "text", "xml")


@dataclass(frozen=True)
class Classes:
    "PySpark's classes of one engine's API."

    frame: Any
    grouped: Any
    session: Any
    reader: Any
    stream_reader: Any
    writer: Any
    settings: Any
    catalog: Any

    @property
    def readers(self) -> tuple[tuple[Any, bool], ...]:  # Class, and whether it reads streams
        "The two readers."
        return (self.reader, False), (self.stream_reader, True)


CLASSIC = Classes(
    ClassicDataFrame,
    GroupedData,
    SparkSession,
    DataFrameReader,
    DataStreamReader,
    DataFrameWriter,
    RuntimeConfig,
    Catalog,
)


def find_connect_classes() -> Classes:
    "The classes of Spark Connect, which need a package that the classic ones do not."
    from pyspark.sql.connect.catalog import Catalog
    from pyspark.sql.connect.conf import RuntimeConf
    from pyspark.sql.connect.dataframe import DataFrame
    from pyspark.sql.connect.group import GroupedData
    from pyspark.sql.connect.readwriter import DataFrameReader, DataFrameWriter
    from pyspark.sql.connect.session import SparkSession
    from pyspark.sql.connect.streaming.readwriter import DataStreamReader

    return Classes(
        DataFrame,
        GroupedData,
        SparkSession,
        DataFrameReader,
        DataStreamReader,
        DataFrameWriter,
        RuntimeConf,
        Catalog,
    )


def list_patches(
    classes: Classes,  # Whose attributes are patched
) -> tuple[Patch, ...]:
    "List what is another one during an update on this API."
    return (
        *[
            Patch(
                classes.frame,
                name,
                partial(allow_action, name),
                "an action reads tables that have no rows yet, and none may run on a stream",
            )
            for name in ACTIONS
        ],
        *[
            Patch(
                classes.frame,
                name,
                partial(_refuse_write, name),
                "a dataset function returns its rows, and the pipeline writes them, once",
            )
            for name in _WRITES
        ],
        Patch(
            classes.grouped,
            "pivot",
            _refuse_pivot,
            "without values it collects the column: an action that has another name",
        ),
        *[
            Patch(
                reader,
                name,
                partial(_note_reader_call, name),
                "`load` and `table` must know format, schema and options, which the engine keeps",
            )
            for reader, _ in classes.readers
            for name in _READER_SETTINGS
        ],
        *[
            Patch(
                reader,
                "table",
                partial(_read_pipeline_table, streaming),
                "a name means a table of the pipeline, which may not exist yet, or one of its storage",
            )
            for reader, streaming in classes.readers
        ],
        *[
            Patch(
                reader,
                "changes",
                partial(_refuse_changes, streaming),
                "Delta's catalog has no change feed by name, and a name means a table of the pipeline",
            )
            for reader, streaming in classes.readers
        ],
        *[
            Patch(
                reader,
                "load",
                partial(_load_files, streaming),
                "open-source Spark has no format `cloudFiles` and no folder /Volumes",
            )
            for reader, streaming in classes.readers
        ],
        *[
            Patch(classes.reader, name, partial(_read_files, name), "Spark has no folder /Volumes")
            for name in PLAIN_FORMATS
        ],
        *[
            Patch(classes.reader, name, _map_paths, "open-source Spark has no folder /Volumes")
            for name in _PATH_METHODS
            if hasattr(classes.reader, name) and name not in PLAIN_FORMATS
        ],
        *[
            Patch(
                classes.stream_reader,
                name,
                partial(_stream_files, name),
                "open-source Spark has no folder /Volumes; a flow without state reads new files as a batch",
            )
            for name in _PATH_METHODS
            if hasattr(classes.stream_reader, name)
        ],
        *[
            Patch(classes.writer, name, _map_paths, "a source file may write below /Volumes")
            for name in ("save", *_PATH_METHODS)
        ],
        Patch(
            classes.writer,
            "saveAsTable",
            _save_pipeline_table,
            "a table that a source file saves lies where the pipeline's tables lie",
        ),
        Patch(classes.session, "sql", _query_pipeline, "names in a SQL text mean the pipeline's tables"),
        Patch(classes.session, "table", _session_table, "a name means a table of the pipeline"),
        *[
            Patch(classes.catalog, name, partial(_ask_catalog, name), "a table is one of the storage")
            for name in CATALOG_METHODS
            if hasattr(classes.catalog, name)
        ],
        *[
            Patch(
                classes.catalog,
                name,
                partial(_refuse_catalog_method, name, hint),
                "a table is one of the storage, and the pipeline makes it",
            )
            for name, hint in REFUSED_CATALOG_METHODS.items()
            if hasattr(classes.catalog, name)
        ],
        Patch(
            classes.settings,
            "set",
            _set_option,
            "a setting that changes answers is obeyed by Spark alone",
        ),
        *[
            Patch(
                owner, name, replacement, "a text may say what Databricks' SQL has and the engine's has not"
            )
            for owner, name, replacement in (
                (functions, "expr", translate_expression),
                (classes.frame, "selectExpr", _after(translate_selection, _select_texts)),
                (classes.frame, "where", translate_condition),
                (classes.frame, "filter", _after(translate_condition, _filter_by_text)),
            )
        ],
        Patch(
            functions,
            "__all__",
            _add_older_spellings,
            "`from pyspark.sql.functions import *` brings more names where Databricks has Spark 3.5",
        ),
        Patch(
            pyspark,
            "pipelines",
            lambda runtime, _: runtime.modules["pyspark.pipelines"],
            "`from pyspark import pipelines` finds the module that records what is declared",
        ),
    )


_REASON_OF_TEXTS = "a subquery in an expression reads tables, whose names mean the pipeline's"

PATCHES = (
    *list_patches(CLASSIC),
    Patch(builtin, "_invoke_function", _make_column_of_text, _REASON_OF_TEXTS),
)


def _list_spark_patches() -> tuple[Patch, ...]:
    from delta.tables import DeltaTable  # here, since Sail does without

    return (*PATCHES, Patch(DeltaTable, "forName", _table_for_name, "a name means a table of the storage"))


def _list_connect_patches() -> tuple[Patch, ...]:
    from pyspark.sql.connect.expressions import SQLExpression

    classes = find_connect_classes()
    reason = "Spark Connect looks at a query when its rows or columns are asked for, far from the user's line"
    return (
        *list_patches(classes),
        Patch(classes.frame, "__init__", _analyse_at_once, reason),
        Patch(SQLExpression, "__init__", _make_expression_of_text, _REASON_OF_TEXTS),
    )


def _apply_patch(
    runtime: Runtime,  # The update
    patch: Patch,  # A row of the table
) -> Callable[[], None]:  # Puts back what stood there
    "Put a patch's replacement in place."
    owner, name = patch.owner, patch.name
    inherited = name not in vars(owner)
    before = vars(owner).get(name)
    setattr(owner, name, patch.replacement(runtime, getattr(owner, name, None)))
    return partial(delattr, owner, name) if inherited else partial(setattr, owner, name, before)


@contextmanager
def install_patches(
    runtime: Runtime,  # The update
) -> Iterator[Runtime]:
    "Put the runtime between the pipeline's code and Spark; takes effect only while that code runs."
    with ExitStack() as stack:
        stack.enter_context(mapped_functions(runtime.storage, lambda: current_evaluation.get() is not None))
        patches = _list_connect_patches() if is_sail(runtime.spark) else _list_spark_patches()
        for patch in patches:
            stack.callback(_apply_patch(runtime, patch))
        yield runtime
