"Flows run in the order of what they read, and a failure stops what reads its table."

import threading
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from pipelines import pipeline, table

from cdc_local.dataflow.graph import Dataset, Flow
from cdc_local.errors import Location
from cdc_local.update import scheduler
from cdc_local.update.counters import CHANGES
from cdc_local.update.scheduler import (
    describe_failure,
    order_upstream_first,
    run_flows,
    wait_or_stop,
    write_flow,
)
from cdc_local.update.strategies import STRATEGIES
from cdc_utils.results import FlowResult


def ran(monkeypatch, run, upstream, chosen, failing=()):
    "Run flows that do nothing; their states in the order they ended."

    def run_flow(run, flow):
        return FlowResult(flow.name, str(flow.target), "FAILED" if flow.name in failing else "COMPLETED")

    monkeypatch.setattr(scheduler, "run_flow", run_flow)
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

    monkeypatch.setattr(scheduler, "wait", wait)
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
        return FlowResult(flow.name, str(flow.target), "COMPLETED")

    monkeypatch.setattr(scheduler, "run_flow", run_flow)
    results = run_flows(pipeline("a", "b"), {"a": set(), "b": set()}, {table("a"), table("b")})
    assert sorted(result.name for result in results) == ["a", "b"]


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


@pytest.mark.parametrize(
    "kind,nothing", [("append", {}), ("auto_cdc", {CHANGES: []}), ("snapshot", {CHANGES: []})]
)
def test_once_means_once(storage, monkeypatch, kind, nothing):
    run, written = pipeline(), []
    run.runtime.storage = storage
    run.runtime.graph.add_dataset(Dataset(table("t"), "streaming_table"))
    flow = Flow("once", table("t"), kind, once=True)

    def write(strategy, run, flow):
        written.append(flow.name)
        return {"t": []}

    monkeypatch.setattr(type(STRATEGIES[kind]), "write", write)
    assert [write_flow(run, flow) for _ in range(3)] == [{"t": []}, nothing, nothing]
    assert written == ["once"]
    write_flow(run, replace(flow, once=False))
    assert written == ["once", "once"]


def test_a_report_has_one_order_whatever_ended_first():
    upstream = {"a_totals": {"sales"}, "sales": {"landed"}, "refused": {"landed"}, "landed": set()}
    assert order_upstream_first(upstream) == ["landed", "refused", "sales", "a_totals"]


def test_a_ladder_of_many_ways_up_is_ordered_at_once():
    steps = [f"step {number:03}" for number in range(200)]
    upstream = {step: set(steps[max(0, number - 2) : number]) for number, step in enumerate(steps)}
    assert order_upstream_first(upstream) == steps


def test_a_second_interrupt_waits_for_no_flow(monkeypatch):
    began, goes_on = threading.Event(), threading.Event()

    def run_flow(run, flow):
        began.set()
        goes_on.wait(20)

    def interrupted(run, running):
        began.wait(20)
        raise KeyboardInterrupt

    monkeypatch.setattr(scheduler, "run_flow", run_flow)
    monkeypatch.setattr(scheduler, "wait_or_stop", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run_flows(pipeline("a"), {"a": set()}, {table("a")})
    assert not goes_on.is_set()
    goes_on.set()
