"What cannot run is refused before a row moves."

from dataclasses import replace

import pytest

pytest.importorskip("pyspark")

from cdc_local.dataflow.graph import Dataset, Flow, Graph, check_graph, settle_kind
from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.storage import TableName


def query(): ...


def test_a_dataset_that_is_declared_twice_names_both_lines(graph):
    raw = Dataset(graph.name("raw"), "streaming_table", location=Location("raw.py", 3))
    graph.add_dataset(raw)
    with pytest.raises(PipelineError) as caught:
        graph.add_dataset(replace(raw, location=Location("again.py", 9)))
    assert str(caught.value) == (
        "again.py:9: dataset main.default.raw is declared twice, first at raw.py:3; "
        "rename or remove one of the two"
    )


def test_names_mean_the_scope_they_stand_in(graph):
    with graph.within(("main", "silver")):
        assert str(graph.name("raw")) == "main.silver.raw"
    assert str(graph.name("raw")) == "main.default.raw"


def test_a_flow_without_a_spec_is_no_auto_cdc(graph, dp):
    dp.table(query)
    with pytest.raises(TypeError, match="flow main.default.query is of kind table and has no spec"):
        _ = graph.flows["main.default.query"].cdc_spec


def test_a_target_that_is_not_declared_is_named_with_its_neighbour(graph, dp):
    dp.create_streaming_table("customers")
    dp.create_auto_cdc_flow("customers", "raw", ["id"], "at")
    check_graph(graph)
    dp.append_flow(target="custmers", name="late")(query)
    with pytest.raises(
        PipelineError,
        match="flow late writes to main.default.custmers, which is not declared; did you mean customers",
    ):
        check_graph(graph)


def test_a_table_without_a_flow_is_refused(graph, dp):
    dp.create_streaming_table("alone")
    with pytest.raises(PipelineError, match="streaming table main.default.alone has no flow"):
        check_graph(graph)


def test_an_empty_pipeline_is_refused(graph):
    with pytest.raises(PipelineError, match="declare no table, view or sink; is this the right folder"):
        check_graph(graph)


def test_a_snapshot_beside_changes_empties_the_table(graph, dp):
    dp.create_streaming_table("customers")
    dp.apply_changes_from_snapshot("customers", query, ["id"])
    check_graph(graph)
    assert not graph.flows["main.default.customers"].is_beside_events
    dp.apply_changes("customers", "raw", ["ID"], "at", name="feed")
    check_graph(graph)
    assert graph.flows["main.default.customers"].is_beside_events


@pytest.mark.parametrize(
    "declare, words",
    [
        (
            lambda dp: (dp.materialized_view(name="t")(query), dp.append_flow(target="t")(query)),
            "a materialized_view",
        ),
        (lambda dp: (dp.view(name="t")(query), dp.create_auto_cdc_flow("t", "s", ["id"], "at")), "a view"),
        (
            lambda dp: (
                dp.create_streaming_table("t"),
                dp.append_flow(target="t")(query),
                dp.create_auto_cdc_flow("t", "s", ["id"], "at"),
            ),
            "AUTO CDC and of another flow",
        ),
        (
            lambda dp: (
                dp.create_streaming_table("t"),
                *[dp.create_auto_cdc_from_snapshot_flow("t", "s", ["id"], name=name) for name in "ab"],
            ),
            "flow b is the second flow from snapshots into main.default.t",
        ),
        (
            lambda dp: (
                dp.create_streaming_table("t"),
                dp.append_flow(target="t")(query),
                dp.create_auto_cdc_from_snapshot_flow("t", query, ["id"]),
            ),
            "AUTO CDC FROM SNAPSHOT and of another flow",
        ),
        (
            lambda dp: (
                dp.create_streaming_table("t", expect_all={"r": "1"}, expect_all_or_drop={"r": "2"}),
                dp.append_flow(target="t")(query),
            ),
            "two expectations named 'r'",
        ),
    ],
)
def test_pipelines_that_cannot_be(graph, dp, declare, words):
    declare(dp)
    with pytest.raises(PipelineError, match=words):
        check_graph(graph)


def test_a_table_settles_as_its_query_is():
    def settled(kind, streaming, once=False):
        graph, name = Graph("main", "default"), TableName("main", "default", "t")
        graph.add_dataset(Dataset(name, "table" if kind == "table" else "streaming_table"))
        flow = settle_kind(graph, graph.add_flow(Flow("t", name, kind, once=once)), streaming)
        assert graph.flows["t"] == flow
        return flow.kind, graph.datasets[name].kind

    assert settled("table", True) == ("append", "streaming_table") and settled("table", False) == (
        "complete",
        "materialized_view",
    )
    assert settled("append", True) == settled("append", False, True) == ("append", "streaming_table")
    with pytest.raises(PipelineError, match="appends a batch"):
        settled("append", False)
    with pytest.raises(PipelineError, match="runs once, but reads a stream"):
        settled("append", True, True)
    with pytest.raises(PipelineError, match="reads a stream"):
        settled("complete", True)


def test_a_temporary_view_has_a_name_of_one_part_in_all_of_the_pipeline():
    graph = Graph("main", "default")
    view = graph.add_dataset(Dataset(TableName("main", "raw", "src"), "view", private=True))
    published = graph.add_dataset(Dataset(graph.name("shown"), "view"))
    table = graph.add_dataset(Dataset(graph.name("t"), "streaming_table"))
    for name in ("src", "`src`", "LIVE.src"):
        assert graph.find_dataset(name) == view, name
    for name in ("main.raw.src", "raw.src", "main.default.src", "other"):
        assert graph.find_dataset(name) is None, name
    assert graph.find_dataset("shown") == graph.find_dataset("main.default.shown") == published
    assert graph.find_dataset("t") == graph.find_dataset("default.t") == table


def test_names_that_differ_in_case_are_one(graph, dp):
    dp.append_flow(target="Orders", name="early")(query)
    dp.create_streaming_table("orders")
    dp.create_auto_cdc_flow("ORDERS", "s", ["id"], "at", name="late")
    assert (
        graph.flows["late"].target
        == graph.name("Main.DEFAULT.oRDERS")
        == TableName("main", "default", "orders")
    )
    with pytest.raises(PipelineError, match="dataset main.default.orders is declared twice"):
        dp.table(name="ORDERS")(query)
    del graph.flows["late"]
    check_graph(graph)
    assert graph.flows["early"].target == TableName("main", "default", "orders")


def test_a_dataset_is_found_by_a_name_that_only_it_has(graph, dp):
    for name in ("lab.ops.machines", "lab.ops.orders", "main.crm.orders", "sales"):
        dp.create_streaming_table(name)
    assert [str(graph.find_name(text)) for text in ("Machines", "crm.orders", "sales")] == [
        "lab.ops.machines",
        "main.crm.orders",
        "main.default.sales",
    ]
    with pytest.raises(UsageError, match="orders is the name of 2 tables; write one in full: lab.ops.orders"):
        graph.find_name("orders")
    with pytest.raises(UsageError, match="no table machine in this pipeline; did you mean machines?"):
        graph.find_name("machine")
