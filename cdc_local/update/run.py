"""One update of a pipeline: declare, analyse, then let every flow bring its target up to date."""

import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema, upstream_flows
from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import PipelineError
from cdc_local.source.files import Source, discover_sources, read_source
from cdc_local.source.user_errors import find_user_location
from cdc_local.storage import Storage, TableName, lock_storage
from cdc_local.update.endings import explain_endings
from cdc_local.update.event_log import EventLog
from cdc_local.update.maintenance import maintain_due_tables
from cdc_local.update.request import UpdateRequest, choose_tables, update_session
from cdc_local.update.scheduler import BLOCKING, run_flows
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_local.update.table_setup import set_up_tables
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
        if not request.dry_run:
            stack.enter_context(log)
        if not request.resumed:
            log.record(
                "create_update",
                f"Update {update_id[:8]} started.",
                details={
                    "create_update": {"full_refresh": request.full_refresh_all, "dry_run": request.dry_run}
                },
            )
        try:
            with explain_endings(storage):
                return _run_declared(request, storage, log, sources, inputs, stack)
        except (PipelineError, KeyboardInterrupt) as error:
            state = "CANCELED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            _log_state(request, log, state, "ERROR", error)
            raise


def _run_declared(
    request: UpdateRequest,  # What to run
    storage: Storage,  # Where
    log: EventLog,  # Takes the events
    sources: Sequence[Source],  # Source files, read
    inputs: UpdateInputs,  # Takes what the update reads
    stack: ExitStack,  # Closes what is opened here
) -> UpdateResult:
    "Declare, analyse, empty, create, run; `PipelineError` for a mistake, before anything is written."
    spark, graph = stack.enter_context(update_session(request)), Graph(request.catalog, request.schema)
    runtime = Runtime(spark, graph, storage, table_schema, keep_schemas=not request.dry_run)
    runtime.update_inputs = inputs
    graph.locate = lambda: find_user_location(runtime.sources)
    stack.enter_context(source_environment(request, runtime))
    _log_state(request, log, "INITIALIZING")
    declare_sources(request, runtime, sources)
    analyse_pipeline(runtime)
    inputs.on_analysed()
    chosen, emptied = choose_tables(graph, request)
    if request.dry_run:
        return UpdateResult(
            log.update_id,
            "COMPLETED",
            graph=graph,
            reads=_read_tables(runtime),
            warnings=tuple(graph.warnings),
        )
    _log_state(request, log, "SETTING_UP_TABLES")
    run = set_up_tables(runtime, log, chosen, emptied)
    _log_state(request, log, "RUNNING")
    flows = run_flows(run, upstream_flows(runtime), chosen)
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
