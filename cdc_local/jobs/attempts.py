"""One attempt at a task of a running job: what the job itself does, and what is left to whoever runs it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cdc_local.jobs.conditions import decide
from cdc_local.jobs.deadline import Deadline
from cdc_local.jobs.for_each import read_inputs, run_iterations
from cdc_local.jobs.running_job import NO_INPUT, RunningJob
from cdc_local.jobs.scheduler import OnChange


@dataclass(frozen=True)
class Attempt:
    "An attempt that is ready to be made."

    task: dict[str, Any]  # Its references are filled in
    key: str  # Of the task; of an iteration `loop[0]`
    number: int  # Counted from 1
    stop: Deadline  # Ends it when it is set


DoAttempt = Callable[[Attempt], str | None]  # Does what a task of any other kind asks for -> its output


def make_attempt(
    job: RunningJob,  # The run
    do_attempt: DoAttempt,  # For all but conditions and loops
    on_change: OnChange,  # Called with the record of an iteration after each change
    task: dict[str, Any],  # A task of the job
    number: int,  # Counted from 1
    stop: Deadline,  # Ends it when it is set
) -> str | None:  # Its output; of a condition its outcome
    "Make one attempt at a task; `PipelineError` where it fails."
    if "for_each_task" not in task:
        return _attempt(job, do_attempt, task, task["task_key"], NO_INPUT, number, stop)
    text = job.fill_text(task["for_each_task"]["inputs"], task, number)
    iterate = partial(_attempt, job, do_attempt)
    return run_iterations(task, read_inputs(task["task_key"], text), iterate, on_change, stop)


def _attempt(
    job: RunningJob,  # The run
    do_attempt: DoAttempt,  # For all but conditions
    task: dict[str, Any],  # A task that is no loop
    key: str,  # Its key; of an iteration `loop[0]`
    item: Any,  # What an iteration works on
    number: int,  # Counted from 1
    stop: Deadline,  # Ends it when it is set
) -> str | None:
    filled = job.fill(task, key, number, item)
    job.values.clear(key)
    if "condition_task" in filled:
        return decide(filled)
    return do_attempt(Attempt(filled, key, number, stop))
