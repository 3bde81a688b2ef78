"""`cdc repair`: chosen keys of an AUTO CDC target are computed anew from all of their source, in one commit.

No other row is touched, and no update starts over. `repair_source` reads the source again, `repair_rows`
compares and exchanges rows.
"""

import uuid
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any

from delta.tables import DeltaTable
from pyspark.errors import PySparkException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructType

from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema
from cdc_local.analysis.runtime import Runtime
from cdc_local.auto_cdc.target import (
    Target,
    backing_properties,
    check_declaration,
    compute_rows,
    extract_events,
)
from cdc_local.dataflow.graph import Flow, Graph
from cdc_local.errors import PipelineError, UsageError
from cdc_local.operations.repair_rows import RepairResult, compare_rows, refuse_lost_events, replace_rows
from cdc_local.operations.repair_source import (
    RepairStorage,
    open_repair_storage,
    persist_rows,
    read_source_events,
)
from cdc_local.source.files import Source, discover_sources, read_source
from cdc_local.source.user_errors import describe_exception, find_user_location
from cdc_local.storage import Storage, is_table, lock_storage
from cdc_local.update.event_log import EventLog
from cdc_local.update.request import UpdateRequest, update_session
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_local.update.streams import Run
from cdc_utils.events import SEQUENCE, exact_column, is_keyless


@dataclass(frozen=True)
class KeyChoice:
    "Which keys of a target to repair: those that meet all that is given."

    where: str | None = None  # SQL on the key columns
    since: str | None = None  # Keys with an event of this sequence or a later one
    until: str | None = None  # Keys with an event of this sequence or an earlier one

    def __str__(self) -> str:
        parts = [
            self.where,
            self.since and f"an event since {self.since}",
            self.until and f"an event until {self.until}",
        ]
        return " and ".join(filter(None, parts))


def repair_table(
    request: UpdateRequest,  # Sources, storage, configuration, `dry_run`
    table: str,  # The target
    choice: KeyChoice,  # Its keys
    force: bool = False,  # Even if the source has lost events
    listener: Callable[[dict[str, Any]], None] | None = None,  # Called with every event as it happens
) -> RepairResult:
    """Rebuild chosen keys of an AUTO CDC target from its source; raises `UsageError` or `PipelineError`,
    and then nothing was changed."""
    if choice == KeyChoice():
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

        def record(
            text: str,
            level: str = "INFO",
            error: BaseException | None = None,
            counts: dict[str, int] | None = None,
        ) -> None:
            details = {"user_action": {"action": "REPAIR", **(counts or {})}}
            log.record("user_action", text, level, dataset_name=table, details=details, error=error)

        record(f"{table}: repair of the keys that have {choice} started.")
        try:
            repair_storage = stack.enter_context(open_repair_storage(storage, request.dry_run))
            run, flows = _declare_target(request, repair_storage, log, sources, stack, table)
            result = _repair_keys(run, flows, choice, force, request.dry_run)
        except (PipelineError, KeyboardInterrupt) as error:
            record(f"{table}: the repair failed, nothing was changed.", "ERROR", error)
            raise
        result = replace(result, table=str(flows[0].target), warnings=tuple(run.runtime.graph.warnings))
        record(
            f"{result.table}: {result.keys} keys {'would be ' if request.dry_run else ''}repaired, "
            f"{result.removed} stored rows replaced by {result.added}.",
            counts=result.counts,
        )
        return result


# --- the target ---------------------------------------------------------------------------------------------


def _declare_target(
    request: UpdateRequest,  # What was asked
    storage: RepairStorage,  # Where
    log: EventLog,  # Receives the events
    sources: list[Source],  # Source files, read
    stack: ExitStack,  # Closes what is opened here
    table: str,  # The target
) -> tuple[Run, list[Flow]]:  # A run over the storage of the repair, and the target's flows
    "Declare and analyse the pipeline as an update does, and find the target."
    spark, graph = (
        stack.enter_context(update_session(request, "spark")),
        Graph(request.catalog, request.schema),
    )
    runtime = Runtime(spark, graph, storage, table_schema)
    graph.locate = lambda: find_user_location(runtime.sources)
    stack.enter_context(source_environment(request, runtime))
    declare_sources(request, runtime, sources)
    analyse_pipeline(runtime)
    flows = find_target_flows(graph, storage, table)
    runtime.analysing = False
    return Run(runtime, log), flows


def find_target_flows(
    graph: Graph,  # The pipeline, analysed
    storage: Storage,  # Where its tables lie
    table: str,  # The target, as typed
) -> list[Flow]:  # Its flows
    """Find a target; `UsageError` for an unknown one, one without rows, and one that AUTO CDC does not
    compute."""
    name = graph.find_name(table)
    flows = [flow for flow in graph.flows.values() if flow.target == name]
    other_kinds = sorted({flow.kind for flow in flows if flow.kind != "auto_cdc"})
    if other_kinds or not flows:
        raise UsageError(
            f"{name} is no AUTO CDC target (its flow is {', '.join(other_kinds) or 'missing'})",
            hint=f"compute it anew: cdc run … --full-refresh {name.table}",
        )
    if not is_table(storage.table_path(name)):
        raise UsageError(f"{name} has no rows to repair yet", hint="run an update first")
    return flows


def _check_target(
    runtime: Runtime,  # Analysed
    flow: Flow,  # A flow of the target
) -> Target:
    """Refuse to repair by a declaration that the stored rows do not follow: `PipelineError`;
    `UsageError` where the source has other columns than at the last update."""
    columns, path = runtime.source_columns[flow.name], runtime.storage.table_path(flow.target)
    target = Target.of(flow, columns)
    rows = compute_rows(extract_events(runtime.spark.createDataFrame([], columns), target), target)
    properties = backing_properties(target, rows.schema)
    if check_declaration(path, target, properties):
        raise UsageError(
            f"{flow.target}: its source has other columns than at the last update", hint="run an update first"
        )
    return target


# --- which keys ---------------------------------------------------------------------------------------------


def key_condition(
    choice: KeyChoice,  # Keys
    keys: StructType,  # Key columns of the target
    spark: SparkSession,  # The session
) -> Column:  # Of the key columns; true for all where no condition was given
    "Read the condition on keys; `UsageError` for one that is no SQL or needs another column."
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
    choice: KeyChoice,  # Keys
    frame: DataFrame,  # With a column `__sequence`
) -> Column | None:  # Of that column; None where no bound was given
    "Read the condition on events; `UsageError` for a bound that is no value of the sequence."
    kind, conditions = frame.schema[SEQUENCE].dataType, []
    for option, text in (("--since", choice.since), ("--until", choice.until)):
        if text is None:
            continue
        if isinstance(kind, StructType):
            raise UsageError(
                f"{option}: the sequence is a struct, {kind.simpleString()}",
                hint="choose the keys with --where",
            )
        bound = F.lit(text).try_cast(kind)
        if not frame.sparkSession.range(1).where(bound.isNull()).isEmpty():
            raise UsageError(f"{option} {text!r} is no {kind.simpleString()}, as the sequence is")
        sequence = F.col(SEQUENCE)
        conditions.append(sequence >= bound if option == "--since" else sequence <= bound)
    return reduce(Column.__and__, conditions) if conditions else None


def _choose_keys(
    choice: KeyChoice,  # Keys
    stored: DataFrame,  # The backing table
    events: DataFrame,  # Of the source
    condition: Column,  # On keys
    keys: list[str],  # Key columns
    path: Path,  # Where to write the answer: it must not change while the repair uses it
) -> DataFrame:  # The chosen keys, each once
    "Decide which keys are repaired; `UsageError` if there are none."
    columns = [*keys, SEQUENCE]
    known = stored.select(*columns).unionByName(events.select(*columns))
    known = known.where(condition & ~is_keyless(keys))
    bounds = sequence_condition(choice, known)
    chosen = persist_rows((known if bounds is None else known.where(bounds)).select(*keys).distinct(), path)
    if chosen.isEmpty():
        raise UsageError(
            f"no key has {choice}" if choice.where is None else f"no key meets {choice}",
            hint="nothing was changed",
        )
    return chosen


# --- the repair ---------------------------------------------------------------------------------------------


def _repair_keys(
    run: Run,  # Over the storage of the repair
    flows: list[Flow],  # Flows of one target
    choice: KeyChoice,  # Its keys
    force: bool,  # Even if the source has lost events
    dry_run: bool,  # Write nothing
) -> RepairResult:
    "Compute the chosen keys anew, and exchange their rows."
    runtime, storage = run.runtime, run.runtime.storage
    assert isinstance(storage, RepairStorage)
    targets = [_check_target(runtime, flow) for flow in flows]
    target, keys = targets[0], list(targets[0].keys)
    table = DeltaTable.forPath(runtime.spark, str(storage.table_path(flows[0].target)))
    stored = table.toDF()
    condition = key_condition(choice, stored.select(*keys).schema, runtime.spark)
    sequence_condition(choice, stored)  # a wrong bound is refused before the source is read
    parts = [
        read_source_events(run, flow, flow_target, condition)
        for flow, flow_target in zip(flows, targets, strict=True)
    ]
    events = reduce(lambda one, other: one.unionByName(other, allowMissingColumns=True), parts)
    chosen = _choose_keys(choice, stored, events, condition, keys, storage.folder / "keys")
    before = stored.join(chosen, keys, "left_semi")
    events = _events_of_keys(events, stored, chosen, keys)
    if not force:
        refuse_lost_events(before, events, target)
    computed = compute_rows(events, target).where(~is_keyless(keys))
    after = _with_columns(persist_rows(computed, storage.folder / "rows"), stored.schema)
    result = compare_rows(before.select(*after.columns), after, chosen.count(), target)
    if result.changed and not dry_run:
        replace_rows(table, chosen, after, keys)
    return result


def _events_of_keys(
    events: DataFrame,  # Of the source
    stored: DataFrame,  # The backing table
    chosen: DataFrame,  # Keys
    keys: list[str],  # Key columns
) -> DataFrame:  # Events of the chosen keys, and the truncates of the source and of the table
    "Choose events: a truncate has no key, and concerns every key."
    columns = [name for name in events.columns if name in stored.columns]
    truncates = events.where(is_keyless(keys)).unionByName(
        stored.where(is_keyless(keys)).select(*columns), allowMissingColumns=True
    )
    return events.join(chosen, keys, "left_semi").unionByName(truncates)


def _with_columns(
    rows: DataFrame,  # Computed rows
    schema: StructType,  # Of the backing table
) -> DataFrame:  # The same rows with the table's columns; NULL in those that they lack
    "Give rows the columns of a table."
    columns = [
        exact_column(field.name)
        if field.name in rows.columns
        else F.lit(None).cast(field.dataType).alias(field.name)
        for field in schema
    ]
    return rows.select(*columns)
