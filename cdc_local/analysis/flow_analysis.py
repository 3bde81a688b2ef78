"""What a flow reads and brings, found without data."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from pyspark.errors import AnalysisException, PySparkException
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import DataType, StructType

from cdc_local.analysis.evaluation import Evaluation, NewRowsReader, evaluating
from cdc_local.analysis.replaced_rows import check_keys_and_sequence, restrict_to_range
from cdc_local.analysis.runtime import Runtime, describe_cycle, evaluate
from cdc_local.analysis.snapshot_source import order_among_changes, snapshot_columns
from cdc_local.auto_cdc.target import Target, compute_from_changes, extract_events, find_visible_schema
from cdc_local.dataflow.graph import Dataset, Flow, Graph, settle_kind
from cdc_local.dataflow.table_schema import (
    TableSchema,
    complete_rows,
    missing_columns,
    with_declared_rules,
)
from cdc_local.engines.engine import engine_of, is_sail
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.source.user_errors import describe_exception
from cdc_local.sql.columns import declared_schema, read_schema_text
from cdc_local.sql.lexer import has_subquery
from cdc_local.storage import TableName
from cdc_utils.events import SEQUENCE


def flow_frame(
    runtime: Runtime,  # The update
    flow: Flow,  # The flow
    new_rows: NewRowsReader | None = None,  # Reads streaming sources as batches of their new rows
) -> tuple[DataFrame, Evaluation]:  # The rows it brings, before rules; what it read
    "Evaluate a flow: its query, or for AUTO CDC its source; of one from snapshots, its columns alone."
    evaluation = Evaluation(flow, new_rows=new_rows)
    if flow.is_from_snapshots:
        frame = snapshot_columns(runtime, flow, evaluation)
        if flow.is_beside_events:
            frame = order_among_changes(flow, frame, _sequence_beside(runtime, flow))
        return frame, evaluation
    with runtime.lock:
        if flow.query is not None:
            frame = evaluate(runtime, evaluation, flow)
            if flow.kind == "replace_where" and not frame.isStreaming:
                frame = restrict_to_range(flow, frame)
        else:
            with evaluating(evaluation), runtime.graph.within(flow.scope):
                streaming = None if flow.once else True  # a backfill may read a stream, once
                frame = runtime.read_table(flow.cdc_spec.source, streaming)
        if evaluation.actions and not runtime.analysing:
            _check_as_analysed(runtime, flow, frame, evaluation)
        return frame, evaluation


def _sequence_beside(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots, beside flows of changes
) -> DataType:
    "The type of the sequence that orders the changes of its target."
    flows = [other for other in runtime.graph.flows.values() if other.target == flow.target]
    changes = next(other for other in flows if other.kind == "auto_cdc")
    analyse_flow(runtime, changes)
    columns = runtime.source_columns[changes.name]
    events = extract_events(runtime.spark.createDataFrame([], columns), Target.of(changes, columns))
    return events.schema[SEQUENCE].dataType


def _check_as_analysed(
    runtime: Runtime,  # Analysed
    flow: Flow,  # A flow in whose functions actions ran
    frame: DataFrame,  # What it brings now that its tables have rows
    evaluation: Evaluation,  # What it has read
) -> None:
    "`PipelineError` where rows have changed what a flow reads or the columns that it brings."
    actions = " and ".join(f"{name}()" for name in sorted(evaluation.actions))
    first = runtime.analysed[flow.name]
    if more := sorted((evaluation.reads - first.reads) & runtime.graph.datasets.keys()):
        raise PipelineError(
            f"flow {flow.name} reads {more[0]} after {actions}, and did not while it was analysed, where "
            "tables have no rows: nothing says that it is up to date",
            flow.location,
            "read it before, or in either case",
        )
    before, now = (
        ", ".join(f"{field.name} {field.dataType.simpleString()}" for field in schema)
        for schema in (runtime.source_columns[flow.name], frame.schema)
    )
    if before != now:
        raise PipelineError(
            f"flow {flow.name} has other columns after {actions} than while it was analysed, where "
            f"tables have no rows: {now}; it had {before}",
            flow.location,
            "return the same columns whatever the rows are",
        )
    runtime.note_unknown(flow.name, frame)


def analyse_flow(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow of its graph
) -> Evaluation:  # What it reads
    "Evaluate a flow without data: its reads, its kind, its columns; `PipelineError` for a mistake in it."
    if flow.name in runtime.analysed:
        return runtime.analysed[flow.name]
    if flow in runtime.analysing_flows:
        names = [str(outer.target) for outer in runtime.analysing_flows] + [str(flow.target)]
        raise describe_cycle(names, flow)
    runtime.analysing_flows.append(flow)
    try:
        frame, evaluation = flow_frame(runtime, flow)
    finally:
        runtime.analysing_flows.pop()
    flow = settle_schema(runtime.graph, settle_kind(runtime.graph, flow, frame.isStreaming))
    target, engine = runtime.graph.datasets[flow.target], engine_of(runtime.spark)
    state = engine.describe_state(frame) if frame.isStreaming else None
    if engine.name == "sail" and (state is not None or target.kind == "sink"):
        reason = state or f"{target.name} is a sink, which Spark alone writes"
        raise NeedsSparkError(f"{flow.name}: {reason}", flow.location)
    evaluation.is_stateless = frame.isStreaming and state is None
    evaluation.is_complete = state is not None and flow.kind == "append" and engine.is_complete(frame)
    _refuse_complete_beside_others(runtime, flow, evaluation)
    runtime.analysed[flow.name] = evaluation
    runtime.source_columns[flow.name] = frame.schema
    check_rules(target, frame)
    completed = check_computed_columns(target, flow, frame)
    runtime.note_unknown(flow.name, completed, with_declared_rules(target, frame.columns).expectations)
    if flow.spec is not None and is_sail(runtime.spark):
        runtime.note_unknown(flow.name, compute_from_changes(frame, Target.of(flow, frame.schema)))
    if flow.kind == "replace_using":
        runtime.note_unknown(flow.name, check_keys_and_sequence(flow, frame))
    check_layout(target, frame.schema.names)
    _add_target_columns(runtime, flow, frame.schema)
    return evaluation


def _refuse_complete_beside_others(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow
    evaluation: Evaluation,  # What it reads
) -> None:
    "`PipelineError` where an answer over all rows would be written over those of others, or to a sink."
    target = runtime.graph.datasets[flow.target]
    others = [
        other for other in runtime.graph.flows.values() if other.target == flow.target and other != flow
    ]
    if evaluation.is_complete and (others or target.kind == "sink"):
        beside = f"beside flow {others[0].name}" if others else "which is a sink"
        raise PipelineError(
            f"flow {flow.name} aggregates a stream without a watermark, so it writes {flow.target} anew each "
            f"time, {beside}",
            flow.location,
            "aggregate with a watermark, or into a table of its own",
        )


def settle_schema(
    graph: Graph,  # Takes the schema
    flow: Flow,  # A flow
) -> Flow:  # The flow, which knows what its target declares
    "Read the schema that a table declares in Python; `PipelineError` for one that cannot be read."
    dataset = graph.datasets[flow.target]
    if isinstance(dataset.schema, str):
        try:
            specification = read_schema_text(dataset.schema)
        except PipelineError as wrong:
            raise PipelineError(
                f"schema of {dataset.name}: {wrong.message}", dataset.location, wrong.hint
            ) from None
        for part in specification.ignored:
            graph.warn(f"{dataset.name}: {part} has no effect on the local runner")
        schema, notes = declared_schema(specification), specification.notes
        dataset = replace(dataset, schema=schema, table_properties=notes | dataset.table_properties)
        graph.datasets[flow.target] = dataset
    if flow.declared is not dataset.schema:
        flow = replace(flow, declared=dataset.schema)
        graph.flows[flow.name] = flow
    return flow


def _add_target_columns(
    runtime: Runtime,  # The update; takes the columns
    flow: Flow,  # A flow
    source: StructType,  # Columns its query brings
) -> None:
    "Note the columns of a flow's target: those of this flow, and those of the other flows into it."
    try:
        brought = _target_schema(runtime, flow, source)
    except (AnalysisException, ValueError) as wrong:
        raise PipelineError(f"{flow.target}: {describe_exception(wrong)}", flow.location) from None
    known = runtime.schemas.get(flow.target, StructType())
    columns = {column.name.lower(): column for schema in (brought, known) for column in schema}
    runtime.schemas[flow.target] = StructType(list(columns.values()))


def check_rules(
    dataset: Dataset,  # With its rules
    frame: DataFrame,  # The rows they look at
) -> None:
    "Refuse a rule that the engine cannot read, before there are rows."
    for rule in dataset.expectations:
        where = f"expectation {rule.name!r} of {dataset.name}"
        if isinstance(rule.constraint, str) and has_subquery(rule.constraint):
            raise PipelineError(
                f"{where} has a subquery",
                dataset.location,
                "Databricks has none in an expectation; join the other table in the query",
            )
        try:
            condition = F.expr(rule.constraint) if isinstance(rule.constraint, str) else rule.constraint
            engine_of(frame.sparkSession).analyse(frame.where(condition))
        except NeedsSparkError:
            raise
        except PipelineError as wrong:
            raise PipelineError(f"{where}: {wrong.message}", dataset.location, wrong.hint) from None
        except PySparkException as wrong:  # Sail has other classes of it than Spark
            raise PipelineError(f"{where}: {describe_exception(wrong)}", dataset.location) from None


def check_computed_columns(
    dataset: Dataset,  # A table
    flow: Flow,  # A flow into it
    frame: DataFrame,  # The rows it brings
) -> DataFrame:  # The same rows with the columns that the table computes; of AUTO CDC without
    "Refuse a generated column, default or identity that cannot be computed, or that Databricks refuses."
    if not isinstance(dataset.schema, TableSchema) or not dataset.schema.ddl:
        return frame
    given = {name.lower() for name in frame.columns}
    for column in dataset.schema.columns_with("identity"):
        if flow.spec is not None:
            message, hint = "is the target of AUTO CDC", "number the rows where the table is read"
        elif column.name.lower() in given and column.identity is not None and column.identity.always:
            message, hint = f"gets {column.name} from its query", "leave it out, or declare it BY DEFAULT"
        else:
            continue
        text = f"{dataset.name} has the identity column {column.name}, and {message}"
        raise PipelineError(text, dataset.location, hint)
    if flow.spec is not None:
        return frame  # its columns are looked at with those of the target
    if flow.replaces is not None and (missing := missing_columns(dataset.schema, frame.columns)):
        text = f"{dataset.name} computes its column {missing[0].name}, and flow {flow.name} replaces its rows"
        raise PipelineError(text, dataset.location, "compute the column in the query")
    try:
        completed = complete_rows(frame, dataset.schema)
        engine_of(frame.sparkSession).analyse(completed)
        types = {field.name: field.dataType for field in completed.schema}
        declared = {field.name: field.dataType for field in dataset.schema.types()}
    except PySparkException as wrong:
        message = f"{dataset.name}: its declared columns cannot be computed: {describe_exception(wrong)}"
        raise PipelineError(message, dataset.location) from None
    for column in missing_columns(dataset.schema, frame.columns):
        if column.generated is not None and types[column.name] != declared[column.name]:
            text = (
                f"{dataset.name}: column {column.name} is {declared[column.name].simpleString()}, and "
                f"{column.generated} is {types[column.name].simpleString()}"
            )
            if is_sail(frame.sparkSession):  # whose types are not all Spark's
                raise NeedsSparkError(text, dataset.location)
            raise PipelineError(text, dataset.location, "declare it so, or cast the expression")
    return completed


def check_layout(
    dataset: Dataset,  # With `partition_cols` and `cluster_by`
    columns: list[str],  # Columns its query brings
) -> None:
    "Refuse to partition or cluster by a column that is not there, or to partition by all."
    known = {name.lower() for name in columns}
    for option in ("partition_cols", "cluster_by"):
        for name in getattr(dataset, option):
            if not {name.lower(), name.split(".")[0].strip("`").lower()} & known:
                raise PipelineError(
                    f"{dataset.name}: `{option}` names {name}, which its query does not have",
                    dataset.location,
                    f"it has {', '.join(columns)}",
                )
    if dataset.partition_cols and known <= {name.lower() for name in dataset.partition_cols}:
        raise PipelineError(
            f"{dataset.name}: `partition_cols` names every column",
            dataset.location,
            "leave one that is stored",
        )


def check_view(
    runtime: Runtime,  # The update
    dataset: Dataset,  # A view, read by a flow or not
) -> None:
    "Evaluate a view without data, and its rules with it."
    flow = Flow(str(dataset.name), dataset.name, "view", language=dataset.language)
    evaluation = Evaluation(flow, views=[dataset.name])
    frame = evaluate(runtime, evaluation, dataset)
    check_rules(dataset, frame)
    runtime.note_unknown(str(dataset.name), frame, dataset.expectations)
    runtime.view_reads[dataset.name] = evaluation.reads


def _check_declared_schema(
    dataset: Dataset,  # The target of an AUTO CDC flow
    declared: StructType,  # Its declared schema
    shown: StructType,  # Columns that the flow brings, `__START_AT` and `__END_AT` among them for SCD type 2
) -> None:
    "Refuse a declared schema that the rows of AUTO CDC do not have."
    types = {column.name.lower(): column.dataType.simpleString() for column in declared}
    for column in shown:
        declared_type, brought = types.get(column.name.lower()), column.dataType.simpleString()
        if declared_type != brought:
            raise PipelineError(
                f"{dataset.name}: AUTO CDC brings {column.name} {brought}, "
                f"the declared schema has {declared_type or 'no such column'}",
                dataset.location,
                "declare it so, or cast or leave out the column before the flow",
            )


def _target_schema(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow
    source: StructType,  # Columns its query brings
) -> StructType:  # Columns its target shows
    "The columns of a flow's target, declared or not."
    dataset = runtime.graph.datasets[flow.target]
    declared: StructType | TableSchema | None = dataset.schema
    comments = None
    if isinstance(declared, TableSchema):
        comments, declared = declared, declared.types() if declared.ddl else None
    found = source if flow.spec is None else find_visible_schema(runtime.spark, flow, source)
    found = found.toNullable()  # what is inferred may be NULL
    if declared is None:
        return found if comments is None else comments.describe(found)
    if flow.spec is not None:
        _check_declared_schema(dataset, declared, found)
    return declared


def table_schema(
    runtime: Runtime,  # The update
    name: TableName,  # A table of its graph
) -> StructType:  # Its columns
    "Columns of a table, from the flows that fill it."
    for flow in list(runtime.graph.flows.values()):  # analysing one may settle its kind
        if flow.target == name:
            analyse_flow(runtime, flow)
    if name not in runtime.schemas:
        raise PipelineError(f"{name} has no flow", runtime.graph.datasets[name].location)
    return runtime.schemas[name]


def upstream_flows(
    runtime: Runtime,  # Analysed
) -> dict[str, set[str]]:  # Flow name -> names of flows that must end before it starts
    "The order of the flows, from what each reads."
    flows = runtime.graph.flows
    writers: dict[TableName, set[str]] = {}
    for flow in flows.values():
        writers.setdefault(flow.target, set()).add(flow.name)
    return {
        name: set().union(*[writers.get(table, set()) for table in runtime.analysed[name].reads])
        for name in flows
    }


def analyse_pipeline(
    runtime: Runtime,  # With its graph declared
) -> None:
    "Analyse every flow; `PipelineError` that lists every mistake found."
    found: dict[str, PipelineError] = {}  # message -> the first mistake that has it
    views = [dataset for dataset in runtime.graph.datasets.values() if dataset.kind == "view"]
    checks: list[Callable[[], object]] = [
        *[partial(analyse_flow, runtime, flow) for flow in runtime.graph.flows.values()],
        *[partial(check_view, runtime, view) for view in views],
    ]
    for check in checks:
        try:
            check()
        except NeedsSparkError:
            raise
        except PipelineError as wrong:
            found.setdefault(str(wrong), wrong)
    if len(found) == 1:
        raise next(iter(found.values()))
    if found:
        first = next(iter(found.values()))
        raise PipelineError(f"{len(found)} mistakes in this pipeline\n  " + "\n  ".join(found)) from first
