"Append flows write once, and a sink writes where it says."

import shutil
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from pipelines import Log, table

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.dataflow.graph import Dataset, Flow, Graph
from cdc_local.delta.writer import create_table
from cdc_local.storage import TableName
from cdc_local.update.append_flow import AppendFlow
from cdc_local.update.sink import sink_writer
from cdc_local.update.streams import Run


def test_where_a_sink_writes(storage, spark):
    runtime = SimpleNamespace(storage=storage, graph=Graph("main", "default"), spark=spark)
    run, batches = Run(runtime, Log()), []

    class Writer(dict):
        def format(self, name):
            return self.option("format", name)

        def options(self, **options):
            return Writer(self | options)

        def option(self, key, value):
            return self.options(**{key: value})

        def foreachBatch(self, function):  # noqa: N802 (PySpark's own name for it)
            return self.option("each", function)

    def pointed(**sink):
        return sink_writer(run, SimpleNamespace(sink=sink), Writer())

    assert pointed(format="delta", options={"tableName": "crm.t"}) == (
        {"format": "delta", "mergeSchema": "true"},
        storage.table_path(TableName("main", "crm", "t")),
    )
    assert pointed(format="delta", options={"path": "/Volumes/main/a"}) == (
        {"format": "delta", "mergeSchema": "true"},
        f"{storage.root}/Volumes/main/a",
    )
    assert pointed(format="kafka", options={"topic": "t"}) == ({"format": "kafka", "topic": "t"}, None)
    writer, path = pointed(handler=lambda batch, number: batches.append((batch, number)))
    writer["each"]("rows", 7)
    assert (path, batches) == (None, [("rows", 7)])


def test_a_backfill_that_is_written_twice_lands_once(
    storage, spark
):  # killed between the commit and the mark that it is done
    graph = Graph("main", "default")
    graph.add_dataset(Dataset(table("t"), "streaming_table"))
    runtime = SimpleNamespace(storage=storage, spark=spark, graph=graph)
    run = Run(runtime, Log(), {table("t"): threading.Lock()})
    flow, path = Flow("once", table("t"), "append", once=True), str(storage.table_path(table("t")))
    create_table(spark, Path(path), spark.range(0).schema)

    def append():
        return AppendFlow().append_once(run, flow, spark.range(2), Evaluation(flow))

    def rows():
        return spark.read.format("delta").load(path).count()

    for _ in range(2):
        append()
    assert rows() == 2
    shutil.rmtree(storage.flow_path(table("t"), "once"))
    append()
    assert rows() == 4
