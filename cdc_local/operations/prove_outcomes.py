"""What a delivery led to: the rows of each key, compared with another delivery's, and with the batch
formulation of the chapters."""

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from cdc_local.analysis.runtime import read_stored
from cdc_local.auto_cdc.target import Target, compute_rows, extract_events, select_visible_rows
from cdc_local.auto_cdc.ties import Ties
from cdc_local.delta.reader import read_table
from cdc_local.operations.prove_deliveries import Trial
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import update_session
from cdc_utils.events import exact_column

Key: TypeAlias = tuple[str, ...]  # Values of the key columns, as text
Outcome: TypeAlias = dict[Key, list[str]]  # Key -> its rows as JSON, sorted


def read_outcome(
    storage: Storage,  # After the last update
    name: TableName,  # A target
    keys: Sequence[str],  # Its keys
) -> Outcome:
    "Read what readers see of a table, key by key."
    return group_by_key(read_table(storage, name).to_pylist(), keys)


def group_by_key(
    rows: Iterable[dict[str, Any]],  # Rows of a table
    keys: Sequence[str],  # Its keys, in any spelling
) -> Outcome:
    "Sort rows into their keys."
    found = defaultdict(list)
    for row in rows:
        values = {name.lower(): value for name, value in row.items()}
        key = tuple(str(values[name.lower()]) for name in keys)
        found[key].append(json.dumps(row, default=str, ensure_ascii=False))
    return {key: sorted(texts) for key, texts in found.items()}


def differing_keys(
    expected: Outcome,  # Of one delivery
    found: Outcome,  # Of another one
) -> list[Key]:  # Keys whose rows differ
    "Compare two outcomes."
    return sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))


def probed_events(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> tuple[Target, DataFrame]:  # The target, and the events of its flows
    "Read all events that a target was fed with, from the probes."
    with update_session(replace(trial.request, dry_run=True)) as spark:
        pass  # the session of this process
    probes = trial.probe_names()
    target: Target
    events: DataFrame | None = None
    for flow in [flow for flow in trial.flows if flow.target == name]:
        probe = TableName(trial.request.catalog, trial.request.schema, probes[trial.source_name(flow)])
        rows = read_stored(spark, storage.table_path(probe))
        target = Target.of(flow, rows.schema)
        flow_events = extract_events(rows, target)
        events = flow_events if events is None else events.unionByName(flow_events, allowMissingColumns=True)
    assert events is not None, f"no flow of {name} is tried"
    return target, events


def compute_reference(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> Outcome:
    "Compute what a target must be from all its events at once, as the chapters SCD 1 and SCD 2 do."
    target, events = probed_events(trial, storage, name)
    shown = select_visible_rows(compute_rows(events, target), target.visible_part)
    return group_by_key(shown.toArrow().to_pylist(), target.keys)


def count_tied_keys(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> int:
    "Count the keys that have different events of one sequence."
    target, events = probed_events(trial, storage, name)
    ties = Ties()
    ties.add(events, target, events)
    return ties.keys


def find_ties(
    trial: Trial,  # The pipeline
    storage: Storage,  # After a delivery
    name: TableName,  # A target
) -> list[str]:  # Two or more events of one key with one sequence, as JSON; empty where there are none
    "Find different events that the sequence cannot tell apart."
    target, events = probed_events(trial, storage, name)
    keys = [exact_column(key) for key in target.keys]
    rows = F.sort_array(F.collect_list(F.to_json(F.struct("*")))).alias("rows")
    ties = events.distinct().groupBy(*keys, *target.sequences).agg(rows).where(F.size("rows") > 1)
    first = ties.orderBy(F.size("rows"), F.col("rows")[0]).first()
    return list(first.rows) if first else []
