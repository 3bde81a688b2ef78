"Snapshots through updates: the documentation's examples, and what goes wrong."

import json
from datetime import datetime
from functools import partial
from unittest import mock

import pytest

from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update import snapshot_flow
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

PERIODIC = """
from pyspark import pipelines as dp
@dp.temporary_view
def places(): return spark.read.schema('key int, value string').json('/Volumes/main/default/raw/places')
for number in (1, 2):
    dp.create_streaming_table(f'scd{number}')
    dp.create_auto_cdc_from_snapshot_flow(f'scd{number}', 'places', ['key'], stored_as_scd_type=number)
"""
HISTORICAL = """
import dlt, os
def following(latest):
    days = '/Volumes/main/default/raw/days'
    later = [int(name[:-5]) for name in os.listdir(days) if latest is None or int(name[:-5]) > latest]
    if later: return spark.read.schema(SCHEMA).json(f'{days}/{min(later)}.json'), min(later)
dlt.create_streaming_table('history')
dlt.apply_changes_from_snapshot('history', following, ['key'], 2, track_history_column_list=TRACKED)
@dlt.table
def count(): return spark.read.table('history').groupBy('key').count()
"""


class Pipeline:
    "A folder of sources and a storage folder."

    def __init__(self, folder):
        self.sources, self.storage = folder / "transformations", Storage(folder / "storage")
        self.sources.mkdir()

    def write(self, text):
        (self.sources / "flows.py").write_text(text.lstrip())
        return self

    def write_history(self, schema="key int, value string", tracked="None", change=None):
        text = HISTORICAL.replace("SCHEMA", repr(schema)).replace("TRACKED", tracked)
        return self.write(text if change is None else text.replace(*change))

    def land(self, folder, name, rows):
        path = self.storage.root / "Volumes/main/default/raw" / folder
        path.mkdir(parents=True, exist_ok=True)
        (path / f"{name}.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return self

    def run(self, **options):
        return run_update(UpdateRequest((str(self.sources),), self.storage.root, **options))

    def rows(self, table):
        found = read_table(self.storage, TableName("main", "default", table))
        return sorted((tuple(row.values()) for row in found.to_pylist()), key=str)


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path)


def places(**values):
    return [{"key": int(key[1:]), "value": value} for key, value in values.items()]


def at(hour):
    return datetime(2024, 1, 1, hour)


def note_latest(latest_versions, now, latest):
    latest_versions.append(latest)
    return now


@pytest.mark.parametrize(
    "before, after, history",
    [
        (
            places(k1="Oaxaca", k2="Monterrey", k3="Tijuana"),
            places(k2="Carmel", k3="Los Angeles", k4="Death Valley", k6="Kings Canyon"),
            [
                (1, "Oaxaca", 0, 12),
                (2, "Carmel", 12, None),
                (2, "Monterrey", 0, 12),
                (3, "Los Angeles", 12, None),
                (3, "Tijuana", 0, 12),
                (4, "Death Valley", 12, None),
                (6, "Kings Canyon", 12, None),
            ],
        ),
        (
            places(k1="a1", k2="a2"),
            places(k2="b2", k3="a3"),
            [(1, "a1", 0, 12), (2, "a2", 0, 12), (2, "b2", 12, None), (3, "a3", 12, None)],
        ),
    ],
    ids=["new docs", "old docs"],
)
def test_periodic_examples(pipeline, before, after, history):
    pipeline.write(PERIODIC)
    latest_versions = []
    for hour, rows in ((0, before), (12, after)):
        with mock.patch.object(
            snapshot_flow,
            "snapshot_ingestion_time",
            partial(note_latest, latest_versions, at(hour)),
        ):
            result = pipeline.land("places", "now", rows).run()
            assert result.state == "COMPLETED", result.error
    assert latest_versions == [None, None, at(0), at(0)]
    assert pipeline.rows("scd1") == sorted((row["key"], row["value"]) for row in after)

    def hours(moment):
        return None if moment is None else moment.hour

    assert [
        (key, value, hours(start), hours(end)) for key, value, start, end in pipeline.rows("scd2")
    ] == history
    pipeline.run()  # the same snapshot, later
    assert len(pipeline.rows("scd2")) == len(history)


def test_rules_of_a_snapshot_are_counted_and_deletes_pass_them(pipeline):
    pipeline.write(
        PERIODIC.replace(
            "(f'scd{number}')", "(f'scd{number}', expect_all_or_drop={'known': 'value IS NOT NULL'})"
        ).replace("(1, 2)", "(2,)")
    )

    def counted():
        flow = pipeline.run().flows[0]
        return (
            flow.status,
            flow.num_upserted_rows,
            flow.num_deleted_rows,
            [(rule.passed_records, rule.failed_records) for rule in flow.expectations],
        )

    pipeline.land("places", "now", places(k1="Oaxaca", k2=None))
    assert counted() == ("COMPLETED", 1, 0, [(1, 1)])
    pipeline.land("places", "now", places(k3="Tijuana"))
    assert counted() == ("COMPLETED", 1, 1, [(2, 0)])
    pipeline.land("places", "now", places(k1="Oaxaca"))  # it returns as it was
    assert counted() == ("COMPLETED", 1, 1, [(2, 0)])
    assert sorted((*row[:2], row[3] is None) for row in pipeline.rows("scd2")) == [
        (1, "Oaxaca", False),
        (1, "Oaxaca", True),
        (3, "Tijuana", False),
    ]


def test_historical_example(pipeline):
    pipeline.write_history().land("days", 1, places(k1="Oaxaca", k2="Monterrey", k3="Tijuana"))
    pipeline.land("days", 2, places(k2="Carmel", k3="Los Angeles", k4="Death Valley"))
    result = pipeline.run()
    assert result.state == "COMPLETED", result.error
    expected = [
        (1, "Oaxaca", 1, 2),
        (2, "Carmel", 2, None),
        (2, "Monterrey", 1, 2),
        (3, "Los Angeles", 2, None),
        (3, "Tijuana", 1, 2),
        (4, "Death Valley", 2, None),
    ]
    assert pipeline.rows("history") == expected
    flow = next(flow for flow in result.flows if flow.dataset.endswith("history"))
    assert (flow.num_upserted_rows, flow.num_deleted_rows) == (6, 1)
    assert pipeline.rows("count") == [(1, 1), (2, 2), (3, 2), (4, 1)]
    # killed between commit and note: the table itself says how far it is
    pipeline.land("days", 3, places(k2="Carmel", k3="Reno", k4="Death Valley"))
    with mock.patch.object(snapshot_flow, "note_version", side_effect=OSError("killed")):
        assert pipeline.run().state == "FAILED"
    after = pipeline.rows("history")
    assert (3, "Reno", 3, None) in after
    assert pipeline.run().state == "COMPLETED" and pipeline.rows("history") == after
    # a broken snapshot is refused and changes nothing
    for wrong, words in (
        ([*places(k9="a"), *places(k9="b")], 'DUPLICATE_KEY_VIOLATION the key {"key":9} occurs 2 times'),
        ([{"value": "nobody"}], "a key is NULL in the row {"),
    ):
        result = pipeline.land("days", 4, wrong).run()
        assert result.state == "FAILED" and words in result.error and "flows.py:" in result.error, (
            result.error
        )
        assert pipeline.rows("history") == after
    # a version of another type, and another declaration, are refused with what mends them
    pipeline.write_history(change=(", min(later)\n", ", str(min(later))\n"))
    with pytest.raises(
        PipelineError, match="`sequence_type` changed from 'bigint' to 'string'.*--full-refresh history"
    ):
        pipeline.run()
    pipeline.write_history(change=("['key'], 2", "['key'], 1"))
    with pytest.raises(PipelineError, match="--full-refresh history"):
        pipeline.run()
    assert pipeline.rows("history") == after
    pipeline.land("days", 4, [])
    assert pipeline.run(full_refresh=("history",)).state == "COMPLETED"
    assert pipeline.rows("history") == []


def test_historical_example_with_tracked_columns(pipeline):
    def rows(*values):
        return [
            dict(zip(("key", "TrackingColumn", "NonTrackingColumn"), each, strict=True)) for each in values
        ]

    pipeline.write_history("key int, TrackingColumn string, NonTrackingColumn string", "['TrackingColumn']")
    pipeline.land("days", 1, rows((1, "a1", "b1"), (2, "a2", "b2"), (4, "a4", "b4")))
    pipeline.land("days", 2, rows((2, "a2_new", "b2"), (3, "a3", "b3"), (4, "a4", "b4_new")))
    result = pipeline.run()
    assert result.state == "COMPLETED", result.error
    assert pipeline.rows("history") == [
        (1, "a1", "b1", 1, 2),
        (2, "a2", "b2", 1, 2),
        (2, "a2_new", "b2", 2, None),
        (3, "a3", "b3", 2, None),
        (4, "a4", "b4_new", 1, None),
    ]
