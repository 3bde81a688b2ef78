"The SQL warehouse and its statements, as the SDK asks for them; the processes that answer are real"

import time

import pyarrow as pa
import pytest
from databricks.sdk.errors import InvalidParameterValue, NotFound
from databricks.sdk.service import sql
from deltalake import write_deltalake
from served_workspace import Work, ask, client, open_workspace

from cdc_local.storage import Storage, TableName
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.statements import read_request, read_wait

pytestmark = pytest.mark.sail

ENDLESS = "SELECT sum(a.id * b.id) FROM range(10000000) a CROSS JOIN range(10000000) b"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    storage = Storage(tmp_path_factory.mktemp("served") / "cdc").create()
    rows = pa.table({"id": list(range(12_000)), "name": [None, "Ann's"] * 6_000})
    write_deltalake(str(storage.table_path(TableName("main", "shop", "orders"))), rows)
    with open_workspace(storage, Work()) as running:
        yield running


@pytest.fixture
def w(served):
    return client(served)


@pytest.fixture
def execute(w):
    (warehouse,) = w.warehouses.list()

    def execute(statement, wait="20s", **options):
        done = w.statement_execution.execute_statement(statement, warehouse.id, wait_timeout=wait, **options)
        return done if wait == "0s" else wait_for(w, done.statement_id)

    return execute


def wait_for(w, statement):
    while True:
        told = w.statement_execution.get_statement(statement)
        if told.status.state.value not in ("PENDING", "RUNNING"):
            return told
        time.sleep(0.1)


def test_a_query_gives_rows_and_what_they_are(execute):
    done = execute(
        "SELECT id, name FROM orders WHERE id < :most ORDER BY id",
        schema="shop",
        parameters=[sql.StatementParameterListItem("most", type="INT", value="2")],
    )
    assert (done.status.state.value, done.result.data_array) == ("SUCCEEDED", [["0", None], ["1", "Ann's"]])
    manifest = done.manifest
    assert [(each.name, each.type_text, each.type_name.value) for each in manifest.schema.columns] == [
        ("id", "BIGINT", "LONG"),
        ("name", "STRING", "STRING"),
    ]
    assert (manifest.format.value, manifest.total_row_count, manifest.truncated) == ("JSON_ARRAY", 2, False)


def test_many_rows_come_in_chunks(w, execute):
    done = execute("SELECT id FROM main.shop.orders ORDER BY id")
    assert [chunk.row_count for chunk in done.manifest.chunks] == [5_000, 5_000, 2_000]
    rows, chunk = done.result.data_array, done.result
    while chunk.next_chunk_index is not None:
        chunk = w.statement_execution.get_statement_result_chunk_n(done.statement_id, chunk.next_chunk_index)
        assert chunk.row_offset == len(rows)
        rows = rows + chunk.data_array
    assert rows == [[str(number)] for number in range(12_000)]
    with pytest.raises(InvalidParameterValue, match="chunk_index 3: .* has 3 chunks"):
        w.statement_execution.get_statement_result_chunk_n(done.statement_id, 3)
    assert execute("SELECT 1 WHERE false").result.data_array == []


def test_a_mistake_is_a_failed_statement(execute):
    failed = execute("SELECT * FROM main.shop.nope")
    assert (failed.status.state.value, failed.status.error.error_code.value) == ("FAILED", "BAD_REQUEST")
    assert failed.status.error.message.startswith("[TABLE_OR_VIEW_NOT_FOUND]") and failed.result is None
    assert "DELETE is not run by the local warehouse" in execute("DELETE FROM orders").status.error.message
    large = execute("SELECT repeat('x', 2500) AS x FROM main.shop.orders").status
    assert large.state.value == "FAILED" and "at most 26,214,400 are answered INLINE" in large.error.message


def test_a_statement_goes_on_when_a_call_does_not_wait(w, execute):
    begun = execute("SELECT 7 AS n", wait="0s")
    assert begun.status.state.value in ("PENDING", "RUNNING") and begun.result is None
    assert wait_for(w, begun.statement_id).result.data_array == [["7"]]


def test_a_canceled_statement_ends_and_the_next_is_answered(w, execute):
    running, waiting = (execute(ENDLESS, wait="0s").statement_id for _ in range(2))
    for statement in (waiting, running):
        w.statement_execution.cancel_execution(statement)
    assert [wait_for(w, each).status.state.value for each in (running, waiting)] == ["CANCELED"] * 2
    assert execute("SELECT 1").result.data_array == [["1"]]
    ended = execute(ENDLESS, wait="5s", on_wait_timeout=sql.ExecuteStatementRequestOnWaitTimeout.CANCEL)
    assert ended.status.state.value == "CANCELED"
    assert execute("SELECT 2").result.data_array == [["2"]]


def test_the_warehouse_starts_with_a_statement_and_stops(w, execute):
    (warehouse,) = w.warehouses.list()
    execute("SELECT 1")
    assert w.warehouses.get(warehouse.id).state.value == "RUNNING"
    w.warehouses.stop(warehouse.id).result()
    assert w.warehouses.get(warehouse.id).state.value == "STOPPED"
    w.warehouses.start(warehouse.id).result()
    assert execute("SELECT 1").result.data_array == [["1"]]
    for wrong in (lambda: w.warehouses.get("0"), lambda: w.statement_execution.get_statement("0")):
        with pytest.raises(NotFound):
            wrong()


def test_nobody_asks_without_the_token(served):
    for method, path in (("GET", "/api/2.0/sql/warehouses"), ("POST", "/api/2.0/sql/statements")):
        status, answer = ask(served, method, path, {"statement": "SELECT 1"}, Authorization="Bearer x")
        assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "statement is None; it must be SQL"),
        ({"statement": " "}, "it must be SQL"),
        (
            {"disposition": "EXTERNAL_LINKS"},
            "disposition is 'EXTERNAL_LINKS', which the local workspace does",
        ),
        ({"format": "ARROW_STREAM"}, "write JSON_ARRAY"),
        ({"on_wait_timeout": "STOP"}, "it is CONTINUE or CANCEL"),
        ({"row_limit": 0}, "row_limit is 0; it must be a number from 1 on"),
        ({"byte_limit": True}, "byte_limit is True"),
        ({"parameters": {"n": 1}}, "it must be a list of objects"),
    ],
)
def test_a_call_that_is_wrong_is_refused(body, message):
    statement = {"statement": "SELECT 1"} if body and "statement" not in body else {}
    with pytest.raises(CallError, match=message):
        read_request(statement | body)


def test_a_call_waits_as_long_as_databricks_lets_it():
    assert [read_wait(text) for text in ("0s", "5s", "50s")] == [0, 5, 50]
    for wrong in ("4s", "51s", "10", "-5s", 10, None):
        with pytest.raises(CallError, match="it must be 0s, or from 5s to 50s"):
            read_wait(wrong)
