"Which versions of a table must stay: for readers, for flows, for time travel."

import pytest
from growing_tables import commit, create, merge, rows

from cdc_local.delta.retention import (
    FILE_RETENTION,
    LOG_CLEANUP,
    LOG_RETENTION,
    MOST_VERSIONS,
    READER_SECONDS,
    Commit,
    UnreadVersion,
    find_kept_history,
    list_removed_files,
    parse_interval,
    read_commits,
)
from cdc_local.errors import UsageError

NOW, HOUR, DAY = 1_000_000_000.0, 3600.0, 86400.0


def history(versions, spacing=HOUR, size=1000, last=HOUR):
    "Commits that each remove one file, the newest `last` seconds ago."
    return [
        Commit(number, NOW - last - (versions - 1 - number) * spacing, {f"{number}": size} if number else {})
        for number in range(versions)
    ]


def kept(commits, properties=(), live_bytes=10**6, **options):
    found = find_kept_history(commits, dict(properties), live_bytes, NOW, **options)
    return found.files_from, found.log_from


def test_a_table_without_properties_keeps_its_newest_versions():
    assert kept(history(5)) == (0, 0)
    assert kept(history(100)) == (100 - MOST_VERSIONS, 100 - MOST_VERSIONS)


def test_removed_files_may_be_twice_as_large_as_the_table():
    commits = history(10, size=100_000)
    assert kept(commits, live_bytes=150_000) == (6, 6)  # the files that versions 7, 8 and 9 removed
    assert kept(commits, live_bytes=149_999) == (7, 7)
    assert kept(commits, live_bytes=1) == (9, 9)


def test_what_is_older_than_a_week_goes_however_small_it_is():
    # version 0 was the newest one until eight days ago, version 1 is it still
    assert kept(history(2, spacing=DAY, last=8 * DAY)) == (1, 1)
    assert kept(history(2, spacing=DAY, last=6 * DAY)) == (0, 0)


def test_a_reader_at_work_keeps_its_files_whatever_is_said():
    commits = history(6, spacing=READER_SECONDS / 3, size=10**6, last=1)
    # versions 0 and 1 were the newest ones until 41 and 31 seconds ago, version 2 until 21
    assert kept(commits, retain_seconds=0) == (2, 2)
    assert kept(commits, live_bytes=1) == (2, 2)
    assert kept(commits, {FILE_RETENTION: "interval 0 seconds"}) == (2, 2)


def test_a_table_is_kept_as_its_properties_say():
    commits = history(100)
    assert kept(commits, {FILE_RETENTION: "interval 50 hours"}) == (49, 49)
    # a log entry lives as long as the files that it removed, or longer
    assert kept(commits, {FILE_RETENTION: "interval 50 hours", LOG_RETENTION: "interval 1 hour"}) == (49, 49)
    assert kept(commits, {FILE_RETENTION: "interval 1 hour", LOG_RETENTION: "interval 2 days"}) == (98, 51)
    assert kept(commits, {LOG_RETENTION: "interval 2 days"}) == (90, 51)
    assert kept(commits, {LOG_CLEANUP: "false"}) == (90, 0)


def test_a_time_that_is_given_counts_instead_of_properties_and_budget():
    commits = history(100)
    assert kept(commits, {FILE_RETENTION: "interval 7 days"}, retain_seconds=3 * HOUR) == (96, 96)
    assert kept(commits, live_bytes=1, retain_seconds=50 * HOUR) == (49, 49)


def test_what_a_flow_has_yet_to_read_stays():
    commits = history(100)
    found = find_kept_history(commits, {}, 10**6, NOW, UnreadVersion(7, "clean"))
    assert (found.files_from, found.log_from, found.flow) == (7, 7, "clean")
    found = find_kept_history(commits, {}, 10**6, NOW, UnreadVersion(99, "clean"), retain_seconds=0)
    assert (found.files_from, found.log_from, found.flow) == (99, 99, "")


def test_a_clock_that_was_set_back_removes_nothing():
    commits = [Commit(number, NOW + DAY - number, {"f": 10**9}) for number in range(40)]
    assert kept(commits) == (0, 0)


@pytest.mark.parametrize(
    "text, seconds",
    [
        ("interval 7 days", 604800),
        ("INTERVAL 1 week", 604800),
        ("interval 1 day 30 minutes", 88200),
        ("2 hours", 7200),
    ],
)
def test_a_duration_is_read(text, seconds):
    assert parse_interval(text, FILE_RETENTION) == seconds


@pytest.mark.parametrize(
    "text", ["", "interval", "7", "interval 7 moons", "interval -1 days", "interval 7 days 3"]
)
def test_a_duration_that_delta_does_not_know_is_refused(text):
    with pytest.raises(UsageError, match=f"{FILE_RETENTION} is '{text}'"):
        parse_interval(text, FILE_RETENTION)


def test_commits_are_read_with_the_files_that_they_removed(tmp_path):
    path = create(tmp_path / "t")
    commit(path, rows(1, 2))
    merge(path, rows(2, 3, value="b"), 0)
    commits = read_commits(path / "_delta_log")
    assert [found.version for found in commits] == [0, 1, 2]
    [removed] = list_removed_files(commits, 0)
    assert commits[2].removed[removed] == (path / removed).stat().st_size
    assert list_removed_files(commits, 0, 1) == set() == list_removed_files(commits, 3)
    (path / "_delta_log" / f"{1:020}.json").unlink()
    assert [found.version for found in read_commits(path / "_delta_log")] == [2]
