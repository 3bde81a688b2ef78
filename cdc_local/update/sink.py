"""Sinks: new rows into a function, a Delta table elsewhere, or what Spark calls a format."""

from pathlib import Path
from typing import Any

from pyspark.sql import DataFrame

from cdc_local.analysis.evaluation import Evaluation, handling_batch
from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.storage import localize
from cdc_local.update.append_flow import AppendFlow
from cdc_local.update.counters import Counters, batch_counters, stream_counters
from cdc_local.update.streams import Run, must_commit_as_one_batch, run_stream


class SinkFlow(AppendFlow):
    "Gives a stream's new rows to a sink."

    def append_stream(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow into a sink
        frame: DataFrame,  # A stream
        evaluation: Evaluation,  # Its counters
    ) -> Counters:
        "Give a stream's new rows to a sink, batch by batch."
        dataset = run.runtime.graph.datasets[flow.target]
        writer, path = sink_writer(run, dataset, frame.writeStream)
        progress = run_stream(run, flow, writer, path, must_commit_as_one_batch(run, evaluation))
        return stream_counters(evaluation, progress)

    def writes_batches(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow into a sink
    ) -> bool:
        "Functions and Delta tables take batches; what else Spark calls a format may only know streams."
        sink = run.runtime.graph.datasets[flow.target].sink
        return "handler" in sink or sink["format"] == "delta"

    def write_batch(
        self,
        run: Run,  # The update
        flow: Flow,  # A flow into a sink
        frame: DataFrame,  # New rows that the rules let pass
        evaluation: Evaluation,  # Its counters
        transaction: tuple[str, int],  # Name of the flow in its target, number of the batch
    ) -> Counters:
        "Give a batch of new rows to a sink."
        runtime, dataset = run.runtime, run.runtime.graph.datasets[flow.target]
        with run.locks[flow.target]:
            if "handler" in dataset.sink:
                with handling_batch(runtime.spark):
                    dataset.sink["handler"](frame, transaction[1])
            else:
                options, path = sink_options(run, dataset)
                writer = frame.write.format("delta").mode("append").option("mergeSchema", "true")
                writer = writer.options(**options)
                writer = writer.option("txnAppId", transaction[0]).option("txnVersion", transaction[1])
                writer.save(str(path))
        return batch_counters(runtime.spark, evaluation)


def sink_options(
    run: Run,  # The update
    dataset: Dataset,  # A sink that is no function
) -> tuple[dict[str, str], Path | str | None]:  # Options of its writer; where it writes, if it has a path
    "Read a sink's options, with the paths of this machine."
    storage = run.runtime.storage
    options = {key: localize(storage, str(value)) for key, value in dataset.sink["options"].items()}
    table = options.pop("tableName", None)
    path = storage.table_path(run.runtime.graph.name(table)) if table else options.pop("path", None)
    return options, path


def sink_writer(
    run: Run,  # The update
    dataset: Dataset,  # A sink
    writer: Any,  # A `DataStreamWriter`
) -> tuple[Any, Path | str | None]:  # The writer, ready to start; the path to start it with
    "Point a stream at a sink: a function, a Delta table, or what Spark calls the format."
    sink = dataset.sink
    if "handler" in sink:

        def handle(batch: DataFrame, batch_id: int) -> None:
            with handling_batch(run.runtime.spark):
                sink["handler"](batch, batch_id)

        return writer.foreachBatch(handle), None
    options, path = sink_options(run, dataset)
    if sink["format"] == "delta":
        writer = writer.option("mergeSchema", "true")
    return writer.format(sink["format"]).options(**options), path
