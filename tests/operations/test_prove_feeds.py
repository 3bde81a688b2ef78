"Feeds of `cdc prove`: values that the rules allow, events of keys, and files of the user."

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from prove_trials import MOVES
from pyspark.sql.types import DateType, IntegerType, StringType, StructField, StructType, TimestampType

from cdc_local.errors import UsageError
from cdc_local.operations import prove_feeds
from cdc_local.operations.prove import choose_flows
from cdc_local.operations.prove_feeds import (
    Plan,
    candidate_values,
    evaluate_delete_rule,
    find_allowed_values,
    format_moment,
    make_feed,
    make_key_events,
    plan_input,
    read_feed,
    rename_field,
    to_json_value,
)
from cdc_local.operations.prove_survey import Survey

TYPES = {field.name: field.dataType for field in MOVES.schema}


def test_a_plan_follows_the_rules_of_the_pipeline(surveyed, spark):
    found, _ = surveyed
    flows, places, _ = choose_flows(found)
    made = plan_input(spark, found, flows[0], places[0])
    assert (made.keys, made.sequence, made.values) == (("id",), ("at",), {"city": ["Oslo", "Bern", None]})
    assert made.deletes == [{"op": "D"}] and {"op": None} in made.upserts and {"op": "D"} not in made.upserts


def test_a_delete_rule_is_asked_in_any_spelling(spark):
    columns = StructType.fromDDL("ID int, OP string")
    assert evaluate_delete_rule(spark, columns, "op = 'D'", [{"Op": "U"}, {"Op": "D"}, {"Op": None}]) == [
        False,
        True,
        False,
    ]
    assert rename_field(columns["OP"], "op").name == "op"


@pytest.mark.parametrize("name", ["n", "v"])
def test_a_column_may_have_any_name(spark, name):
    columns = StructType.fromDDL(f"{name} int")
    deletes = [{name: "1"}, {name: "2"}, {name: None}]
    assert evaluate_delete_rule(spark, columns, f"{name} = 2", deletes) == [False, True, False]
    assert find_allowed_values(spark, columns, name, ["1", "2", None], [f"{name} < 2"]) == ["1", None]


def test_what_goes_into_a_column_comes_from_the_rules_that_mention_it():
    rules = ["operation IN ('APPEND', 'UPDATE', 'DELETE')", "email LIKE '%@%'"]
    operations = candidate_values("operation", StringType(), rules)
    assert {"APPEND", "UPDATE", "DELETE"} <= set(operations) and "x@x" not in operations
    emails = candidate_values("email", StringType(), rules)
    assert emails == ["x@x", "email", "LIKE", "a", "b", "c", "x@example.com"]
    assert candidate_values("age", IntegerType(), ["age > 17", "pages < 3"]) == ["age", "17", "1", "2", "3"]


@pytest.mark.parametrize(
    "text, kind, value",
    [
        ("false", "boolean", False),
        ("true", "boolean", True),
        ("1.5", "double", 1.5),
        ("7", "integer", 7),
        ("7", "string", "7"),
        (None, "integer", None),
        (3, "integer", 3),
    ],
)
def test_values_for_json(text, kind, value):
    found = to_json_value(text, StructType().add("x", kind)["x"].dataType)
    assert (found, type(found)) == (value, type(value))


def test_a_date_cannot_tell_moments_of_one_day_apart():
    assert [format_moment(number, DateType()) for number in range(4)] == ["2026-01-01"] * 4
    assert [format_moment(number, TimestampType()) for number in range(2)] == [
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T07:00:00.000Z",
    ]
    assert [format_moment(7, kind) for kind in (IntegerType(), StringType())] == [7, "00000007"]


def test_moments_of_a_key_are_unique_and_rise():
    made = Plan(
        ("id",),
        ("at",),
        {"city": ["Oslo", None]},
        [],
        [{}],
        {field.name: field.dataType for field in MOVES.schema},
    )
    for seed in range(40):
        at = [
            dict(event.row)["at"] for event in make_key_events(random.Random(seed), 0, 1, made, MOVES.schema)
        ]
        assert at == sorted(set(at))


def test_the_system_hears_of_some_events_after_later_ones():
    types = TYPES | {"heard": TYPES["at"]}
    plan = Plan(("id",), ("at",), {}, [], [{}], types, system=("heard",))
    schema = StructType([*MOVES.schema, StructField("heard", IntegerType())])
    lives = [
        [dict(event.row) for event in make_key_events(random.Random(seed), 0, 1, plan, schema)]
        for seed in range(40)
    ]
    assert all(row["heard"] >= row["at"] for life in lives for row in life)
    late = [[row["heard"] for row in life] for life in lives if len(life) > 1]
    assert any(heard != sorted(heard) for heard in late) and any(heard == sorted(heard) for heard in late)


def test_the_events_of_a_key_share_it_and_some_values_are_absent():
    plan = Plan(("id",), ("at",), {"city": ["Oslo", "Bern", None]}, [], [{}], TYPES)
    events = [
        event
        for number in range(40)
        for event in make_key_events(random.Random(number), 0, number, plan, MOVES.schema)
    ]
    assert {event.key for event in events} == {(str(number),) for number in range(40)}
    assert all(event.key == (str(dict(event.row)["id"]),) for event in events)
    cities = [dict(event.row).get("city") for event in events]
    assert set(cities) == {"Oslo", "Bern", None}
    assert 0.15 < cities.count(None) / len(cities) < 0.35


def test_a_feed_mixes_keys_and_inputs_and_keeps_the_time_of_a_key(monkeypatch):
    made = Plan(("id",), ("at",), {}, [], [{}], {field.name: field.dataType for field in MOVES.schema})
    monkeypatch.setattr(prove_feeds, "plan_input", lambda *_: made)
    graph = SimpleNamespace(flows={"f": SimpleNamespace(name="f", target="t")})
    found = Survey(graph, {"f": [MOVES, replace(MOVES, location="other")]}, {}, {}, {})
    feed = make_feed(None, found, [graph.flows["f"]], found.inputs["f"], 60, random.Random(1))
    assert 60 <= len(feed) < 70 and {event.input_number for event in feed} == {0, 1}
    for key in {event.key for event in feed}:
        at = [dict(event.row)["at"] for event in feed if event.key == key]
        assert at == sorted(at)
    assert [event.key for event in feed] != sorted(event.key for event in feed)


def test_the_same_number_gives_the_same_feed(surveyed, spark):
    found, _ = surveyed
    flows, inputs, _ = choose_flows(found)
    feeds = [make_feed(spark, found, flows, inputs, 30, random.Random(seed)) for seed in (1, 1, 2)]
    assert feeds[0] == feeds[1] != feeds[2]


def test_a_feed_of_the_user(tmp_path):
    for name, text in (
        ("b.json", '{"ID": 2}\n'),
        ("a.json", '{"ID": 1, "at": 2}\n\n{"ID": 1\n'),
        ("_c.json", '{"ID": 3}\n'),
    ):
        (tmp_path / name).write_text(text)
    feed = read_feed(tmp_path, [MOVES], ("id",))
    assert [(event.key, event.row) for event in feed] == [
        (("1",), (("\0", '{"ID": 1, "at": 2}'),)),
        (("None",), (("\0", '{"ID": 1'),)),
        (("2",), (("\0", '{"ID": 2}'),)),
    ]
    with pytest.raises(UsageError, match="one folder of JSON lines"):
        read_feed(tmp_path, [MOVES, MOVES], ("id",))


def test_a_feed_of_one_event_has_no_order(tmp_path):
    (tmp_path / "a.json").write_text('{"id": 1}\n')
    with pytest.raises(UsageError, match="has 1 events; two are needed to change their order"):
        read_feed(tmp_path, [MOVES], ("id",))
