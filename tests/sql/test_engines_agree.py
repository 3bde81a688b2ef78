"""The same text, read by Catalyst and without Java: the same relations at the same places, or a word that it
needs Spark; never a guess."""

import ast
import json
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("pyspark")

from cdc_local.engines.sql_parser import parser_of
from cdc_local.errors import Location, NeedsSparkError, PipelineError
from cdc_local.sql.parser import split_statements
from cdc_local.sql.relations import find_relations

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def sail():
    "A session of Sail beside that of Spark, which a pipeline never has"
    from pyspark.sql.connect.session import SparkSession

    from cdc_local.engines.sail.session import _start_server

    session = SparkSession.builder.remote(_start_server()).create()
    yield session
    session.stop()


def answer(question, *arguments):
    "What is answered, or the kind of error"
    try:
        return question(*arguments)
    except PipelineError as error:
        return type(error)


def read(session, text):
    "All that is known of a text's relations; an alias is of no use to `TABLE t`, which takes none"
    found = answer(find_relations, session, text)
    if isinstance(found, type):
        return found
    return [
        (
            relation.name,
            relation.function,
            relation.arguments,
            relation.streaming,
            relation.start,
            relation.stop,
            None if re.search(r"(?i)\btable\s*$", text[: relation.start]) else relation.alias,
            relation.parts,
            relation.options,
        )
        for relation in found
    ]


def compare(spark, sail, text):
    "Whether both engines read a text alike; True also where one sends it to Spark"
    queries = [answer(parser_of(session).is_query, session, text) for session in (spark, sail)]
    if queries[0] is False:
        assert queries[1] in (False, NeedsSparkError), text
    if queries[0] is not True:
        return queries[1] in (False, True, PipelineError, NeedsSparkError)
    relations = [read(session, text) for session in (spark, sail)]
    if relations[1] is not NeedsSparkError:
        assert relations[0] == relations[1], text
        assert queries[1] is True, text
    return relations[1] is not NeedsSparkError


READ_BY_BOTH = """
SELECT * FROM a, b c JOIN d USING (id) NATURAL JOIN e
SELECT * FROM a LEFT SEMI JOIN b ON a.x = b.x CROSS JOIN (c JOIN d) AS j
SELECT 'FROM x', "FROM y", `FROM` FROM `a b`.`c.d`.`e``f` -- FROM z
SELECT /* FROM /* FROM x */ y */ * FROM a /* b */ AS /* c */ q
SELECT * FROM a WHERE b IN (SELECT c FROM d WHERE e > (SELECT max(f) FROM g.h)) AND EXISTS (SELECT 1 FROM i)
WITH a AS (SELECT * FROM a), b AS (SELECT * FROM a, c) SELECT * FROM a, b, main.b
WITH a AS (WITH b AS (SELECT * FROM c) SELECT * FROM b) SELECT * FROM a, b
WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r JOIN s) SELECT * FROM R
WITH a AS (SELECT 1) SELECT * FROM (SELECT * FROM A) UNION ALL SELECT * FROM a EXCEPT SELECT * FROM t
(SELECT * FROM a) UNION (SELECT * FROM b INTERSECT SELECT * FROM c) ORDER BY 1 LIMIT 3
SELECT * FROM STREAM a q, STREAM(b.c), STREAM ( LIVE.`d` ) AS r
SELECT stream.x, stream (y) FROM stream, STREAM stream JOIN stream.a USING (stream)
SELECT * FROM STREAM(a) WITH (SKIPCHANGECOMMITS) q, b WITH ('Ab' = 'c, d', e.f 2) AS r
SELECT * FROM STREAM read_files('/a' || '/b', format => 'json', multiLine => true, x => NULL) f
SELECT * FROM STREAM(cloud_files('/in', 'csv', map('header', 'true', 'sep', ';)'))) AS c (d, e)
SELECT * FROM json.`/in/day=1` j, delta.`/t`, json.t, `json`.`/x`
SELECT * FROM range(3), explode(array(1)) e, stack(2, 1, 2), VALUES (1, 2), (3, 4) AS v (a, b), t
SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) s, LATERAL explode(a.xs) t
SELECT * FROM a LATERAL VIEW OUTER explode(xs) t AS x LATERAL VIEW posexplode(x) AS p, y WHERE y > 1
SELECT * FROM a TABLESAMPLE (2 PERCENT), b x
SELECT * FROM a TABLESAMPLE (10 PERCENT) q, b TABLESAMPLE (3 ROWS), (c TABLESAMPLE (1 PERCENT)) r
SELECT * FROM (a) q, (b x) y, ((c)) z, (SELECT * FROM d) w, (e JOIN f) v
SELECT a.*, sum(b) OVER (PARTITION BY c ORDER BY d) FROM e GROUP BY ALL HAVING any(f) QUALIFYING
SELECT transform(a, x -> x.from), CASE WHEN (SELECT 1 FROM b) THEN 1 END, CAST(c AS ARRAY<INT>) FROM d
SELECT :n, ?, :m FROM a WHERE b = :n
SELECT /*+ BROADCAST(b) */ * FROM a JOIN b ON true
TABLE a.b
VALUES (1), (2)
SELECT * FROM (TABLE a) q UNION ALL (VALUES (1))
SELECT 1 ORDER BY (SELECT a FROM b) LIMIT (SELECT 1)
SELECT date '2026-01-01', interval 1 day, x'0a', r'\\d', 1e3, 2BD FROM `größe`
SELECT 'é𝒳' || "ü" FROM a WHERE 'é' = (SELECT `𝒳` FROM b)
SELECT * FROM 1a, a1.2b, _c
SELECT * EXCEPT (b), c.* EXCEPT (d, e) FROM a, c EXCEPT (SELECT f FROM g)
SELECT first(a.first) FROM a first;
INSERT INTO a SELECT * FROM b
WITH c AS (SELECT 1) INSERT INTO a SELECT * FROM c
MERGE INTO a USING b ON a.x = b.x WHEN MATCHED THEN DELETE
CREATE OR REPLACE TEMP VIEW v AS SELECT * FROM a
DELETE FROM a WHERE x IN (SELECT x FROM b)
EXPLAIN SELECT * FROM a
BEGIN SELECT 1; END
SET a = (SELECT 1)
SHOW TABLES IN a
DESCRIBE a
""".strip().splitlines()

NEEDS_SPARK = [
    "FROM a SELECT b",
    "SELECT * FROM a VERSION AS OF 3",
    "SELECT * FROM IDENTIFIER('a')",
    "SELECT * FROM a WATERMARK at DELAY OF INTERVAL 1 MINUTE",
    "SELECT * FROM my_function(1)",
    "SELECT * FROM read_files('/a', x => 2147483647 + 1)",
    "-- goes on \\\n FROM x\nSELECT 1",
    "SELECT * FROM a |> WHERE true",
    "SELECT from a",
    "SELECT * FROM a PIVOT (sum(x) FOR y IN (1, 2)) p",
    "SELECT values, table FROM values v, table t",
    "SELECT a FROM größe",
    "SELECT * FROM stream JOIN b",
    "SELECT * FROM a x UNPIVOT (v FOR n IN (c, d)) u",
    "WITH a AS (SELECT 1), A AS (SELECT 2) SELECT * FROM a",
    "SELECT a b c FROM d",
    "SELECT 'never ends",
    "SELECT * FROM STREAM(SELECT 1)",
]


@pytest.mark.parametrize("text", READ_BY_BOTH)
def test_a_text_is_read_alike(spark, sail, text):
    assert compare(spark, sail, text)


@pytest.mark.parametrize("text", NEEDS_SPARK)
def test_what_is_not_read_needs_spark(sail, text):
    with pytest.raises(NeedsSparkError):
        find_relations(sail, text)


def test_an_error_names_the_line(sail):
    text = "SELECT *\nFROM a,\n (SELECT 'é' FROM\n b c d)"
    with pytest.raises(NeedsSparkError, match="^gold.sql:23: Sail can't read this SQL at or near 'd';"):
        find_relations(sail, text, Location("gold.sql", 20))
    with pytest.raises(NeedsSparkError, match="^gold.sql:23: Sail can't read this SQL at or near 'QUALIFY';"):
        find_relations(sail, text.replace("b c d", "STREAM b QUALIFY true"), Location("gold.sql", 20))
    with pytest.raises(NeedsSparkError, match="^gold.sql:21: sqlglot can't read this SQL at or near '!';"):
        find_relations(sail, "SELECT a FROM b\nWHERE c !< 1", Location("gold.sql", 20))


def quoted_texts(path):
    "The strings of a Python file, the SQL blocks of a page or a notebook"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        constants = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
        return [node.value for node in constants if isinstance(node.value, str)]
    if path.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    blocks = re.findall(r"```sql\n(.*?)```", text, re.S)
    return blocks + [found[1] for found in re.findall(r'("""|"|\')((?:(?!\1).)+?)\1', text, re.S)]


def queries_in(text):
    "What of a text may be a query: each statement, and what follows AS"
    for sql in [text, *re.findall(r"(?is)\bAS\s+((?:SELECT|WITH|FROM|VALUES|TABLE)\b.*)", text)]:
        try:
            statements = split_statements(sql)
        except PipelineError:
            continue
        for statement in statements:
            if statement.words[0].says("SELECT", "WITH", "VALUES", "TABLE", "INSERT", "MERGE", "CREATE"):
                yield sql[statement.words[0].start : statement.words[-1].stop]


def test_the_projects_own_sql_is_read_alike(spark, sail):
    folders = ["tests/sql", "tests/analysis", "tests/update", "transformations", "nbs", "docs", "cdc_utils"]
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.*"))]
    texts = {
        query
        for path in files
        if path.suffix in (".py", ".md", ".ipynb") and path != Path(__file__)
        for text in quoted_texts(path)
        for query in queries_in(text)
        if "${" not in query  # values are filled in before
    }
    read_by_both = sum(compare(spark, sail, text) for text in sorted(texts))
    assert read_by_both > 200


NAMES = ["a", "b", "s.a", "m.s.a", "`a b`", "stream", "`x`.`y.z`", "LIVE.a", "c1", "range"]
RELATIONS = [
    "STREAM {name}",
    "STREAM({name})",
    "STREAM({name}) WITH (SKIPCHANGECOMMITS)",
    "{name}",
    "{name} TABLESAMPLE (10 PERCENT)",
    "({name})",
    "({name} JOIN {name})",
    "({query})",
    "read_files('/FROM', format => 'csv')",
    "csv.`/a/b`",
    "range(3)",
    "VALUES (1)",
    "explode(array(1))",
]
SELECTS = [
    "SELECT x FROM {relation}",
    "SELECT 'FROM z' FROM {relation} JOIN {relation} ON true",
    "SELECT * FROM {relation}, {relation} LEFT ANTI JOIN {relation} USING (x)",
    "SELECT * FROM {relation} WHERE x IN ({query}) /* FROM */",
    "SELECT ({query}) -- FROM y\nFROM {relation}",
    "WITH {cte} AS ({query}), b AS ({query}) {query}",
    "WITH RECURSIVE {cte} AS ({query}) {query}",
    "({query}) UNION ALL ({query})",
    "{query} EXCEPT {query}",
    "TABLE {name}",
]
MOLDS = {
    "query": SELECTS,
    "relation": [relation + alias for relation in RELATIONS for alias in ("", " q", " AS `s t`")],
    "name": NAMES,
    "cte": ["a", "b", "stream", "`a b`"],
}


@st.composite
def queries(draw):
    "A query, made of molds that are filled with other molds; small ones where many are open"
    text = "{query}"
    while hole := re.search(r"\{(\w+)\}", text):
        molds = MOLDS[hole[1]]
        if text.count("{") > 6:
            molds = [mold for mold in molds if "{query}" not in mold]
        text = text[: hole.start()] + draw(st.sampled_from(molds)) + text[hole.end() :]
    return text


@settings(max_examples=80, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=queries())
def test_generated_queries_are_read_alike(spark, sail, text):
    compare(spark, sail, text)
