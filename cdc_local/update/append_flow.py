"""Append flows: new rows into a table or a sink."""

import uuid
from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation, declaring
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.delta.writer import append_batch
from cdc_local.storage import localize
from cdc_local.update.counters import batch_counters, stream_counters
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_batches, run_stream


def append_stream(
    run: Run,  # The update
    flow: Flow,  # A flow of kind 'append'
    frame: DataFrame,  # Its rows
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset
    "Append a stream's new rows to a table or a sink."
    dataset = run.runtime.graph.datasets[flow.target]
    if not frame.isStreaming:
        return append_once(run, flow, frame, evaluation)
    path, at_once = run.runtime.storage.table_path(flow.target), must_commit_as_one_batch(run, evaluation)
    if dataset.kind == "sink":
        return stream_counters(
            evaluation, run_stream(run, flow, *sink_writer(run, dataset, frame.writeStream), at_once)
        )

    def write(batch, transaction):
        append_batch(batch, path, transaction)

    return stream_counters(evaluation, run_batches(run, flow, frame, write, at_once))


def append_once(
    run: Run,  # The update
    flow: Flow,  # An append flow with `once=True`
    frame: DataFrame,  # A batch
    evaluation: Evaluation,  # Its counters
) -> dict:  # Observed counters by dataset
    "Append a batch; appended twice after a crash, the second changes nothing."
    folder = run.runtime.storage.flow_path(flow.target, flow.name)
    folder.mkdir(parents=True, exist_ok=True)
    identity = folder / "id"
    if not identity.exists():
        identity.write_text(str(uuid.uuid4()))
    with run.locks[flow.target]:
        append_batch(frame, run.runtime.storage.table_path(flow.target), (identity.read_text(), 0))
    return batch_counters(run.runtime.spark, evaluation)


def sink_writer(
    run: Run,  # The update
    dataset: Dataset,  # A sink
    writer: Any,  # A `DataStreamWriter`
) -> tuple[Any, Path | None]:
    "Point a stream at a sink: a function, a Delta table, or what Spark calls the format."
    sink, storage = dataset.sink, run.runtime.storage
    if "handler" in sink:

        def handle(batch, batch_id):
            with declaring():
                sink["handler"](batch, batch_id)

        return writer.foreachBatch(handle), None
    options = {key: localize(storage, str(value)) for key, value in sink["options"].items()}
    table = options.pop("tableName", None)
    path = storage.table_path(run.runtime.graph.name(table)) if table else options.pop("path", None)
    if sink["format"] == "delta":
        writer = writer.option("mergeSchema", "true")
    return writer.format(sink["format"]).options(**options), path
