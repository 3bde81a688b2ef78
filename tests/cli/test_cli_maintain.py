"`cdc maintain`: its options reach the operation; what it prints."

import json

import pytest
from growing_tables import age, commit, create, rows
from typed_commands import typed

from cdc_local.operations import maintain
from cdc_local.storage import TableName


@pytest.fixture
def grown(storage):
    "A storage with a table of 30 commits, and one that delta-rs does not write."
    path = create(storage.table_path(TableName("main", "default", "orders")))
    for number in range(45):
        commit(path, rows(number), number)
    age(path, 60)
    fed = create(
        storage.table_path(TableName("main", "default", "fed")), **{"delta.enableChangeDataFeed": "true"}
    )
    commit(fed, rows(1))
    return storage


def told(done):
    assert done.exit_code == 0, done.stderr
    return {line["table"]: line for line in map(json.loads, done.stdout.splitlines())}


def test_what_was_done_is_said_table_by_table(grown):
    options = ("--storage", str(grown.root), "--format", "json")
    orders = told(typed("maintain", "--dry-run", *options))["main.default.orders"]
    assert (orders["status"], orders["rewritten_files"], orders["files_after"]) == (
        "would be maintained",
        45,
        None,
    )
    lines = told(typed("maintain", *options))
    orders, fed = lines["main.default.orders"], lines["main.default.fed"]
    assert orders["status"] == "maintained" and orders["files_before"] == 45 + 2 * 46
    assert 0 < orders["files_after"] < orders["files_before"] and orders["removed_log_entries"] > 40
    assert fed["status"] == "left alone" and fed["reason"].startswith("the table has the ")
    assert told(typed("maintain", *options))["main.default.orders"]["status"] == "nothing to do"


def test_it_is_printed_for_the_eye(grown):
    done = typed("maintain", "orders", "--storage", str(grown.root))
    assert done.exit_code == 0 and "main.default.orders" in done.stdout
    assert "maintained" in done.stdout and "45 files rewritten" in " ".join(done.stdout.split())
    assert (
        "main.default.fed was left alone: the table has the "
        in typed("maintain", "--storage", str(grown.root)).stdout
    )


def test_options_reach_the_operation(storage, monkeypatch):
    calls = []
    monkeypatch.setattr(maintain, "maintain_storage", lambda *given: calls.append(given) or [])
    options = (
        "--retain",
        "1.5",
        "--dry-run",
        "--catalog",
        "c",
        "--schema",
        "s",
        "--storage",
        str(storage.root),
    )
    assert typed("maintain", "t", "a.b.u", *options).exit_code == 0
    assert calls == [(storage, [TableName("c", "s", "t"), TableName("a", "b", "u")], 1.5, True)]


def test_a_table_that_cannot_be_maintained_fails_the_command(grown):
    log = grown.table_path(TableName("main", "default", "orders")) / "_delta_log"
    (log / f"{46:020}.json").write_text("no commit\n")
    done = typed("maintain", "--storage", str(grown.root))
    assert done.exit_code == 1 and "main.default.orders was not maintained: " in done.stderr
    assert typed("maintain", "nowhere", "--storage", str(grown.root)).exit_code == 2
