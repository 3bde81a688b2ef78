"`cdc prove` on pipelines: what is well made holds, and each common mistake is shown by a few rows."

import json
import os
import subprocess
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from prove_trials import MOVES, flow, moves, trial

from cdc_local.errors import UsageError
from cdc_local.operations import prove as proving
from cdc_local.operations.prove import choose_flows, prove_laws
from cdc_local.operations.prove_survey import Survey
from cdc_local.update.request import UpdateRequest

deep = pytest.mark.skipif(
    "PROVE" not in os.environ, reason="a dozen updates and more: make prove ARGS=pipelines"
)


ROOT = Path(__file__).resolve().parents[2]


MISTAKES = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def files():
    found = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    found = found.schema("id int, city string, at timestamp")
    return found.load("/Volumes/main/default/raw/moves")

@dp.temporary_view
def moves(): return files()

@dp.temporary_view
def first_moves(): return files().dropDuplicates(["id"])

def declare(target, source, sequence):
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target, source, ["id"], sequence, column_list=["id", "city"])

declare("by_arrival", "first_moves", "at")
declare("by_day", "moves", "to_date(at)")
declare("by_clock", "moves", F.expr("current_timestamp()"))
"""


@deep
def test_mistakes_are_caught_with_a_few_rows(tmp_path):
    (tmp_path / "moves.py").write_text(MISTAKES)
    findings = {
        (found.table, found.law): found
        for found in prove_laws(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"), events=24)
    }

    def broken(table):
        return {law for name, law in findings if name == table and findings[name, law].verdict == "breaks"}

    assert {"order", "batches"} <= broken("by_arrival") and "no ties" not in broken("by_arrival")
    assert broken("by_day") == {"no ties"}
    assert {"batches", "no ties"} <= broken("by_clock")
    for found in findings.values():
        if found.verdict == "breaks" and found.events:
            assert sum(map(len, found.events)) <= 8 and found.expected != found.found, found
    assert any(found.events for (table, law), found in findings.items() if table == "by_arrival")
    assert not (tmp_path / "none").exists()


@deep
def test_this_projects_pipeline_holds():
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from cdc_local.cli.main import main; main()",
            "prove",
            "transformations",
            "--events",
            "120",
            "--format",
            "json",
            "--storage",
            "no-such-storage",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ,
    )
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(found["table"], found["law"]) for found in findings if found["verdict"] == "holds"} >= {
        (table, law)
        for table in ("customers", "customers_history")
        for law in ("order", "batches", "repeats", "reference", "no ties")
    }
    assert ("customers", "current = open history", "holds") in {
        (found["table"], found["law"], found["verdict"]) for found in findings
    }


def test_what_cannot_be_generated_is_named(tmp_path):
    (tmp_path / "moves.py").write_text(MISTAKES.replace('.schema("id int, city string, at timestamp")', ""))
    with pytest.raises(
        UsageError, match="no feed can be made for /Volumes/main/default/raw/moves: its schema is inferred"
    ):
        prove_laws(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"))


def test_flows_that_no_feed_reaches_are_left_out_by_name():
    flows = [flow("one", "s"), flow("two", "s"), flow("never", "s"), flow("past", "s")]
    flows[3] = replace(flows[3], once=True)
    found = Survey(
        SimpleNamespace(flows={each.name: each for each in flows}),
        {name: [MOVES] for name in ("one", "two", "past")},
        {},
        {},
        {},
    )
    chosen, places, left = choose_flows(found)
    assert ([each.name for each in chosen], places) == (["one", "two"], [MOVES])
    assert [(each.table, each.why[:20]) for each in left] == [
        ("never", "no feed can be made:"),
        ("past", "flow past runs once,"),
    ]


def test_a_pipeline_without_auto_cdc_has_nothing_to_prove():
    survey = Survey(SimpleNamespace(flows={}), {}, {}, {}, {})
    with pytest.raises(UsageError, match="nothing to prove: the pipeline has no AUTO CDC flow"):
        choose_flows(survey)


def test_a_table_with_two_flows_is_tried_once_and_one_without_rows_is_told(tmp_path, monkeypatch):
    flows, outcomes = [flow("now", "landed"), flow("now", "landed")], iter([{("1",): ["row"]}, {}])
    survey = trial(tmp_path, *flows).survey
    for name, answer in (
        ("survey_pipeline", survey),
        ("choose_flows", (flows, [MOVES], ["left out"])),
        ("write_probes", None),
        ("update_session", nullcontext()),
        ("make_feed", moves((1, "Bern", 1), (2, "Oslo", 1))),
        ("play_delivery", "storage"),
        ("check_order_laws", ["order"]),
        ("check_content_laws", ["content"]),
        ("check_history_law", ["pairs"]),
    ):
        monkeypatch.setattr(proving, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(proving, "read_outcome", lambda *_: next(outcomes))
    request = UpdateRequest(("src",), tmp_path / "none")
    assert prove_laws(request) == ["left out", "order", "content", "pairs"]
    with pytest.raises(UsageError, match="no row of the feed reached main.default.now"):
        prove_laws(request)
