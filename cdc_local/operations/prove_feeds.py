"""Feeds for `cdc prove`: made up from a pipeline's own declarations."""

import csv
import json
import random
import re
from collections import defaultdict
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from io import StringIO
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import (
    BooleanType,
    DateType,
    NumericType,
    StringType,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.analysis.evaluation import evaluated_flow
from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Flow, Graph
from cdc_local.errors import UsageError
from cdc_local.source.files import discover_sources, read_source
from cdc_local.source.user_errors import user_location
from cdc_local.storage import Storage, TableName, is_table
from cdc_local.update.request import UpdateRequest, update_session
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_utils import scd1


@dataclass(frozen=True)
class Input:
    "A place that the pipeline's events come from."

    place: str  # Folder below the storage, or a table's full name
    file_format: str  # 'json', 'csv', or 'table'
    schema: StructType  # Its columns
    options: tuple = ()  # Auto Loader's options, as pairs


def file_input(
    storage: Storage,  # Storage of the analysis
    path: str,  # What the pipeline reads, on this machine
    options: dict,  # Auto Loader's options
    schema: Any,  # Declared schema, or None
) -> Input:
    "Describe a folder; `UsageError` for one that no feed can be made for."
    known = {name.lower().removeprefix("cloudfiles."): str(value) for name, value in options.items()}
    folder, kind = Path(path), known.get("format", "json").lower()
    if not folder.is_relative_to(storage.root) or re.search(r"[*?{\[]", str(path)):
        raise UsageError(
            f"no feed can be made for {path}: it is no folder of a volume",
            hint="let the pipeline read from /Volumes/…",
        )
    shown = "/" + str(folder.relative_to(storage.root))
    if schema is None:
        raise UsageError(
            f"no feed can be made for {shown}: its schema is inferred, so the tables depend on the batches",
            hint="declare it with .schema(…)",
        )
    if kind not in ("json", "csv"):
        raise UsageError(
            f"no feed can be made for {shown}: its format is {kind}", hint="the formats are json and csv"
        )
    if isinstance(schema, str):
        schema = StructType.fromDDL(schema)
    return Input(str(folder.relative_to(storage.root)), kind, schema, tuple(known.items()))


class Survey(NamedTuple):
    "What a pipeline reads and declares."

    graph: Graph  # Its datasets and flows
    inputs: dict  # Flow name -> `Input`s that its stream reads itself
    reads: dict  # Flow name -> tables and views it reads
    columns: dict  # Flow name -> columns that its query brings
    tables: dict  # Tables of the user's storage that are copied whole: name -> path


class SurveyingRuntime(Runtime):
    "Notes what the flows of a pipeline read while they are analysed."

    def __init__(
        self,
        spark: SparkSession,  # Classic Spark with Delta
        graph: Graph,  # The pipeline
        storage: Storage,  # Storage of the analysis, empty
        stored: Storage,  # The user's storage
    ) -> None:
        super().__init__(spark, graph, storage, table_schema, keep_schemas=False)
        self.stored = stored
        self.inputs: dict[str, list[Input]] = defaultdict(list)  # flow name -> what its stream reads itself
        self.copied: dict[TableName, Path] = {}  # tables of the user's storage that are copied with all rows

    def read_files(
        self,
        path: str,  # A path on this machine
        options: dict[str, str],  # Auto Loader's options
        schema: StructType | str | None = None,  # Declared schema
        streaming: bool = True,  # `readStream` or, for SQL's `read_files`, `read`
    ) -> DataFrame:
        "Read files, and note their folder; `UsageError` for one that no feed can be made for."
        found = file_input(self.storage, path, options, schema)
        Path(path).mkdir(parents=True, exist_ok=True)
        if streaming and found not in self._flow_inputs():
            self._flow_inputs().append(found)
        return super().read_files(path, options, schema, streaming)

    def read_table(
        self,
        text: str,  # A name as written
        streaming: bool,  # Read as a stream
        options: dict[str, str] | None = None,  # Reader options
    ) -> DataFrame:
        "Read a table; of one of the user's storage, note it and read its columns alone."
        from deltalake import DeltaTable

        name = self.graph.name(text)
        path, here = self.stored.table_path(name), self.storage.table_path(name)
        if name not in self.graph.datasets and is_table(path):
            if not here.exists():
                DeltaTable.create(str(here), DeltaTable(str(path)).schema())
            if not streaming:
                self.copied[name] = path
            else:
                schema = self.spark.read.format("delta").load(str(path)).schema
                self._flow_inputs().append(Input(str(name), "table", schema))
        return super().read_table(text, streaming, options)

    def _flow_inputs(self) -> list[Input]:  # Empty and of no use outside a flow
        "The inputs of the flow that is being analysed."
        flow = evaluated_flow()
        return self.inputs[flow.name] if flow is not None else []


def survey_pipeline(
    request: UpdateRequest,  # The pipeline, and the user's storage
    folder: Path,  # An empty folder
) -> Survey:
    "Declare and analyse a pipeline away from its data."
    sources = [read_source(path) for path in discover_sources(list(request.sources))]
    storage = Storage(folder).create()
    with ExitStack() as stack:
        spark, graph = (
            stack.enter_context(update_session(replace(request, dry_run=True))),
            Graph(request.catalog, request.schema),
        )
        runtime = SurveyingRuntime(spark, graph, storage, Storage(request.storage))
        graph.locate = lambda: user_location(runtime.sources)
        stack.enter_context(source_environment(request, runtime))
        declare_sources(request, runtime, sources)
        analyse_pipeline(runtime)
    return Survey(
        graph,
        dict(runtime.inputs),
        {name: each.reads for name, each in runtime.analysed.items()},
        dict(runtime.source_columns),
        runtime.copied,
    )


def upstream_of(
    found: Survey,  # The pipeline
    flow: str,  # One of its flows
) -> list[str]:  # It and every flow that its rows pass through
    "The flows behind a flow, views included."
    names = [flow]
    for name in names:
        names += [
            each.name
            for each in found.graph.flows.values()
            if each.target in found.reads.get(name, ()) and each.name not in names
        ]
    return names


def moment_text(
    number: int,  # Counted from 0 within a key
    kind,  # Spark type that the text stands for
) -> Any:  # A value for a file
    "Write a moment as a column of this type has it; a date cannot tell moments of one day apart."
    moment = datetime(2026, 1, 1) + timedelta(hours=7 * number)
    if isinstance(kind, NumericType):
        return number
    if isinstance(kind, DateType):
        return str(moment.date())
    if isinstance(kind, TimestampNTZType):
        return moment.isoformat()
    return (
        moment.isoformat(timespec="milliseconds") + "Z" if isinstance(kind, TimestampType) else f"{number:08}"
    )


def candidate_values(
    name: str,  # A column
    kind,  # Its type
    rules: list,  # Conditions of the pipeline, text or Column
) -> list[str]:  # Values as text, plain ones last
    "What might be put into a column: the words of the rules that mention it, and plain values of its type."
    found = []
    for text in map(str, rules):
        if not re.search(rf"\b{re.escape(name)}\b", text, re.I):
            continue
        found += [
            word.replace("%", "x").replace("_", "x") if "%" in word else word
            for word in re.findall(r"'([^']*)'", text)
        ] + re.findall(r"[\w.-]+", text)
    if isinstance(kind, BooleanType):
        return ["true", "false"]
    if isinstance(kind, NumericType):
        found += ["1", "2", "3"]
    elif isinstance(kind, (DateType, TimestampType, TimestampNTZType)):
        found += ["2026-03-01", "2026-04-01"]
    elif isinstance(kind, StringType):
        found += ["a", "b", "c", "x@example.com"]
    return list(dict.fromkeys(found))


def allowed_values(
    spark: SparkSession,  # Evaluates the rules
    columns: StructType,  # Columns that the rules look at
    name: str,  # One of them
    values: list,  # Its candidates; None among them
    rules: list,  # Conditions that must not be false
) -> list:  # Those that no rule on this column alone refuses
    "Ask the rules which values they let pass."

    def mentioned(rule):
        return [each for each in columns.names if re.search(rf"\b{re.escape(each)}\b", str(rule), re.I)]

    rules = [rule for rule in rules if mentioned(rule) == [name]]
    kind = columns[name].dataType.simpleString()
    frame = spark.createDataFrame([(number, value) for number, value in enumerate(values)], "n int, v string")
    frame = frame.select("n", "v", F.expr(f"try_cast(v AS {kind})").alias(name)).where(
        f"v IS NULL OR `{name}` IS NOT NULL"
    )
    for rule in rules:
        frame = frame.where(F.coalesce(F.expr(rule) if isinstance(rule, str) else rule, F.lit(True)))
    return [row.v for row in frame.orderBy("n").select("v").collect()]


@dataclass(frozen=True)
class Plan:
    "How to make up the rows of one input."

    keys: tuple  # Columns that identify a row
    sequence: tuple  # Columns that order its events
    pools: dict  # Other column -> values as text; None among them where NULL is allowed
    deletes: list  # Values of the delete rule's columns for an event that deletes
    upserts: list  # The same for one that does not
    kinds: dict  # Column -> the type that its text stands for


def plan_input(
    spark: SparkSession,  # Evaluates the rules
    found: Survey,  # The pipeline
    flow: Flow,  # An AUTO CDC flow
    place: Input,  # One of its inputs
) -> Plan:
    "Decide what the columns of an input may hold; `UsageError` if a key is not among them."
    columns, spec, behind = found.columns[flow.name], flow.spec, upstream_of(found, flow.name)
    datasets = {found.graph.flows[name].target for name in behind}.union(
        *[found.reads[name] for name in behind]
    )
    rules = [
        rule.constraint
        for name in datasets
        if name in found.graph.datasets
        for rule in found.graph.datasets[name].expectations
    ]
    spelt, names = (
        {field.name.lower(): field.name for field in columns},
        {field.name.lower(): field.name for field in place.schema},
    )
    for key in spec.keys:
        if key.lower() not in names:
            raise UsageError(
                f"no feed can be made for {flow.target}: its key {key} is no column of {place.place}",
                hint="--feed DIR takes files of your own",
            )
    kinds = {
        field.name: columns[spelt[field.name.lower()]].dataType
        if field.name.lower() in spelt
        else field.dataType
        for field in place.schema
    }

    def mentioned(text):
        return tuple(
            name for low, name in names.items() if re.search(rf"\b{re.escape(low)}\b", str(text), re.I)
        )

    keys, sequence = tuple(names[key.lower()] for key in spec.keys), mentioned(spec.sequence_by)
    times = (DateType, TimestampType, TimestampNTZType)
    if not sequence:
        sequence = tuple(name for name, kind in kinds.items() if isinstance(kind, times) and name not in keys)

    def pool(name):
        if name.lower() not in spelt:
            return [None, *candidate_values(name, kinds[name], ())]
        known = StructType(
            [replace_name(columns[spelt[name.lower()]], name)]
            + [field for field in columns if field.name.lower() != name.lower()]
        )
        return allowed_values(
            spark,
            known,
            name,
            [*candidate_values(name, kinds[name], [*rules, spec.apply_as_deletes or ""]), None],
            rules,
        )

    pools = {
        name: pool(name) for name in kinds if name not in (*keys, *sequence) and not name.startswith("_")
    }
    ruled = [name for name in mentioned(spec.apply_as_deletes or "") if name in pools]
    combinations = [
        dict(zip(ruled, values)) for values in list(product(*[pools[name] for name in ruled]))[:200]
    ]
    deleting = (
        choose_deletes(spark, columns, spec.apply_as_deletes, combinations)
        if ruled
        else [False] * len(combinations)
    )

    def those(wanted):
        return [each for each, is_delete in zip(combinations, deleting) if is_delete == wanted]

    return Plan(
        keys,
        sequence,
        {name: values for name, values in pools.items() if name not in ruled},
        those(True),
        those(False) or [{}],
        kinds,
    )


def replace_name(
    field,  # A field of a schema
    name: str,  # Its name in another spelling
):
    "The field under another spelling of its name."
    return type(field)(name, field.dataType, field.nullable)


def choose_deletes(
    spark: SparkSession,  # Evaluates the rule
    columns: StructType,  # Columns of the events
    rule: Any,  # `apply_as_deletes`
    rows: list[dict],  # Values as text, by column
) -> list[bool]:
    "Ask the delete rule about rows."

    def typed(field):
        given = {name.lower(): name for name in rows[0]}.get(field.name.lower())
        return (
            F.expr(f"try_cast(v[{list(rows[0]).index(given)}] AS {field.dataType.simpleString()})")
            if given
            else F.lit(None).cast(field.dataType)
        ).alias(field.name)

    frame = spark.createDataFrame(
        [(number, list(row.values())) for number, row in enumerate(rows)], "n int, v array<string>"
    )
    frame = frame.select("n", *map(typed, columns))
    return [bool(row[0]) for row in frame.orderBy("n").select(scd1.as_column(frame, rule)).collect()]


class Event(NamedTuple):
    "A row of a feed."

    place: int  # Which input
    key: tuple  # Values of its key columns, as text
    row: tuple  # (column, value) pairs, without those that are NULL


def json_value(
    text: str | None,  # A value
    kind,  # Spark type of its column
) -> Any:  # The same for a JSON line
    "Type a value for JSON."
    if text is None or isinstance(text, (int, float)):
        return text
    if isinstance(kind, BooleanType):
        return text == "true"
    return (float(text) if "." in text else int(text)) if isinstance(kind, NumericType) else text


def make_key_events(
    draw: random.Random,  # Source of chance
    place: int,  # Which input
    number: int,  # Which key
    plan: Plan,  # What its columns may hold
    schema: StructType,  # Its columns
) -> list[Event]:  # In the order of time
    "One key's events: a fifth deletes, a quarter of the values NULL, moments unique."

    def key(name):
        return (
            number
            if isinstance(plan.kinds[name], NumericType)
            else moment_text(number, plan.kinds[name])
            if not isinstance(plan.kinds[name], StringType)
            else f"key {number:03}"
        )

    keys, events, at = {name: key(name) for name in plan.keys}, [], 0
    for _ in range(draw.randint(1, 7)):
        at += draw.randint(1, 3)
        row = keys | {name: moment_text(at, plan.kinds[name]) for name in plan.sequence}
        row |= draw.choice(plan.deletes if plan.deletes and draw.random() < 0.2 else plan.upserts)
        for name, values in plan.pools.items():
            filled = [value for value in values if value is not None]
            row[name] = None if not filled or None in values and draw.random() < 0.25 else draw.choice(filled)
        typed = {name: json_value(value, schema[name].dataType) for name, value in row.items()}
        events.append(
            Event(
                place,
                tuple(map(str, keys.values())),
                tuple((name, value) for name, value in typed.items() if value is not None),
            )
        )
    return events


def deliveries(
    events: list[Event],  # In order
    runs: int,  # Of each manner
    draw: random.Random,  # Source of chance
) -> dict[str, list]:  # Law -> deliveries, each a list of batches
    "The same events in other manners."

    def cut(rows, many):
        cuts = sorted(draw.sample(range(1, len(rows)), min(many, len(rows)) - 1))
        return [rows[start:end] for start, end in zip([0, *cuts], [*cuts, len(rows)])]

    def shuffled(rows):
        return draw.sample(rows, len(rows))

    def repeated():
        return shuffled(events + draw.sample(events, max(1, len(events) * 15 // 100)))

    return {
        "order": [[shuffled(events)] for _ in range(runs)],
        "batches": [cut(shuffled(events), draw.randint(2, 8)) for _ in range(runs)],
        "repeats": [cut(repeated(), 2) for _ in range(runs)],
    }


def land_batch(
    storage: Storage,  # Where
    places: list[Input],  # The inputs
    batch: list[Event],  # What arrives
    name: str,  # Of the file, unique in the storage
) -> None:
    "Let a batch arrive: one file, or one commit, an input."
    import pyarrow as pa
    from deltalake import DeltaTable, write_deltalake

    for number, place in enumerate(places):
        rows = [dict(event.row) for event in batch if event.place == number]
        if place.file_format == "table":
            path = str(storage.table_path(TableName.parse(place.place, "", "")))
            schema = pa.schema(DeltaTable(path).schema().to_arrow())
            if rows:
                write_deltalake(path, typed_table(rows, schema), mode="append")
            continue
        folder = storage.root / place.place
        folder.mkdir(parents=True, exist_ok=True)
        if rows:
            (folder / f"{name}.{place.file_format}").write_text(file_text(rows, place))


def typed_table(
    rows: list[dict],  # Values as text or numbers
    schema,  # Arrow schema
):  # Arrow table
    "Rows for a Delta table; Arrow reads the text of moments."
    import pyarrow as pa

    def values(field):
        return pa.array(
            [
                None if row.get(field.name) is None else str(row[field.name]).replace(".000Z", "")
                for row in rows
            ],
            pa.string(),
        )

    def column(field):
        if not pa.types.is_timestamp(field.type):
            return values(field).cast(field.type)
        return (
            values(field).cast(pa.timestamp("us")).cast(field.type)
            if field.type.tz is None
            else values(field).cast(pa.timestamp("us")).cast("int64").cast(field.type)
        )

    return pa.table([column(field) for field in schema], schema=schema)


def file_text(
    rows: list[dict],  # Values by column
    place: Input,  # With the format and its options
) -> str:
    "Write rows as the input's format has them."
    if place.file_format == "json":
        return "".join((row["\0"] if "\0" in row else json.dumps(row)) + "\n" for row in rows)
    options, text = dict(place.options), StringIO()
    writer = csv.DictWriter(
        text,
        place.schema.names,
        delimiter=options.get("sep", options.get("delimiter", ",")),
        lineterminator="\n",
        extrasaction="ignore",
    )
    if options.get("header", "false").lower() == "true":
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def own_feed(
    folder: Path,  # JSON lines of the user
    places: list,  # Inputs of the pipeline
    keys: tuple,  # Columns that identify a row
) -> list[Event]:
    "Read the user's files as the feed, line by line in the order of their names; `UsageError` if they cannot be cut into lines."
    if len(places) != 1 or places[0].file_format != "json":
        raise UsageError(
            f"--feed {folder} cannot be used: the pipeline reads {', '.join(place.place for place in places)}",
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
        named = {name.lower(): value for name, value in row.items()} if isinstance(row, dict) else {}
        events.append(Event(0, tuple(str(named.get(key.lower())) for key in keys), (("\0", line),)))
    if len(events) < 2:
        raise UsageError(
            f"--feed {folder} has {len(events)} events", hint="two are needed to change their order"
        )
    return list(dict.fromkeys(events))


def made_feed(
    spark: SparkSession,  # Evaluates the rules
    found: Survey,  # The pipeline
    flows: list,  # Its AUTO CDC flows
    places: list,  # Its inputs
    events: int,  # How many, about
    draw: random.Random,  # Source of chance
) -> list[Event]:  # In the order of time within a key, keys mixed
    "Make up a feed from the pipeline's declarations."
    plans = [
        plan_input(
            spark,
            found,
            next(
                flow
                for flow in flows
                if any(place in found.inputs.get(name, ()) for name in upstream_of(found, flow.name))
            ),
            place,
        )
        for place in places
    ]
    made, number = [], 0
    while sum(map(len, made)) < events:
        place = number % len(places)
        made.append(make_key_events(draw, place, number, plans[place], places[place].schema))
        number += 1
    turns = [index for index, each in enumerate(made) for _ in each]
    draw.shuffle(turns)
    waiting = [iter(each) for each in made]
    return [next(waiting[index]) for index in turns]
