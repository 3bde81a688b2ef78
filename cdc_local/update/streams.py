"""A stream runs until it has caught up, batch by batch."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pyspark.errors import StreamingQueryException
from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.runtime import Runtime, checkpoint_path
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.rows import format_count
from cdc_local.delta.stream_progress import delete_unwritten_offsets, has_unfinished_batch
from cdc_local.errors import NeedsSparkError
from cdc_local.storage import TableName, read_json
from cdc_local.update.event_log import EventLog

# Writes a batch; gets the batch, and its transaction: the stream's name and the batch's number
BatchWriter = Callable[[DataFrame, tuple[str, int]], None]


@dataclass
class Run:
    "One update while it runs."

    runtime: Runtime  # Names to frames
    log: EventLog  # Takes the events
    # Target -> lock: flows into one target commit one after the other
    locks: dict[TableName, threading.Lock] = field(default_factory=dict)
    stopping: threading.Event = field(default_factory=threading.Event)  # Set by Ctrl-C
    may_leave: bool = False  # Whether Spark runs what Sail does not
    needs_spark: NeedsSparkError | None = None  # What Sail has left to Spark, and has stopped the flows


def must_commit_as_one_batch(
    run: Run,  # The update
    evaluation: Evaluation,  # What a flow observes: its target and the views it reads
) -> bool:  # Whether its rows are written all or not at all
    "Tell a flow that a rule may roll back."
    datasets = run.runtime.graph.datasets
    target = {evaluation.flow.target} if evaluation.flow is not None else set()
    names = {*target, *evaluation.observed}
    return any(rule.action == "fail" for name in names for rule in datasets[name].expectations)


def run_stream(
    run: Run,  # The update
    flow: Flow,  # Its flow
    writer: Any,  # A `DataStreamWriter`, ready to start
    path: Path | str | None,  # Where a Delta sink writes
    at_once: bool = False,  # Take all that is there as one batch
) -> list[Any]:  # The progress of each batch
    "Run a stream until it has caught up; raises what Spark raises."
    checkpoint = checkpoint_path(run.runtime, flow)
    delete_unwritten_offsets(checkpoint)
    writer = writer.option("checkpointLocation", str(checkpoint)).queryName(flow.name)
    # a batch that an interrupted update had planned ends as planned; what came after it is a second one
    rounds = 2 if at_once and has_unfinished_batch(checkpoint) else 1
    trigger = {"once": True} if at_once else {"availableNow": True}
    progress = []
    for _ in range(rounds):
        query = writer.trigger(**trigger).start(*([str(path)] if path else []))
        progress += log_stream_progress(run, flow, query)
    return progress


def log_rows_read(
    run: Run,  # The update
    flow: Flow,  # One of its flows
    rows: int,  # Read so far
) -> None:
    "Record in the event log how much a flow has read."
    run.log.record(
        "flow_progress",
        f"{flow.name}: {format_count(rows, 'row')} read",
        flow_name=flow.name,
        dataset_name=str(flow.target),
        details={"flow_progress": {"status": "RUNNING", "metrics": {"num_input_rows": rows}}},
    )


def log_stream_progress(
    run: Run,  # The update
    flow: Flow,  # Its flow
    query: Any,  # Its `StreamingQuery`, started
) -> list[Any]:  # The progress of each batch
    "Record a stream's progress in the event log, and wait for its end."
    logged, rows = 0, 0
    while True:
        ended = query.awaitTermination(0.25)
        progress: list[Any] = query.recentProgress
        for batch in progress[logged:]:
            rows += batch.numInputRows
            log_rows_read(run, flow, rows)
        logged = len(progress)
        if ended:
            return progress


def run_batches(
    run: Run,  # The update
    flow: Flow,  # Its flow
    frame: DataFrame,  # A stream
    write: BatchWriter,  # Writes each batch
    at_once: bool = False,  # Take all that is there as one batch
    output_mode: str = "append",  # 'complete' where each batch has all rows so far
) -> list[Any]:  # The progress of each batch
    "Run a stream whose batches a function writes, no other flow meanwhile; raises what the function raises."
    lock, checkpoint = run.locks[flow.target], checkpoint_path(run.runtime, flow)
    failures: list[Exception] = []

    def write_batch(batch: DataFrame, batch_id: int) -> None:
        try:
            with lock:
                write(batch, (stream_id(checkpoint), batch_id))
        except Exception as error:
            failures.append(error)
            raise

    try:
        writer = frame.writeStream.outputMode(output_mode).foreachBatch(write_batch)
        return run_stream(run, flow, writer, None, at_once)
    except StreamingQueryException as error:
        if failures:
            raise failures[0] from error
        raise


def stream_id(
    checkpoint: Path,  # Of a stream that has started
) -> str:  # The same at every start, until the checkpoint is removed
    "The name that Spark has given a stream."
    return str(read_json(checkpoint / "metadata")["id"])
