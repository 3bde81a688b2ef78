"""AUTO CDC flows: events into the target's backing table."""

from dataclasses import replace
from functools import reduce
from operator import or_
from pathlib import Path

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, extract_events
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.update.counters import CHANGES, batch_counters, stream_counters
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_batches


def upserts_and_deletes() -> list[Column]:  # Aggregates over events: `upserted`, `deleted`
    "Count what AUTO CDC's events do."
    deleted = F.col("__deleted")
    return [F.count_if(~deleted).alias("upserted"), F.count_if(deleted).alias("deleted")]


def apply_changes(
    run: Run,  # The update
    flow: Flow,  # A flow of kind 'auto_cdc'
    frame: DataFrame,  # Its source
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset, and of `CHANGES`
    "Merge a stream's new events into the target's backing table, batch by batch."
    target, path = Target.of(flow, frame.schema), run.runtime.storage.table_path(flow.target)
    if not frame.isStreaming:
        return apply_changes_once(run, flow, frame, evaluation)
    events = extract_events(frame, target).observe(CHANGES, *upserts_and_deletes())

    def write(batch, transaction):
        apply_events(batch, path, target, transaction)

    progress = run_batches(run, flow, events, write, must_commit_as_one_batch(run, evaluation))
    return stream_counters(evaluation, progress) | {
        CHANGES: [each.observedMetrics[CHANGES] for each in progress if CHANGES in each.observedMetrics]
    }


def apply_changes_once(
    run: Run,  # The update
    flow: Flow,  # An AUTO CDC flow with `once=True`, a backfill
    frame: DataFrame,  # Its source, a batch
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset, and of `CHANGES`
    "Merge a batch of events; merged twice after a crash, the second changes nothing."
    target, path = Target.of(flow, frame.schema), run.runtime.storage.table_path(flow.target)
    return merge_events(run, flow, extract_events(frame, target), path, target, evaluation)


def merge_events(
    run: Run,  # The update
    flow: Flow,  # The flow that brings them
    events: DataFrame,  # A batch of events
    path: Path,  # The backing table
    target: Target,  # What it is
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset, and of `CHANGES`
    "Count a batch of events and merge it, in one commit; none where there are no events."
    events = events.persist()
    try:
        changes = events.agg(*upserts_and_deletes()).first().asDict()
        counters = batch_counters(run.runtime.spark, evaluation)
        if any(changes.values()):
            with run.locks[flow.target]:
                apply_events(events, path, target)
    finally:
        events.unpersist()
    return counters | {CHANGES: [changes]}


def rules_for(
    dataset: Dataset,  # The target
    flow: Flow,  # A flow into it
) -> Dataset:  # The target with the rules as they apply to this flow's rows
    "Let deletes and truncates pass the rules of an AUTO CDC target."
    if flow.kind not in ("auto_cdc", "snapshot") or not dataset.expectations:
        return dataset
    removes = [
        F.expr(each) if isinstance(each, str) else each
        for each in (flow.spec.apply_as_deletes, flow.spec.apply_as_truncates)
        if each is not None
    ]
    if not removes:
        return dataset

    def spared(rule):
        constraint = F.expr(rule.constraint) if isinstance(rule.constraint, str) else rule.constraint
        return replace(
            rule, constraint=reduce(or_, [F.coalesce(each, F.lit(False)) for each in removes]) | constraint
        )

    return replace(dataset, expectations=tuple(map(spared, dataset.expectations)))
