"What a pipeline's code reads by name or path."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from moves import MOVES, auto_cdc, moves
from pyspark.sql.types import StructType

from cdc_local.analysis import runtime as analysed_runtime
from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import analyse_flow
from cdc_local.analysis.runtime import (
    autoloader_key,
    checkpoint_path,
    empty_frame,
    read_stored,
    with_expectations,
)
from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.errors import PipelineError
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
        lambda spark, path, options, schema, folder, **_: folders.append(folder) or spark.range(1),
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


@pytest.mark.parametrize("streaming", [False, True])
def test_a_table_that_is_not_there_yet_has_its_columns_and_no_rows(spark, streaming):
    empty = empty_frame(spark, StructType.fromDDL("id string, amount int"), streaming)
    assert (empty.isStreaming, empty.schema.simpleString()) == (streaming, "struct<id:string,amount:int>")


def test_an_unknown_name_is_refused_with_what_to_do(runtime):
    words = "table ordres is neither in this pipeline nor in the storage"
    with pytest.raises(PipelineError, match=words) as wrong:
        runtime.read_table("ordres", False)
    assert wrong.value.hint == "declare it, or run the pipeline that makes it on the same --storage"


def test_rules_drop_rows_and_count_them_where_they_are_read(spark):
    evaluation = Evaluation(None)
    rule = Expectation("positive", "amount > 0", "drop")
    sales = Dataset(table("sales"), "materialized_view", expectations=(rule,))
    frame = spark.createDataFrame([("a", 10), ("b", -1)], "id string, amount int")
    paid = with_expectations(sales, frame, evaluation)
    assert [row.id for row in paid.collect()] == ["a"]
    assert evaluation.observed[sales.name].get == {"rows": 2, "dropped": 1, "failed_0": 1}


def test_the_modules_that_record_read_the_pipelines_tables(runtime, spark):
    runtime.dp.materialized_view(name="numbers")(lambda: spark.range(1))
    dlt = runtime.modules["dlt"]
    assert dlt.read("numbers").columns == ["id"]
    with pytest.raises(PipelineError, match="numbers is a materialized view"):
        dlt.read_stream("numbers")
