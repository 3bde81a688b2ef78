"""Lakeflow SQL: every spelling becomes the declaration it means, and whatever is not understood is refused at
its line."""

import itertools
import logging

import pytest

pytest.importorskip("pyspark")

from cdc_local.dataflow.graph import Expectation, Graph
from cdc_local.engines.spark.catalyst import is_query
from cdc_local.errors import Location, PipelineError, locate
from cdc_local.sql.lexer import closing_bracket, tokenize
from cdc_local.sql.parser import fill_parameters, split_statements
from cdc_local.sql.relations import find_relations, substitute_relations
from cdc_local.sql.scope import Scope
from cdc_local.sql.statements import declare_sql
from cdc_utils.spec import CdcSpec


@pytest.fixture(scope="module")
def spark():
    from cdc_local.engines.spark.session import start_spark

    return start_spark()


@pytest.fixture
def declared(spark):
    def read(sql, scope=None, **configuration):
        graph = Graph("main", "crm")
        declare_sql(sql, graph, spark, configuration, Location("a.sql", 1), scope)
        return graph

    return read


@pytest.fixture
def refused(declared):
    def read(sql, **configuration):
        with pytest.raises(PipelineError) as caught:
            declared(sql, **configuration)
        assert "org.apache" not in str(caught.value) and "\tat " not in str(caught.value)
        return str(caught.value)

    return read


def only(items):
    (item,) = items.values()
    return item


def names(spark, sql):
    return [relation.name or relation.function for relation in find_relations(spark, sql)]


# Relations


@pytest.mark.parametrize(
    "sql, expected",
    [
        ("SELECT * FROM a, LATERAL (SELECT * FROM b WHERE b.x = a.x) s", ["a", "b"]),
        ("SELECT * FROM a UNION ALL (SELECT * FROM b EXCEPT SELECT * FROM c)", ["a", "b", "c"]),
        ("SELECT 'FROM x', \"FROM y\", `FROM` FROM a -- JOIN z\n/* , q */ JOIN b USING (id)", ["a", "b"]),
        ("SELECT * FROM a WHERE x = (SELECT max(x) FROM b WHERE y IN (SELECT y FROM c))", ["a", "b", "c"]),
        ("WITH b AS (SELECT * FROM a), c AS (SELECT * FROM b) SELECT * FROM c JOIN B ON true", ["a"]),
        ("WITH b AS (SELECT * FROM a) SELECT * FROM main.b", ["a", "main.b"]),
        ("WITH a AS (SELECT * FROM a) SELECT * FROM a", ["a"]),
        ("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT * FROM r JOIN a", ["a"]),
        ("SELECT * FROM (WITH t AS (SELECT 1) SELECT * FROM t) JOIN t", ["t"]),
        (
            "SELECT CASE WHEN EXISTS (SELECT 1 FROM b) THEN 1 END FROM a "
            "GROUP BY 1 HAVING count(*) > (SELECT n FROM c)",
            ["b", "a", "c"],
        ),
        ("SELECT * FROM a LATERAL VIEW OUTER explode(xs) t AS x", ["a"]),
        ("SELECT * FROM `we ird`.`t.able`", ["`we ird`.`t.able`"]),
        ("SELECT * FROM VALUES (1) v, range(3), explode(array(1))", []),
        ("SELECT * FROM event_log(TABLE(main.a.t)) e, u", ["event_log", "u"]),
        ("SELECT * FROM table_changes('a.t', 0)", ["table_changes"]),
        ("SELECT * FROM STREAM LIVE.a", ["LIVE.a"]),
        ("SELECT stream.x FROM stream", ["stream"]),
        ("SELECT * FROM stream.a", ["stream.a"]),
        ("SELECT sum(x) OVER (ORDER BY y) FROM a", ["a"]),
    ],
)
def test_what_a_query_reads(spark, sql, expected):
    assert names(spark, sql) == expected


@pytest.mark.parametrize(
    "text", ["read_kafka(bootstrapServers => x)", "STREAM(read_kinesis(streamName => 'x'))"]
)
def test_a_function_that_only_databricks_has_is_refused_by_name(spark, text):
    with pytest.raises(
        PipelineError, match=r"a.sql:2: the table function read_k\w+ is not .* on Databricks it streams"
    ):
        find_relations(spark, f"SELECT *\nFROM {text}", Location("a.sql", 1))


def test_spans_cover_the_relation_and_nothing_else(spark):
    pieces = [
        "a",
        "LIVE.a",
        "`x y`.b",
        "STREAM(c.d.e)",
        "STREAM c",
        "STREAM ( LIVE.`a`)",
        "read_files('/x', format => 'json')",
        "STREAM(read_files('/x)'))",
        "STREAM read_files('/x', schema => 'id INT, at TIMESTAMP')",
        "cloud_files('/x', 'json', map('a', ')'))",
        "json.`/x/y`",
        "STREAM(a) WITH (SKIPCHANGECOMMITS)",
        "STREAM a WITH ('skipChangeCommits' = 'true')",
    ]
    for piece, alias in itertools.product(pieces, ("", " q", " AS q")):
        sql = f"SELECT 'é𝒳' AS text FROM {piece}{alias} WHERE 1 = 1"
        (found,) = find_relations(spark, sql)
        assert (sql[found.start : found.stop], found.alias) == (piece, "q" if alias else None)
        assert found.streaming == (piece.startswith("STREAM") or "cloud_files" in piece)


def test_a_literal_with_brackets_or_commas_is_one_argument(spark):
    (found,) = find_relations(
        spark,
        "SELECT * FROM STREAM read_files('/a,(b)', format=>'csv', sep => ',', maxFilesPerTrigger => 10, "
        "header => TRUE, x => 1 + 1, nothing => NULL)",
    )
    assert found.arguments == {
        "path": "/a,(b)",
        "format": "csv",
        "sep": ",",
        "maxFilesPerTrigger": "10",
        "header": "true",
        "x": "2",
        "nothing": None,
    }


def test_an_argument_that_is_no_constant(spark):
    with pytest.raises(PipelineError, match="a.sql:6: 'path' is no constant"):
        find_relations(spark, "SELECT *\nFROM read_files(path)", Location("a.sql", 5))


def test_substitution_keeps_line_numbers_and_everything_else(spark):
    sql = "SELECT\n  a.x, -- a.x\n  'a.x'\nFROM STREAM(LIVE.a)\n  JOIN b ON a.id = b.id\n"
    swapped = substitute_relations(
        sql, {relation: f"v{n}" for n, relation in enumerate(find_relations(spark, sql))}
    )
    assert swapped == "SELECT\n  a.x, -- a.x\n  'a.x'\nFROM v0 AS `a`\n  JOIN v1 AS `b` ON a.id = b.id\n"


def test_substitution_of_some(spark):
    sql = "SELECT * FROM a JOIN b"
    first = find_relations(spark, sql)[0]
    assert substitute_relations(sql, {first: "v"}) == "SELECT * FROM v AS `a` JOIN b"
    assert substitute_relations(sql, {}) == sql


def test_an_alias_goes_behind_sample_and_watermark(spark):
    for sql, expected in [
        (
            "SELECT * FROM a TABLESAMPLE (10 PERCENT) REPEATABLE (7) WHERE true",
            "SELECT * FROM v TABLESAMPLE (10 PERCENT) REPEATABLE (7) AS `a` WHERE true",
        ),
        (
            "SELECT * FROM STREAM a WATERMARK at DELAY OF INTERVAL 1 MINUTE",
            "SELECT * FROM v WATERMARK at DELAY OF INTERVAL 1 MINUTE AS `a`",
        ),
    ]:
        swapped = substitute_relations(sql, {relation: "v" for relation in find_relations(spark, sql)})
        assert swapped == expected
        find_relations(spark, swapped)  # Spark parses it


def test_names_in_full_go_on_meaning_their_relation(spark):
    sql = "SELECT main.crm.a.x, crm.a.y, LIVE.b.z FROM main.crm.a JOIN LIVE.b ON main.crm.a.id = LIVE.b.id"
    found = find_relations(spark, sql)
    assert (
        substitute_relations(sql, dict(zip(found, ("v1", "v2"), strict=True)))
        == "SELECT a.x, crm.a.y, b.z FROM v1 AS `a` JOIN v2 AS `b` ON a.id = b.id"
    )


def test_an_option_without_value_moves_nothing_behind_it(spark):
    sql = "SELECT * FROM STREAM(a) WITH (SKIPCHANGECOMMITS) JOIN b USING (id)"
    assert [sql[found.start : found.stop] for found in find_relations(spark, sql)] == [
        "STREAM(a) WITH (SKIPCHANGECOMMITS)",
        "b",
    ]


def test_a_longer_name_that_begins_like_another_is_left_whole(spark):
    sql = "SELECT a.b.x FROM a.b JOIN a.b.c"
    assert (
        substitute_relations(sql, {find_relations(spark, sql)[0]: "v"})
        == "SELECT b.x FROM v AS `b` JOIN a.b.c"
    )
    sql = "SELECT a.b.x FROM a.b, STREAM(a.b.c)"
    assert (
        substitute_relations(sql, dict(zip(find_relations(spark, sql), "vw", strict=True)))
        == "SELECT b.x FROM v AS `b`, w AS `c`"
    )


def test_a_syntax_error_logs_no_stack(spark):
    from pyspark.logger import PySparkLogger

    logger, records = PySparkLogger.getLogger("SQLQueryContextLogger"), []
    handler = logging.Handler()
    handler.emit = records.append
    logger.addHandler(handler)
    with pytest.raises(PipelineError, match="Values must be specified"):
        find_relations(spark, "SELECT * FROM t WITH (x)")
    assert not records and isinstance(
        logger, PySparkLogger
    )  # plain logging.getLogger would break pyspark's own
    logger.removeHandler(handler)


def test_a_command_is_no_query(spark):
    assert is_query(spark, "SELECT * FROM STREAM(a) WITH (SKIPCHANGECOMMITS)")
    assert not is_query(spark, "FROM a INSERT INTO b SELECT * INSERT INTO c SELECT *")
    assert not is_query(spark, "INSERT OVERWRITE b SELECT * FROM a")


@pytest.mark.parametrize("sql", ["SELECT 'a", "SELECT `a", 'SELECT "a', "SELECT 1 /* a"])
def test_what_never_ends(sql):
    with pytest.raises(PipelineError, match="a.sql:8: this .* never ends"):
        tokenize("\n" + sql, Location("a.sql", 7))


def test_places_and_brackets():
    text = "SELECT f(a,\n(b), c) d"
    assert (
        str(locate(text, text.index("b"))),
        str(locate(text, text.index("b"), Location("a.sql", 5))),
        str(locate(text, 0, Location("a.sql"))),
    ) == ("SQL:2", "a.sql:6", "a.sql:1")
    words = tokenize(text)
    assert [words[closing_bracket(words, start)].stop for start in (2, 5)] == [
        text.index(" d"),
        text.index(", c"),
    ]
    assert closing_bracket(words[:6], 2) == 5  # never closed: the last word


# Splitting and parameters


def test_semicolons_in_strings_comments_and_names():
    sql = "SELECT ';', \";\", `;` /* ; */ -- ;\n; SELECT 'it''s \\'; ' ;;\n\n"
    assert [len(statement.words) for statement in split_statements(sql)] == [6, 2]


def test_parameters():
    assert (
        fill_parameters("a ${x} '${ y }' \"${x}\" -- ${z}\n/* ${z} */ '-- ${x}'", {"x": "1", "y": 2})
        == "a 1 '2' \"1\" -- ${z}\n/* ${z} */ '-- 1'"
    )
    with pytest.raises(PipelineError, match=r"parameter \$\{a\.b\} has no value; set it"):
        fill_parameters("${a.b}", {})


def test_a_parameter_brings_statements_and_names(declared):
    assert (
        str(only(declared("CREATE VIEW ${schema}.v AS SELECT ${n}", schema="s", n="1").datasets).name)
        == "main.s.v"
    )
    assert len(declared("${all}", all="CREATE VIEW a AS SELECT 1; CREATE VIEW b AS SELECT 2").datasets) == 2


def test_a_missing_parameter_has_its_line(refused):
    assert refused("CREATE VIEW v AS\nSELECT 1;\nCREATE VIEW w AS\nSELECT '${x}'").startswith(
        "a.sql:4: parameter ${x} has no value"
    )


# Tables and views


def test_everything_at_once(declared):
    graph = declared("""
        CREATE OR REFRESH PRIVATE STREAMING TABLE IF NOT EXISTS `bron ze`.orders
        (
          id BIGINT NOT NULL PRIMARY KEY RELY COMMENT 'key', -- the key
          line STRUCT<sku: STRING COMMENT 'a, b', n: INT>,
          at TIMESTAMP CONSTRAINT recent EXPECT (at > '2020-01-01'),
          CONSTRAINT a EXPECT (n < 3) ON VIOLATION FAIL UPDATE
          CONSTRAINT b EXPECT (f(x, ')') = 1) ON VIOLATION DROP ROW,
          CONSTRAINT p PRIMARY KEY (id, at TIMESERIES) NOT ENFORCED,
          CONSTRAINT f FOREIGN KEY (id) REFERENCES t (id), PRIMARY KEY (id)
        )
        USING DELTA PARTITIONED BY (day) CLUSTER BY (a, b.c)
        COMMENT "it's" ' all' TBLPROPERTIES ('x' 'y', z = 1)
        AS SELECT * FROM STREAM(raw)""")
    dataset = only(graph.datasets)
    assert (str(dataset.name), dataset.kind, dataset.private) == (
        "main.bron ze.orders",
        "streaming_table",
        True,
    )
    line = "STRUCT<sku: STRING COMMENT 'a, b', n: INT>"
    assert dataset.schema.ddl == f"`id` BIGINT, `line` {line}, `at` TIMESTAMP"
    assert (dataset.schema.columns[0].not_null, dataset.schema.columns[0].comment) == (True, "key")
    assert dataset.expectations == (
        Expectation("recent", "at > '2020-01-01'", "warn"),
        Expectation("a", "n < 3", "fail"),
        Expectation("b", "f(x, ')') = 1", "drop"),
    )
    assert (dataset.partition_cols, dataset.cluster_by, dataset.comment, dataset.table_properties) == (
        ("day",),
        ("a", "b.c"),
        "it's all",
        {
            "cdc.constraint.id_primary_key": "id PRIMARY KEY RELY",
            "cdc.constraint.p": "PRIMARY KEY (id, at TIMESERIES) NOT ENFORCED",
            "cdc.constraint.f": "FOREIGN KEY (id) REFERENCES t (id)",
            "cdc.constraint.primary_key": "PRIMARY KEY (id)",
            "x": "y",
            "z": "1",
        },
    )
    flow = only(graph.flows)
    assert (flow.name, flow.target, flow.kind, flow.location.line) == (
        str(dataset.name),
        dataset.name,
        "append",
        2,
    )


def test_a_declared_schema_is_one_that_spark_reads(declared):
    schema = only(
        declared(
            "CREATE STREAMING TABLE t (`a b` INT COMMENT 'x', m MAP<STRING, DECIMAL(4,2)> NOT NULL)"
        ).datasets
    ).schema
    assert [(field.name, field.nullable) for field in schema.types()] == [
        ("a b", True),
        ("m", False),
    ]


def test_a_table_without_a_query_has_no_flow(declared):
    graph = declared("CREATE OR REFRESH STREAMING TABLE t")
    assert len(graph.datasets) == 1 and not graph.flows


def test_a_view_has_a_query_and_no_flow(declared):
    graph = declared('CREATE TEMPORARY LIVE VIEW v (CONSTRAINT c EXPECT (x > 0)) COMMENT "x" AS SELECT 1 x')
    assert (
        not graph.flows
        and only(graph.datasets).query().first().x == 1
        and only(graph.datasets).expectations[0].name == "c"
    )


def test_queries_do_not_share_their_text(declared):
    graph = declared(
        "SET n = 1; CREATE MATERIALIZED VIEW a AS SELECT ${n} x; "
        "SET n = 2; CREATE MATERIALIZED VIEW b AS SELECT ${n} x"
    )
    assert [dataset.query().first().x for dataset in graph.datasets.values()] == [1, 2]
    assert [flow.spark_conf for flow in graph.flows.values()] == [{"n": "1"}, {"n": "2"}]


def test_named_columns(declared):
    query = only(
        declared(
            "CREATE MATERIALIZED VIEW v (a, `b c` COMMENT 'x', CONSTRAINT k EXPECT (a = 1)) "
            "AS SELECT 1, 2 -- end"
        ).datasets
    ).query
    assert query().columns == ["a", "b c"]


def test_clauses_without_effect_are_said(declared):
    graph = declared(
        "CREATE MATERIALIZED VIEW v CLUSTER BY AUTO LOCATION '/x' REFRESH POLICY INCREMENTAL AS SELECT 1"
    )
    assert [text.partition(": ")[2].partition(" has")[0] for text in graph.warnings] == [
        "CLUSTER BY AUTO",
        "LOCATION '/x'",
        "REFRESH POLICY INCREMENTAL",
    ]


def test_use_reaches_queries_of_every_shape(spark):
    class Session:
        "Parses as Spark does, and hands a query's text back"

        def __getattr__(self, name):
            return getattr(spark, name)

        def sql(self, text):
            return text

    graph = Graph("main", "crm")
    query = "WITH c AS (SELECT * FROM a) SELECT a.x FROM c JOIN s3.a JOIN m.s.t u JOIN LIVE.b"
    declare_sql(
        f"""USE main2.s2;
        CREATE MATERIALIZED VIEW v AS {query};
        CREATE STREAMING TABLE w AS SELECT * FROM STREAM(a) WITH (SKIPCHANGECOMMITS);
        CREATE FLOW f AS AUTO CDC INTO w FROM STREAM(a) KEYS (id) SEQUENCE BY n""",
        graph,
        Session(),
    )
    texts = [flow.query() for flow in graph.flows.values() if flow.query]
    assert texts == [query, "SELECT * FROM STREAM(a) WITH (SKIPCHANGECOMMITS)"]
    assert {flow.scope for flow in graph.flows.values()} == {("main2", "s2")}
    assert (graph.flows["f"].spec.target, graph.flows["f"].spec.source) == ("w", "a")


def test_use_catalog_alone_reaches_a_query(spark):
    graph = Graph("main", "crm")
    declare_sql(
        "CREATE VIEW u AS SELECT * FROM a; USE CATALOG ref; CREATE VIEW v AS SELECT * FROM a", graph, spark
    )
    assert [dataset.scope for dataset in graph.datasets.values()] == [("main", "crm"), ("ref", "crm")]


def test_set_wins_over_the_configuration_from_where_it_stands(declared):
    graph = declared("CREATE VIEW a AS SELECT '${n}' x; SET n = 2; CREATE VIEW b AS SELECT '${n}' x", n="1")
    assert [dataset.query().first().x for dataset in graph.datasets.values()] == ["1", "2"]


def test_scope_passes_from_cell_to_cell(declared):
    scope = Scope()
    declared('USE SCHEMA a; SET x = "1"', scope)
    assert (scope.schema, scope.settings) == ("a", {"x": "1"})
    assert str(only(declared("CREATE VIEW v AS SELECT '${x}'", scope).datasets).name) == "main.a.v"


# Flows


def spec_of(**more):
    return CdcSpec("t", "s", ("id",), "n", **more)


@pytest.mark.parametrize(
    "clauses, fields",
    [
        ("", {}),
        ("IGNORE NULL UPDATES", dict(ignore_null_updates=True)),
        ("IGNORE NULL UPDATES ON (a, b)", dict(ignore_null_updates_column_list=("a", "b"))),
        ("IGNORE NULL UPDATES ON * EXCEPT (a)", dict(ignore_null_updates_except_column_list=("a",))),
        (
            "APPLY AS DELETE WHEN op = 'D' OR (a = 1 AND columns = 2)",
            dict(apply_as_deletes="op = 'D' OR (a = 1 AND columns = 2)"),
        ),
        (
            "APPLY AS DELETE WHEN op = 'D' APPLY AS TRUNCATE WHEN op = 'T'",
            dict(apply_as_truncates="op = 'T'", apply_as_deletes="op = 'D'"),
        ),
        ("COLUMNS (id, `a b`)", dict(column_list=("id", "a b"))),
        ("COLUMNS id, a", dict(column_list=("id", "a"))),
        ("COLUMNS * EXCEPT (op)", dict(except_column_list=("op",))),
        ("COLUMNS *", {}),
        ("COLUMNS TO UPDATE changed", dict(columns_to_update="changed")),
        ("STORED AS SCD TYPE 1", {}),
        ("STORED AS SCD TYPE 2", dict(stored_as_scd_type=2)),
        (
            "SYSTEM SEQUENCE BY heard STORED AS BITEMPORAL",
            dict(stored_as_scd_type="bitemporal", system_sequence_by="heard"),
        ),
        (
            "STORED AS SCD TYPE 2 TRACK HISTORY ON a, b",
            dict(stored_as_scd_type=2, track_history_column_list=("a", "b")),
        ),
        (
            "STORED AS SCD TYPE 2 TRACK HISTORY ON * EXCEPT (a)",
            dict(stored_as_scd_type=2, track_history_except_column_list=("a",)),
        ),
    ],
)
@pytest.mark.parametrize(
    "spelling, name",
    [
        ("CREATE FLOW f AS AUTO CDC INTO t", "f"),
        ("APPLY CHANGES INTO LIVE.t", None),
        ("CREATE STREAMING TABLE t FLOW AUTO CDC", None),
    ],
)
def test_auto_cdc(declared, spelling, name, clauses, fields):
    before = clauses.startswith(("IGNORE", "APPLY"))
    order = "KEYS (id) {} SEQUENCE BY n" if before else "KEYS (id) SEQUENCE BY n {}"
    flow = only(declared(f"{spelling} FROM STREAM(LIVE.s) {order.format(clauses)}").flows)
    assert (flow.spec, flow.kind, flow.name, flow.language) == (
        spec_of(name=name, **fields),
        "auto_cdc",
        name or "main.crm.t",
        "sql",
    )


CLAUSES = (
    "KEYS (id)",
    "IGNORE NULL UPDATES",
    "APPLY AS DELETE WHEN a",
    "APPLY AS TRUNCATE WHEN b",
    "SEQUENCE BY n",
    "COLUMNS (id, c)",
    "STORED AS SCD TYPE 2",
    "TRACK HISTORY ON (c)",
)


@pytest.mark.parametrize("first, second", list(itertools.pairwise(CLAUSES)))
def test_auto_cdc_takes_its_clauses_in_one_order_as_databricks_does(refused, first, second):
    message = refused(f"APPLY CHANGES INTO t FROM STREAM(s)\n{second}\n{first}")
    name = " ".join(word for word in second.split() if word.isupper() and word != "TYPE")
    assert message.startswith("a.sql:3: AUTO CDC: ") and f"stands after {name[:8]}" in message
    assert "SEQUENCE BY, SYSTEM SEQUENCE BY, COLUMNS, STORED AS, TRACK HISTORY ON" in message


@pytest.mark.parametrize(
    "written, meant",
    [
        ("n", "n"),
        ("(a, b)", "struct(a, b)"),
        ("a, b", "struct(a, b)"),
        ("struct(a, b)", "struct(a, b)"),
        ("(a + b)", "(a + b)"),
        ("coalesce(a, b)", "coalesce(a, b)"),
    ],
)
def test_sequence_by(declared, written, meant):
    assert (
        only(
            declared(
                f"APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) SEQUENCE BY {written} STORED AS SCD TYPE 2"
            ).flows
        ).spec.sequence_by
        == meant
    )


def test_everything_may_be_written_small(declared):
    flow = only(
        declared(
            "apply changes into live.t from stream(Live.s) keys (id) sequence by n stored as scd type 2"
        ).flows
    )
    assert flow.spec == spec_of(name=None, stored_as_scd_type=2)


def test_auto_cdc_once(declared):
    flow = only(
        declared(
            'CREATE FLOW f COMMENT "x" AS AUTO CDC ONCE INTO t FROM backfill KEYS (id) SEQUENCE BY n'
        ).flows
    )
    assert flow.once and flow.spec.once and flow.spec.source == "backfill"


@pytest.mark.parametrize(
    "source", ["STREAM read_files('/in')", "STREAM(s) WITH (SKIPCHANGECOMMITS)", "(SELECT * FROM STREAM(s))"]
)
def test_a_source_that_is_more_than_a_name_gets_a_view(declared, source):
    graph = declared(
        f"CREATE STREAMING TABLE t; CREATE FLOW f AS AUTO CDC INTO t FROM {source} KEYS (id) SEQUENCE BY n"
    )
    view = graph.datasets[graph.name(graph.flows["f"].spec.source)]
    assert (view.kind, view.private, view.name.table) == ("view", True, "__f_source")


@pytest.mark.parametrize(
    "spelling", ["INSERT INTO t BY NAME", "INSERT INTO t", "INSERT INTO TABLE LIVE.t BY NAME"]
)
def test_append_flow(declared, spelling):
    flow = only(declared(f"CREATE FLOW f AS {spelling} SELECT * FROM STREAM(s)").flows)
    assert (flow.name, str(flow.target), flow.kind, flow.once) == ("f", "main.crm.t", "append", False)


@pytest.mark.parametrize(
    "spelling",
    [
        "CREATE FLOW f AS INSERT INTO ONCE t BY NAME",
        "CREATE FLOW f AS INSERT ONCE INTO t BY NAME",
        "CREATE STREAMING TABLE t FLOW INSERT ONCE BY NAME",
    ],
)
def test_append_once(declared, spelling):
    flow = only(declared(f"{spelling} SELECT 1 x").flows)
    assert flow.once and flow.query().first().x == 1


def test_a_managed_table_and_the_flows_that_append_to_it(declared):
    graph = declared(
        "CREATE TABLE t (a INT) CLUSTER BY (a) FLOW INSERT BY NAME SELECT * FROM STREAM(s); CREATE TABLE u; "
        "CREATE FLOW f AS INSERT INTO u BY NAME SELECT * FROM STREAM(s)"
    )
    tables = {name.table: (table.kind, table.is_managed) for name, table in graph.datasets.items()}
    assert tables == dict.fromkeys(("t", "u"), ("streaming_table", True))
    assert {flow.name: flow.kind for flow in graph.flows.values()} == {"main.crm.t": "append", "f": "append"}


REPLACING = (
    "REPLACE USING (a, `b c`) SEQUENCE BY struct(n, m)",
    "REPLACE WHERE d >= date_add(current_date(), -7)",
)


@pytest.mark.parametrize(
    "spelling", ["CREATE FLOW f AS INSERT INTO t BY NAME {}", "CREATE STREAMING TABLE t FLOW {} BY NAME"]
)
def test_flows_that_replace_rows(declared, spelling):
    using, where = (only(declared(f"{spelling.format(words)} SELECT 1 x").flows) for words in REPLACING)
    assert (using.kind, using.replacement.keys, using.replacement.sequence_by) == (
        "replace_using", ("a", "b c"), "struct(n, m)"
    )  # fmt: skip
    assert (where.kind, where.replacement.predicate) == ("replace_where", "d >= date_add(current_date(), -7)")
    assert using.query().first().x == where.query().first().x == 1


def test_a_row_filter_has_no_effect_and_says_so(declared):
    graph = declared("CREATE STREAMING TABLE t WITH ROW FILTER main.f ON (a, b) AS SELECT * FROM STREAM(s)")
    assert graph.warnings == ["main.crm.t: ROW FILTER main.f ON (a, b) has no effect on the local runner"]


# Refusals


@pytest.mark.parametrize(
    "sql, words",
    [
        ("CREATE TABLE t AS SELECT 1", "CREATE TABLE … AS is not supported"),
        ("CREATE OR REPLACE TABLE t (a INT)", "CREATE OR REPLACE TABLE is not supported"),
        ("CREATE TEMPORARY TABLE t (a INT)", "CREATE TEMPORARY TABLE is not supported"),
        ("CREATE TABLE t FLOW REPLACE WHERE a > 1 BY NAME SELECT 1", "no flow but FLOW INSERT BY NAME"),
        ("CREATE TABLE t FLOW AUTO CDC FROM STREAM(s) KEYS (id) SEQUENCE BY n", "no flow but FLOW INSERT"),
        ("CREATE SCHEMA s", "CREATE SCHEMA is not supported"),
        ('CREATE TEMPORARY FUNCTION f AS "x"', "CREATE FUNCTION is not supported"),
        ("CREATE GLOBAL TEMPORARY VIEW v AS SELECT 1", "CREATE GLOBAL is not supported"),
        ("UPDATE t SET a = 1", "UPDATE T is not supported"),
        ("DELETE FROM t", "DELETE FROM is not supported"),
        ("ALTER TABLE t ADD COLUMN a INT", "ALTER TABLE is not supported"),
        ("WITH a AS (SELECT 1) SELECT * FROM a", "a query is not supported"),
        ("OPTIMIZE t", "OPTIMIZE T is not supported"),
        ("REFRESH MATERIALIZED VIEW v", "REFRESH MATERIALIZED is not supported"),
        ("CREATE STREAMING TABLE t WITH ROW FILTER f (a)", "expected ON"),
        ("CREATE STREAMING TABLE t (a INT, b)", "some columns have a type"),
        ("CREATE STREAMING TABLE t USING PARQUET", "USING PARQUET is not supported"),
        (
            "CREATE STREAMING TABLE t (CONSTRAINT a EXPECT (x), CONSTRAINT a EXPECT (y))",
            "expectation a is declared twice",
        ),
        (
            "CREATE STREAMING TABLE t (CONSTRAINT a EXPECT (x) ON VIOLATION QUARANTINE)",
            "ON VIOLATION is DROP ROW or FAIL UPDATE",
        ),
        ("CREATE STREAMING TABLE t (CONSTRAINT a EXPECT ())", "expected an expression"),
        ("CREATE STREAMING TABLE t CLUSTERED BY (a)", "expected AS, or a clause of CREATE, at 'CLUSTERED'"),
        ("CREATE STREAMING TABLE", "it ends too early"),
        ("CREATE", "is not supported"),
        ("CREATE STREAMING TABLE t AS", "expected an expression"),
        ("CREATE STREAMING TABLE a.b.c.d", "is not a table name"),
        ("CREATE VIEW v", "has no query"),
        ("CREATE STREAMING TABLE t TBLPROPERTIES (a)", "is no property"),
        ("CREATE STREAMING TABLE t COMMENT x", "expected a string"),
        ("CREATE STREAMING TABLE t (a INT", "expected"),
        ("CREATE STREAMING TABLE t FLOW REPLACE WHERE a = 1 SELECT 1", "REPLACE goes BY NAME"),
        ("CREATE FLOW f AS INSERT INTO t REPLACE WHERE a SELECT 1", "REPLACE goes BY NAME"),
        ("CREATE FLOW f AS INSERT ONCE INTO t BY NAME REPLACE WHERE a SELECT 1", "does not run ONCE"),
        ("CREATE FLOW f AS INSERT INTO t BY NAME REPLACE ON a SELECT 1", "expected REPLACE USING or"),
        ("CREATE FLOW f AS INSERT INTO t BY NAME REPLACE USING (a) SELECT 1", "expected SEQUENCE BY"),
        ("CREATE FLOW f AS SELECT 1", "expected INSERT at 'SELECT'"),
        ("CREATE FLOW f", "expected AS"),
        ("CREATE FLOW f AS INSERT INTO ONCE t SELECT * FROM STREAM(s)", "runs ONCE and reads a stream"),
        ("APPLY CHANGES INTO t FROM s KEYS (id) SEQUENCE BY n", "write FROM STREAM(…)"),
        ("APPLY CHANGES INTO t FROM STREAM(s) SEQUENCE BY n", "`keys` is"),
        ("APPLY CHANGES INTO t FROM STREAM(s) KEYS (id)", "`sequence_by` is None"),
        ("APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) KEYS (b) SEQUENCE BY n", "keys is given twice"),
        (
            "APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) COLUMNS TO UPDATE u COLUMNS (a)",
            "COLUMNS stands after",
        ),
        (
            "APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) SEQUENCE BY n STORED AS SCD TYPE 3",
            "`stored_as_scd_type` is",
        ),
        ("APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) SEQUENCE BY n STORED AS BITEMPORAL", "needs it"),
        (
            "APPLY CHANGES INTO t FROM STREAM(s) KEYS (id) SEQUENCE BY n SYSTEM SEQUENCE BY m",
            "only a bitemporal table has a system time",
        ),
        ("APPLY CHANGES INTO t FROM STREAM(s) WHERE a KEYS (id) SEQUENCE BY n", "WHERE is not supported"),
        ("APPLY CHANGES INTO t FROM SNAPSHOT s KEYS (id)", "expected ( at 's'"),
        ("APPLY CHANGES INTO t FROM STREAM(s) KEYS (upper(id)) SEQUENCE BY n", "upper(id) is no column"),
        ("APPLY CHANGES INTO t FROM STREAM(t) KEYS (id) SEQUENCE BY n", "cannot feed itself"),
        ("APPLY CHANGES INTO t KEYS (id)", "expected FROM"),
        ("USE CATALOG a.b", "expected USE CATALOG"),
        ("SET TIME ZONE LOCAL", "SET TIME ZONE LOCAL is not supported"),
        ("CREATE VIEW v AS SELECT 1; CREATE VIEW v AS SELECT 2", "is declared twice, first at a.sql:"),
    ],
)
def test_refused_by_name_and_line(refused, sql, words):
    message = refused("-- first line\n" + sql)
    assert words in message and message.startswith("a.sql:2: "), message


def test_nothing_is_declared_by_a_refused_statement(spark):
    graph = Graph("main", "crm")
    with pytest.raises(PipelineError):
        declare_sql("CREATE STREAMING TABLE t AS SELECT 1 FROM a b c", graph, spark, {})
    assert not graph.datasets and not graph.flows


def test_lines_of_a_cell(declared, spark):
    with pytest.raises(PipelineError) as caught:
        declare_sql(
            "\n\nCREATE VIEW v AS\nSELECT 1 FRM\nx y z",
            Graph("m", "s"),
            spark,
            {},
            Location("a.ipynb cell 3", 2),
        )
    assert str(caught.value.location) == "a.ipynb cell 3:6"
