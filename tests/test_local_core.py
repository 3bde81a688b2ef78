"The small parts under an update: names and folders, declarations, `dbutils`, the order of flows, emptying, reasons."

import json
import os
import threading
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.analysis import runtime as lakeflow
from cdc_local.analysis.evaluation import Evaluation, declaring
from cdc_local.analysis.flow_analysis import (
    analyse_flow,
    check_layout,
    check_view,
    settle_dataset_kind,
    upstream_flows,
)
from cdc_local.analysis.patches import install_patches
from cdc_local.analysis.queries import apply_use, is_session_statement, relation_frame, with_metadata
from cdc_local.analysis.runtime import (
    Runtime,
    autoloader_key,
    checkpoint_path,
    read_stored,
    with_expectations,
)
from cdc_local.analysis.snapshot_source import latest_version, next_snapshot, stored_source_columns
from cdc_local.auto_cdc.merge import apply_events, read_touched_rows, recompute_rows, row_differs
from cdc_local.auto_cdc.target import (
    Target,
    backing_properties,
    change_events,
    check_declaration,
    compute_rows,
    create_backing_table,
    latest_columns,
    visible_schema,
)
from cdc_local.dataflow.dp import LakeflowModule
from cdc_local.dataflow.expectations import is_broken
from cdc_local.dataflow.graph import Dataset, Expectation, Flow, Graph, check_graph
from cdc_local.delta.stream_progress import streamed_table
from cdc_local.delta.writer import create_table
from cdc_local.engines.spark.catalyst import exception_messages
from cdc_local.engines.spark.session import local_spark
from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source.dbutils import Dbutils
from cdc_local.storage import STORAGE_FORMAT, Storage, TableName, localize, lock_storage, read_json
from cdc_local.update import run as update
from cdc_local.update.append_flow import append_once, sink_writer
from cdc_local.update.auto_cdc_flow import rules_for
from cdc_local.update.counters import (
    CHANGES,
    batch_counters,
    progress_details,
    stream_counters,
    summarize_flow,
)
from cdc_local.update.request import UpdateRequest, choose_tables, update_session
from cdc_local.update.scheduler import describe_failure, run_flows, wait_or_stop, write_rows
from cdc_local.update.snapshot_flow import note_version, snapshot_ingestion_time
from cdc_local.update.source_environment import import_path
from cdc_local.update.streams import Run, log_stream_progress, must_commit_as_one_batch, stream_id
from cdc_local.update.table_setup import reset_tables
from cdc_utils.results import ExpectationCount
from cdc_utils.spec import CdcSpec


def table(name):
    return TableName("main", "default", name)


@pytest.fixture
def place(tmp_path):
    return Storage(tmp_path / "cdc").create()


@pytest.fixture(scope="module")
def spark():
    return local_spark()


# Storage


def test_folders(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert Storage(Path("cdc")).root == place.root
    assert (place.event_log_path, place.state_path) == (place.root / "event_log", place.root / "state")
    for name in ("b", "a"):
        (place.table_path(table(name)) / "_delta_log").mkdir(parents=True)
        (place.table_path(table(name)) / "_delta_log/00000000000000000000.json").touch()
    (place.table_path(table("c")) / "data").mkdir(parents=True)
    assert place.tables() == [table("a"), table("b")]


def test_a_newer_layout_stays_as_it_is(place):
    marker = place.root / "storage.json"
    assert json.loads(marker.read_text()) == {"format": STORAGE_FORMAT}
    marker.write_text('{"format": 99}')
    with pytest.raises(UsageError, match="storage format 99"):
        place.create()
    assert marker.read_text() == '{"format": 99}'


@pytest.mark.parametrize(
    "path, wanted",
    [
        ("/Volumes", "Volumes"),
        ("dbfs:///Volumes/a/b", "Volumes/a/b"),
        ("/dbfs/Volumes/a/b", "Volumes/a/b"),
        ("/dbfs/tmp/x", "dbfs/tmp/x"),
        ("dbfs:/Volumesque/a", "dbfs/Volumesque/a"),
        ("/Volumes/a/./b/", "Volumes/a/b/"),
    ],
)
def test_paths_of_databricks(place, path, wanted):
    assert localize(place, path) == f"{place.root}/{wanted}"


@pytest.mark.parametrize("path", ["/Volumesque/a", "Volumes/a", "/dbfsx/a", "/data//x"])
def test_other_paths_stay(place, path):
    assert localize(place, path) == path


@pytest.mark.parametrize("path", ["/Volumes/../Volumes2/x", "dbfs:/../dbfs2", "/databricks-datasets/../../x"])
def test_paths_that_climb_out(place, path):
    with pytest.raises(UsageError, match="leaves the storage folder"):
        localize(place, path)


def test_the_lock_names_its_owner_and_goes_with_an_error(place):
    with pytest.raises(ZeroDivisionError), lock_storage(place):
        with pytest.raises(UsageError, match=f"process {os.getpid()}"), lock_storage(place):
            pass
        raise ZeroDivisionError
    with lock_storage(place):
        pass


# dbutils


def test_files(place):
    dbutils = Dbutils(place)
    file = Path(localize(place, "/Volumes/a/b/c/one.txt"))
    dbutils.fs.put("/Volumes/a/b/c/one.txt", "first")
    os.utime(file, (1000, 1000))
    (found,) = dbutils.fs.ls("/Volumes/a/b/c/")
    assert found == ("dbfs:/Volumes/a/b/c/one.txt", "one.txt", 5, 1_000_000)
    assert found.isFile() and not found.isDir()
    dbutils.fs.put("/Volumes/a/e/_SUCCESS", "")
    assert [(empty.size, empty.isFile()) for empty in dbutils.fs.ls("/Volumes/a/e")] == [(0, True)]
    assert dbutils.fs.ls("dbfs:/Volumes/a/b/c/one.txt") == [found] == dbutils.fs.ls("dbfs:/Volumes/a/b/c")
    (folder,) = dbutils.fs.ls("/Volumes/a/b")
    assert (folder.size, folder.isFile()) == (0, False)
    assert dbutils.fs.head("file:" + str(file), 3) == "fir"
    assert dbutils.fs.cp("/Volumes/a/b/c/one.txt", "/Volumes/a/d/two.txt") and file.exists()
    assert dbutils.fs.put("/Volumes/a/d/two.txt", "second", overwrite=True)
    assert dbutils.fs.head("/Volumes/a/d/two.txt") == "second"


def test_widgets():
    given = {"catalog": "main"}
    widgets = Dbutils(None, given).widgets
    widgets.text("catalog", "other")
    widgets.dropdown("size", "small", ["small", "large"])
    widgets.getAll()["size"] = "none"
    assert widgets.getAll() == {"catalog": "main", "size": "small"} and given == {"catalog": "main"}
    assert not hasattr(Dbutils(None), "__wrapped__")


# Declarations


@pytest.fixture
def graph():
    return Graph("main", "default", lambda: Location("a.py", 7))


@pytest.fixture
def dp(graph):
    return LakeflowModule("dlt", graph, {"read": lambda name: f"rows of {name}"})


def query(): ...


def test_names_are_scoped_and_used_once(graph, dp):
    with graph.within(("main", "silver")):
        dp.table(query)
    with graph.within(None):
        assert graph.name("x") == table("x")
    with pytest.raises(ZeroDivisionError), graph.within(("main", "silver")):
        1 / 0
    assert graph.name("x") == table("x")
    assert graph.datasets[TableName("main", "silver", "query")].scope == ("main", "silver")
    assert graph.add_dataset(Dataset(table("x"), "view", scope=("other", "place"))).scope == (
        "other",
        "place",
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
        lambda dp, conf: dp.append_flow(query, target="t", spark_conf=conf),
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
        (lambda dp: dp.append_flow(query), "missing a required argument: 'target'"),
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


def test_flows(graph, dp):
    dp.append_flow(query, target="t", once=True)
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


@pytest.mark.parametrize(
    "declare, words",
    [
        (
            lambda dp: (dp.materialized_view(name="t")(query), dp.append_flow(query, target="t")),
            "a materialized_view",
        ),
        (lambda dp: (dp.view(name="t")(query), dp.create_auto_cdc_flow("t", "s", ["id"], "at")), "a view"),
        (
            lambda dp: (
                dp.create_streaming_table("t"),
                dp.append_flow(query, target="t"),
                dp.create_auto_cdc_flow("t", "s", ["id"], "at"),
            ),
            "AUTO CDC and of another flow",
        ),
        (
            lambda dp: (
                dp.create_streaming_table("t"),
                *[dp.create_auto_cdc_from_snapshot_flow("t", "s", ["id"], name=name) for name in "ab"],
            ),
            "AUTO CDC FROM SNAPSHOT and of another flow",
        ),
        (
            lambda dp: (
                dp.create_streaming_table("t", expect_all={"r": "1"}, expect_all_or_drop={"r": "2"}),
                dp.append_flow(query, target="t"),
            ),
            "two expectations named 'r'",
        ),
    ],
)
def test_pipelines_that_cannot_be(graph, dp, declare, words):
    declare(dp)
    with pytest.raises(PipelineError, match=words):
        check_graph(graph)


# The order of flows


class Log(list):
    def record(self, *args, **options):
        self.append((args, options))


def pipeline(*names, **properties):
    "A graph with a table and a flow for each name, and a run of it."
    graph = Graph("main", "default")
    for name in names:
        graph.add_dataset(Dataset(table(name), "streaming_table", table_properties=properties.get(name, {})))
        graph.add_flow(Flow(name, table(name), "append", location=Location(f"{name}.py", 1)))
    return Run(SimpleNamespace(graph=graph), Log())


def ran(monkeypatch, run, upstream, chosen, failing=()):
    "Run flows that do nothing; their states in the order they ended."

    def run_flow(run, flow):
        return update.FlowResult(
            flow.name, str(flow.target), "FAILED" if flow.name in failing else "COMPLETED"
        )

    monkeypatch.setattr(update, "run_flow", run_flow)
    return {
        result.name: result.status for result in run_flows(run, upstream, {table(name) for name in chosen}, 1)
    }


def test_flows_run_in_the_order_of_what_they_read(monkeypatch):
    upstream = {"c": {"b"}, "b": {"a"}, "a": set()}
    states = ran(monkeypatch, pipeline("c", "b", "a"), upstream, "abc")
    assert list(states.items()) == [("a", "COMPLETED"), ("b", "COMPLETED"), ("c", "COMPLETED")]


def test_a_failure_stops_what_reads_it_and_nothing_else(monkeypatch):
    run = pipeline("a", "b", "c", "d")
    states = ran(monkeypatch, run, {"a": set(), "b": {"a"}, "c": {"b"}, "d": set()}, "abcd", failing="a")
    assert states == {"a": "FAILED", "b": "SKIPPED", "c": "SKIPPED", "d": "COMPLETED"}
    assert [args[1] for args, _ in run.log] == [
        "b was skipped, since a did not complete",
        "c was skipped, since b did not complete",
    ]
    assert {options["details"]["flow_progress"]["status"] for _, options in run.log} == {"SKIPPED"}


def test_tables_not_chosen_are_left_out_and_block_nothing(monkeypatch):
    states = ran(monkeypatch, pipeline("a", "b", "c"), {"a": set(), "b": {"a"}, "c": {"b"}}, "c")
    assert states == {"a": "EXCLUDED", "b": "EXCLUDED", "c": "COMPLETED"}


def test_a_stopped_update_starts_nothing_more(monkeypatch):
    run = pipeline("a", "b")
    run.stopping.set()
    assert ran(monkeypatch, run, {"a": set(), "b": set()}, "ab") == {"a": "SKIPPED", "b": "SKIPPED"}
    assert run.log[0][0][1] == "a was skipped, since the update was stopped"
    assert not pipeline("a").stopping.is_set()  # another update is not stopped


def test_ctrl_c_stops_the_streams_and_lets_flows_end(monkeypatch):
    stopped, waits = [], []

    def wait(running, **options):
        waits.append(options)
        if len(waits) == 1:
            raise KeyboardInterrupt
        return SimpleNamespace(done=set(running))

    monkeypatch.setattr(update, "wait", wait)
    run = pipeline("a")
    run.runtime.spark = SimpleNamespace(
        streams=SimpleNamespace(active=[SimpleNamespace(stop=lambda: stopped.append("stream"))]),
        sparkContext=SimpleNamespace(cancelAllJobs=lambda: stopped.append("jobs")),
    )
    assert wait_or_stop(run, {"one": 1, "two": 2}) == {"one", "two"}
    assert run.stopping.is_set() and stopped == ["stream", "jobs"] and waits[1] == {}  # for all of them


def test_independent_flows_run_side_by_side(monkeypatch):
    met = threading.Barrier(2, timeout=20)

    def run_flow(run, flow):
        met.wait()
        return update.FlowResult(flow.name, str(flow.target), "COMPLETED")

    monkeypatch.setattr(update, "run_flow", run_flow)
    results = run_flows(pipeline("a", "b"), {"a": set(), "b": set()}, {table("a"), table("b")})
    assert sorted(result.name for result in results) == ["a", "b"]


def test_every_writer_of_a_table_comes_before_its_reader():
    graph = pipeline("a", "b").runtime.graph
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


# One flow


def test_flows_into_one_table_keep_a_checkpoint_each(place):
    one, other = (
        checkpoint_path(SimpleNamespace(storage=place), Flow(name, table("t"), "append"))
        for name in ("one", "other")
    )
    assert one != other and one.name == other.name == "checkpoint"


def test_a_checkpoint_made_anew_is_another_stream(tmp_path):
    for name in ("first", "after a full refresh"):
        (tmp_path / "metadata").write_text(json.dumps({"id": name}))
        assert stream_id(tmp_path) == name


@pytest.mark.parametrize(
    "target, view, wanted", [("drop", "fail", True), ("fail", "drop", True), ("drop", "warn", False)]
)
def test_a_flow_is_written_whole_where_a_rule_of_it_or_of_its_views_fails(target, view, wanted):
    run = pipeline()
    for name, action in (("t", target), ("v", view)):
        run.runtime.graph.add_dataset(
            Dataset(
                table(name),
                "view",
                expectations=(Expectation("other", "x", "warn"), Expectation("r", "x", action)),
            )
        )
    assert (
        must_commit_as_one_batch(
            run,
            SimpleNamespace(flow=Flow("t", table("t"), "append"), observed={table("t"): 1, table("v"): 2}),
        )
        == wanted
    )


def test_rows_read_are_told_once():
    progress, ends = [SimpleNamespace(numInputRows=rows) for rows in (3, 4, 5)], iter((0, 2, 3))
    query = SimpleNamespace(recentProgress=[])

    def wait(_):
        query.recentProgress = progress[: next(ends)]
        return len(query.recentProgress) == 3

    query.awaitTermination = wait
    run = pipeline("f")
    assert log_stream_progress(run, run.runtime.graph.flows["f"], query) == progress
    assert [args[1] for args, _ in run.log] == ["f: 3 rows read", "f: 7 rows read", "f: 12 rows read"]


def test_where_a_sink_writes(place):
    run, batches = Run(SimpleNamespace(storage=place, graph=Graph("main", "default")), Log()), []

    class Writer(dict):
        def format(self, name):
            return self.option("format", name)

        def options(self, **options):
            return Writer(self | options)

        def option(self, key, value):
            return self.options(**{key: value})

        def foreachBatch(self, function):
            return self.option("each", function)

    def pointed(**sink):
        return sink_writer(run, SimpleNamespace(sink=sink), Writer())

    assert pointed(format="delta", options={"tableName": "crm.t"}) == (
        {"format": "delta", "mergeSchema": "true"},
        place.table_path(TableName("main", "crm", "t")),
    )
    assert pointed(format="delta", options={"path": "/Volumes/main/a"}) == (
        {"format": "delta", "mergeSchema": "true"},
        f"{place.root}/Volumes/main/a",
    )
    assert pointed(format="kafka", options={"topic": "t"}) == ({"format": "kafka", "topic": "t"}, None)
    writer, path = pointed(handler=lambda batch, number: batches.append((batch, number)))
    writer["each"]("rows", 7)
    assert (path, batches) == (None, [("rows", 7)])


def test_a_batch_without_counters_counts_nothing():
    progress = [
        SimpleNamespace(observedMetrics={"r0": 1, "other": 2}),
        SimpleNamespace(observedMetrics={}),
        SimpleNamespace(observedMetrics={"r0": 3}),
    ]
    assert stream_counters(SimpleNamespace(observed={table("t"): "r0", table("v"): "r1"}), progress) == {
        table("t"): [1, 3],
        table("v"): [],
    }


def test_the_version_of_a_snapshot_rises_when_the_clock_does_not():
    assert snapshot_ingestion_time(datetime(9999, 1, 1)) == datetime(9999, 1, 1, 0, 0, 0, 1)
    before = datetime.now()
    assert all(
        before <= snapshot_ingestion_time(latest) <= datetime.now() for latest in (None, datetime(2024, 1, 1))
    )


def test_a_version_is_noted_in_utc_with_its_type(tmp_path):
    noted = []
    for version in (7, "7", datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))):
        note_version(tmp_path, version)
        noted.append(read_json(tmp_path / "version.json"))
    assert noted == [
        {"version": "7", "type": "bigint"},
        {"version": "7", "type": "string"},
        {"version": "2024-01-01 00:00:00+00:00", "type": "timestamp"},
    ]


def test_only_a_stream_of_a_delta_table_on_this_disk_has_a_version(tmp_path):
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log/00000000000000000000.json").touch()

    def streamed(node="StreamingRelation", kind="delta", path=str(tmp_path)):
        option = SimpleNamespace(isDefined=lambda: path is not None, get=lambda: path)
        source = SimpleNamespace(
            className=lambda: kind, options=lambda: SimpleNamespace(get={"path": option}.get)
        )
        return streamed_table(SimpleNamespace(nodeName=lambda: node, dataSource=lambda: source))

    assert streamed() == streamed(path=f"file:{tmp_path}") == tmp_path
    for other in (
        {"node": "LogicalRelation"},
        {"kind": "parquet"},
        {"path": None},
        {"path": f"s3:/{tmp_path}"},
    ):
        assert streamed(**other) is None


# Which tables


def request(**options):
    return UpdateRequest(("src",), Path("storage"), **options)


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, ("ab", "")),
        ({"refresh": ("a",)}, ("a", "")),
        ({"full_refresh": ("b",)}, ("b", "b")),
        ({"refresh": ("main.default.a",), "full_refresh": ("b",)}, ("ab", "b")),
        ({"full_refresh_all": True}, ("ab", "b")),
    ],
)
def test_chosen_tables(options, wanted):
    graph = pipeline("a", "b", a={"pipelines.reset.allowed": False}).runtime.graph
    assert choose_tables(graph, request(**options)) == tuple(
        {table(name) for name in names} for names in wanted
    )


def test_wrong_choices():
    graph = pipeline("a", a={"pipelines.reset.allowed": "FALSE"}).runtime.graph
    with pytest.raises(UsageError, match="main.default.a may not be emptied"):
        choose_tables(graph, request(full_refresh=("a",)))
    for options in ({"full_refresh": ("x",)}, {"refresh": ("x",)}):
        with pytest.raises(UsageError, match="no table x in this pipeline; it has a"):
            choose_tables(graph, request(**options))


# Emptying


def folders(place, name):
    both = [place.table_path(table(name)), place.flow_path(table(name), "flow")]
    for folder in both:
        folder.mkdir(parents=True, exist_ok=True)
    return both


def test_reset_removes_table_and_checkpoints(place):
    reset_tables(place, set())
    assert not place.state_path.exists()
    gone, kept = folders(place, "gone"), folders(place, "kept")
    reset_tables(place, {table("gone")})
    assert [folder.exists() for folder in gone + kept] == [False, False, True, True]
    assert list(place.state_path.iterdir()) == []


@pytest.mark.parametrize("removals", [0, 1, 2, 3])
def test_a_reset_killed_half_way_is_finished_by_the_next(place, monkeypatch, removals):
    both = folders(place, "a") + folders(place, "b")
    done, rmtree = [], update.shutil.rmtree

    def killed(folder, **options):
        if len(done) == removals:
            raise KeyboardInterrupt
        done.append(rmtree(folder, **options))

    monkeypatch.setattr(update.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        reset_tables(place, {table("a"), table("b")})
    monkeypatch.undo()
    reset_tables(place, set())
    assert not any(folder.exists() for folder in both) and list(place.state_path.iterdir()) == []


# Words


def test_reasons_name_the_line_and_the_way_out():
    flow = Flow("f", table("t"), "append", location=Location("t.py", 3))

    def said(text):
        return describe_failure(flow, RuntimeError(text), set())

    assert (
        said("x [USER_RAISED_EXCEPTION] EXPECTATION_VIOLATION rule r SQLSTATE: P0001\nat x")
        == "t.py:3: main.default.t: EXPECTATION_VIOLATION rule r"
    )
    assert (
        said("x [USER_RAISED_EXCEPTION] AUTO CDC: key is NULL")
        == "t.py:3: main.default.t: AUTO CDC: key is NULL"
    )
    assert "a streaming source must only grow" in said(
        "[DELTA_SOURCE_IGNORE_DELETE] x"
    ) and "must only grow" in said("[DELTA_SOURCE_TABLE_IGNORE_CHANGES] x")
    assert said("[DIFFERENT_DELTA_TABLE_READ_BY_STREAMING_SOURCE]").endswith("--full-refresh t")
    assert said("something else").startswith("t.py:3: ") and "something else" in said("something else")


def test_causes_go_to_the_innermost():
    inner = RuntimeError("inner")
    inner.java_exception = SimpleNamespace(
        getMessage=lambda: "java",
        getCause=lambda: SimpleNamespace(getMessage=lambda: "deep", getCause=lambda: None),
    )
    outer = ValueError("outer")
    outer.__cause__ = inner
    assert exception_messages(outer) == ["outer", "inner", "java", "deep"]


def test_progress_details():
    result = update.FlowResult("f", "t", "COMPLETED", 5, None, 0, 2, (ExpectationCount("t", "r", 3, 4),))
    assert progress_details(result) == {
        "metrics": {"num_output_rows": 5, "num_deleted_rows": 0},
        "data_quality": {
            "dropped_records": 2,
            "expectations": [{"dataset": "t", "name": "r", "passed_records": 3, "failed_records": 4}],
        },
    }


def test_flow_results_sum_views_and_target():
    run = pipeline("t")
    graph, rule = run.runtime.graph, Expectation("r", "x", "drop")
    graph.datasets[table("t")] = replace(graph.datasets[table("t")], expectations=(rule,))
    graph.add_dataset(Dataset(table("v"), "view", expectations=(rule,)))
    counters = {
        table("t"): [{"rows": 4, "dropped": 1, "failed_0": 1}, {"rows": 3, "dropped": 0, "failed_0": 0}],
        table("v"): [{"rows": 9, "dropped": 2, "failed_0": 2}],
    }
    result = summarize_flow(run, graph.flows["t"], dict(counters), 1.5)
    assert (
        result.num_output_rows,
        result.num_upserted_rows,
        result.num_deleted_rows,
        result.dropped_records,
        result.seconds,
    ) == (6, None, None, 3, 1.5)
    assert [(count.dataset, count.failed_records) for count in result.expectations] == [
        ("main.default.t", 1),
        ("main.default.v", 2),
    ]
    result = summarize_flow(
        run,
        graph.flows["t"],
        counters | {CHANGES: [{"upserted": 2, "deleted": 1}, {"upserted": 4, "deleted": 0}]},
        0,
    )
    assert (result.num_output_rows, result.num_upserted_rows, result.num_deleted_rows) == (7, 6, 1)


def test_import_path_is_the_root_then_the_sources(tmp_path):
    for name in ("etl/a.py", "etl/deep/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    asked = UpdateRequest((str(tmp_path / "etl"),), tmp_path)
    assert import_path(asked) == [str(tmp_path), str(tmp_path / "etl"), str(tmp_path / "etl/deep")]
    assert import_path(replace(asked, root_path=str(tmp_path / "other")))[0] == str(tmp_path / "other")


# With Spark


def test_a_backfill_that_is_written_twice_lands_once(
    place, spark
):  # killed between the commit and the mark that it is done
    run = Run(SimpleNamespace(storage=place, spark=spark), Log(), {table("t"): threading.Lock()})
    flow, path = Flow("once", table("t"), "append", once=True), str(place.table_path(table("t")))
    create_table(spark, Path(path), spark.range(0).schema)

    def append():
        return append_once(run, flow, spark.range(2), Evaluation(flow))

    def rows():
        return spark.read.format("delta").load(path).count()

    for _ in range(2):
        append()
    assert rows() == 2
    update.shutil.rmtree(place.flow_path(table("t"), "once"))
    append()
    assert rows() == 4


@pytest.mark.parametrize(
    "kind,nothing", [("append", {}), ("auto_cdc", {CHANGES: []}), ("snapshot", {CHANGES: []})]
)
def test_once_means_once(place, monkeypatch, kind, nothing):
    run, flow, written = (
        Run(SimpleNamespace(storage=place), Log()),
        Flow("once", table("t"), kind, once=True),
        [],
    )
    for name in ("write_query", "apply_snapshots"):
        monkeypatch.setattr(update, name, lambda run, flow: written.append(flow.name) or {"t": []})
    assert [write_rows(run, flow) for _ in range(3)] == [{"t": []}, nothing, nothing]
    assert written == ["once"]
    write_rows(run, replace(flow, once=False))
    assert written == ["once", "once"]


def test_delete_events_pass_the_rules_of_their_target(spark):
    frame = spark.createDataFrame([(None, "D"), (None, "U"), (1, "U"), (None, None)], "n int, op string")
    dataset = Dataset(
        table("t"), "streaming_table", expectations=(Expectation("n", "n IS NOT NULL", "drop"),)
    )
    flow = Flow("f", table("t"), "auto_cdc", spec=CdcSpec("t", "s", ["n"], "n", apply_as_deletes="op = 'D'"))

    def kept(flow):
        return frame.where(~is_broken(rules_for(dataset, flow).expectations[0])).count()

    assert (kept(flow), rules_for(dataset, flow).expectations[0].action) == (2, "drop")
    assert kept(replace(flow, spec=CdcSpec("t", "s", ["n"], "n", apply_as_truncates="op = 'D'"))) == 2
    for other in (replace(flow, kind="append"), replace(flow, spec=CdcSpec("t", "s", ["n"], "n"))):
        assert kept(other) == 1


def test_a_batch_is_counted_for_its_target_and_the_views_it_reads(spark):
    from pyspark.sql import Observation
    from pyspark.sql import functions as F

    frame, seen = spark.range(3), {table("t"): Observation(), table("v"): Observation()}
    for each in seen.values():
        frame = frame.observe(each, F.count("*").alias("rows"))
    frame.collect()
    evaluation = SimpleNamespace(
        flow=Flow("t", table("t"), "complete"), observed=seen | {table("s"): "counters of a stream"}
    )
    assert batch_counters(spark, evaluation) == {table("t"): [{"rows": 3}], table("v"): [{"rows": 3}]}


def test_configuration_is_the_pipelines_and_goes_with_it(spark, tmp_path):
    spark.conf.set("cdc.kept", "before")
    with update_session(request(dry_run=True, configuration={"cdc.kept": 1, "cdc.new": "x"})) as running:
        assert (running.conf.get("cdc.kept"), running.conf.get("cdc.new")) == ("1", "x")
    assert (spark.conf.get("cdc.kept"), spark.conf.get("cdc.new", None)) == ("before", None)
    with (
        pytest.raises(UsageError, match="--conf spark.driver.memory=1g"),
        update_session(request(dry_run=True, configuration={"spark.driver.memory": "1g"})),
    ):
        pass
    spark.conf.unset("cdc.kept")


def test_counts_of_a_stream_are_rows_or_missing():
    from pyspark.sql import Row

    from cdc_local.dataflow.expectations import expectation_counts

    counts, passed, dropped = expectation_counts(
        "t",
        [Expectation("r", "x", "drop")],
        [Row(rows=3, dropped=1, failed_0=1), Row(rows=2, dropped=None, failed_0=None), {"rows": 1}],
    )
    assert (counts, passed, dropped) == ([ExpectationCount("t", "r", 5, 1)], 5, 1)


# AUTO CDC, without a table

MOVES = "id int, city string, at int, op string"


def moves(history=True, **options):
    return CdcSpec(
        "t",
        "s",
        ["id"],
        "at",
        apply_as_deletes="op = 'D'",
        except_column_list=["op", "at"],
        stored_as_scd_type=2 if history else 1,
        **options,
    )


def auto_cdc(spec):
    return Flow("t", table("t"), "auto_cdc", spec=spec, location=Location("t.py", 4))


def test_targets_resolve_their_lists(spark):  # the session reads the types
    from pyspark.sql.types import StructType

    source = StructType.fromDDL("id int, city string, street string, at int, op string")
    every = Target.of(auto_cdc(moves()), source)
    assert (every.columns, every.tracked, latest_columns(every), every.shown[-2:]) == (
        ("id", "city", "street"),
        None,
        [],
        ["__START_AT", "__END_AT"],
    )
    some = Target.of(auto_cdc(moves(track_history_except_column_list=["street"])), source)
    assert (set(some.tracked) - {"id"}, latest_columns(some)) == ({"city"}, ["street"])
    assert Target.of(auto_cdc(moves(False)), source).shown == ["id", "city", "street"]
    silent = Target.of(auto_cdc(moves(False, ignore_null_updates_except_column_list=["street"])), source)
    assert (silent.ignoring_nulls, latest_columns(silent), silent.identity, silent.shown) == (
        ("city",),
        ["city"],
        ["id", "__sequence"],
        ["id", "city", "street"],
    )
    told = StructType.fromDDL(
        "id int, city string, street string, at int, op string, changed array<string>, numbers array<int>"
    )
    listed = Target.of(
        auto_cdc(
            replace(
                moves(False, columns_to_update="changed"),
                except_column_list=("op", "at", "changed", "numbers"),
            )
        ),
        told,
    )
    assert (listed.identity, latest_columns(listed)) == (["id", "__sequence"], ["city", "street"])
    for wrong, kind in (("city", "string"), ("numbers", "array<int>")):
        with pytest.raises(
            PipelineError, match=f"^t.py:4: t: `columns_to_update` is '{wrong}'; its type is {kind}"
        ):
            Target.of(auto_cdc(moves(columns_to_update=wrong)), told)
    with pytest.raises(PipelineError, match="^t.py:4: .*nowhere"):
        Target.of(auto_cdc(replace(moves(), except_column_list=("nowhere",))), source)


def test_what_readers_of_a_target_are_told():
    told = backing_properties(Target(moves(), ("id", "city", "street"), ("id", "city")), "int")
    assert json.loads(told["cdc.declaration"]) == {
        "keys": ["id"],
        "stored_as_scd_type": 2,
        "sequence_type": "int",
        "tracked": ["city", "id"],
    }
    assert json.loads(told["cdc.latest"]) == ["street"] and told["cdc.visible"] == "__START_AT IS NOT NULL"
    assert json.loads(told["cdc.columns"]) == ["id", "city", "street", "__START_AT", "__END_AT"]
    told = backing_properties(Target(moves(False), ("id", "city"), None), "int")
    assert (told["cdc.visible"], told["cdc.latest"], json.loads(told["cdc.columns"])) == (
        "NOT __deleted",
        "[]",
        ["id", "city"],
    )
    told = backing_properties(Target(moves(False, columns_to_update="changed"), ("id", "city"), None), "int")
    assert json.loads(told["cdc.declaration"])["columns_to_update"] == "changed"
    assert (told["cdc.visible"], told["cdc.latest"]) == (
        "__START_AT IS NOT NULL AND __END_AT IS NULL",
        '["city"]',
    )


def test_a_declaration_may_gain_columns_and_nothing_else(tmp_path, monkeypatch):
    before = Target(moves(), ("id", "city", "street"), None)
    about = SimpleNamespace(configuration=backing_properties(before, "int"))
    monkeypatch.setattr("deltalake.DeltaTable", lambda path: SimpleNamespace(metadata=lambda: about))

    def checked(target, sequence="int"):
        return check_declaration(tmp_path, target, backing_properties(target, sequence))

    assert checked(before) == {}
    moved = checked(replace(before, columns=("id", "city", "country")))
    assert json.loads(moved["cdc.columns"]) == ["id", "city", "country", "street", "__START_AT", "__END_AT"]
    assert checked(replace(before, columns=("id", "city"))) == {}  # a lost column stays
    silent = replace(before, spec=replace(before.spec, ignore_null_updates=True))
    with pytest.raises(PipelineError, match="`ignore_null_updates` changed from None to True"):
        checked(silent)
    about.configuration = backing_properties(silent, "int")
    with pytest.raises(PipelineError, match="`ignore_null_updates` changed from True to None"):
        checked(before)
    about.configuration = backing_properties(before, "int")
    for other, sequence, field in (
        (replace(before, spec=replace(before.spec, stored_as_scd_type=1)), "int", "stored_as_scd_type"),
        (before, "string", "sequence_type"),
        (replace(before, tracked=("id",)), "int", "tracked"),
        (replace(before, spec=replace(before.spec, keys=("id", "city"))), "int", "keys"),
    ):
        with pytest.raises(PipelineError, match=f"`{field}` changed from .*--full-refresh t"):
            checked(other, sequence)


def test_only_touched_keys_are_computed_anew(spark):
    target = Target(moves(), ("id", "city", "country"), None)
    stored = spark.createDataFrame(
        [(1, "Bern", 1, False, 1, None), (2, "Rome", 1, False, 1, None)],
        "id int, city string, __sequence int, __deleted boolean, __START_AT int, __END_AT int",
    )  # before `country` was there
    events = spark.createDataFrame(
        [(1, "Oslo", "NO", 2, False)],
        "id int, city string, country string, __sequence int, __deleted boolean",
    )
    rows = (
        recompute_rows(read_touched_rows(stored, events, target), events, target)
        .select("id", "city", "country", "__START_AT", "__END_AT")
        .collect()
    )
    assert sorted(map(tuple, rows)) == [(1, "Bern", None, 1, 2), (1, "Oslo", "NO", 2, None)]


def test_rows_that_stay_are_told_from_those_to_write(spark):
    both = spark.createDataFrame(
        [
            (0, ("x", None), ("x",)),
            (1, ("x", None), ("y",)),
            (2, (None, None), (None,)),
            (3, (None, None), ("x",)),
            (4, ("x", "new"), ("x",)),
        ],
        "n int, new struct<a string, b string>, old struct<a string>",
    )
    written = both.where(row_differs(["a", "b"], ["a"], both.schema["new"].dataType)).select("n").collect()
    assert sorted(row.n for row in written) == [1, 3, 4]


def test_the_columns_a_target_shows(spark):
    from pyspark.sql.types import StructType

    source = StructType.fromDDL(MOVES)
    assert visible_schema(spark, auto_cdc(moves()), source).names == ["id", "city", "__START_AT", "__END_AT"]
    assert visible_schema(spark, auto_cdc(moves(False)), source).names == ["id", "city"]


def test_the_rows_of_a_target_follow_its_lists(spark):
    told = spark.sql(
        "SELECT * FROM VALUES (1, 'Bern', 1, 'U', array('city')), (1, 'Oslo', 2, 'U', array('id')) AS t (id, city, at, op, changed)"
    )

    def bounds(target):
        return sorted(
            (row["__START_AT"], row["__END_AT"])
            for row in compute_rows(change_events(told, target), target).collect()
            if row["__START_AT"]
        )

    assert bounds(Target(moves(), ("id", "city"), None)) == [(1, 2), (2, None)]
    assert bounds(Target(moves(), ("id", "city"), ("id",))) == [(1, None)]
    assert bounds(Target(moves(columns_to_update="changed"), ("id", "city"), None)) == [
        (1, None)
    ]  # the second event doesn't write the city


def test_a_batch_is_one_commit_and_a_table_may_be_called_anything(spark, tmp_path):
    from deltalake import DeltaTable

    target, path = Target(moves(False), ("id", "city"), None), tmp_path / "t"
    changes = spark.createDataFrame([(1, "Bern", 1, "U"), (2, "Rome", 1, "U")], MOVES)
    create_backing_table(
        spark, path, target, changes.schema, "Where they live", {"quality": "gold", "cdc.visible": "true"}
    )
    about = DeltaTable(path).metadata()
    assert (about.description, about.configuration["quality"], about.configuration["cdc.visible"]) == (
        "Where they live",
        "gold",
        "NOT __deleted",
    )
    later = spark.createDataFrame([(1, "Oslo", 2, "U"), (2, None, 2, "D"), (3, "Kyiv", 1, "U")], MOVES)
    for batch in (changes, later):
        apply_events(change_events(batch, target), path, target)
    rows = DeltaTable(path).to_pyarrow_table().select(["id", "city", "__deleted"]).to_pylist()
    assert sorted(tuple(row.values()) for row in rows) == [
        (1, "Oslo", False),
        (2, None, True),
        (3, "Kyiv", False),
    ]
    assert DeltaTable(path).version() == 2
    wider = changes.selectExpr("*", "'CH' AS country")
    create_backing_table(spark, path, replace(target, columns=("id", "city", "country")), wider.schema)
    assert [field.name for field in DeltaTable(path).schema().fields] == [
        "id",
        "city",
        "__sequence",
        "__deleted",
        "country",
    ]
    assert json.loads(DeltaTable(path).metadata().configuration["cdc.columns"]) == ["id", "city", "country"]


# What names and SQL mean


def test_a_table_settles_as_its_query_is():
    def settled(kind, streaming, once=False):
        graph = Graph("main", "default")
        graph.add_dataset(Dataset(table("t"), "table" if kind == "table" else "streaming_table"))
        flow = settle_dataset_kind(graph, graph.add_flow(Flow("t", table("t"), kind, once=once)), streaming)
        assert graph.flows["t"] == flow
        return flow.kind, graph.datasets[table("t")].kind

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
            f"SELECT *, _metadata.file_name FROM {FILES} UNION ALL SELECT *, _metadata.file_name FROM {FILES}",
            f"SELECT * EXCEPT (_metadata), _metadata.file_name FROM {FILES} UNION ALL SELECT * EXCEPT (_metadata), _metadata.file_name FROM {FILES}",
        ),
    ],
)
def test_a_star_beside_metadata(spark, text, wanted):
    assert with_metadata(spark, text) == (wanted or text)


@pytest.fixture
def runtime(place, spark):
    runtime = Runtime(spark, Graph("main", "default", lambda: None), place, keep_schemas=False)
    runtime.dp = LakeflowModule("dlt", runtime.graph)
    with install_patches(runtime):
        yield runtime


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
    assert runtime.source_columns["main.default.kept"].names == ["n", "m"] and runtime.running == []


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
        ("id > 0", lambda spark: spark.range(spark.range(1).count()), "count is an action"),
    ],
)
def test_a_view_that_nobody_reads_is_checked_too(runtime, spark, rule, query, words):
    runtime.dp.view(name="seen")(runtime.dp.expect("r", rule)(lambda: query(spark)))
    with pytest.raises(PipelineError, match=words):
        check_view(runtime, runtime.graph.datasets[table("seen")])


def test_rows_of_a_table_are_counted_with_rules_or_without(spark):
    evaluation = Evaluation(None)
    for name, kind, rules in (
        ("t", "streaming_table", ()),
        ("v", "view", ()),
        ("w", "view", (Expectation("r", "id > 0", "drop"),)),
    ):
        with_expectations(Dataset(table(name), kind, expectations=rules), spark.range(2), evaluation)
    assert list(evaluation.observed) == [table("t"), table("w")]


def test_what_a_source_file_may_do_while_it_declares(runtime, spark):
    file = Path(localize(runtime.storage, "/Volumes/a/b/c/one.txt"))
    file.parent.mkdir(parents=True)
    file.write_text("one")
    with declaring():
        assert Path("/Volumes/a/b/c/one.txt").read_text() == "one" and os.listdir("/Volumes/a/b") == ["c"]
        assert spark.sql("SET cdc.some = 1") is not None and spark.range(2).count() == 2
        with pytest.raises(PipelineError, match="DROP TABLE t.* is not a query"):
            spark.sql("DROP TABLE t")
    assert not os.path.exists("/Volumes/a/b/c/one.txt")
    spark.conf.unset("cdc.some")


def test_arguments_of_read_files_win_over_its_defaults(runtime, monkeypatch):
    from cdc_local.sql.relations import Relation

    asked = []
    monkeypatch.setattr(lakeflow, "load_files", lambda runtime, *arguments: asked.append(arguments))
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


@pytest.mark.parametrize("keep", [True, False])
def test_inferred_schemas_are_kept_beside_the_checkpoint_of_a_flow(runtime, spark, monkeypatch, keep):
    runtime.keep_schemas, folders = keep, []
    monkeypatch.setattr(
        lakeflow.autoloader,
        "read_stream",
        lambda spark, path, options, schema, folder, warn: folders.append(folder) or spark.range(1),
    )
    runtime.dp.table(name="t")(lambda: spark.readStream.format("cloudFiles").load("/data/in"))
    analysed(runtime)
    assert folders == [
        runtime.storage.flow_path(table("t"), "main.default.t") / "schemas" / "7ae7e08052a5" if keep else None
    ]
    assert (
        autoloader_key("/other/in") != autoloader_key("/data/in") == "7ae7e08052a5"
    )  # it names folders of storages that are there


# Sources of snapshots


def test_an_answer_is_kept_for_one_question(runtime):
    flow = Flow("f", table("t"), "snapshot", snapshots=lambda latest: ("asked", latest))

    def answers(*versions):
        runtime.answers["f"] = 1, ("kept", 1)
        return [next_snapshot(runtime, flow, version, Evaluation(flow)) for version in versions]

    assert answers(1, 1) == [("kept", 1), ("asked", 1)]
    assert answers(None) == [("asked", None)]  # after a full refresh


def test_a_snapshot_of_a_stand_in_is_not_kept(runtime, spark):
    runtime.dp.materialized_view(name="base")(lambda: spark.range(1))
    for name, source in (
        ("derived", lambda latest: (spark.read.table("base"), 1)),
        ("landed", lambda latest: (spark.range(1), 1)),
    ):
        runtime.dp.create_streaming_table(name)
        runtime.dp.create_auto_cdc_from_snapshot_flow(name, source, ["id"])
    analysed(runtime)
    assert list(runtime.answers) == ["main.default.landed"]


@pytest.mark.parametrize("noted, latest", [(None, 3), (2, 3), (5, 5)])
def test_how_far_a_table_of_snapshots_is(
    runtime, spark, noted, latest
):  # 2: killed before the note; 5: a snapshot that changed nothing
    flow = Flow("f", table("t"), "snapshot")
    assert latest_version(runtime, flow) is None
    spark.range(4).selectExpr("id AS __sequence").write.format("delta").save(
        str(runtime.storage.table_path(flow.target))
    )
    note = runtime.storage.flow_path(flow.target, flow.name) / "version.json"
    note.parent.mkdir(parents=True)
    if noted:
        note.write_text(json.dumps({"version": noted, "type": "bigint"}))
    assert latest_version(runtime, flow) == latest


def test_the_columns_of_a_table_of_snapshots_that_gets_no_newer_one(runtime, spark):
    from cdc_local.auto_cdc.target import Target, create_backing_table

    flow = Flow(
        "f",
        table("t"),
        "snapshot",
        spec=CdcSpec(
            "t",
            "following()",
            ["id"],
            "__version",
            "__absent",
            except_column_list=("__version", "__absent"),
            stored_as_scd_type=2,
        ),
    )
    with pytest.raises(PipelineError, match=r"has no snapshot yet: following\(\) returned None"):
        stored_source_columns(runtime, flow)
    changes = spark.createDataFrame([], "id int, city string, __version int, __absent boolean")
    create_backing_table(
        spark, runtime.storage.table_path(flow.target), Target.of(flow, changes.schema), changes.schema
    )
    assert stored_source_columns(runtime, flow).schema.simpleString() == changes.schema.simpleString()


def test_what_auto_cdc_hides_is_not_read(runtime, spark):
    from cdc_local.auto_cdc.target import Target, change_events, create_backing_table

    flow = auto_cdc(moves(track_history_column_list=["id"]))
    changes = spark.createDataFrame([(1, "Bern", 1, "U"), (1, "Oslo", 2, "U"), (2, None, 1, "D")], MOVES)
    target, path = Target.of(flow, changes.schema), runtime.storage.table_path(flow.target)
    create_backing_table(spark, path, target, changes.schema)
    apply_events(change_events(changes, target), path, target)
    assert spark.read.format("delta").load(str(path)).count() > 1
    assert [tuple(row) for row in read_stored(spark, path).collect()] == [(1, "Oslo", 1, None)]
