"""Append flows: new rows into a streaming table."""

import uuid

from pyspark.sql import DataFrame
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.writer import append_batch, overwrite_in_batch
from cdc_local.update.completed_rows import complete_all_rows, complete_new_rows
from cdc_local.update.counters import Counters, batch_counters, stream_counters
from cdc_local.update.streaming_flow import StreamingFlow
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_batches


class AppendFlow(StreamingFlow):
    "Appends a stream's new rows, each once; with `once=True`, a batch."

    def incoming_columns(
        self,
        runtime: Runtime,  # Analysed
        flow: Flow,  # A flow into a streaming table
    ) -> StructType:
        "The columns of this flow's own query: another flow into the table may bring others."
        return runtime.source_columns[flow.name]

    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Its rows
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Append a flow's rows to its target."
        if frame.isStreaming:
            return self.append_stream(run, flow, frame, evaluation)
        return self.append_once(run, flow, frame, evaluation)

    def write_batch(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # New rows that the rules let pass
        evaluation: Evaluation,  # Its counters
        transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
    ) -> Counters:
        "Append a batch of new rows, in one commit."
        with run.locks[flow.target]:
            append_to_table(run, flow, frame, transaction)
        return batch_counters(run.runtime.spark, evaluation)

    def append_stream(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # A stream
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        """Append a stream's new rows, in one commit a batch.

        Where the stream's answer is one over all rows so far, each batch has it whole, and is written over
        the one before.
        """
        path, dataset = run.runtime.storage.table_path(flow.target), run.runtime.graph.datasets[flow.target]
        is_complete = run.runtime.analysed[flow.name].is_complete

        def write(batch: DataFrame, transaction: tuple[str, int]) -> None:
            if is_complete:
                overwrite_in_batch(complete_all_rows(batch, dataset), path, transaction)
            else:
                append_to_table(run, flow, batch, transaction)

        at_once, mode = must_commit_as_one_batch(run, evaluation), "complete" if is_complete else "append"
        progress = run_batches(run, flow, frame, write, at_once, mode)
        return stream_counters(evaluation, progress)

    def append_once(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow with `once=True`
        frame: DataFrame,  # A batch
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Append a batch; appended twice after a crash, the second changes nothing."
        folder = run.runtime.storage.flow_path(flow.target, flow.name)
        folder.mkdir(parents=True, exist_ok=True)
        identity = folder / "id"
        if not identity.exists():
            identity.write_text(str(uuid.uuid4()))
        with run.locks[flow.target]:
            append_to_table(run, flow, frame, (identity.read_text(), 0))
        return batch_counters(run.runtime.spark, evaluation)


def append_to_table(
    run: Run,  # The update; the lock of the flow's target is held
    flow: Flow,  # The flow
    batch: DataFrame,  # Rows
    transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
) -> None:
    "Append rows with the columns that their table computes, in one commit."
    path = run.runtime.storage.table_path(flow.target)
    complete = complete_new_rows(batch, run.runtime.graph.datasets[flow.target], path)
    append_batch(complete, path, transaction)
