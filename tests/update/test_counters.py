"What an update counts."

from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from pipelines import pipeline, table

from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.update.counters import (
    CHANGES,
    batch_counters,
    progress_details,
    stream_counters,
    summarize_flow,
)
from cdc_utils.results import ExpectationCount, FlowResult


def test_a_batch_without_counters_counts_nothing():
    progress = [
        SimpleNamespace(observedMetrics={"r0": 1, "other": 2}),
        SimpleNamespace(observedMetrics={}),
        SimpleNamespace(observedMetrics={"r0": 3}),
    ]
    assert stream_counters(SimpleNamespace(observed={table("t"): "r0", table("v"): "r1"}), progress) == {
        table("t"): [1, 3],
        table("v"): [],
    }


def test_progress_details():
    result = FlowResult("f", "t", "COMPLETED", 5, None, 0, 2, (ExpectationCount("t", "r", 3, 4),))
    assert progress_details(result) == {
        "metrics": {"num_output_rows": 5, "num_deleted_rows": 0},
        "data_quality": {
            "dropped_records": 2,
            "expectations": [{"dataset": "t", "name": "r", "passed_records": 3, "failed_records": 4}],
        },
    }


def test_flow_results_sum_views_and_target():
    run = pipeline("t")
    graph, rule = run.runtime.graph, Expectation("r", "x", "drop")
    graph.datasets[table("t")] = replace(graph.datasets[table("t")], expectations=(rule,))
    graph.add_dataset(Dataset(table("v"), "view", expectations=(rule,)))
    counters = {
        table("t"): [{"rows": 4, "dropped": 1, "failed_0": 1}, {"rows": 3, "dropped": 0, "failed_0": 0}],
        table("v"): [{"rows": 9, "dropped": 2, "failed_0": 2}],
    }
    result = summarize_flow(run.runtime.graph, graph.flows["t"], dict(counters), 1.5)
    assert (
        result.num_output_rows,
        result.num_upserted_rows,
        result.num_deleted_rows,
        result.dropped_records,
        result.seconds,
    ) == (6, None, None, 3, 1.5)
    assert [(count.dataset, count.failed_records) for count in result.expectations] == [
        ("main.default.t", 1),
        ("main.default.v", 2),
    ]
    result = summarize_flow(
        run.runtime.graph,
        graph.flows["t"],
        counters | {CHANGES: [{"upserted": 2, "deleted": 1}, {"upserted": 4, "deleted": 0}]},
        0,
    )
    assert (result.num_output_rows, result.num_upserted_rows, result.num_deleted_rows) == (7, 6, 1)


def test_a_batch_is_counted_for_its_target_and_the_views_it_reads(spark):
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    frame, seen = spark.range(3), {table("t"): Observation(), table("v"): Observation()}
    for each in seen.values():
        frame = frame.observe(each, F.count("*").alias("rows"))
    frame.collect()
    evaluation = SimpleNamespace(
        flow=Flow("t", table("t"), "complete"), observed=seen | {table("s"): "counters of a stream"}
    )
    assert batch_counters(spark, evaluation) == {table("t"): [{"rows": 3}], table("v"): [{"rows": 3}]}
