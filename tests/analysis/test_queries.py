"`spark.sql` over the pipeline's tables."

from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.queries import apply_use, is_session_statement, relation_frame, with_metadata
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import PipelineError
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
            Relation(
                function=function,
                arguments={"path": "/Volumes/a", "schema": "n int", "format": "json"},
                streaming=True,
            ),
        )
    relation_frame(
        runtime,
        Relation(
            function="read_files", arguments={"path": "/x", "format": "csv", "inferColumnTypes": "false"}
        ),
    )
    volume = localize(runtime.storage, "/Volumes/a")
    assert asked == [
        (volume, {"inferColumnTypes": "true", "format": "json"}, "n int", True),
        (volume, {"format": "json"}, "n int", True),
        ("/x", {"format": "csv", "inferColumnTypes": "false"}, None, False),
    ]


def test_the_event_log_of_the_pipeline_that_fills_a_table(runtime):
    from cdc_local.sql.relations import Relation
    from cdc_local.update.event_log import EventLog

    runtime.dp.create_streaming_table("t")
    asked = Relation(function="event_log", arguments={"table": "default.t"})
    assert relation_frame(runtime, asked).count() == 0
    for pipeline, table in (("ours", "main.default.t"), ("ours", None), ("another", "main.default.u")):
        with EventLog(runtime.storage.event_log_path, pipeline, "1") as log:
            log.record("flow_progress", f"{pipeline} tells of {table}", dataset_name=table)
    found = sorted(row.message for row in relation_frame(runtime, asked).collect())
    assert found == ["ours tells of None", "ours tells of main.default.t"]
    assert "legacy publishing mode" in runtime.graph.warnings[0]
    with pytest.raises(PipelineError, match=r"event_log\(\) names a pipeline .* event_log\(TABLE\(t\)\)"):
        relation_frame(runtime, Relation(function="event_log", arguments={"pipeline": "1"}))
    with pytest.raises(PipelineError, match="table nope is neither"):
        relation_frame(runtime, Relation(function="event_log", arguments={"table": "nope"}))


def test_a_change_feed_in_sql_is_that_of_the_reader(runtime):
    from cdc_local.sql.relations import Relation

    asked = []
    runtime.read_table = lambda *arguments: asked.append(arguments)
    for bounds in ({"start": "0"}, {"start": "2024-01-01", "end": "7"}):
        relation_frame(runtime, Relation(function="table_changes", arguments={"table": "a.t", **bounds}))
    feed = {"readChangeFeed": "true"}
    assert asked == [
        ("a.t", False, feed | {"startingVersion": "0"}),
        ("a.t", False, feed | {"startingTimestamp": "2024-01-01", "endingVersion": "7"}),
    ]
    with pytest.raises(PipelineError, match="has no start"):
        relation_frame(runtime, Relation(function="table_changes", arguments={"table": "a.t"}))
