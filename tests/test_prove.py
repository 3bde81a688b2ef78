"`cdc prove` on pipelines: what is well made holds, and each common mistake is shown by a few rows."
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cdc_utils.local.errors import UsageError
from cdc_utils.local.prove import prove
from cdc_utils.local.update import UpdateRequest

deep = pytest.mark.skipif("PROVE" not in os.environ, reason="a dozen updates and more: make prove ARGS=pipelines")
ROOT = Path(__file__).resolve().parents[1]
MISTAKES = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def files():
    found = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").schema("id int, city string, at timestamp")
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
    findings = {(found.table, found.law): found for found in prove(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"), events=24)}
    def broken(table): return {law for name, law in findings if name == table and findings[name, law].verdict == "breaks"}
    assert {"order", "batches"} <= broken("by_arrival") and "no ties" not in broken("by_arrival")
    assert broken("by_day") == {"no ties"}
    assert {"batches", "no ties"} <= broken("by_clock")
    for found in findings.values():
        if found.verdict == "breaks" and found.events: assert sum(map(len, found.events)) <= 8 and found.expected != found.found, found
    assert any(found.events for (table, law), found in findings.items() if table == "by_arrival")
    assert not (tmp_path / "none").exists()


@deep
def test_this_projects_pipeline_holds():
    done = subprocess.run([sys.executable, "-c", "from cdc_utils.cli import main; main()", "prove", "transformations", "--events", "120", "--format", "json",
        "--storage", "no-such-storage"], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    findings = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stdout + done.stderr
    assert {(found["table"], found["law"]) for found in findings if found["verdict"] == "holds"} >= {
        (table, law) for table in ("customers", "customers_history") for law in ("order", "batches", "repeats", "reference", "no ties")}
    assert ("customers", "current = open history", "holds") in {(found["table"], found["law"], found["verdict"]) for found in findings}


def test_what_cannot_be_generated_is_named(tmp_path):
    (tmp_path / "moves.py").write_text(MISTAKES.replace('.schema("id int, city string, at timestamp")', ""))
    with pytest.raises(UsageError, match="no feed can be made for /Volumes/main/default/raw/moves: its schema is inferred"):
        prove(UpdateRequest((str(tmp_path / "moves.py"),), tmp_path / "none"))
