"Mended rows land once, at their right place, and every row read is kept or quarantined."

import json
import os
from pathlib import Path

import pytest

from cdc_local.delta.reader import read_rows, read_table
from cdc_local.errors import UsageError
from cdc_local.operations import replay as replaying
from cdc_local.operations.replay import replay_rows
from cdc_local.storage import Storage, TableName
from cdc_local.update.event_log import read_events
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_utils.feed import write_whole

pytestmark = pytest.mark.sail

ROOT = Path(__file__).parents[2]
QUARANTINE = TableName("main", "default", "customers_cdc_quarantine")


def event(key, city, hour, operation="UPDATE"):
    return {
        "id": key,
        "firstname": "Ann",
        "lastname": "Ash",
        "email": "a@b.c",
        "address": city,
        "operation": operation,
        "operation_date": hour and f"2026-01-01T{hour:02}:00:00",
    }


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    "One update over five rows and a broken line; three of them are set aside."
    storage = Storage(tmp_path_factory.mktemp("replay") / "cdc").create()
    folder = storage.root / "Volumes/main/default/raw_data/customers"
    folder.mkdir(parents=True)
    lines = [
        event("7", "Lyon", 10, "APPEND"),
        event("7", "Oslo", 12),
        event("7", "Bern", 11, "UPSERT"),
        event("8", "Rome", 10, "APPEND"),
        event(None, "Kyiv", 9),
    ]
    (folder / "day-1.json").write_text(
        "".join(json.dumps(line) + "\n" for line in lines) + '{"id": "9", "address\n'
    )
    assert update(storage).state == "COMPLETED"
    return storage


def update(storage):
    configuration = {"cdc.catalog": "main", "cdc.schema": "default"}
    return run_update(
        UpdateRequest((str(ROOT / "transformations"),), storage.root, configuration=configuration)
    )


def count(storage, table):
    return read_table(storage, TableName("main", "default", f"customers_cdc_{table}")).num_rows


def history(storage, key):
    rows = read_table(storage, TableName("main", "default", "customers_history")).to_pylist()
    return sorted(
        (row["address"], row["__START_AT"].hour, row["__END_AT"] and row["__END_AT"].hour)
        for row in rows
        if row["id"] == key
    )


def test_a_late_mended_row_splits_a_version_and_no_row_is_lost(storage, tmp_path):
    assert history(storage, "7") == [("Lyon", 10, 12), ("Oslo", 12, None)]
    assert [count(storage, each) for each in ("bronze", "clean", "quarantine")] == [6, 3, 3]
    dump = list(read_rows(storage, QUARANTINE).json_lines())
    mended = tmp_path / "mended.json"
    mended.write_text("\n".join(line.replace("UPSERT", "UPDATE") for line in dump))
    with pytest.raises(UsageError, match="2 of 3 rows are as they are in quarantine"):
        replay_rows(storage, QUARANTINE, [mended])
    done = replay_rows(storage, QUARANTINE, [mended], skip_unchanged=True)
    assert (
        done.folder == (storage.root / "Volumes/main/default/raw_data/customers").resolve()
    )  # from source_file alone
    assert list(json.loads(done.landings[0].content)) == [
        "id",
        "firstname",
        "lastname",
        "email",
        "address",
        "operation",
        "operation_date",
    ]
    assert (
        replay_rows(storage, QUARANTINE, [mended], skip_unchanged=True).landings[0].rows == 0
    )  # a second time lands nothing
    assert update(storage).state == "COMPLETED"
    assert history(storage, "7") == [("Bern", 11, 12), ("Lyon", 10, 11), ("Oslo", 12, None)]
    assert [count(storage, each) for each in ("bronze", "clean", "quarantine")] == [7, 4, 3]
    told = [each for each in read_events(storage.event_log_path, event_type="user_action")]
    assert [json.loads(each["details"])["user_action"]["rows"] for each in told] == [1]


def test_an_emptied_corrupt_record_is_refused(storage, tmp_path):
    corrupt = next(
        row for row in map(json.loads, read_rows(storage, QUARANTINE).json_lines()) if row["_corrupt_record"]
    )
    mended = tmp_path / "mended.json"
    mended.write_text(json.dumps(corrupt | {"_corrupt_record": '{"id": "9"}'}))
    with pytest.raises(UsageError, match="has no value in id, firstname"):
        replay_rows(storage, QUARANTINE, [mended])


def test_a_replay_that_dies_leaves_no_half_file(storage, tmp_path, monkeypatch):
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    first.write_text(json.dumps(event("20", "Ulm", 1, "APPEND")))
    second.write_text(json.dumps(event("21", "Ulm", 1, "APPEND")))

    def dies(path, content):
        if b'"21"' in content:
            monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("no space left")))
        write_whole(path, content)

    monkeypatch.setattr(replaying, "write_whole", dies)
    with pytest.raises(OSError, match="no space left"):
        replay_rows(storage, QUARANTINE, [first, second])
    monkeypatch.undo()
    again = replay_rows(storage, QUARANTINE, [first, second])
    assert [(each.rows, each.landed_before) for each in again.landings] == [(0, 1), (1, 0)]
    files = list(again.folder.glob("*-replay-*"))
    assert len(files) == len({file.read_text() for file in files}) and not list(again.folder.glob(".*"))
