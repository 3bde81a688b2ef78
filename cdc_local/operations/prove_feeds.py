"""Feeds for `cdc prove`: made from a pipeline's own declarations, or read from the user's files."""

import json
import random
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DataType,
    DateType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.dataflow.graph import Flow
from cdc_local.errors import UsageError
from cdc_local.operations.prove_survey import Input, Survey, flows_behind
from cdc_utils.events import as_column

RAW_LINE = "\0"  # Column of an event whose row is a line of the user's file, as it was written
_MOST_COMBINATIONS = 200  # Of values that the delete rule is asked about
_MOMENTS = (DateType, TimestampType, TimestampNTZType)

Rule: TypeAlias = str | Column  # SQL text, or a Column


class Event(NamedTuple):
    "A row of a feed."

    input_number: int  # Which input it arrives in
    key: tuple[str, ...]  # Values of its key columns, as text
    row: tuple[tuple[str, Any], ...]  # (column, value) pairs, without those that are NULL


@dataclass(frozen=True)
class Plan:
    "How to make up the rows of one input."

    keys: tuple[str, ...]  # Columns that identify a row
    sequence: tuple[str, ...]  # Columns that order its events
    values: dict[str, list[str | None]]  # Other column -> values as text; None where NULL is allowed
    deletes: list[dict[str, str | None]]  # Values of the delete rule's columns for an event that deletes
    upserts: list[dict[str, str | None]]  # The same for one that does not
    types: dict[str, DataType]  # Column -> the type that its text stands for
    system: tuple[str, ...] = ()  # Columns that say when an event became known


def make_feed(
    spark: SparkSession,  # Evaluates the rules
    survey: Survey,  # The pipeline
    flows: list[Flow],  # Its AUTO CDC flows
    inputs: list[Input],  # Its inputs
    events: int,  # How many, about
    draw: random.Random,  # Source of chance
) -> list[Event]:  # In the order of time within a key, keys mixed
    "Make up a feed from the pipeline's declarations; `UsageError` where a key is no column of an input."
    plans = []
    for source in inputs:
        reader = next(
            flow
            for flow in flows
            if any(source in survey.inputs.get(name, ()) for name in flows_behind(survey, flow.name))
        )
        plans.append(plan_input(spark, survey, reader, source))
    by_key: list[list[Event]] = []
    while sum(map(len, by_key)) < events:
        key_number = len(by_key)
        number = key_number % len(inputs)
        by_key.append(make_key_events(draw, number, key_number, plans[number], inputs[number].schema))
    turns = [key_number for key_number, key_events in enumerate(by_key) for _ in key_events]
    draw.shuffle(turns)
    waiting = [iter(key_events) for key_events in by_key]
    return [next(waiting[key_number]) for key_number in turns]


def read_feed(
    folder: Path,  # JSON lines of the user
    inputs: list[Input],  # Inputs of the pipeline
    keys: Sequence[str],  # Columns that identify a row
) -> list[Event]:
    """Read the user's files as the feed, line by line in the order of their names; `UsageError` if the
    pipeline reads anything but one folder of JSON lines, or there are fewer than two events."""
    if len(inputs) != 1 or inputs[0].file_format != "json":
        locations = ", ".join(source.location for source in inputs)
        raise UsageError(
            f"--feed {folder} cannot be used: the pipeline reads {locations}",
            hint="it takes one folder of JSON lines",
        )
    files = sorted(
        path for path in Path(folder).rglob("*") if path.is_file() and not path.name.startswith((".", "_"))
    )
    events = []
    for line in (line for file in files for line in file.read_text().splitlines() if line.strip()):
        try:
            row = json.loads(line)
        except ValueError:
            row = None  # a line cut short is an event as well
        values = {name.lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
        key = tuple(str(values.get(name.lower())) for name in keys)
        events.append(Event(0, key, ((RAW_LINE, line),)))
    if len(events) < 2:
        raise UsageError(
            f"--feed {folder} has {len(events)} events", hint="two are needed to change their order"
        )
    return list(dict.fromkeys(events))


# --- what the columns of an input may contain ---------------------------------------------------------------


def plan_input(
    spark: SparkSession,  # Evaluates the rules
    survey: Survey,  # The pipeline
    flow: Flow,  # An AUTO CDC flow
    source: Input,  # One of its inputs
) -> Plan:
    "Decide what the columns of an input may contain; `UsageError` if a key is not among them."
    columns, spec = survey.columns[flow.name], flow.cdc_spec
    rules = _rules_behind(survey, flow)
    flow_names = {field.name.lower(): field.name for field in columns}
    input_names = {field.name.lower(): field.name for field in source.schema}
    for key in spec.keys:
        if key.lower() not in input_names:
            raise UsageError(
                f"no feed can be made for {flow.target}: its key {key} is no column of {source.location}",
                hint="--feed DIR takes files of your own",
            )
    types = {
        field.name: columns[flow_names[field.name.lower()]].dataType
        if field.name.lower() in flow_names
        else field.dataType
        for field in source.schema
    }
    keys = tuple(input_names[key.lower()] for key in spec.keys)
    sequence = _mentioned_columns(source.schema.names, cast(Rule, spec.sequence_by))
    if not sequence:
        sequence = tuple(
            name for name, kind in types.items() if isinstance(kind, _MOMENTS) and name not in keys
        )
    heard = _mentioned_columns(source.schema.names, cast("Rule | None", spec.system_sequence_by))
    system = tuple(name for name in heard if name not in (*keys, *sequence))
    delete_rule = cast("Rule | None", spec.apply_as_deletes)

    def column_values(name: str) -> list[str | None]:
        if name.lower() not in flow_names:
            return [None, *candidate_values(name, types[name], ())]
        candidates = candidate_values(name, types[name], [*rules, "" if delete_rule is None else delete_rule])
        fields = [rename_field(columns[flow_names[name.lower()]], name)]
        fields += [field for field in columns if field.name.lower() != name.lower()]
        return find_allowed_values(spark, StructType(fields), name, [*candidates, None], rules)

    values = {
        name: column_values(name)
        for name in types
        if name not in (*keys, *sequence, *system) and not name.startswith("_")
    }
    ruled = [name for name in _mentioned_columns(source.schema.names, delete_rule) if name in values]
    combinations = [
        dict(zip(ruled, chosen, strict=True))
        for chosen in list(product(*[values[name] for name in ruled]))[:_MOST_COMBINATIONS]
    ]
    deleting = [False] * len(combinations)
    if delete_rule is not None and ruled:
        deleting = evaluate_delete_rule(spark, columns, delete_rule, combinations)
    deletes = [row for row, is_delete in zip(combinations, deleting, strict=True) if is_delete]
    upserts = [row for row, is_delete in zip(combinations, deleting, strict=True) if not is_delete]
    free_values = {name: allowed for name, allowed in values.items() if name not in ruled}
    return Plan(keys, sequence, free_values, deletes, upserts or [{}], types, system)


def _rules_behind(
    survey: Survey,  # The pipeline
    flow: Flow,  # One of its flows
) -> list[Rule]:  # Conditions of the expectations that its rows pass
    "Find the expectations on a flow's way."
    behind = flows_behind(survey, flow.name)
    datasets = {survey.graph.flows[name].target for name in behind}
    datasets = datasets.union(*[survey.reads[name] for name in behind])
    return [
        expectation.constraint
        for name in sorted(datasets, key=str)
        if name in survey.graph.datasets
        for expectation in survey.graph.datasets[name].expectations
    ]


def _mentions(
    rule: Rule | None,  # SQL, or a Column
    name: str,  # A column
) -> bool:
    "Whether the text of a rule has the name of a column, in any spelling."
    return rule is not None and bool(re.search(rf"\b{re.escape(name)}\b", str(rule), re.I))


def _mentioned_columns(
    names: Iterable[str],  # Columns
    rule: Rule | None,  # SQL, or a Column
) -> tuple[str, ...]:  # Those that it mentions
    "Find the columns that a rule mentions."
    return tuple(name for name in names if _mentions(rule, name))


def candidate_values(
    name: str,  # A column
    kind: DataType,  # Its type
    rules: Iterable[Rule],  # Conditions of the pipeline
) -> list[str]:  # Values as text, plain ones last
    """List what might be put into a column: the words of the rules that mention it, and plain values of its
    type."""
    found = []
    for text in (str(rule) for rule in rules if _mentions(rule, name)):
        found += [
            word.replace("%", "x").replace("_", "x") if "%" in word else word
            for word in re.findall(r"'([^']*)'", text)
        ]
        found += re.findall(r"[\w.-]+", text)
    if isinstance(kind, BooleanType):
        return ["true", "false"]
    if isinstance(kind, NumericType):
        found += ["1", "2", "3"]
    elif isinstance(kind, _MOMENTS):
        found += ["2026-03-01", "2026-04-01"]
    elif isinstance(kind, StringType):
        found += ["a", "b", "c", "x@example.com"]
    return list(dict.fromkeys(found))


def find_allowed_values(
    spark: SparkSession,  # Evaluates the rules
    columns: StructType,  # Columns that the rules look at
    name: str,  # One of them
    values: list[str | None],  # Its candidates; None among them
    rules: Iterable[Rule],  # Conditions that must not be false
) -> list[str | None]:  # Those that no rule on this column alone refuses
    "Ask the rules which values they let pass."
    kind = columns[name].dataType.simpleString()
    frame = spark.createDataFrame(list(enumerate(values)), "__number int, __text string")
    frame = frame.select("*", F.expr(f"try_cast(__text AS {kind})").alias(name)).where(
        f"__text IS NULL OR `{name}` IS NOT NULL"
    )
    for rule in rules:
        if _mentioned_columns(columns.names, rule) == (name,):
            condition = F.expr(rule) if isinstance(rule, str) else rule
            frame = frame.where(F.coalesce(condition, F.lit(True)))
    return [row[0] for row in frame.orderBy("__number").select("__text").collect()]


def rename_field(
    field: StructField,  # A column
    name: str,  # Its name in another spelling
) -> StructField:
    "Spell the name of a column in another way."
    return StructField(name, field.dataType, field.nullable)


def evaluate_delete_rule(
    spark: SparkSession,  # Evaluates the rule
    columns: StructType,  # Columns of the events
    rule: Rule,  # `apply_as_deletes`
    rows: list[dict[str, str | None]],  # Values as text, by column; the same columns in each row
) -> list[bool]:  # For each row whether it deletes
    "Ask the delete rule about rows."
    given = {name.lower(): position for position, name in enumerate(rows[0])}

    def typed(field: StructField) -> Column:
        if field.name.lower() not in given:
            return F.lit(None).cast(field.dataType).alias(field.name)
        position = given[field.name.lower()]
        return F.expr(f"try_cast(__values[{position}] AS {field.dataType.simpleString()})").alias(field.name)

    frame = spark.createDataFrame(
        [(number, list(row.values())) for number, row in enumerate(rows)],
        "__number int, __values array<string>",
    )
    frame = frame.select("__number", *map(typed, columns))
    return [bool(row[0]) for row in frame.orderBy("__number").select(as_column(frame, rule)).collect()]


# --- rows ---------------------------------------------------------------------------------------------------


def make_key_events(
    draw: random.Random,  # Source of chance
    input_number: int,  # Which input they arrive in
    key_number: int,  # Which key
    plan: Plan,  # What its columns may contain
    schema: StructType,  # Its columns
) -> list[Event]:  # In the order of time
    """Make up one key's events: a fifth deletes, a quarter of the values NULL, moments unique.

    Where the system has a time of its own, it hears of some events after later ones.
    """
    keys: dict[str, Any] = {name: _key_value(key_number, plan.types[name]) for name in plan.keys}
    events, moment = [], 0
    for _ in range(draw.randint(1, 7)):
        moment += draw.randint(1, 3)
        row: dict[str, Any] = keys | {name: format_moment(moment, plan.types[name]) for name in plan.sequence}
        heard = moment + draw.randint(0, 6) if plan.system else moment
        row |= {name: format_moment(heard, plan.types[name]) for name in plan.system}
        row |= draw.choice(plan.deletes if plan.deletes and draw.random() < 0.2 else plan.upserts)
        for name, values in plan.values.items():
            filled = [value for value in values if value is not None]
            row[name] = None if not filled or None in values and draw.random() < 0.25 else draw.choice(filled)
        typed = {name: to_json_value(value, schema[name].dataType) for name, value in row.items()}
        pairs = tuple((name, value) for name, value in typed.items() if value is not None)
        events.append(Event(input_number, tuple(map(str, keys.values())), pairs))
    return events


def _key_value(
    number: int,  # Which key
    kind: DataType,  # Type of the key's column
) -> str | int:
    "Make up the value of a key."
    return f"key {number:03}" if isinstance(kind, StringType) else format_moment(number, kind)


def format_moment(
    number: int,  # Counted from 0 within a key
    kind: DataType,  # Type that the text stands for
) -> str | int:  # A value for a file
    "Write a moment as a column of this type has it; a date cannot tell moments of one day apart."
    moment = datetime(2026, 1, 1) + timedelta(hours=7 * number)
    if isinstance(kind, NumericType):
        return number
    if isinstance(kind, DateType):
        return str(moment.date())
    if isinstance(kind, TimestampNTZType):
        return moment.isoformat()
    if isinstance(kind, TimestampType):
        return moment.isoformat(timespec="milliseconds") + "Z"
    return f"{number:08}"


def to_json_value(
    text: str | int | float | None,  # A value
    kind: DataType,  # Type of its column
) -> str | int | float | bool | None:  # The same for a JSON line
    "Type a value for JSON."
    if text is None or isinstance(text, (int, float)):
        return text
    if isinstance(kind, BooleanType):
        return text == "true"
    if isinstance(kind, NumericType):
        return float(text) if "." in text else int(text)
    return text
