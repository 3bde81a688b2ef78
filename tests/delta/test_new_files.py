"Which files commits have added since a version."

import json

import pytest

from cdc_local.delta.new_files import SourceChangedError, SourceLostError, read_new_files


def add(name, rows=None, data_change=True, **more):
    stats = {} if rows is None else {"stats": json.dumps({"numRecords": rows})}
    return {"add": {"path": name, "dataChange": data_change, **stats, **more}}


def remove(name, data_change=True):
    return {"remove": {"path": name, "dataChange": data_change}}


@pytest.fixture
def commit(tmp_path):
    "Write commits, the next version each."
    log = tmp_path / "_delta_log"
    log.mkdir()

    def write(*actions):
        version = len(list(log.glob("*.json")))
        (log / f"{version:020d}.json").write_text("".join(json.dumps(action) + "\n" for action in actions))
        return tmp_path

    return write


def names(found):
    return [json.loads(action)["add"]["path"] for action in found.actions]


def test_files_come_in_the_order_of_their_commits_with_their_rows(commit):
    commit({"metaData": {}})
    commit(add("a", 2), {"txn": {}}, add("b", 3))
    path = commit(add("c", 1))
    found = read_new_files(path, 1, 2)
    assert (names(found), found.rows) == (["a", "b", "c"], 6)
    assert names(read_new_files(path, 2, 2)) == ["c"] and read_new_files(path, 3, 2).actions == ()


def test_rows_marked_as_deleted_are_not_counted_and_without_statistics_nobody_knows(commit):
    path = commit(add("a", 5, deletionVector={"cardinality": 2}))
    assert read_new_files(path, 0, 0).rows == 3
    assert read_new_files(commit(add("b")), 0, 1).rows is None


def test_moved_rows_are_no_new_rows(commit):
    commit(add("a", 2))
    path = commit(remove("a", False), add("b", 2, False))
    assert names(read_new_files(path, 0, 1)) == ["a"]


def test_changed_rows_are_refused_or_their_commits_left_out(commit):
    commit(add("a", 2))
    path = commit(remove("a"), add("b", 2))
    commit(add("c", 1))
    with pytest.raises(SourceChangedError, match="version 1"):
        read_new_files(path, 0, 2)
    assert names(read_new_files(path, 0, 2, skip_changes=True)) == ["a", "c"]


def test_a_commit_that_is_gone_is_named(commit):
    commit(add("a"))
    path = commit(add("b"))
    (path / "_delta_log" / f"{0:020d}.json").unlink()
    assert names(read_new_files(path, 1, 1)) == ["b"]
    with pytest.raises(SourceLostError, match="version 0"):
        read_new_files(path, 0, 1)
