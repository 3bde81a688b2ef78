"The versions of snapshots."

from datetime import datetime, timedelta, timezone

import pytest

pytest.importorskip("pyspark")

from cdc_local.storage import read_json
from cdc_local.update.snapshot_flow import note_version, snapshot_ingestion_time


def test_the_version_of_a_snapshot_rises_when_the_clock_does_not():
    assert snapshot_ingestion_time(datetime(9999, 1, 1)) == datetime(9999, 1, 1, 0, 0, 0, 1)
    before = datetime.now()
    assert all(
        before <= snapshot_ingestion_time(latest) <= datetime.now() for latest in (None, datetime(2024, 1, 1))
    )


def test_a_version_is_noted_in_utc_with_its_type(tmp_path):
    noted = []
    for version in (7, "7", datetime(2024, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))):
        note_version(tmp_path / "version.json", version)
        noted.append(read_json(tmp_path / "version.json"))
    assert noted == [
        {"version": "7", "type": "bigint"},
        {"version": "7", "type": "string"},
        {"version": "2024-01-01 00:00:00+00:00", "type": "timestamp"},
    ]
