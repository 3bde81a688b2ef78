"What a pipeline's code reads by name or path."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from moves import MOVES, auto_cdc, moves

from cdc_local.analysis import runtime as analysed_runtime
from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import analyse_flow
from cdc_local.analysis.runtime import (
    autoloader_key,
    checkpoint_path,
    read_stored,
    with_expectations,
)
from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.storage import TableName


def table(name):
    return TableName("main", "default", name)


def test_flows_into_one_table_keep_a_checkpoint_each(storage):
    one, other = (
        checkpoint_path(SimpleNamespace(storage=storage), Flow(name, table("t"), "append"))
        for name in ("one", "other")
    )
    assert one != other and one.name == other.name == "checkpoint"


def analysed(runtime):
    return {name: analyse_flow(runtime, flow) for name, flow in list(runtime.graph.flows.items())}


def test_rows_of_a_table_are_counted_with_rules_or_without(spark):
    evaluation = Evaluation(None)
    for name, kind, rules in (
        ("t", "streaming_table", ()),
        ("v", "view", ()),
        ("w", "view", (Expectation("r", "id > 0", "drop"),)),
    ):
        with_expectations(Dataset(table(name), kind, expectations=rules), spark.range(2), evaluation)
    assert list(evaluation.observed) == [table("t"), table("w")]


@pytest.mark.parametrize("keep", [True, False])
def test_inferred_schemas_are_kept_beside_the_checkpoint_of_a_flow(runtime, spark, monkeypatch, keep):
    runtime.keep_schemas, folders = keep, []
    monkeypatch.setattr(
        analysed_runtime,
        "read_stream",
        lambda spark, path, options, schema, folder, warn: folders.append(folder) or spark.range(1),
    )
    runtime.dp.table(name="t")(lambda: spark.readStream.format("cloudFiles").load("/data/in"))
    analysed(runtime)
    assert folders == [
        runtime.storage.flow_path(table("t"), "main.default.t") / "schemas" / "7ae7e08052a5" if keep else None
    ]
    assert (
        autoloader_key("/other/in") != autoloader_key("/data/in") == "7ae7e08052a5"
    )  # it names folders of storages that are there


def test_what_auto_cdc_hides_is_not_read(runtime, spark):

    flow = auto_cdc(moves(track_history_column_list=["id"]))
    changes = spark.createDataFrame([(1, "Bern", 1, "U"), (1, "Oslo", 2, "U"), (2, None, 1, "D")], MOVES)
    target, path = Target.of(flow, changes.schema), runtime.storage.table_path(flow.target)
    create_backing_table(spark, path, target, changes.schema)
    apply_events(extract_events(changes, target), path, target)
    assert spark.read.format("delta").load(str(path)).count() > 1
    assert [tuple(row) for row in read_stored(spark, path).collect()] == [(1, "Oslo", 1, None)]
