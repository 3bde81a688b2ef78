"""One update of a pipeline: declare, analyse, then let every flow bring its target up to date, in the order of what they read."""

import uuid
from collections.abc import Callable
from contextlib import ExitStack

from cdc_local.analysis.flow_analysis import analyse_pipeline, table_schema, upstream_flows
from cdc_local.analysis.runtime import Runtime
from cdc_local.dataflow.graph import Graph
from cdc_local.errors import PipelineError
from cdc_local.source.files import discover_sources, read_source
from cdc_local.source.user_errors import user_location
from cdc_local.storage import Storage, lock_storage
from cdc_local.update.event_log import EventLog
from cdc_local.update.request import UpdateRequest, choose_tables, update_session
from cdc_local.update.scheduler import run_flows
from cdc_local.update.source_environment import declare_sources, source_environment
from cdc_local.update.table_setup import set_up_tables
from cdc_utils.results import UpdateResult


def run_update(
    request: UpdateRequest,  # What to run
    listener: Callable[[dict], None] | None = None,  # Called with every event as it happens
) -> UpdateResult:  # What was done; its state says whether all went well
    "Run one update; raises `UsageError` or `PipelineError` before anything is written if the request or the pipeline is wrong."
    sources = [read_source(path) for path in discover_sources(list(request.sources))]
    storage, update_id = Storage(request.storage).check(), request.update_id or str(uuid.uuid4())
    with ExitStack() as stack:
        if not request.dry_run:
            stack.enter_context(lock_storage(storage.create()))
        log = EventLog(storage.event_log_path, request.pipeline_name, update_id, listener)
        if not request.dry_run:
            stack.enter_context(log)
        log.record(
            "create_update",
            f"Update {update_id[:8]} started.",
            details={"create_update": {"full_refresh": request.full_refresh_all, "dry_run": request.dry_run}},
        )
        try:
            return run_declared(request, storage, log, sources, stack)
        except (PipelineError, KeyboardInterrupt) as error:
            state = "CANCELED" if isinstance(error, KeyboardInterrupt) else "FAILED"
            log.record(
                "update_progress",
                f"Update {update_id[:8]} is {state}.",
                "ERROR",
                details={"update_progress": {"state": state}},
                error=error,
            )
            raise


def run_declared(
    request: UpdateRequest,  # What to run
    storage: Storage,  # Where
    log: EventLog,  # Takes the events
    sources: list,  # Source files, read
    stack: ExitStack,  # Closes what is opened here
) -> UpdateResult:
    "Declare, analyse, reset, create, run."

    def state(name, level="INFO"):
        log.record(
            "update_progress",
            f"Update {log.update_id[:8]} is {name}.",
            level,
            details={"update_progress": {"state": name}},
        )

    spark, graph = stack.enter_context(update_session(request)), Graph(request.catalog, request.schema)
    runtime = Runtime(spark, graph, storage, table_schema, keep_schemas=not request.dry_run)
    graph.locate = lambda: user_location(runtime.sources)
    for each in source_environment(request, runtime):
        stack.enter_context(each)
    state("INITIALIZING")
    declare_sources(request, runtime, sources)
    analyse_pipeline(runtime)
    chosen, emptied = choose_tables(graph, request)
    upstream = upstream_flows(runtime)
    reads = {name: sorted(runtime.analysed[name].reads) for name in graph.flows} | {
        str(view): sorted(read) for view, read in runtime.viewed.items()
    }
    if request.dry_run:
        return UpdateResult(
            log.update_id, "COMPLETED", graph=graph, reads=reads, warnings=tuple(graph.warnings)
        )
    state("SETTING_UP_TABLES")
    run = set_up_tables(runtime, log, chosen, emptied)
    state("RUNNING")
    flows = run_flows(run, upstream, chosen)
    ended = (
        "CANCELED"
        if run.stopping.is_set()
        else "FAILED"
        if any(each.status in ("FAILED", "SKIPPED") for each in flows)
        else "COMPLETED"
    )
    state(ended, "INFO" if ended == "COMPLETED" else "ERROR")
    error = next((each.error for each in flows if each.status == "FAILED"), None)
    return UpdateResult(log.update_id, ended, tuple(flows), error, graph, reads, tuple(graph.warnings))
