"Actions in dataset functions: they see no rows while the pipeline is analysed, then those of what they read."

import pytest

from cdc_local.delta.reader import read_rows
from cdc_local.errors import NeedsSparkError, PipelineError
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

pytestmark = pytest.mark.sail

# `numbers` comes after what counts it, by name and by place
NUMBERS = """
@dp.materialized_view
def numbers():
    return spark.range(5)
"""
HEAD = """import dlt
from pyspark import pipelines as dp
from pyspark.sql import functions as F
"""


@pytest.fixture
def update(tmp_path):
    def run(text, **request):
        source = tmp_path / "p.py"
        source.write_text(HEAD + text + NUMBERS)
        return run_update(UpdateRequest(sources=(str(source),), storage=tmp_path / "cdc", **request))

    return run


def rows_of(tmp_path, name):
    return read_rows(Storage(tmp_path / "cdc"), TableName("main", "default", name)).values


COUNTED = """
@dlt.table
@dlt.expect_or_drop("has rows", "rows > 0")
def counted():
    return spark.range(1).select(F.lit(dlt.read("numbers").count()).alias("rows"))
"""


def test_an_action_sees_the_rows_of_this_update_and_warns_at_its_line(update, tmp_path):
    done = update(COUNTED)
    assert rows_of(tmp_path, "counted") == [(5,)]
    [warning] = done.warnings
    assert "p.py:8: count() acts inside the dataset function of main.default.counted" in warning
    assert [flow.name.rpartition(".")[2] for flow in done.flows] == ["numbers", "counted"]
    assert [(rule.passed_records, rule.failed_records) for rule in done.flows[1].expectations] == [(1, 0)]


def test_a_view_that_acts_is_read_in_order_by_a_table_and_by_auto_cdc(update, tmp_path):
    done = update("""
@dp.temporary_view
def alike():
    most = spark.sql("SELECT max(id) AS most FROM numbers").first().most
    return spark.read.table("numbers").where(f"id >= {most or 0}")

@dp.materialized_view
def copied(): return spark.read.table("alike")

dp.create_streaming_table("kept")
dp.create_auto_cdc_flow("kept", "alike", ["id"], "id", once=True)
""")
    assert done.state == "COMPLETED", done.error
    assert rows_of(tmp_path, "copied") == rows_of(tmp_path, "kept") == [(4,)]
    assert len(done.warnings) == 1 and "main.default.alike" in done.warnings[0]


def test_an_action_is_run_again_where_what_it_reads_has_changed(update, tmp_path):
    update(COUNTED)
    source = (tmp_path / "p.py").read_text()
    (tmp_path / "p.py").write_text(source.replace("range(5)", "range(7)"))
    run_update(UpdateRequest(sources=(str(tmp_path / "p.py"),), storage=tmp_path / "cdc"))
    assert rows_of(tmp_path, "counted") == [(7,)]


FAILS = {
    "columns that depend on rows": (
        "@dp.materialized_view\ndef t():\n"
        '    names = [f"n{row.id}" for row in spark.read.table("numbers").orderBy("id").collect()]\n'
        "    one = F.lit(1)\n"
        "    return spark.range(1).select(one.alias('one'), *[one.alias(name) for name in names])\n",
        "has other columns after collect() than while it was analysed, where tables have no rows: "
        "one int, n0 int, n1 int, n2 int, n3 int, n4 int; it had one int; return the same columns",
    ),
    "a table that is read for some rows only": (
        "@dp.materialized_view\ndef t():\n"
        '    if spark.read.table("numbers").isEmpty():\n        return spark.range(1)\n'
        '    return spark.read.table("others")\n'
        "@dp.materialized_view\ndef others():\n    return spark.range(3)\n",
        "reads main.default.others after isEmpty(), and did not while it was analysed",
    ),
    "an action on a stream for some rows only": (
        '@dp.table\ndef t():\n    stream = spark.readStream.table("appended")\n'
        '    if spark.read.table("numbers").count():\n        stream.count()\n    return stream\n'
        '@dp.table\ndef appended():\n    return spark.readStream.table("main.ext.some")\n',
        "count() acts on a stream, inside the dataset function of main.default.t",
    ),
}


@pytest.mark.parametrize("text, words", FAILS.values(), ids=FAILS)
def test_a_function_that_is_another_one_with_rows_fails_by_name(text, words, update, tmp_path):
    from deltalake import write_deltalake

    ids = {"id": [1]}
    write_deltalake(str(tmp_path / "cdc" / "tables" / "main" / "ext" / "some"), _table(ids))
    done = update(text)
    assert done.state == "FAILED" and words in done.error
    assert "p.py:" in done.error and "Traceback" not in done.error


def _table(columns):
    import pyarrow

    return pyarrow.table(columns)


REFUSED = {
    "an action on a stream": (
        '@dp.table\ndef t():\n    return spark.range(dlt.read_stream("numbers").count())\n',
        "p.py:6: ",
    ),
    "a function that needs rows": (
        "@dp.materialized_view\ndef t():\n"
        '    return spark.range(dlt.read("numbers").orderBy("id").first()["id"])\n',
        "p.py:6: TypeError: 'NoneType' object is not subscriptable; "
        "the pipeline's tables have no rows while it is analysed",
    ),
    "a pivot that looks for its columns": (
        "@dp.materialized_view\ndef t():\n"
        '    return spark.read.table("numbers").groupBy().pivot("id").count()\n',
        "p.py:6: pivot('id') without values reads data",
    ),
    "a write": (
        '@dp.materialized_view\ndef t():\n    spark.range(1).write.save("x")\n',
        "p.py:6: DataFrame.write is a write",
    ),
}


@pytest.mark.parametrize("text, words", REFUSED.values(), ids=REFUSED)
def test_what_is_refused_is_refused_at_its_line(text, words, update, tmp_path):
    with pytest.raises(PipelineError) as raised:
        update(text)
    assert words in str(raised.value)
    assert not (tmp_path / "cdc" / "tables").exists()


@pytest.mark.parametrize(
    "action, words",
    [
        ('collect(); numbers.where("id > 1").first()', "the order of the rows that collect() gives is not"),
        ("take(2)", "the order of the rows that take() gives is not known"),
        ("localCheckpoint()", "localCheckpoint() is run by Spark alone"),
        ("where('NULL = id').count()", "`==(void, bigint)` is not known"),
    ],
)
def test_what_sail_is_not_known_to_answer_is_left_to_spark(action, words, update):
    text = f"""
@dp.materialized_view
def t():
    numbers = spark.read.table("numbers")
    numbers.{action}
    return numbers
"""
    try:
        told = update(text, engine="sail").warnings
    except NeedsSparkError as need:
        told = [str(need)]
    assert any(words in text for text in told)
