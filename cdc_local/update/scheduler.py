"""Flows run when what they read is up to date."""

import re
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import replace
from graphlib import TopologicalSorter
from time import monotonic

from pyspark.errors import AnalysisException, StreamingQueryException

from cdc_local.analysis.flow_analysis import flow_frame
from cdc_local.analysis.runtime import checkpoint_path, with_expectations
from cdc_local.dataflow.expectations import VIOLATION
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.stream_progress import has_caught_up
from cdc_local.engines.spark.catalyst import exception_messages
from cdc_local.source.user_errors import describe_exception, user_error
from cdc_local.storage import TableName
from cdc_local.update.append_flow import append_stream
from cdc_local.update.auto_cdc_flow import apply_changes, rules_for
from cdc_local.update.counters import idle_counters, progress_details, stream_counters, summarize_flow
from cdc_local.update.materialized_view import refresh_materialized_view
from cdc_local.update.snapshot_flow import apply_snapshots
from cdc_local.update.streams import Run
from cdc_utils import snapshots
from cdc_utils.results import FlowResult


def describe_failure(
    flow: Flow,  # The flow that failed
    error: BaseException,  # What was raised
    sources: set[str],  # The user's files
) -> str:  # For a reader
    "Say why a flow failed: a broken rule, a changed source, a fault in the user's code, or what Spark says."
    chain = exception_messages(error)
    text = "\n".join(chain)
    raised = re.search(
        rf"USER_RAISED_EXCEPTION\] ((?:{VIOLATION}|AUTO CDC:|{snapshots.DUPLICATE_KEY}).*?)(?: SQLSTATE.*)?$",
        text,
        re.M,
    )
    if raised:
        return f"{flow.location}: {flow.target}: {raised[1]}"
    for code in ("DELTA_SOURCE_TABLE_IGNORE_CHANGES", "DELTA_SOURCE_IGNORE_DELETE"):
        if code in text:
            return (
                f"{flow.location}: {flow.name} streams from a table whose rows were changed or deleted; a streaming source must only grow. "
                "Read it with spark.read, or set skipChangeCommits on the stream"
            )
    if "DIFFERENT_DELTA_TABLE_READ_BY_STREAMING_SOURCE" in text or "DELTA_STREAMING_CHECK_COLUMN" in text:
        return f"{flow.location}: {flow.name} streams from a table that was rebuilt; rebuild this one too: cdc run … --full-refresh {flow.target.table}"
    wrong = user_error(error, sources)
    wrong.location = wrong.location or flow.location
    if isinstance(error, StreamingQueryException):
        wrong.message = describe_exception(RuntimeError(chain[-1])).removeprefix("RuntimeError: ")
    if not isinstance(error, AnalysisException):
        wrong.message = re.sub(
            r"^\w+Exception: (?=\[[A-Z_.]+\])", "", wrong.message
        )  # Java's class says less than Spark's name of the error
    return str(wrong)


def write_query(
    run: Run,  # The update
    flow: Flow,  # A flow that has a query or a source of events
) -> dict:  # Observed counters by dataset
    "Evaluate a flow, apply its target's rules, write what they let pass."
    frame, evaluation = flow_frame(run.runtime, flow)
    frame = with_expectations(rules_for(run.runtime.graph.datasets[flow.target], flow), frame, evaluation)
    if frame.isStreaming and has_caught_up(frame, checkpoint_path(run.runtime, flow)):
        return stream_counters(evaluation, []) | idle_counters(flow)
    return {"append": append_stream, "complete": refresh_materialized_view, "auto_cdc": apply_changes}[
        flow.kind
    ](run, flow, frame, evaluation)


def write_rows(
    run: Run,  # The update
    flow: Flow,  # Any flow
) -> dict:  # Observed counters by dataset
    "Bring a flow's target up to date; a flow with `once` writes the first time, and never again until a full refresh."
    done = run.runtime.storage.flow_path(flow.target, flow.name) / "done"
    if flow.once and done.exists():
        return idle_counters(flow)
    counters = apply_snapshots(run, flow) if flow.kind == "snapshot" else write_query(run, flow)
    if flow.once:
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
    return counters


def run_flow(
    run: Run,  # The update
    flow: Flow,  # A flow whose sources are up to date
) -> FlowResult:
    "Run one flow; a failure is a result, not an exception."
    runtime, started = run.runtime, monotonic()

    def tell(status, level="INFO", error=None, result=None):
        details = {"status": status}
        if result is not None:
            details |= progress_details(result)
        run.log.record(
            "flow_progress",
            f"Flow {flow.name} is {status}." if error is None else f"Flow {flow.name} has failed: {error}",
            level,
            flow_name=flow.name,
            dataset_name=str(flow.target),
            details={"flow_progress": details},
            error=error,
        )

    tell("STARTING")
    try:
        runtime.spark._jvm.org.apache.spark.sql.SparkSession.setActiveSession(runtime.spark._jsparkSession)
        counters = write_rows(run, flow)
        result = summarize_flow(run, flow, counters, monotonic() - started)
    except Exception as error:
        if run.stopping.is_set():
            tell("STOPPED", "WARN")
            return FlowResult(flow.name, str(flow.target), "STOPPED", seconds=monotonic() - started)
        why = describe_failure(flow, error, runtime.sources)
        tell("FAILED", "ERROR", why)
        return FlowResult(flow.name, str(flow.target), "FAILED", seconds=monotonic() - started, error=why)
    if run.stopping.is_set():
        result = replace(result, status="STOPPED")
    tell(result.status, "INFO" if result.status == "COMPLETED" else "WARN", result=result)
    return result


def order_upstream_first(
    upstream: dict[str, set[str]],  # Flow name -> flows that come before it
) -> list[str]:  # Names: what is read before what reads it, and else by name
    "Put flows into the order of a report."
    depth = {}
    for name in TopologicalSorter(upstream).static_order():
        depth[name] = 1 + max((depth[each] for each in upstream[name]), default=0)
    return sorted(upstream, key=lambda name: (depth[name], name))


def run_flows(
    run: Run,  # The update
    upstream: dict[str, set[str]],  # Flow name -> flows that come before it
    chosen: set[TableName],  # Tables to run
    workers: int = 4,  # Flows at once
) -> list[FlowResult]:  # What is read before what reads it
    "Run the chosen flows in the order of what they read."
    flows, sorter, results, running = run.runtime.graph.flows, TopologicalSorter(upstream), {}, {}
    sorter.prepare()

    def settle(result):
        results[result.name] = result
        sorter.done(result.name)

    with ThreadPoolExecutor(workers) as pool:
        while sorter.is_active():
            for name in sorter.get_ready():
                flow = flows[name]
                blocked = [
                    each
                    for each in upstream[name]
                    if results[each].status in ("FAILED", "SKIPPED", "STOPPED")
                ]
                if flow.target not in chosen:
                    settle(FlowResult(name, str(flow.target), "EXCLUDED"))
                elif blocked or run.stopping.is_set():
                    settle(skip_flow(run, flow, blocked))
                else:
                    running[pool.submit(run_flow, run, flow)] = name
            if not running:
                continue
            for future in wait_or_stop(run, running):
                del running[future]
                settle(future.result())
    return [results[name] for name in order_upstream_first(upstream)]


def skip_flow(
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
    running: dict,  # Futures of running flows
) -> set:  # Those that ended
    "Wait for a flow to end; on Ctrl-C stop the streams and let each flow end where a next update can go on."
    try:
        return wait(running, return_when=FIRST_COMPLETED).done
    except KeyboardInterrupt:
        run.stopping.set()
        for query in run.runtime.spark.streams.active:
            query.stop()
        run.runtime.spark.sparkContext.cancelAllJobs()
        return wait(running).done
