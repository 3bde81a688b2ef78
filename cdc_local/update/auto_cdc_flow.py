"""AUTO CDC flows: events into the target's backing table."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial, reduce
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import Runtime
from cdc_local.auto_cdc.merge import EventsReader, apply_events, ignore_events
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events, may_be_emptied
from cdc_local.auto_cdc.ties import Ties
from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.dataflow.table_schema import TableSchema, with_declared_rules
from cdc_local.delta.writer import hold_rows
from cdc_local.engines.engine import engine_of, observe
from cdc_local.sql_names import quote_for_spark
from cdc_local.update.counters import CHANGES, TIES, Counters, batch_counters, stream_counters
from cdc_local.update.flow_strategy import FlowStrategy
from cdc_local.update.streaming_flow import StreamingFlow
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_batches
from cdc_utils.events import DELETED
from cdc_utils.spec import columns_ignoring_nulls, folded


class BackingTableFlow(FlowStrategy):
    "Writes to the backing table of an AUTO CDC target: what AUTO CDC over events and over snapshots share."

    def create_target(
        self,
        runtime: Runtime,  # Analysed
        dataset: Dataset,  # The flow's target, a streaming table
        flow: Flow,  # One of its flows
    ) -> None:
        "Create the backing table; `PipelineError` where one is there that another declaration filled."
        columns, path = runtime.source_columns[flow.name], runtime.storage.table_path(dataset.name)
        target = Target.of(flow, columns)
        create_backing_table(runtime.spark, path, target, columns, dataset.comment, dataset.table_properties)

    def rules_for(
        self,
        dataset: Dataset,  # The target
        flow: Flow,  # A flow into it
        columns: Sequence[str],  # Columns that it brings
    ) -> Dataset:
        """The rules of the target, which deletes and truncates pass: they have no row to break one.

        NOT NULL is one of them, since the rows of deletes, which the table keeps, have NULL."""
        declared = with_declared_rules(dataset, columns)
        ruled = let_deletes_pass(require_values(declared, flow, columns), flow)
        if flow.where is None:
            return ruled
        return replace(ruled, expectations=(*ruled.expectations, Expectation("where", flow.where, "fail")))

    def idle_counters(self) -> Counters:
        "No event was applied."
        return {CHANGES: []}


class AutoCdcFlow(BackingTableFlow, StreamingFlow):
    "Merges a stream's new events into the target's backing table; with `once=True`, a batch of them."

    def write(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow whose sources are up to date
    ) -> Counters:
        "Bring the target up to date, and say which keys have events that the sequence can't tell apart."
        counters = super().write(run, flow)
        ties = Ties.sum(counters.pop(TIES, []))
        if ties.keys:
            target = Target.of(flow, run.runtime.source_columns[flow.name])
            run.log.record(
                "flow_progress",
                ties.describe(target),
                "WARN",
                flow_name=flow.name,
                dataset_name=str(flow.target),
                details={"flow_progress": {"metrics": {"num_tied_keys": ties.keys}}},
            )
        return counters

    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Its source: a stream or, with `once=True`, a batch
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Merge events into the target's backing table; a batch merged again after a crash changes nothing."
        target, path, ties = (
            Target.of(flow, frame.schema),
            run.runtime.storage.table_path(flow.target),
            Ties(),
        )
        events = extract_events(frame, target)
        if not frame.isStreaming:
            look_at = partial(ties.add, target=target, source=frame)
            return merge_events(run, flow, events, path, target, evaluation, look_at) | {TIES: [ties]}

        def write(batch: DataFrame, transaction: tuple[str, int]) -> None:
            with hold_rows(batch) as held:  # a stream counts its rows each time they are computed
                apply_events(held, path, target, transaction, partial(ties.add, target=target, source=held))

        observed = events.observe(CHANGES, *upserts_and_deletes())
        progress = run_batches(run, flow, observed, write, must_commit_as_one_batch(run, evaluation))
        changes = [batch.observedMetrics for batch in progress if CHANGES in batch.observedMetrics]
        counted = [metrics[CHANGES] for metrics in changes]
        return stream_counters(evaluation, progress) | {CHANGES: counted, TIES: [ties]}

    def write_batch(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # New rows of its source that the rules let pass
        evaluation: Evaluation,  # Its counters
        transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
    ) -> Counters:
        "Merge a batch of events, in one commit; merged again after a crash, it changes nothing."
        target, path = Target.of(flow, frame.schema), run.runtime.storage.table_path(flow.target)
        events, spark, ties = extract_events(frame, target), run.runtime.spark, Ties()
        look_at = partial(ties.add, target=target, source=frame)
        if may_be_emptied(DeltaTable(str(path))):  # looks for truncates first, which is no full pass
            return merge_events(run, flow, events, path, target, evaluation, look_at) | {TIES: [ties]}
        changes = engine_of(spark).new_observation(CHANGES)
        with run.locks[flow.target]:
            observed = observe(events, changes, *upserts_and_deletes())
            apply_events(observed, path, target, transaction, look_at)
        [counted] = engine_of(spark).read_counts(spark, [changes])
        counters: Counters = {CHANGES: [] if counted is None else [counted], TIES: [ties]}
        return batch_counters(spark, evaluation) | counters


def upserts_and_deletes() -> list[Column]:  # Aggregates over events: `upserted`, `deleted`
    "Count what AUTO CDC's events do."
    deleted = F.col(DELETED)
    return [F.count_if(~deleted).alias("upserted"), F.count_if(deleted).alias("deleted")]


def merge_events(
    run: Run,  # The update
    flow: Flow,  # The flow that brings them
    events: DataFrame,  # A batch of events
    path: Path,  # The backing table
    target: Target,  # What it is
    evaluation: Evaluation,  # Its counters
    look_at: EventsReader = ignore_events,  # Gets the events that are merged
) -> Counters:
    "Count a batch of events and merge it, in one commit; none where there are no events."
    with hold_rows(events) as held:
        [row] = held.agg(*upserts_and_deletes()).collect()
        changes = row.asDict()
        counters = batch_counters(run.runtime.spark, evaluation)
        if any(changes.values()):
            with run.locks[flow.target]:
                apply_events(held, path, target, look_at=look_at)
    return counters | {CHANGES: [changes]}


def require_values(
    dataset: Dataset,  # The target of AUTO CDC
    flow: Flow,  # A flow into it
    columns: Sequence[str],  # Columns that it brings
) -> Dataset:  # The target with a rule for each of them that is declared NOT NULL
    "Refuse NULL where the table declares NOT NULL, unless a NULL only says that a value stays as it is."
    schema = dataset.schema
    if isinstance(schema, TableSchema):
        required = [column.name for column in schema.columns if column.not_null]
    elif isinstance(schema, StructType):
        required = [column.name for column in schema if not column.nullable]
    else:
        return dataset
    if flow.cdc_spec.columns_to_update:
        return dataset
    ignoring = columns_ignoring_nulls(flow.cdc_spec, list(columns))
    given = {folded(name) for name in columns} - {folded(name) for name in ignoring}
    rules = [
        Expectation(f"{name} NOT NULL", f"{quote_for_spark(name)} IS NOT NULL", "fail")
        for name in required
        if folded(name) in given
    ]
    return replace(dataset, expectations=(*dataset.expectations, *rules)) if rules else dataset


def let_deletes_pass(
    dataset: Dataset,  # The target of AUTO CDC
    flow: Flow,  # A flow into it
) -> Dataset:  # The target with the rules as they apply to this flow's rows
    "Let deletes and truncates pass the rules of an AUTO CDC target."
    if not dataset.expectations:
        return dataset
    conditions = (flow.cdc_spec.apply_as_deletes, flow.cdc_spec.apply_as_truncates)
    removes = [
        F.coalesce(_as_column(condition), F.lit(False)) for condition in conditions if condition is not None
    ]
    if not removes:
        return dataset

    def without_removes(rule: Expectation) -> Expectation:
        return replace(rule, constraint=reduce(Column.__or__, removes) | _as_column(rule.constraint))

    return replace(dataset, expectations=tuple(without_removes(rule) for rule in dataset.expectations))


def _as_column(
    condition: Any,  # SQL, or a column
) -> Column:
    "A condition as a column."
    if isinstance(condition, str):
        return F.expr(condition)
    column: Column = condition
    return column
