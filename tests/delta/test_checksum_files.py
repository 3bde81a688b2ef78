"What the checksum beside a commit says, and where there is none; test_checksums.py asks Delta Lake."

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta import log as delta_log
from cdc_local.delta.checksum import find_definition, read_definition, summarize_version, write_checksum

COLUMNS = pa.schema([("id", pa.int32()), ("city", pa.string())])


def visits(*rows):
    return pa.table([*zip(*rows, strict=True)], schema=COLUMNS)


def versions(log, suffix):
    "The versions whose file with that suffix lies in a log."
    return sorted(int(file.stem) for file in log.glob(f"[0-9]*.{suffix}"))


def checksum_of(log, version):
    return log / f"{version:020}.crc"


@pytest.fixture
def table(tmp_path):
    "A table by delta-rs: version 0 defines it, versions 1 and 2 add a file each."
    table = DeltaTable.create(str(tmp_path / "visits"), COLUMNS)
    write_deltalake(table, visits((1, "Oslo"), (2, "Rome")), mode="append")
    write_deltalake(table, visits((3, "Oslo")), mode="append")
    return table


@pytest.fixture
def log(table, tmp_path):
    return tmp_path / "visits/_delta_log"


def test_a_table_is_what_its_newest_definition_says(table, log):
    assert (versions(log, "json"), versions(log, "crc")) == ([0, 1, 2], [])
    found = find_definition(log, 2)
    assert found == find_definition(log, 0)
    fields = json.loads(found["metadata"]["schemaString"])["fields"]
    assert [(field["name"], field["type"]) for field in fields] == [("id", "integer"), ("city", "string")]
    assert found["protocol"] == {"minReaderVersion": 1, "minWriterVersion": 2}


def test_a_definition_is_the_newest_of_each_kind(tmp_path):
    described = [json.dumps({"metaData": {"description": words}}) for words in ("first", "second")]
    protocol = json.dumps({"protocol": {"minReaderVersion": 1}})
    (tmp_path / f"{0:020}.json").write_text("\n".join([protocol, described[0]]))
    (tmp_path / f"{1:020}.json").write_text(described[1])
    assert find_definition(tmp_path, 1)["metadata"] == {"description": "second"}


def test_a_checksum_sums_up_the_files_and_repeats_the_definition(table, log):
    definition = find_definition(log, 2)
    size = sum(file.stat().st_size for file in log.parent.glob("*.parquet"))
    assert summarize_version(table, definition) == {
        "tableSizeBytes": size,
        "numFiles": 2,
        "numMetadata": 1,
        "numProtocol": 1,
        **definition,
    }


def test_a_checksum_is_written_beside_the_newest_commit_and_nothing_else_is_left(table, log):
    before = set(log.iterdir())
    write_checksum(table)
    assert set(log.iterdir()) - before == {checksum_of(log, 2)}
    assert json.loads(checksum_of(log, 2).read_text()) == summarize_version(table, find_definition(log, 2))


def test_a_commit_without_a_checksum_breaks_no_chain(table, log):
    write_checksum(table)
    for words in ("Visits", "Who was where"):
        table.alter.set_table_description(words)
    write_deltalake(table, visits((5, "Rome")), mode="append")
    assert versions(log, "crc") == [2]
    write_checksum(table)
    assert versions(log, "crc") == [2, 5]
    assert json.loads(checksum_of(log, 5).read_text())["metadata"]["description"] == "Who was where"


def test_a_checksum_carries_on_what_deleted_commits_said(table, log):
    write_checksum(table)
    write_deltalake(table, visits((4, "Bonn")), mode="append")
    for version in (0, 1):
        (log / f"{version:020}.json").unlink()
    assert find_definition(log, 3) == read_definition(checksum_of(log, 2)) != {}


@pytest.mark.parametrize("content", [{"tableSizeBytes": 9, "numFiles": 1}, '{"tableSizeB', ""])
def test_a_checksum_that_defines_nothing_counts_for_none(table, log, content):
    "One of an old Delta Lake, or one that a crash cut short."
    checksum_of(log, 1).write_text(content if isinstance(content, str) else json.dumps(content))
    (log / f"{0:020}.json").unlink()
    assert read_definition(checksum_of(log, 1)) == {}
    assert find_definition(log, 2) is None


def test_no_checksum_is_written_where_nothing_defines_the_table(table, log):
    table.create_checkpoint()
    (log / f"{1:020}.json").unlink()
    write_checksum(DeltaTable(str(log.parent)))
    assert versions(log, "crc") == []


def test_only_the_newest_commits_are_looked_through(table, log, monkeypatch):
    monkeypatch.setattr("cdc_local.delta.checksum.MOST_COMMITS", 2)
    assert find_definition(log, 1) is not None
    assert find_definition(log, 2) is None
    assert delta_log.MOST_COMMITS == 100


def test_a_checksum_that_is_there_stays_as_it_is(table, log):
    "The protocol forbids to replace one; a table whose checksum and log differ was changed by hand."
    checksum_of(log, 2).write_text('{"numFiles": 3}')
    write_checksum(table)
    assert checksum_of(log, 2).read_text() == '{"numFiles": 3}'


def test_spark_carries_a_checksum_of_ours_on_and_needs_fewer_jobs_by_it(spark, table, log, tmp_path):
    write_checksum(table)
    more = spark.createDataFrame([(4, "Bonn")], "id int, city string").coalesce(1)
    more.write.format("delta").mode("append").save(str(log.parent))
    before, after = (json.loads(checksum_of(log, version).read_text()) for version in (2, 3))
    assert after["numFiles"] == before["numFiles"] + 1
    assert after["metadata"]["schemaString"] == before["metadata"]["schemaString"]
    bare = Path(shutil.copytree(log.parent, tmp_path / "bare"))
    for file in (bare / "_delta_log").glob("*.crc"):
        file.unlink()

    def read(path):
        "The rows of a table, and how many jobs Spark ran to find them."
        spark._jvm.org.apache.spark.sql.delta.DeltaLog.clearCache()
        spark.sparkContext.setJobGroup(str(path), "reads")
        rows = sorted(map(tuple, spark.read.format("delta").load(str(path)).collect()))
        return rows, len(spark.sparkContext.statusTracker().getJobIdsForGroup(str(path)))

    (rows, fewer_jobs), (same, more_jobs) = read(log.parent), read(bare)
    assert rows == same == [(1, "Oslo"), (2, "Rome"), (3, "Oslo"), (4, "Bonn")]
    assert fewer_jobs < more_jobs
