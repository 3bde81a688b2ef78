"""Where a flow takes its snapshots from."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.evaluation import Evaluation, evaluating
from cdc_local.analysis.runtime import Runtime, read_stored
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import user_error
from cdc_local.storage import is_table, read_json
from cdc_utils import snapshots


def next_snapshot(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow whose source is a function
    latest: Any,  # The latest version that was taken, or None
    evaluation: Evaluation,  # Takes the reads
) -> tuple | None:  # The next snapshot and its version, or what else it returned
    "Ask a source of snapshots as Lakeflow would."
    known = runtime.answers.pop(flow.name, None)
    if known is not None and known[0] == latest:
        return known[1]
    try:
        with runtime.lock, evaluating(replace(evaluation, flow=None)), runtime.graph.within(flow.scope):
            return flow.snapshots(latest)
    except Exception as error:
        wrong = user_error(error, runtime.sources)
        wrong.location = wrong.location or flow.location
        raise wrong from None


def latest_version(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots
) -> Any:  # The latest version that was taken; None before the first
    "How far a table fed by snapshots is: what was noted, or a commit that was made before it could be noted."
    path, note = (
        runtime.storage.table_path(flow.target),
        runtime.storage.flow_path(flow.target, flow.name) / "version.json",
    )
    if not is_table(path):
        return None
    kept = read_json(note) or {"version": None, "type": "void"}
    noted = F.lit(kept["version"]).cast(kept["type"])
    with evaluating(None):
        return (
            runtime.spark.read.format("delta")
            .load(str(path))
            .agg(F.greatest(F.max("__sequence"), noted))
            .first()[0]
        )


def stored_source_columns(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots that has no newer one
) -> DataFrame:  # The columns of its changes, as the stored table tells them
    "What a flow from snapshots brought before; `PipelineError` before its first snapshot."
    path = runtime.storage.table_path(flow.target)
    if not is_table(path):
        raise PipelineError(
            f"{flow.target} has no snapshot yet: {flow.spec.source} returned None",
            flow.location,
            "its columns come from a snapshot; run the pipeline when there is one",
        )
    shown = [
        name for name in read_stored(runtime.spark, path).columns if name not in ("__START_AT", "__END_AT")
    ]
    hidden = [F.col("__sequence").alias(snapshots.VERSION), F.col("__deleted").alias(snapshots.ABSENT)]
    return (
        runtime.spark.read.format("delta")
        .load(str(path))
        .select(*[F.col(f"`{name}`") for name in shown], *hidden)
    )


def current_snapshot(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow whose source is a table or view
    evaluation: Evaluation,  # Takes the reads
) -> DataFrame:  # Its rows
    "Read the table of which a snapshot is taken."
    with runtime.lock, evaluating(evaluation), runtime.graph.within(flow.scope):
        return runtime.read_name(flow.spec.source, False)


def snapshot_columns(
    runtime: Runtime,  # The update
    flow: Flow,  # A flow from snapshots
    evaluation: Evaluation,  # Takes the reads
) -> DataFrame:  # No rows; the columns of its changes
    "What a flow from snapshots brings, without data."
    if flow.snapshots is None:
        snapshot, version = current_snapshot(runtime, flow, evaluation), datetime.now()
    else:
        latest = latest_version(runtime, flow)
        answer = next_snapshot(runtime, flow, latest, evaluation)
        if answer is None:
            return stored_source_columns(runtime, flow)
        if not evaluation.reads:
            runtime.answers[flow.name] = latest, answer
        try:
            snapshot, version = next(snapshots.pending(lambda _: answer))
        except ValueError as wrong:
            raise PipelineError(f"{flow.target}: {wrong}", flow.location) from None
    return snapshots.changes(snapshot, snapshot, flow.spec.keys, version)
