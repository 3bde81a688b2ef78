"""Flows over streaming sources: batch by batch over exactly the new rows, or as Spark's stream."""

import shutil
from abc import abstractmethod
from functools import partial
from pathlib import Path
from typing import Any

from deltalake import DeltaTable
from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import flow_frame
from cdc_local.analysis.runtime import checkpoint_path, with_expectations
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.log import read_table_version
from cdc_local.delta.writer import has_batch
from cdc_local.errors import PipelineError
from cdc_local.storage import is_table, read_json, write_json
from cdc_local.update.counters import Counters, add_counters
from cdc_local.update.flow_strategy import QueryFlow, refuse_violations
from cdc_local.update.new_rows import NewRows
from cdc_local.update.progress import FILE_NAME, Progress
from cdc_local.update.spark_checkpoint import read_positions
from cdc_local.update.streams import Run, log_rows_read, must_commit_as_one_batch


class StreamingFlow(QueryFlow):
    "A flow that may read streams: one without state is evaluated on batches of new rows."

    def write(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow whose sources are up to date
    ) -> Counters:  # What was observed
        "Write the rows that are new; Spark's stream does where only it keeps the state or knows the source."
        progress = read_progress(run, flow)
        if run.runtime.analysed[flow.name].is_stateless and self.writes_batches(run, flow):
            counters = self._write_new_rows(run, flow, progress)
            if counters is not None:
                return counters
        if not progress.is_new:
            raise PipelineError(
                f"{flow.name} was read batch by batch until now, and its query keeps state now, "
                "or reads a source that only Spark streams",
                flow.location,
                f"compute {flow.target.table} anew: cdc run … --full-refresh {flow.target.table}",
            )
        return super().write(run, flow) if flow.once else self._run_stream(run, flow)

    def _run_stream(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow that only Spark's stream brings up to date
    ) -> Counters:
        "Run Spark's stream, unless its checkpoint and the target are not those that it left."
        storage = run.runtime.storage
        checkpoint, target = checkpoint_path(run.runtime, flow), storage.table_path(flow.target)
        note = storage.flow_path(flow.target, flow.name) / "written.json"
        written = read_json(note)
        if written is not None and not (checkpoint / "metadata").exists():
            raise PipelineError(
                f"{flow.target} has rows of {flow.name}, and the checkpoint that says which "
                f"is gone: {checkpoint}",
                flow.location,
                f"put it back, or compute the table anew: cdc run … --full-refresh {flow.target.table}",
            )
        _check_target(flow, written, target)
        counters = super().write(run, flow)
        if is_table(target):
            write_json(note, read_table_version(target))
        return counters

    def writes_batches(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
    ) -> bool:
        "Whether the flow's target takes batches; a few sinks know only Spark's streams."
        return True

    @abstractmethod
    def write_batch(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # New rows that the rules let pass
        evaluation: Evaluation,  # Its counters
        transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
    ) -> Counters:  # What was observed
        "Write one batch of new rows, in one commit; written again, it changes nothing."

    def _write_new_rows(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow without state
        progress: Progress,  # How far it has read
    ) -> Counters | None:  # None where a source is one that only Spark's stream reads
        if run.runtime.analysed[flow.name].actions:
            flow_frame(run.runtime, flow)  # as streams, on which no action may run
        counters, rows, target = self.idle_counters(), 0, run.runtime.storage.table_path(flow.target)
        _check_progress(run, flow, progress, target)
        _check_target(flow, progress.target, target)
        at_once = must_commit_as_one_batch(run, run.runtime.analysed[flow.name])
        # One that died before it could note its batch: the batch is computed and counted again, not written
        is_written = progress.planned is not None and is_table(target)
        is_written = is_written and has_batch(DeltaTable(str(target)), progress.transaction)
        while not run.stopping.is_set():
            new_rows = NewRows(
                run.runtime, flow, progress, at_once, is_written and progress.planned is not None
            )
            frame, evaluation = flow_frame(run.runtime, flow, new_rows)
            if frame.isStreaming:
                return None
            if _continue_checkpoint(run, flow, new_rows) or new_rows.adopt_moved_sources():
                continue
            rules = self.rules_for(run.runtime.graph.datasets[flow.target], flow, frame.columns)
            frame = with_expectations(rules, frame, evaluation)
            if not new_rows.slices:
                add_counters(counters, {name: [] for name in evaluation.observed})
                break
            refuse_violations(flow, evaluation)
            if progress.planned is None:
                progress.plan(new_rows.slices)
            add_counters(counters, self.write_batch(run, flow, frame, evaluation, progress.transaction))
            progress.finish(read_table_version(target) if is_table(target) else None)
            rows += new_rows.count_rows()
            log_rows_read(run, flow, rows)
            if not new_rows.has_more:
                break
        return counters


def read_progress(
    run: Run,  # The update
    flow: Flow,  # A streaming flow
) -> Progress:
    "Read how far a flow has read. Its name in the target's commits is the same until the table is emptied."
    storage = run.runtime.storage
    target = storage.table_path(flow.target)
    table = read_table_version(target)[0] if is_table(target) else flow.target
    return Progress.read(storage.flow_path(flow.target, flow.name) / FILE_NAME, f"{flow.name} into {table}")


def _check_progress(
    run: Run,  # The update
    flow: Flow,  # A flow
    progress: Progress,  # How far it has read
    target: Path,  # Folder of its target's table
) -> None:
    "Refuse to begin again where the target has batches of the flow: rows would be read twice."
    if not progress.is_new or not is_table(target):
        return
    if (checkpoint_path(run.runtime, flow) / "metadata").exists():
        return
    if has_batch(DeltaTable(str(target)), (progress.stream, 0)):
        raise PipelineError(
            f"{flow.target} has rows of {flow.name}, and the file that says which is gone: {progress.path}",
            flow.location,
            f"put the file back, or compute the table anew: cdc run … --full-refresh {flow.target.table}",
        )


def _check_target(
    flow: Flow,  # A flow
    written: list[Any] | None,  # Id and version of the table after the flow's newest batch
    target: Path,  # Folder of its target's table
) -> None:
    "Refuse a table that is older than what its flow has written: rows would be missing."
    if written is None or not is_table(target):
        return
    identity, version = read_table_version(target)
    if identity != written[0] or version < written[1]:
        raise PipelineError(
            f"{flow.target} is at version {version}, and {flow.name} has written version "
            f"{written[1]}: the table was put back to an older state, and rows are missing",
            flow.location,
            f"put the newer table back, or compute it anew: cdc run … --full-refresh {flow.target.table}",
        )


def _continue_checkpoint(
    run: Run,  # The update
    flow: Flow,  # A flow
    new_rows: NewRows,  # With the sources that the flow reads
) -> bool:  # Whether the progress is another now
    "Go on where Spark's stream ended, as an earlier version of cdc_utils ran it."
    checkpoint, progress = checkpoint_path(run.runtime, flow), new_rows.progress
    if not (checkpoint / "metadata").exists():
        return False
    if progress.is_new:
        target = run.runtime.storage.table_path(flow.target)
        in_target = partial(has_batch, DeltaTable(str(target))) if is_table(target) else lambda _: False
        found = None
        if not (checkpoint / "state").exists():
            found = read_positions(checkpoint, new_rows.sources, in_target)
        if found is None:
            raise PipelineError(
                f"{flow.name}: the checkpoint of its stream does not say which rows are new",
                flow.location,
                f"compute {flow.target.table} anew: cdc run … --full-refresh {flow.target.table}",
            )
        progress.positions, progress.batch, progress.stream = found
        progress.write_state()
    shutil.rmtree(checkpoint)
    return True
