"Where a flow takes its snapshots from, and how far it is."

import json

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.evaluation import Evaluation
from cdc_local.analysis.flow_analysis import analyse_flow
from cdc_local.analysis.snapshot_source import latest_version, next_snapshot, stored_source_columns
from cdc_local.auto_cdc.target import Target, create_backing_table
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName
from cdc_utils.spec import CdcSpec


def table(name):
    return TableName("main", "default", name)


def analysed(runtime):
    return {name: analyse_flow(runtime, flow) for name, flow in list(runtime.graph.flows.items())}


def test_an_answer_is_kept_for_one_question(runtime):
    flow = Flow("f", table("t"), "snapshot", snapshots=lambda latest: ("asked", latest))

    def answers(*versions):
        runtime.snapshot_answers["f"] = 1, ("kept", 1)
        return [next_snapshot(runtime, flow, version, Evaluation(flow)) for version in versions]

    assert answers(1, 1) == [("kept", 1), ("asked", 1)]
    assert answers(None) == [("asked", None)]  # after a full refresh


def test_a_snapshot_of_a_stand_in_is_not_kept(runtime, spark):
    runtime.dp.materialized_view(name="base")(lambda: spark.range(1))
    for name, source in (
        ("derived", lambda latest: (spark.read.table("base"), 1)),
        ("landed", lambda latest: (spark.range(1), 1)),
    ):
        runtime.dp.create_streaming_table(name)
        runtime.dp.create_auto_cdc_from_snapshot_flow(name, source, ["id"])
    analysed(runtime)
    assert list(runtime.snapshot_answers) == ["main.default.landed"]


@pytest.mark.parametrize("noted, latest", [(None, 3), (2, 3), (5, 5)])
def test_how_far_a_table_of_snapshots_is(
    runtime, spark, noted, latest
):  # 2: killed before the note; 5: a snapshot that changed nothing
    flow = Flow("f", table("t"), "snapshot")
    assert latest_version(runtime, flow) is None
    spark.range(4).selectExpr("id AS __sequence").write.format("delta").save(
        str(runtime.storage.table_path(flow.target))
    )
    note = runtime.storage.flow_path(flow.target, flow.name) / "version.json"
    note.parent.mkdir(parents=True)
    if noted:
        note.write_text(json.dumps({"version": noted, "type": "bigint"}))
    assert latest_version(runtime, flow) == latest


def test_the_columns_of_a_table_of_snapshots_that_gets_no_newer_one(runtime, spark):

    flow = Flow(
        "f",
        table("t"),
        "snapshot",
        spec=CdcSpec(
            "t",
            "following()",
            ["id"],
            "__version",
            "__absent",
            except_column_list=("__version", "__absent"),
            stored_as_scd_type=2,
        ),
    )
    with pytest.raises(PipelineError, match=r"has no snapshot yet: following\(\) returned None"):
        stored_source_columns(runtime, flow)
    changes = spark.createDataFrame([], "id int, city string, __version int, __absent boolean")
    create_backing_table(
        spark, runtime.storage.table_path(flow.target), Target.of(flow, changes.schema), changes.schema
    )
    assert stored_source_columns(runtime, flow).schema.simpleString() == changes.schema.simpleString()
