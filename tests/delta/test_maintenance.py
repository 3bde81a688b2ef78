"A table that grows by small commits stays small, and loses nothing that rows, streams or readers need."

import json
import random
import shutil

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from growing_tables import age, commit, create, log_versions, merge, rows, stored

from cdc_local.delta import maintenance
from cdc_local.delta.log import read_change_version, read_table_version
from cdc_local.delta.maintenance import (
    choose_file_size,
    list_disk_files,
    maintain_table,
    measure_usage,
    plan_maintenance,
)
from cdc_local.delta.retention import FILE_RETENTION, MOST_VERSIONS, UnreadVersion


def maintain(path, **options):
    plan = plan_maintenance(path, **options)
    maintain_table(plan)
    return plan


@pytest.fixture
def appended(tmp_path):
    "A table of 60 commits with a row each."
    path = create(tmp_path / "appended")
    for number in range(60):
        commit(path, rows(number), number)
    return path


def test_small_files_become_few_and_no_row_changes(appended):
    before, transaction = stored(appended), DeltaTable(str(appended)).transaction_version("stream")
    definition = DeltaTable(str(appended)).metadata()
    plan = maintain(appended)
    table = DeltaTable(str(appended))
    assert (plan.rewrite.files, len(table.file_uris())) == (60, 1)
    assert stored(appended) == before and table.transaction_version("stream") == transaction == 59
    assert (table.metadata().id, table.metadata().configuration) == (definition.id, definition.configuration)
    assert plan_maintenance(appended).rewrite is None


def test_a_compaction_is_no_news_to_a_stream_and_has_a_checksum(appended):
    identity, version = read_table_version(appended)
    maintain(appended)
    log = appended / "_delta_log"
    actions = [json.loads(line) for line in (log / f"{version + 1:020}.json").read_text().splitlines()]
    files = [action[kind] for action in actions for kind in ("add", "remove") if kind in action]
    assert len(files) == 61 and not any(file["dataChange"] for file in files)
    assert read_table_version(appended)[1] == version + 1
    assert read_change_version(appended) == (identity, version)
    checksum = json.loads((log / f"{version + 1:020}.crc").read_text())
    [size] = DeltaTable(str(appended)).get_add_actions()["size_bytes"].to_pylist()
    assert (checksum["numFiles"], checksum["tableSizeBytes"]) == (1, size)


def test_the_log_begins_with_a_checkpoint_and_what_is_kept_can_be_read(appended):
    newest = DeltaTable(str(appended)).version()
    before = {version: stored(appended, version) for version in range(newest - MOST_VERSIONS + 1, newest + 1)}
    age(appended, 60)
    plan = maintain(appended)
    assert plan.checkpoints == (newest - MOST_VERSIONS + 1,)
    assert log_versions(appended)[0] == newest - MOST_VERSIONS + 1
    assert {version: stored(appended, version) for version in before} == before
    oldest = DeltaTable(str(appended), version=newest - MOST_VERSIONS + 1)
    assert oldest.transaction_version("stream") == newest - MOST_VERSIONS


def test_old_files_go_when_nobody_needs_them(appended):
    age(appended, 60)
    maintain(appended)
    rows_before = stored(appended)
    assert len(list_disk_files(appended)) == 61  # the files that were just replaced: a reader may be at work
    assert not plan_maintenance(appended, retain_seconds=0).old_files
    age(appended, 60)
    assert len(maintain(appended, retain_seconds=0).old_files) == 60
    assert len(list_disk_files(appended)) == 1 and stored(appended) == rows_before
    assert plan_maintenance(appended, retain_seconds=0).is_empty


def test_a_reader_at_work_reads_on(appended):
    reader, before = DeltaTable(str(appended)), stored(appended)
    age(appended, 3600)
    for _ in range(2):
        maintain(appended, retain_seconds=0)
    assert sorted(map(repr, reader.to_pyarrow_table().to_pylist())) == before


def test_a_flow_that_is_behind_finds_commits_and_files(appended):
    identity, _ = read_table_version(appended)
    unread = {identity: UnreadVersion(7, "clean")}
    before = {version: stored(appended, version) for version in range(7, 61)}
    for _ in range(2):
        age(appended, 3600)
        plan = maintain(appended, unread=unread, retain_seconds=0)
    assert plan.flow == "clean" and log_versions(appended)[0] <= 7
    assert {version: stored(appended, version) for version in before} == before
    maintain(appended, unread={identity: UnreadVersion(61, "clean")}, retain_seconds=0)
    assert len(list_disk_files(appended)) == 1


def test_time_travel_reaches_as_far_as_the_property_says(tmp_path):
    path = create(tmp_path / "t", **{FILE_RETENTION: "interval 7 days"})
    for number in range(60):
        commit(path, rows(number), number)
    before = {version: stored(path, version) for version in range(61)}
    for _ in range(2):
        age(path, 3600)
        maintain(path)
    assert {version: stored(path, version) for version in before} == before
    assert [file.name[:20] for file in (path / "_delta_log").glob("*.checkpoint.parquet")] == [f"{60:020}"]
    age(path, 8 * 86400)
    maintain(path)
    assert len(list_disk_files(path)) == 1


def test_a_table_that_is_merged_into_is_kept_in_files_that_a_merge_need_not_all_rewrite(tmp_path):
    path, choose = create(tmp_path / "t", keys=["id"]), random.Random(1)
    ids, values = range(60_000), [choose.randbytes(12).hex() for _ in range(60_000)]
    noise = pa.table({"id": [f"{number:06}" for number in ids], "value": values})
    commit(path, noise, 0)
    assert plan_maintenance(path).rewrite is None  # no merge has come yet
    for number in (1, 2):
        merge(path, rows(number, value="b"), number)
    before = stored(path)
    plan = maintain(path)
    sizes = DeltaTable(str(path)).get_add_actions()["size_bytes"].to_pylist()
    assert plan.rewrite.keys == ("id",) and len(sizes) > 10 and stored(path) == before
    for number in range(3, 9):
        merge(path, rows(number * 5000, 59_000 - number, value="c"), number)
    later = DeltaTable(str(path)).get_add_actions()["size_bytes"].to_pylist()
    assert max(later) < 2 * max(sizes) and len(later) <= len(sizes)
    assert DeltaTable(str(path)).history(1)[0]["operationMetrics"]["num_target_files_removed"] <= 2
    assert plan_maintenance(path).rewrite is None
    assert plan_maintenance(path, most_bytes=0).rewrite is None


def test_a_partitioned_table_keeps_its_partitions(tmp_path):
    path, days = tmp_path / "t", ("a b%/c", "2", None)
    for number in range(45):
        new = pa.table({"id": [number], "day": pa.array([days[number % 3]], pa.string())})
        write_deltalake(str(path), new, mode="append", partition_by=["day"])
    before = stored(path)
    maintain(path)
    age(path, 60)
    maintain(path, retain_seconds=0)
    assert stored(path) == before and len(list_disk_files(path)) == 3


def test_files_of_a_killed_writer_go_after_an_hour_and_other_folders_stay(appended):
    left, private = appended / "part-00000-left.parquet", appended / "_change_data" / "kept.parquet"
    private.parent.mkdir()
    for file in (left, private):
        shutil.copy(DeltaTable(str(appended)).file_uris()[0], file)
    maintain(appended, retain_seconds=0)
    assert left.exists()
    age(appended, 3700)
    maintain(appended, retain_seconds=0)
    assert private.exists() and not left.exists()


@pytest.mark.parametrize("step", ["checkpoint", "first file", "last file"])
def test_what_was_killed_is_gone_on_with(appended, monkeypatch, step):
    age(appended, 60)
    before, plan = stored(appended), plan_maintenance(appended, retain_seconds=0)
    doomed = [*plan.old_log, *plan.old_files]
    victim = {"first file": doomed[0], "last file": doomed[-1]}.get(step)
    unlink = type(appended).unlink

    def die(path, missing_ok=False):
        if path == victim or step == "checkpoint":
            raise KeyboardInterrupt
        unlink(path, missing_ok=missing_ok)

    monkeypatch.setattr(type(appended), "unlink", die)
    with pytest.raises(KeyboardInterrupt):
        maintain_table(plan)
    monkeypatch.undo()
    assert stored(appended) == before
    age(appended, 60)
    for _ in range(2):
        maintain(appended, retain_seconds=0)
        age(appended, 60)
    assert stored(appended) == before and len(list_disk_files(appended)) == 1


def test_a_table_with_features_that_delta_rs_does_not_know_is_left_alone(tmp_path):
    path = tmp_path / "t"
    for number in range(60):
        write_deltalake(
            str(path), rows(number), mode="append", configuration={"delta.enableChangeDataFeed": "true"}
        )
    plan = plan_maintenance(path)
    assert (
        plan.is_empty and plan.reason.startswith("the table has the ") and plan.usage == measure_usage(path)
    )


def test_files_with_timestamps_in_the_old_format_stay_as_they_are(appended, monkeypatch):
    monkeypatch.setattr(maintenance, "can_read_files", lambda files: False)
    assert plan_maintenance(appended).rewrite is None


def test_the_size_of_files_grows_with_the_table():
    mebi = 2**20
    assert [choose_file_size(live) for live in (0, mebi, 16 * mebi, 17 * mebi, 2**40)] == [
        2**16, 2**16, mebi // 2, mebi, 128 * mebi,
    ]  # fmt: skip
