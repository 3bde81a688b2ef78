"""What flows count: rows written, rows dropped, rules passed and failed."""

from pyspark.sql import Observation, SparkSession

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.dataflow.expectations import expectation_counts
from cdc_local.dataflow.graph import Flow
from cdc_local.update.streams import Run
from cdc_utils.results import FlowResult

CHANGES = "changes of AUTO CDC"  # Name of the counters of upserts and deletes


def stream_counters(
    evaluation: Evaluation,  # With the names of its counters
    progress: list,  # Progress of a stream
) -> dict:  # Dataset -> counters of each batch
    "Collect a stream's counters."
    return {
        dataset: [each.observedMetrics[name] for each in progress if name in each.observedMetrics]
        for dataset, name in evaluation.observed.items()
    }


def batch_counters(
    spark: SparkSession,  # Ran the batch
    evaluation: Evaluation,  # With its observations
) -> dict:  # Dataset -> counters
    "Collect a batch's counters; one that Spark optimised away with an empty input counts nothing."
    observations = {
        dataset: each for dataset, each in evaluation.observed.items() if isinstance(each, Observation)
    }
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()  # the counters arrive by Spark's listener
    return {
        dataset: [each.get] if each._jo.future().isCompleted() else []
        for dataset, each in observations.items()
    }


def summarize_flow(
    run: Run,  # The update
    flow: Flow,  # A flow that has completed
    counters: dict,  # What was observed
    seconds: float,  # Wall clock
) -> FlowResult:
    "Sum a flow's counters."
    rules, changes = [], counters.pop(CHANGES, None)
    written, dropped = None, 0
    for name, each in counters.items():
        counts, passed, removed = expectation_counts(
            str(name), run.runtime.graph.datasets[name].expectations, each
        )
        rules, dropped = rules + counts, dropped + removed
        if name == flow.target:
            written = passed
    upserted, deleted = (
        (sum(each[key] for each in changes) for key in ("upserted", "deleted"))
        if changes is not None
        else (None, None)
    )
    if changes is not None:
        written = upserted + deleted
    return FlowResult(
        flow.name,
        str(flow.target),
        "COMPLETED",
        written or 0,
        upserted,
        deleted,
        dropped,
        tuple(rules),
        seconds,
    )


def idle_counters(
    flow: Flow,  # A flow that had nothing to do
) -> dict:  # Its counters besides those of rules, as if no event had come
    "What a flow counts that was not started."
    return {CHANGES: []} if flow.kind in ("auto_cdc", "snapshot") else {}


def progress_details(
    result: FlowResult,  # A flow that has completed
) -> dict:  # `metrics` and `data_quality` of a `flow_progress` event
    "A result as Databricks' event log has it."
    metrics = {
        key: getattr(result, key)
        for key in ("num_output_rows", "num_upserted_rows", "num_deleted_rows")
        if getattr(result, key) is not None
    }
    rules = [vars(each) for each in result.expectations]
    return {
        "metrics": metrics,
        "data_quality": {"dropped_records": result.dropped_records, "expectations": rules},
    }
