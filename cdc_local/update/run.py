"""One update of a pipeline: declare, analyse, then let every flow bring its target up to date."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema, upstream_flows
from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Graph
from cdc_local.engines.sail.session import end_session, gives_way
from cdc_local.engines.session import choose_engine, has_session
from cdc_local.errors import JavaMissingError, NeedsSparkError, PipelineError
from cdc_local.source.files import Source, discover_sources, read_source
from cdc_local.source.user_errors import find_user_location
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.endings import explain_endings
from cdc_local.update.event_log import EventLog
from cdc_local.update.leave_to_spark import leave_to_spark
from cdc_local.update.maintenance import maintain_due_tables
from cdc_local.update.request import UpdateRequest, choose_tables, update_session
from cdc_local.update.scheduler import BLOCKING, run_flows
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_local.update.table_setup import log_definitions, set_up_tables
from cdc_utils.results import UpdateResult


def run_update(
    request: UpdateRequest,  # What to run
    listener: Callable[[dict[str, Any]], None] | None = None,  # Called with every event as it happens
    inputs: UpdateInputs | None = None,  # Takes what the update reads, and calls when that is known
) -> UpdateResult:  # What was done; its state says whether all went well
    """Run one update; `UsageError` or `PipelineError` before anything is written, if it is wrong, and
    `PipelineError` for a full disk, a Java that ended or a damaged file."""
    sources = [read_source(path) for path in discover_sources(list(request.sources))]
    inputs = inputs or UpdateInputs()
    inputs.sources.update(*(source.paths for source in sources))
    storage, update_id = Storage(request.storage).check(), request.update_id or str(uuid.uuid4())
    with explain_endings(storage), ExitStack() as stack:
        if not request.dry_run:
            stack.enter_context(lock_storage(storage.create(), request.waits_for_storage))
        log = EventLog(storage.event_log_path, request.pipeline_name, update_id, listener)
        if not request.dry_run or request.keeps_events:
            stack.enter_context(log)
        if not request.resumed:
            log.record(
                "create_update",
                f"Update {update_id[:8]} started.",
                details={
                    "create_update": {
                        "full_refresh": request.full_refresh_all,
                        "dry_run": request.dry_run,
                        "source_files": len(sources),
                    }
                },
            )
        try:
            with explain_endings(storage):
                return _run_on_engine(request, storage, log, sources, inputs)
        except (PipelineError, KeyboardInterrupt) as error:
            state = "CANCELED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            _log_state(request, log, state, "ERROR", error)
            raise


def _run_on_engine(
    request: UpdateRequest,  # What to run, and on which engine
    storage: Storage,  # Where
    log: EventLog,  # Takes the events
    sources: Sequence[Source],  # Source files, read
    inputs: UpdateInputs,  # Takes what the update reads
) -> UpdateResult:
    "Run an update on the engine that is asked for; `auto` is Sail, and Spark where something needs it."
    asked, running = choose_engine(request.engine), has_session()
    if asked != "auto" or running == "spark":
        return _run_declared(request, storage, log, sources, inputs, "spark" if asked == "auto" else asked)
    try:
        return _run_declared(request, storage, log, sources, inputs, "sail", may_leave=True)
    except NeedsSparkError as reason:
        if not gives_way():
            raise  # a notebook has the session
        end_session()
        _log_engine(log, "Spark", reason)
        try:
            return _run_declared(request, storage, log, sources, inputs, "spark")
        except JavaMissingError as missing:
            message = f"{reason.message}; {missing.message}"
            raise PipelineError(message, reason.location, missing.hint) from None


def _log_engine(
    log: EventLog,  # Takes the event
    engine: str,  # Its name
    reason: NeedsSparkError,  # Why
) -> None:
    "Record which engine runs an update."
    place = f"{reason.location}: " if reason.location else ""
    log.record(
        "update_progress",
        f"Update {log.update_id[:8]} runs on {engine}: {place}{reason.message}.",
        details={"update_progress": {"state": "INITIALIZING", "engine": engine.lower()}},
    )


def _run_declared(
    request: UpdateRequest,  # What to run
    storage: Storage,  # Where
    log: EventLog,  # Takes the events
    sources: Sequence[Source],  # Source files, read
    inputs: UpdateInputs,  # Takes what the update reads
    engine: str,  # `sail` or `spark`
    may_leave: bool = False,  # Whether Spark runs what Sail is not known to run as Spark does
) -> UpdateResult:
    """Declare, analyse, empty, create, run; `PipelineError` for a mistake, before anything is written.

    `NeedsSparkError` where Sail may leave the update to Spark; what flows have committed stays.
    """
    with ExitStack() as stack:
        spark = stack.enter_context(update_session(request, engine))
        graph = Graph(request.catalog, request.schema)
        runtime = Runtime(spark, graph, storage, table_schema, keep_schemas=not request.dry_run)
        runtime.update_inputs = inputs
        graph.locate = lambda: find_user_location(runtime.sources)
        stack.enter_context(source_environment(request, runtime))
        _log_state(request, log, "INITIALIZING")
        with leave_to_spark(may_leave):
            declare_sources(request, runtime, sources)
            inputs.on_declared(runtime)
            analyse_pipeline(runtime)
        _judge_unknown(runtime, log, may_leave)
        return _run_analysed(request, runtime, log, inputs, may_leave)


def _judge_unknown(
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes warnings
    may_leave: bool,  # Whether Spark may run the update
) -> None:
    "Leave a pipeline that is not wholly known to Spark, or warn of each part of it."
    if not runtime.unknown:
        return
    if may_leave:
        [(sentence, name), *others] = runtime.unknown.items()
        more = f", and {len(others)} more" if others else ""
        raise NeedsSparkError(f"{name}: {sentence}{more}")
    for sentence, name in runtime.unknown.items():
        runtime.graph.warn(f"{name}: {sentence} to give the same on Sail as on Spark")


def _run_analysed(
    request: UpdateRequest,  # What to run
    runtime: Runtime,  # Analysed
    log: EventLog,  # Takes the events
    inputs: UpdateInputs,  # What the update reads
    may_leave: bool,  # Whether Spark may run the update
) -> UpdateResult:
    "Empty, create, run."
    graph, storage = runtime.graph, runtime.storage
    inputs.on_analysed()
    chosen, emptied = choose_tables(graph, request)
    if request.dry_run:
        log_definitions(runtime, log)
        _log_state(request, log, "COMPLETED")
        return UpdateResult(
            log.update_id,
            "COMPLETED",
            graph=graph,
            reads=_read_tables(runtime),
            warnings=tuple(graph.warnings),
        )
    _log_state(request, log, "SETTING_UP_TABLES")
    run = set_up_tables(runtime, log, chosen, emptied)
    run.may_leave = may_leave
    _log_state(request, log, "RUNNING")
    flows = run_flows(run, upstream_flows(runtime), chosen)
    if run.needs_spark is not None:
        raise run.needs_spark
    if not run.stopping.is_set():
        maintain_due_tables(storage, log)
    if run.stopping.is_set():
        state = "CANCELED"
    else:
        state = "FAILED" if any(flow.status in BLOCKING for flow in flows) else "COMPLETED"
    _log_state(request, log, state, "INFO" if state == "COMPLETED" else "ERROR")
    return UpdateResult(
        log.update_id,
        state,
        tuple(flows),
        next((flow.error for flow in flows if flow.status == "FAILED"), None),
        graph,
        _read_tables(runtime),
        tuple(graph.warnings),
    )


def _read_tables(
    runtime: Runtime,  # Analysed
) -> dict[str, list[TableName]]:  # Flow or view -> tables and views it reads
    "What each flow and each view reads."
    flows = {name: sorted(runtime.analysed[name].reads) for name in runtime.graph.flows}
    return flows | {str(view): sorted(reads) for view, reads in runtime.view_reads.items()}


def _log_state(
    request: UpdateRequest,  # What to run
    log: EventLog,  # Of the update
    state: str,  # INITIALIZING, SETTING_UP_TABLES, RUNNING, COMPLETED, FAILED, CANCELED
    level: str = "INFO",  # Of the event
    error: BaseException | None = None,  # Why it failed
) -> None:
    "Record in the event log how far an update is; one that goes on is RUNNING from its first round on."
    if request.resumed and state in ("INITIALIZING", "SETTING_UP_TABLES", "RUNNING"):
        return
    message = f"Update {log.update_id[:8]} is {state}."
    if request.continuous and state in ("COMPLETED", "FAILED"):
        message, state = f"A round of update {log.update_id[:8]} is {state}; it waits for changes.", "RUNNING"
    log.record(
        "update_progress",
        message,
        level,
        details={"update_progress": {"state": state}},
        error=error,
    )
