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
from cdc_local.delta.stream_progress import delete_unwritten_offsets, has_unfinished_batch
from cdc_local.storage import read_json
from cdc_local.update.event_log import EventLog


@dataclass
class Run:
    "One update while it runs."

    runtime: Runtime  # Names to frames
    log: EventLog  # Takes the events
    locks: dict = field(default_factory=dict)  # AUTO CDC target -> lock: its flows commit one after the other
    stopping: threading.Event = field(default_factory=threading.Event)  # Set by Ctrl-C


def must_commit_as_one_batch(
    run: Run,  # The update
    evaluation: Evaluation,  # What a flow observes: its target and the views it reads
) -> bool:  # Whether its rows are written all or not at all
    "Tell a flow that a rule may roll back."
    datasets = run.runtime.graph.datasets
    return any(rule.action == "fail" for name in evaluation.observed for rule in datasets[name].expectations)


def run_stream(
    run: Run,  # The update
    flow: Flow,  # Its flow
    writer: Any,  # A `DataStreamWriter`, ready to start
    path: Path | None,  # Where a Delta sink writes
    at_once: bool = False,  # Take all that is there as one batch
) -> list:  # The progress of each batch
    "Run a stream until it has caught up; raises what Spark raises."
    checkpoint = checkpoint_path(run.runtime, flow)
    delete_unwritten_offsets(checkpoint)
    writer = writer.option("checkpointLocation", str(checkpoint)).queryName(flow.name)
    rounds = 2 if at_once and has_unfinished_batch(checkpoint) else 1
    trigger = {"once": True} if at_once else {"availableNow": True}

    def start():
        return writer.trigger(**trigger).start(*([str(path)] if path else []))

    return [each for _ in range(rounds) for each in log_stream_progress(run, flow, start())]


def log_stream_progress(
    run: Run,  # The update
    flow: Flow,  # Its flow
    query: Any,  # Its `StreamingQuery`, started
) -> list:  # The progress of each batch
    "Tell of a stream's progress, and wait for its end."
    seen, rows = 0, 0
    while True:
        ended = query.awaitTermination(0.25)
        progress = query.recentProgress
        for each in progress[seen:]:
            rows += each.numInputRows
            run.log.record(
                "flow_progress",
                f"{flow.name}: {rows} rows read",
                flow_name=flow.name,
                dataset_name=str(flow.target),
                details={"flow_progress": {"status": "RUNNING", "metrics": {"num_input_rows": rows}}},
            )
        seen = len(progress)
        if ended:
            return progress


def run_batches(
    run: Run,  # The update
    flow: Flow,  # Its flow
    frame: DataFrame,  # A stream
    write: Callable,  # Writes a batch; gets the batch, and the stream's name with the batch's number
    at_once: bool = False,  # Take all that is there as one batch
) -> list:  # The progress of each batch
    "Run a stream whose batches a function writes, while no other flow writes to its target; raises what the function raises."
    lock, failed, checkpoint = run.locks[flow.target], [], checkpoint_path(run.runtime, flow)

    def write_batch(batch, batch_id):
        try:
            with lock:
                write(batch, (stream_id(checkpoint), batch_id))
        except Exception as error:
            failed.append(error)
            raise

    try:
        return run_stream(run, flow, frame.writeStream.foreachBatch(write_batch), None, at_once)
    except StreamingQueryException as error:
        if failed:
            raise failed[0] from error
        raise


def stream_id(
    checkpoint: Path,  # Of a stream that has started
) -> str:  # The same at every start, until the checkpoint is removed
    "The name that Spark has given a stream."
    return read_json(checkpoint / "metadata")["id"]
