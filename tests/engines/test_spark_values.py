"""Specs and settings made from what Spark itself gives: Columns and a session's configuration."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from pyspark.sql.functions import udf

from cdc_local.engines.spark.session import start_spark
from cdc_utils import settings
from cdc_utils.spec import CdcSpec, SpecError


@pytest.fixture(scope="module")
def spark():
    return start_spark()


def columns(kind):
    if kind == "classic":
        from pyspark.sql import functions
    else:
        functions = pytest.importorskip("pyspark.sql.connect.functions", exc_type=ImportError)
    return functions


@pytest.mark.parametrize("kind", ["classic", "connect"])
def test_real_columns_are_recognised(spark, kind):
    functions = columns(kind)
    order, deletes = functions.struct("commit", "line"), functions.expr("op = 'D'")
    spec = CdcSpec(
        "t", "s", [functions.col("id"), "part"], order, deletes, except_column_list=[functions.col("op")]
    )
    assert spec.keys == ("id", "part") and spec.except_column_list == ("op",)
    assert spec.sequence_by is order and spec.apply_as_deletes is deletes
    assert set(spec.flow()) == {
        "target",
        "source",
        "keys",
        "sequence_by",
        "apply_as_deletes",
        "except_column_list",
    }


@pytest.mark.parametrize("kind", ["classic", "connect"])
def test_an_expression_is_no_key(spark, kind):
    functions = columns(kind)
    for expression in (functions.upper(functions.col("id")), functions.col("a.id"), functions.col("id") + 1):
        with pytest.raises(SpecError, match="give each column by its name"):
            CdcSpec("t", "s", [expression], "seq")
    with pytest.raises(SpecError, match="give a list of column names"):
        CdcSpec("t", "s", functions.col("id"), "seq")


def test_settings_come_from_a_sessions_configuration(spark):
    with pytest.raises(settings.SettingsError, match="cdc.catalog is not set"):
        settings.read(spark.conf)
    spark.conf.set("cdc.catalog", "lab")
    spark.conf.set("cdc.schema", "cdc_test")
    try:
        assert settings.read(spark.conf) == settings.Settings(
            "lab", "cdc_test", "/Volumes/lab/cdc_test/raw_data/customers"
        )
        spark.conf.set("cdc.raw_volume", "landing")
        assert settings.read(spark.conf).raw_path == "/Volumes/lab/cdc_test/landing/customers"
    finally:
        for key in ("cdc.catalog", "cdc.schema", "cdc.raw_volume"):
            spark.conf.unset(key)


@pytest.fixture
def compiled(spark):
    "Expressions are compiled, as outside of tests: only then does Spark read Parquet by columns"
    names = ("spark.sql.codegen.wholeStage", "spark.sql.codegen.factoryMode")
    before = {name: spark.conf.get(name) for name in names}
    spark.conf.set("spark.sql.codegen.wholeStage", "true")
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK")
    yield spark
    for name, value in before.items():
        spark.conf.set(name, value)


def test_a_python_function_reads_columns_of_parquet(compiled, tmp_path):
    "SPARK-58241: the task never ended"
    spark = compiled
    spark.range(3).write.format("delta").save(str(tmp_path / "numbers"))
    shout = udf(lambda number: f"{number}!")
    frame = spark.read.format("delta").load(str(tmp_path / "numbers")).select(shout("id"))
    with ThreadPoolExecutor(1) as pool:
        rows = pool.submit(frame.collect)
        try:
            assert sorted(row[0] for row in rows.result(timeout=90)) == ["0!", "1!", "2!"]
        finally:
            spark.sparkContext.cancelAllJobs()  # of a task that waits for ever
