"Each kind of flow has a strategy, chosen at one place."

import pytest

pytest.importorskip("pyspark")

from pipelines import table
from pyspark.sql.types import StructType

from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.update.append_flow import AppendFlow
from cdc_local.update.auto_cdc_flow import AutoCdcFlow
from cdc_local.update.counters import CHANGES
from cdc_local.update.materialized_view import MaterializedViewFlow
from cdc_local.update.sink import SinkFlow
from cdc_local.update.snapshot_flow import SnapshotFlow
from cdc_local.update.strategies import choose_strategy


@pytest.mark.parametrize(
    "kind, target, strategy, idle",
    [
        ("append", "streaming_table", AppendFlow, {}),
        ("append", "sink", SinkFlow, {}),
        ("complete", "materialized_view", MaterializedViewFlow, {}),
        ("auto_cdc", "streaming_table", AutoCdcFlow, {CHANGES: []}),
        ("snapshot", "streaming_table", SnapshotFlow, {CHANGES: []}),
    ],
)
def test_the_kind_of_a_flow_and_of_its_target_choose(kind, target, strategy, idle):
    chosen = choose_strategy(Flow("f", table("t"), kind), Dataset(table("t"), target))
    assert type(chosen) is strategy and chosen.idle_counters() == idle


def test_a_kind_that_is_not_settled_has_none():
    with pytest.raises(KeyError, match="table"):
        choose_strategy(Flow("f", table("t"), "table"), Dataset(table("t"), "table"))


def test_each_append_flow_answers_for_its_own_columns():
    class Analysed:
        schemas = {table("t"): StructType.fromDDL("n bigint, m int")}
        source_columns = {"f": StructType.fromDDL("n int")}

    flow = Flow("f", table("t"), "append")
    assert AppendFlow().incoming_columns(Analysed, flow).names == ["n"]
    assert AutoCdcFlow().incoming_columns(Analysed, flow).names == ["n", "m"]


def test_only_auto_cdc_changes_the_rules_of_its_target():
    dataset = Dataset(table("t"), "streaming_table", expectations=(Expectation("n", "n > 0", "drop"),))
    flow = Flow("f", table("t"), "append")
    for strategy in (AppendFlow(), SinkFlow(), MaterializedViewFlow()):
        assert strategy.rules_for(dataset, flow, ["n"]) is dataset
