"An update does its share of maintenance where a table has become due, and no more."

import json
import random
import shutil
from time import perf_counter

import pyarrow as pa
from deltalake import DeltaTable
from growing_tables import age, commit, create, merge, rows, stored

from cdc_local.storage import TableName
from cdc_local.update import maintenance
from cdc_local.update.event_log import EventLog, read_events, read_last_sequence
from cdc_local.update.maintenance import maintain_due_tables


def table(storage, name):
    return storage.table_path(TableName("main", "default", name))


def share(storage):
    "The events of an update's share."
    with EventLog(storage.event_log_path, "customers", "u") as log:
        maintain_due_tables(storage, log)
        return list(log._buffer)


def test_a_table_is_maintained_when_ten_commits_have_come(storage):
    path = create(table(storage, "t"))
    for number in range(9):
        commit(path, rows(number), number)
    assert share(storage) == []
    for number in range(9, 50):
        commit(path, rows(number), number)
    [event] = share(storage)
    details = json.loads(event["details"])["maintenance_progress"]
    assert (event["event_type"], event["level"]) == ("maintenance_progress", "INFO")
    assert json.loads(event["origin"])["dataset_name"] == "main.default.t"
    assert event["message"].startswith("main.default.t was maintained: 50 files rewritten")
    assert details["rewritten_files"] == 50 and details["files_before"] == 50 + 2 * 51
    assert share(storage) == []


def test_a_table_is_maintained_when_its_removed_files_are_large(storage):
    path, choose = create(table(storage, "t")), random.Random(1)
    for number in range(4):
        ids, values = range(5000), [choose.randbytes(12).hex() for _ in range(5000)]
        commit(path, pa.table({"id": [str(key) for key in ids], "value": values}), number, "overwrite")
    age(path, 60)
    before = stored(path)
    [event] = share(storage)
    assert "1 old files removed" in event["message"] and stored(path) == before
    assert share(storage) == []


def test_an_update_with_nothing_new_looks_at_no_table(storage, monkeypatch):
    path = create(table(storage, "t"))
    for number in range(12):
        commit(path, rows(number), number)
    share(storage)
    monkeypatch.setattr(maintenance, "plan_maintenance", None)
    monkeypatch.setattr(maintenance, "find_unread_versions", None)
    started = perf_counter()
    assert share(storage) == []
    assert perf_counter() - started < 1


def test_a_failure_is_told_and_ends_nothing(storage, monkeypatch):
    for name in ("broken", "sound"):
        path = create(table(storage, name))
        for number in range(50):
            commit(path, rows(number), number)
    shutil.rmtree(table(storage, "broken") / "_delta_log")
    (table(storage, "broken") / "_delta_log").mkdir()
    (table(storage, "broken") / "_delta_log" / f"{50:020}.json").write_text("no commit\n")
    broken, sound = share(storage)
    assert (broken["level"], sound["level"]) == ("WARN", "INFO")
    assert broken["message"].startswith("main.default.broken was not maintained: ") and broken["error"]
    assert len(DeltaTable(str(table(storage, "sound"))).file_uris()) == 1
    [again] = share(storage)
    assert again["message"] == broken["message"]


def test_a_damaged_checkpoint_keeps_everything(storage):
    path = create(table(storage, "t"))
    for number in range(50):
        commit(path, rows(number), number)
    offsets = storage.flow_path(TableName("main", "default", "u"), "u") / "checkpoint" / "offsets"
    offsets.mkdir(parents=True)
    (offsets / "0").write_text('v1\n{}\n{"reservoirId": "x", "reservo')
    [event] = share(storage)
    assert event["level"] == "WARN" and event["message"].startswith("The storage was not maintained: ")
    assert DeltaTable(str(path)).version() == 50


def test_the_event_log_is_kept_small_and_loses_no_event(storage):
    for number in range(50):
        with EventLog(storage.event_log_path, "customers", f"u{number}") as log:
            log.record("create_update", f"{number}")
            maintain_due_tables(storage, log)
    events = [
        event for event in read_events(storage.event_log_path) if event["event_type"] == "create_update"
    ]
    assert [event["message"] for event in events] == [f"{number}" for number in range(50)]
    assert len(DeltaTable(str(storage.event_log_path)).file_uris()) < 25
    assert json.loads(read_events(storage.event_log_path)[-1]["sequence"]) == {
        "control_plane_seq_no": read_last_sequence(storage.event_log_path)
    }


def test_many_small_updates_leave_a_small_table(storage):
    path, choose, updates = create(table(storage, "t"), keys=["id"]), random.Random(1), 60
    ids, values = (
        [f"{number:06}" for number in range(30_000)],
        [choose.randbytes(12).hex() for _ in range(30_000)],
    )
    commit(path, pa.table({"id": ids, "value": values}), 0)
    expected = dict(zip(ids, values, strict=True))
    for number in range(1, updates + 1):
        new = rows(choose.randrange(31_000), value=f"{number}-")
        merge(path, new, number)
        expected[new["id"][0].as_py()] = new["value"][0].as_py()
        age(path, 3)
        share(storage)
    after, usage = DeltaTable(str(path)), maintenance.measure_usage(path)
    found = after.to_pyarrow_table()
    assert dict(zip(found["id"].to_pylist(), found["value"].to_pylist(), strict=True)) == expected
    assert usage.bytes <= 5 * sum(after.get_add_actions()["size_bytes"].to_pylist()) and usage.files <= 200
    assert after.transaction_version("stream") == updates
