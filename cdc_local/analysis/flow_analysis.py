"""What a flow reads and brings, found without data."""

from dataclasses import replace

from pyspark.errors import AnalysisException
from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation, evaluating
from cdc_local.analysis.runtime import Runtime, describe_cycle, evaluate
from cdc_local.analysis.snapshot_source import snapshot_columns
from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import describe_exception
from cdc_local.storage import TableName


def flow_frame(
    runtime: Runtime,  # The update
    flow: Flow,  # The flow
) -> tuple[DataFrame, Evaluation]:  # The rows it brings, before rules; what it read
    "Evaluate a flow: its query, or for AUTO CDC its source."
    evaluation = Evaluation(flow)
    if flow.kind == "snapshot":
        return snapshot_columns(runtime, flow, evaluation), evaluation
    with runtime.lock:
        if flow.query is not None:
            return evaluate(runtime, flow.query, evaluation, flow), evaluation
        with evaluating(evaluation), runtime.graph.within(flow.scope):
            return runtime.read_name(flow.spec.source, not flow.once), evaluation


def analyse_flow(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow of its graph
) -> Evaluation:  # What it reads
    "Evaluate a flow without data: its reads, its kind, its columns."
    if flow.name in runtime.analysed:
        return runtime.analysed[flow.name]
    if flow in runtime.running:
        raise describe_cycle([str(each.target) for each in runtime.running] + [str(flow.target)], flow)
    runtime.running.append(flow)
    try:
        frame, evaluation = flow_frame(runtime, flow)
    finally:
        runtime.running.pop()
    flow = settle_dataset_kind(runtime.graph, flow, frame.isStreaming)
    runtime.analysed[flow.name], runtime.source_columns[flow.name] = evaluation, frame.schema
    check_rules(runtime.graph.datasets[flow.target], frame)
    check_layout(runtime.graph.datasets[flow.target], frame.schema.names)
    try:
        columns = [target_schema(runtime, flow, frame.schema), runtime.schemas.get(flow.target, StructType())]
    except (AnalysisException, ValueError) as wrong:
        raise PipelineError(f"{flow.target}: {describe_exception(wrong)}", flow.location) from None
    runtime.schemas[flow.target] = StructType(
        list({column.name.lower(): column for each in columns for column in each}.values())
    )
    return evaluation


def settle_dataset_kind(
    graph: Graph,  # Takes the settled flow
    flow: Flow,  # A flow, perhaps of kind 'table'
    streaming: bool,  # Whether its query is a stream
) -> Flow:  # The flow with its kind
    "Decide what `table` meant: a streaming table over a stream, a materialized view over a batch."
    dataset = graph.datasets[flow.target]
    if flow.kind == "table":
        flow = replace(flow, kind="append" if streaming else "complete")
        graph.datasets[flow.target] = replace(
            dataset, kind="streaming_table" if streaming else "materialized_view"
        )
        graph.flows[flow.name] = flow
    if flow.kind == "complete" and streaming:
        raise PipelineError(
            f"materialized view {flow.target} reads a stream",
            flow.location,
            "use spark.read, or declare a streaming table",
        )
    if flow.kind == "append" and not streaming and not flow.once:
        raise PipelineError(
            f"flow {flow.name} appends a batch", flow.location, "use spark.readStream, or once=True"
        )
    if flow.kind == "append" and streaming and flow.once:
        raise PipelineError(
            f"flow {flow.name} runs once, but reads a stream",
            flow.location,
            "use spark.read, or leave out once=True",
        )
    return flow


def check_rules(
    dataset: Dataset,  # With its rules
    frame: DataFrame,  # The rows they look at
) -> None:
    "Refuse a rule that Spark cannot read, before there are rows."
    for rule in dataset.expectations:
        try:
            frame.where(rule.constraint)
        except AnalysisException as wrong:
            raise PipelineError(
                f"expectation {rule.name!r} of {dataset.name}: {describe_exception(wrong)}", dataset.location
            ) from None


def check_layout(
    dataset: Dataset,  # With `partition_cols` and `cluster_by`
    columns: list[str],  # Columns its query brings
) -> None:
    "Refuse to partition or cluster by a column that is not there, or to partition by all."
    known = {name.lower() for name in columns}
    for option in ("partition_cols", "cluster_by"):
        for name in getattr(dataset, option):
            if name.split(".")[0].strip("`").lower() not in known:
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
    evaluation = Evaluation(Flow(str(dataset.name), dataset.name, "view"), views=[dataset.name])
    check_rules(dataset, evaluate(runtime, dataset.query, evaluation, dataset))
    runtime.viewed[dataset.name] = evaluation.reads


def check_declared_schema(
    dataset: Dataset,  # The target of an AUTO CDC flow
    declared: StructType,  # Its declared schema
    shown: StructType,  # Columns that the flow brings, `__START_AT` and `__END_AT` among them for SCD type 2
) -> None:
    "Refuse a declared schema that the rows of AUTO CDC do not have."
    types = {column.name.lower(): column.dataType.simpleString() for column in declared}
    for column in shown:
        said, brought = types.get(column.name.lower()), column.dataType.simpleString()
        if said != brought:
            raise PipelineError(
                f"{dataset.name}: AUTO CDC brings {column.name} {brought}, the declared schema has {'no such column' if said is None else said}",
                dataset.location,
                "declare it so, or cast or leave out the column before the flow",
            )


def target_schema(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow
    source: StructType,  # Columns its query brings
) -> StructType:  # Columns its target shows
    "The columns of a flow's target, declared or not."
    dataset = runtime.graph.datasets[flow.target]
    declared = StructType.fromDDL(dataset.schema) if isinstance(dataset.schema, str) else dataset.schema
    if flow.kind not in ("auto_cdc", "snapshot"):
        return source if declared is None else declared
    from cdc_local.auto_cdc.target import find_visible_schema

    shown = find_visible_schema(runtime.spark, flow, source)
    if declared is None:
        return shown
    check_declared_schema(dataset, declared, shown)
    return declared


def table_schema(
    runtime: Runtime,  # The update
    name: TableName,  # A table of its graph
) -> StructType:  # Its columns
    "Columns of a table, from the flows that fill it."
    for flow in [flow for flow in runtime.graph.flows.values() if flow.target == name]:
        analyse_flow(runtime, flow)
    if name not in runtime.schemas:
        raise PipelineError(f"{name} has no flow", runtime.graph.datasets[name].location)
    return runtime.schemas[name]


def upstream_flows(
    runtime: Runtime,  # Analysed
) -> dict[str, set[str]]:  # Flow name -> names of flows that must end before it starts
    "The order of the flows, from what each reads."
    flows = runtime.graph.flows
    writers = {}
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
    wrongs = []
    views = [each for each in runtime.graph.datasets.values() if each.kind == "view"]
    for item in (*list(runtime.graph.flows.values()), *views):
        try:
            (analyse_flow if isinstance(item, Flow) else check_view)(runtime, item)
        except PipelineError as wrong:
            if str(wrong) not in map(str, wrongs):
                wrongs.append(wrong)
    if len(wrongs) == 1:
        raise wrongs[0]
    if wrongs:
        raise PipelineError(f"{len(wrongs)} mistakes in this pipeline\n  " + "\n  ".join(map(str, wrongs)))
