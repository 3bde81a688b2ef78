"The laws of `cdc prove`: which deliveries are compared, and what a finding says."

from types import SimpleNamespace

import pytest
from prove_trials import flow, moves, table, trial

from cdc_local.operations import prove_laws
from cdc_local.operations.prove_laws import (
    Finding,
    check_content_laws,
    check_history_law,
    check_order_laws,
    report_broken_law,
)
from cdc_local.operations.prove_shrinking import Counterexample


def test_a_broken_law_is_told_with_its_small_story(tmp_path, monkeypatch):
    small = Counterexample([moves((1, "Oslo", 2)), moves((1, "Bern", 1))], ("expected",), ("found",))
    monkeypatch.setattr(prove_laws, "shrink_delivery", lambda *_: small)
    told = report_broken_law(
        trial(tmp_path),
        "order",
        table("now"),
        3,
        [moves((1, "Oslo", 2), (7, "Ulm", 1))],
        [("1",), ("7",)],
        None,
    )
    assert told == Finding(
        "order",
        "now",
        "breaks",
        3,
        "2 keys differ",
        (('{"id": 1, "city": "Oslo", "at": 2}',), ('{"id": 1, "city": "Bern", "at": 1}',)),
        ("expected",),
        ("found",),
    )
    assert (told.events[0], told.expected, told.found) == (
        ('{"id": 1, "city": "Oslo", "at": 2}',),
        ("expected",),
        ("found",),
    )


def test_keys_that_differ_only_together_are_reported_without_a_story(tmp_path, monkeypatch):
    monkeypatch.setattr(prove_laws, "shrink_delivery", lambda *_: None)
    found = report_broken_law(trial(tmp_path), "order", table("now"), 3, [], [("1",), ("7",)], None)
    assert (found.verdict, found.cases, found.events) == ("breaks", 3, ())
    assert found.why == (
        "2 keys differ, none of them when it is alone: keys depend on each other, or on the clock"
    )


def test_every_delivery_is_compared_with_the_one_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(prove_laws, "read_outcome", lambda storage, name, keys: storage)
    monkeypatch.setattr(
        prove_laws,
        "report_broken_law",
        lambda trial, law, name, cases, *_: Finding(law, name.table, "breaks", cases),
    )
    right, wrong = {("1",): ["a"]}, {("1",): ["b"]}
    played = {
        "order": [([], right), ([], right)],
        "batches": [([], wrong), ([], right)],
        "repeats": [([], right), ([], wrong)],
    }
    findings = check_order_laws(trial(tmp_path, flow("now", "landed")), table("now"), right, played)
    assert [(each.law, each.verdict, each.cases) for each in findings] == [
        ("order", "holds", 2),
        ("batches", "breaks", 1),
        ("repeats", "breaks", 2),
    ]
    assert findings[2].why == "1 keys differ; mend the law that has a counterexample first"


@pytest.mark.parametrize(
    "reference, ties, verdicts",
    [
        ({}, [], ["holds", "holds"]),
        ({("1",): ["a"]}, [], ["breaks", "holds"]),
        ({}, ["a", "b"], ["holds", "breaks"]),
    ],
)
def test_content_and_ties(tmp_path, monkeypatch, reference, ties, verdicts):
    monkeypatch.setattr(prove_laws, "compute_reference", lambda *_: reference)
    monkeypatch.setattr(prove_laws, "find_ties", lambda *_: ties)
    monkeypatch.setattr(prove_laws, "count_tied_keys", lambda *_: 7)
    monkeypatch.setattr(
        prove_laws,
        "report_broken_law",
        lambda trial, law, name, cases, *_: Finding(law, name.table, "breaks", cases),
    )
    findings = check_content_laws(trial(tmp_path, flow("now", "landed")), table("now"), {}, None, [])
    assert [(each.law, each.verdict) for each in findings] == list(
        zip(("reference", "no ties"), verdicts, strict=True)
    )
    assert not ties or findings[1].why.startswith("7 keys have different events of one sequence")


def test_a_current_table_is_compared_with_the_open_rows_of_its_history(tmp_path, monkeypatch):
    rows = {
        "now": [{"id": 1, "city": "Bern"}],
        "history": [{"id": 1, "city": "Lyon", "__END_AT": 2}, {"id": 1, "city": "Bern", "__END_AT": None}],
    }
    monkeypatch.setattr(
        prove_laws, "read_table", lambda storage, name: SimpleNamespace(to_pylist=lambda: rows[name.table])
    )
    flows = (
        flow("now", "landed"),
        flow("history", "landed", 2),
        flow("alone", "other"),
        flow("emptied", "landed", apply_as_truncates="op = 'T'"),
    )

    def verdicts():
        return [
            (each.table, each.verdict, each.why) for each in check_history_law(trial(tmp_path, *flows), None)
        ]

    assert verdicts() == [
        ("now", "holds", "with history"),
        ("alone", "not applicable", "no SCD 2 table has its source, keys and sequence"),
        ("emptied", "not applicable", "a history is not truncated"),
    ]
    rows["now"] = [{"id": 1, "city": "Lyon"}]
    assert verdicts()[0] == ("now", "breaks", "1 keys differ")


def test_a_history_is_compared_with_what_a_bitemporal_table_holds_true(tmp_path, monkeypatch):
    rows = {
        "history": [{"id": 1, "city": "Bern", "__END_AT": None}],
        "known": [
            {"id": 1, "city": "Lyon", "__END_AT": None, "__SYSTEM_END_AT": 7},
            {"id": 1, "city": "Bern", "__END_AT": None, "__SYSTEM_END_AT": None},
        ],
    }
    monkeypatch.setattr(
        prove_laws, "read_table", lambda storage, name: SimpleNamespace(to_pylist=lambda: rows[name.table])
    )
    known = {"system_sequence_by": "heard"}
    flows = (
        flow("history", "landed", 2),
        flow("known", "landed", "bitemporal", **known),
        flow("by_city", "landed", "bitemporal", track_history_column_list=["city"], **known),
    )

    def findings():
        return check_history_law(trial(tmp_path, *flows), None)

    assert findings() == [Finding("history = what is known", "history", "holds", 1, "with known")]
    rows["known"][1]["city"] = "Lyon"
    [broken] = findings()
    assert (broken.verdict, broken.why) == ("breaks", "1 keys differ")
    assert "Lyon" in broken.expected[0] and "Bern" in broken.found[0]
