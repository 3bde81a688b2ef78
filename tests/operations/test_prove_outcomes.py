"What `cdc prove` compares: the rows of each key, the batch formulation, and events that are tied."

import json
from contextlib import nullcontext

import pyarrow as pa
from deltalake import write_deltalake
from prove_trials import flow, table, trial

from cdc_local.operations import prove_outcomes
from cdc_local.operations.prove_outcomes import (
    compute_reference,
    count_tied_keys,
    differing_keys,
    find_ties,
    group_by_key,
    probed_events,
    read_outcome,
)
from cdc_local.storage import Storage


def test_outcomes_are_compared_key_by_key(tmp_path):
    storage = Storage(tmp_path).create()
    write_deltalake(
        str(storage.table_path(table("t"))), pa.table({"B": [2, 1, 1], "a": ["x", "y", "y"], "n": [1, 3, 2]})
    )
    before = read_outcome(storage, table("t"), ("b", "a"))
    assert list(map(len, (before[("1", "y")], before[("2", "x")]))) == [2, 1] and before[
        ("1", "y")
    ] == sorted(before[("1", "y")])
    assert (
        differing_keys(before, before | {("3", "z"): ["row"]})
        == [("3", "z")]
        == differing_keys(before | {("3", "z"): ["row"]}, before)
    )


def test_rows_are_grouped_by_keys_in_any_spelling():
    before = group_by_key([{"ID": 1, "city": "Oslo"}, {"ID": 2, "city": None}], ("id",))
    after = group_by_key([{"ID": 2, "city": None}, {"ID": 1, "city": "Bern"}], ("id",))
    assert after == {("2",): ['{"ID": 2, "city": null}'], ("1",): ['{"ID": 1, "city": "Bern"}']}
    assert differing_keys(before, after) == [("1",)]


def test_keys_differ_where_a_row_differs_or_is_only_on_one_side():
    expected = {("7",): ["Oslo"], ("8",): ["Bern"]}
    found = {("7",): ["Oslo"], ("8",): ["Rome"], ("9",): ["Bonn"]}
    assert differing_keys(expected, expected) == []
    assert differing_keys(expected, found) == [("8",), ("9",)]


def events_of(monkeypatch, spark, rows):
    "Let the probes hold rows."
    monkeypatch.setattr(prove_outcomes, "update_session", lambda request: nullcontext(spark))
    monkeypatch.setattr(
        prove_outcomes,
        "read_stored",
        lambda spark, path: spark.createDataFrame(rows, "id int, city string, at int, op string"),
    )


def test_the_batch_formulation_is_of_the_flows_of_the_table(tmp_path, monkeypatch, spark):
    played = trial(
        tmp_path,
        flow("now", "landed", apply_as_deletes="op = 'D'", except_column_list=["op"]),
        flow("other", "landed"),
    )
    events_of(
        monkeypatch, spark, [(1, "Bern", 2, "U"), (1, "Lyon", 1, "U"), (2, "Oslo", 1, "U"), (2, None, 2, "D")]
    )
    target, events = probed_events(played, Storage(tmp_path), table("now"))
    assert (target.spec.target, events.count()) == ("now", 4)
    assert compute_reference(played, Storage(tmp_path), table("now")) == {
        ("1",): ['{"id": 1, "city": "Bern", "at": 2}']
    }


def test_copies_are_no_ties(tmp_path, monkeypatch, spark):
    played = trial(tmp_path, flow("now", "landed"))
    events_of(monkeypatch, spark, [(1, "Bern", 1, "U"), (1, "Bern", 1, "U"), (2, "Oslo", 1, "U")])
    assert find_ties(played, Storage(tmp_path), table("now")) == []
    assert count_tied_keys(played, Storage(tmp_path), table("now")) == 0
    events_of(monkeypatch, spark, [(1, "Bern", 1, "U"), (1, "Lyon", 1, "U"), (1, "Lyon", 1, "U")])
    assert [json.loads(each)["city"] for each in find_ties(played, Storage(tmp_path), table("now"))] == [
        "Bern",
        "Lyon",
    ]
    assert count_tied_keys(played, Storage(tmp_path), table("now")) == 1
