"A query built as a plan on Sail gives the rows and columns that Spark gives for its text."

import pytest

pytest.importorskip("pyspark")

from cdc_local.engines.sail.sql import build_frame, query_views
from cdc_local.errors import NeedsSparkError
from cdc_local.sql.relations import find_relations, substitute_relations

TABLES = {
    "a": ("id int, x string, n int", [(1, "p", 10), (2, "q", 20), (2, "q", 20), (3, None, None)]),
    "b": ("id int, y string", [(1, "one"), (2, "two"), (4, "four")]),
    "c": ("`x y` int, s struct<from: int>, l array<int>", [(1, (5,), [1, 2]), (2, (6,), [])]),
}

BUILT = """
SELECT * FROM a
SELECT a.*, x || '!' AS `loud x`, CAST(n AS BIGINT) m FROM a WHERE n > 10 OR x IS NULL
SELECT DISTINCT x, n FROM a q WHERE q.n BETWEEN 1 AND 100
SELECT id, q.n, y FROM a q JOIN b USING (id)
SELECT * FROM a JOIN b USING (id)
SELECT q.id, r.y FROM a AS q LEFT JOIN b r ON q.id = r.id AND r.y <> 'two' WHERE q.id < 3
SELECT a.id, b.id AS other FROM a FULL OUTER JOIN b ON a.id = b.id
SELECT a.id FROM a LEFT SEMI JOIN b ON a.id = b.id
SELECT id FROM a LEFT ANTI JOIN b USING (id)
SELECT a.id, b.y, c.`x y` FROM a, b CROSS JOIN c
SELECT b.id, a.n FROM b RIGHT JOIN a ON (left(b.y, 1) = 'o' AND a.id = b.id)
SELECT `x y`, s.from, s.`from` + 1 AS z, l[0] AS first, explode(l) AS e FROM c
SELECT * EXCEPT (n), n * 2 AS n FROM a
SELECT b.* EXCEPT (ID), a.* EXCEPT (x, n) FROM a JOIN b ON a.id = b.id
SELECT x, count(*) AS many, sum(n) + max(id) AS s FROM a GROUP BY x
SELECT q.x AS y, upper(q.x) AS u, count(DISTINCT n) c FROM a q GROUP BY q.x
SELECT count(*) AS c, min(x) AS m FROM a WHERE id > 100
WITH q AS (SELECT id, n FROM a WHERE n > 1), r AS (SELECT * FROM q) SELECT id, y FROM r JOIN b USING (id)
WITH a AS (SELECT id + 1 AS id FROM a) SELECT id FROM a UNION ALL SELECT id FROM b
SELECT id FROM a UNION SELECT id FROM b
(SELECT id FROM a) UNION ALL (SELECT id FROM (SELECT id FROM b WHERE id > 1) q WHERE q.id < 4);
SELECT CASE WHEN n > 10 THEN 'more, FROM' ELSE "less" END AS c, x IN ('p', 'q') AS i FROM (SELECT * FROM a)
SELECT id, sum(n) OVER (PARTITION BY x) AS s FROM a -- FROM b
SELECT /* , FROM b */ transform(l, e -> e + 1) AS t, date '2026-01-01' AS d, interval 1 day AS i FROM c
SELECT id FROM b LIMIT 0
""".strip().splitlines()

STAYS_TEXT = """
SELECT 1 AS one
SELECT id FROM a WHERE id IN (SELECT id FROM b)
SELECT id, (SELECT max(id) FROM b) AS m FROM a
SELECT x FROM a GROUP BY x
SELECT x, count(*) AS c FROM a GROUP BY x HAVING count(*) > 1
SELECT x, count(*) AS c FROM a GROUP BY ROLLUP (x)
SELECT upper(x) AS x, count(*) AS c FROM a GROUP BY 1
SELECT id FROM a ORDER BY id
SELECT id FROM a INTERSECT SELECT id FROM b
SELECT id FROM a NATURAL JOIN b
SELECT * FROM a AS t (k, l, m)
SELECT `x y`, e FROM c LATERAL VIEW explode(l) t AS e
SELECT a.id FROM a WHERE a.x IS NOT DISTINCT FROM 'p'
SELECT max(id), id IS DISTINCT FROM 3 FROM a GROUP BY id
WITH q (k) AS (SELECT id FROM a) SELECT k FROM q
SELECT id FROM range(3)
SELECT b.id FROM b RIGHT JOIN a ON left(b.y, 1) = 'o'
""".strip().splitlines()


@pytest.fixture(scope="module")
def sail():
    "A session of Sail beside that of Spark, which a pipeline never has"
    from pyspark.sql.connect.session import SparkSession

    from cdc_local.engines.sail.session import _start_server

    session = SparkSession.builder.remote(_start_server()).create()
    session.conf.set("spark.sql.session.timeZone", "UTC")
    yield session
    session.stop()


@pytest.fixture(scope="module")
def frames(spark, sail):
    "Each table on each engine; on Spark under its own name"
    made = {}
    for name, (schema, rows) in TABLES.items():
        made[name] = sail.createDataFrame(rows, schema)
        spark.createDataFrame(rows, schema).createOrReplaceTempView(name)
    yield made
    for name in TABLES:
        spark.catalog.dropTempView(name)


def build(sail, frames, text):
    "The plan of a query"
    found = find_relations(sail, text)
    return build_frame(sail, text, {relation.start: frames[relation.name] for relation in found})


def rows_of(frame):
    "Columns with their types, and rows in some order"
    return frame.dtypes, sorted(map(repr, frame.collect()))


@pytest.mark.parametrize("text", BUILT)
def test_a_plan_gives_what_spark_gives_for_the_text(spark, sail, frames, text):
    assert rows_of(build(sail, frames, text)) == rows_of(spark.sql(text))


@pytest.mark.parametrize("text", STAYS_TEXT)
def test_a_query_of_another_shape_stays_a_text_over_frames(spark, sail, frames, text):
    assert build(sail, frames, text) is None
    names = {relation: f"view_{n}" for n, relation in enumerate(find_relations(sail, text))}
    views = {view: frames[relation.name] for relation, view in names.items()}
    frame = query_views(sail, sail.sql, substitute_relations(text, names), views)
    answers = [sorted(map(repr, map(tuple, rows))) for rows in (frame.collect(), spark.sql(text).collect())]
    assert answers[0] == answers[1]


def test_a_star_without_some_columns_needs_spark_where_it_stays_a_text(sail, frames):
    with pytest.raises(NeedsSparkError, match="EXCEPT"):
        build(sail, frames, "SELECT * EXCEPT (n) FROM a ORDER BY id")
    with pytest.raises(NeedsSparkError, match="EXCEPT"):
        build(sail, frames, "SELECT * EXCEPT (nope) FROM a")
    with pytest.raises(NeedsSparkError, match="EXCEPT"):
        build(sail, frames, "SELECT * EXCEPT (x) FROM a JOIN b ON a.id = b.id")


def test_a_plan_over_a_stream_is_a_stream(sail):
    stream = sail.readStream.format("rate").load()
    text = "WITH w AS (SELECT value FROM STREAM s) SELECT w.value, q.id FROM w LEFT JOIN q ON q.id = w.value"
    starts = {relation.start: relation.streaming for relation in find_relations(sail, text)}
    frames = {start: stream if streaming else sail.range(3) for start, streaming in starts.items()}
    assert build_frame(sail, text, frames).isStreaming
    still = {start: sail.createDataFrame([(1, 1)], "id int, value int") for start in starts}
    assert not build_frame(sail, text, still).isStreaming
