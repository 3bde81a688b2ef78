"What the options of a table's reader ask for, and which versions these are."

import os

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.change_feed import check_feed_is_recorded, list_changed_files
from cdc_local.delta.new_files import SourceLostError
from cdc_local.delta.table_options import TableOptions, read_commit_times
from cdc_local.errors import PipelineError

NOON = 1_767_268_800  # 2026-01-01 12:00 UTC


@pytest.fixture
def table(tmp_path):
    "Versions 0, 1, 2 of noon and the two minutes after it; a feed is recorded up to version 1."
    path = tmp_path / "t"
    for number in range(2):
        properties = {"delta.enableChangeDataFeed": "true"} if number == 0 else None
        rows = pa.table({"id": [number]})
        write_deltalake(str(path), rows, mode="append", configuration=properties)
    DeltaTable(str(path)).alter.set_table_properties({"delta.enableChangeDataFeed": "false"})
    for number in range(3):
        seconds = NOON + 60 * number
        os.utime(path / "_delta_log" / f"{number:020}.json", (seconds, seconds))
    return path


def asked(**options):
    return TableOptions.of(options)


def test_names_of_options_have_no_case():
    assert asked(READCHANGEFEED=True).reads_changes and asked(readChangeData="TRUE").reads_changes
    assert not asked(readChangeFeed="false").reads_changes and not TableOptions.of(None).reads_changes
    assert asked(SkipChangeCommits="true").skips_changes
    assert asked(startingVersion=1).is_known and not asked(ignoreDeletes="true").is_known


@pytest.mark.parametrize(
    "options, start",
    [
        ({}, None),
        ({"startingVersion": 1}, 1),
        ({"startingVersion": "Latest"}, 3),
        ({"startingTimestamp": "2026-01-01 12:01:00"}, 1),
        ({"startingTimestamp": "2026-01-01T12:01:01"}, 2),
        ({"startingTimestamp": "2026-01-01"}, 0),
        ({"startingTimestamp": "2026-01-01 13:01:00+01:00"}, 1),
    ],
)
def test_where_a_stream_begins(table, options, start):
    assert TableOptions.of(options).find_start(table, "UTC") == start


def test_a_moment_names_a_version(table):
    for moment, version in (("12:00:00", 0), ("12:00:59", 0), ("12:01:00", 1), ("12:02:00", 2)):
        assert asked(timestampAsOf=f"2026-01-01 {moment}").find_as_of(table, "UTC") == version, moment
    assert asked(timestampAsOf="2026-01-01 13:01").find_as_of(table, "Europe/Oslo") == 1
    assert asked(versionAsOf="2").find_as_of(table, "UTC") == 2 and asked().find_as_of(table, "UTC") is None
    assert asked(startingVersion=0, endingTimestamp="2026-01-01 12:01:30").find_range(table, "UTC") == (0, 1)
    assert asked(startingVersion=1).find_range(table, "UTC") == (1, 2)


@pytest.mark.parametrize(
    "options, says",
    [
        ({"startingVersion": 3}, "startingVersion is 3, and t is at version 2"),
        ({"startingVersion": "one"}, "startingVersion is 'one'"),
        ({"startingTimestamp": "2027-01-01"}, "later than the newest commit of t"),
        ({"startingTimestamp": "noon"}, "startingTimestamp is 'noon'"),
        ({"startingVersion": 2, "endingVersion": 1}, "from version 2 to version 1"),
        ({"startingVersion": 0, "endingVersion": 7}, "endingVersion is 7, and t is at version 2"),
        ({"startingVersion": 0, "endingTimestamp": "2025-01-01"}, "earlier than the oldest commit of t"),
        ({"startingVersion": "latest"}, "without a version to begin with"),
    ],
)
def test_versions_that_are_not_there_are_refused(table, options, says):
    with pytest.raises(PipelineError, match=says):
        TableOptions.of(options).find_range(table, "UTC")
    for pair in (
        {"startingVersion": 1, "startingTimestamp": "x"},
        {"endingVersion": 1, "ENDINGTIMESTAMP": 1},
    ):
        with pytest.raises(PipelineError, match="are both given"):
            TableOptions.of(pair)
    with pytest.raises(PipelineError, match="are both given"):
        asked(versionAsOf=1, timestampAsOf="2026-01-01").find_as_of(table, "UTC")


def test_no_two_commits_have_one_time(table):
    for number in (1, 2):
        os.utime(table / "_delta_log" / f"{number:020}.json", (NOON, NOON))
    assert read_commit_times(table) == {number: NOON * 1000 + number for number in range(3)}


def test_a_version_without_a_feed_is_refused(table):
    check_feed_is_recorded(table, 0, 1)
    for first in (0, 2):
        with pytest.raises(PipelineError, match="t records no change feed at version 2"):
            check_feed_is_recorded(table, first, 2)


def test_a_commit_that_is_gone_is_lost(table):
    assert [commit.version for commit in list_changed_files(table, 0, 2)] == [0, 1]
    (table / "_delta_log" / f"{1:020}.json").unlink()
    with pytest.raises(SourceLostError, match="version 1 of"):
        list_changed_files(table, 0, 2)
