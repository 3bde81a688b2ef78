"Storages that the pages show, made without an engine: an event log and tables, as an update leaves them"

import threading
from datetime import UTC, datetime, timedelta

import pyarrow as pa
from deltalake import write_deltalake
from starlette.testclient import TestClient

from cdc_local.pages.app import create_app
from cdc_local.storage import TableName
from cdc_local.update.event_log import EventLog

RAW, CLEAN, QUARANTINE, CHANGES, HISTORY, TOTALS = (
    f"main.shop.{name}" for name in ("raw", "clean", "quarantine", "changes", "history", "totals")
)
TOKEN = "a-token-for-tests-only"
OLD, NEW = "11111111-old", "22222222-new"  # Updates that tests look at
DAY = datetime(2026, 1, 1, tzinfo=UTC)


def definition(target, reads, kind="streaming_table", **declared):
    "What the log tells of a flow"
    return {
        "flow_definition": {
            "output_dataset": target,
            "input_datasets": reads,
            "schema": [{"name": "id", "data_type": "bigint"}],
            "comment": declared.pop("comment", None),
            "declared": {"kind": kind, "file": "shop.py", "line": 3, "text": "def clean(): ..."} | declared,
        }
    }


def progress(status, rows=None, dropped=0, rules=(), **metrics):
    "What the log tells of a flow that runs or has ended"
    counted = metrics | ({"num_output_rows": rows} if rows is not None else {})
    quality = {"dropped_records": dropped, "expectations": list(rules)}
    return {"flow_progress": {"status": status, "metrics": counted, "data_quality": quality}}


def record_flow(log, flow, *details, error=None):
    "Record the events of one flow; the first tells what it is"
    target = details[0]["flow_definition"]["output_dataset"]
    for each in details:
        kind = next(iter(each))
        status = each[kind].get("status", "defined")
        level = "ERROR" if status == "FAILED" else "INFO"
        told = error if status == "FAILED" else None
        message = f"Flow {flow} is {status}." if told is None else f"Flow {flow} has failed: {told}"
        log.record(kind, message, level, flow, target, each, told)


def record_state(log, state, level="INFO", error=None):
    "Record how far an update is"
    details = {"update_progress": {"state": state}}
    log.record(
        "update_progress", f"Update {log.update_id[:8]} is {state}.", level, details=details, error=error
    )


RULES = [
    {"dataset": CLEAN, "name": "valid_id", "passed_records": 1_990, "failed_records": 10},
    {"dataset": CLEAN, "name": "known_city", "passed_records": 2_000, "failed_records": 0},
]
AUTO_CDC = {"source": CHANGES, "keys": ["id"], "sequence_by": "at", "stored_as_scd_type": 2}
VIEW = {CHANGES: {"kind": "view", "input_datasets": [CLEAN], "file": "shop.py", "line": 9, "text": ""}}


def record_begin(log):
    "Record an update up to its flows"
    log.record("create_update", "started", details={"create_update": {"full_refresh": False}})
    record_state(log, "RUNNING")


def record_update(storage, update_id, fails=False):
    "Record a whole update"
    with EventLog(storage.event_log_path, "shop", update_id) as log:
        record_begin(log)
        reading = {"flow_progress": {"status": "RUNNING", "metrics": {"num_input_rows": 2_000}}}
        record_flow(
            log, "ingest", definition(RAW, []), progress("STARTING"), reading, progress("COMPLETED", 2_000)
        )
        rules = [{"name": "valid_id", "constraint": "id IS NOT NULL", "action": "drop"}]
        record_flow(
            log, CLEAN, definition(CLEAN, [RAW], expectations=rules), progress("COMPLETED", 1_990, 10, RULES)
        )
        declared = definition(HISTORY, [CHANGES, CLEAN], auto_cdc=AUTO_CDC, views=VIEW)
        done = progress("COMPLETED", 1_990, num_upserted_rows=1_900, num_deleted_rows=90)
        record_flow(log, HISTORY, declared, done)
        totals = definition(TOTALS, [HISTORY, "crm.shop.rates"], "materialized_view")
        if fails:
            record_flow(log, TOTALS, totals, progress("FAILED"), error="shop.py:12: no column `amout`")
        else:
            record_flow(log, TOTALS, totals, progress("COMPLETED", 3))
        record_state(log, "FAILED" if fails else "COMPLETED", "ERROR" if fails else "INFO")


def write_table(storage, name, rows, schema=None, configuration=None, mode="append"):
    "Write a table of a storage"
    path = storage.table_path(TableName.parse(name, "main", "shop"))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_deltalake(str(path), pa.Table.from_pylist(rows, schema), mode=mode, configuration=configuration)
    return path


def at(hour):
    "A moment of the first day"
    return DAY + timedelta(hours=hour)


def open_pages(storage):
    "A client that was let in"
    app = create_app(storage, TOKEN, threading.Event())
    client = TestClient(app, base_url="http://127.0.0.1:80", raise_server_exceptions=False)
    client.get("/", params={"token": TOKEN})
    return client
