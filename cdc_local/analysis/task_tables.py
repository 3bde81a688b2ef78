"""Names of three parts in the code of a task: `spark.table`, `spark.sql`, `saveAsTable`, `spark.catalog`.

Engines know one catalog. Here a name is a folder of the storage, as in a pipeline, on both engines."""

from collections.abc import Callable
from contextvars import ContextVar
from functools import partial, wraps
from typing import Any

from pyspark.sql import DataFrame, SparkSession

from cdc_local.analysis.catalog_methods import CATALOG_METHODS
from cdc_local.analysis.catalog_statements import answer_statement
from cdc_local.analysis.flow_analysis import table_schema
from cdc_local.analysis.patches import CLASSIC, find_connect_classes
from cdc_local.analysis.queries import complete_text, run_query
from cdc_local.analysis.runtime import Runtime, show_visible_rows
from cdc_local.analysis.table_statements import run_table_statement
from cdc_local.analysis.task_catalog import (
    DEFAULT_CATALOG,
    DEFAULT_SCHEMA,
    TaskCatalog,
    TaskCatalogMethods,
)
from cdc_local.analysis.task_statements import answer_task_statement, fit_columns, write_on_sail
from cdc_local.dataflow.graph import Graph
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.errors import NeedsSparkError
from cdc_local.sql.lexer import QUERY_STARTS, first_word
from cdc_local.storage import Storage

_METHODS = (*CATALOG_METHODS, "setCurrentCatalog", "setCurrentDatabase")  # Of `spark.catalog`

_is_ours: ContextVar[bool] = ContextVar("is_ours", default=False)  # Set while our own code uses the session


class TaskTables:
    "What names of tables mean in a task; `USE` changes it for the rest of the task."

    def __init__(
        self,
        spark: SparkSession,  # The session of the task
        storage: Storage,  # Its tables
    ) -> None:
        self.spark = spark
        self.runtime = Runtime(
            spark, Graph(DEFAULT_CATALOG, DEFAULT_SCHEMA), storage, table_schema, keep_schemas=False
        )
        self.runtime.analysing = False

    @property
    def catalog(self) -> TaskCatalog:
        "The tables as they are now."
        catalog = TaskCatalog(self.spark, self.runtime.graph, self.runtime.storage)
        self.runtime.catalog = catalog
        return catalog

    def run_sql(
        self,
        run_sql: Callable[..., DataFrame],  # The session's own `sql`
        text: str,  # One statement
        args: Any = None,  # Values of `:name`, or of `?`
        **values: Any,  # Of `{name}`: frames, columns, plain values
    ) -> DataFrame:  # Its rows
        "Run a statement."
        catalog = self.catalog
        if first_word(text) in QUERY_STARTS:
            return run_query(self.runtime, run_sql, text, args, **values)
        text, _ = complete_text(self.runtime, text, args, values)
        for answer in (answer_task_statement, answer_statement):
            if (frame := answer(catalog, text)) is not None:
                return frame
        if is_sail(self.spark):
            written = write_on_sail(self.runtime, catalog, run_sql, text)
        else:
            written = run_table_statement(self.runtime, self.spark, run_sql, text)
        return run_sql(text) if written is None else written

    def read(
        self,
        reader: Any,  # With the options that the task gave it
        text: str,  # A name as written
    ) -> DataFrame:
        "Read a table, or a view of the session."
        if "." not in text and engine_of(self.spark).has_session_table(self.spark, text):
            return self.spark.table(text)
        if self.runtime.graph.name(text).schema == "information_schema":
            return self.runtime.read_table(text, False)
        path = self.catalog.find_path(text)
        frame: DataFrame = reader.format("delta").load(str(path))
        return show_visible_rows(frame, path)

    def save(
        self,
        writer: Any,  # With the options that the task gave it
        text: str,  # A name as written
        mode: str | None = None,  # What becomes of rows that are there
        partition_by: Any = None,  # Columns that split the files
        **options: Any,  # Of the writer
    ) -> None:
        "Save a frame as a table."
        path = self.catalog.choose_path(text)
        writer = writer.format("delta").options(**options)
        if mode is not None:
            writer = writer.mode(mode)
        if partition_by is not None:
            writer = writer.partitionBy(partition_by)
        writer.save(str(path))


_Made = Callable[[TaskTables, Any], Any]  # Makes a method from the tables and the method that stood there


def _sql(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def sql(session: Any, sqlQuery: str, *args: Any, **kwargs: Any) -> Any:  # noqa: N803 (PySpark's own name)
        return tables.run_sql(partial(original, session), sqlQuery, *args, **kwargs)

    return sql


def _session_table(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def table(session: Any, tableName: str) -> Any:  # noqa: N803 (as above)
        return tables.read(session.read, tableName)

    return table


def _reader_table(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def table(reader: Any, tableName: str) -> Any:  # noqa: N803 (as above)
        return tables.read(reader, tableName)

    return table


def _stream_table(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def table(reader: Any, tableName: str) -> Any:  # noqa: N803 (as above)
        if is_sail(tables.spark):
            raise NeedsSparkError("spark.readStream is run by Spark alone")
        return reader.format("delta").load(str(tables.catalog.find_path(tableName)))

    return table


def _save_as_table(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def save(
        writer: Any,
        name: str,
        format: str | None = None,
        mode: str | None = None,
        partitionBy: Any = None,  # noqa: N803 (as above)
        **options: Any,
    ) -> None:
        tables.save(writer, name, mode, partitionBy, **options)

    return save


def _insert_into(tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def insert(writer: Any, tableName: str, overwrite: bool | None = None) -> None:  # noqa: N803 (as above)
        frame = fit_columns(_written_frame(tables.spark, writer), tables.catalog.find_table(tableName))
        tables.save(frame.write, tableName, "overwrite" if overwrite else "append")

    return insert


def _written_frame(
    spark: SparkSession,  # The session of the task
    writer: Any,  # In the task's hands
) -> DataFrame:
    "Find the frame that a writer writes: that of Spark Connect has its plan alone."
    if not is_sail(spark):
        frame: DataFrame = writer._df
        return frame
    from pyspark.sql.connect.dataframe import DataFrame as ConnectFrame

    return ConnectFrame(writer._df, writer._spark)


def _catalog_method(name: str, tables: TaskTables, original: Any) -> Any:
    @wraps(original)
    def method(catalog: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(TaskCatalogMethods(tables.catalog), name)(*args, **kwargs)

    return method


def _delta_table(tables: TaskTables, original: Any) -> Any:
    def for_name(owner: Any, sparkSession: SparkSession, tableOrViewName: str) -> Any:  # noqa: N803 (as above)
        return owner.forPath(sparkSession, str(tables.catalog.find_path(tableOrViewName)))

    return for_name


def _unless_ours(original: Any, made: Any) -> Any:
    "Leave a method as it was while our own code calls it."

    @wraps(original)
    def method(*args: Any, **kwargs: Any) -> Any:
        if _is_ours.get():
            return original(*args, **kwargs)
        token = _is_ours.set(True)
        try:
            return made(*args, **kwargs)
        finally:
            _is_ours.reset(token)

    return method


def install_task_tables(
    spark: SparkSession,  # The session of the task, on either engine
    storage: Storage,  # Its tables
) -> TaskTables:
    "Let names in a task's code mean tables of the storage, until its process ends."
    tables = TaskTables(spark, storage)
    classes = find_connect_classes() if is_sail(spark) else CLASSIC
    methods: list[tuple[Any, str, _Made]] = [
        (classes.session, "sql", _sql),
        (classes.session, "table", _session_table),
        (classes.reader, "table", _reader_table),
        (classes.stream_reader, "table", _stream_table),
        (classes.writer, "saveAsTable", _save_as_table),
        (classes.writer, "insertInto", _insert_into),
        *[(classes.catalog, name, partial(_catalog_method, name)) for name in _METHODS],
    ]
    for owner, name, make in methods:
        original = getattr(owner, name)
        setattr(owner, name, _unless_ours(original, make(tables, original)))
    if not is_sail(spark):
        from delta.tables import DeltaTable

        setattr(DeltaTable, "forName", classmethod(_delta_table(tables, DeltaTable.forName)))  # noqa: B010  # mypy
    return tables
