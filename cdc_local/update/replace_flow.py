"""Flows that replace rows of a streaming table: those of a key by newer ones, or all in a range."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.replaced_rows import range_predicate, resolve_keys
from cdc_local.analysis.runtime import Runtime, read_stored
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.replacement import replace_older_rows
from cdc_local.delta.writer import overwrite_table
from cdc_local.update.counters import Counters, batch_counters, stream_counters
from cdc_local.update.flow_strategy import FlowStrategy, QueryFlow
from cdc_local.update.streaming_flow import StreamingFlow
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_batches


class ReplacingFlow(FlowStrategy):
    "What flows that replace rows share."

    def incoming_columns(
        self,
        runtime: Runtime,  # Analysed
        flow: Flow,  # A flow into a streaming table
    ) -> StructType:
        "The columns of the flow's own query."
        return runtime.source_columns[flow.name]


class ReplaceUsingFlow(ReplacingFlow, StreamingFlow):
    "Keeps of each key the rows of its highest sequence, in whatever order a stream brings them."

    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Its rows, a stream that only Spark evaluates
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Replace rows by a stream's new ones, in one commit a batch."
        path, keys = run.runtime.storage.table_path(flow.target), resolve_keys(flow, frame)

        def write(batch: DataFrame, transaction: tuple[str, int]) -> None:
            replace_older_rows(batch, path, keys, flow.replacement.sequence_by, transaction)

        progress = run_batches(run, flow, frame, write, must_commit_as_one_batch(run, evaluation))
        return stream_counters(evaluation, progress)

    def write_batch(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # New rows that the rules let pass
        evaluation: Evaluation,  # Its counters
        transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
    ) -> Counters:
        "Replace rows by a batch of new ones, in one commit."
        path, keys = run.runtime.storage.table_path(flow.target), resolve_keys(flow, frame)
        with run.locks[flow.target]:
            replace_older_rows(frame, path, keys, flow.replacement.sequence_by, transaction)
        return batch_counters(run.runtime.spark, evaluation)


class ReplaceWhereFlow(ReplacingFlow, QueryFlow):
    "Computes a range of its target anew; rows outside of it stay as they are."

    def write_frame(
        self,
        run: Run,  # The update
        flow: Flow,  # The flow
        frame: DataFrame,  # Rows of its query in the range, a batch
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Replace the rows in the range, in one commit."
        dataset, path = run.runtime.graph.datasets[flow.target], run.runtime.storage.table_path(flow.target)
        stored = read_stored(run.runtime.spark, path)
        in_range = F.coalesce(range_predicate(flow, stored.columns), F.lit(False))
        rows = stored.where(~in_range).unionByName(frame, allowMissingColumns=True)
        overwrite_table(rows, path, list(dataset.partition_cols), list(dataset.cluster_by))
        return batch_counters(run.runtime.spark, evaluation)
