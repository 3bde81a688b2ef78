"A storage with tables of several kinds, and a stand-in for the runner."

import json
import sys
import types
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.storage import Storage, TableName
from cdc_local.update.event_log import EventLog

MOMENT = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


@pytest.fixture(scope="module")
def filled_storage(tmp_path_factory):
    storage = Storage(tmp_path_factory.mktemp("cli") / "cdc").create()
    people = pa.table({"id": [str(number) for number in range(30)], "city": ["Oslo", None, "Rome"] * 10})
    write_deltalake(str(storage.table_path(TableName("main", "default", "customers"))), people)
    values = pa.table(
        {
            "id": ["007"],
            "at": pa.array([MOMENT], pa.timestamp("us", tz="UTC")),
            "price": pa.array([Decimal("1.10")], pa.decimal128(10, 2)),
            "tags": [["a", None]],
            "raw": [b"xyz"],
            "n": [float("nan")],
            "gone": pa.array([None], pa.string()),
        }
    )
    write_deltalake(str(storage.table_path(TableName("main", "default", "kinds"))), values)
    hidden = pa.table(
        {
            "id": ["1", "2"],
            "city": ["old", "x"],
            "__deleted": [False, True],
            "__latest": [{"city": "new"}, {"city": "x"}],
        }
    )
    path = str(storage.table_path(TableName("main", "sales", "cities")))
    DeltaTable.create(
        path,
        hidden.schema,
        raise_if_key_not_exists=False,
        configuration={
            "cdc.columns": '["id", "city"]',
            "cdc.visible": "__deleted = false",
            "cdc.latest": '["city"]',
        },
    )
    write_deltalake(path, hidden, mode="append")
    with EventLog(storage.event_log_path, "customers", "u1") as log:
        log.record("create_update", "Update u1 started.")
    return storage


@pytest.fixture
def update(monkeypatch):
    """A stand-in for the runner: it notes the request, tells three events, and ends as told."""
    module, requests = types.ModuleType("cdc_local.update.run"), types.ModuleType("cdc_local.update.request")
    module.ending = SimpleNamespace(update_id="u1", state="COMPLETED", flows=(), error=None, graph=None)

    class UpdateRequest(SimpleNamespace):
        pass

    def run_update(request, listener):
        module.request = request
        if isinstance(module.ending, BaseException):
            raise module.ending
        for status, rows in (("QUEUED", None), ("RUNNING", 20_000), ("COMPLETED", None)):
            details = {"flow_progress": {"status": status, "metrics": {"num_output_rows": rows}}}
            listener(
                {
                    "event_type": "flow_progress",
                    "origin": json.dumps({"flow_name": "customers"}),
                    "timestamp": MOMENT,
                    "level": "INFO",
                    "message": f"Flow 'customers' is {status}.",
                    "error": None,
                    "details": json.dumps(details),
                }
            )
        return module.ending

    module.run_update, requests.UpdateRequest = run_update, UpdateRequest
    monkeypatch.setitem(sys.modules, "cdc_local.update.run", module)
    monkeypatch.setitem(sys.modules, "cdc_local.update.request", requests)
    return module
