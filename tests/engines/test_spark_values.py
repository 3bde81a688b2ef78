"""Specs and settings made from what Spark itself gives: Columns and a session's configuration."""

import pytest

from cdc_local.engines.spark.session import local_spark
from cdc_utils import settings
from cdc_utils.spec import CdcSpec, SpecError


@pytest.fixture(scope="module")
def spark():
    return local_spark()


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
