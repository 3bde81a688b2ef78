"One SQL statement over the storage's tables: what it reads, its types and values, what is refused"

import math
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pyspark.sql.types import StructType

from cdc_local.analysis.sql_statement import (
    SqlRequest,
    StatementError,
    describe_columns,
    run_statement,
    write_value,
)
from cdc_local.delta.writer import commit_rows, create_table
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.storage import Storage, TableName

pytestmark = pytest.mark.sail


@pytest.fixture(scope="module")
def storage(spark, tmp_path_factory):
    storage = Storage(tmp_path_factory.mktemp("warehouse")).create()
    orders = pa.table({"id": [1, 2, 3], "status": ["new", None, "it's"], "raw": ['{"a": 1}'] * 3})
    write_deltalake(str(storage.table_path(TableName("main", "shop", "orders"))), orders)
    hidden = pa.table({"id": [1, 2], "__deleted": [False, True]})
    properties = {"cdc.columns": '["id"]', "cdc.visible": "NOT __deleted"}
    path = storage.table_path(TableName("dev", "shop", "current"))
    create_table(spark, path, StructType.fromDDL("id BIGINT, __deleted BOOLEAN"), properties=properties)
    commit_rows(DeltaTable(str(path)), hidden, "append")
    return storage


@pytest.fixture
def ask(spark, storage):
    def ask(text, may_leave=False, catalog="main", schema="shop", **request):
        return run_statement(spark, storage, SqlRequest(text, catalog, schema, **request), may_leave)

    return ask


def given(value, kind=None):
    return [{"name": "x", "value": value} | ({"type": kind} if kind else {})]


def test_names_of_one_two_and_three_parts_mean_tables_of_the_storage(ask):
    for name in ("orders", "shop.orders", "main.shop.orders", "`main`.`shop`.`orders`"):
        assert ask(f"SELECT id FROM {name} WHERE status = 'new';").rows == [["1"]]
    assert ask("SELECT * FROM shop.current", catalog="dev", schema="other").rows == [["1"]], "as users see it"


def test_the_catalog_answers(ask):
    assert ask("SHOW TABLES").rows == [["shop", "orders", "false"]]
    assert [row[0] for row in ask("DESCRIBE TABLE orders").rows] == ["id", "status", "raw"]
    assert ["orders"] in ask("SELECT table_name FROM main.information_schema.tables").rows


def test_the_sql_is_that_of_databricks(ask):
    assert ask("SELECT iff(id = 1, 'a', 'b') FROM orders WHERE id < 3 ORDER BY id").rows == [["a"], ["b"]]
    with pytest.raises(PipelineError, match="ai_query asks a model that Databricks serves"):
        ask("SELECT ai_query('x', status) FROM orders")


@pytest.mark.parametrize(
    ("value", "kind", "answer", "type_text"),
    [
        ("it's; --", None, "it's; --", "STRING"),
        ("7", "INT", "7", "INT"),
        ("7", "BIGINT", "7", "BIGINT"),
        ("-7", "tinyint", "-7", "TINYINT"),
        ("1.50", "DECIMAL(10,3)", "1.500", "DECIMAL(10,3)"),
        ("0.5", "DOUBLE", "0.5", "DOUBLE"),
        ("TRUE", "BOOLEAN", "true", "BOOLEAN"),
        ("2026-01-31", "DATE", "2026-01-31", "DATE"),
        ("2026-01-31T10:00:00Z", "TIMESTAMP", "2026-01-31T10:00:00.000Z", "TIMESTAMP"),
        (None, None, None, "VOID"),
    ],
)
def test_a_parameter_has_the_type_that_it_is_given(ask, value, kind, answer, type_text):
    answered = ask("SELECT :x", parameters=given(value, kind))
    assert (answered.rows, answered.columns[0]["type_text"]) == ([[answer]], type_text)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (given("x", "INT"), r"\[CAST_INVALID_INPUT\] the value 'x' of parameter x is no INT"),
        (given("yes", "BOOLEAN"), "is no BOOLEAN"),
        (given("1", "ARRAY<INT>"), r"parameter x has type 'ARRAY<INT>'; it can be STRING"),
        (given("1", "DECIMAL(1,0)) FROM t; --"), "is no type"),
        ([], "the parameter :x of this SQL has no value"),
    ],
)
def test_a_parameter_that_is_wrong_is_named(ask, parameters, message):
    with pytest.raises(PipelineError, match=message):
        ask("SELECT :x", parameters=parameters)


@pytest.mark.parametrize(
    "text",
    [
        "INSERT INTO orders VALUES (1, 'x', '')",
        "-- SELECT\nDROP TABLE orders",
        "CREATE TABLE x (id INT)",
        "SET x = 1",
        "",
    ],
)
def test_what_does_not_read_is_refused(ask, text):
    with pytest.raises(
        StatementError, match="is not run by the local warehouse; it reads: SELECT"
    ) as refused:
        ask(text)
    assert refused.value.sql_state == "0A000"


def test_a_query_cannot_write_behind_its_first_word(ask, storage):
    for text in (
        "WITH a AS (SELECT 1) INSERT INTO orders SELECT 1, 'x', ''",
        "FROM orders INSERT INTO x SELECT *",
    ):
        with pytest.raises(Exception, match=r"."):
            ask(text)
    assert ask("SELECT count(*) FROM orders").rows == [["3"]] and len(storage.tables()) == 2


def test_an_unknown_table_has_the_name_that_clients_look_for(ask):
    with pytest.raises(
        StatementError, match=r"^\[TABLE_OR_VIEW_NOT_FOUND\] .* did you mean main.shop.orders"
    ):
        ask("SELECT * FROM order")


def test_limits_cut_and_say_so(ask):
    cut = ask("SELECT id FROM orders ORDER BY id", row_limit=2)
    assert (cut.rows, cut.truncated) == ([["1"], ["2"]], True)
    assert not ask("SELECT id FROM orders", row_limit=3).truncated
    cut = ask("SELECT id FROM orders ORDER BY id", byte_limit=11)
    assert (cut.rows, cut.truncated) == ([["1"], ["2"]], True)


def test_what_is_not_known_to_be_the_same_goes_to_spark(ask):
    with pytest.raises(NeedsSparkError):
        ask("SELECT raw:a FROM orders", may_leave=True)
    for text in (
        "SELECT id FROM orders WHERE id = 1",
        "SELECT id FROM orders ORDER BY id LIMIT 1",
        "SELECT min(id) FROM orders WHERE id < 3 GROUP BY id < 9",
    ):
        assert ask(text, may_leave=True).rows == [["1"]], text
    assert len(ask("SELECT * FROM orders LIMIT 2", may_leave=True).rows) == 2


def test_types_have_the_names_of_databricks():
    schema = StructType.fromDDL(
        "a TINYINT, b SMALLINT, c BIGINT, d DECIMAL(10,2), e ARRAY<STRUCT<Of: INT>>, f MAP<STRING, DATE>, "
        "g TIMESTAMP_NTZ, h BINARY, i INTERVAL DAY TO SECOND"
    )
    told = [(column["type_text"], column["type_name"]) for column in describe_columns(schema)]
    assert told == [
        ("TINYINT", "BYTE"),
        ("SMALLINT", "SHORT"),
        ("BIGINT", "LONG"),
        ("DECIMAL(10,2)", "DECIMAL"),
        ("ARRAY<STRUCT<Of: INT>>", "ARRAY"),
        ("MAP<STRING, DATE>", "MAP"),
        ("TIMESTAMP_NTZ", "TIMESTAMP"),
        ("BINARY", "BINARY"),
        ("INTERVAL DAY TO SECOND", "INTERVAL"),
    ]
    assert describe_columns(schema)[3]["type_precision"] == 10
    assert describe_columns(schema)[3]["type_scale"] == 2


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (True, "BOOLEAN", "true"),
        (7, "INT", "7"),
        (1.0, "DOUBLE", "1.0"),
        (1e7, "DOUBLE", "1.0E7"),
        (-1.5e-4, "DOUBLE", "-1.5E-4"),
        (math.nan, "DOUBLE", "NaN"),
        (-math.inf, "DOUBLE", "-Infinity"),
        (Decimal("1.50"), "DECIMAL(3,2)", "1.50"),
        (date(2026, 1, 31), "DATE", "2026-01-31"),
        (datetime(2026, 1, 31, 10), "TIMESTAMP", "2026-01-31T10:00:00.000Z"),
        (datetime(2026, 1, 31, 10, 0, 0, 1), "TIMESTAMP_NTZ", "2026-01-31T10:00:00.000001"),
        (b"\x00\xff", "BINARY", "AP8="),
        ('"quoted"', "STRING", '"quoted"'),
        ([1, None], "ARRAY<INT>", "[1, null]"),
        ({"a": "x"}, "STRUCT<a: STRING>", '{"a": "x"}'),
        ([("k", 1)], "MAP<STRING, INT>", '{"k": 1}'),
        (None, "INT", None),
    ],
)
def test_a_value_is_a_text(value, kind, text):
    assert write_value(value, StructType.fromDDL(f"v {kind}")[0].dataType) == text
