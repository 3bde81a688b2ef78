"Lakeflow's SQL, read into the graph that the Python decorators fill."

import pytest

from cdc_local.dataflow.graph import Expectation, Graph
from cdc_local.errors import Location, PipelineError
from cdc_local.sql.parser import split_statements
from cdc_local.sql.statements import Clauses, declare_sql, read_clause, read_specification
from cdc_utils.spec import CdcSpec

PIPELINE = """
CREATE OR REFRESH STREAMING TABLE events (CONSTRAINT known EXPECT (id IS NOT NULL) ON VIOLATION DROP ROW)
  COMMENT 'Every change' AS SELECT * FROM STREAM read_files('${landing}', format => 'json');
CREATE OR REFRESH STREAMING TABLE customers;
CREATE FLOW apply AS AUTO CDC INTO customers FROM STREAM(events) KEYS (id)
  APPLY AS DELETE WHEN operation = 'DELETE' AND id > 0 SEQUENCE BY moment COLUMNS * EXCEPT (operation, moment)
  STORED AS SCD TYPE 2 TRACK HISTORY ON * EXCEPT (email);
CREATE OR REFRESH MATERIALIZED VIEW per_city AS SELECT city, count(*) n FROM customers GROUP BY city
"""


def read_columns_of(text):
    clauses = Clauses()
    read_specification(split_statements(text, Location("a.sql", 1))[0], clauses)
    return clauses


def read_clauses_of(text):
    clauses, statement = Clauses(), split_statements(text, Location("a.sql", 1))[0]
    while read_clause(statement, clauses):
        pass
    return clauses


def refusal(spark, sql):
    with pytest.raises(PipelineError) as refused:
        declare_sql(sql, Graph("main", "crm"), spark, {}, Location("crm.sql", 1))
    return str(refused.value)


def test_statements_know_their_line():
    found = split_statements(
        "SET a = ';';\n-- nothing; here\n;CREATE VIEW v AS SELECT 1", Location("a.sql", 1)
    )
    words = [(str(statement.location), statement.here.text) for statement in found]
    assert words == [("a.sql:1", "SET"), ("a.sql:3", "CREATE")]


def test_columns_and_rules_in_the_bracket_of_a_table():
    read = read_columns_of("""(id INT NOT NULL COMMENT 'the, key' PRIMARY KEY, tags MAP<STRING, ARRAY<INT>>,
        price DECIMAL(10, 2),
        CONSTRAINT known EXPECT (id IS NOT NULL AND price < 5) ON VIOLATION DROP ROW,
        CONSTRAINT `a b` EXPECT (true), CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED RELY)""")
    assert read.columns == [
        ("id", "INT NOT NULL COMMENT 'the, key'"),
        ("tags", "MAP<STRING, ARRAY<INT>>"),
        ("price", "DECIMAL(10, 2)"),
    ]
    assert read.expectations == [
        Expectation("known", "id IS NOT NULL AND price < 5", "drop"),
        Expectation("a b", "true", "warn"),
    ]


@pytest.mark.parametrize(
    "text, why",
    [
        ("(a INT,\n b INT GENERATED ALWAYS AS (a + 1))", "a.sql:2: column b: GENERATED is not supported"),
        ("(a STRING MASK hide)", "column a: MASK is not supported"),
        (
            "(CONSTRAINT c EXPECT (a) ON VIOLATION DROP)",
            "expectation c: ON VIOLATION is DROP ROW or FAIL UPDATE",
        ),
        ("(CONSTRAINT c CHECK (a > 0))", "constraint c is not supported"),
        ("(a INT", "expected , or )"),
    ],
)
def test_columns_that_would_come_out_wrong_are_refused(text, why):
    with pytest.raises(PipelineError) as refused:
        read_columns_of(text)
    assert why in str(refused.value)


def test_clauses_of_a_table():
    read = read_clauses_of("""USING DELTA COMMENT 'it''s' PARTITIONED BY (day, `a b`) CLUSTER BY (id)
        TBLPROPERTIES ('quality' = 'bronze', pipelines.reset.allowed = false, "delta.x" "1")""")
    assert (read.comment, read.partition_cols, read.cluster_by) == ("it's", ("day", "a b"), ("id",))
    properties = {"quality": "bronze", "pipelines.reset.allowed": "false", "delta.x": "1"}
    assert read.table_properties == properties


@pytest.mark.parametrize(
    "text, why",
    [
        ("SCHEDULE EVERY 1 HOUR", "SCHEDULE is not supported; a pipeline is started by a job"),
        ("PARTITIONED BY (year(day))", "year(day) is no column"),
        ("PARTITIONED BY (day DATE)", "day DATE is no column"),
        ("USING ICEBERG", "USING ICEBERG is not supported"),
    ],
)
def test_clauses_that_are_not_served_are_refused_by_name(text, why):
    with pytest.raises(PipelineError) as refused:
        read_clauses_of(text)
    assert why in str(refused.value)


@pytest.fixture(scope="module")
def pipeline(spark):
    graph = Graph("main", "crm")
    declare_sql(PIPELINE, graph, spark, {"landing": "/in"}, Location("crm.sql", 1))
    return graph


def test_flows_have_their_kind_target_and_line(pipeline):
    assert [(str(flow.target), flow.kind, flow.location.line) for flow in pipeline.flows.values()] == [
        ("main.crm.events", "append", 2),
        ("main.crm.customers", "auto_cdc", 5),
        ("main.crm.per_city", "complete", 8),
    ]


def test_a_table_has_its_comment_and_its_rules(pipeline):
    events = pipeline.datasets[pipeline.name("events")]
    assert (events.kind, events.comment) == ("streaming_table", "Every change")
    assert events.expectations == (Expectation("known", "id IS NOT NULL", "drop"),)
    assert pipeline.datasets[pipeline.name("customers")].query is None


def test_auto_cdc_is_a_spec_in_words(pipeline):
    assert pipeline.flows["apply"].spec == CdcSpec(
        "customers",
        "events",
        ("id",),
        "moment",
        "operation = 'DELETE' AND id > 0",
        except_column_list=("operation", "moment"),
        stored_as_scd_type=2,
        track_history_except_column_list=("email",),
        name="apply",
    )


@pytest.mark.parametrize(
    "spelling, kind, private",
    [
        ("OR REFRESH STREAMING TABLE", "streaming_table", False),
        ("PRIVATE STREAMING TABLE", "streaming_table", True),
        ("OR REFRESH TEMPORARY STREAMING LIVE TABLE", "streaming_table", True),
        ("INCREMENTAL LIVE TABLE", "streaming_table", False),
        ("OR REPLACE MATERIALIZED VIEW", "materialized_view", False),
        ("PRIVATE MATERIALIZED VIEW", "materialized_view", True),
        ("LIVE TABLE", "materialized_view", False),
        ("TEMPORARY LIVE TABLE", "materialized_view", True),
        ("TEMPORARY VIEW", "view", True),
        ("STREAMING LIVE VIEW", "view", True),
        ("TEMPORARY STREAMING LIVE VIEW", "view", True),
        ("VIEW", "view", False),
        ("LIVE VIEW", "view", True),
    ],
)
def test_every_spelling_of_a_table_or_view(spark, spelling, kind, private):
    graph = Graph("main", "crm")
    declare_sql(f"CREATE {spelling} t AS SELECT * FROM s", graph, spark)
    assert [(dataset.kind, dataset.private) for dataset in graph.datasets.values()] == [(kind, private)]


def test_bare_column_names_rename_what_a_query_returns(spark):
    graph = Graph("main", "crm")
    view = "CREATE TEMPORARY VIEW totals (city COMMENT 'where', n) AS SELECT 'Cadiz' a, 2 b -- last line"
    declare_sql(view, graph, spark)
    assert graph.datasets[graph.name("totals")].query().columns == ["city", "n"]


def test_use_and_set_hold_from_where_they_stand_and_in_the_next_cell(spark):
    graph = Graph("main", "crm")
    first = """CREATE VIEW a AS SELECT 1; USE CATALOG ref; USE SCHEMA geo; SET city = 'Cadiz';
        CREATE MATERIALIZED VIEW b AS SELECT '${city}' city"""
    scope = declare_sql(first, graph, spark)
    declare_sql("CREATE MATERIALIZED VIEW c AS SELECT 1", graph, spark, scope=scope)
    assert [str(name) for name in graph.datasets] == ["main.crm.a", "ref.geo.b", "ref.geo.c"]
    assert graph.flows["ref.geo.b"].spark_conf == {"city": "Cadiz"}
    assert graph.flows["ref.geo.b"].query().first().city == "Cadiz"


@pytest.mark.parametrize(
    "sql, why",
    [
        (
            "CREATE TABLE t AS SELECT 1",
            "crm.sql:1: main.crm.t: CREATE TABLE … AS is not supported in a pipeline",
        ),
        ("INSERT INTO t SELECT 1", "crm.sql:1: INSERT INTO is not supported in a pipeline"),
        ("MERGE INTO t USING s ON true", "MERGE INTO is not supported in a pipeline"),
        ("DROP TABLE t", "DROP TABLE is not supported in a pipeline"),
        ("CREATE FUNCTION f() RETURNS INT RETURN 1", "CREATE FUNCTION is not supported in a pipeline"),
        ("CREATE STREAMING TABLE t\nSCHEDULE EVERY 1 DAY", "crm.sql:2: SCHEDULE is not supported"),
        ("CREATE MATERIALIZED VIEW v", "main.crm.v has no query"),
        ("CREATE STREAMING TABLE t FLOW REPLACE WHERE a > 1 SELECT 1", "REPLACE goes BY NAME"),
        ("CREATE FLOW f AS AUTO CDC INTO t FROM s KEYS (id) SEQUENCE BY n", "reads s as a batch"),
        ("CREATE FLOW f AS AUTO CDC INTO t FROM STREAM(s) SEQUENCE BY n", "`keys` is []"),
        (
            "CREATE FLOW f AS INSERT INTO ONCE t BY NAME SELECT * FROM STREAM(s)",
            "runs ONCE and reads a stream",
        ),
    ],
)
def test_what_no_pipeline_has_is_refused_by_name_with_file_and_line(spark, sql, why):
    assert why in refusal(spark, sql)


def test_refusals_say_what_to_do(spark):
    assert refusal(spark, "SELECT 1;") == (
        "crm.sql:1: a query is not supported in a pipeline; "
        "a pipeline declares tables, views and flows; run other statements outside it"
    )
    wrong = refusal(spark, "CREATE LIVE TABLE v AS\nSELECT a FROM b c d")
    assert wrong == "crm.sql:2: Syntax error at or near 'd': extra input 'd'."
    assert refusal(spark, "CREATE VIEW v AS SELECT 1;\nCREATE VIEW v AS SELECT 2") == (
        "crm.sql:2: dataset main.crm.v is declared twice, first at crm.sql:1; rename or remove one of the two"
    )


def test_a_parameter_without_a_value_is_refused_at_its_line(spark):
    with pytest.raises(PipelineError) as refused:
        declare_sql(
            "CREATE VIEW v AS SELECT 1,\n${landng}",
            Graph("main", "crm"),
            spark,
            {"landing": ""},
            Location("a.sql", 4),
        )
    assert str(refused.value) == "a.sql:5: parameter ${landng} has no value; did you mean ${landing}?"
