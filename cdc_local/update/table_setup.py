"""Tables are checked, emptied and created before the first flow runs."""

import shutil
import threading
from collections.abc import Iterator

from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession
from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from cdc_local.analysis.runtime import Runtime
from cdc_local.auto_cdc.target import Target, create_backing_table
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.delta.log import read_nullable_schema
from cdc_local.delta.writer import create_table
from cdc_local.engines.spark.catalyst import can_upcast
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import Storage, TableName, clear_unfinished, is_table, read_json, write_json
from cdc_local.update.event_log import EventLog
from cdc_local.update.streams import Run
from cdc_utils import scd2


def reset_tables(
    storage: Storage,  # Where the tables lie
    tables: set[TableName],  # Tables to empty
) -> None:
    "Remove tables with their checkpoints, and finish what an earlier update began."
    intention = storage.state_path / "reset.json"
    begun = [TableName(*parts) for parts in read_json(intention) or []]
    names = sorted({*begun, *tables})
    if not names:
        return
    write_json(intention, [[name.catalog, name.schema, name.table] for name in names])
    for name in names:
        for folder in (
            storage.root / "checkpoints" / name.catalog / name.schema / name.table,
            storage.table_path(name),
        ):
            if folder.exists():
                shutil.rmtree(
                    folder
                )  # what cannot be removed must stop the update, with the intention still there
    intention.unlink()


def create_target_table(
    runtime: Runtime,  # Analysed
    dataset: Dataset,  # A streaming table or materialized view
    flow: Flow,  # One of its flows
) -> None:
    "Create a table that is missing, so that its readers find it even when it stays empty."
    spark, path = runtime.spark, runtime.storage.table_path(dataset.name)
    if flow.kind in ("auto_cdc", "snapshot"):
        columns = runtime.source_columns[flow.name]
        return create_backing_table(
            spark, path, Target.of(flow, columns), columns, dataset.comment, dataset.table_properties
        )
    if is_table(path):
        return
    clear_unfinished(path)
    try:
        create_table(
            spark,
            path,
            runtime.schemas[dataset.name],
            dataset.comment,
            dataset.table_properties,
            dataset.partition_cols,
            dataset.cluster_by,
        )
    except AnalysisException as wrong:
        raise PipelineError(f"{dataset.name}: {describe_exception(wrong)}", dataset.location) from None


def narrowing_columns(
    spark: SparkSession,  # Knows Spark's rule
    stored: DataType,  # Columns of a stored table, or the type of one
    now: DataType,  # Columns of its new rows, or the type of one
    name: str = "",  # The column, where it is one
) -> Iterator[tuple[str, DataType, DataType]]:  # Column, its stored type, its new one
    "Columns whose new values the stored ones cannot hold; a column that is new is no matter."
    if isinstance(stored, StructType) and isinstance(now, StructType):
        known = {field.name.lower(): field for field in stored}
        for field in now:
            if field.name.lower() in known:
                yield from narrowing_columns(
                    spark,
                    known[field.name.lower()].dataType,
                    field.dataType,
                    f"{name}.{field.name}".lstrip("."),
                )
    elif isinstance(stored, ArrayType) and isinstance(now, ArrayType):
        yield from narrowing_columns(spark, stored.elementType, now.elementType, name)
    elif isinstance(stored, MapType) and isinstance(now, MapType):
        yield from narrowing_columns(spark, stored.keyType, now.keyType, name)
        yield from narrowing_columns(spark, stored.valueType, now.valueType, name)
    elif not can_upcast(spark, stored, now):
        yield name, stored, now


def refuse_narrowing(
    runtime: Runtime,  # Analysed
    kept: set[TableName],  # Tables that are continued
) -> None:
    "`PipelineError` where stored tables cannot hold what their flows bring now; a table with `delta.enableTypeWidening` is left to Delta."
    from deltalake import DeltaTable as Files

    wrong, first = {}, None
    for flow in runtime.graph.flows.values():
        dataset, path = runtime.graph.datasets[flow.target], runtime.storage.table_path(flow.target)
        if flow.target not in kept or dataset.kind != "streaming_table" or not is_table(path):
            continue
        table, now = (
            Files(str(path)),
            runtime.source_columns[flow.name] if flow.kind == "append" else runtime.schemas[flow.target],
        )
        if table.metadata().configuration.get("delta.enableTypeWidening") == "true":
            continue
        for name, was, new in narrowing_columns(runtime.spark, read_nullable_schema(table), now):
            if name.partition(".")[0] in (scd2.START_AT, scd2.END_AT):
                continue  # another sequence is refused as such
            wrong.setdefault(flow.target.table, []).append(
                f"{flow.target.table}.{name} is {new.simpleString()} now and {was.simpleString()} in the stored table"
            )
            first = first or dataset.location
    if wrong:
        raise PipelineError(
            f"{'; '.join(each for told in wrong.values() for each in told)}: values would be changed",
            first,
            hint=f"rebuild: cdc run … --full-refresh {','.join(wrong)}",
        )


def set_up_tables(
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes the events
    chosen: set[TableName],  # Tables to run
    emptied: set[TableName],  # Tables to empty first
) -> Run:
    "Check the declarations against the stored tables, empty what is to be emptied, create what is missing."
    graph, storage = runtime.graph, runtime.storage
    refuse_narrowing(runtime, chosen - emptied)
    for name in sorted(emptied):
        log.record("user_action", f"{name} is emptied for a full refresh.", dataset_name=str(name))
    reset_tables(storage, emptied)
    for text in graph.warnings:
        log.record("update_progress", text, "WARN")

    def stored(flow):
        return is_table(storage.table_path(flow.target))

    for flow in sorted(
        graph.flows.values(), key=lambda flow: not stored(flow)
    ):  # a table that cannot be continued is refused before one is made
        log.record(
            "flow_definition",
            f"Flow {flow.name} defined as {flow.kind}.",
            flow_name=flow.name,
            dataset_name=str(flow.target),
            details={
                "flow_definition": {
                    "output_dataset": str(flow.target),
                    "input_datasets": sorted(map(str, runtime.analysed[flow.name].reads)),
                }
            },
        )
        if flow.target in chosen and graph.datasets[flow.target].kind != "sink":
            create_target_table(runtime, graph.datasets[flow.target], flow)
    runtime.analysing = False
    return Run(runtime, log, {flow.target: threading.Lock() for flow in graph.flows.values()})
