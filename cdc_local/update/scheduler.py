"""Flows run when what they read is up to date."""

import re
from collections.abc import Collection
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from graphlib import TopologicalSorter
from time import monotonic

from pyspark.errors import AnalysisException, StreamingQueryException

from cdc_local.analysis.runtime import checkpoint_path
from cdc_local.dataflow.expectations import VIOLATION
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.replacement import NULL_SEQUENCE
from cdc_local.engines.engine import engine_of
from cdc_local.errors import PipelineError
from cdc_local.source.user_errors import describe_exception, to_pipeline_error
from cdc_local.storage import TableName
from cdc_local.update.counters import Counters, progress_details, summarize_flow
from cdc_local.update.endings import describe_ending, list_messages
from cdc_local.update.leave_to_spark import find_need_of_spark
from cdc_local.update.strategies import choose_strategy
from cdc_local.update.streams import Run
from cdc_utils import snapshots
from cdc_utils.results import FlowResult

BLOCKING = ("FAILED", "SKIPPED", "STOPPED")  # Statuses of a flow whose readers cannot run


# What a rule, AUTO CDC or a snapshot raises within Spark, in the text of Spark's error
_OUR_WORDS = f"{VIOLATION}|AUTO CDC:|{NULL_SEQUENCE}|{snapshots.DUPLICATE_KEY}"
_RAISED_BY_US = rf"USER_RAISED_EXCEPTION\] ((?:{_OUR_WORDS}).*?)(?: SQLSTATE.*)?$"
# Delta's errors: a streamed table had rows changed or deleted; it is another table now
_SOURCE_CHANGED = ("DELTA_SOURCE_TABLE_IGNORE_CHANGES", "DELTA_SOURCE_IGNORE_DELETE")
_SOURCE_REBUILT = ("DIFFERENT_DELTA_TABLE_READ_BY_STREAMING_SOURCE", "DELTA_STREAMING_CHECK_COLUMN")


def describe_failure(
    flow: Flow,  # The flow that failed
    error: BaseException,  # What was raised
    sources: set[str],  # The user's files
    run: Run | None = None,  # The update; None where its storage is not looked at
) -> str:  # For a reader
    """Say why a flow failed: a broken rule, a changed source, a full disk, a Java that ended, a damaged file,
    a fault in the user's code, or what Spark says."""
    chain = list_messages(error)
    text = "\n".join(chain)
    raised = re.search(_RAISED_BY_US, text, re.M)
    if raised:
        return f"{flow.location}: {flow.target}: {raised[1]}"
    if any(code in text for code in _SOURCE_CHANGED):
        return (
            f"{flow.location}: {flow.name} streams from a table whose rows were changed or deleted; "
            f"a streaming source must only grow. {flow.hint_of_changed_source}"
        )
    if any(code in text for code in _SOURCE_REBUILT):
        return (
            f"{flow.location}: {flow.name} streams from a table that was rebuilt; "
            f"rebuild this one too: cdc run … --full-refresh {flow.target.table}"
        )
    if run is not None and (ending := _describe_ending_of_flow(run, flow, error)):
        return f"{flow.location}: {ending}"
    wrong = to_pipeline_error(error, sources)
    wrong.location = wrong.location or flow.location
    if isinstance(error, StreamingQueryException):
        wrong.message = describe_exception(RuntimeError(chain[-1])).removeprefix("RuntimeError: ")
    if not isinstance(error, AnalysisException):  # Java's class says less than Spark's name of the error
        wrong.message = re.sub(r"^\w+Exception: (?=\[[A-Z_.]+\])", "", wrong.message)
    return str(wrong)


def _describe_ending_of_flow(
    run: Run,  # The update
    flow: Flow,  # The flow that failed
    error: BaseException,  # What was raised
) -> PipelineError | None:  # None where the error has another cause
    "Say what ended a flow from outside, by the tables that it reads and writes and the stream that it is."
    runtime = run.runtime
    analysed = runtime.analysed.get(flow.name)
    read = sorted(analysed.reads) if analysed else []
    tables = [runtime.storage.table_path(name) for name in (flow.target, *read)]
    return describe_ending(error, runtime.storage, tables, [checkpoint_path(runtime, flow)])


def write_flow(
    run: Run,  # The update
    flow: Flow,  # Any flow
) -> Counters:  # What was observed
    "Bring a flow's target up to date; a flow with `once` writes once, and again after a full refresh."
    strategy = choose_strategy(flow, run.runtime.graph.datasets[flow.target])
    done = run.runtime.storage.flow_path(flow.target, flow.name) / "done"
    if flow.once and done.exists():
        return strategy.idle_counters()
    counters = strategy.write(run, flow)
    if flow.once:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    return counters


def _log_status(
    run: Run,  # The update
    flow: Flow,  # One of its flows
    status: str,  # STARTING, COMPLETED, FAILED, STOPPED
    level: str = "INFO",  # Of the event
    error: str | None = None,  # Why it failed
    result: FlowResult | None = None,  # What it did, once it has ended
) -> None:
    "Record in the event log what a flow is doing."
    details = {"status": status} | (progress_details(result) if result is not None else {})
    run.log.record(
        "flow_progress",
        f"Flow {flow.name} is {status}." if error is None else f"Flow {flow.name} has failed: {error}",
        level,
        flow_name=flow.name,
        dataset_name=str(flow.target),
        details={"flow_progress": details},
        error=error,
    )


def run_flow(
    run: Run,  # The update
    flow: Flow,  # A flow whose sources are up to date
) -> FlowResult:
    "Run one flow; a failure is a result, not an exception."
    runtime, started = run.runtime, monotonic()
    _log_status(run, flow, "STARTING")
    try:
        engine_of(runtime.spark).activate_session(runtime.spark)
        counters = write_flow(run, flow)
        result = summarize_flow(runtime.graph, flow, counters, monotonic() - started)
    except Exception as error:
        seconds = monotonic() - started
        need = find_need_of_spark(flow, error) if run.may_leave and not run.stopping.is_set() else None
        if need is not None:
            run.needs_spark = need
            run.stopping.set()  # each flow ends where Spark goes on
        if run.stopping.is_set():
            _log_status(run, flow, "STOPPED", "WARN")
            return FlowResult(flow.name, str(flow.target), "STOPPED", seconds=seconds)
        why = describe_failure(flow, error, runtime.sources, run)
        _log_status(run, flow, "FAILED", "ERROR", why)
        return FlowResult(flow.name, str(flow.target), "FAILED", seconds=seconds, error=why)
    if run.stopping.is_set():
        result = replace(result, status="STOPPED")
    _log_status(run, flow, result.status, "INFO" if result.status == "COMPLETED" else "WARN", result=result)
    return result


def order_upstream_first(
    upstream: dict[str, set[str]],  # Flow name -> flows that come before it
) -> list[str]:  # Names: what is read before what reads it, and else by name
    "Put flows into the order of a report."
    depth: dict[str, int] = {}  # how many flows come before it, one after the other
    for name in TopologicalSorter(upstream).static_order():
        depth[name] = 1 + max((depth[before] for before in upstream[name]), default=0)
    return sorted(upstream, key=lambda name: (depth[name], name))


def run_flows(
    run: Run,  # The update
    upstream: dict[str, set[str]],  # Flow name -> flows that come before it
    chosen: set[TableName],  # Tables to run
    workers: int = 4,  # Flows at once
) -> list[FlowResult]:  # What is read before what reads it
    "Run the chosen flows in the order of what they read, side by side where neither reads the other."
    sorter = TopologicalSorter(upstream)
    sorter.prepare()
    results: dict[str, FlowResult] = {}
    running: set[Future[FlowResult]] = set()

    def settle(result: FlowResult) -> None:
        results[result.name] = result
        sorter.done(result.name)

    pool = ThreadPoolExecutor(workers)
    try:
        while sorter.is_active():
            for name in sorter.get_ready():
                flow = run.runtime.graph.flows[name]
                blocked = [before for before in upstream[name] if results[before].status in BLOCKING]
                if flow.target not in chosen:
                    settle(FlowResult(name, str(flow.target), "EXCLUDED"))
                elif blocked or run.stopping.is_set():
                    settle(_skip_flow(run, flow, blocked))
                else:
                    running.add(pool.submit(run_flow, run, flow))
            if not running:
                continue
            for future in wait_or_stop(run, running):
                running.remove(future)
                settle(future.result())
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)  # a second Ctrl-C waits for no flow
        raise
    pool.shutdown()
    return [results[name] for name in order_upstream_first(upstream)]


def _skip_flow(
    run: Run,  # The update
    flow: Flow,  # A flow that cannot run
    blocked: list[str],  # Flows it waited for
) -> FlowResult:
    "Leave a flow out because one it reads from failed."
    why = (
        f"{flow.name} was skipped, since {blocked[0]} did not complete"
        if blocked
        else f"{flow.name} was skipped, since the update was stopped"
    )
    run.log.record(
        "flow_progress",
        why,
        "WARN",
        flow_name=flow.name,
        dataset_name=str(flow.target),
        details={"flow_progress": {"status": "SKIPPED"}},
    )
    return FlowResult(flow.name, str(flow.target), "SKIPPED", error=why)


def wait_or_stop(
    run: Run,  # The update
    running: Collection[Future[FlowResult]],  # Running flows
) -> set[Future[FlowResult]]:  # Those that ended
    "Wait for a flow to end; on Ctrl-C stop the streams and let each flow end where a next update can go on."
    try:
        return wait(running, return_when=FIRST_COMPLETED).done
    except KeyboardInterrupt:
        run.stopping.set()
        engine_of(run.runtime.spark).cancel_jobs(run.runtime.spark)
        return wait(running).done
