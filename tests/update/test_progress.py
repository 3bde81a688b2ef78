"The log of how far a flow has read."

import json

import pytest

from cdc_local.errors import PipelineError
from cdc_local.update import progress as module
from cdc_local.update.progress import FILE_NAME, Progress

FILES = {"files /in": {"files": {"a": [1, 10]}}}
TABLE = {"table tables/t": {"table": "x", "from": None, "to": 4}}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "t" / "flow" / FILE_NAME


def read(path):
    return Progress.read(path, "flow into t")


def test_a_batch_is_planned_and_then_done(path):
    progress = read(path)
    assert progress.is_new and progress.transaction == ("flow into t", 0) and not path.exists()
    progress.plan(FILES | TABLE)
    assert read(path).planned == FILES | TABLE and read(path).positions == {}
    progress.finish(("t", 1))
    again = read(path)
    assert (again.batch, again.planned, again.target) == (0, None, ["t", 1])
    assert again.positions == {**FILES, "table tables/t": {"table": "x", "next": 5}}
    assert again.transaction == ("flow into t", 1)


def test_files_add_up_and_versions_move_on(path):
    progress = read(path)
    for batch in (FILES | TABLE, {"files /in": {"files": {"b": [2, 20]}}}):
        progress.plan(batch)
        progress.finish()
    assert read(path).positions == {
        "files /in": {"files": {"a": [1, 10], "b": [2, 20]}},
        "table tables/t": {"table": "x", "next": 5},
    }


def test_the_stream_of_a_log_stays_whatever_is_asked_later(path):
    read(path).plan(FILES)
    assert Progress.read(path, "another").stream == "flow into t"


@pytest.mark.parametrize("lost", [1, 10])
def test_a_line_that_was_not_finished_is_cut_off(path, lost):
    progress = read(path)
    progress.plan(FILES)
    progress.finish()
    progress.plan(TABLE)
    path.write_bytes(path.read_bytes()[:-lost])
    assert read(path).planned is None
    cut = read(path)
    cut.plan({"files /in": {"files": {"c": [3, 30]}}})
    assert list(read(path).planned) == ["files /in"]


@pytest.mark.parametrize("line", ["{}", "rubbish", '{"state": 9, "stream": "s"}', "[1]"])
def test_a_line_that_no_update_wrote_is_named_with_what_mends_it(path, line):
    read(path).plan(FILES)
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(PipelineError, match="line 3: not what an update wrote") as wrong:
        read(path)
    assert "--full-refresh t" in wrong.value.hint


def test_a_long_log_is_written_anew_and_says_the_same(path, monkeypatch):
    monkeypatch.setattr(module, "_MOST_LINES", 4)
    progress = read(path)
    for number in range(5):
        progress.plan({"files /in": {"files": {str(number): [number, 1]}}})
        progress.finish(("t", number))
    assert len(path.read_text().splitlines()) < 6
    again = read(path)
    assert (again.batch, again.target) == (4, ["t", 4])
    assert again.positions == progress.positions
    assert list(again.positions["files /in"]["files"]) == ["0", "1", "2", "3", "4"]
    assert json.loads(path.read_text().splitlines()[0])["state"] == 1
