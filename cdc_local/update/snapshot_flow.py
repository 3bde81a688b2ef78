"""AUTO CDC from snapshots: what has changed since the last one."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import Runtime, read_stored, with_expectations
from cdc_local.analysis.snapshot_source import (
    current_snapshot,
    latest_version,
    next_snapshot,
    version_among_sequences,
    version_note,
)
from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.delta.writer import hold_rows
from cdc_local.engines.engine import engine_of
from cdc_local.errors import PipelineError
from cdc_local.storage import read_json, write_json
from cdc_local.update.auto_cdc_flow import BackingTableFlow, merge_events
from cdc_local.update.counters import CHANGES, Counters, batch_counters
from cdc_local.update.flow_strategy import refuse_violations
from cdc_local.update.streams import Run
from cdc_utils import snapshots
from cdc_utils.events import DELETED, SEQUENCE, exact_column, is_keyless
from cdc_utils.scd2 import END_AT, START_AT


class SnapshotFlow(BackingTableFlow):
    """Compares each snapshot with the table as it stands, and merges the difference as AUTO CDC's events are.

    Where changes are written to the table, too, a snapshot is ordered among them: it empties the table as of
    its version, and says anew what is in it."""

    def create_target(
        self,
        runtime: Runtime,  # Analysed
        dataset: Dataset,  # The flow's target, a streaming table
        flow: Flow,  # A flow from snapshots
    ) -> None:
        "Create the backing table; `PipelineError` where changes come to what only snapshots wrote until now."
        taken = read_json(version_note(runtime.storage, flow))
        if flow.is_beside_events and taken is not None and not taken.get("is_beside_events"):
            raise PipelineError(
                f"{dataset.name} gets changes from now on, and only snapshots wrote it until now: its rows "
                "do not say which changes the last snapshot had seen",
                flow.location,
                f"rebuild the table: cdc run … --full-refresh {dataset.name.table}",
            )
        super().create_target(runtime, dataset, flow)

    def write(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow from snapshots
    ) -> Counters:
        "Take the snapshot of a table as it is now, or all that the source has beyond the latest."
        evaluation, latest = Evaluation(flow), latest_version(run.runtime, flow)
        counters = self.idle_counters()
        try:
            for snapshot, version in self._newer_snapshots(run, flow, latest, evaluation):
                for name, batches in self.apply_snapshot(run, flow, snapshot, version, evaluation).items():
                    counters.setdefault(name, []).extend(batches)
        except ValueError as wrong:
            raise PipelineError(
                f"{flow.target}: {wrong}",
                flow.location,
                f"mend the source; or, to start over: cdc run … --full-refresh {flow.target.table}",
            ) from None
        return counters

    def _newer_snapshots(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow from snapshots
        latest: Any,  # The latest version that was taken, or None
        evaluation: Evaluation,  # Takes the reads
    ) -> Iterable[tuple[DataFrame, Any]]:  # Snapshots and their versions
        "The snapshots that the table has not taken."
        if flow.snapshots is None:
            version = snapshot_ingestion_time(latest)
            return [(current_snapshot(run.runtime, flow, evaluation), version)]

        def log_skipped(version: Any) -> None:
            message = f"{flow.name}: snapshot {version} is not newer and was left out"
            run.log.record("flow_progress", message, "WARN", flow_name=flow.name)

        source = partial(next_snapshot, run.runtime, flow, evaluation=evaluation)
        return snapshots.pending(source, latest, log_skipped)

    def apply_snapshot(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow from snapshots
        snapshot: DataFrame,  # The rows as they should stand
        version: Any,  # Its version
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Bring a table to the state of one snapshot, in one commit, and note its version."
        runtime, dataset = run.runtime, run.runtime.graph.datasets[flow.target]
        path = runtime.storage.table_path(flow.target)
        if flow.is_beside_events:
            sequence = version_among_sequences(version, runtime.source_columns[flow.name])
            changes = snapshots.restate(snapshot, flow.cdc_spec.keys, sequence)
        else:
            current = read_stored(runtime.spark, path)
            if flow.cdc_spec.stored_as_scd_type == 2:
                current = current.where(F.col(END_AT).isNull()).drop(START_AT, END_AT)
            changes = snapshots.changes(current, snapshot, flow.cdc_spec.keys, version)
        target = Target.of(flow, changes.schema)
        create_backing_table(
            runtime.spark, path, target, changes.schema, dataset.comment, dataset.table_properties
        )
        changes = with_expectations(self.rules_for(dataset, flow, snapshot.columns), changes, evaluation)
        refuse_violations(flow, evaluation)
        merge = merge_restated if flow.is_beside_events else merge_events
        counters = merge(run, flow, extract_events(changes, target), path, target, evaluation)
        note_version(version_note(runtime.storage, flow), version, flow.is_beside_events)
        return counters


def merge_restated(
    run: Run,  # The update
    flow: Flow,  # A flow from snapshots, beside flows of changes
    events: DataFrame,  # What a snapshot says, as `restate` has it
    path: Path,  # The backing table
    target: Target,  # What it is
    evaluation: Evaluation,  # Its counters
) -> Counters:
    "Merge what a snapshot says, in one commit, and count the rows that it changes."
    with hold_rows(events) as held, run.locks[flow.target]:
        [row] = find_differences(read_backing_rows(run.runtime.spark, path), held, target).collect()
        apply_events(held, path, target)
    return batch_counters(run.runtime.spark, evaluation) | {CHANGES: [row.asDict()]}


def find_differences(
    stored: DataFrame,  # Rows of the backing table
    events: DataFrame,  # What a snapshot says, as `restate` has it
    target: Target,  # What the table is
) -> DataFrame:  # One row: `upserted`, `deleted`
    "Compare a snapshot with the rows that it may change: those that are not newer."
    keys, emptied = list(target.keys), is_keyless(target.keys)
    sequence = events.where(emptied).select(F.col(SEQUENCE).alias("__now"))
    beside = stored.where(~emptied).crossJoin(F.broadcast(sequence))
    shown = [*map(exact_column, target.columns)]
    before = beside.where(~F.col(DELETED) & (F.col(SEQUENCE) <= F.col("__now"))).select(*shown)
    newer = beside.where(F.col(SEQUENCE) > F.col("__now")).select(*map(exact_column, keys))
    now = events.where(~emptied).select(*shown)
    differences = snapshots.changes(before, now, keys, F.lit(None)).join(newer, keys, "left_anti")
    gone = F.col(snapshots.ABSENT)
    return differences.agg(F.count_if(~gone).alias("upserted"), F.count_if(gone).alias("deleted"))


def read_backing_rows(
    spark: SparkSession,  # Reads the table
    path: Path,  # The backing table
) -> DataFrame:  # All its rows, those that no reader sees among them
    "Read a backing table as it is stored."
    return engine_of(spark).read_delta(spark, path, {})


def snapshot_ingestion_time(
    latest: datetime | None,  # The version of the snapshot before, local time
) -> datetime:  # Later than that, whatever the clock says
    "The version of a snapshot that has none."
    now = datetime.now()
    return now if latest is None or now > latest else latest + timedelta(microseconds=1)


def note_version(
    note: Path,  # Where the flow notes it
    version: Any,  # The snapshot it has taken
    is_beside_events: bool = False,  # Whether changes are written to its target, too
) -> None:
    "Note how far a flow is, even where a snapshot changed nothing."
    moment = version.astimezone(UTC) if isinstance(version, datetime) else version
    taken = {"version": str(moment), "type": snapshots.version_type(version)}
    write_json(note, taken | ({"is_beside_events": True} if is_beside_events else {}))
