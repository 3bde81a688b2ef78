"""Runs the tasks of a job: each starts when what it depends on has ended, as `depends_on` and `run_if` say.

An attempt that fails may be made again, and none runs longer than its time limit.
"""

import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from tenacity import RetryCallState, Retrying, retry_if_exception, stop_after_attempt, stop_never

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.conditions import OUTCOMES, check_condition
from cdc_local.jobs.deadline import Deadline, StopSignal
from cdc_utils.results import TaskRun

RunTask = Callable[[dict[str, Any], int, Deadline], str | None]  # Does one attempt: see `run_job`

OnChange = Callable[[TaskRun], object]  # Called with a task's record after each change

_FAILED_RESULTS = ("FAILED", "TIMEDOUT", "UPSTREAM_FAILED", "CANCELED", "UPSTREAM_CANCELED")

RUN_IF: dict[str, Callable[[int, int, int], bool]] = {
    # Condition -> whether it is met, given how many dependencies succeeded, failed, and were excluded
    "ALL_SUCCESS": lambda succeeded, failed, excluded: not failed,
    "AT_LEAST_ONE_SUCCESS": lambda succeeded, failed, excluded: succeeded > 0,
    "NONE_FAILED": lambda succeeded, failed, excluded: not failed and succeeded > 0,
    "ALL_DONE": lambda succeeded, failed, excluded: True,
    "AT_LEAST_ONE_FAILED": lambda succeeded, failed, excluded: failed > 0,
    "ALL_FAILED": lambda succeeded, failed, excluded: failed > 0 and not succeeded and not excluded,
}


class _AttemptStoppedError(PipelineError):
    "An attempt that was stopped: `reason` is CANCELED or TIMEDOUT."

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def result_without_run(
    run_if: str,  # A condition of `RUN_IF`
    results: list[str | None],  # Results of the tasks it depends on
) -> str | None:  # DISABLED, EXCLUDED, UPSTREAM_FAILED or UPSTREAM_CANCELED; None: the task runs
    "Decide whether a task starts, as https://docs.databricks.com/aws/en/jobs/run-if says."
    if not results:
        return None
    if "DISABLED" in results:
        return _result_beside_disabled(run_if, [result for result in results if result != "DISABLED"])
    if set(results) == {"EXCLUDED"}:
        return "EXCLUDED"
    failed = sum(result in _FAILED_RESULTS for result in results)
    excluded = results.count("EXCLUDED")
    if RUN_IF[run_if](len(results) - failed - excluded, failed, excluded):
        return None
    if not failed or run_if in ("AT_LEAST_ONE_FAILED", "ALL_FAILED"):
        return "EXCLUDED"
    only_canceled = all(
        result in ("SUCCESS", "EXCLUDED", "CANCELED", "UPSTREAM_CANCELED") for result in results
    )
    return "UPSTREAM_CANCELED" if only_canceled else "UPSTREAM_FAILED"


def _result_beside_disabled(
    run_if: str,  # A condition of `RUN_IF`
    others: list[str | None],  # Results of the tasks it depends on, without those that are disabled
) -> str | None:  # As `result_without_run`
    """Decide whether a task starts that depends on a disabled one, which has neither succeeded nor failed, as
    https://docs.databricks.com/aws/en/jobs/disabled-tasks says."""
    if run_if == "ALL_DONE":
        return None
    if run_if in ("ALL_SUCCESS", "ALL_FAILED") or not others:
        return "DISABLED"
    if run_if == "NONE_FAILED" and not set(others) & set(_FAILED_RESULTS):
        return None
    return result_without_run(run_if, others)


def upstream_keys(
    task: Mapping[str, Any],  # A task, in the shape of the Jobs API
) -> list[str]:  # Keys of the tasks it depends on
    "Read a task's `depends_on`."
    return [upstream["task_key"] for upstream in task.get("depends_on") or ()]


def check_tasks(
    tasks: list[dict[str, Any]],  # Tasks, in the shape of the Jobs API
) -> None:
    "Raise `UsageError` for no tasks, a key given twice, an unknown dependency or condition, and a circle."
    for number, task in enumerate(tasks, 1):
        if not isinstance(task.get("task_key"), str):
            raise UsageError(f"task {number} of the job has no task_key", hint="name it")
    keys = [task["task_key"] for task in tasks]
    if not keys:
        raise UsageError("the job has no tasks")
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"two tasks are called {key}", hint="give each a task_key of its own")
    for task in tasks:
        _check_conditions(task, keys)
        _check_outcomes(task, tasks)
        _check_loop(task)
        if "condition_task" in task:
            check_condition(task)
    try:
        TopologicalSorter({task["task_key"]: upstream_keys(task) for task in tasks}).prepare()
    except CycleError as circle:
        raise UsageError(
            f"tasks wait for one another: {' -> '.join(reversed(circle.args[1]))}",
            hint="take one depends_on out",
        ) from None


def _check_conditions(
    task: dict[str, Any],  # A task of the job
    keys: list[str],  # Keys of all its tasks
) -> None:
    "Raise `UsageError` for an unknown dependency or condition of a task."
    for key in upstream_keys(task):
        if key not in keys:
            raise UsageError(
                f"task {task['task_key']} depends on {key}, which is no task of the job",
                hint=f"it has {', '.join(keys)}",
            )
    if task.get("run_if", "ALL_SUCCESS") not in RUN_IF:
        raise UsageError(f"task {task['task_key']}: run_if {task['run_if']!r} is none of {', '.join(RUN_IF)}")


def _check_outcomes(
    task: dict[str, Any],  # A task of the job
    tasks: list[dict[str, Any]],  # All of them
) -> None:
    "Raise `UsageError` for a dependency on an outcome of a task that has none."
    conditions = {other["task_key"] for other in tasks if "condition_task" in other}
    for upstream in task.get("depends_on") or ():
        key, outcome = upstream["task_key"], upstream.get("outcome")
        if outcome is None:
            continue
        if key not in conditions:
            raise UsageError(
                f"task {task['task_key']} depends on an outcome of {key}, which is no condition_task",
                hint="leave the outcome out, or use run_if",
            )
        if outcome not in OUTCOMES:
            raise UsageError(
                f"task {task['task_key']} depends on outcome {outcome!r} of {key}",
                hint=f"a condition has the outcomes {' and '.join(map(repr, OUTCOMES))}, in quotes",
            )


def _check_loop(
    task: dict[str, Any],  # A task of the job
) -> None:
    "Raise `UsageError` for a loop in a loop, and a loop that does not say what it runs."
    if "for_each_task" not in task:
        return
    nested = task["for_each_task"].get("task")
    if not isinstance(nested, dict) or not isinstance(nested.get("task_key"), str):
        raise UsageError(f"task {task['task_key']}: for_each_task has no task with a task_key")
    if "for_each_task" in nested:
        raise UsageError(
            f"task {task['task_key']}: {nested['task_key']} is a for_each_task itself",
            hint="let it run a run_job_task, whose job has one",
        )
    if "condition_task" in nested:
        check_condition(nested)


def one_at_a_time(
    on_change: OnChange,  # What several threads will call
) -> OnChange:  # Calls it from one thread at a time
    "Let calls wait for one another."
    lock = threading.Lock()

    def notify(run: TaskRun) -> None:
        with lock:
            on_change(run)

    return notify


def run_job(
    tasks: list[dict[str, Any]],  # In the shape of the Jobs API
    run_task: RunTask,  # `(task, attempt, stop)` -> output: one attempt, which ends once `stop` is set
    on_change: OnChange,  # Called after each change of a task, from one thread at a time
    stop: StopSignal,  # Ends the job
) -> list[TaskRun]:  # In the order of the tasks
    """Run the tasks of a job, those that do not depend on one another at the same time.

    Of a task it reads `task_key`, `depends_on`, `run_if`, `max_retries`, `min_retry_interval_millis`,
    `timeout_seconds` and `retry_on_timeout`. Raises `UsageError` before the first one starts. A
    `PipelineError` of `run_task` means that the attempt failed; any other error is raised.
    """
    check_tasks(tasks)
    tasks_by_key = {task["task_key"]: task for task in tasks}
    runs = {key: TaskRun(key) for key in tasks_by_key}
    runner = TaskRunner(run_task, one_at_a_time(on_change), stop)
    order = TopologicalSorter({key: upstream_keys(task) for key, task in tasks_by_key.items()})
    order.prepare()
    with ThreadPoolExecutor(len(tasks), thread_name_prefix="task") as pool:
        running: dict[Future[None], str] = {}
        while order.is_active():
            for key in order.get_ready():
                running[pool.submit(runner.start, tasks_by_key[key], runs)] = key
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                order.done(running.pop(future))
                future.result()
    return list(runs.values())


@dataclass(frozen=True)
class TaskRunner:
    "Runs single tasks of a job: whether one starts, its attempts, what its record says."

    run_task: RunTask  # Does one attempt
    on_change: OnChange  # Called after each change
    stop: StopSignal  # Ends the job

    def start(
        self,
        task: dict[str, Any],  # The task
        runs: dict[str, TaskRun],  # All records; those it depends on have ended, its own is changed
    ) -> None:
        "Run a task, or leave it out."
        run = runs[task["task_key"]]
        result = "EXCLUDED" if _misses_outcome(task, runs) else None
        if task.get("disabled"):
            result = "DISABLED"
        if result is None:
            results = [runs[key].result for key in upstream_keys(task)]
            result = result_without_run(task.get("run_if", "ALL_SUCCESS"), results)
        if result is None:
            result = Deadline(self.stop).reason()
        if result is None:
            return self.run(task, run)
        run.state, run.result = "TERMINATED", result
        self.on_change(run)

    def run(
        self,
        task: dict[str, Any],  # The task, whatever it depends on
        run: TaskRun,  # Its record; changed
    ) -> None:
        "Make attempts until one succeeds or none is left; raises an error that is no `PipelineError`."
        retries, interval = task.get("max_retries", 0), task.get("min_retry_interval_millis", 0) / 1000
        began: list[float] = []  # When each attempt began: the interval counts from there
        run.started = time.time()
        try:
            for attempt in Retrying(
                stop=stop_never if retries < 0 else stop_after_attempt(retries + 1),
                wait=lambda state: max(began[-1] + interval - time.monotonic(), 0),
                retry=retry_if_exception(lambda error: self._may_retry(task, error)),
                sleep=self._sleep,
                before_sleep=lambda state: self._note_retry(run, state),
                reraise=True,
            ):
                with attempt:
                    began.append(time.monotonic())
                    self._make_attempt(task, run)
            run.result, run.message = "SUCCESS", ""
        except _AttemptStoppedError as error:
            run.result, run.message = error.reason, str(error)
        except PipelineError as error:
            run.result, run.message = "FAILED", str(error)
        except BaseException as error:
            run.result, run.message = "FAILED", f"{type(error).__name__}: {error}"
            raise
        finally:
            run.state, run.ended = "TERMINATED", time.time()
            self.on_change(run)

    def _make_attempt(
        self,
        task: dict[str, Any],  # The task
        run: TaskRun,  # Its record; changed
    ) -> None:
        "Make one attempt; raises what `run_task` raises, and `_AttemptStoppedError` where it was stopped."
        self._refuse_stopped(task, Deadline(self.stop))  # while it waited to try again
        deadline = Deadline(self.stop, task.get("timeout_seconds"))
        run.state, run.attempt = "RUNNING", run.attempt + 1
        self.on_change(run)
        try:
            output = self.run_task(task, run.attempt, deadline)
        except PipelineError:
            self._refuse_stopped(task, deadline)
            raise
        if output is None:
            self._refuse_stopped(task, deadline)
        run.output = output or ""

    def _refuse_stopped(
        self,
        task: dict[str, Any],  # The task
        deadline: Deadline,  # Of its attempt
    ) -> None:
        "Raise `_AttemptStoppedError` once the deadline is over or the job is stopped."
        reason = deadline.reason()
        if reason is None:
            return
        timed_out = reason == "TIMEDOUT" and not self.stop.is_set()
        message = f"{task.get('timeout_seconds')} s are over" if timed_out else "the job was stopped"
        raise _AttemptStoppedError(reason, f"task {task['task_key']}: {message}") from None

    def _sleep(
        self,
        seconds: float,  # How long to wait at most
    ) -> None:
        "Wait for the next attempt, but not longer than the job goes on."
        self.stop.wait(seconds)

    def _may_retry(
        self,
        task: dict[str, Any],  # The task
        error: BaseException,  # Why its attempt failed
    ) -> bool:  # Wrong use stays wrong; a time limit counts where `retry_on_timeout` says so
        "Whether a failed attempt is made again."
        if self.stop.is_set() or isinstance(error, UsageError) or not isinstance(error, PipelineError):
            return False
        return bool(task.get("retry_on_timeout")) if isinstance(error, _AttemptStoppedError) else True

    def _note_retry(
        self,
        run: TaskRun,  # A task whose attempt failed; changed
        state: RetryCallState,  # What tenacity knows of the attempt
    ) -> None:
        "Record that a task waits for its next attempt, and why."
        error = state.outcome.exception() if state.outcome else None
        run.state, run.message = "WAITING_FOR_RETRY", str(error)
        self.on_change(run)


def _misses_outcome(
    task: dict[str, Any],  # A task
    runs: dict[str, TaskRun],  # Those it depends on have ended
) -> bool:
    "Whether a condition that a task depends on has another outcome than it wants."
    return any(
        upstream.get("outcome") is not None
        and runs[upstream["task_key"]].result == "SUCCESS"
        and runs[upstream["task_key"]].output != upstream["outcome"]
        for upstream in task.get("depends_on") or ()
    )


def job_result(
    tasks: list[dict[str, Any]],  # The tasks
    runs: list[TaskRun],  # What became of them
) -> str:  # SUCCESS, SUCCESS_WITH_FAILURES, FAILED, TIMEDOUT or CANCELED
    "The result of a job is that of its last tasks: those that no other depends on."
    upstream = {key for task in tasks for key in upstream_keys(task)}
    results = {run.result for run in runs}
    last_results = {run.result for run in runs if run.task_key not in upstream}
    if "CANCELED" in results:
        return "CANCELED"
    if last_results & set(_FAILED_RESULTS):
        return "TIMEDOUT" if "TIMEDOUT" in results and "FAILED" not in results else "FAILED"
    return "SUCCESS_WITH_FAILURES" if results & set(_FAILED_RESULTS) else "SUCCESS"
