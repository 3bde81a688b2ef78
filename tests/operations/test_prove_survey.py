"What `cdc prove` finds out about a pipeline before it makes a feed: inputs, reads, columns, tables to copy."

from types import SimpleNamespace

import pytest
from prove_trials import table
from pyspark.sql.types import StructType

from cdc_local.errors import UsageError
from cdc_local.operations.prove import choose_flows
from cdc_local.operations.prove_survey import Input, Survey, flows_behind, folder_input


def test_a_survey_tells_what_flows_read_and_which_tables_are_copied(surveyed):
    found, stored = surveyed
    assert {
        name.split(".")[-1]: [(each.location, each.file_format) for each in places]
        for name, places in found.inputs.items()
    } == {
        "landed": [("Volumes/main/default/raw/moves", "json")],
        "later": [("main.default.arrivals", "table")],
    }
    assert found.tables == {table("names"): stored.table_path(table("names"))}
    flows, places, left = choose_flows(found)
    assert ([flow.target.table for flow in flows], [place.file_format for place in places], left) == (
        ["now", "later"],
        ["json", "table"],
        [],
    )
    now = next(flow for flow in flows if flow.target == table("now"))
    assert (
        found.columns[now.name].names == ["id", "city", "op", "at", "name"]
        and table("landed") in found.reads[now.name]
    )


def test_flows_behind_a_flow():
    flows = {name: SimpleNamespace(name=name, target=f"table {name}") for name in "abcd"}
    found = Survey(
        SimpleNamespace(flows=flows),
        {},
        {"c": {"table b"}, "b": {"table a", "a view"}, "a": set(), "d": {"table c"}},
        {},
        {},
    )
    assert flows_behind(found, "c") == ["c", "b", "a"]


LANDING = "Volumes/main/default/raw/moves"
SCHEMA = StructType().add("id", "integer").add("city", "string").add("at", "timestamp")


def test_a_folder_of_a_volume_is_an_input(storage):
    found = folder_input(storage, str(storage.root / LANDING), {"cloudFiles.format": "json"}, SCHEMA)
    assert found == Input(LANDING, "json", SCHEMA, (("format", "json"),))
    options = {"cloudFiles.format": "CSV", "header": True}
    found = folder_input(storage, str(storage.root / LANDING), options, "id int")
    assert found == Input(
        LANDING, "csv", StructType().add("id", "integer"), (("format", "CSV"), ("header", "True"))
    )


@pytest.mark.parametrize(
    "path, options, schema, message",
    [
        (LANDING, {}, None, f"/{LANDING}: its schema is inferred"),
        (LANDING + "/*.json", {}, SCHEMA, "it is no folder of a volume"),
        ("/elsewhere", {}, SCHEMA, "it is no folder of a volume"),
        (LANDING, {"cloudFiles.format": "parquet"}, SCHEMA, f"/{LANDING}: its format is parquet"),
    ],
)
def test_an_input_that_no_feed_can_be_made_for_is_refused(storage, path, options, schema, message):
    with pytest.raises(UsageError) as refused:
        folder_input(storage, str(storage.root / path), options, schema)
    assert str(refused.value).startswith("no feed can be made for") and message in str(refused.value)
