"""What a chapter can't show: another time zone of the machine."""

import time
from datetime import datetime

import pytest

from cdc_local.engines.session import local_spark
from cdc_utils import gold


@pytest.fixture
def machine_far_away(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def test_a_naive_datetime_is_wall_clock_of_the_session_not_of_the_machine(machine_far_away):
    history = local_spark().sql(
        "SELECT 'a' AS id, timestamp '2026-01-01 12:00:00' AS __START_AT, CAST(NULL AS timestamp) AS __END_AT"
    )
    assert gold.as_of(history, datetime(2026, 1, 1, 12, 0)).count() == 1
    assert gold.as_of(history, datetime(2026, 1, 1, 11, 59, 59)).count() == 0
