"""What a pipeline reads and declares, found away from its data: the inputs that a feed can be made for."""

import re
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import evaluated_flow
from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema
from cdc_local.analysis.runtime import Runtime
from cdc_local.autoloader.options import option_key
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import UsageError
from cdc_local.source.files import discover_sources, read_source
from cdc_local.source.user_errors import find_user_location
from cdc_local.storage import Storage, TableName, is_table
from cdc_local.update.request import UpdateRequest, update_session
from cdc_local.update.source_environment import declare_sources, source_environment


@dataclass(frozen=True)
class Input:
    "A folder or a table that the pipeline's events come from."

    location: str  # Folder below the storage, or a table's full name
    file_format: str  # 'json', 'csv', or 'table'
    schema: StructType  # Its columns
    options: tuple[tuple[str, str], ...] = ()  # Auto Loader's options, as pairs


class Survey(NamedTuple):
    "What a pipeline reads and declares."

    graph: Graph  # Its datasets and flows
    inputs: dict[str, list[Input]]  # Flow name -> inputs that its stream reads itself
    reads: dict[str, set[TableName]]  # Flow name -> tables and views it reads
    columns: dict[str, StructType]  # Flow name -> columns that its query returns
    tables: dict[
        TableName, Path
    ]  # Tables of the user's storage that are copied with their rows -> their folders


def survey_pipeline(
    request: UpdateRequest,  # The pipeline, and the user's storage
    folder: Path,  # An empty folder
) -> Survey:
    """Declare and analyse a pipeline away from its data; `UsageError` names an input that no feed can be made
    for."""
    sources = [read_source(path) for path in discover_sources(list(request.sources))]
    storage = Storage(folder).create()
    with ExitStack() as stack:
        spark = stack.enter_context(update_session(replace(request, dry_run=True)))
        graph = Graph(request.catalog, request.schema)
        runtime = _SurveyingRuntime(spark, graph, storage, Storage(request.storage))
        graph.locate = lambda: find_user_location(runtime.sources)
        stack.enter_context(source_environment(request, runtime))
        declare_sources(request, runtime, sources)
        analyse_pipeline(runtime)
    reads = {name: evaluation.reads for name, evaluation in runtime.analysed.items()}
    return Survey(graph, dict(runtime.inputs), reads, dict(runtime.source_columns), runtime.tables)


def flows_behind(
    survey: Survey,  # The pipeline
    flow: str,  # One of its flows
) -> list[str]:  # It and every flow that its rows pass through
    "Find the flows behind a flow, views included."
    names = [flow]
    for name in names:
        names += [
            source.name
            for source in survey.graph.flows.values()
            if source.target in survey.reads.get(name, ()) and source.name not in names
        ]
    return names


def folder_input(
    storage: Storage,  # Storage of the analysis
    path: str,  # What the pipeline reads, on this machine
    options: dict[str, Any],  # Auto Loader's options
    schema: StructType | str | None,  # Declared schema
) -> Input:
    "Describe a folder that a flow reads; `UsageError` for one that no feed can be made for."
    known = {option_key(name): str(value) for name, value in options.items()}
    folder, file_format = Path(path), known.get("format", "json").lower()
    if not folder.is_relative_to(storage.root) or re.search(r"[*?{\[]", str(path)):
        raise UsageError(
            f"no feed can be made for {path}: it is no folder of a volume",
            hint="let the pipeline read from /Volumes/…",
        )
    location = str(folder.relative_to(storage.root))
    if schema is None:
        raise UsageError(
            f"no feed can be made for /{location}: its schema is inferred, "
            "so the tables depend on the batches",
            hint="declare it with .schema(…)",
        )
    if file_format not in ("json", "csv"):
        raise UsageError(
            f"no feed can be made for /{location}: its format is {file_format}",
            hint="the formats are json and csv",
        )
    columns = schema if isinstance(schema, StructType) else cast(StructType, StructType.fromDDL(schema))
    return Input(location, file_format, columns, tuple(known.items()))


class _SurveyingRuntime(Runtime):
    "Records what the flows of a pipeline read while they are analysed."

    def __init__(
        self,
        spark: SparkSession,  # Classic Spark with Delta
        graph: Graph,  # The pipeline
        storage: Storage,  # Storage of the analysis, empty
        stored: Storage,  # The user's storage
    ) -> None:
        super().__init__(spark, graph, storage, table_schema, keep_schemas=False)
        self.stored = stored
        self.inputs: dict[str, list[Input]] = defaultdict(list)  # flow name -> what its stream reads itself
        self.tables: dict[TableName, Path] = {}  # tables of the user's storage that are copied with all rows

    def read_files(
        self,
        path: str,  # A path on this machine
        options: dict[str, str],  # Auto Loader's options
        schema: StructType | str | None = None,  # Declared schema
        streaming: bool = True,  # `readStream` or, for SQL's `read_files`, `read`
    ) -> DataFrame:
        "Read files, and record their folder; `UsageError` for one that no feed can be made for."
        found = folder_input(self.storage, path, options, schema)
        Path(path).mkdir(parents=True, exist_ok=True)
        if streaming and found not in self._flow_inputs():
            self._flow_inputs().append(found)
        return super().read_files(path, options, schema, streaming)

    def read_table(
        self,
        text: str,  # A name as written
        streaming: bool | None,  # Read as a stream; None for a view as it is, and a table as a batch
        options: dict[str, str] | None = None,  # Reader options
    ) -> DataFrame:
        "Read a table; of one of the user's storage, record it and read its columns alone."
        from deltalake import DeltaTable

        name = self.graph.name(text)
        path, empty = self.stored.table_path(name), self.storage.table_path(name)
        if self.graph.find_dataset(text) is None and is_table(path):
            if not empty.exists():
                DeltaTable.create(str(empty), DeltaTable(str(path)).schema())
            if streaming:
                schema = self.spark.read.format("delta").load(str(path)).schema
                self._flow_inputs().append(Input(str(name), "table", schema))
            else:
                self.tables[name] = path
        return super().read_table(text, streaming, options)

    def _flow_inputs(self) -> list[Input]:  # Empty and of no use outside a flow
        "The inputs of the flow that is being analysed."
        flow = evaluated_flow()
        return self.inputs[flow.name] if flow is not None else []
