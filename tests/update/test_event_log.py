"""The event log under threads, failures and crashes."""

import json
import subprocess
import sys
import threading

import pytest
from deltalake import DeltaTable

from cdc_local.update import event_log
from cdc_local.update.event_log import (
    COLUMNS,
    EventLog,
    describe_error,
    event_sequence,
    event_update,
    read_events,
)


def numbers(events):
    return [json.loads(event["sequence"])["control_plane_seq_no"] for event in events]


def test_threads_lose_nothing_and_keep_the_order(tmp_path):
    heard = []
    log = EventLog(tmp_path / "log", "customers", "u", heard.append)

    def work(flow):
        for count in range(50):
            log.record("flow_progress", f"{flow} {count}", flow_name=flow)
            if count == 25:
                log.flush()

    threads = [threading.Thread(target=work, args=(f"flow{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.flush()
    events = read_events(tmp_path / "log")
    assert len(events) == 200 == len({event["id"] for event in events})
    assert numbers(events) == sorted(set(numbers(events)))
    assert numbers(heard) == numbers(events)
    for flow in range(4):
        mine = [
            event["message"] for event in events if json.loads(event["origin"])["flow_name"] == f"flow{flow}"
        ]
        assert mine == [f"flow{flow} {count}" for count in range(50)]


def test_one_flush_is_one_commit_with_the_documented_columns(tmp_path):
    with EventLog(tmp_path / "log", "customers", "u") as log:
        for count in range(10):
            log.record("flow_progress", str(count))
    table = DeltaTable(str(tmp_path / "log"))
    assert table.version() == 0
    types = {field.name: str(field.type.type) for field in table.schema().fields}
    assert tuple(types) == COLUMNS
    assert {name for name, kind in types.items() if kind != "string"} == {"timestamp"} and types[
        "timestamp"
    ] == "timestamp"
    assert log.flush() == 0 and DeltaTable(str(tmp_path / "log")).version() == 0


def test_a_failed_flush_keeps_the_events_for_the_next_one(tmp_path, monkeypatch):
    log = EventLog(tmp_path / "log", "customers", "u")
    log.record("create_update", "started")
    write = event_log.write_deltalake

    def full(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(event_log, "write_deltalake", full)
    with pytest.raises(OSError, match="no space left"):
        log.flush()
    monkeypatch.setattr(event_log, "write_deltalake", write)
    log.record("update_progress", "done")
    assert log.flush() == 2
    assert [event["message"] for event in read_events(tmp_path / "log")] == ["started", "done"]


def test_what_is_recorded_during_a_flush_waits_for_the_next_one(tmp_path, monkeypatch):
    log, write = EventLog(tmp_path / "log", "customers", "u"), event_log.write_deltalake

    def slow(*args, **options):
        log.record("flow_progress", "meanwhile")
        write(*args, **options)

    log.record("create_update", "started")
    monkeypatch.setattr(event_log, "write_deltalake", slow)
    assert log.flush() == 1
    monkeypatch.setattr(event_log, "write_deltalake", write)
    assert log.flush() == 1
    assert [event["message"] for event in read_events(tmp_path / "log")] == ["started", "meanwhile"]


def test_a_crash_loses_only_what_was_not_flushed(tmp_path):
    script = """if True:
        import os, sys
        from cdc_local.update.event_log import EventLog
        log = EventLog(sys.argv[1], 'customers', 'u')
        log.record('create_update', 'started'); log.flush()
        log.record('flow_progress', 'lost')
        os._exit(9)"""
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "log")])
    assert done.returncode == 9
    with EventLog(tmp_path / "log", "customers", "v") as log:
        log.record("create_update", "started again")
    assert [event["message"] for event in read_events(tmp_path / "log")] == ["started", "started again"]


def test_events_are_flushed_when_the_update_raises(tmp_path):
    with pytest.raises(ZeroDivisionError), EventLog(tmp_path / "log", "customers", "u") as log:
        log.record("update_progress", "FAILED", "ERROR", error=ZeroDivisionError("x"))
        raise ZeroDivisionError
    (event,) = read_events(tmp_path / "log", level="ERROR")
    assert json.loads(event["error"])["exceptions"][0]["class_name"] == "ZeroDivisionError"


def test_a_listener_that_fails_is_dropped(tmp_path):
    calls = []

    def listener(event):
        calls.append(event)
        raise RuntimeError("terminal is gone")

    with EventLog(tmp_path / "log", "customers", "u", listener) as log:
        log.record("create_update", "one")
        log.record("create_update", "two")
    assert len(calls) == 1
    assert [event["level"] for event in read_events(tmp_path / "log")] == ["INFO", "WARN", "INFO"]


def test_a_listener_may_record(tmp_path):
    def listener(event):
        if event["message"] == "one":
            log.record("user_action", "from the listener")

    log = EventLog(tmp_path / "log", "customers", "u", listener)
    log.record("create_update", "one")
    log.flush()
    assert [event["message"] for event in read_events(tmp_path / "log")] == ["one", "from the listener"]


def test_values_that_json_does_not_know_become_text(tmp_path):
    from pathlib import Path

    with EventLog(tmp_path / "log", "customers", "u") as log:
        log.record("create_update", "é 漢", details={"create_update": {"storage": Path("/s")}})
    (event,) = read_events(tmp_path / "log")
    assert json.loads(event["details"]) == {"create_update": {"storage": "/s"}} and event["message"] == "é 漢"


def test_error_chains_end():
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert [found["message"] for found in describe_error(first)["exceptions"]] == ["a", "b"]
    assert describe_error(None) is None
    assert event_log.read_events("nowhere") == []
    assert event_update({"origin": "{}"}) is None


def test_an_event_without_details(tmp_path):
    event = EventLog(tmp_path / "log", "customers", "u").record("create_update", "started")
    assert (json.loads(event["details"]), json.loads(event["origin"]), event["error"]) == (
        {},
        {"pipeline_name": "customers", "update_id": "u"},
        None,
    )


def test_an_error_is_described_with_its_causes():
    try:
        try:
            int("many")
        except ValueError as cause:
            raise RuntimeError("flow customers failed") from cause
    except RuntimeError as failure:
        described = describe_error(failure)
    assert described == {
        "exceptions": [
            {"class_name": "RuntimeError", "message": "flow customers failed"},
            {"class_name": "ValueError", "message": "invalid literal for int() with base 10: 'many'"},
        ],
        "fatal": True,
    }
    assert describe_error("no Java")["exceptions"] == [{"class_name": "Exception", "message": "no Java"}]


def test_an_event_says_what_databricks_queries_look_for(tmp_path):
    quality = {"dropped_records": 2, "expectations": [{"name": "valid_id", "passed_records": 98}]}
    heard = []
    with EventLog(tmp_path / "log", "customers", "u", heard.append) as log:
        log.record(
            "flow_progress",
            "Flow 'clean' is RUNNING.",
            flow_name="clean",
            dataset_name="main.default.clean",
            details={"flow_progress": {"status": "RUNNING", "data_quality": quality}},
        )
        log.record("update_progress", "Update u is FAILED.", "ERROR", error=ValueError("no such column"))
        assert read_events(tmp_path / "log") == []  # nothing on disk yet
    progress, failed = read_events(tmp_path / "log")
    assert [event["event_type"] for event in heard] == ["flow_progress", "update_progress"]
    assert tuple(progress) == COLUMNS
    assert json.loads(progress["details"])["flow_progress"]["data_quality"] == quality
    assert json.loads(progress["origin"]) == {
        "pipeline_name": "customers",
        "update_id": "u",
        "flow_name": "clean",
        "dataset_name": "main.default.clean",
    }
    assert json.loads(failed["error"])["exceptions"] == [
        {"class_name": "ValueError", "message": "no such column"}
    ]
    assert (progress["error"], progress["maturity_level"]) == (None, "STABLE")
    assert progress["timestamp"].tzinfo is not None


@pytest.fixture
def two_updates(tmp_path):
    "A log of two updates."
    with EventLog(tmp_path / "log", "customers", "one") as log:
        log.record("create_update", "one started")
        log.record("update_progress", "one failed", "ERROR")
    with EventLog(tmp_path / "log", "customers", "two") as log:
        log.record("create_update", "two started")
        log.record("planning_information", "no primary key", "WARN")
    return tmp_path / "log"


@pytest.mark.parametrize(
    "choice, messages",
    [
        ({}, ["one started", "one failed", "two started", "no primary key"]),
        ({"update_id": "two"}, ["two started", "no primary key"]),
        ({"level": "WARN"}, ["one failed", "no primary key"]),
        ({"level": "ERROR"}, ["one failed"]),
        ({"event_type": "create_update"}, ["one started", "two started"]),
        ({"limit": 1}, ["no primary key"]),
        ({"limit": 0}, []),
        ({"update_id": "one", "limit": 1}, ["one failed"]),
    ],
)
def test_a_reader_chooses_events(two_updates, choice, messages):
    assert [event["message"] for event in read_events(two_updates, **choice)] == messages


def test_a_level_that_there_is_not_is_refused(two_updates):
    with pytest.raises(ValueError, match="level 'WARNING' is none of INFO, WARN, ERROR"):
        read_events(two_updates, level="WARNING")
    with pytest.raises(ValueError, match="level 'info' is none of"):
        EventLog(two_updates, "customers", "three").record("create_update", "started", level="info")


def test_the_order_of_the_log_is_its_sequence_when_the_clock_is_set_back(tmp_path):
    ahead = EventLog(tmp_path / "log", "customers", "u")
    ahead._last += 10**16  # as if the newest event had been written far in the future
    sequences = [event_sequence(ahead.record("flow_progress", "tick")) for _ in range(3)]
    assert sequences == sorted(set(sequences))
    ahead.flush()
    later = EventLog(tmp_path / "log", "customers", "v").record("create_update", "the clock was set back")
    assert event_sequence(later) > sequences[-1]


def test_the_log_says_that_a_listener_was_removed(tmp_path):
    def broken(event):
        raise OSError("terminal is gone")

    log = EventLog(tmp_path / "log", "customers", "u", broken)
    log.record("create_update", "started")
    log.record("update_progress", "done")
    assert log.flush() == 3
    assert [event["message"] for event in read_events(tmp_path / "log")] == [
        "started",
        "The listener of this log failed and was removed: terminal is gone",
        "done",
    ]
