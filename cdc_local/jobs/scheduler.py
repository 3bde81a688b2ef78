"""Tasks start when what they depend on has ended, as `depends_on` and `run_if` say; each may be tried again, and none runs longer than it may."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from functools import partial
from graphlib import CycleError, TopologicalSorter

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_never, wait_fixed

from cdc_local.errors import PipelineError, UsageError
from cdc_utils.results import TaskRun

FAILURES = ("FAILED", "TIMEDOUT", "UPSTREAM_FAILED", "CANCELED", "UPSTREAM_CANCELED")

RUN_IF = {  # Condition -> whether it holds, given how many dependencies succeeded, failed, and were left out
    "ALL_SUCCESS": lambda succeeded, failed, excluded: not failed,
    "AT_LEAST_ONE_SUCCESS": lambda succeeded, failed, excluded: succeeded > 0,
    "NONE_FAILED": lambda succeeded, failed, excluded: not failed and succeeded > 0,
    "ALL_DONE": lambda succeeded, failed, excluded: True,
    "AT_LEAST_ONE_FAILED": lambda succeeded, failed, excluded: failed > 0,
    "ALL_FAILED": lambda succeeded, failed, excluded: failed > 0 and not succeeded and not excluded,
}


def reason_to_leave_out(
    run_if: str,  # A condition of `RUN_IF`
    results: list[str],  # Results of the tasks it depends on
) -> str | None:  # None: it runs; else its result without a run
    "Decide whether a task starts: https://docs.databricks.com/aws/en/jobs/run-if."
    if not results:
        return None
    failed, excluded = sum(result in FAILURES for result in results), results.count("EXCLUDED")
    if RUN_IF[run_if](len(results) - failed - excluded, failed, excluded):
        return None
    if not failed or run_if in ("AT_LEAST_ONE_FAILED", "ALL_FAILED"):
        return "EXCLUDED"
    return (
        "UPSTREAM_CANCELED"
        if all(result in ("SUCCESS", "EXCLUDED", "CANCELED", "UPSTREAM_CANCELED") for result in results)
        else "UPSTREAM_FAILED"
    )


def task_dependencies_of(
    task: dict,  # A task, in the shape of the Jobs API
) -> list[str]:  # Keys of the tasks it depends on
    "What a task waits for."
    return [need["task_key"] for need in task.get("depends_on") or ()]


def check_tasks(
    tasks: list[dict],  # Tasks, in the shape of the Jobs API
) -> None:
    "`UsageError` for a job without tasks, a key given twice, a dependency that is not there, a circle, an unknown condition."
    for place, task in enumerate(tasks, 1):
        if not isinstance(task.get("task_key"), str):
            raise UsageError(f"task {place} of the job has no task_key", hint="name it")
    keys = [task["task_key"] for task in tasks]
    if not keys:
        raise UsageError("the job has no tasks")
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"two tasks are called {key}", hint="give each a task_key of its own")
    for task in tasks:
        for need in task_dependencies_of(task):
            if need not in keys:
                raise UsageError(
                    f"task {task['task_key']} depends on {need}, which is no task of the job",
                    hint=f"it has {', '.join(keys)}",
                )
        if task.get("run_if", "ALL_SUCCESS") not in RUN_IF:
            raise UsageError(
                f"task {task['task_key']}: run_if {task['run_if']!r} is none of {', '.join(RUN_IF)}"
            )
    try:
        TopologicalSorter({task["task_key"]: task_dependencies_of(task) for task in tasks}).prepare()
    except CycleError as circle:
        raise UsageError(
            f"tasks wait for one another: {' -> '.join(reversed(circle.args[1]))}",
            hint="take one depends_on out",
        ) from None


class Deadline:
    "Says when an attempt must end, and why."

    def __init__(
        self,
        stop,  # An `Event`, or another `Deadline`, that ends it early
        seconds: float = None,  # How long it may take; `None` or 0: as long as it likes
    ):
        self.stop, self.ends = stop, time.monotonic() + seconds if seconds else None

    def reason(self) -> str | None:  # CANCELED, TIMEDOUT, or None while it may go on
        "Why it must end."
        if self.stop.is_set():
            return self.stop.reason() if isinstance(self.stop, Deadline) else "CANCELED"
        return "TIMEDOUT" if self.ends is not None and time.monotonic() >= self.ends else None

    def is_set(self) -> bool:
        return self.reason() is not None

    def wait(self, seconds: float) -> bool:  # Whether it must end
        "Wait, but not longer than until the end."
        left = seconds if self.ends is None else max(min(seconds, self.ends - time.monotonic()), 0)
        self.stop.wait(left)
        return self.is_set()


class AttemptEnded(PipelineError):
    "An attempt that was stopped: `reason` is CANCELED or TIMEDOUT."

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


def attempt_task(
    task: dict,  # The task
    run: TaskRun,  # Its record; changed
    run_task: Callable,  # Does one attempt
    on_change: Callable,  # Told after each change
    stop,  # `Event` or `Deadline`: ends the job
) -> None:
    "Make one attempt; raises what `run_task` raises, and `AttemptEnded` where it was stopped."
    deadline = Deadline(stop, task.get("timeout_seconds"))
    if stop.is_set():
        raise AttemptEnded(
            Deadline(stop).reason(), f"task {task['task_key']}: the job was stopped"
        )  # while it waited to try again
    run.state, run.attempt = "RUNNING", run.attempt + 1
    on_change(run)

    def ended():
        reason = deadline.reason()
        limit = (
            f"{task.get('timeout_seconds')} s are over"
            if reason == "TIMEDOUT" and not stop.is_set()
            else "the job was stopped"
        )
        return AttemptEnded(reason, f"task {task['task_key']}: {limit}")

    try:
        run.output = run_task(task, run.attempt, deadline)
    except PipelineError:
        if deadline.is_set():
            raise ended() from None
        raise
    if deadline.is_set() and run.output is None:
        raise ended()


def may_retry(
    task: dict,  # The task
    stop,  # Ends the job
    error: BaseException,  # Why an attempt failed
) -> bool:
    "A failed attempt is made again; one that ran out of time only where `retry_on_timeout` says so."
    if stop.is_set() or isinstance(error, UsageError) or not isinstance(error, PipelineError):
        return False
    return task.get("retry_on_timeout", False) if isinstance(error, AttemptEnded) else True


def finish_task(
    task: dict,  # The task
    run: TaskRun,  # Its record; changed
    run_task: Callable,  # Does one attempt
    on_change: Callable,  # Told after each change
    stop,  # Ends the job
) -> None:
    "Make attempts until one succeeds or none is left; an error that is no `PipelineError` is raised."
    retries = task.get("max_retries", 0)

    def waiting(state):
        run.state, run.message = "WAITING_FOR_RETRY", str(state.outcome.exception())
        on_change(run)

    run.started = time.time()
    try:
        for attempt in Retrying(
            stop=stop_never if retries < 0 else stop_after_attempt(retries + 1),
            wait=wait_fixed(task.get("min_retry_interval_millis", 0) / 1000),
            retry=retry_if_exception(partial(may_retry, task, stop)),
            sleep=stop.wait,
            before_sleep=waiting,
            reraise=True,
        ):
            with attempt:
                attempt_task(task, run, run_task, on_change, stop)
        run.result, run.message = "SUCCESS", ""
    except PipelineError as error:
        run.result, run.message = getattr(error, "reason", "FAILED"), str(error)
    except BaseException as error:
        run.result, run.message = "FAILED", f"{type(error).__name__}: {error}"
        raise
    finally:
        run.state, run.ended = "TERMINATED", time.time()
        on_change(run)


def run_job(
    tasks: list[
        dict
    ],  # Tasks, in the shape of the Jobs API: `task_key`, `depends_on`, `run_if`, `max_retries`, `min_retry_interval_millis`, `timeout_seconds`, `retry_on_timeout`
    run_task: Callable,  # `(task, attempt, stop)` -> output: does one attempt, ends soon after `stop.is_set()`, raises `PipelineError` where it fails
    on_change: Callable,  # Called with a `TaskRun` after each change, from one thread at a time
    stop,  # `Event` or `Deadline`: ends the job
) -> list[TaskRun]:  # In the order of the tasks
    "Run the tasks of a job, those that do not wait for one another together; raises `UsageError` before the first one starts."
    check_tasks(tasks)
    named, runs, lock = (
        {task["task_key"]: task for task in tasks},
        {task["task_key"]: TaskRun(task["task_key"]) for task in tasks},
        threading.Lock(),
    )

    def tell(run):
        with lock:
            on_change(run)

    sorter = TopologicalSorter({key: task_dependencies_of(task) for key, task in named.items()})
    sorter.prepare()
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="task") as pool:
        started = {}
        while sorter.is_active():
            for key in sorter.get_ready():
                started[pool.submit(start_task, named[key], runs, run_task, tell, stop)] = key
            for done in wait(started, return_when=FIRST_COMPLETED).done:
                sorter.done(started.pop(done))
                done.result()
    return list(runs.values())


def start_task(
    task: dict,  # The task
    runs: dict[str, TaskRun],  # All records; those it depends on are complete, its own is changed
    run_task: Callable,  # Does one attempt
    on_change: Callable,  # Told after each change
    stop,  # Ends the job
) -> None:
    "Run a task, or leave it out."
    run = runs[task["task_key"]]
    skipped = reason_to_leave_out(
        task.get("run_if", "ALL_SUCCESS"), [runs[need].result for need in task_dependencies_of(task)]
    )
    if skipped is None and stop.is_set():
        skipped = Deadline(stop).reason()
    if skipped is None:
        return finish_task(task, run, run_task, on_change, stop)
    run.state, run.result = "TERMINATED", skipped
    on_change(run)


def job_result(
    tasks: list[dict],  # The tasks
    runs: list[TaskRun],  # What became of them
) -> str:  # SUCCESS, SUCCESS_WITH_FAILURES, FAILED, TIMEDOUT or CANCELED
    "The result of a job is that of its last tasks: those that no other depends on."
    results = {run.task_key: run.result for run in runs}
    waited_for = {need for task in tasks for need in task_dependencies_of(task)}
    last = {result for key, result in results.items() if key not in waited_for}
    everything = set(results.values())
    if "CANCELED" in everything:
        return "CANCELED"
    if last & set(FAILURES):
        return "TIMEDOUT" if "TIMEDOUT" in everything and "FAILED" not in everything else "FAILED"
    return "SUCCESS_WITH_FAILURES" if everything & set(FAILURES) else "SUCCESS"
