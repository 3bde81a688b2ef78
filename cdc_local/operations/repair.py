"""Chosen keys of an AUTO CDC target are computed anew from all of their source, in one commit; no other row is touched, and no update starts over."""

import difflib
import json
import shutil
import tempfile
import uuid
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import reduce
from pathlib import Path

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.analysis.flow_analysis import analyse_pipeline, flow_frame, table_schema
from cdc_local.analysis.runtime import Runtime, with_expectations
from cdc_local.auto_cdc.target import (
    Target,
    backing_properties,
    check_declaration,
    compute_rows,
    extract_events,
)
from cdc_local.dataflow.graph import Flow, Graph
from cdc_local.delta.rows import Rows
from cdc_local.errors import PipelineError, UsageError
from cdc_local.source.files import discover_sources, read_source
from cdc_local.source.user_errors import describe_exception, user_location
from cdc_local.storage import Storage, TableName, is_table, lock_storage
from cdc_local.update.auto_cdc_flow import let_deletes_pass
from cdc_local.update.event_log import EventLog
from cdc_local.update.request import UpdateRequest, update_session
from cdc_local.update.scheduler import describe_failure
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_local.update.streams import Run, run_stream
from cdc_utils import scd1


@dataclass(frozen=True)
class Choice:
    "Keys of a target."

    where: str | None = None  # SQL on the key columns
    since: str | None = None  # The first sequence of a stretch
    until: str | None = None  # The last one

    def __str__(self):
        parts = [
            self.where,
            self.since and f"an event since {self.since}",
            self.until and f"an event until {self.until}",
        ]
        return " and ".join(filter(None, parts))


def key_condition(
    choice: Choice,  # Keys
    keys: StructType,  # Key columns of the target
    spark,  # The session
) -> Column:  # Of the key columns; true for all where nothing was said
    "The condition on keys; `UsageError` for one that is no SQL or needs another column."
    if choice.where is None:
        return F.lit(True)
    try:
        spark.createDataFrame([], keys).where(choice.where)
    except PySparkException as wrong:
        raise UsageError(
            f"--where {choice.where!r}: {describe_exception(wrong)}",
            hint=f"write a condition on the key columns: {', '.join(keys.names)}",
        ) from None
    return F.expr(choice.where)


def sequence_condition(
    choice: Choice,  # Keys
    frame: DataFrame,  # With a column `__sequence`
) -> Column | None:  # Of that column; None where no stretch was asked for
    "The condition on events; `UsageError` for a bound that is no value of the sequence."
    kind, conditions = frame.schema[scd1.SEQUENCE].dataType, []
    for option, text, compare in (("--since", choice.since, ">="), ("--until", choice.until, "<=")):
        if text is None:
            continue
        if isinstance(kind, StructType):
            raise UsageError(
                f"{option}: the sequence is a struct, {kind.simpleString()}",
                hint="choose the keys with --where",
            )
        bound = F.lit(text).try_cast(kind)
        if frame.sparkSession.range(1).select(bound.isNull()).first()[0]:
            raise UsageError(f"{option} {text!r} is no {kind.simpleString()}, as the sequence is")
        conditions.append(F.col(scd1.SEQUENCE) >= bound if compare == ">=" else F.col(scd1.SEQUENCE) <= bound)
    return reduce(Column.__and__, conditions) if conditions else None


def repaired_flows(
    graph: Graph,  # The pipeline, analysed
    storage: Storage,  # Where its tables lie
    table: str,  # The target, as typed
) -> list[Flow]:  # Its flows
    "Find a target; `UsageError` for an unknown one, one without rows, and one that AUTO CDC does not compute."
    name = graph.name(table)
    if name not in graph.datasets:
        near = difflib.get_close_matches(name.table, [each.table for each in graph.datasets], 1)
        raise UsageError(
            f"no table {table} in this pipeline",
            hint=f"did you mean {near[0]}?"
            if near
            else f"it has {', '.join(sorted(each.table for each in graph.datasets))}",
        )
    flows = [flow for flow in graph.flows.values() if flow.target == name]
    others = sorted({flow.kind for flow in flows if flow.kind != "auto_cdc"})
    if others or not flows:
        raise UsageError(
            f"{name} is no AUTO CDC target (its flow is {', '.join(others) or 'missing'})",
            hint=f"compute it anew: cdc run … --full-refresh {name.table}",
        )
    if not is_table(storage.table_path(name)):
        raise UsageError(f"{name} has no rows to repair yet", hint="run an update first")
    return flows


def check_same(
    runtime: Runtime,  # Analysed
    flow: Flow,  # A flow of the target
) -> Target:  # Its target
    "Refuse to repair by a declaration that the stored rows do not follow: `PipelineError`."
    columns, path = runtime.source_columns[flow.name], runtime.storage.table_path(flow.target)
    target = Target.of(flow, columns)
    rows = compute_rows(extract_events(runtime.spark.createDataFrame([], columns), target), target).schema
    if check_declaration(
        path, target, backing_properties(target, rows[scd1.SEQUENCE].dataType.simpleString())
    ):
        raise UsageError(
            f"{flow.target}: its source has other columns than at the last update", hint="run an update first"
        )
    return target


@dataclass(frozen=True)
class AsideStorage(Storage):
    "A storage whose flows keep their checkpoints and schemas elsewhere."

    aside: Path = field(kw_only=True)  # Where

    def flow_path(self, target: TableName, flow: str) -> Path:
        "Folder aside of one flow."
        return self.aside / super().flow_path(target, flow).relative_to(self.root)


@contextmanager
def prepare_aside(
    storage: Storage,  # The pipeline's
    dry_run: bool,  # Leave no trace in it
):  # An `AsideStorage` over the same tables
    "Make the folder aside, with the schemas of all flows; also remove one that a killed repair left."
    if not dry_run:
        for left in storage.state_path.glob("repair-*"):
            shutil.rmtree(left)
        storage.state_path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="repair-", dir=None if dry_run else storage.state_path) as folder:
        for schemas in (storage.root / "checkpoints").glob("*/*/*/*/schemas"):
            shutil.copytree(schemas, Path(folder) / schemas.relative_to(storage.root))
        yield AsideStorage(storage.root, aside=Path(folder))


def source_events(
    run: Run,  # With its storage aside
    flow: Flow,  # A flow of the target
    target: Target,  # The target
    condition: Column,  # On keys
) -> DataFrame:  # Its events, as a batch
    "Run one flow over its whole source; `PipelineError` says what a flow that failed met."
    spark, path = run.runtime.spark, run.runtime.storage.flow_path(flow.target, flow.name) / "events"
    try:
        frame, evaluation = flow_frame(run.runtime, flow)
        dataset = let_deletes_pass(run.runtime.graph.datasets[flow.target], flow)
        frame = with_expectations(dataset, frame, evaluation)
        events = extract_events(frame, target).where(condition | scd1.keyless(target.keys))
        path.mkdir(parents=True)
        if events.isStreaming:
            run_stream(run, flow, events.writeStream.format("parquet").outputMode("append"), path)
        else:
            events.write.mode("append").parquet(str(path))
    except Exception as error:
        raise PipelineError(describe_failure(flow, error, run.runtime.sources)) from error
    return spark.read.schema(events.schema).parquet(str(path))


def persist_rows(
    rows: DataFrame,  # A batch
    path: Path,  # A folder aside
) -> DataFrame:  # The same rows, computed once
    "Compute rows once: what is compared is what is written."
    rows.write.parquet(str(path))
    return rows.sparkSession.read.schema(rows.schema).parquet(str(path))


def chosen_keys(
    choice: Choice,  # Keys
    stored: DataFrame,  # The backing table
    events: DataFrame,  # Of the source
    condition: Column,  # On keys
    keys: list[str],  # Key columns
    path: Path,  # Where to write the answer: it must not change while the repair uses it
) -> DataFrame:  # The chosen keys, each once
    "Decide which keys are repaired; `UsageError` if there are none."
    told = (
        stored.select(*keys, scd1.SEQUENCE)
        .unionByName(events.select(*keys, scd1.SEQUENCE))
        .where(condition & ~scd1.keyless(keys))
    )
    within = sequence_condition(choice, told)
    chosen = persist_rows((told if within is None else told.where(within)).select(*keys).distinct(), path)
    if chosen.isEmpty():
        raise UsageError(
            f"no key has {choice}" if choice.where is None else f"no key meets {choice}",
            hint="nothing was changed",
        )
    return chosen


def count_difference(
    before: DataFrame,  # Rows
    after: DataFrame,  # Rows, of the same columns
) -> DataFrame:  # Rows that differ, and `__times`: how often one comes, or below zero goes
    "Compare two tables, whatever their types."

    def plain(frame, times):
        return frame.select(
            *[
                scd1.comparable(scd1.column(each.name), each.dataType).alias(each.name)
                for each in after.schema
            ],
            F.lit(times).alias("__times"),
        )

    both = plain(before, -1).unionAll(plain(after, 1))
    return (
        both.groupBy(*map(scd1.column, after.columns))
        .agg(F.sum("__times").alias("__times"))
        .where("__times <> 0")
    )


def refuse_loss(
    stored: DataFrame,  # The chosen keys' rows of the backing table
    events: DataFrame,  # Their events in the source
    target: Target,  # The target
) -> None:
    "`UsageError` if a stored event or a stored column is not in the source."
    lost = [name for name in stored.columns if name not in (*events.columns, *scd1.RESERVED)]
    told = [name for name in lost if not stored.where(scd1.column(name).isNotNull()).isEmpty()]
    hint = "a repair would lose it; --force repairs all the same"
    if told:
        raise UsageError(
            f"the source of {target.spec.target} has no column {told[0]} any more, in which stored rows have values",
            hint=hint,
        )
    place = [*target.keys, scd1.SEQUENCE]
    missing = stored.select(*place).join(events.select(*place), place, "left_anti")
    count, first = missing.agg(F.count("*"), F.min(F.struct(*map(scd1.column, place)))).first()
    if not count:
        return
    example = ", ".join(f"{name} {value}" for name, value in zip([*target.keys, "sequence"], first))
    raise UsageError(
        f"{count} stored events of {target.spec.target} are not in its source, as {example}: it was emptied or lost rows",
        hint=hint,
    )


def replace_rows(
    table: DeltaTable,  # The backing table
    chosen: DataFrame,  # Keys
    rows: DataFrame,  # All rows that they should have
    keys: list[str],  # Key columns
) -> None:
    "Exchange the rows of the chosen keys, in one commit."
    drop = chosen.select("*", F.lit("drop").alias("__action"))
    orders = drop.unionByName(rows.select("*", F.lit("put").alias("__action")), allowMissingColumns=True)
    same = reduce(
        Column.__and__,
        [F.col(f"old.`{key}`") == F.col(f"new.`{key}`") for key in keys],
        F.col("new.__action") == "drop",
    )
    values = {f"`{name}`": F.col(f"new.`{name}`") for name in rows.columns}
    merge = table.alias("old").merge(orders.alias("new"), same).whenMatchedDelete()
    merge.whenNotMatchedInsert(condition=F.col("new.__action") == "put", values=values).execute()


@dataclass(frozen=True)
class Repaired:
    "What a repair did, or would do."

    table: str  # The target
    keys: int  # Chosen keys
    rows_before: int  # Their rows, as readers see them
    rows_after: int  # The same, afterwards
    removed: int  # Stored rows that go, hidden ones included
    added: int  # Stored rows that come
    changes: Rows  # Some of the visible rows that go (`-`) and come (`+`)
    warnings: tuple[str, ...] = ()  # What the local runner left out

    @property
    def changed(self) -> bool:
        return bool(self.removed or self.added)


def visible_rows(
    rows: DataFrame,  # Of the backing table
    target: Target,  # The target
) -> DataFrame:  # As readers see them
    "Leave out what AUTO CDC hides."
    properties = backing_properties(target, "")
    latest = set(json.loads(properties["cdc.latest"]))

    def shown(name):
        return F.col(f"__latest.`{name}`").alias(name) if name in latest else scd1.column(name)

    return rows.where(properties["cdc.visible"]).select(*map(shown, target.visible_columns))


def compare_rows(
    before: DataFrame,  # The chosen keys' rows of the backing table
    after: DataFrame,  # As they should be
    keys: int,  # How many keys
    target: Target,  # The target
    limit: int = 20,  # Examples at most
) -> Repaired:
    "Count what a repair changes, with examples."
    rows = [visible_rows(each, target) for each in (before, after)]
    shown = [each.count() for each in rows]
    stored = (
        count_difference(before, after)
        .agg(
            *[F.coalesce(F.sum(F.greatest(F.lit(0), sign * F.col("__times"))), F.lit(0)) for sign in (-1, 1)]
        )
        .first()
    )
    examples = []
    if any(stored):
        examples = count_difference(*rows).orderBy(*target.keys, "__times").limit(limit).collect()
    values = [("-" if row["__times"] < 0 else "+", *row[:-1]) for row in examples]
    return Repaired(target.spec.target, keys, *shown, *stored, Rows(("", *target.visible_columns), values))


def repair_keys(
    run: Run,  # With its storage aside
    flows: list[Flow],  # Flows of one target
    choice: Choice,  # Its keys
    force: bool,  # Even if the source has lost events
    dry_run: bool,  # Write nothing
) -> Repaired:
    "Compute the chosen keys anew, and exchange their rows."
    runtime, targets = run.runtime, [check_same(run.runtime, flow) for flow in flows]
    target, path = targets[0], runtime.storage.table_path(flows[0].target)
    table, keys = DeltaTable.forPath(runtime.spark, str(path)), list(targets[0].keys)
    stored = table.toDF()
    condition = key_condition(choice, stored.select(*keys).schema, runtime.spark)
    sequence_condition(choice, stored)  # a wrong bound is told before the source is read
    parts = [source_events(run, flow, each, condition) for flow, each in zip(flows, targets)]
    events = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts)
    chosen = chosen_keys(choice, stored, events, condition, keys, runtime.storage.aside / "keys")
    truncates = events.where(scd1.keyless(keys)).unionByName(
        stored.where(scd1.keyless(keys)).select(*[name for name in events.columns if name in stored.columns]),
        allowMissingColumns=True,
    )
    events, before = (
        events.join(chosen, keys, "left_semi").unionByName(truncates),
        stored.join(chosen, keys, "left_semi"),
    )
    if not force:
        refuse_loss(before, events, target)
    after = persist_rows(
        compute_rows(events, target).where(~scd1.keyless(keys)), runtime.storage.aside / "rows"
    )
    after = after.select(
        *[
            scd1.column(each.name)
            if each.name in after.columns
            else F.lit(None).cast(each.dataType).alias(each.name)
            for each in stored.schema
        ]
    )
    found = compare_rows(before.select(*after.columns), after, chosen.count(), target)
    if found.changed and not dry_run:
        replace_rows(table, chosen, after, keys)
    return found


def repair_table(
    request: UpdateRequest,  # Sources, storage, configuration, `dry_run`
    table: str,  # The target
    choice: Choice,  # Its keys
    force: bool = False,  # Even if the source has lost events
    listener: Callable[[dict], None] | None = None,  # Called with every event as it happens
) -> Repaired:  # What was done
    "Rebuild chosen keys of an AUTO CDC target from its source; raises `UsageError` or `PipelineError`, and then nothing was changed."
    if choice == Choice():
        raise UsageError(
            "no keys are chosen", hint='give --where "SQL on the key columns", or --since and --until'
        )
    sources = [read_source(path) for path in discover_sources(list(request.sources))]
    storage = Storage(request.storage).check()
    with ExitStack() as stack:
        if not request.dry_run:
            stack.enter_context(lock_storage(storage.create()))
        log = EventLog(storage.event_log_path, request.pipeline_name, str(uuid.uuid4()), listener)
        if not request.dry_run:
            stack.enter_context(log)

        def tell(text, level="INFO", error=None, **details):
            log.record(
                "user_action",
                text,
                level,
                dataset_name=table,
                details={"user_action": {"action": "REPAIR", **details}},
                error=error,
            )

        tell(f"{table}: repair of the keys that have {choice} started.")
        try:
            found = declare_and_repair(
                request,
                stack.enter_context(prepare_aside(storage, request.dry_run)),
                log,
                sources,
                stack,
                table,
                choice,
                force,
            )
        except (PipelineError, KeyboardInterrupt) as error:
            tell(f"{table}: the repair failed, nothing was changed.", "ERROR", error)
            raise
        counts = {
            name: getattr(found, name) for name in ("keys", "rows_before", "rows_after", "removed", "added")
        }
        tell(
            f"{found.table}: {found.keys} keys {'would be ' if request.dry_run else ''}repaired, {found.removed} stored rows replaced by {found.added}.",
            **counts,
        )
        return found


def declare_and_repair(
    request: UpdateRequest,  # What was asked
    storage: AsideStorage,  # Where
    log: EventLog,  # Takes the events
    sources: list,  # Source files, read
    stack: ExitStack,  # Closes what is opened here
    table: str,  # The target
    choice: Choice,  # Its keys
    force: bool,  # Even if the source has lost events
) -> Repaired:
    "Declare and analyse as an update does, then repair."
    spark, graph = stack.enter_context(update_session(request)), Graph(request.catalog, request.schema)
    runtime = Runtime(spark, graph, storage, table_schema)
    graph.locate = lambda: user_location(runtime.sources)
    stack.enter_context(source_environment(request, runtime))
    declare_sources(request, runtime, sources)
    analyse_pipeline(runtime)
    flows = repaired_flows(graph, storage, table)
    runtime.analysing = False
    found = repair_keys(Run(runtime, log), flows, choice, force, request.dry_run)
    return replace(found, table=str(flows[0].target), warnings=tuple(graph.warnings))
