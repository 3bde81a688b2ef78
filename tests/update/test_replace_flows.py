"Flows that replace rows: by their keys, in whatever order newer rows come, and in a range computed anew."

from itertools import permutations

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from test_both_engines import Updates

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName

COLUMNS = ("region", "device", "event", "seq")
# The example of Databricks' documentation: what is there, what comes, what the table is then
STORED = [
    (1, "iOS", "click", 1),
    (1, "Android", "conversion", 1),
    (2, "iOS", "click", 1),
    (2, "desktop", "click", 1),
]
COMING = [
    (1, "iOS", "click", 2),
    (1, "Android", "conversion", 2),
    (1, "desktop", "click", 2),
    (3, "iOS", "click", 1),
    (3, "desktop", "click", 2),
]
REPLACED = sorted([*STORED[2:], *COMING[:3], COMING[4]])

PYTHON = """from pyspark import pipelines as dp
@dp.table(replace_using=["region"], sequence_by="seq")
def current():
    return spark.readStream.table("main.ext.events")
"""
IN_TWO = """from pyspark import pipelines as dp
from pyspark.sql import functions as F
dp.create_streaming_table("current")
@dp.replace_flow(target="current", replace_using=["Region"], sequence_by=F.col("seq"))
def renew():
    return spark.readStream.table("main.ext.events")
"""
INLINE = """CREATE OR REFRESH STREAMING TABLE current
FLOW REPLACE USING (region) SEQUENCE BY seq BY NAME SELECT * FROM STREAM main.ext.events"""
LONG = """CREATE OR REFRESH STREAMING TABLE current;
CREATE FLOW renew AS INSERT INTO current BY NAME REPLACE USING (region) SEQUENCE BY seq
SELECT * FROM STREAM(main.ext.events)"""


@pytest.fixture(scope="module")
def sail():
    updates = Updates("sail")
    yield updates
    updates.close()


class Pipeline:
    "A source file, a storage, and rows that land in a table which no pipeline declares."

    def __init__(self, folder, engine):
        self.folder, self.engine = folder, engine
        self.storage = folder / "store"

    def write(self, text):
        for old in self.folder.glob("pipeline.*"):
            old.unlink()
        suffix = "py" if text.startswith(("from", "import")) else "sql"
        self.source = self.folder / f"pipeline.{suffix}"
        self.source.write_text(text)
        return self

    def land(self, rows, mode="append"):
        schema = pa.schema(
            [("region", pa.int64()), ("device", pa.string()), ("event", pa.string()), ("seq", pa.int64())]
        )
        columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[]] * 4
        path = str(self.storage / "tables" / "main" / "ext" / "events")
        write_deltalake(path, pa.table(columns, schema=schema), mode=mode)
        return self

    def run(self, **more):
        return self.engine.run(self.source, self.storage, **more)

    def rows(self, table="current", columns=COLUMNS):
        found = read_rows(Storage(self.storage), TableName("main", "default", table))
        place = [found.columns.index(name) for name in columns]
        return sorted((tuple(row[i] for i in place) for row in found.values), key=repr)


@pytest.fixture
def pipeline(tmp_path, sail):
    return Pipeline(tmp_path, sail)


@pytest.mark.parametrize("text", [PYTHON, IN_TWO, INLINE, LONG], ids=["table", "flow", "inline", "long"])
def test_rows_of_a_key_are_replaced_by_those_of_a_higher_sequence(text, pipeline):
    pipeline.write(text).land(STORED)
    assert pipeline.run()["state"] == "COMPLETED"
    assert pipeline.rows() == sorted(STORED, key=repr)
    assert pipeline.land(COMING).run()["state"] == "COMPLETED"
    assert pipeline.rows() == sorted(REPLACED, key=repr)


def test_the_table_is_the_same_whichever_batch_comes_first(tmp_path, sail):
    batches = [
        [(1, "iOS", "click", 3), (1, "iOS", "view", 3), (None, "web", "click", 1)],
        [(1, "web", "click", 3), (2, "web", "click", 7), (None, "web", "view", 2)],
        [(1, "web", "late", 2), (2, "iOS", "late", 6), (None, "tv", "click", 2)],
    ]
    expected = [*batches[0][:2], *batches[1], batches[2][2]]
    for number, order in enumerate(permutations(batches)):
        folder = tmp_path / str(number)
        folder.mkdir()
        pipeline = Pipeline(folder, sail).write(PYTHON)
        for batch in order:
            assert pipeline.land(batch).run()["state"] == "COMPLETED"
        assert pipeline.rows() == sorted(expected, key=repr), f"order {number}"


def test_a_row_that_a_rule_drops_replaces_nothing(pipeline):
    rule = '@dp.expect_or_drop("named", "device IS NOT NULL")'
    pipeline.write(PYTHON.replace("def current", f"{rule}\ndef current"))
    assert pipeline.land([(1, "iOS", "click", 1)]).run()["state"] == "COMPLETED"
    done = pipeline.land([(1, None, "click", 5), (1, "web", "click", 2)]).run()
    assert done["flows"]["main.default.current"]["dropped"] == 1
    assert pipeline.rows() == [(1, "web", "click", 2)]


def test_one_batch_is_one_commit_and_a_killed_one_is_not_written_twice(pipeline):
    pipeline.write(PYTHON).land(STORED).run()
    pipeline.land(COMING).run()
    path = Storage(pipeline.storage).table_path(TableName("main", "default", "current"))
    version = DeltaTable(str(path)).version()
    assert version == 2  # made, first batch, second batch
    progress = next(pipeline.storage.rglob("progress.jsonl"))
    lines = progress.read_text().splitlines(keepends=True)
    assert '"done"' in lines[-1]
    progress.write_text("".join(lines[:-1]))  # as if the update had died before it could note its batch
    assert pipeline.run()["state"] == "COMPLETED"
    assert pipeline.rows() == sorted(REPLACED, key=repr)
    assert DeltaTable(str(path)).version() == version


def test_a_row_without_a_sequence_fails_the_update_and_is_named(pipeline):
    done = pipeline.write(PYTHON).land([(1, "iOS", "click", None)]).run()
    assert done["state"] == "FAILED"
    error = done["flows"]["main.default.current"]["error"]
    assert "REPLACE USING: sequence_by `seq` is NULL in the row" in error and '"device":"iOS"' in error


REFUSED = {
    "@dp.table(replace_using=['region'])": "`replace_using` asks for `sequence_by`",
    "@dp.table(sequence_by='seq')": "`sequence_by` asks for `replace_using`",
    "@dp.table(replace_using=[], sequence_by='seq')": "`replace_using` is empty",
    "@dp.table(replace_using=['a', 'A'], sequence_by='seq')": "names a column twice",
    "@dp.table(replace_using=['region'], sequence_by='seq', replace_where='seq > 1')": "in one way",
    "@dp.table(replace_using=['city'], sequence_by='seq')": "['city'], which the frame does not have",
    "@dp.table(replace_using=['region'], sequence_by='day')": "`sequence_by` day:",
    "@dp.table(replace_where='seq > 1')": "computes a range anew, and reads a stream",
}


@pytest.mark.parametrize("decorator", REFUSED)
def test_what_says_too_little_is_refused_at_its_line(decorator, pipeline):
    text = f"from pyspark import pipelines as dp\n{decorator}\n" + PYTHON.split("\n", 2)[2]
    done = pipeline.write(text).land(STORED).run()
    assert done["state"] == "REFUSED", done
    assert REFUSED[decorator] in done["message"] and "pipeline.py:" in done["message"]


RANGE = """CREATE OR REFRESH STREAMING TABLE current
FLOW REPLACE WHERE e.seq >= 5 BY NAME
SELECT e.seq, e.region, count(*) AS events FROM main.ext.events AS e GROUP BY e.seq, e.region"""
PYTHON_RANGE = """from pyspark import pipelines as dp
from pyspark.sql import functions as F
@dp.table(replace_where=PREDICATE)
def current():
    return spark.read.table("main.ext.events").groupBy("seq", "region").agg(F.count("*").alias("events"))
"""


@pytest.mark.parametrize(
    "text",
    [
        RANGE,
        PYTHON_RANGE.replace("PREDICATE", "F.col('seq') >= 5"),
        PYTHON_RANGE.replace("PREDICATE", "'seq >= 5'"),
    ],
)
def test_a_range_is_computed_anew_and_the_rest_stays(text, pipeline):
    columns = ("seq", "region", "events")
    pipeline.write(text).land([(1, "a", "b", 4), (1, "a", "b", 5), (2, "a", "b", 6)])
    assert pipeline.run()["state"] == "COMPLETED"
    assert pipeline.rows(columns=columns) == [(5, 1, 1), (6, 2, 1)]  # 4 is out of the range
    wider = (
        text.replace("seq >= 5", "seq >= 6").replace("e.seq >= 5", "e.seq >= 6").replace(") >= 5", ") >= 6")
    )
    pipeline.write(wider).land([(1, "a", "b", 5), (2, "a", "b", 6), (3, "a", "b", 7)], "overwrite")
    assert pipeline.run()["state"] == "COMPLETED"
    assert pipeline.rows(columns=columns) == [(5, 1, 1), (6, 2, 1), (7, 3, 1)]
    assert pipeline.land([(9, "a", "b", 5)]).run(full_refresh=["current"])["state"] == "COMPLETED"
    assert pipeline.rows(columns=columns) == [(6, 2, 1), (7, 3, 1)]


def test_a_mistake_in_the_predicate_is_found_before_there_is_data(pipeline):
    done = pipeline.write(RANGE.replace("e.seq >= 5", "day > 1")).land(STORED).run()
    assert done["state"] == "REFUSED" and "REPLACE WHERE day > 1" in done["message"]
    assert "pipeline.sql:1" in done["message"]


def test_a_table_whose_rows_are_replaced_has_one_flow_and_a_range_no_rules(pipeline):
    second = (
        INLINE + ";\nCREATE FLOW more AS INSERT INTO current BY NAME SELECT * FROM STREAM main.ext.events"
    )
    done = pipeline.write(second).land(STORED).run()
    assert done["state"] == "REFUSED" and "and of another flow" in done["message"]
    rules = RANGE.replace("TABLE current", "TABLE current (CONSTRAINT some EXPECT (seq > 1))")
    done = pipeline.write(rules).run()
    assert done["state"] == "REFUSED" and "put them on a temporary view" in done["message"]
