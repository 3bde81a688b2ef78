"A handler of `foreach_batch_sink` writes tables of the storage by their names: in SQL, and by Delta's API."

import pytest
from deltalake import write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

PIPELINE = """
from delta.tables import DeltaTable
from pyspark import pipelines as dp

@dp.foreach_batch_sink(name="keeper")
def keep(batch, number):
    session = batch.sparkSession
    session.sql("CREATE TABLE IF NOT EXISTS main.ops.latest (id STRING, n BIGINT) USING DELTA")
    session.sql("CREATE TABLE IF NOT EXISTS main.ops.log (id STRING, n BIGINT)")
    batch.createOrReplaceTempView("updates")
    session.sql('''MERGE INTO main.ops.latest USING (SELECT id, max(n) AS n FROM updates GROUP BY id) AS new
        ON latest.id = new.id WHEN MATCHED THEN UPDATE SET n = new.n WHEN NOT MATCHED THEN INSERT *''')
    spark.sql('''INSERT INTO main.ops.log
        SELECT l.id, l.n FROM main.ops.latest l JOIN main.ext.events e USING (id)''')
    spark.sql("UPDATE main.ops.log SET n = -log.n WHERE n = 3")
    DeltaTable.forName(session, "main.ops.log").delete("n = 1")

@dp.append_flow(target="keeper")
def events():
    return spark.readStream.table("main.ext.events")
"""


def land(storage, *rows):
    import pyarrow as pa

    table = pa.table({"id": [row[0] for row in rows], "n": [row[1] for row in rows]})
    write_deltalake(str(storage / "tables" / "main" / "ext" / "events"), table, mode="append")


def update(tmp_path, text):
    source = tmp_path / "p.py"
    source.write_text(text)
    return run_update(UpdateRequest(sources=(str(source),), storage=tmp_path / "cdc"))


def rows_of(tmp_path, name):
    return read_rows(Storage(tmp_path / "cdc"), TableName("main", "ops", name)).values


def test_a_handler_creates_merges_inserts_and_updates(tmp_path):
    land(tmp_path / "cdc", ("a", 1), ("a", 3), ("b", 1))
    done = update(tmp_path, PIPELINE)
    assert done.state == "COMPLETED", done.error
    assert rows_of(tmp_path, "latest") == [("a", 3), ("b", 1)]
    assert rows_of(tmp_path, "log") == [("a", -3), ("a", -3)]


@pytest.mark.parametrize(
    "statement, words",
    [
        ("INSERT INTO events_copy VALUES ('x', 1)", "a handler may not write main.default.events_copy"),
        ("DROP TABLE main.ops.log", "is not a query"),
    ],
)
def test_what_a_handler_may_not_do_is_said_at_its_line(tmp_path, statement, words):
    land(tmp_path / "cdc", ("a", 1))
    text = f'''
from pyspark import pipelines as dp

dp.create_streaming_table("events_copy")

@dp.append_flow(target="events_copy")
def copied():
    return spark.readStream.table("main.ext.events")

@dp.foreach_batch_sink(name="keeper")
def keep(batch, number):
    spark.sql("{statement}")

@dp.append_flow(target="keeper")
def events():
    return spark.readStream.table("main.ext.events")
'''
    done = update(tmp_path, text)
    assert done.state == "FAILED" and words in done.error and "p.py:12" in done.error
    assert "Traceback" not in done.error
