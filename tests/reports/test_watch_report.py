"Updates that go on, a line each."

import io
import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.errors import Location, PipelineError
from cdc_local.reports.tables import make_console
from cdc_local.reports.watch import WatchProgress, describe_files, update_error, update_line, watched_line
from cdc_local.storage import Storage, StorageInUseError
from cdc_local.update.watch import WatchedUpdate
from cdc_local.update.watched_files import WatchedFolder, WatchedModules, WatchedSources, WatchedTable
from cdc_utils.results import FlowResult, UpdateResult

NOON = datetime(2024, 5, 1, 12, 0, 7)


def flow(table, **counts):
    return FlowResult(table, f"main.default.{table}", "COMPLETED", **counts)


FLOWS = (
    flow("raw", num_output_rows=1200),
    flow("raw", num_output_rows=3),
    flow("customers", num_upserted_rows=2, num_deleted_rows=1),
    flow("rejected", num_output_rows=0),
    flow("same"),
)

STREAM_FAILED = FlowResult("f", "main.default.f", "FAILED", error="etl.py:3: no column idd")


def update(state="COMPLETED", flows=(), why=None, **more):
    return WatchedUpdate(
        **{"changed": (), "seconds": 1.25, "result": UpdateResult("u", state, flows, why)} | more
    )


@pytest.mark.parametrize(
    "ended, line",
    [
        (update(flows=FLOWS), "12:00:07 start: COMPLETED, raw 1,203, customers 3 rows, 1.2 s"),
        (update(changed=(Path("in/two.json"),)), "12:00:07 two.json: COMPLETED, no new rows, 1.2 s"),
        (update("FAILED", FLOWS, "why", seconds=0.04), "12:00:07 start: FAILED, 0.0 s"),
        (update("CANCELED"), "12:00:07 start: CANCELED, 1.2 s"),
        (update(result=None, error=PipelineError("x")), "12:00:07 start: FAILED, 1.2 s"),
        (update(is_dry_run=True), "12:00:07 start: COMPLETED, nothing written, 1.2 s"),
    ],
)
def test_a_line_has_time_cause_state_rows_and_seconds(ended, line):
    assert update_line(ended, NOON) == line


def test_files_are_named_by_name_and_tables_by_theirs():
    commits = [Path(f"/x/orders/_delta_log/{number}.json") for number in range(3)]
    assert describe_files(commits) == "orders"
    assert (
        describe_files(map(Path, ["a/1.json", "b/1.json", "2.py", "3", "4", "5"]))
        == "1.json, 2.py, 3, 2 more"
    )
    assert describe_files([]) == ""


@pytest.mark.parametrize(
    "ended, error",
    [
        (update(flows=FLOWS), None),
        (update("CANCELED"), None),
        (update("FAILED", why="first"), "first"),
        (update("FAILED", (STREAM_FAILED,)), "etl.py:3: no column idd"),
        (
            update(
                result=None,
                error=PipelineError("no table ordrs", Location("etl.py", 7), "did you mean orders?"),
            ),
            "etl.py:7: no table ordrs; did you mean orders?",
        ),
    ],
)
def test_the_error_of_an_update_names_place_and_hint(ended, error):
    assert update_error(ended) == error


def test_what_is_watched_is_named_as_the_user_names_it(tmp_path):
    storage = Storage(tmp_path / "cdc")
    watched = (
        WatchedSources("etl", storage),
        WatchedModules(tmp_path, storage),
        WatchedFolder(storage.root / "Volumes/main/default/landing", storage),
        WatchedTable(tmp_path / "orders"),
    )
    line = "Watching /Volumes/main/default/landing, etl, the table orders. Ctrl-C ends."
    assert watched_line(update(watched=watched)) == line


def event(level="INFO", message="Flow customers is RUNNING."):
    details = {"flow_progress": {"status": "RUNNING"}}
    return {
        "event_type": "flow_progress",
        "origin": json.dumps({"flow_name": "customers"}),
        "timestamp": datetime.now(UTC),
        "level": level,
        "message": message,
        "error": None,
        "details": json.dumps(details),
    }


def shown(style, *updates):
    "What two streams show of updates that each had an event and a warning"
    out, errors = io.StringIO(), io.StringIO()
    progress = WatchProgress(make_console(out), make_console(errors), style)
    for ended in updates:
        progress.begin()
        progress.show_event(event("WARN"))
        progress.end(ended)
    progress.wait_for_storage(StorageInUseError("storage x is in use by another update (process 7)"))
    return out.getvalue(), errors.getvalue()


def test_lines_are_one_an_update_and_a_warning_and_what_is_watched_come_once():
    warned = UpdateResult("u", "COMPLETED", FLOWS, warnings=("display() shows nothing in an update",))
    out, errors = shown(
        "auto", update(result=warned), update(result=warned), update("FAILED", why="etl.py:3: x")
    )
    assert [re.sub(r"^\d\d:\d\d:\d\d", "", line) for line in out.splitlines()] == [
        " start: COMPLETED, raw 1,203, customers 3 rows, 1.2 s",
        "WARN: display() shows nothing in an update",
        "Watching . Ctrl-C ends.",
        " start: COMPLETED, raw 1,203, customers 3 rows, 1.2 s",
        " start: FAILED, 1.2 s",
    ]
    assert errors.splitlines() == [
        "error: etl.py:3: x",
        "storage x is in use by another update (process 7); this update begins when that one has ended",
    ]


def test_json_is_events_and_quiet_is_errors():
    failed = update("FAILED", why="etl.py:3: x")
    out, errors = shown("json", failed)
    assert [json.loads(line)["level"] for line in out.splitlines()] == [
        "WARN"
    ] and "error: etl.py:3: x" in errors
    out, errors = shown("quiet", failed, update(flows=FLOWS))
    assert out == "" and errors.startswith("error: etl.py:3: x\n")


def test_what_each_update_did_is_handed_on_where_it_did_something():
    results = []
    progress = WatchProgress(
        make_console(io.StringIO()), make_console(io.StringIO()), on_result=results.append
    )
    for ended in (update(flows=FLOWS), update(result=None, error=PipelineError("x"))):
        progress.begin()
        progress.end(ended)
    assert [result.flows for result in results] == [FLOWS]
