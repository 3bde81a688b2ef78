"""`for_each_task`: one task, run once for each of its inputs, as many at a time as `concurrency` says."""

import ast
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.deadline import Deadline, StopSignal
from cdc_local.jobs.scheduler import OnChange, TaskRunner
from cdc_utils.results import TaskRun

Iterate = Callable[[dict[str, Any], str, Any, int, Deadline], str | None]
# `(nested task, key, input, attempt, stop)` -> output: one attempt at one iteration


def read_inputs(
    task_key: str,  # The task
    text: str,  # Its `inputs`, with references filled in
) -> list[Any]:  # One for each iteration
    "Read the inputs of a `for_each_task`; `UsageError` for what is no list."
    try:
        inputs = json.loads(text)
    except ValueError:
        inputs = _read_python_list(text)
    if isinstance(inputs, list):
        return inputs
    raise UsageError(
        f"task {task_key}: inputs is {text!r}, which is no list", hint='write it as JSON: ["a", "b"]'
    )


def _read_python_list(
    text: str,  # May be a list with single quotes, which Databricks takes, too
) -> Any:  # None where it is nothing of Python
    "Read what is no JSON."
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None


def iteration_key(
    task_key: str,  # Of the `for_each_task`
    number: int,  # Counted from 0
) -> str:  # No task has such a key
    "Name an iteration."
    return f"{task_key}[{number}]"


def loop_key(
    key: str,  # Of an iteration, or of a task
) -> str:  # The key itself where it is a task's
    "Name the `for_each_task` of an iteration."
    return key.partition("[")[0]


def run_iterations(
    task: dict[str, Any],  # With a `for_each_task`
    inputs: list[Any],  # One for each iteration
    iterate: Iterate,  # Makes one attempt at one iteration
    on_change: OnChange,  # Called with the record of an iteration after each change, first with all of them
    stop: StopSignal,  # Ends them all
) -> str:  # How many there were
    "Run every iteration, whatever becomes of the others; `PipelineError` where one of them did not succeed."
    settings = task["for_each_task"]
    nested, runs = settings["task"], []
    for number in range(len(inputs)):
        runs.append(TaskRun(iteration_key(task["task_key"], number)))
        on_change(runs[-1])

    def run(record: TaskRun, item: Any) -> None:
        def attempt(nested: dict[str, Any], number: int, deadline: Deadline) -> str | None:
            return iterate(nested, record.task_key, item, number, deadline)

        TaskRunner(attempt, on_change, stop).run(nested, record)

    with ThreadPoolExecutor(max(int(settings.get("concurrency") or 1), 1)) as pool:
        for future in [pool.submit(run, record, item) for record, item in zip(runs, inputs, strict=True)]:
            future.result()
    failed = [record for record in runs if record.result != "SUCCESS"]
    if failed:
        raise PipelineError(
            f"{len(failed)} of {len(runs)} iterations failed; {failed[0].task_key}: {failed[0].message}"
        )
    return f"{len(runs)} iterations"
