"""AUTO CDC from snapshots: what has changed since the last one."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import read_stored, with_expectations
from cdc_local.analysis.snapshot_source import current_snapshot, latest_version, next_snapshot, version_note
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import write_json
from cdc_local.update.auto_cdc_flow import BackingTableFlow, merge_events
from cdc_local.update.counters import Counters
from cdc_local.update.flow_strategy import refuse_violations
from cdc_local.update.streams import Run
from cdc_utils import snapshots
from cdc_utils.scd2 import END_AT, START_AT


class SnapshotFlow(BackingTableFlow):
    "Compares each snapshot with the table as it stands, and merges the difference as AUTO CDC's events are."

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
        counters = merge_events(run, flow, extract_events(changes, target), path, target, evaluation)
        note_version(version_note(runtime.storage, flow), version)
        return counters


def snapshot_ingestion_time(
    latest: datetime | None,  # The version of the snapshot before, local time
) -> datetime:  # Later than that, whatever the clock says
    "The version of a snapshot that has none."
    now = datetime.now()
    return now if latest is None or now > latest else latest + timedelta(microseconds=1)


def note_version(
    note: Path,  # Where the flow notes it
    version: Any,  # The snapshot it has taken
) -> None:
    "Note how far a flow is, even where a snapshot changed nothing."
    moment = version.astimezone(UTC) if isinstance(version, datetime) else version
    write_json(note, {"version": str(moment), "type": snapshots.version_type(version)})
