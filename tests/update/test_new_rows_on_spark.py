"What Spark's own streams and readers bring of a flow's sources: each row once, as test_new_rows.py has it."

import shutil

import pytest
from test_new_rows import COPIED, LANDED, VOLUME, Pipeline

from cdc_local.storage import read_json

STATEFUL = COPIED.replace("('landed')", "('landed').dropDuplicates(['id'])")


@pytest.fixture
def pipeline(tmp_path, spark):
    pipeline = Pipeline(tmp_path)
    pipeline.write(landed=LANDED.format(path=VOLUME), copied=COPIED)
    pipeline.land("1.json", 1, 2)
    return pipeline


def test_a_query_that_begins_to_keep_state_is_refused_until_it_is_computed_anew(pipeline):
    pipeline.update()
    pipeline.write(copied=STATEFUL)
    assert "its query keeps state now" in pipeline.error()
    pipeline.update(full_refresh=("copied",))
    assert pipeline.ids("copied") == [1, 2]
    pipeline.write(copied=COPIED)
    assert "checkpoint of its stream does not say" in pipeline.error()


def test_a_stream_of_sparks_whose_checkpoint_is_gone_is_refused(pipeline):
    pipeline.write(copied=STATEFUL).update().update()
    flow = pipeline.storage.root / "checkpoints/main/default/copied/main.default.copied"
    shutil.rmtree(flow / "checkpoint")
    assert "checkpoint that says which is gone" in (error := pipeline.error()) and "--full-refresh" in error
    pipeline.update(full_refresh=("copied",))
    assert pipeline.ids("copied") == [1, 2]


def test_a_table_older_than_the_stream_of_sparks_is_refused(pipeline):
    pipeline.write(copied=STATEFUL).update()
    shutil.copytree(pipeline.table("copied"), pipeline.folder / "backup")
    pipeline.land("2.json", 3)
    pipeline.update()
    shutil.rmtree(pipeline.table("copied"))
    shutil.move(pipeline.folder / "backup", pipeline.table("copied"))
    assert "rows are missing" in pipeline.error()


def stream_as_before(pipeline, flow, frame):
    "Run a flow as cdc_utils ran it before: by Spark's stream and its checkpoint"
    checkpoint = pipeline.storage.root / f"checkpoints/main/default/{flow}/main.default.{flow}/checkpoint"
    writer = frame.writeStream.format("delta").option("checkpointLocation", str(checkpoint))
    writer.trigger(availableNow=True).start(str(pipeline.table(flow))).awaitTermination()
    return checkpoint


def test_a_storage_whose_streams_were_sparks_goes_on(pipeline, spark):
    volume = str(pipeline.storage.root / VOLUME.lstrip("/"))
    files = spark.readStream.schema("id int").json(volume)
    checkpoints = [stream_as_before(pipeline, "landed", files)]
    stored = spark.readStream.format("delta").load(str(pipeline.table("landed")))
    checkpoints.append(stream_as_before(pipeline, "copied", stored))
    (pipeline.storage.root / "storage.json").write_text('{"format": 1}')
    pipeline.land("2.json", 3)
    pipeline.update()
    assert (pipeline.ids("landed"), pipeline.ids("copied")) == ([1, 2, 3], [1, 2, 3])
    assert not any(checkpoint.exists() for checkpoint in checkpoints)
    assert read_json(pipeline.storage.root / "storage.json") == {"format": 2}
    pipeline.update()
    assert pipeline.ids("copied") == [1, 2, 3]


PLAIN = """
from pyspark import pipelines as dp

@dp.table
def landed():
    return spark.readStream.{reader}

@dp.table
def copied():
    return spark.readStream.format('delta').load({table!r})
"""
READERS = {
    "json": "schema('id int').json({path!r})",
    "load": "format('json').schema('id int').option('maxFilesPerTrigger', 1).load({path!r})",
    "schema": "json({path!r}, schema='id int')",
}


@pytest.mark.parametrize("reader", READERS)
def test_files_and_tables_that_sparks_own_readers_name_are_read_batch_by_batch(pipeline, reader):
    pipeline.write(landed=LANDED.format(path=VOLUME), copied="").update(full_refresh_all=True)
    text = PLAIN.format(reader=READERS[reader].format(path=VOLUME), table=str(pipeline.table("landed")))
    pipeline.write(landed=text, copied="").land("2.json", 3)
    # a path gives no order: the copy may be made before the table has its rows
    pipeline.update(full_refresh_all=True).update()
    pipeline.land("3.json", 4)
    pipeline.land("below/4.json", 5)  # Spark's reader does not look there
    pipeline.update().update()
    assert (pipeline.ids("landed"), pipeline.ids("copied")) == ([1, 2, 3, 4], [1, 2, 3, 4])
    assert pipeline.progress("landed").batch >= 1 and pipeline.progress("copied").batch >= 1


@pytest.mark.parametrize(
    "reader, path",
    [("option('latestFirst', 'true').json", VOLUME), ("json", "/Volumes/main/default/raw/by_day")],
    ids=["an option of Spark's stream", "columns in folders"],
)
def test_what_only_sparks_stream_reads_is_left_to_it(pipeline, reader, path):
    pipeline.land("../by_day/day=1/1.json", 1, 2)
    text = PLAIN.partition("@dp.table\ndef copied")[0].format(reader=f"schema('id int').{reader}({path!r})")
    pipeline.write(landed=text, copied="").update()
    assert pipeline.ids("landed") == [1, 2] and pipeline.progress("landed").is_new
