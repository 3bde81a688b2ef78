"What a SQL text reads, and the same text reading something else instead."

import pytest

from cdc_local.engines.spark.catalyst import is_query, parse_plan
from cdc_local.errors import Location, PipelineError
from cdc_local.sql.relations import find_relations, substitute_relations

QUERY = """WITH recent AS (SELECT * FROM STREAM(LIVE.orders) o WHERE day > '2026-01-01' -- FROM nowhere
) SELECT *, (SELECT max(rate) FROM main.ref.`rates`) FROM recent JOIN customers c USING (id)"""


def names_read(spark, sql):
    return [relation.name for relation in find_relations(spark, sql)]


def calls(spark, sql):
    found = find_relations(spark, sql)
    return [(relation.function, relation.arguments, relation.streaming) for relation in found]


def with_views(spark, sql):
    "The text, reading view_1, view_2 … instead"
    found = find_relations(spark, sql)
    return substitute_relations(sql, {relation: f"view_{n}" for n, relation in enumerate(found, 1)})


def test_relations_stand_where_the_text_has_them(spark):
    found = find_relations(spark, QUERY)
    assert [(relation.name, relation.streaming, relation.alias) for relation in found] == [
        ("LIVE.orders", True, "o"),
        ("main.ref.rates", False, None),
        ("customers", False, "c"),
    ]
    written = [QUERY[relation.start : relation.stop] for relation in found]
    assert written == ["STREAM(LIVE.orders)", "main.ref.`rates`", "customers"]


@pytest.mark.parametrize(
    "sql, expected",
    [
        (
            "SELECT * FROM STREAM read_files('/Volumes/a' || '/b', format => 'json', multiLine => true) f, "
            "range(3)",
            [("read_files", {"path": "/Volumes/a/b", "format": "json", "multiLine": "true"}, True)],
        ),
        (
            "SELECT * FROM cloud_files('/in', 'csv', map('header', 'true', 'sep', ';'))",
            [("cloud_files", {"path": "/in", "format": "csv", "header": "true", "sep": ";"}, True)],
        ),
        ("SELECT * FROM json.`/in/day=1`", [("json", {"path": "/in/day=1"}, False)]),
        (
            "SELECT * FROM STREAM(cloud_files('/in', 'json')) c",
            [("cloud_files", {"path": "/in", "format": "json"}, True)],
        ),
    ],
)
def test_functions_carry_their_arguments_and_those_of_spark_are_left_to_it(spark, sql, expected):
    assert calls(spark, sql) == expected


@pytest.mark.parametrize(
    "sql, names",
    [
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
        ("WITH c AS (SELECT 1 x) SELECT * FROM (WITH d AS (SELECT * FROM c) SELECT * FROM d), d", ["d"]),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r, t) SELECT * FROM r", ["t"]),
        (
            "SELECT * FROM x WHERE id IN (SELECT id FROM y) AND EXISTS (SELECT 1 FROM z WHERE z.id = x.id)",
            ["x", "y", "z"],
        ),
    ],
)
def test_a_common_table_expression_hides_a_table_only_where_it_is_in_scope(spark, sql, names):
    assert names_read(spark, sql) == names


def test_an_option_without_a_value_is_read(spark):
    sql = "SELECT * FROM STREAM(a.b) WITH (SKIPCHANGECOMMITS) AS t"
    (stream,) = find_relations(spark, sql)
    assert stream.options == {"skipchangecommits": "true"}
    assert (stream.alias, sql[stream.start : stream.stop]) == ("t", "STREAM(a.b) WITH (SKIPCHANGECOMMITS)")


@pytest.mark.parametrize(
    "sql, expected",
    [
        (
            "SELECT customers.id FROM STREAM(LIVE.customers)",
            "SELECT customers.id FROM view_1 AS `customers`",
        ),
        (
            "SELECT c.id FROM main.crm.customers c JOIN orders USING (id)",
            "SELECT c.id FROM view_1 c JOIN view_2 AS `orders` USING (id)",
        ),
        ("SELECT crm.customers.id FROM crm.customers", "SELECT customers.id FROM view_1 AS `customers`"),
    ],
)
def test_a_relation_without_an_alias_keeps_its_last_name(spark, sql, expected):
    assert with_views(spark, sql) == expected


def test_comments_and_everything_else_stay_as_written(spark):
    expected = QUERY.replace("STREAM(LIVE.orders)", "view_1").replace("customers c", "view_3 c")
    assert with_views(spark, QUERY) == expected.replace("main.ref.`rates`", "view_2 AS `rates`")


@pytest.fixture(scope="module")
def one_row_views(spark):
    for n in range(1, 4):
        spark.range(1, 2).selectExpr("id", "array(id) ids").createOrReplaceTempView(f"view_{n}")
    yield
    for n in range(1, 4):
        spark.catalog.dropTempView(f"view_{n}")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT a.id FROM x.a TABLESAMPLE (100 PERCENT)",
        "SELECT x.a.id FROM x.a",
        "SELECT live.a.id FROM LIVE.a, lateral explode(ids)",
        "SELECT `a b`.id FROM `a b` LATERAL VIEW explode(ids) t AS one",
        "SELECT id FROM (a NATURAL JOIN b) AS j",
        "TABLE a",
        "SELECT q.id FROM (TABLE a) q",
        "SELECT id FROM a PIVOT (max(ids[0]) m FOR id IN (1 AS `id`))",
        "FROM a SELECT a.id",
        "WITH a AS (SELECT * FROM a) SELECT a.id FROM a",
        "SELECT id FROM a UNION SELECT id FROM b UNION SELECT id FROM c",
        "SELECT t.n FROM a AS t(n, ids)",
        "SELECT f.id FROM read_files('/in', format => 'json') AS f(id, ids)",
        "SELECT id FROM a WHERE id IN (SELECT b.id FROM b)",
    ],
)
def test_what_reads_views_instead_still_runs_and_means_the_same(spark, one_row_views, sql):
    value = spark.sql(with_views(spark, sql)).first()[0]
    assert (value[0] if hasattr(value, "__len__") else value) == 1


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "WITH a AS (SELECT 1) SELECT * FROM a",
        "VALUES (1)",
        "FROM t SELECT id",
        "TABLE t",
        "-- INSERT INTO\nSELECT 1",
    ],
)
def test_a_statement_that_only_reads_is_a_query(spark, sql):
    assert is_query(spark, sql)


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t SELECT 1",
        "CREATE TABLE t (id INT)",
        "DROP TABLE t",
        "SET a = b",
        "SHOW TABLES",
        "CREATE OR REPLACE TEMP VIEW v AS SELECT 1",
        "MERGE INTO t USING s ON t.id = s.id WHEN MATCHED THEN DELETE",
        "DELETE FROM t",
        "CACHE TABLE t",
        "WITH a AS (SELECT 1) INSERT INTO t SELECT * FROM a",
        "USE s",
        "TRUNCATE TABLE t",
        "EXPLAIN SELECT 1",
        "BEGIN SELECT 1; END",
    ],
)
def test_a_statement_that_does_something_is_no_query(spark, sql):
    assert not is_query(spark, sql)


def test_a_syntax_error_names_the_line_of_the_file(spark):
    with pytest.raises(PipelineError, match=r"^gold.sql:21: Syntax error at or near 'c'"):
        parse_plan(spark, "SELECT *\nFROM a b c", Location("gold.sql", 20))
    with pytest.raises(PipelineError, match=r"^SQL:1: Syntax error at or near 'SELEC'.$"):
        parse_plan(spark, "SELEC 1")
