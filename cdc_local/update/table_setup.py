"""Tables are checked, emptied and created before the first flow runs."""

import shutil
import threading
from collections.abc import Iterator

from pyspark.sql.types import ArrayType, DataType, MapType, StructType

from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.log import read_nullable_schema
from cdc_local.engines.upcast import can_upcast
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName, is_table, read_json, write_json
from cdc_local.update.event_log import EventLog
from cdc_local.update.flow_definition import describe_definition
from cdc_local.update.strategies import choose_strategy
from cdc_local.update.streams import Run
from cdc_utils.events import RESERVED


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
        checkpoints = storage.root / "checkpoints" / name.catalog / name.schema / name.table
        for folder in (checkpoints, storage.table_path(name)):
            if folder.exists():
                shutil.rmtree(folder)  # what cannot be removed must stop the update, with the intention there
    intention.unlink()


def narrowing_columns(
    stored: DataType,  # Columns of a stored table, or the type of one
    now: DataType,  # Columns of its new rows, or the type of one
    name: str = "",  # The column, where it is one
) -> Iterator[tuple[str, DataType, DataType]]:  # Column, its stored type, its new one
    "Find the columns whose new values a stored table cannot keep; a column that is new does not matter."
    if isinstance(stored, StructType) and isinstance(now, StructType):
        known = {field.name.lower(): field.dataType for field in stored}
        for field in now:
            if field.name.lower() in known:
                inner = f"{name}.{field.name}".lstrip(".")
                yield from narrowing_columns(known[field.name.lower()], field.dataType, inner)
    elif isinstance(stored, ArrayType) and isinstance(now, ArrayType):
        yield from narrowing_columns(stored.elementType, now.elementType, name)
    elif isinstance(stored, MapType) and isinstance(now, MapType):
        yield from narrowing_columns(stored.keyType, now.keyType, name)
        yield from narrowing_columns(stored.valueType, now.valueType, name)
    elif not can_upcast(stored, now):
        yield name, stored, now


def _describe_narrowing(
    runtime: Runtime,  # Analysed
    flow: Flow,  # A flow into a streaming table that is stored
) -> list[str]:  # One sentence a column
    "Say which columns of a stored table cannot keep what a flow brings now; type widening is left to Delta."
    from deltalake import DeltaTable

    table = DeltaTable(str(runtime.storage.table_path(flow.target)))
    if table.metadata().configuration.get("delta.enableTypeWidening") == "true":
        return []
    strategy = choose_strategy(flow, runtime.graph.datasets[flow.target])
    incoming = strategy.incoming_columns(runtime, flow)
    return [
        f"{flow.target.table}.{name} is {new.simpleString()} now "
        f"and {stored.simpleString()} in the stored table"
        for name, stored, new in narrowing_columns(read_nullable_schema(table), incoming)
        if name.partition(".")[0] not in RESERVED  # another sequence is refused as such
    ]


def _refuse_narrowing(
    runtime: Runtime,  # Analysed
    continued: set[TableName],  # Tables whose rows stay
) -> None:
    "`PipelineError` where stored tables cannot keep what their flows bring now."
    found: dict[str, list[str]] = {}
    first = None
    for flow in runtime.graph.flows.values():
        dataset = runtime.graph.datasets[flow.target]
        if flow.target not in continued or dataset.kind != "streaming_table":
            continue
        if not is_table(runtime.storage.table_path(flow.target)):
            continue
        if sentences := _describe_narrowing(runtime, flow):
            found.setdefault(flow.target.table, []).extend(sentences)
            first = first or dataset.location
    if found:
        raise PipelineError(
            f"{'; '.join(sentence for sentences in found.values() for sentence in sentences)}: "
            "values would be changed",
            first,
            hint=f"rebuild: cdc run … --full-refresh {','.join(found)}",
        )


def _log_flow_definition(
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes the event
    flow: Flow,  # One of its flows
) -> None:
    "Record what a flow is: its kind, its target, what it reads."
    log.record(
        "flow_definition",
        f"Flow {flow.name} defined as {flow.kind}.",
        flow_name=flow.name,
        dataset_name=str(flow.target),
        details={"flow_definition": describe_definition(runtime, flow)},
    )


def log_definitions(
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes the events
) -> None:
    "Record what is declared without doing it: warnings, and what each flow is."
    for text in runtime.graph.warnings:
        log.record("update_progress", text, "WARN")
    for flow in runtime.graph.flows.values():
        _log_flow_definition(runtime, log, flow)


def set_up_tables(
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes the events
    chosen: set[TableName],  # Tables to run
    emptied: set[TableName],  # Tables to empty first
) -> Run:  # The update, ready to run its flows
    "Check the declarations against the stored tables, empty what is to be emptied, create what is missing."
    graph, storage = runtime.graph, runtime.storage
    _refuse_narrowing(runtime, chosen - emptied)
    for name in sorted(emptied):
        log.record("user_action", f"{name} is emptied for a full refresh.", dataset_name=str(name))
    reset_tables(storage, emptied)
    for text in graph.warnings:
        log.record("update_progress", text, "WARN")
    # Stored tables come first: one that cannot be continued is refused before another is made
    for flow in sorted(graph.flows.values(), key=lambda flow: not is_table(storage.table_path(flow.target))):
        _log_flow_definition(runtime, log, flow)
        dataset = graph.datasets[flow.target]
        if flow.target in chosen and dataset.kind != "sink":
            choose_strategy(flow, dataset).create_target(runtime, dataset, flow)
    runtime.analysing = False
    return Run(runtime, log, {flow.target: threading.Lock() for flow in graph.flows.values()})
