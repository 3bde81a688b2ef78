"""The event log under threads, failures and crashes."""

import json
import subprocess
import sys
import threading

import pytest
from deltalake import DeltaTable

from cdc_local.update import event_log
from cdc_local.update.event_log import COLUMNS, EventLog, describe_error, event_update, read_events


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
