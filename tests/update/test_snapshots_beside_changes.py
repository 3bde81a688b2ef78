"Snapshots and a feed of changes into one table: whatever comes first, what is newer than a snapshot stands."

import itertools

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

PYTHON = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def following(latest):
    copies = spark.read.table('main.ext.copies')
    if latest is not None:
        copies = copies.where(F.col('at') > latest)
    version = copies.agg(F.min('at')).first()[0]
    if version is not None:
        return copies.where(F.col('at') == version).drop('at'), version

dp.create_streaming_table('places')
dp.create_auto_cdc_from_snapshot_flow('places', following, ['id'], name='copies')
dp.create_auto_cdc_flow('places', 'main.ext.changes', ['id'], 'n', apply_as_deletes="op = 'D'",
    except_column_list=['op', 'n'], name='feed')
"""
SQL = """
CREATE OR REFRESH STREAMING TABLE places;
CREATE FLOW copies AS AUTO CDC INTO places
FROM SNAPSHOT (
  SELECT id, city FROM main.ext.copies WHERE at = (SELECT version FROM current_snapshot_version())
)
WITH VERSION (
  SELECT min(at) AS version FROM main.ext.copies
  WHERE NOT EXISTS (SELECT 1 FROM last_snapshot_version())
    OR at > (SELECT version FROM last_snapshot_version())
  HAVING min(at) IS NOT NULL
)
KEYS (id);
CREATE FLOW feed AS AUTO CDC INTO places FROM STREAM main.ext.changes
KEYS (id) APPLY AS DELETE WHEN op = 'D' SEQUENCE BY n COLUMNS * EXCEPT (op, n);
"""
COPY = {1: "Oslo", 2: "Rome", 3: "Graz"}  # The table after change 10
BEFORE = [
    (1, "Lima", "U", 3),  # 1 reads otherwise in the copy
    (4, "Bern", "U", 4),  # 4 is not in it
    (3, None, "D", 5),  # 3 is in it
]
AFTER = [(2, None, "D", 11), (5, "Kyiv", "U", 12)]
RESULT = [(1, "Oslo"), (3, "Graz"), (5, "Kyiv")]


class Pipeline:
    "A source file, a storage, copies of a table and its changes."

    def __init__(self, folder, sequence=None):
        self.folder, self.storage = folder / "sources", Storage(folder / "storage")
        self.sequence = sequence or pa.int64()
        self.folder.mkdir()
        self.change([])

    def write(self, text=PYTHON, name="flows.py"):
        (self.folder / name).write_text(text.lstrip())
        return self

    def append(self, table, columns):
        write_deltalake(str(self.storage.root / "tables/main/ext" / table), pa.table(columns), mode="append")
        return self

    def copy(self, version, rows):
        ids, cities = pa.array(list(rows), pa.int32()), pa.array(list(rows.values()), pa.string())
        return self.append(
            "copies", {"id": ids, "city": cities, "at": pa.array([version] * len(rows), pa.int64())}
        )

    def change(self, rows):
        types = {"id": pa.int32(), "city": pa.string(), "op": pa.string(), "n": self.sequence}
        values = zip(*rows, strict=True) if rows else [[]] * len(types)
        arrays = [pa.array(column, kind) for column, kind in zip(values, types.values(), strict=True)]
        return self.append("changes", dict(zip(types, arrays, strict=True)))

    def run(self, **options):
        return run_update(UpdateRequest((str(self.folder),), self.storage.root, **options))

    def update(self):
        result = self.run()
        assert result.state == "COMPLETED", result.error
        return result

    def rows(self):
        found = read_table(self.storage, TableName("main", "default", "places"))
        return sorted(tuple(row.values()) for row in found.to_pylist())


@pytest.fixture
def pipeline(tmp_path, spark):
    return Pipeline(tmp_path)


def orders():
    "All orders of three arrivals, each in an update of its own; the first brings the copy or comes with it."
    return list(itertools.permutations(("before", "copy", "after")))


@pytest.mark.parametrize("order", orders(), ids="-".join)
def test_what_comes_first_does_not_matter(pipeline, order):
    pipeline.write().copy(1, {9: "Nowhere"})
    arrivals = {
        "before": lambda: pipeline.change(BEFORE),
        "copy": lambda: pipeline.copy(10, COPY),
        "after": lambda: pipeline.change(AFTER),
    }
    for arrival in order:
        arrivals[arrival]()
        pipeline.update()
    assert pipeline.rows() == RESULT
    pipeline.update()
    assert pipeline.rows() == RESULT


def test_all_at_once(pipeline):
    pipeline.write().copy(10, COPY).change(BEFORE + AFTER).update()
    assert pipeline.rows() == RESULT


def test_in_sql(pipeline):
    pipeline.write(SQL, "flows.sql").copy(10, COPY).change(AFTER).update()
    pipeline.change(BEFORE).update()
    assert pipeline.rows() == RESULT


def test_a_copy_puts_right_what_the_feed_has_lost(pipeline):
    pipeline.write().copy(1, {1: "Oslo"}).change([(2, "Rome", "U", 2), (3, "Graz", "U", 3)]).update()
    counters = pipeline.copy(20, {1: "Oslo", 2: "Bonn", 4: "Bern"}).change([(1, "Lima", "U", 21)]).update()
    assert pipeline.rows() == [(1, "Lima"), (2, "Bonn"), (4, "Bern")]
    [copies] = [flow for flow in counters.flows if flow.name == "copies"]
    assert (copies.num_upserted_rows, copies.num_deleted_rows) == (2, 1)  # 1 reads as before
    assert pipeline.change([(1, "Late", "U", 19)]).update() and pipeline.rows()[0] == (1, "Lima")


def test_a_copy_that_is_taken_again_changes_nothing(pipeline):
    pipeline.write().copy(10, COPY).change(AFTER).update()
    [note] = pipeline.storage.root.rglob("version.json")
    note.unlink()  # as if the update had died after its commit
    pipeline.update()
    assert pipeline.rows() == RESULT


def test_what_a_copy_emptied_stays_so_without_its_flow(pipeline):
    pipeline.write().copy(10, COPY).change(AFTER).update()
    before, after = PYTHON.split("dp.create_auto_cdc_from_snapshot_flow")
    pipeline.write(before + after.split("\n", 1)[1]).change(BEFORE).update()
    assert pipeline.rows() == RESULT


def test_changes_that_come_to_a_table_of_snapshots(pipeline):
    alone = PYTHON.split("dp.create_auto_cdc_flow")[0]
    pipeline.write(alone).copy(10, COPY).update()
    with pytest.raises(PipelineError, match="only snapshots wrote it until now.*--full-refresh places"):
        pipeline.write().run()
    assert pipeline.run(full_refresh=("places",)).state == "COMPLETED"


@pytest.mark.parametrize("sequence", [pa.int32(), pa.decimal128(20, 0)], ids=str)
def test_versions_have_the_type_of_the_sequence(tmp_path, spark, sequence):
    pipeline = Pipeline(tmp_path, sequence).write().copy(10, COPY).change(AFTER)
    pipeline.update()
    assert pipeline.change(BEFORE).update() and pipeline.rows() == RESULT


def test_versions_that_compare_with_no_sequence(tmp_path, spark):
    pipeline = Pipeline(tmp_path, pa.string()).write().copy(10, COPY)
    with pytest.raises(PipelineError, match="flow copies has versions of type bigint.* of type string"):
        pipeline.run()


def test_a_version_beyond_the_sequence(tmp_path, spark):
    result = Pipeline(tmp_path, pa.int32()).write().copy(2**40, COPY).run()
    assert "the version 1099511627776 is no int" in str(result.error)
