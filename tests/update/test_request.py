"What an update is asked to do: its tables, its configuration."

from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from pipelines import pipeline, table

from cdc_local.errors import UsageError
from cdc_local.update.request import UpdateRequest, choose_tables, update_session


def request(**options):
    return UpdateRequest(("src",), Path("storage"), **options)


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, ("ab", "")),
        ({"refresh": ("a",)}, ("a", "")),
        ({"full_refresh": ("b",)}, ("b", "b")),
        ({"refresh": ("main.default.a",), "full_refresh": ("b",)}, ("ab", "b")),
        ({"full_refresh_all": True}, ("ab", "b")),
    ],
)
def test_chosen_tables(options, wanted):
    graph = pipeline("a", "b", a={"pipelines.reset.allowed": False}).runtime.graph
    assert choose_tables(graph, request(**options)) == tuple(
        {table(name) for name in names} for names in wanted
    )


def test_wrong_choices():
    graph = pipeline("a", a={"pipelines.reset.allowed": "FALSE"}).runtime.graph
    with pytest.raises(UsageError, match="main.default.a may not be emptied"):
        choose_tables(graph, request(full_refresh=("a",)))
    for options in ({"full_refresh": ("x",)}, {"refresh": ("x",)}):
        with pytest.raises(UsageError, match="no table x in this pipeline; it has a"):
            choose_tables(graph, request(**options))


def test_configuration_is_the_pipelines_and_goes_with_it(spark, tmp_path):
    spark.conf.set("cdc.kept", "before")
    with update_session(request(dry_run=True, configuration={"cdc.kept": 1, "cdc.new": "x"})) as running:
        assert (running.conf.get("cdc.kept"), running.conf.get("cdc.new")) == ("1", "x")
        assert running.conf.get("spark.databricks.unityCatalog.enabled") == "true"
    assert (spark.conf.get("cdc.kept"), spark.conf.get("cdc.new", None)) == ("before", None)
    with (
        pytest.raises(UsageError, match="--conf spark.driver.memory=1g"),
        update_session(request(dry_run=True, configuration={"spark.driver.memory": "1g"})),
    ):
        pass
    spark.conf.unset("cdc.kept")


def test_memory_is_an_option_and_no_configuration(monkeypatch):
    monkeypatch.setattr("cdc_local.update.request.start_spark", None)  # nothing starts
    with (
        pytest.raises(UsageError, match="--conf spark.driver.memory=4g: .*write --memory 4g instead"),
        update_session(request(configuration={"spark.driver.memory": "4g"})),
    ):
        pass
