"""What a pipeline's own code sees: a `spark` whose tables are the pipeline's, whose paths are the volumes', and which refuses what Lakeflow refuses."""

import difflib
import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, Observation, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation, current_evaluation, evaluating
from cdc_local.autoloader import read_batch, read_stream
from cdc_local.dataflow.expectations import enforce_expectations
from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.delta.reader import read_visible_part
from cdc_local.delta.stream_progress import choose_starting_options
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import user_error
from cdc_local.storage import Storage, TableName, is_table


def read_stored(
    spark: SparkSession,  # Reads the table
    path: Path,  # Its folder
    streaming: bool = False,  # As a stream of new rows
    options: dict[str, str] = None,  # Reader options, such as `skipChangeCommits`
) -> DataFrame:  # Its rows as users see them
    "Read a table of the storage, without what AUTO CDC hides."
    from deltalake import DeltaTable

    reader = (spark.readStream if streaming else spark.read).format("delta").options(**(options or {}))
    frame = reader.load(str(path))
    part = read_visible_part(frame.columns, DeltaTable(str(path)).metadata().configuration)
    if not part.predicate:
        return frame  # its `_metadata` stays at hand

    def column(name):
        return F.col(f"`{name}`") if name not in part.latest else F.col(f"__latest.`{name}`").alias(name)

    return frame.where(part.predicate).select(*map(column, part.columns))


class Runtime:
    "Stands between a pipeline's code and Spark for one update."

    def __init__(
        self,
        spark: SparkSession,  # Classic Spark with Delta
        graph: Graph,  # The pipeline
        storage: Storage,  # Its tables and volumes
        columns_of: Callable[
            ["Runtime", TableName], StructType
        ],  # Finds the columns of a table of the graph, while flows are analysed
        keep_schemas: bool = True,  # Whether Auto Loader stores the schemas it infers
    ):
        self.spark, self.graph, self.storage, self.columns_of, self.keep_schemas = (
            spark,
            graph,
            storage,
            columns_of,
            keep_schemas,
        )
        self.read_name = partial(
            read_name, self
        )  # reads a table or view; who wants to see what is read puts another one here
        self.load_files = partial(load_files, self)  # reads files, likewise
        self.sources: set[str] = set()  # names that the user's code is compiled as
        self.schemas: dict[TableName, StructType] = {}  # known schemas, while flows are analysed
        self.source_columns: dict[str, StructType] = {}  # flow name -> columns that its query brings
        self.analysed: dict[str, Evaluation] = {}  # flow name -> what it reads
        self.viewed: dict[TableName, set] = {}  # view -> what it reads
        self.running: list[Flow] = []  # flows being analysed, outermost first
        self.answers: dict[
            str, tuple
        ] = {}  # flow name -> latest version, what its source of snapshots answered
        self.analysing, self.lock, self.views = True, threading.RLock(), 0


def checkpoint_path(
    runtime: Runtime,  # The update
    flow: Flow,  # A streaming flow
) -> Path:  # The checkpoint of its stream
    "Where a stream keeps how far it is."
    return runtime.storage.flow_path(flow.target, flow.name) / "checkpoint"


def read_name(
    runtime: Runtime,  # The update
    text: str,  # A name as written
    streaming: bool,  # Read as a stream
    options: dict[str, str] = None,  # Reader options
) -> DataFrame:  # Its rows
    "Read a table or view by name; `PipelineError` if there is none."
    spark, graph, name = runtime.spark, runtime.graph, runtime.graph.name(text)
    evaluation, dataset = current_evaluation.get(), runtime.graph.datasets.get(name)
    with evaluating(None):
        if dataset is not None:
            if evaluation is not None:
                evaluation.reads.add(name)
            if dataset.kind == "sink":
                raise PipelineError(
                    f"{name} is a sink and cannot be read", hint="read the table that feeds it"
                )
            if dataset.kind == "view":
                return read_view(runtime, dataset, streaming, evaluation)
            if runtime.analysing:
                frame = stand_in(spark, runtime.columns_of(runtime, name), streaming).alias(name.table)
                if not streaming or graph.datasets[name].kind != "materialized_view":
                    return frame
                raise PipelineError(
                    f"{name} is a materialized view, which is computed anew and cannot be streamed from",
                    hint="read it with spark.read, or declare it as a streaming table",
                )
        path = runtime.storage.table_path(name)
        if is_table(path):
            if streaming and evaluation is not None and evaluation.flow is not None:
                options = choose_starting_options(path, checkpoint_path(runtime, evaluation.flow), options)
            return read_stored(spark, path, streaming, options).alias(name.table)
        if "." not in text and spark._jsparkSession.catalog().tableExists(text):
            return spark.table(text)
    known = [str(each) for each in (*graph.datasets, *runtime.storage.tables())]
    near = difflib.get_close_matches(str(name), known, 1)
    raise PipelineError(
        f"table {text} is neither in this pipeline nor in the storage {runtime.storage.root}",
        hint=f"did you mean {near[0]}?"
        if near
        else "declare it, or run the pipeline that makes it on the same --storage",
    )


def stand_in(
    spark: SparkSession,  # Makes the frame
    schema: StructType,  # Its columns
    streaming: bool,  # Whether it is a stream
) -> DataFrame:  # No rows
    "An empty frame that has a table's columns, for a table that is not there yet."
    if not streaming:
        return spark.createDataFrame([], schema)
    ticks = spark.readStream.format("rate").load().where("false")
    return ticks.select(*[F.lit(None).cast(column.dataType).alias(column.name) for column in schema])


def read_view(
    runtime: Runtime,  # The update
    dataset: Dataset,  # The view
    streaming: bool,  # Read as a stream
    evaluation: Evaluation | None,  # What reads it
) -> DataFrame:  # Its rows
    "Evaluate a view where it is read."
    evaluation = evaluation or Evaluation(None)
    if dataset.name in evaluation.views:
        raise describe_cycle([*map(str, evaluation.views), str(dataset.name)], dataset)
    evaluation.views.append(dataset.name)
    frame = evaluate(
        runtime,
        dataset.query,
        replace(evaluation, flow=evaluation.flow or Flow(str(dataset.name), dataset.name, "view")),
        dataset,
    )
    evaluation.views.pop()
    if frame.isStreaming != streaming:
        was, asked = ("a stream", "spark.readStream") if frame.isStreaming else ("a batch", "spark.read")
        raise PipelineError(f"view {dataset.name} is {was}", dataset.location, f"read it with {asked}")
    return with_expectations(dataset, frame, evaluation).alias(dataset.name.table)


def with_expectations(
    dataset: Dataset,  # With its rules
    frame: DataFrame,  # Its rows
    evaluation: Evaluation,  # Takes the counters
) -> DataFrame:  # The rows its rules let pass
    "Apply a dataset's rules and remember where they are counted."
    if dataset.kind == "view" and not dataset.expectations:
        return frame
    name = f"expectations of {dataset.name}"
    evaluation.observed[dataset.name] = observation = name if frame.isStreaming else Observation(name)
    return enforce_expectations(frame, dataset.expectations, observation)


def describe_cycle(
    names: list[str],  # Datasets in the order they read each other, the first again last
    item: Dataset | Flow,  # Where it was noticed
) -> PipelineError:
    "Describe a cycle."
    return PipelineError(
        f"a cycle: {' reads '.join(names[names.index(names[-1]) :])}",
        item.location,
        "no dataset may depend on itself",
    )


def evaluate(
    runtime: Runtime,  # The update
    query: Callable,  # A dataset function
    evaluation: Evaluation,  # Takes the reads
    item: Dataset | Flow,  # The dataset or flow that has the query
) -> DataFrame:  # What it returned
    "Call a dataset function as Lakeflow would; `PipelineError` if it returns no frame."
    try:
        with evaluating(evaluation), runtime.graph.within(item.scope):
            frame = query()
    except Exception as error:
        wrong = user_error(error, runtime.sources)
        wrong.location = wrong.location or item.location
        raise wrong from None
    if isinstance(frame, DataFrame):
        return frame
    raise PipelineError(
        f"the dataset function of {item.name} returned {type(frame).__name__}, not a DataFrame",
        item.location,
        "return spark.read… or spark.readStream…",
    )


def load_files(
    runtime: Runtime,  # The update
    path: str,  # A path on this machine
    options: dict[str, str],  # Auto Loader's options
    schema: Any = None,  # Declared schema
    streaming: bool = True,  # `readStream` or, for SQL's `read_files`, `read`
) -> DataFrame:  # Rows as Auto Loader gives them
    "Read files with Auto Loader, schemas kept beside the flow's checkpoint."
    evaluation = current_evaluation.get()
    with evaluating(None):
        if not streaming:
            return read_batch(runtime.spark, path, options, schema, warn=runtime.graph.warn)
        flow = evaluation.flow if evaluation else None
        folder = (
            runtime.storage.flow_path(flow.target, flow.name) / "schemas" / autoloader_key(path)
            if flow and runtime.keep_schemas
            else None
        )
        return read_stream(runtime.spark, path, options, schema, folder, warn=runtime.graph.warn)


def autoloader_key(
    path: str,  # What a stream reads
) -> str:  # A folder name
    "A short, stable name for a path."
    from hashlib import sha256

    return sha256(path.encode()).hexdigest()[:12]
