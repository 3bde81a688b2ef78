"""What carries out runs and updates: processes of this machine, or what a test puts in their place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cdc_local.jobs.attempts import Attempt
from cdc_local.jobs.deadline import StopSignal
from cdc_local.jobs.pipeline_task import UpdateOptions, update_program
from cdc_local.jobs.processes import OnLine, run_program
from cdc_local.jobs.running_job import RunningJob
from cdc_local.jobs.scheduler import OnChange, RunTask, run_job
from cdc_local.jobs.tasks import TaskPlan, list_dependencies, task_program, unpack_wheels
from cdc_local.storage import Storage
from cdc_local.workspace.paths import WorkspacePaths

RunJob = Callable[[list[dict[str, Any]], RunTask, OnChange, StopSignal], object]  # As `scheduler.run_job`

DoTask = Callable[[Attempt, RunningJob, dict[str, Any], OnLine], str | None]  # See `Execution`

DoUpdate = Callable[[dict[str, Any], dict[str, Any], StopSignal, OnLine], object]  # See `Execution`


@dataclass(frozen=True)
class Execution:
    "What carries out the work; each may raise `PipelineError`, and calls `on_line` with what is printed."

    run_job: RunJob  # `(tasks, run_task, on_change, stop)`: puts the tasks of a run in order
    task: DoTask  # `(attempt, job, environments, on_line)` -> output: does one attempt at a task
    update: DoUpdate  # `(pipeline, update, stop, on_line)`: updates a pipeline


def program_notes(
    storage: Storage,  # The folder that stands for the workspace
) -> Path:  # A folder
    "Say where the notes of running programs lie, which the next server reads if this one is killed."
    return storage.root / "workspace" / "programs"


def local_execution(
    paths: WorkspacePaths,  # Where the files of the workspace lie
) -> Execution:  # Work done by child processes of this machine
    "Run tasks and updates as the job and the pipeline say."

    def do_task(
        attempt: Attempt, job: RunningJob, environments: dict[str, Any], on_line: OnLine
    ) -> str | None:
        specs = [{"environment_key": key, "spec": spec} for key, spec in environments.items()]
        wheels = unpack_wheels(list_dependencies(attempt.task, specs), paths)
        executed_notebooks = paths.storage.root / "notebooks" / "workspace"
        plan = TaskPlan(attempt.task, attempt.key, wheels, paths, executed_notebooks, job)
        return run_program(task_program(plan), attempt.stop, on_line, on_line, program_notes(paths.storage))

    def do_update(pipeline: dict[str, Any], update: dict[str, Any], stop: StopSignal, on_line: OnLine) -> str:
        options = UpdateOptions(
            update["update_id"],
            update["full_refresh"],
            tuple(update["refresh_selection"] or ()),
            tuple(update["full_refresh_selection"] or ()),
            update["validate_only"],
            update.get("parameters") or {},
        )
        program = update_program(pipeline, options, paths)
        return run_program(program, stop, None, on_line, program_notes(paths.storage))

    return Execution(run_job, do_task, do_update)
