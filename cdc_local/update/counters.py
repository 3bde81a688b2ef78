"""What flows count: rows written, rows dropped, rules passed and failed, upserts and deletes of AUTO CDC."""

from collections.abc import Sequence
from typing import Any

from pyspark.sql import SparkSession

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.dataflow.expectations import expectation_counts
from cdc_local.dataflow.graph import Flow, Graph
from cdc_local.engines.engine import engine_of
from cdc_local.storage import TableName
from cdc_utils.results import ExpectationCount, FlowResult

CHANGES = "changes of AUTO CDC"  # Name of the counters of upserts and deletes
TIES = "ties of AUTO CDC"  # Name of what is found of events that the sequence can't tell apart

# Dataset (or `CHANGES`, or `TIES`) -> what was observed of it, once a batch
Counters = dict[TableName | str, list[Any]]


def stream_counters(
    evaluation: Evaluation,  # With the names of its counters
    progress: Sequence[Any],  # Progress of a stream, one `StreamingQueryProgress` a batch
) -> Counters:
    "Collect a stream's counters."
    return {
        dataset: [batch.observedMetrics[name] for batch in progress if name in batch.observedMetrics]
        for dataset, name in evaluation.observed.items()
    }


def batch_counters(
    spark: SparkSession,  # Ran the batch
    evaluation: Evaluation,  # With its observations
) -> Counters:
    "Collect a batch's counters; one that the engine optimised away with an empty input counts nothing."
    observations = {
        dataset: observation
        for dataset, observation in evaluation.observed.items()
        if not isinstance(observation, str)
    }
    counted = engine_of(spark).read_counts(spark, list(observations.values()))
    return {
        dataset: [] if batch is None else [batch]
        for dataset, batch in zip(observations, counted, strict=True)
    }


def add_counters(
    counters: Counters,  # Of the batches before; takes the others
    batch: Counters,  # Of the batch after them
) -> None:
    "Add what a batch counted."
    for name, counted in batch.items():
        counters.setdefault(name, []).extend(counted)


def summarize_flow(
    graph: Graph,  # The pipeline
    flow: Flow,  # A flow that has completed
    counters: Counters,  # What was observed
    seconds: float,  # Wall clock
) -> FlowResult:
    "Sum a flow's counters."
    rules: list[ExpectationCount] = []
    written, dropped = 0, 0
    for name, batches in counters.items():
        if not isinstance(name, TableName):
            continue
        counts, passed, removed = expectation_counts(str(name), graph.datasets[name].expectations, batches)
        rules += counts
        dropped += removed
        if name == flow.target:
            written = passed
    upserted = deleted = None
    if CHANGES in counters:
        upserted = sum(batch["upserted"] for batch in counters[CHANGES])
        deleted = sum(batch["deleted"] for batch in counters[CHANGES])
        written = upserted + deleted
    return FlowResult(
        flow.name,
        str(flow.target),
        "COMPLETED",
        written,
        upserted,
        deleted,
        dropped,
        tuple(rules),
        seconds,
    )


def progress_details(
    result: FlowResult,  # A flow that has completed
) -> dict[str, Any]:  # `metrics` and `data_quality` of a `flow_progress` event
    "A result as Databricks' event log has it."
    metrics = {
        name: getattr(result, name)
        for name in ("num_output_rows", "num_upserted_rows", "num_deleted_rows")
        if getattr(result, name) is not None
    }
    rules = [vars(count) for count in result.expectations]
    return {
        "metrics": metrics,
        "data_quality": {"dropped_records": result.dropped_records, "expectations": rules},
    }
