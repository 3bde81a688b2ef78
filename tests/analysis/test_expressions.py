"Names of the pipeline's tables in expressions of Python's."

import pyarrow as pa
import pytest
from deltalake import write_deltalake

pytest.importorskip("pyspark")

from pyspark.sql import functions as F
from pyspark.sql.functions import expr

from cdc_local.analysis.evaluation import Evaluation, declaring, handling_batch
from cdc_local.analysis.runtime import evaluate
from cdc_local.dataflow.graph import Flow
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName


@pytest.fixture
def run(runtime):
    "Evaluates a dataset function over two stored tables; gives its rows and the tables that it read."
    runtime.analysing = False
    for name, rows in {"t": [1, 2, 3], "raw.u": [2, 3, 9]}.items():
        path = runtime.storage.table_path(runtime.graph.name(name))
        write_deltalake(str(path), pa.table({"id": pa.array(rows, pa.int64())}))

    def run(query):
        name = TableName("main", "default", "made")
        frame = evaluate(
            runtime, Evaluation(Flow("made", name, "complete")), Flow("made", name, "complete", query)
        )
        return sorted(tuple(row) for row in frame.collect())

    return run


def views_of(spark):
    return [view.name for view in spark.catalog.listTables("global_temp")]


EXPRESSIONS = {
    "where, three parts": lambda t: t.where("id = (SELECT max(id) FROM main.default.t)"),
    "where, two parts": lambda t: t.where("id > (SELECT min(id) FROM raw.u)"),
    "where, one part": lambda t: t.where("id = (SELECT max(id) FROM t)"),
    "filter": lambda t: t.filter("id IN (SELECT id FROM main.raw.u) AND id < 9 AND id > 2"),
    "not in": lambda t: t.filter("id NOT IN (SELECT id FROM `main`.raw.`u`) OR id = 3").where("id > 1"),
    "correlated": lambda t: t.where("EXISTS (SELECT 1 FROM main.raw.u WHERE u.id = t.id AND u.id > 2)"),
    "its own name in the subquery": lambda t: t.where(
        "id = (SELECT max(main.raw.u.id) FROM main.raw.u WHERE main.raw.u.id < 9)"
    ),
    "a WITH": lambda t: t.where("id = (WITH c AS (SELECT id FROM main.default.t) SELECT max(id) FROM c)"),
    "a column": lambda t: t.where(F.expr("id = (SELECT max(id) FROM main.default.t)")),
    "a column by another name": lambda t: t.where(
        expr("id = (SELECT max(id) FROM main.default.t)") & F.lit(True)
    ),
    "withColumn": lambda t: t.withColumn("id", F.expr("(SELECT max(id) FROM raw.u) - 6")).distinct(),
    "selectExpr": lambda t: (
        t.selectExpr("id", "(SELECT max(id) FROM raw.u) AS top")
        .where("top > 3 * id - 1")
        .select("id")
        .where("id > 2")
    ),
    "selectExpr of a list": lambda t: t.selectExpr(["id + (SELECT min(id) FROM raw.u) - 2 AS id"]).where(
        "id = 3"
    ),
    "join": lambda t: (
        t.alias("a")
        .join(t.alias("b"), F.expr("a.id = b.id AND a.id = (SELECT max(id) FROM main.default.t)"))
        .select("a.id")
    ),
    "agg": lambda t: t.agg(F.expr("max(id) + (SELECT count(*) FROM raw.u) - 3").alias("id")),
    "two subqueries": lambda t: t.where("id = (SELECT max(id) FROM t) AND id IN (SELECT id FROM raw.u)"),
    "after another frame": lambda t: t.where("id < (SELECT max(id) FROM raw.u)").where(
        "id = (SELECT max(id) FROM t)"
    ),
}


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_a_subquery_reads_the_tables_of_the_storage(name, run, spark):
    text = EXPRESSIONS[name]
    assert run(lambda: text(spark.read.table("t"))) == [(3,)]
    assert not [view for view in views_of(spark) if view.startswith("__lakeflow")]


def test_what_a_subquery_reads_comes_first(runtime, spark):
    runtime.dp.create_streaming_table("later", schema="id BIGINT")
    runtime.dp.append_flow(target="later")(
        lambda: spark.readStream.format("rate").load().selectExpr("value AS id")
    )
    evaluation = Evaluation(Flow("f", TableName("main", "default", "f"), "complete"))

    def query():
        return spark.range(3).where("id IN (SELECT id FROM main.default.later)")

    evaluate(runtime, evaluation, Flow("f", TableName("main", "default", "f"), "complete", query))
    assert evaluation.reads == {TableName("main", "default", "later")}


def test_two_evaluations_have_the_same_plan(run, spark):
    plans = []

    def query():
        frame = spark.read.table("t").where("id = (SELECT max(id) FROM raw.u)")
        plans.append(frame._jdf.queryExecution().analyzed().treeString())
        return frame

    run(query), run(query)
    import re

    assert len({re.sub(r"#\d+", "#", plan) for plan in plans}) == 1


def test_an_unknown_table_in_a_subquery_is_named(run, spark):
    with pytest.raises(
        PipelineError, match="table main.default.x is neither in this pipeline nor in the storage"
    ):
        run(lambda: spark.range(3).where("id = (SELECT max(id) FROM main.default.x)"))


def test_a_source_file_may_ask_stored_tables_while_it_declares_but_makes_no_such_column(run, spark):
    with declaring(spark):
        rows = spark.read.table("t").where("id = (SELECT max(id) FROM main.default.t)")
        assert [row.id for row in rows.collect()] == [3]
        with pytest.raises(
            PipelineError, match="reads main.default.t outside a dataset function; make this column"
        ):
            F.expr("id = (SELECT max(id) FROM main.default.t)")
        F.expr("id + 1")
    with handling_batch(spark):
        frame = spark.range(9).where(F.expr("id IN (SELECT id FROM main.default.t)"))
        assert frame.count() == 3
    assert not [view for view in views_of(spark) if view.startswith("__lakeflow")]


def test_frames_as_subqueries(run, spark):
    def query():
        top = spark.read.table("raw.u").agg(F.max("id") - 6).scalar()
        return spark.read.table("t").where(F.col("id") == top)

    assert run(query) == [(3,)]
