"""AUTO CDC from snapshots: what has changed since the last one."""

from datetime import UTC, datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import read_stored, with_expectations
from cdc_local.analysis.snapshot_source import current_snapshot, latest_version, next_snapshot
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import write_json
from cdc_local.update.auto_cdc_flow import merge_events, rules_for
from cdc_local.update.counters import CHANGES
from cdc_local.update.streams import Run
from cdc_utils import snapshots


def snapshot_ingestion_time(
    latest: datetime | None,  # The version of the snapshot before, local time
) -> datetime:  # Later than that, whatever the clock says
    "The version of a snapshot that has none."
    now = datetime.now()
    return now if latest is None or now > latest else latest + timedelta(microseconds=1)


def apply_snapshots(
    run: Run,  # The update
    flow: Flow,  # A flow of kind 'snapshot'
) -> dict:  # Observed counters by dataset, and of `CHANGES`
    "Take the snapshot of a table as it is now, or all that the source has beyond the latest."
    runtime = run.runtime
    evaluation, latest, counters = Evaluation(flow), latest_version(runtime, flow), {CHANGES: []}

    def skipped(version):
        run.log.record(
            "flow_progress",
            f"{flow.name}: snapshot {version} is not newer and was left out",
            "WARN",
            flow_name=flow.name,
        )

    try:
        source = partial(next_snapshot, runtime, flow, evaluation=evaluation)
        found = (
            [(current_snapshot(runtime, flow, evaluation), snapshot_ingestion_time(latest))]
            if flow.snapshots is None
            else snapshots.pending(source, latest, skipped)
        )
        for snapshot, version in found:
            for name, each in apply_snapshot(run, flow, snapshot, version, evaluation).items():
                counters.setdefault(name, []).extend(each)
    except ValueError as wrong:
        raise PipelineError(
            f"{flow.target}: {wrong}",
            flow.location,
            f"mend the source; or, to start over: cdc run … --full-refresh {flow.target.table}",
        ) from None
    return counters


def apply_snapshot(
    run: Run,  # The update
    flow: Flow,  # A flow of kind 'snapshot'
    snapshot: DataFrame,  # The rows as they should stand
    version: Any,  # Its version
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset, and of `CHANGES`
    "Bring a table to the state of one snapshot, in one commit, and note its version."
    runtime, dataset = run.runtime, run.runtime.graph.datasets[flow.target]
    path = runtime.storage.table_path(flow.target)
    current = read_stored(runtime.spark, path)
    if flow.spec.stored_as_scd_type == 2:
        current = current.where("__END_AT IS NULL").drop("__START_AT", "__END_AT")
    changes = snapshots.changes(current, snapshot, flow.spec.keys, version)
    target = Target.of(flow, changes.schema)
    create_backing_table(
        runtime.spark, path, target, changes.schema, dataset.comment, dataset.table_properties
    )
    changes = with_expectations(rules_for(dataset, flow), changes, evaluation)
    counters = merge_events(run, flow, extract_events(changes, target), path, target, evaluation)
    note_version(runtime.storage.flow_path(flow.target, flow.name), version)
    return counters


def note_version(
    folder: Path,  # Of the flow
    version: Any,  # The snapshot it has taken
) -> None:
    "Note how far a flow is, even where a snapshot changed nothing."
    moment = version.astimezone(UTC) if isinstance(version, datetime) else version
    write_json(folder / "version.json", {"version": str(moment), "type": snapshots.version_type(version)})
