"What a flow reads and brings, found without data."

from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis.flow_analysis import (
    analyse_flow,
    analyse_pipeline,
    check_layout,
    check_rules,
    check_view,
    table_schema,
    upstream_flows,
)
from cdc_local.dataflow.graph import Dataset, Expectation, Flow, Graph
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName, localize


def table(name):
    return TableName("main", "default", name)


def test_every_writer_of_a_table_comes_before_its_reader():
    graph = Graph("main", "default")
    for name in ("a", "b"):
        graph.add_dataset(Dataset(table(name), "streaming_table"))
        graph.add_flow(Flow(name, table(name), "append"))
    graph.add_flow(Flow("a2", table("a"), "append"))
    analysed = {
        name: SimpleNamespace(reads={table("a"), table("elsewhere")} if name == "b" else set())
        for name in graph.flows
    }
    assert upstream_flows(SimpleNamespace(graph=graph, analysed=analysed)) == {
        "a": set(),
        "b": {"a", "a2"},
        "a2": set(),
    }


@pytest.mark.parametrize(
    "layout, words",
    [
        ({"partition_cols": ("day",)}, "`partition_cols` names day"),
        ({"cluster_by": ("day",)}, "`cluster_by` names day"),
        ({"partition_cols": ("ID", "City")}, "`partition_cols` names every column"),
        ({"cluster_by": ("ID", "`city`.name")}, None),
    ],
)
def test_layouts(layout, words):
    dataset = Dataset(table("t"), "materialized_view", **layout)
    if words is None:
        return check_layout(dataset, ["id", "city"])
    with pytest.raises(PipelineError, match=words):
        check_layout(dataset, ["id", "city"])


def test_what_a_flow_reads_and_gives(runtime, spark):
    dp = runtime.dp
    dp.table(name="ticks")(lambda: spark.readStream.format("rate").load().selectExpr("value AS n"))
    dp.expect("small", "n < 3")(
        dp.view(name="seen")(lambda: spark.readStream.table("ticks").where("ticks.n > 0"))
    )
    dp.table(name="kept", partition_cols="m")(
        lambda: spark.readStream.table("seen").selectExpr("seen.n", "1 AS m")
    )
    dp.materialized_view(name="total", schema="n BIGINT")(lambda: spark.sql("SELECT max(n) AS n FROM kept"))
    evaluations = {name: analyse_flow(runtime, flow) for name, flow in list(runtime.graph.flows.items())}
    assert {
        name.split(".")[-1]: sorted(each.table for each in evaluation.reads)
        for name, evaluation in evaluations.items()
    } == {"ticks": [], "kept": ["seen", "ticks"], "total": ["kept"]}
    assert {name.table: schema.simpleString() for name, schema in runtime.schemas.items()} == {
        "ticks": "struct<n:bigint>",
        "kept": "struct<n:bigint,m:int>",
        "total": "struct<n:bigint>",
    }
    assert list(evaluations["main.default.kept"].observed) == [table("seen")]
    assert all(analyse_flow(runtime, flow) is evaluations[name] for name, flow in runtime.graph.flows.items())
    assert runtime.source_columns["main.default.kept"].names == ["n", "m"] and runtime.analysing_flows == []


@pytest.mark.parametrize(
    "query, words",
    [
        ("readStream total", "main.default.total is a materialized view"),
        ("readStream plain", "main.default.plain is a materialized view"),
        ("read out", "main.default.out is a sink"),
        ("read seen2", "did you mean main.default.seen"),
        ("readStream seen", "view main.default.seen is a batch"),
        ("read wrong", "a cycle: main.default.wrong reads main.default.wrong"),
        ("read loop", "a cycle: main.default.loop reads main.default.loop"),
    ],
)
def test_what_cannot_be_read(runtime, spark, query, words):
    runtime.dp.create_sink("out", "delta")
    runtime.dp.materialized_view(name="total")(lambda: spark.range(1))
    runtime.dp.table(name="plain")(lambda: spark.range(1))
    runtime.dp.view(name="seen")(lambda: spark.range(1))
    runtime.dp.view(name="loop")(lambda: spark.read.table("loop"))
    how, name = query.split()
    runtime.dp.table(name="wrong")(lambda: getattr(spark, how).table(name))
    with pytest.raises(PipelineError) as raised:
        analyse_flow(runtime, runtime.graph.flows["main.default.wrong"])
    assert words in str(raised.value)


def analysed(runtime):
    return {name: analyse_flow(runtime, flow) for name, flow in list(runtime.graph.flows.items())}


def test_two_flows_make_one_table_whatever_the_case_of_their_columns(runtime, spark):
    dp = runtime.dp
    dp.table(name="reader")(lambda: spark.readStream.table("both"))
    dp.create_streaming_table("both")
    for columns in (("value AS N",), ("value AS n", "1 AS m")):
        dp.append_flow(target="both", name=f"flow{len(columns)}")(
            lambda columns=columns: spark.readStream.format("rate").load().selectExpr(*columns)
        )
    analysed(runtime)
    assert {name.table: schema.names for name, schema in runtime.schemas.items()} == {
        "both": ["N", "m"],
        "reader": ["N", "m"],
    }


def test_a_view_may_be_read_twice(runtime, spark):
    runtime.dp.view(name="ones")(lambda: spark.range(1))
    runtime.dp.materialized_view(name="twice")(lambda: spark.read.table("ones").union(spark.table("ones")))
    assert analysed(runtime)["main.default.twice"].reads == {table("ones")}


def test_a_one_part_name_is_looked_up_where_it_was_written(runtime, spark):
    dp, base = runtime.dp, TableName("main", "silver", "base")
    with runtime.graph.within(("main", "silver")):
        dp.materialized_view(name="base")(lambda: spark.range(1).selectExpr("id", "1 AS at"))
        dp.materialized_view(name="top")(lambda: spark.read.table("base"))
        for name in ("once", "snapshots"):
            dp.create_streaming_table(name)
        dp.create_auto_cdc_flow("once", "base", ["id"], "at", once=True)
        dp.create_auto_cdc_from_snapshot_flow("snapshots", "base", ["id"])
    assert {name.split(".")[-1]: evaluation.reads for name, evaluation in analysed(runtime).items()} == {
        "base": set(),
        "top": {base},
        "once": {base},
        "snapshots": {base},
    }
    assert {name.table: schema.names for name, schema in runtime.schemas.items()} == dict.fromkeys(
        ("base", "top", "once", "snapshots"), ["id", "at"]
    )


@pytest.mark.parametrize(
    "rule, query, words",
    [
        ("m > 0", lambda spark: spark.range(1), "expectation 'r' of main.default.seen"),
        ("id + 1", lambda spark: spark.range(1), "expectation 'r' of main.default.seen"),
        ("id > 0", lambda spark: spark.range(1).write.save("x"), "DataFrame.write is a write"),
    ],
)
def test_a_view_that_nobody_reads_is_checked_too(runtime, spark, rule, query, words):
    runtime.dp.view(name="seen")(runtime.dp.expect("r", rule)(lambda: query(spark)))
    with pytest.raises(PipelineError, match=words):
        check_view(runtime, runtime.graph.datasets[table("seen")])


@pytest.mark.parametrize(
    "query, words",
    [
        (lambda spark: spark.range(spark.readStream.table("orders").count()), "acts on a stream"),
        (lambda spark: spark.read.table("orders").write.save("x"), "DataFrame.write is a write"),
        (lambda spark: spark.sql("DROP TABLE orders"), "is not a query"),
        (lambda spark: [1, 2], "the dataset function of main.default.t returned list, not a DataFrame"),
        (lambda spark: spark.range(3) and None, "returned NoneType, not a DataFrame"),
        (lambda spark: spark.readStream.table("orders"), "materialized view main.default.t reads a stream"),
        (lambda spark: spark.read.table("orders").select("amuont"), "amuont"),
    ],
)
def test_what_a_dataset_function_may_not_do(runtime, spark, query, words):
    columns = "CAST(value AS STRING) AS id", "value AS amount"
    runtime.dp.table(name="orders")(lambda: spark.readStream.format("rate").load().selectExpr(*columns))
    runtime.dp.materialized_view(name="t")(lambda: query(spark))
    with pytest.raises(PipelineError) as raised:
        analyse_pipeline(runtime)
    assert words in str(raised.value)


def test_a_pipeline_is_analysed_before_any_of_its_tables_exists(runtime, spark):
    landing = Path(localize(runtime.storage, "/Volumes/main/default/raw/orders"))
    landing.mkdir(parents=True)
    (landing / "1.json").write_text('{"id": "a", "amount": 10}\n')
    query = "SELECT orders.id FROM main.default.orders WHERE amount > 100"
    runtime.dp.materialized_view(name="big")(lambda: spark.sql(query))  # declared before what it reads

    @runtime.dp.table
    @runtime.dp.expect("positive", "amount > 0")
    def orders():
        files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
        return files.schema("id string, amount int").load("/Volumes/main/default/raw/orders")

    analyse_pipeline(runtime)
    assert upstream_flows(runtime) == {
        "main.default.big": {"main.default.orders"},
        "main.default.orders": set(),
    }
    kinds = {name.table: dataset.kind for name, dataset in runtime.graph.datasets.items()}
    assert kinds == {"big": "materialized_view", "orders": "streaming_table"}
    assert table_schema(runtime, table("big")).simpleString() == "struct<id:string>"
    assert table_schema(runtime, table("orders")).simpleString() == "struct<id:string,amount:int>"
    assert runtime.storage.tables() == []


def test_a_rule_that_spark_cannot_read_is_refused(spark):
    rule = Expectation("positive", "amount > 0", "drop")
    sales = Dataset(table("sales"), "materialized_view", expectations=(rule,))
    with pytest.raises(PipelineError, match="expectation 'positive' of main.default.sales"):
        check_rules(sales, spark.range(3))


def test_a_table_without_a_flow_has_no_columns(runtime):
    runtime.dp.create_streaming_table("alone")
    with pytest.raises(PipelineError, match="main.default.alone has no flow"):
        table_schema(runtime, table("alone"))


def test_a_rule_with_a_subquery_is_refused_as_on_databricks():
    rule = Expectation("known", "id IN (SELECT id FROM main.default.other)", "warn")
    dataset = Dataset(TableName("main", "default", "t"), "streaming_table", expectations=(rule,))
    with pytest.raises(
        PipelineError, match="expectation 'known' of main.default.t has a subquery; Databricks"
    ):
        check_rules(dataset, None)
