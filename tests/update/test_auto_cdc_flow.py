"Deletes pass the rules of an AUTO CDC target."

from dataclasses import replace

import pytest

pytest.importorskip("pyspark")

from pipelines import table

from cdc_local.dataflow.expectations import is_broken
from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.update.auto_cdc_flow import upserts_and_deletes
from cdc_local.update.strategies import choose_strategy
from cdc_utils.spec import CdcSpec


def test_delete_events_pass_the_rules_of_their_target(spark):
    frame = spark.createDataFrame([(None, "D"), (None, "U"), (1, "U"), (None, None)], "n int, op string")
    dataset = Dataset(
        table("t"), "streaming_table", expectations=(Expectation("n", "n IS NOT NULL", "drop"),)
    )
    flow = Flow("f", table("t"), "auto_cdc", spec=CdcSpec("t", "s", ["n"], "n", apply_as_deletes="op = 'D'"))

    def rules(flow):
        return choose_strategy(flow, dataset).rules_for(dataset, flow, ["n", "op"]).expectations

    def kept(flow):
        return frame.where(~is_broken(rules(flow)[0])).count()

    assert (kept(flow), rules(flow)[0].action) == (2, "drop")
    assert kept(replace(flow, spec=CdcSpec("t", "s", ["n"], "n", apply_as_truncates="op = 'D'"))) == 2
    for other in (replace(flow, kind="append"), replace(flow, spec=CdcSpec("t", "s", ["n"], "n"))):
        assert kept(other) == 1


def test_upserts_and_deletes_are_counted(spark):
    events = spark.createDataFrame([("a", False), ("a", True), ("b", False)], "id string, __deleted boolean")
    assert events.agg(*upserts_and_deletes()).first().asDict() == {"upserted": 2, "deleted": 1}
