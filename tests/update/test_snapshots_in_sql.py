"AUTO CDC FROM SNAPSHOT in SQL: a query in each update, or one that says which snapshot comes next."

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

PLAIN = """
CREATE OR REFRESH STREAMING TABLE current;
CREATE FLOW f AS AUTO CDC INTO current
FROM SNAPSHOT (SELECT id, city FROM main.ext.taken WHERE day = 3) KEYS (id)
"""
VERSIONED = """
CREATE OR REFRESH STREAMING TABLE history;
CREATE FLOW f AS AUTO CDC INTO history
FROM SNAPSHOT (
  SELECT id, city, '{}' AS braces FROM main.ext.taken
  WHERE day = (SELECT version FROM current_snapshot_version())
)
WITH VERSION (
  SELECT min(day) AS version FROM main.ext.taken
  WHERE NOT EXISTS (SELECT 1 FROM last_snapshot_version())
    OR day > (SELECT version FROM last_snapshot_version())
  HAVING min(day) IS NOT NULL
)
KEYS (id)
STORED AS SCD TYPE 2
TRACK HISTORY ON city
"""


class Pipeline:
    "A source file, a storage, and snapshots, each with its day."

    def __init__(self, folder):
        self.folder, self.storage = folder, Storage(folder / "storage")

    def write(self, text):
        (self.folder / "pipeline.sql").write_text(text)
        return self

    def take(self, day, **cities):
        rows = {"id": list(cities), "city": list(cities.values()), "day": [day] * len(cities)}
        path = self.storage.root / "tables/main/ext/taken"
        write_deltalake(str(path), pa.table(rows), mode="append")
        return self

    def run(self):
        return run_update(UpdateRequest((str(self.folder / "pipeline.sql"),), self.storage.root))

    def update(self):
        result = self.run()
        assert result.state == "COMPLETED", result.error
        return self

    def rows(self, table):
        found = read_rows(self.storage, TableName("main", "default", table))
        return sorted(row for row in found.values)


@pytest.fixture
def pipeline(tmp_path, spark):
    return Pipeline(tmp_path)


def test_a_query_is_a_snapshot_in_each_update(pipeline):
    pipeline.write(PLAIN).take(2, a="Oslo", b="Rome").take(3, a="Bern", c="Graz").update()
    assert pipeline.rows("current") == [("a", "Bern"), ("c", "Graz")]
    pipeline.write(PLAIN.replace("day = 3", "day = 2")).update()
    assert pipeline.rows("current") == [("a", "Oslo"), ("b", "Rome")]


def test_versions_are_taken_in_their_order_each_once(pipeline):
    pipeline.write(VERSIONED).take(2, a="Oslo", b="Rome").take(5, a="Bern", b="Rome").update()
    taken = [("a", "Bern", "{}", 5, None), ("a", "Oslo", "{}", 2, 5), ("b", "Rome", "{}", 2, None)]
    assert pipeline.rows("history") == taken
    pipeline.update()
    assert pipeline.rows("history") == taken
    pipeline.take(9, a="Bern").take(3, z="too late").update()
    assert pipeline.rows("history") == [*taken[:2], ("b", "Rome", "{}", 2, 9)]


def test_a_pipelines_own_table_says_which_versions_there_are(pipeline):
    own = "CREATE OR REFRESH STREAMING TABLE landed AS SELECT * FROM STREAM main.ext.taken;"
    pipeline.write(own + VERSIONED.replace("main.ext.taken", "landed")).take(2, a="Oslo").update()
    assert pipeline.rows("history") == [("a", "Oslo", "{}", 2, None)]


@pytest.mark.parametrize(
    "before, after, says",
    [
        ("min(day) AS version", "min(day), 1 AS version", "the version query of flow f returns 2 columns"),
        (
            "min(day) AS version",
            "min(struct(day, city)) AS version",
            "returns a struct<day:bigint,city:string>",
        ),
        ("min(day) AS version", "min(day)", "the version query of flow f has no name for its column"),
        ("min(day) AS version", "CAST(NULL AS INT) AS version", "flow f returns NULL"),
        (
            "SELECT min(day) AS version FROM main.ext.taken",
            "SELECT version FROM (SELECT day AS version, day FROM main.ext.taken)",
            "the version query of flow f returns more than one row",
        ),
        (
            "KEYS (id)",
            "KEYS (id) SEQUENCE BY day",
            "flow f: SEQUENCE BY is no clause of AUTO CDC FROM SNAPSHOT",
        ),
        ("SCD TYPE 2", "BITEMPORAL", "a snapshot has one time, its version"),
        ("main.ext.taken\n  WHERE day =", "STREAM(main.ext.taken)\n  WHERE day =", "a snapshot is no stream"),
        (
            "FROM current_snapshot",
            "FROM last_snapshot",
            "last_snapshot_version() stands in WITH VERSION (…) alone",
        ),
    ],
)
def test_what_says_no_version_is_refused_by_name(pipeline, before, after, says):
    text = VERSIONED.replace(before, after)
    if "more than one" in says:
        text = text.replace("HAVING min(day) IS NOT NULL", "")
    assert text != VERSIONED
    pipeline.write(text).take(2, a="Oslo", b="Rome")
    try:
        found = pipeline.run().error
    except PipelineError as refused:
        found = str(refused)
    assert says in found and "pipeline.sql:" in found, found
