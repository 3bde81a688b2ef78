"Real data: the history of airports over six releases equals what plain Python finds in the snapshots."

import gzip
import json
import random
from collections import Counter
from pathlib import Path

import pytest

pytestmark = pytest.mark.sail

DATA = Path(__file__).parents[1] / "data"
COLUMNS = ("iata", "name", "city", "subd", "country", "elevation", "tz")
SCHEMA = ", ".join(f"{name} string" for name in ("icao", *COLUMNS, "operation")) + ", sequence int"


def lines(name):
    return [json.loads(line) for line in gzip.decompress((DATA / name).read_bytes()).decode().splitlines()]


@pytest.fixture(scope="module")
def snapshots():
    "Release by release, in order: icao to the tuple of COLUMNS."
    found = {}
    for icao, release, *values in lines("airports_snapshots.json.gz"):
        assert icao not in found.setdefault(release, {})
        found[release][icao] = tuple(values)
    return [found[release] for release in sorted(found)]


@pytest.fixture(scope="module")
def changes():
    return lines("airports_changes.json.gz")


def expected_history(snapshots, tracked=COLUMNS):
    "The SCD2 rows that the snapshots tell of: (icao, *values, start, end), worked out airport by airport."
    rows, places = [], [COLUMNS.index(name) for name in tracked]
    for icao in set().union(*snapshots):
        open_row = None  # [values, start]
        for sequence, found in enumerate(snapshots, 1):
            values = found.get(icao)
            same = open_row and values and all(values[place] == open_row[0][place] for place in places)
            if same:
                open_row[0] = values  # untracked columns are updated in place
                continue
            if open_row:
                rows.append((icao, *open_row[0], open_row[1], sequence))
            open_row = [values, sequence] if values else None
        if open_row:
            rows.append((icao, *open_row[0], open_row[1], None))
    return Counter(rows)


def test_data_is_worth_testing_with(snapshots, changes):
    assert len(snapshots) == 6
    assert Counter(change["operation"] for change in changes).keys() == {"APPEND", "UPDATE", "DELETE"}
    history = expected_history(snapshots)
    versions = Counter(row[0] for row in history)
    assert max(versions.values()) >= 4, "some airport has four versions"
    returned = {change["icao"] for change in changes if change["operation"] == "DELETE"} & set(snapshots[-1])
    assert len(returned) > 5, "some airports came back"
    assert sum(icao in snapshots[0] and count == 1 for icao, count in versions.items()) > 200, (
        "some never changed"
    )


def test_changes_lead_from_each_snapshot_to_the_next(snapshots, changes):
    table = {}
    for sequence, snapshot in enumerate(snapshots, 1):
        for change in (change for change in changes if change["sequence"] == sequence):
            present = change["icao"] in table
            assert present == (change["operation"] != "APPEND"), change
            if change["operation"] == "DELETE":
                del table[change["icao"]]
            else:
                table[change["icao"]] = tuple(change[name] for name in COLUMNS)
        assert table == snapshot


def test_files_are_small():
    assert sum(path.stat().st_size for path in DATA.glob("airports_*.json.gz")) <= 500_000


def as_frame(spark, changes):
    names = ("icao", *COLUMNS, "operation", "sequence")
    return spark.createDataFrame([tuple(change[name] for name in names) for change in changes], SCHEMA)


def found_history(spark, changes, **arguments):
    from cdc_utils import scd2

    frame = as_frame(spark, changes)
    found = scd2.history(
        frame, ["icao"], "sequence", "operation = 'DELETE'", columns=["icao", *COLUMNS], **arguments
    )
    return Counter(tuple(row) for row in found.select("icao", *COLUMNS, "__START_AT", "__END_AT").collect())


def test_history_equals_the_snapshots(spark, snapshots, changes):
    assert found_history(spark, changes) == expected_history(snapshots)


def test_order_and_copies_make_no_difference(spark, snapshots, changes):
    shuffled = changes + changes[::3]
    random.Random(1).shuffle(shuffled)
    assert found_history(spark, shuffled) == expected_history(snapshots)


def test_history_of_some_columns(spark, snapshots, changes):
    expected = expected_history(snapshots, tracked=("name", "city"))
    assert sum(expected.values()) < sum(expected_history(snapshots).values())
    assert found_history(spark, changes, tracked=["name", "city"]) == expected


def test_open_rows_are_the_last_snapshot(spark, snapshots, changes):
    from cdc_utils import scd2

    frame = as_frame(spark, changes)
    history = scd2.history(frame, ["icao"], "sequence", "operation = 'DELETE'", columns=["icao", *COLUMNS])
    opened = history.where("__END_AT IS NULL").select("icao", *COLUMNS).collect()
    assert {row[0]: tuple(row)[1:] for row in opened} == snapshots[-1] and len(opened) == len(snapshots[-1])


PIPELINE = f"""
from pyspark import pipelines as dp

@dp.table
def airport_changes():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").schema("{SCHEMA}")
    return files.load("/Volumes/main/default/raw/airports")

dp.create_streaming_table("airports_history")
dp.create_auto_cdc_flow("airports_history", "airport_changes", ["icao"], "sequence",
    apply_as_deletes="operation = 'DELETE'", except_column_list=["operation", "sequence"],
    stored_as_scd_type=2)
"""


def test_a_run_over_three_updates_out_of_order(tmp_path, snapshots, changes):
    from cdc_local.delta.reader import read_table
    from cdc_local.storage import Storage, TableName
    from cdc_local.update.request import UpdateRequest
    from cdc_local.update.run import run_update

    (tmp_path / "airports.py").write_text(PIPELINE)
    landing = tmp_path / "storage/Volumes/main/default/raw/airports"
    landing.mkdir(parents=True)
    shuffled = list(changes)
    random.Random(2).shuffle(shuffled)
    for update in range(3):
        part = shuffled[update::3]
        (landing / f"{update}.json").write_text("".join(json.dumps(change) + "\n" for change in part))
        result = run_update(UpdateRequest((str(tmp_path / "airports.py"),), tmp_path / "storage"))
        assert [flow.num_output_rows for flow in result.flows] == [len(part)] * 2, result.error
    table = read_table(Storage(tmp_path / "storage"), TableName("main", "default", "airports_history"))
    rows = Counter(
        tuple(row[name] for name in ("icao", *COLUMNS, "__START_AT", "__END_AT")) for row in table.to_pylist()
    )
    assert rows == expected_history(snapshots)
