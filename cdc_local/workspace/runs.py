"""Runs of jobs: from the request to the note that says how the run ended."""

import logging
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.attempts import Attempt, make_attempt
from cdc_local.jobs.deadline import StopSignal
from cdc_local.jobs.for_each import loop_key
from cdc_local.jobs.running_job import JobFacts, RunningJob, fill_parameters, hand_down, workspace_number
from cdc_local.jobs.scheduler import one_at_a_time
from cdc_local.workspace.background import BackgroundWork
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.job_definitions import get_job
from cdc_local.workspace.resolved_values import resolve_values
from cdc_local.workspace.run_output import OUTPUT_LIMIT, write_output
from cdc_local.workspace.state import State, api_time, new_number
from cdc_local.workspace.updates import Updates
from cdc_local.workspace.values import read_names, read_parameters
from cdc_utils.results import ENDED_TASK_STATES, TaskRun

log = logging.getLogger(__name__)


class Runs:
    "Runs of jobs, under way and queued."

    def __init__(
        self,
        work: BackgroundWork,  # Threads and notes
        execution: Execution,  # What carries them out
        updates: Updates,  # For tasks that update a pipeline
        host: str = "",  # Address of the workspace, for links to a run
    ) -> None:
        self.work = work
        self.state = work.state
        self.execution = execution
        self.updates = updates
        self.host = host

    def start(
        self,
        job_id: int,  # The job
        request: dict[
            str, Any
        ],  # `job_parameters`, `notebook_params`, `only`, `pipeline_params`, `idempotency_token`
        caller: dict[str, int] | None = None,  # Of a run that a task starts: `run_id` of the task, `depth`
    ) -> dict[str, Any]:  # The run
        """Start a run, queue it, or note that it is skipped: `max_concurrent_runs` decides.

        A token that a run has already answers with that run. Raises `CallError` for a job without tasks.
        """
        with self.work.changed:
            job = get_job(self.state, job_id)
            token = request.get("idempotency_token")
            for earlier in self.state.all("runs"):
                if token and earlier.get("idempotency_token") == token:
                    return dict(earlier)
            run = _new_run(job, request, self.state, self.host, caller)
            if not run["tasks"]:
                raise CallError("INVALID_PARAMETER_VALUE", f"job {job_id} has no tasks to run")
            if self._must_wait(run):
                run |= self._queue_or_skip(run, job["settings"])
            self.state.write("runs", run["run_id"], run)
            if run["state"] != "SKIPPED":
                self.work.start(run["run_id"], partial(self._run, run, job["settings"]))
        return run

    def _must_wait(self, run: dict[str, Any]) -> bool:
        "Whether as many earlier runs of the job are under way as may be."
        earlier = [
            other
            for other in self.state.all("runs")
            if other["job_id"] == run["job_id"]
            and other["run_id"] < run["run_id"]
            and other["state"] not in ENDED_TASK_STATES
        ]
        return len(earlier) >= int(run["max_concurrent_runs"])

    def _queue_or_skip(self, run: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
        "Say what becomes of a run that cannot start now."
        message = (
            f"{run['max_concurrent_runs']} runs of this job are under way,"
            " as many as max_concurrent_runs allows"
        )
        if (settings.get("queue") or {}).get("enabled"):
            return {"state": "QUEUED", "message": message}
        result = "MAXIMUM_CONCURRENT_RUNS_REACHED"
        return {"state": "SKIPPED", "result": result, "message": message, "end_time": api_time()}

    def cancel(
        self,
        run_id: int,  # The run
    ) -> None:
        "Cancel a run, which then ends soon; `CallError` where there is none. What has ended stays as it is."
        with self.work.changed:
            run = self.state.get("runs", run_id, f"Run {run_id} does not exist.")
            if run["state"] in ENDED_TASK_STATES:
                return
            if run["state"] == "RUNNING":
                self.work.change("runs", run["run_id"], state="TERMINATING")
            self.work.stop(run["run_id"])

    def _run(self, run: dict[str, Any], settings: dict[str, Any], stop: threading.Event) -> None:
        "Carry out a run when its turn has come, and note how it ended."
        run_id = run["run_id"]
        with self.work.changed:
            while self._must_wait(run) and not stop.is_set():
                self.work.changed.wait()
            if stop.is_set():
                return self._end(run_id, run_outcome([], is_stopped=True))
            self.work.change("runs", run_id, state="RUNNING", message="")
        is_late = threading.Event()
        timer = self._start_timer(run_id, settings["timeout_seconds"], is_late)
        try:
            self._run_tasks(run, settings, stop)
        except Exception as error:
            log.exception("run %s ended by a fault of cdc_utils", run_id)
            message = f"{type(error).__name__}: {error}"
            return self._end(run_id, {"state": "INTERNAL_ERROR", "result": "FAILED", "message": message})
        finally:
            timer.cancel()
        tasks = self.state.find("runs", run_id)["tasks"]
        self._end(run_id, run_outcome(tasks, stop.is_set(), is_late.is_set()))

    def _start_timer(self, run_id: int, seconds: int, is_late: threading.Event) -> threading.Timer:
        "Stop a run after its `timeout_seconds`; 0 is without a limit."

        def expire() -> None:
            is_late.set()
            self.work.stop(run_id)

        timer = threading.Timer(seconds, expire)
        timer.daemon = True
        if seconds:
            timer.start()
        return timer

    def _end(self, run_id: int, outcome: dict[str, Any]) -> None:
        "Note that a run has ended."
        self.work.change("runs", run_id, end_time=api_time(), **outcome)

    def _run_tasks(self, run: dict[str, Any], settings: dict[str, Any], stop: threading.Event) -> None:
        "Run the tasks of a run in their order, and note how far each is."
        environments = {
            environment["environment_key"]: environment.get("spec", {})
            for environment in settings.get("environments") or ()
        }

        definitions = [task["definition"] for task in run["tasks"]]
        with TemporaryDirectory(prefix="cdc-job-") as folder:
            job = RunningJob(
                _job_facts(run, self.state),
                definitions,
                {parameter["name"]: parameter["value"] for parameter in run["job_parameters"]},
                Path(folder),
                new_number,
                {task["task_key"]: task["run_id"] for task in run["tasks"]},
            )
            on_change = one_at_a_time(partial(self._note_task, job))
            do_attempt = partial(self._do_attempt, job, environments)
            self.execution.run_job(
                definitions, partial(make_attempt, job, do_attempt, on_change), on_change, stop
            )

    def _note_task(self, job: RunningJob, task_run: TaskRun) -> None:
        "Note how far a task or an iteration is."
        job.note(task_run)
        filled = job.filled.get(task_run.task_key)
        resolved = {"resolved": resolve_values(filled)} if filled else {}
        self._change_task(job, task_run.task_key, lambda note: _note_progress(task_run, note) | resolved)

    def _change_task(
        self,
        job: RunningJob,  # The run
        key: str,  # Of a task, or of an iteration
        change: Callable[[dict[str, Any]], dict[str, Any]],  # Makes the new note of the old one
    ) -> None:
        "Change the note of a task, or of an iteration of it."

        def change_iteration(note: dict[str, Any]) -> dict[str, Any]:
            nested = note["definition"]["for_each_task"]["task"]
            new = {"task_key": nested["task_key"], "run_id": job.run_id(key), "definition": nested}
            iterations = note.get("iterations") or {}
            return note | {"iterations": iterations | {key: change(iterations.get(key) or new)}}

        run_id, loop = job.facts.run_id, loop_key(key)
        with self.work.changed:
            tasks = self.state.find("runs", run_id)["tasks"]
            make = change if key == loop else change_iteration
            changed = [make(task) if task["task_key"] == loop else task for task in tasks]
            self.work.change("runs", run_id, tasks=changed)

    def _do_attempt(
        self,
        job: RunningJob,  # The run
        environments: dict[str, Any],  # Environments of the job, by key
        attempt: Attempt,  # At a task that is no condition and no loop
    ) -> str | None:  # Its output
        "Make one attempt at a task, and keep what it printed; `PipelineError` if it failed."
        task, stop, number = attempt.task, attempt.stop, job.run_id(attempt.key)
        lines: list[str] = []
        try:
            if "pipeline_task" in task:
                output: str | None = self._update_pipeline(task["pipeline_task"], stop)
            elif "run_job_task" in task:
                output = self._run_other_job(job, attempt)
            else:
                output = self.execution.task(attempt, job, environments, lines.append)
        except Exception as error:
            failure = _as_pipeline_error(error, task["task_key"])
            trace = "\n".join(lines)[-OUTPUT_LIMIT:]
            if error is not failure and not trace:  # a fault of this project, whose place helps to mend it
                trace = "".join(traceback.format_exception(error))
            write_output(self.state, number, lines, error=str(failure), error_trace=trace)
            raise failure from error
        write_output(self.state, number, lines, result=output)
        return output

    def _update_pipeline(
        self,
        settings: dict[str, Any],  # `pipeline_id`, `full_refresh` and the like
        stop: StopSignal,  # Ends the update, too
    ) -> str:  # The update's id
        "Update a pipeline, and wait for the end; `PipelineError` if it did not complete."
        update_id: str = self.updates.start(settings["pipeline_id"], settings, "JOB_TASK")["update_id"]
        update = self.work.wait("updates", update_id, stop)
        if update.get("state") == "COMPLETED":
            return update_id
        raise PipelineError(
            f"update {update_id} of pipeline {settings['pipeline_id']} is {update.get('state', 'deleted')}:"
            f" {update.get('message', '')}"
        )

    def _run_other_job(
        self,
        job: RunningJob,  # The run
        attempt: Attempt,  # At a `run_job_task`
    ) -> str:  # Id of the other run
        "Run another job, and wait for its end; `PipelineError` if it did not succeed."
        settings = attempt.task["run_job_task"]
        caller = self.state.find("runs", job.facts.run_id)["caller"] or {"depth": 0}
        if caller["depth"] >= _DEEPEST:
            raise PipelineError(
                f"job {settings['job_id']}: {_DEEPEST} jobs run each other already",
                hint="a circle of run_job_tasks has no end",
            )
        declared = get_job(self.state, settings["job_id"])["settings"].get("parameters") or ()
        names = [parameter["name"] for parameter in declared]
        request = settings | {"job_parameters": hand_down(job, settings.get("job_parameters"), names)}
        number = job.run_id(attempt.key)
        started = self.start(settings["job_id"], request, {"run_id": number, "depth": caller["depth"] + 1})
        other_id: int = started["run_id"]
        self._change_task(job, attempt.key, lambda note: note | {"other_run_id": other_id})
        run = self.work.wait("runs", other_id, attempt.stop)
        if run.get("result") in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
            return str(other_id)
        raise PipelineError(
            f"run {other_id} of job {settings['job_id']} is {run.get('result', 'deleted')}:"
            f" {run.get('message', '')}"
        )


_DEEPEST = (
    3  # How many jobs may run each other, one in the other: https://docs.databricks.com/aws/en/jobs/run-job
)


def _job_facts(
    run: dict[str, Any],  # Note of a run
    state: State,  # Where it is noted
) -> JobFacts:
    "Say what references of a run may ask of it."
    return JobFacts(
        run["job_id"],
        run["run_id"],
        run["run_name"],
        datetime.fromtimestamp(run["start_time"] / 1000, UTC),
        workspace_number(state.storage),
        run["page"].partition("/?")[0],
        "run_job_task" if run.get("caller") else "one_time",
    )


def _new_run(
    job: dict[str, Any],  # The job
    request: dict[str, Any],  # As for `Runs.start`
    state: State,  # Where it will be noted
    host: str,  # Address of the workspace, for the link
    caller: dict[str, int] | None,  # As for `Runs.start`
) -> dict[str, Any]:  # The note of a run that begins
    "Decide what a run does: its parameters and its tasks; `CallError` for values of the wrong kind."
    settings = job["settings"]
    only = read_names(request, "only")
    run_id = new_number(1 + len(settings.get("tasks") or ()))
    declared = {
        parameter["name"]: parameter.get("default", "") for parameter in settings.get("parameters") or ()
    }
    given = read_parameters(request, "job_parameters") | read_parameters(request, "notebook_params")
    chosen = [task for task in settings.get("tasks") or () if not only or task["task_key"] in only]
    tasks = [_fit_to_request(task, only, request.get("pipeline_params")) for task in chosen]
    run = {
        "run_id": run_id,
        "job_id": job["job_id"],
        "run_name": settings["name"],
        "number_in_job": run_id,
        "creator_user_name": state.user,
        "caller": caller,
        "start_time": api_time(),
        "state": "PENDING",
        "max_concurrent_runs": max(settings["max_concurrent_runs"], 1),
        "page": f"{host}/?o=0#job/{job['job_id']}/run/{run_id}",
        "idempotency_token": request.get("idempotency_token"),
        "tasks": [
            {"task_key": task["task_key"], "run_id": run_id + number, "state": "PENDING", "definition": task}
            for number, task in enumerate(tasks, 1)
        ],
    }
    try:
        values = fill_parameters(_job_facts(run, state), declared | given)
    except UsageError as error:
        raise CallError("INVALID_PARAMETER_VALUE", str(error)) from None
    parameters = [
        {"name": name, "default": declared.get(name, ""), "value": value} for name, value in values.items()
    ]
    return run | {"job_parameters": parameters}


def _fit_to_request(
    task: dict[str, Any],  # A task of the job
    only: list[str],  # Keys of the chosen tasks; empty for all
    pipeline_parameters: dict[str, Any] | None,  # `full_refresh`
) -> dict[str, Any]:  # The task of the run
    "Leave out dependencies on tasks that do not run, and set what is asked of a pipeline."
    if only:
        upstream = task.get("depends_on") or ()
        task = task | {"depends_on": [other for other in upstream if other["task_key"] in only]}
    if "pipeline_task" in task and pipeline_parameters:
        full_refresh = bool(pipeline_parameters.get("full_refresh"))
        task = task | {"pipeline_task": task["pipeline_task"] | {"full_refresh": full_refresh}}
    return task


def run_outcome(
    tasks: list[dict[str, Any]],  # Notes of the tasks of a run
    is_stopped: bool = False,  # Whether the run was stopped
    is_late: bool = False,  # Whether it took longer than `timeout_seconds`
) -> dict[str, str]:  # `state`, `result` and `message` of the run
    "Decide how a run ended: its last tasks decide, the ones that no other depends on."
    if is_late:
        message = "the run took longer than timeout_seconds"
        return {"state": "TERMINATED", "result": "TIMEDOUT", "message": message}
    if is_stopped:
        return {"state": "TERMINATED", "result": "CANCELED", "message": "Run cancelled."}
    upstream = {
        dependency["task_key"] for task in tasks for dependency in task["definition"].get("depends_on") or ()
    }
    last = [task for task in tasks if task["task_key"] not in upstream]
    failed = [task for task in tasks if task.get("result") in ("FAILED", "TIMEDOUT", "CANCELED")]
    if all(task.get("result") in ("SUCCESS", "EXCLUDED", "SKIPPED", "DISABLED") for task in last):
        result = "SUCCESS_WITH_FAILURES" if failed else "SUCCESS"
        return {"state": "TERMINATED", "result": result, "message": ""}
    message = "no task could run"
    if failed:
        reason = failed[0]["message"] or failed[0]["result"]
        message = f"Task {failed[0]['task_key']} failed with message: {reason}."
    return {"state": "INTERNAL_ERROR", "result": "FAILED", "message": message}


def _note_progress(task_run: TaskRun, note: dict[str, Any]) -> dict[str, Any]:
    "Note how far a task is, in the API's units: attempts from 0, times in milliseconds."
    outcome = "condition_task" in note["definition"] and task_run.result == "SUCCESS"
    return (
        note
        | ({"outcome": task_run.output} if outcome else {})
        | {
            "state": task_run.state,
            "result": task_run.result,
            "attempt": max(task_run.attempt - 1, 0),
            "message": task_run.message,
            "start_time": int((task_run.started or 0) * 1000),
            "end_time": int((task_run.ended or 0) * 1000),
        }
    )


def _as_pipeline_error(error: Exception, task_key: str) -> PipelineError:
    "Return an error of the user's as it is; log any other, which is a fault of this project."
    if isinstance(error, PipelineError):
        return error
    log.error("task %s ended by a fault of cdc_utils", task_key, exc_info=error)
    return PipelineError(f"this is a fault of cdc_utils, not of your job ({type(error).__name__}: {error})")
