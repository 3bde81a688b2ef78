"""`*.unit_tests.yml` as pytest runs them: two pipelines on Sail in a process, one on Spark in this one."""

import os
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from cdc_local.unit_tests.check import UnitTestFailure, run_test
from cdc_local.unit_tests.declarations import read_unit_tests
from cdc_local.unit_tests.pipeline import PipelineUnderTest
from cdc_local.unit_tests.settings import PipelineSettings

ROOT = Path(__file__).parents[2]

MEMBERS = """\
from pyspark import pipelines as dp

@dp.table
@dp.expect_or_drop("valid_id", "id IS NOT NULL")
@dp.expect("known_city", "city IS NOT NULL")
def changes():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    schema = "id int, city string, amount decimal(10,2), op string, at timestamp"
    return files.schema(schema).load("/Volumes/main/default/raw/changes")

@dp.table
def quarantine():
    return spark.readStream.table("main.ext.raw").where("id IS NULL")

@dp.temporary_view
def large_changes():
    return spark.readStream.table("changes").where("amount > 10")

dp.create_streaming_table("members")
dp.create_auto_cdc_flow(target="members", source="changes", keys=["id"], sequence_by="at",
    apply_as_deletes="op = 'DELETE'", except_column_list=["op", "at"], stored_as_scd_type=2)

@dp.materialized_view
def cities():
    return spark.read.table("members").where("__END_AT IS NULL").groupBy("city").count()

@dp.table
@dp.expect_or_fail("positive", "amount > 0")
def strict():
    return spark.readStream.table("changes")

dp.create_streaming_table("mirror")
dp.create_auto_cdc_from_snapshot_flow(target="mirror", source="ext.people", keys=["id"], stored_as_scd_type=2)
"""

TOTALS = """\
CREATE OR REFRESH MATERIALIZED VIEW totals AS
  SELECT id, sum(amount) AS amount FROM main.silver.orders WHERE amount > ${least} GROUP BY id;
"""

HISTORY = """\
tests:
  - name: history in steps
    model: members
    steps:
      - given:
          - table: changes
            rows:
              - {id: 1, city: Rome, at: 2026-03-01 08:00:00}
              - {id: 1, city: Oslo, at: 2026-03-01 12:00:00}
        expect:
          rows:
            - {city: Rome, __START_AT: 2026-03-01 08:00:00, __END_AT: 2026-03-01 12:00:00}
            - {city: Oslo, __START_AT: 2026-03-01 12:00:00, __END_AT: null}
      - given:
          - table: changes
            rows:
              - {id: 1, op: DELETE, at: 2026-03-01 14:00:00}
              - {id: 1, city: Bern, at: 2026-03-01 10:00:00}
        expect:
          rows:
            - {city: Rome, __END_AT: 2026-03-01 10:00:00}
            - {city: Bern, __END_AT: 2026-03-01 12:00:00}
            - {city: Oslo, __END_AT: 2026-03-01 14:00:00}
"""

OTHERS = """
  - name: a file lands and rules are counted
    model: changes
    given:
      - path: /Volumes/main/default/raw/changes/1.json
        rows: [{id: 1, city: Rome}, {city: Oslo}, {id: 2}]
    expect:
      rows: [{id: 1}, {id: 2}]
      dropped: 1
      expectations:
        valid_id: {passed: 2, failed: 1}
        changes.known_city: {failed: 1}

  - name: quarantined rows of a table that no pipeline declares
    model: quarantine
    given:
      - table: main.ext.raw
        rows: [{id: 1}, {id: null, why: x}]
    expect:
      rows: [{id: null, why: x}]

  - name: a view keeps its rows
    model: large_changes
    given: [{table: changes, rows: [{id: 1, amount: 3.50}, {id: 2, amount: 11}]}]
    expect: {rows: [{id: 2, amount: 11}]}

  - name: what lies between is run
    model: cities
    given:
      - table: changes
        rows: [{id: 1, city: Rome, at: 2026-03-01}, {id: 2, city: Rome, at: 2026-03-01}]
    expect:
      rows: [{city: Rome, count: 2}]
      tables: [{table: members, rows: [{id: 1}, {id: 2}]}]

  - name: an update that fails
    model: strict
    given: [{table: changes, rows: [{id: 1, amount: -1}]}]
    expect: {rows: [], error: rule 'positive' (amount > 0)}

  - name: snapshots replace each other
    model: mirror
    steps:
      - given: [{table: ext.people, schema: "id INT, city STRING", rows: [{id: 1, city: Rome}, {id: 2}]}]
        expect: {rows: [{id: 1, city: Rome}, {id: 2, city: null}]}
      - given: [{table: ext.people, mode: overwrite, rows: [{id: 1, city: Bern}]}]
        expect: {rows: [{id: 1, city: Rome}, {id: 1, city: Bern}, {id: 2}]}
"""

WRONG = """\
tests:
  - name: rows differ
    model: members
    given: [{table: changes, rows: [{id: 1, city: Rome, at: 2026-03-01}]}]
    expect:
      rows:
        - {id: 1, city: Oslo}
  - name: counts differ
    model: changes
    given: [{path: /Volumes/main/default/raw/changes/1.json, rows: [{id: 1}]}]
    expect: {expectations: {known_city: {failed: 0}}}
  - name: no such dataset
    model: member
    expect: {rows: []}
  - name: no such given table
    model: members
    given: [{table: change, rows: [{id: 1}]}]
    expect: {rows: []}
  - name: no such column
    model: members
    given: [{table: changes, rows: [{id: 1, town: Rome}]}]
    expect: {rows: []}
  - name: no such expected column
    model: members
    given: [{table: changes, rows: []}]
    expect: {rows: [{town: Rome}]}
  - name: no such value
    model: members
    given: [{table: changes, rows: [{id: one}]}]
    expect: {rows: []}
  - name: no such rule
    model: changes
    expect: {expectations: {valid: {failed: 0}}}
  - name: another error
    model: strict
    given: [{table: changes, rows: [{id: 1, amount: -1}]}]
    expect: {error: rule 'negative'}
  - name: no error
    model: strict
    given: [{table: changes, rows: []}]
    expect: {error: rule 'positive'}
  - name: an error that nobody expects
    model: strict
    given: [{table: changes, rows: [{id: 1, amount: -1}]}]
    expect: {rows: []}
  - name: no columns
    model: quarantine
    given: [{table: main.ext.raw, rows: []}]
    expect: {rows: []}
  - name: given and under test
    model: changes
    given: [{table: changes, rows: []}]
    expect: {rows: []}
"""

SAID = {
    "rows differ": """\
        @6: rows differ
           id  city
        -  1   Oslo  expected
        +  1   Rome  actual, differs in city""",
    "counts differ": "@11: rows that break known_city: expected 0, actual 1",
    "no such dataset": "@12: no dataset member in this pipeline; did you mean members?",
    "no such given table": "@17: members reads no table change; did you mean changes?",
    "no such column": "@21: changes has no column 'town'; there is id, city, amount",
    "no such expected column": "@26: members has no column 'town'; there is id, city",
    "no such value": "@29: changes.id: 'one' is no int",
    "no such rule": "@33: no expectation 'valid' in this update; there is changes.known_city",
    "another error": "@37: the update failed otherwise\n-  expected  rule 'negative'\n+",
    "no error": "@41: the update completed; expected an error: rule 'positive'",
    "an error that nobody expects": "@45: the update failed: members/members.py:27: main.default.strict: EXP",
    "no columns": "@48: nothing says which columns main.ext.raw has; add schema: id INT",
    "given and under test": "@52: changes is given, and it is under test; give what",
}

TOTALS_TESTS = """\
pipeline:
  schema: silver
  configuration: {least: 1}
tests:
  - name: the configuration is filled in
    model: totals.sql
    given:
      - table: orders
        format: sql
        rows: SELECT 1 AS id, 2.50BD AS amount UNION ALL SELECT 1, 0.50BD
    expect: {rows: [{id: 1, amount: 2.5}]}
  - name: a test may say it anew
    model: totals
    configuration: {least: 0}
    given: [{table: "${cdc.catalog}.silver.orders", rows: [{id: 1, amount: 2}, {id: 1, amount: 1}]}]
    expect: {rows: [{amount: 3}]}
"""

IN_PYTHON = """\
import pytest
from cdc_local.errors import PipelineError


@pytest.fixture
def pipeline_settings():
    return {"sources": "members"}


FOLDER = "/Volumes/main/default/raw/changes"


def test_files_land_and_tables_are_read(pipeline):
    pipeline.land(FOLDER, {"id": 1, "city": "Rome", "at": "2026-03-01T08:00:00Z"})
    pipeline.update("members")
    pipeline.land(FOLDER, {"id": 1, "city": "Oslo", "at": "2026-03-01T09:00:00Z"})
    result = pipeline.update("members")
    assert pipeline.rows("members", "id", "city") == [(1, "Oslo"), (1, "Rome")]
    assert result.state == "COMPLETED"


def test_rows_are_given_and_an_update_fails(pipeline):
    pipeline.give("changes", {"id": 1, "amount": -1})
    with pytest.raises(PipelineError, match="positive"):
        pipeline.update("strict")
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "Two pipelines and their tests"
    root = tmp_path_factory.mktemp("project")
    for name, text in {
        "pytest.ini": "[pytest]\n",
        "members/members.py": MEMBERS,
        "members/members.unit_tests.yml": HISTORY + OTHERS,
        "members/wrong.unit_tests.yml": WRONG,
        "totals/totals.sql": TOTALS,
        "totals/totals.unit_tests.yaml": TOTALS_TESTS,
        "test_in_python.py": IN_PYTHON,
        "broken/broken.sql": "",
        "broken/broken.unit_tests.yml": "tests:\n  - name: one\n",
    }.items():
        path = root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return root


def run_pytest(folder, *arguments):
    "Status and output of pytest in a process of its own, on Sail"
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rA", "-q", *arguments]
    environment = {**os.environ, "CDC_ENGINE": "sail", "COLUMNS": "200"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def output(project):
    "What a run of all tests of both pipelines says"
    return run_pytest(project, "members", "totals", "test_in_python.py")[1]


def outcomes(output):
    "Name of a test -> PASSED or FAILED"
    found = re.findall(r"^(PASSED|FAILED) \S+?::(.+?)(?: - .*)?$", output, re.M)
    return {name: outcome for outcome, name in found}


def test_right_tests_pass_and_wrong_ones_fail(output):
    right = re.findall(r"name: (.*)", HISTORY + OTHERS + TOTALS_TESTS) + re.findall(
        r"def (test_\w+)", IN_PYTHON
    )
    assert outcomes(output) == dict.fromkeys(right, "PASSED") | dict.fromkeys(SAID, "FAILED")


@pytest.mark.parametrize("name", SAID)
def test_what_is_said_of_a_wrong_test(output, name):
    told = output.split(f"_ {name} _", 1)[1].split("\n____", 1)[0]
    assert re.sub(r"@(\d)", r"members/wrong.unit_tests.yml:\1", dedent(SAID[name])) in told, told
    assert "Traceback" not in told and '.py", line' not in told


def test_a_file_that_is_wrong_is_an_error_of_its_own_and_names_can_be_chosen(project):
    status, output = run_pytest(project, "broken", "members", "--collect-only", "-k", "members and history")
    assert status != 0
    assert "broken/broken.unit_tests.yml:2: a test has no 'model'; its keys are name, " in output
    assert "members/members.unit_tests.yml::history in steps" in output
    assert "snapshots replace" not in output


def test_update_writes_what_came_out(project):
    path = project / "members/wrong.unit_tests.yml"
    before = path.read_text()
    status, output = run_pytest(project, path, "--update-unit-tests", "-k", "differ")
    after = path.read_text()
    path.write_text(before)
    assert status == 0, output
    assert "rewritten in members/wrong.unit_tests.yml: rows differ, counts differ" in output
    assert after == before.replace("city: Oslo}", "city: Rome}").replace("{failed: 0}}}", "{failed: 1}}}", 1)


def test_tests_of_this_projects_own_pipeline():
    status, output = run_pytest(ROOT, "transformations")
    assert status == 0, output


def test_a_history_is_the_same_on_spark(tmp_path, spark):
    (tmp_path / "members.py").write_text(MEMBERS)
    path = tmp_path / "members.unit_tests.yml"
    path.write_text(HISTORY)
    [test] = read_unit_tests(path).tests
    settings = PipelineSettings((str(tmp_path / "members.py"),))
    run_test(test, PipelineUnderTest(settings, tmp_path / "one"), tmp_path)
    path.write_text(HISTORY.replace("Bern, __END_AT: 2026-03-01 12", "Bern, __END_AT: 2026-03-01 13"))
    [test] = read_unit_tests(path).tests
    with pytest.raises(UnitTestFailure, match="rows differ in step 2"):
        run_test(test, PipelineUnderTest(settings, tmp_path / "two"), tmp_path)
