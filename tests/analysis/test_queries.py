"`spark.sql` over the pipeline's tables."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.queries import apply_use, is_session_statement, relation_frame, with_metadata
from cdc_local.dataflow.graph import Graph
from cdc_local.storage import localize


def test_statements_a_source_file_may_run():
    for text in (
        "SET a = 1",
        "use catalog x",
        "RESET",
        "DECLARE x",
        "create temporary view v",
        "CREATE OR REPLACE TEMPORARY VIEW v",
        "CREATE FUNCTION f",
        "SHOW TABLES",
    ):
        assert is_session_statement(text), text
    for text in (
        "DROP TABLE t",
        "CREATE TABLE t",
        "INSERT INTO t",
        "CREATE OR REPLACE TABLE t",
        "SHOW COLUMNS",
    ):
        assert not is_session_statement(text), text


@pytest.mark.parametrize(
    "text, wanted",
    [
        ("USE CATALOG shop", ("shop", "default")),
        ("use catalog shop", ("shop", "default")),
        ("use `shop`.`raw`;", ("shop", "raw")),
        ("USE SCHEMA raw", ("main", "raw")),
        ("USE raw", ("main", "raw")),
        ("DATABASE raw", None),
    ],
)
def test_use(spark, text, wanted):
    runtime = SimpleNamespace(spark=spark, graph=Graph("main", "default"))
    moved = apply_use(runtime, text)
    assert (moved is None) == (wanted is None) and (runtime.graph.catalog, runtime.graph.schema) == (
        wanted or ("main", "default")
    )


FILES = "read_files('/data', format => 'json')"


@pytest.mark.parametrize(
    "text, wanted",
    [
        (
            f"SELECT *, _metadata.file_name FROM {FILES}",
            f"SELECT * EXCEPT (_metadata), _metadata.file_name FROM {FILES}",
        ),
        (
            f"SELECT _metadata.file_name, * FROM {FILES}",
            f"SELECT _metadata.file_name, * EXCEPT (_metadata) FROM {FILES}",
        ),
        (f"SELECT * FROM {FILES}", None),
        (f"SELECT 2 * n, count(*), _metadata.file_name FROM {FILES}", None),
        ("SELECT *, _metadata FROM t", None),
        (f"SELECT * FROM (SELECT n, _metadata.file_name FROM {FILES})", None),
        (
            " UNION ALL ".join([f"SELECT *, _metadata.file_name FROM {FILES}"] * 2),
            " UNION ALL ".join([f"SELECT * EXCEPT (_metadata), _metadata.file_name FROM {FILES}"] * 2),
        ),
    ],
)
def test_a_star_beside_metadata(spark, text, wanted):
    assert with_metadata(spark, text) == (wanted or text)


def test_arguments_of_read_files_win_over_its_defaults(runtime):
    from cdc_local.sql.relations import Relation

    asked = []
    runtime.read_files = lambda *arguments: asked.append(arguments)
    for function in ("read_files", "cloud_files"):
        relation_frame(
            runtime,
            Relation(function=function, arguments={"path": "/Volumes/a", "schema": "n int"}, streaming=True),
        )
    relation_frame(
        runtime, Relation(function="read_files", arguments={"path": "/x", "inferColumnTypes": "false"})
    )
    volume = localize(runtime.storage, "/Volumes/a")
    assert asked == [
        (volume, {"inferColumnTypes": "true"}, "n int", True),
        (volume, {}, "n int", True),
        ("/x", {"inferColumnTypes": "false"}, None, False),
    ]
