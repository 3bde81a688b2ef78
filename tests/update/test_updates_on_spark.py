"Updates of which Spark alone does a part: sources and options of a stream, layouts of tables, Java's end."

import signal

import pytest
from deltalake import DeltaTable
from test_snapshots import Pipeline as SnapshotPipeline
from test_update import HISTORY, LANDED, Pipeline, assert_refused, interrupt

from cdc_local.storage import TableName


@pytest.fixture
def pipeline(tmp_path):
    return Pipeline(tmp_path)


MISTAKES = {
    "a history declared without its bounds": (
        """
from pyspark import pipelines as dp
@dp.temporary_view
def ticks(): return spark.readStream.format('rate').load()
dp.create_streaming_table('values', schema='value bigint')
dp.create_auto_cdc_flow('values', 'ticks', ['value'], 'timestamp', column_list=['value'],
    stored_as_scd_type=2)
""",
        "wrong.py:4: main.default.values: AUTO CDC brings __START_AT timestamp, "
        "the declared schema has no such column",
    ),
    "a declared type that AUTO CDC does not bring": (
        """
from pyspark import pipelines as dp
@dp.temporary_view
def ticks(): return spark.readStream.format('rate').load()
dp.create_streaming_table('values', schema='value int')
dp.create_auto_cdc_flow('values', 'ticks', ['value'], 'timestamp', column_list=['value'],
    stored_as_scd_type=1)
""",
        "wrong.py:4: main.default.values: AUTO CDC brings value bigint, the declared schema has int",
    ),
}


@pytest.mark.parametrize("text, words", MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes_in_a_stream_of_sparks_own_name_file_and_line_and_write_nothing(pipeline, text, words):
    assert_refused(pipeline, text, words)


def test_a_view_is_stored_as_declared_and_written_when_its_input_changed(pipeline):
    pipeline.write(
        landed=LANDED,
        cities="""
from pyspark import pipelines as dp
@dp.materialized_view(comment='Who lives where', partition_cols=['op', 'city'],
    table_properties={'quality': 'Gold', 'pipelines.reset.allowed': False})
def cities(): return spark.read.table('landed').groupBy('op', 'city').count()
""",
    ).land("1", (1, "Bern", 1, "U")).run()
    stored = DeltaTable(str(pipeline.storage.table_path(TableName("main", "default", "cities"))))
    about, version = stored.metadata(), stored.version()
    assert (about.description, about.partition_columns, about.configuration["quality"]) == (
        "Who lives where",
        ["op", "city"],
        "Gold",
    )
    pipeline.run()
    stored.update_incremental()
    assert stored.version() == version  # nothing new
    pipeline.land("2", (2, "Bern", 1, "U")).run()
    assert pipeline.rows("cities") == [("U", "Bern", 2)]


def test_a_failing_rule_rolls_the_whole_flow_back(pipeline):
    kept = """
import dlt
@dlt.table
@dlt.expect_or_fail('known', 'id < 5')
def kept(): return spark.readStream.option('maxFilesPerTrigger', 1).table('landed')
@dlt.table
def reader(): return dlt.read_stream('kept')
"""
    one_by_one = LANDED.replace("'json')", "'json').option('cloudFiles.maxFilesPerTrigger', 1)")
    history = (
        HISTORY.replace("'moves')", "'moves', expect_all_or_fail={'known': 'id < 5'})", 1).replace(
            "'landed'", "'single'"
        )
        + """
@dp.temporary_view
def single(): return spark.readStream.option('maxFilesPerTrigger', 1).table('landed')
"""
    )
    pipeline.write(landed=one_by_one, kept=kept, moves=history)
    for number in (1, 2, 9):
        pipeline.land(str(number), (number, "Bern", number, "U"))
    result = pipeline.run()
    assert {flow.dataset.split(".")[-1]: flow.status for flow in result.flows} == {
        "landed": "COMPLETED",
        "kept": "FAILED",
        "moves": "FAILED",
        "reader": "SKIPPED",
    }
    errors = [flow.error for flow in result.flows if flow.status == "FAILED"]
    assert all(
        "EXPECTATION_VIOLATION rule 'known'" in error and '{"id":9,"city":"Bern"' in error for error in errors
    ), errors
    assert [len(pipeline.rows(table)) for table in ("landed", "kept", "moves")] == [3, 0, 0]
    pipeline.write(kept=kept.replace("< 5", "< 10"), moves=history.replace("< 5", "< 10"))
    assert (
        pipeline.land("4", (4, "Oslo", 4, "U")).run().state == "COMPLETED"
    )  # the planned batch, and what came after it
    assert [len(pipeline.rows(table)) for table in ("kept", "moves", "reader")] == [4, 4, 4]


def test_an_update_that_ctrl_c_stops_while_java_works_is_continued_by_the_next(pipeline):
    interrupt(pipeline, signal.SIGINT)


def test_a_snapshot_without_a_key_is_refused_with_its_row_and_what_is_null_in_it(tmp_path):
    pipeline = SnapshotPipeline(tmp_path).write_history().land("days", 1, [{"value": "nobody"}])
    result = pipeline.run()
    assert result.state == "FAILED"
    assert 'a key is NULL in the row {"key":null,"value":"nobody"}' in result.error
