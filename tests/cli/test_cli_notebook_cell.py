"`cdc` in a notebook cell prints what lasts, and stops the notebook where the command failed."

from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.cli.notebook_cell import cdc, cut_moments, lasting_output
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName

PRINTED = """
Update 0b9f2c1e is RUNNING.
orders                           RUNNING
orders                           COMPLETED  3 rows, 1 dropped, 1.9 s
Flow     Status      Rows   Dropped   Seconds
─────────────────────────────────────────────
orders   COMPLETED      3         1       1.9
Update 0b9f2c1e-9d4e-4c1a-8f61-1f0d2f3b4a5c is COMPLETED: 3 rows into 1 table, 2.1 s.
report: SUCCESS after 0.2 s
Task     Result    Attempts   Seconds   Message
report   FAILED           1       0.2   no city
after    SKIPPED          0
price   at
1.5     /shop/day-1.json""".strip()


def test_progress_seconds_ids_and_the_folder_are_left_out():
    assert lasting_output(PRINTED, Path("/shop")).splitlines() == [
        "Flow     Status      Rows   Dropped",
        "───────────────────────────────────",
        "orders   COMPLETED      3         1",
        "Update … is COMPLETED: 3 rows into 1 table.",
        "Task     Result    Attempts   Message",
        "report   FAILED           1   no city",
        "after    SKIPPED          0",
        "price   at",
        "1.5     day-1.json",
    ]


def test_when_an_event_happened_is_left_out():
    events = [
        "Time (UTC)            Level   Event           Message",
        "─────────────────────────────────────────────────────",
        "2026-01-01 00:00:01   ERROR   flow_progress   Update 0b9f2c1e is FAILED.",
    ]
    lines = lasting_output("\n".join(events), Path("/shop")).splitlines()
    assert lines[::2] == [
        "Level   Event           Message",
        "ERROR   flow_progress   Update … is FAILED.",
    ]
    assert (cut_moments([]), cut_moments(["Timer   Level"])) == ([], ["Timer   Level"])


@pytest.fixture
def orders(tmp_path, monkeypatch):
    "A folder with a storage of one table."
    monkeypatch.chdir(tmp_path)
    path = Storage(Path(".cdc")).create().table_path(TableName("main", "default", "orders"))
    rows = pa.table({"id": [1, 1], "status": ["new", "sent"], "price": [1.5, 2.5]})
    write_deltalake(str(path), rows)


def test_quotes_are_those_of_a_shell(orders, capsys):
    cdc("""show orders --where "status = 'sent'" --format csv""")
    assert capsys.readouterr().out.splitlines() == ["id,status,price", "1,sent,2.5"]


def test_a_command_that_prints_nothing_prints_nothing(orders, capsys):
    cdc("feed new --rows 20 --quiet")
    assert capsys.readouterr().out == ""


def test_a_command_that_ends_otherwise_than_expected_stops_the_notebook(orders, capsys):
    with pytest.raises(PipelineError, match="`cdc show ordres` ended with exit status 2, not 0"):
        cdc("show ordres")
    with pytest.raises(PipelineError, match="ended with exit status 0, not 2"):
        cdc("show orders", status=2)
    capsys.readouterr()
    cdc("show ordres", status=2)
    assert capsys.readouterr().out.startswith("error: no table main.default.ordres in .cdc; did you mean")
