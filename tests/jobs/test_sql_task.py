"SQL of a job over the tables of the storage: what it may say, what it leaves, what is refused."

import json
from dataclasses import replace

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.paths import FolderPaths
from cdc_local.jobs.sql_task import SqlRun, check_sql_task, read_sql_run, run_sql
from cdc_local.storage import Storage, TableName, write_json

pytestmark = pytest.mark.sail


@pytest.fixture
def storage(tmp_path, spark):
    storage = Storage(tmp_path / "cdc").create()
    orders = pa.table({"id": [1, 2, 3], "city": ["Bonn", "Köln", "Bonn"], "amount": [5.5, None, 7.0]})
    path = storage.table_path(TableName("main", "shop", "orders"))
    path.parent.mkdir(parents=True)
    write_deltalake(str(path), orders)
    return storage


@pytest.fixture
def ask(storage, tmp_path, capsys):
    "Run SQL; the rows it leaves, which are also what it prints"

    def ask(text, **settings):
        rows = tmp_path / "rows" / "ask.json"
        run_sql(SqlRun(text, "ask.sql", str(storage.root), str(rows), **settings))
        left = json.loads(rows.read_text())
        assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == left
        return left

    return ask


def test_a_query_reads_tables_by_their_names(ask):
    text = "SELECT city, count(*) AS n FROM main.shop.orders GROUP BY city ORDER BY city"
    assert ask(text) == [{"city": "Bonn", "n": 2}, {"city": "Köln", "n": 1}]
    assert ask("USE main.shop; SELECT max(id) AS last FROM orders") == [{"last": 3}]
    assert ask("SELECT id FROM orders WHERE amount IS NULL", schema="shop") == [{"id": 2}]


def test_the_last_query_leaves_its_rows(ask):
    assert ask("SELECT 1 AS a; SELECT 2 AS a;") == [{"a": 2}]
    assert ask("SELECT id FROM main.shop.orders WHERE id > 9") == []
    nested = "SELECT named_struct('a', 1) AS s, array(1, 2) AS l, DATE'2026-01-05' AS d"
    assert ask(nested) == [{"s": {"a": 1}, "l": [1, 2], "d": "2026-01-05"}]


def test_parameters_have_a_colon_before_their_names(ask):
    text = "SELECT id FROM main.shop.orders WHERE city = :city AND id < CAST(:most AS INT) ORDER BY id"
    assert ask(text, parameters={"city": "Bonn", "most": "3"}) == [{"id": 1}]
    with pytest.raises(PipelineError, match=r"the parameter :city of this SQL has no value"):
        ask(text, parameters={"most": "3"})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "SELECT 1;\nINSERT INTO main.shop.orders VALUES (4, 'a', 1)",
            r"ask\.sql:2: INSERT INTO … is no query",
        ),
        ("CREATE TABLE t (id INT)", "CREATE TABLE … is no query, and a sql_task only reads here"),
        ("SELECT id\nFROM main.shop.order", r"ask\.sql:1: .*order"),
        ("SELECT ai_query('m', 'x')", "ai_query"),
        ("SELECT 'a", r"ask\.sql:1: "),
    ],
)
def test_what_cannot_be_run_is_refused_at_its_line(ask, text, message):
    with pytest.raises(PipelineError, match=message):
        ask(text)


def test_a_file_and_a_saved_query_are_found(storage, tmp_path):
    paths = FolderPaths(storage, tmp_path)
    (tmp_path / "ask.sql").write_text("SELECT :day")
    task = {"task_key": "ask", "sql_task": {"file": {"path": "ask.sql"}, "parameters": {"day": 2}}}
    run = read_sql_run(task, paths, tmp_path / "rows.json")
    assert (run.text, run.parameters, run.catalog) == ("SELECT :day", {"day": "2"}, "main")
    query = {"id": "q1", "display_name": "Ask", "query_text": "SELECT 1", "schema": "shop"}
    path = storage.root / "workspace" / "queries" / "q1.json"
    path.parent.mkdir(parents=True)
    write_json(path, {"key": "q1", "value": query})
    saved = {"task_key": "ask", "sql_task": {"query": {"query_id": "q1"}}}
    found = read_sql_run(saved, paths, tmp_path / "rows.json")
    assert found == replace(run, text="SELECT 1", source="Ask", parameters={}, schema="shop")
    with pytest.raises(UsageError, match="task ask: there is no saved query 'q2'"):
        read_sql_run({"task_key": "ask", "sql_task": {"query": {"query_id": "q2"}}}, paths, tmp_path)
    with pytest.raises(UsageError, match=r"task ask: there is no file no\.sql"):
        read_sql_run({"task_key": "ask", "sql_task": {"file": {"path": "no.sql"}}}, paths, tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"alert": {"alert_id": "a"}},
            "task ask: a sql_task with alert is not supported by the local runner",
        ),
        ({"dashboard": {"dashboard_id": "d"}}, "a sql_task with dashboard is not supported"),
        ({"warehouse_id": "w"}, "task ask: its sql_task names no file and no query"),
    ],
)
def test_alerts_and_dashboards_are_refused_by_name(settings, message):
    with pytest.raises(UsageError, match=message):
        check_sql_task({"task_key": "ask", "sql_task": settings})
