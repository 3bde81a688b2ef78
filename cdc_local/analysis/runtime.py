"""What a pipeline's own code reads: tables are the pipeline's, paths are the volumes'."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.catalog import PipelineCatalog
from cdc_local.analysis.catalog_statements import INFORMATION_SCHEMA, read_information_schema
from cdc_local.analysis.evaluation import (
    Evaluation,
    current_evaluation,
    evaluating,
    keep_expression_views,
)
from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.auto_cdc.target import select_visible_rows
from cdc_local.auto_cdc.visible_changes import check_feed, is_backing_table, read_as_inserts, read_changes
from cdc_local.autoloader.files import is_local_path
from cdc_local.autoloader.plain_files import read_plain_files
from cdc_local.autoloader.plain_reader import read_plain_batch, read_plain_stream
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.expectations import enforce_expectations
from cdc_local.dataflow.graph import Dataset, Expectation, Flow, Graph, Language
from cdc_local.delta.change_feed import CHANGE_COLUMNS, describe_missing_feed, records_changes
from cdc_local.delta.log import find_local_table
from cdc_local.delta.reader import read_visible_part
from cdc_local.delta.table_options import TableOptions
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.source.user_errors import to_pipeline_error
from cdc_local.sql.json_paths import explain_type
from cdc_local.storage import Storage, TableName, is_table, spell_as_known, strip_scheme

# How a view is read, by the language of what reads it, and whether the view is a stream
_VIEW_HINTS: dict[tuple[Language, bool], str] = {
    ("python", True): "read it with spark.readStream",
    ("python", False): "read it with spark.read",
    ("sql", True): "read it as STREAM(view)",
    ("sql", False): "read it without STREAM",
}

_NO_ROWS_YET = (
    "the pipeline's tables have no rows while it is analysed, on Databricks too: "
    "say what the function returns then"
)


def read_stored(
    spark: SparkSession,  # Reads the table
    path: Path,  # Its folder
    streaming: bool = False,  # As a stream of new rows
    options: dict[str, str] | None = None,  # Reader options, such as `skipChangeCommits`
) -> DataFrame:  # Its rows as users see them
    "Read a table of the storage, without what AUTO CDC hides."
    return show_visible_rows(engine_of(spark).read_delta(spark, path, options or {}, streaming), path)


def show_visible_rows(
    frame: DataFrame,  # Rows of a table as they are stored
    path: Path,  # Its folder
) -> DataFrame:  # Rows as users see them
    "Leave out what AUTO CDC hides."
    part = read_visible_part(frame.columns, DeltaTable(str(path)).metadata().configuration)
    if not part.predicate:
        return frame  # its `_metadata` stays at hand
    return select_visible_rows(frame, part)


class Runtime:
    "One update's reads: what names and paths mean in a pipeline's code, and what is known of its flows."

    def __init__(
        self,
        spark: SparkSession,  # Classic Spark with Delta
        graph: Graph,  # The pipeline
        storage: Storage,  # Its tables and volumes
        columns_of: Callable[["Runtime", TableName], StructType],  # Finds the columns of a table of the graph
        keep_schemas: bool = True,  # Whether Auto Loader stores the schemas it infers
    ) -> None:
        self.spark = spark
        self.graph = graph
        self.storage = storage
        self.columns_of = columns_of
        self.keep_schemas = keep_schemas
        self.update_inputs = UpdateInputs()  # what it reads from outside the pipeline
        self.sources: set[str] = set()  # names that the user's code is compiled as
        self.analysing = True  # False once flows run: then tables are read, not stand-ins
        self.analysing_flows: list[Flow] = []  # flows being analysed, outermost first
        self.analysed: dict[str, Evaluation] = {}  # flow name -> what it reads
        self.source_columns: dict[str, StructType] = {}  # flow name -> columns that its query brings
        self.schemas: dict[TableName, StructType] = {}  # table -> its columns
        self.view_reads: dict[TableName, set[TableName]] = {}  # view -> what it reads
        # Flow name -> the latest version that its source of snapshots was asked with, and its answer
        self.snapshot_answers: dict[str, tuple[Any, Any]] = {}
        # What isn't known to be the same on this engine as on Spark -> the flow or dataset that has it
        self.unknown: dict[str, str] = {}
        self.lock = threading.RLock()  # user code runs in one thread at a time

    @cached_property
    def modules(self) -> dict[str, LakeflowModule]:
        "`pyspark.pipelines` and `dlt` as the pipeline's code imports them: they write into the graph."

        def read(name: str) -> DataFrame:
            return self.read_table(name, False)

        def read_stream(name: str) -> DataFrame:
            return self.read_table(name, True)

        reads = {"read": read, "read_stream": read_stream, "readStream": read_stream}
        return {name: LakeflowModule(name, self.graph, reads) for name in ("pyspark.pipelines", "dlt")}

    @cached_property
    def catalog(self) -> PipelineCatalog:
        "What is known of the storage's tables; made when it is asked first, while the pipeline is analysed."
        return PipelineCatalog(self.spark, self.graph, self.storage)

    def note_unknown(
        self,
        name: str,  # A flow or a dataset
        frame: DataFrame,  # Its rows
        rules: Sequence[Expectation] = (),  # What looks at them
    ) -> None:
        "Note what of a query is not known to give the same as on Spark."
        for sentence in engine_of(self.spark).find_unknown(frame, [rule.constraint for rule in rules]):
            self.add_unknown(name, sentence)

    def add_unknown(
        self,
        name: str,  # A flow or a dataset
        sentence: str,  # What is not known to be the same as on Spark
    ) -> None:
        "Note what is not known; `NeedsSparkError` where flows run, and the analysis did not see it."
        if not self.analysing and sentence not in self.unknown:
            raise NeedsSparkError(f"{name}: {sentence}")
        self.unknown.setdefault(sentence, name)

    def read_table(
        self,
        text: str,  # A name as written
        streaming: bool | None,  # Read as a stream; None for a view as it is, and a table as a batch
        options: dict[str, str] | None = None,  # Reader options
    ) -> DataFrame:  # Its rows
        "Read a table or view by name; `PipelineError` if there is none."
        dataset, evaluation = self.graph.find_dataset(text), current_evaluation.get()
        asked = TableOptions.of(options)
        name = self.graph.name(text) if dataset is None else dataset.name
        with evaluating(None):
            if name.schema == INFORMATION_SCHEMA:
                return read_information_schema(self.catalog, name).alias(name.table)
            if dataset is not None:
                if evaluation is not None:
                    evaluation.reads.add(name)
                if dataset.kind == "sink":
                    message = f"{name} is a sink and cannot be read"
                    raise PipelineError(message, hint="read the table that feeds it")
                self._check_feed(dataset, asked)
                if dataset.kind == "view":
                    return self._read_view(dataset, streaming, evaluation)
                if self.analysing:
                    return self._stand_in(name, bool(streaming), evaluation or Evaluation(None), asked)
            path = self.storage.table_path(name)
            if dataset is None and not is_table(path):
                path = self.storage.table_path(spell_as_known(name, self.storage.tables()))
            if dataset is None:
                self.update_inputs.tables.add(path)
            if is_table(path):
                reads_stream = bool(streaming)
                if asked.reads_changes:
                    changes = self._read_changes(path, options or {}, reads_stream, evaluation)
                    return changes.alias(name.table)
                frame = self._read_new_rows(path, options or {}, reads_stream, evaluation)
                if frame is not None:
                    return show_visible_rows(frame, path).alias(name.table)
                if not streaming:
                    options = self._resolve_version(path, options or {})
                return read_stored(self.spark, path, reads_stream, options).alias(name.table)
            if "." not in text and engine_of(self.spark).has_session_table(self.spark, text):
                return self.spark.table(text)
        raise self.catalog.describe_unknown(text)

    @property
    def zone(self) -> str:
        "The time zone of moments that name none."
        return str(self.spark.conf.get("spark.sql.session.timeZone"))

    def _read_new_rows(
        self,
        path: Path,  # A Delta table's folder
        options: dict[str, Any],  # Of its reader
        streaming: bool,  # Read as a stream
        evaluation: Evaluation | None,  # What reads it
    ) -> DataFrame | None:  # None where no batch of new rows is asked for, or only Spark's stream knows them
        "Read what the evaluated flow has not read of a table."
        if not streaming or evaluation is None or evaluation.new_rows is None:
            return None
        return evaluation.new_rows.read_table(path, options)

    def _read_changes(
        self,
        path: Path,  # A Delta table's folder
        options: dict[str, Any],  # Of its reader
        streaming: bool,  # Read as a stream
        evaluation: Evaluation | None,  # What reads it
    ) -> DataFrame:  # Its columns, and what a change feed says of them
        "Read the change feed of a table."
        if not streaming:
            return read_changes(self.spark, path, *TableOptions.of(options).find_range(path, self.zone))
        new_rows = self._read_new_rows(path, options, streaming, evaluation)
        if new_rows is not None:
            return new_rows
        newest = DeltaTable(str(path)).version()
        check_feed(path, newest, newest)
        if self.analysing:
            columns = read_as_inserts(self.spark, path, newest).schema
            return engine_of(self.spark).stand_in_stream(self.spark, columns)
        if is_backing_table(path):
            raise PipelineError(
                f"a stream that keeps state over the change feed of {path.name}, a target of AUTO CDC, "
                "is not supported by the local runner",
                hint="stream the feed into a table, and aggregate that one",
            )
        return engine_of(self.spark).read_delta(self.spark, path, options, streaming)

    def _check_feed(
        self,
        dataset: Dataset,  # What is read
        asked: TableOptions,  # What its reader was told
    ) -> None:
        "`PipelineError` where a feed is asked of what has none."
        if not asked.reads_changes:
            return
        if dataset.kind == "view":
            raise PipelineError(
                f"{dataset.name} is a view, which has no change feed",
                hint="read the feed of a table inside it",
            )
        flows = [flow for flow in self.graph.flows.values() if flow.target == dataset.name]
        if not any(flow.spec is not None for flow in flows) and not records_changes(dataset.table_properties):
            raise describe_missing_feed(str(dataset.name))

    def _resolve_version(
        self,
        path: Path,  # A Delta table's folder
        options: dict[str, Any],  # Of the reader of a batch
    ) -> dict[str, Any]:  # The same, a moment replaced by a version
        "Find which version a batch reads."
        version = TableOptions.of(options).find_as_of(path, self.zone)
        if version is None:
            return options
        others = {name: value for name, value in options.items() if not name.lower().endswith("asof")}
        return others | {"versionAsOf": str(version)}

    def read_files(
        self,
        path: str,  # A path on this machine
        options: dict[str, str],  # Auto Loader's options
        schema: StructType | str | None = None,  # Declared schema
        streaming: bool = True,  # `readStream` or, for SQL's `read_files`, `read`
    ) -> DataFrame:  # Rows as Auto Loader gives them
        "Read files with Auto Loader, schemas kept beside the flow's checkpoint."
        self.update_inputs.add_paths(path)
        evaluation = current_evaluation.get()
        with evaluating(None):
            if not streaming:
                return read_batch(self.spark, path, options, schema, warn=self.graph.warn)
            flow = evaluation.flow if evaluation is not None else None
            folder = None
            if flow is not None and self.keep_schemas:
                folder = self._schema_folder(flow, path)
            new_rows = evaluation.new_rows if evaluation is not None else None
            select_files = partial(new_rows.select_files, path) if new_rows and is_local_path(path) else None
            return read_stream(
                self.spark, path, options, schema, folder, warn=self.graph.warn, select_files=select_files
            )

    def read_plain_source(
        self,
        path: Any,  # A path on this machine; anything else is left to Spark
        file_format: str,  # As the author named it: a format of files, or `delta`
        options: dict[str, Any],  # Of the reader
        schema: StructType | str | None = None,  # Declared schema
        streaming: bool = True,  # `readStream` or `read`
    ) -> DataFrame | None:  # None where the engine's own reader reads
        """Read what Spark's own `readStream` names as a batch of new rows, and change feeds.

        On Sail, check what `read` reads."""
        if file_format.lower() == "delta" and TableOptions.of(options).reads_changes:
            folder = find_local_table(strip_scheme(path)) if isinstance(path, str) else None
            if folder is not None:
                evaluation = current_evaluation.get()
                with evaluating(None):
                    return self._read_changes(folder, options, streaming, evaluation)
        if is_sail(self.spark):
            return self._read_on_sail(path, file_format, options, schema, streaming)
        evaluation = current_evaluation.get()
        new_rows = evaluation.new_rows if streaming and evaluation is not None else None
        if new_rows is None or not isinstance(path, str) or not is_local_path(path):
            return None
        with evaluating(None):
            if file_format.lower() != "delta":
                select_files = partial(new_rows.select_files, path)
                return read_plain_files(self.spark, path, file_format, schema, options, select_files)
            folder = find_local_table(strip_scheme(path))
            return None if folder is None else new_rows.read_table(folder, options)

    def _read_on_sail(
        self,
        path: Any,  # As the author wrote it
        file_format: str,  # As the author named it
        options: dict[str, Any],  # Of the reader
        schema: StructType | str | None,  # Declared schema
        streaming: bool,  # `readStream` or `read`
    ) -> DataFrame | None:  # None where Sail's own reader reads
        "Read a Delta table by its path, or files; `NeedsSparkError` for what only Spark reads."
        folder = None
        if isinstance(path, str) and file_format.lower() == "delta":
            folder = find_local_table(strip_scheme(path))
        evaluation = current_evaluation.get()
        new_rows = evaluation.new_rows if streaming and evaluation is not None else None
        with evaluating(None):
            if folder is None and not streaming:
                return read_plain_batch(self.spark, path, file_format, options, schema)
            if folder is None:
                select_files = partial(new_rows.select_files, path) if new_rows is not None else None
                return read_plain_stream(self.spark, path, file_format, options, schema, select_files)
            frame = new_rows.read_table(folder, options) if new_rows is not None else None
            if frame is not None:
                return frame
            return engine_of(self.spark).read_delta(self.spark, folder, options, streaming)

    def _schema_folder(
        self,
        flow: Flow,  # A flow that reads files
        path: str,  # What it reads
    ) -> Path:  # Where Auto Loader keeps the columns that it infers
        "Find the folder of an inferred schema; its name stays when the storage is moved."
        schemas = self.storage.flow_path(flow.target, flow.name) / "schemas"
        folder, of_format_1 = (
            schemas / autoloader_key(name) for name in (self.storage.relative_path(path), path)
        )
        if of_format_1.exists() and not folder.exists():
            of_format_1.rename(folder)
        return folder

    def _read_view(
        self,
        dataset: Dataset,  # The view
        streaming: bool | None,  # Read as a stream; None for as it is
        evaluation: Evaluation | None,  # What reads it
    ) -> DataFrame:  # Its rows
        "Evaluate a view where it is read."
        evaluation = evaluation or Evaluation(None)
        if dataset.name in evaluation.views:
            raise describe_cycle([*map(str, evaluation.views), str(dataset.name)], dataset)
        language = self._language_of_reader(evaluation)
        evaluation.views.append(dataset.name)
        flow = evaluation.flow or Flow(str(dataset.name), dataset.name, "view", language=dataset.language)
        frame = evaluate(self, replace(evaluation, flow=flow), dataset)
        evaluation.views.pop()
        if streaming not in (None, frame.isStreaming) and evaluation.new_rows is None:
            message = f"view {dataset.name} is {'a stream' if frame.isStreaming else 'a batch'}"
            raise PipelineError(message, dataset.location, _VIEW_HINTS[language, frame.isStreaming])
        return with_expectations(dataset, frame, evaluation).alias(dataset.name.table)

    def _stand_in(
        self,
        name: TableName,  # A table of the graph, which may not be there yet
        streaming: bool,  # Read as a stream
        evaluation: Evaluation,  # What reads it
        asked: TableOptions,  # What its reader was told
    ) -> DataFrame:  # No rows
        "A frame with a table's columns, while flows are analysed; `PipelineError` for a stream of a view."
        columns = self.columns_of(self, name)
        if asked.reads_changes:
            columns = StructType([*columns, *CHANGE_COLUMNS])
        if is_sail(self.spark) and "_metadata" in columns.names:
            raise NeedsSparkError(f"{name} has a column _metadata, which is a hidden one otherwise")
        frame = empty_frame(self.spark, columns, streaming).alias(name.table)
        if not streaming or self.graph.datasets[name].kind != "materialized_view":
            return frame
        language = self._language_of_reader(evaluation)
        reading = "without STREAM" if language == "sql" else "with spark.read"
        raise PipelineError(
            f"{name} is a materialized view, which is computed anew and cannot be streamed from",
            hint=f"read it {reading}, or declare it as a streaming table",
        )

    def _language_of_reader(
        self,
        evaluation: Evaluation,  # What is evaluated
    ) -> Language:
        "The language of what reads: the innermost view that is evaluated, or the flow."
        if evaluation.views:
            return self.graph.datasets[evaluation.views[-1]].language
        return evaluation.flow.language if evaluation.flow is not None else "python"


def checkpoint_path(
    runtime: Runtime,  # The update
    flow: Flow,  # A streaming flow
) -> Path:  # The checkpoint of its stream
    "Where a stream keeps how far it is."
    return runtime.storage.flow_path(flow.target, flow.name) / "checkpoint"


def empty_frame(
    spark: SparkSession,  # Makes the frame
    schema: StructType,  # Its columns
    streaming: bool,  # Whether it is a stream
) -> DataFrame:  # No rows
    "An empty frame that has a table's columns, for a table that is not there yet."
    if not streaming:
        return spark.createDataFrame([], schema)
    return engine_of(spark).stand_in_stream(spark, schema)


def with_expectations(
    dataset: Dataset,  # With its rules
    frame: DataFrame,  # Its rows
    evaluation: Evaluation,  # Takes the counters
) -> DataFrame:  # The rows its rules let pass
    "Apply a dataset's rules and remember where they are counted."
    if dataset.kind == "view" and not dataset.expectations:
        return frame
    name = f"expectations of {dataset.name}"
    engine = engine_of(frame.sparkSession)
    is_spark_stream = frame.isStreaming and engine.name == "spark"
    observation = name if is_spark_stream else engine.new_observation(name)
    evaluation.observed[dataset.name] = observation
    evaluation.rules[dataset.name] = dataset.expectations
    return enforce_expectations(frame, dataset.expectations, observation)


def describe_cycle(
    names: list[str],  # Datasets in the order they read each other, the first again last
    item: Dataset | Flow,  # Where it was noticed
) -> PipelineError:
    "Describe a cycle."
    circle = names[names.index(names[-1]) :]
    message = f"a cycle: {' reads '.join(circle)}"
    return PipelineError(message, item.location, "no dataset may depend on itself")


def evaluate(
    runtime: Runtime,  # The update
    evaluation: Evaluation,  # Takes the reads
    item: Dataset | Flow,  # A dataset or flow that has a query
) -> DataFrame:  # What it returned
    "Call a dataset function as Lakeflow would; `PipelineError` if it fails or returns no frame."
    if item.query is None:
        raise TypeError(f"{item.name} has no query to evaluate")
    try:
        with (
            keep_expression_views(runtime.spark, evaluation),
            evaluating(evaluation),
            runtime.graph.within(item.scope),
        ):
            frame = item.query()
            if isinstance(frame, DataFrame):
                _ = frame.schema  # Sail looks at a text of SQL no earlier than it is asked
    except Exception as error:
        wrong = to_pipeline_error(error, runtime.sources)
        wrong.location = wrong.location or item.location
        wrong.query, wrong.query_location = wrong.query or str(item.name), item.location
        wrong.hint = explain_type(error) or wrong.hint
        if runtime.analysing and evaluation.actions and not isinstance(error, PipelineError):
            wrong.hint = wrong.hint or _NO_ROWS_YET
        raise wrong from None
    if isinstance(frame, DataFrame):
        return frame
    raise PipelineError(
        f"the dataset function of {item.name} returned {type(frame).__name__}, not a DataFrame",
        item.location,
        "return spark.read… or spark.readStream…",
    )


def autoloader_key(
    path: str,  # What a stream reads
) -> str:  # A folder name
    "A short, stable name for a path."
    return sha256(path.encode()).hexdigest()[:12]
