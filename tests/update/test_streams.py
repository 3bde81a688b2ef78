"A stream runs until it has caught up, and its progress is logged."

import json
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from pipelines import pipeline, table

from cdc_local.dataflow.graph import Dataset, Expectation, Flow
from cdc_local.update.streams import log_stream_progress, must_commit_as_one_batch, stream_id


def test_a_checkpoint_made_anew_is_another_stream(tmp_path):
    for name in ("first", "after a full refresh"):
        (tmp_path / "metadata").write_text(json.dumps({"id": name}))
        assert stream_id(tmp_path) == name


@pytest.mark.parametrize(
    "target, view, wanted", [("drop", "fail", True), ("fail", "drop", True), ("drop", "warn", False)]
)
def test_a_flow_is_written_whole_where_a_rule_of_it_or_of_its_views_fails(target, view, wanted):
    run = pipeline()
    for name, action in (("t", target), ("v", view)):
        run.runtime.graph.add_dataset(
            Dataset(
                table(name),
                "view",
                expectations=(Expectation("other", "x", "warn"), Expectation("r", "x", action)),
            )
        )
    assert (
        must_commit_as_one_batch(
            run,
            SimpleNamespace(flow=Flow("t", table("t"), "append"), observed={table("t"): 1, table("v"): 2}),
        )
        == wanted
    )


def test_rows_read_are_told_once():
    progress, ends = [SimpleNamespace(numInputRows=rows) for rows in (3, 4, 5)], iter((0, 2, 3))
    query = SimpleNamespace(recentProgress=[])

    def wait(_):
        query.recentProgress = progress[: next(ends)]
        return len(query.recentProgress) == 3

    query.awaitTermination = wait
    run = pipeline("f")
    assert log_stream_progress(run, run.runtime.graph.flows["f"], query) == progress
    assert [args[1] for args, _ in run.log] == ["f: 3 rows read", "f: 7 rows read", "f: 12 rows read"]
