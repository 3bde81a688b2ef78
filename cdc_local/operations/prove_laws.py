"""The laws that a pipeline's tables obey whatever the delivery, one function a kind of law."""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from cdc_local.dataflow.graph import Flow
from cdc_local.delta.reader import read_table
from cdc_local.operations.prove_deliveries import Delivery, Trial, play_delivery
from cdc_local.operations.prove_feeds import Event
from cdc_local.operations.prove_outcomes import (
    Key,
    Outcome,
    compute_reference,
    count_tied_keys,
    differing_keys,
    find_ties,
    group_by_key,
    read_outcome,
)
from cdc_local.operations.prove_shrinking import shrink_delivery
from cdc_local.storage import Storage, TableName
from cdc_utils import bitemporal, scd2

LAWS = {
    "order": "shuffled, in one update",
    "batches": "in 2 to 8 updates, in any order",
    "repeats": "with 15 % copies, in 2 updates",
    "reference": "equal to the batch formulation over all events",
    "no ties": "one event per key and sequence",
    "current = open history": "SCD 1 equals the open rows of SCD 2",
    "history = what is known": "SCD 2 equals what a bitemporal table holds true",
}  # Name of a law -> what it says


class Finding(NamedTuple):
    "What became of one law for one table."

    law: str  # Its name
    table: str  # The target
    verdict: str  # 'holds', 'breaks' or 'not applicable'
    cases: int  # Deliveries compared
    why: str = ""  # Why it is not applicable, or what broke it
    events: tuple[
        tuple[str, ...], ...
    ] = ()  # Counterexample: batches of rows as JSON, in the order of arrival
    expected: tuple[str, ...] = ()  # Rows of the table, had it held
    found: tuple[str, ...] = ()  # Rows of the table as it is


def check_order_laws(
    trial: Trial,  # The pipeline
    name: TableName,  # A target
    before: Outcome,  # Its outcome of the feed in order
    played: dict[str, list[tuple[Delivery, Storage]]],  # Law -> deliveries, and the storage after each
) -> list[Finding]:
    "Compare every delivery with the one in order."
    keys_of_target = trial.keys_of(name)
    findings: list[Finding] = []

    def outcome_in_order(delivery: Delivery) -> Outcome:
        events = dict.fromkeys(event for batch in delivery for event in batch)
        in_order = sorted(events, key=trial.positions.__getitem__)
        return read_outcome(play_delivery(trial, [in_order]), name, keys_of_target)

    for law, deliveries in played.items():
        cases = (
            (number, delivery, differing_keys(before, read_outcome(storage, name, keys_of_target)))
            for number, (delivery, storage) in enumerate(deliveries, 1)
        )
        broken = next((case for case in cases if case[2]), None)
        if broken is None:
            findings.append(Finding(law, name.table, "holds", len(deliveries)))
            continue
        number, delivery, keys = broken
        if any(finding.verdict == "breaks" for finding in findings):
            why = f"{len(keys)} keys differ; mend the law that has a counterexample first"
            findings.append(Finding(law, name.table, "breaks", number, why))
        else:
            findings.append(report_broken_law(trial, law, name, number, delivery, keys, outcome_in_order))
    return findings


def check_content_laws(
    trial: Trial,  # The pipeline
    name: TableName,  # A target
    before: Outcome,  # Its outcome of the feed in order
    storage: Storage,  # After that
    events: list[Event],  # The feed in order
) -> list[Finding]:
    "Compare a target with the batch formulation, and look for ties."
    keys = differing_keys(compute_reference(trial, storage, name), before)

    def reference(delivery: Delivery) -> Outcome:
        return compute_reference(trial, play_delivery(trial, delivery), name)

    if keys:
        finding = report_broken_law(trial, "reference", name, 1, [events], keys, reference)
    else:
        finding = Finding("reference", name.table, "holds", 1)
    ties = tuple(find_ties(trial, storage, name))
    if not ties:
        return [finding, Finding("no ties", name.table, "holds", 1)]
    tied = count_tied_keys(trial, storage, name)
    why = (
        f"{tied} {'key has' if tied == 1 else 'keys have'} different events of one sequence: "
        "here the greatest row wins, elsewhere any of them may"
    )
    return [finding, Finding("no ties", name.table, "breaks", 1, why, (ties,), ties, ties[:-1])]


def check_history_law(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
) -> list[Finding]:
    """Compare SCD 1 tables with the open rows of SCD 2 tables of the same source and keys, and these with
    what bitemporal tables hold to be true."""
    current, histories, known = (
        [flow for flow in trial.flows if flow.cdc_spec.stored_as_scd_type == scd_type]
        for scd_type in (1, 2, "bitemporal")
    )
    findings = [
        _compare_with_history(storage, "history = what is known", history, flow, bitemporal.SYSTEM_END_AT)
        for history in histories
        for flow in known
        if _feed_of(history) == _feed_of(flow) and _tracked_by(history) == _tracked_by(flow)
    ]
    for flow in current:
        history = next((other for other in histories if _feed_of(other) == _feed_of(flow)), None)
        if flow.cdc_spec.apply_as_truncates is not None:
            findings.append(_history_finding(flow, "not applicable", "a history is not truncated"))
        elif history is None:
            why = "no SCD 2 table has its source, keys and sequence"
            findings.append(_history_finding(flow, "not applicable", why))
        else:
            law = "current = open history"
            findings.append(_compare_with_history(storage, law, flow, history, scd2.END_AT))
    return findings


def _feed_of(
    flow: Flow,  # An AUTO CDC flow
) -> tuple[str, Any, str]:  # Its source, its keys, its sequence
    "Tell flows apart by what they are fed with."
    spec = flow.cdc_spec
    return str(spec.source), spec.keys, str(spec.sequence_by)


def _tracked_by(
    flow: Flow,  # An AUTO CDC flow
) -> tuple[Any, ...]:  # What opens a version of its table, and what a NULL says
    "Tell histories of one feed apart."
    spec = flow.cdc_spec
    return (
        spec.track_history_column_list,
        spec.track_history_except_column_list,
        spec.ignore_null_updates,
        spec.ignore_null_updates_column_list,
        spec.ignore_null_updates_except_column_list,
        spec.columns_to_update,
        spec.column_list,
        spec.except_column_list,
    )


def _history_finding(
    flow: Flow,  # Into the table that was compared
    verdict: str,  # Of the law
    why: str,  # Remark
    expected: tuple[str, ...] = (),  # Rows of a key that differs, in the table that keeps more
    found: tuple[str, ...] = (),  # The same in the table that was compared
    law: str = "current = open history",  # Its name
) -> Finding:
    "Say what became of the law for one table."
    cases = 0 if verdict == "not applicable" else 1
    return Finding(law, flow.target.table, verdict, cases, why, (), expected, found)


def _compare_with_history(
    storage: Storage,  # After a delivery
    law: str,  # What is compared
    flow: Flow,  # An SCD 1 flow, or an SCD 2 flow
    history: Flow,  # The SCD 2 flow of the same source, or the bitemporal one
    end: str,  # Column of its table, NULL in open rows
) -> Finding:
    "Compare a table with the open rows of one that keeps more, in the columns that both have."
    rows, versions = (read_table(storage, table).to_pylist() for table in (flow.target, history.target))
    shared = [name for name in (rows or [{}])[0] if name in (versions or [{}])[0]]

    def by_key(rows: list[dict[str, Any]]) -> Outcome:
        return group_by_key([{name: row[name] for name in shared} for row in rows], flow.cdc_spec.keys)

    found = by_key(rows)
    expected = by_key([row for row in versions if row[end] is None])
    keys = differing_keys(found, expected)
    if not keys:
        return _history_finding(flow, "holds", f"with {history.target.table}", law=law)
    rows, held = (tuple(outcome.get(keys[0], ())) for outcome in (found, expected))
    return _history_finding(flow, "breaks", f"{len(keys)} keys differ", held, rows, law)


def report_broken_law(
    trial: Trial,  # The pipeline
    law: str,  # Its name
    name: TableName,  # The table
    cases: int,  # Deliveries compared
    delivery: Delivery,  # What broke it
    keys: list[Key],  # Keys that differ
    expect: Callable[[Delivery], Outcome],  # What the table should be after a delivery
) -> Finding:
    "Report a broken law with a small counterexample."
    trial.report(
        f"{law} breaks for {name.table}: {len(keys)} keys differ; looking for the smallest failing example"
    )
    example = shrink_delivery(trial, name, delivery, keys, expect)
    if example is None:
        why = (
            f"{len(keys)} keys differ, none of them when it is alone: "
            "keys depend on each other, or on the clock"
        )
        return Finding(law, name.table, "breaks", cases, why)
    rows = tuple(
        tuple(json.dumps(dict(event.row), ensure_ascii=False) for event in batch)
        for batch in example.delivery
    )
    why = f"{len(keys)} keys differ"
    return Finding(law, name.table, "breaks", cases, why, rows, example.expected, example.found)
