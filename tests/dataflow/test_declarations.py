"Declarations of `dp` and `dlt`, and the graph that they make."

import sys
from functools import partial

import pytest

pytest.importorskip("pyspark")

from cdc_local.dataflow.graph import Dataset
from cdc_local.errors import PipelineError
from cdc_local.storage import TableName


def table(name):
    return TableName("main", "default", name)


def query(): ...


def test_names_are_scoped_and_used_once(graph, dp):
    with graph.within(("main", "silver")):
        dp.table(query)
    with graph.within(None):
        assert graph.name("x") == table("x")
    with pytest.raises(ZeroDivisionError), graph.within(("main", "silver")):
        raise ZeroDivisionError
    assert graph.name("x") == table("x")
    assert graph.datasets[TableName("main", "silver", "query")].scope == ("main", "silver")
    assert graph.add_dataset(Dataset(table("x"), "view", scope=("other", "storage"))).scope == (
        "other",
        "storage",
    )
    with pytest.raises(
        PipelineError, match="^a.py:7: flow main.silver.query is declared twice, first at a.py:7"
    ):
        graph.add_flow(graph.flows["main.silver.query"])


def test_warnings_come_once_and_only_for_what_was_given(graph, dp):
    for name in ("a", "b"):
        dp.create_streaming_table(name, path="/x", cluster_by="id")
    assert graph.warnings == ["create_streaming_table(): `path` has no effect on the local runner"]


@pytest.mark.parametrize(
    "declare",
    [
        lambda dp, conf: dp.table(spark_conf=conf)(query),
        lambda dp, conf: dp.materialized_view(spark_conf=conf)(query),
        lambda dp, conf: dp.temporary_view(spark_conf=conf)(query),
        lambda dp, conf: dp.append_flow(target="t", spark_conf=conf)(query),
        lambda dp, conf: dp.create_auto_cdc_flow("t", "s", ["id"], "at", spark_conf=conf),
        lambda dp, conf: dp.create_streaming_table("t", spark_conf=conf),
    ],
)
def test_spark_settings_of_a_flow_are_not_passed_over_in_silence(graph, dp, declare):
    declare(dp, {})
    assert graph.warnings == []
    graph.datasets.clear(), graph.flows.clear()
    declare(dp, {"spark.sql.shuffle.partitions": "4"})
    assert len(graph.warnings) == 1 and graph.warnings[0].endswith(
        "`spark_conf` has no effect on the local runner"
    )


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda dp: dp.append_flow(), "missing a required argument: 'target'"),
        (lambda dp: dp.table("rows"), "table decorates a function"),
        (lambda dp: dp.create_auto_cdc_flow("t", "s", [], "at"), "keys"),
        (lambda dp: dp.tabel, "did you mean `table`"),
    ],
)
def test_wrong_calls_name_the_line(dp, call, words):
    with pytest.raises(PipelineError, match="^a.py:7: ") as raised:
        call(dp)
    assert words in str(raised.value)


def test_what_a_declaration_says_is_kept(graph, dp):
    dp.materialized_view(name="gold", comment="Sums", partition_cols="day", spark_conf={"k": "v"})(query)
    dp.table(name="hidden", temporary=True)(query)
    dp.view(name="seen", comment="Only seen")(query)
    gold, hidden, seen = (graph.datasets[table(name)] for name in ("gold", "hidden", "seen"))
    assert (gold.comment, gold.partition_cols, gold.private) == ("Sums", ("day",), False)
    assert graph.flows["main.default.gold"].spark_conf == {"k": "v"}
    assert (hidden.private, seen.kind, seen.comment) == (True, "view", "Only seen")
    assert list(graph.flows) == ["main.default.gold", "main.default.hidden"]


def test_rules_and_their_actions(graph, dp):
    dp.create_target_table(
        "t", expect_all={"w": "1"}, expect_all_or_drop={"d": "2"}, expect_all_or_fail={"f": "3"}
    )
    dp.expect_or_fail("above", "4")(
        dp.table(dp.expect_or_drop("first", "5")(dp.expect("second", "6")(query)))
    )
    assert [(rule.name, rule.action) for rule in graph.datasets[table("t")].expectations] == [
        ("w", "warn"),
        ("d", "drop"),
        ("f", "fail"),
    ]
    assert [(rule.name, rule.action) for rule in graph.datasets[table("query")].expectations] == [
        ("above", "fail"),
        ("first", "drop"),
        ("second", "warn"),
    ]
    del query.__expectations__


def test_rules_of_a_bound_method_are_its_own_table_s(graph, dp):
    class Feed:
        def rows(self): ...

    one, other = Feed(), Feed()
    below = dp.expect("below", "1")(other.rows)
    dp.expect_or_drop("outer", "3")(dp.expect("above", "2")(dp.table(one.rows, name="one")))
    dp.table(dp.expect_or_fail("second", "4")(below), name="other")
    dp.table(Feed().rows)
    found = {dataset.name.table: dataset.expectations for dataset in graph.datasets.values()}
    assert {name: [rule.name for rule in rules] for name, rules in found.items()} == {
        "one": ["outer", "above"],
        "other": ["second", "below"],
        "rows": [],
    }


def test_what_is_called_and_has_no_name_is_given_one(graph, dp):
    dp.table(partial(query), name="named")
    dp.table(dp.expect("r", "1")(partial(query)), name="ruled")
    assert [len(dataset.expectations) for dataset in graph.datasets.values()] == [0, 1]
    for declare in (dp.table, dp.append_flow(target="t"), dp.foreach_batch_sink):
        with pytest.raises(PipelineError, match="has no name of its own"):
            declare(partial(query))


def test_flows(graph, dp):
    dp.append_flow(target="t", once=True)(query)
    dp.apply_changes("t", "s", ["id"], "at", flow_name="late", once=True)
    dp.create_auto_cdc_flow("t", "s", ["id"], "at", name="later")
    assert {flow.name: (flow.kind, flow.once) for flow in graph.flows.values()} == {
        "query": ("append", True),
        "late": ("auto_cdc", True),
        "later": ("auto_cdc", False),
    }


def test_sinks_hooks_and_reads(graph, dp):
    dp.create_sink("out", "delta", {"path": "/x"})
    dp.foreach_batch_sink(query)
    assert graph.datasets[table("out")].sink == {"format": "delta", "options": {"path": "/x"}}
    assert graph.datasets[table("query")].sink == {"handler": query}
    assert dp.on_event_hook(query) is query is dp.on_event_hook(max_allowable_consecutive_failures=3)(query)
    assert dp.read("orders") == "rows of orders"
    assert dp.__path__ == []  # a package: `import pyspark.pipelines as dp` works


def test_a_pipeline_is_recorded_as_datasets_and_flows(graph, dp):
    @dp.table(comment="As it came")
    def raw(): ...

    @dp.expect("known", "id is not null")
    @dp.materialized_view(name="per_day")
    @dp.expect_all_or_drop({"positive": "amount > 0"})
    def totals(): ...

    dp.create_streaming_table("customers")
    dp.create_auto_cdc_flow("customers", "raw", ["id"], "at", apply_as_deletes="op = 'D'")
    rules = {
        dataset.name.table: [(rule.name, rule.action) for rule in dataset.expectations]
        for dataset in graph.datasets.values()
    }
    assert rules == {"raw": [], "per_day": [("known", "warn"), ("positive", "drop")], "customers": []}
    assert [dataset.kind for dataset in graph.datasets.values()] == [
        "table",
        "materialized_view",
        "streaming_table",
    ]
    assert [(flow.name, flow.target.table, flow.kind) for flow in graph.flows.values()] == [
        ("main.default.raw", "raw", "table"),
        ("main.default.per_day", "per_day", "complete"),
        ("main.default.customers", "customers", "auto_cdc"),
    ]
    spec = graph.flows["main.default.customers"].cdc_spec
    assert (spec.keys, spec.sequence_by, spec.apply_as_deletes) == (("id",), "at", "op = 'D'")
    del totals.__expectations__


def test_a_rule_joins_the_last_dataset_of_its_function(graph, dp):
    def rows(): ...

    dp.table(name="a")(rows)
    dp.table(name="b")(rows)
    dp.expect("r", "1")(rows)
    assert [len(graph.datasets[table(name)].expectations) for name in "ab"] == [0, 1]


@pytest.mark.parametrize(
    "call, words",
    [
        (
            lambda dp: dp.table(commnet="x"),
            "table() has no parameter `commnet`; did you mean `comment`?",
        ),
        (
            lambda dp: dp.create_sink("out", "delta", None, qqq=1),
            "create_sink() has no parameter `qqq`; it takes name, format, options",
        ),
        (
            lambda dp: dp.create_auto_cdc_from_snapshot_flow(
                "customers", "raw", ["id"], track_history_column_list=["name"]
            ),
            "SCD type 1 keeps no history",
        ),
        (
            lambda dp: dp.apply_changes("t", "raw", ["id"], "at", system_sequence_by="x"),
            "`system_sequence_by` is 'x'; only a bitemporal table has a system time",
        ),
    ],
)
def test_wrong_parameters_are_named_with_what_to_write(dp, call, words):
    with pytest.raises(PipelineError) as caught:
        call(dp)
    assert words in str(caught.value)


def test_names_can_be_imported_all_at_once(dp, monkeypatch):
    monkeypatch.setitem(sys.modules, "dlt", dp)
    namespace = {}
    exec("from dlt import *", namespace)
    assert {"table", "view", "expect_all_or_fail", "apply_changes", "read"} <= namespace.keys()
