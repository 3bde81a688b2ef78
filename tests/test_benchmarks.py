"""The rivals of `make bench` are no straw men: on events that arrive in order all give the oracle's tables.

Late events are where they part. Nothing here is timed."""

import json
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import bench
import duckdb_whole
import floor
import handwritten
import inputs
import processes
import warm
from figures import MIB, Figure, Reach, from_json, growth
from oracle import replay

from cdc_local.delta.reader import read_table
from cdc_local.engines.spark.session import start_spark
from cdc_local.storage import Storage, TableName
from cdc_utils import customers
from cdc_utils.feed import write_feed

TABLES = ("customers", "customers_history")
ROWS = 600


@pytest.fixture(scope="module")
def spark():
    return start_spark()


@pytest.fixture(scope="module")
def feed(tmp_path_factory):
    "A small feed with all its faults, as it landed."
    folder = tmp_path_factory.mktemp("feed")
    write_feed(folder, rows=ROWS, files=3)
    return folder


def good(feed):
    "The valid events of a feed in the order of their time."

    def parsed(line):
        try:
            event = json.loads(line)
        except ValueError:
            return None
        valid = (
            (event.get("id") or "").strip()
            and event["operation"] in ("APPEND", "UPDATE", "DELETE")
            and str(event["operation_date"]).startswith("2026-0")
        )
        try:
            return valid and event | {"operation_date": datetime.fromisoformat(event["operation_date"])}
        except ValueError:
            return None

    lines = [line for path in sorted(feed.iterdir()) for line in path.read_text().splitlines()]
    return sorted(filter(None, map(parsed, lines)), key=lambda event: event["operation_date"])


def expected(events):
    "What the oracle says of events: current rows, history rows."

    def told(event):
        moment = event["operation_date"].replace(tzinfo=None)
        return (
            0,
            event["id"],
            (event["firstname"], event["lastname"]),
            event["email"],
            event["address"],
            "D" if event["operation"] == "DELETE" else "U",
            moment,
        )

    current, history = replay(map(told, events), None)

    def flat(row):
        return (row[1], *row[2], *row[3:])

    return {"customers": rows_of(map(flat, current)), "customers_history": rows_of(map(flat, history))}


def rows_of(rows):
    "Rows to compare: sorted, moments without a zone."

    def plain(value):
        return value.replace(tzinfo=None) if isinstance(value, datetime) else value

    return sorted((tuple(map(plain, row)) for row in rows), key=repr)


def columns_of(table, columns):
    return [[row[column] for column in columns] for row in table.to_pylist()]


def stored(storage, name):
    return rows_of(
        row.values() for row in read_table(storage, TableName("main", "default", name)).to_pylist()
    )


def by_hand(folder, name):
    return rows_of(row.values() for row in DeltaTable(folder / name).to_pyarrow_table().to_pylist())


class Deliveries:
    "A table of valid events that grows batch by batch, and both contestants that stream from it."

    def __init__(self, spark, root):
        self.spark, self.storage, self.rival = spark, Storage(root / "storage"), root / "rival"

    def bring(self, events):
        columns = pa.schema(
            [
                *((name, pa.string()) for name in (*customers.COLUMNS, "operation")),
                ("operation_date", pa.timestamp("us", tz="UTC")),
                *((name, pa.string()) for name in ("_corrupt_record", "_rescued_data", "source_file")),
            ]
        )
        write_deltalake(
            str(warm.clean_path(self.storage.root)),
            pa.Table.from_pylist(events, schema=columns),
            mode="append",
        )
        warm.update(self.storage.root, *[f"{name}.py" for name in TABLES])
        for name in TABLES:
            handwritten.catch_up(self.spark, warm.clean_path(self.storage.root), self.rival, name)
        return self

    def ours(self):
        return {name: stored(self.storage, name) for name in TABLES}

    def theirs(self):
        return {name: by_hand(self.rival, name) for name in TABLES}


def test_in_order_all_agree_with_the_oracle(spark, feed, tmp_path):
    events, delivered = good(feed), Deliveries(spark, tmp_path)
    assert {event["operation"] for event in events} == {"APPEND", "UPDATE", "DELETE"} and len(
        events
    ) > ROWS * 0.9
    for batch in (events[:400], events[400:]):
        delivered.bring(batch)
    assert delivered.theirs() == expected(events)
    assert delivered.ours() == expected(events)


def test_by_hand_is_wrong_about_late_events_and_ours_is_not(spark, tmp_path):
    def event(day, city, operation="UPDATE", key="a"):
        return {
            "id": key,
            "firstname": None,
            "lastname": None,
            "email": None,
            "address": city,
            "operation": operation,
            "operation_date": datetime(2026, 1, day, tzinfo=UTC),
        }

    in_time = [
        event(1, "Bern"),
        event(9, "Oslo"),
        event(1, "Rome", key="b"),
        event(9, None, "DELETE", key="b"),
    ]
    late = [event(5, "Lyon"), event(5, "Kyiv", key="b")]
    delivered = Deliveries(spark, tmp_path).bring(in_time)
    assert delivered.ours() == delivered.theirs() == expected(in_time)
    delivered.bring(late)
    assert delivered.ours() == expected(in_time + late)
    for name, rows in delivered.theirs().items():
        assert rows != expected(in_time + late)[name], name
    assert ("b", None, None, None, "Kyiv") in delivered.theirs()["customers"], (
        "by hand, a late update brings a deleted customer back"
    )


def test_duckdb_computes_the_tables_of_the_whole_pipeline(spark, feed, tmp_path):
    warm.land(tmp_path / "storage", feed)
    warm.update(tmp_path / "storage")
    duckdb_whole.main(feed, tmp_path / "duckdb")
    for name in ("customers_cdc_bronze", *duckdb_whole.TABLES):
        ours = read_table(Storage(tmp_path / "storage"), TableName("main", "default", name))
        columns = [column for column in ours.column_names if column not in ("_rescued_data", "source_file")]
        theirs = pq.read_table(tmp_path / "duckdb" / f"{name}.parquet")
        assert ours.num_rows and rows_of(map(tuple, columns_of(theirs, columns))) == rows_of(
            map(tuple, columns_of(ours, columns))
        ), name
    events = good(feed)
    for name in TABLES:
        assert stored(Storage(tmp_path / "storage"), name) == expected(events)[name]


def test_the_floor_writes_every_line(spark, feed, tmp_path):
    floor.write_table(spark, feed, tmp_path / "table")
    table = DeltaTable(tmp_path / "table").to_pyarrow_table()
    assert table.num_rows == ROWS
    lines = [line for path in feed.iterdir() for line in path.read_text().splitlines()]
    corrupt = [line for line in lines if not line.endswith("}")]
    assert corrupt and set(corrupt) <= set(table["_corrupt_record"].to_pylist())


def test_new_events_are_of_every_kind_and_always_the_same(feed, tmp_path):
    paths = inputs.new_events(tmp_path / "new", feed, 2, 100)
    again = inputs.new_events(tmp_path / "again", feed, 2, 100)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]
    known = {}
    for event in good(feed):
        known.setdefault(event["id"], []).append(event["operation_date"])
    for path in paths:
        events = [json.loads(line) for line in path.read_text().splitlines()]
        assert len(events) == 100 and {event["operation"] for event in events} == {
            "APPEND",
            "UPDATE",
            "DELETE",
        }
        old = [event for event in events if event["id"] in known]
        late = [
            event
            for event in old
            if datetime.fromisoformat(event["operation_date"]) <= max(known[event["id"]])
        ]
        assert {event["operation"] for event in events if event not in old} == {"APPEND"} and all(
            event["operation"] == "UPDATE" for event in late
        )
        assert 0.5 < len(old) / len(events) < 1 and 0 < len(late) < len(old) / 2


def test_a_reach_is_met_or_not_by_medians():
    figure = Figure(
        "x", "X", "s", 500_000, {"ours": [9, 2, 1], "floor": [1, 1, 8]}, Reach("ours / floor", at_most=2)
    )
    assert (figure.as_json()["value"], figure.as_json()["met"]) == (2, True)
    figure.add("ours", 9)
    assert (figure.as_json()["value"], figure.as_json()["met"]) == (5.5, False)
    figure.events = 20_000
    assert figure.as_json()["met"] is None, "a quick run is judged by no reach"
    assert Figure("x", "X", "MiB", 500_000, {"ours": [9]}, Reach("ours")).as_json()["met"] is None, (
        "a figure without a limit is not judged"
    )


def test_an_earlier_run_is_read_as_it_was_written():
    for told in json.loads((ROOT / "benchmarks/results.json").read_text())["figures"]:
        again = from_json(told).as_json()
        assert {key: again[key] for key in ("name", "events", "measure", "met", "at_most", "at_least")} == {
            key: told[key] for key in ("name", "events", "measure", "met", "at_most", "at_least")
        }
        assert abs(again["value"] - told["value"]) <= 0.02 * abs(told["value"])


HUNGRY = (
    "import subprocess, sys; "
    "subprocess.run([sys.executable, '-c', 'import time; x = bytearray(150 * 2**20); time.sleep(.5)'])"
)


def test_a_process_is_timed_and_its_whole_tree_weighed(tmp_path):
    done = processes.run([sys.executable, "-c", HUNGRY], tmp_path / "log")
    assert done.seconds >= 0.5 and 150 * MIB < done.peak < 400 * MIB
    with pytest.raises(SystemExit, match="ended with status 3:\nthe last word"):
        processes.run(
            [sys.executable, "-c", "import sys; print('the last word'); sys.exit(3)"], tmp_path / "log"
        )


def test_growth_is_told_where_both_sizes_were_measured():
    small, large = (
        Figure("new-events-scd2", "", "s", size, {"ours": [seconds]})
        for size, seconds in ((500_000, 2), (5_000_000, 3))
    )
    assert [(each.name, each.runs) for each in growth([small, large])] == [("growth-scd2", {"ours": [1.5]})]
    assert list(growth([small])) == []


def test_a_run_ends_with_its_figures_its_table_and_its_picture(tmp_path, monkeypatch):
    "Whatever was measured: here the figures of the last run."
    told = [from_json(each) for each in json.loads((ROOT / "benchmarks/results.json").read_text())["figures"]]
    monkeypatch.setattr(bench, "WORK", tmp_path / "work")
    monkeypatch.setattr(bench, "MEASURED", {"show": lambda _: told})
    done = CliRunner().invoke(bench.app, ["show", "--output", str(tmp_path / "figures.json")])
    assert done.exit_code == 0, done.output
    assert "first-update" in done.output and "ours / floor" in done.output
    written = json.loads((tmp_path / "figures.json").read_text())
    assert [each["name"] for each in written["figures"]][: len(told)] == [
        each.name for each in told
    ] and written["run"]["selected"] == ["show"]
    assert ElementTree.parse(tmp_path / "work/results.svg").getroot().tag.endswith("svg")


def test_results_hold_no_path_and_no_host():
    text = (ROOT / "benchmarks/results.json").read_text()
    assert str(Path.home()) not in text and str(ROOT) not in text and socket.gethostname() not in text
    assert not [word for word in ("/home", "/root", "/tmp") if word in text]
