"""A run of a job, an update of a pipeline: from the request to the answer that says how it ended."""

import logging
import re
import threading
import traceback
import uuid
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timezone
from typing import Any

from cdc_local.errors import PipelineError
from cdc_local.jobs.pipeline_task import UpdateOptions, update_program
from cdc_local.jobs.processes import run_program
from cdc_local.jobs.scheduler import run_job
from cdc_local.jobs.tasks import TaskPlan, list_dependencies, task_program, unpack_wheels
from cdc_local.storage import Storage
from cdc_local.update.event_log import EventLog, read_events
from cdc_local.workspace.definitions import get_job, get_pipeline
from cdc_local.workspace.files import CallError, Places
from cdc_local.workspace.state import ENDED_STATES, State, api_time, new_number
from cdc_local.workspace.views import run_view

log = logging.getLogger("cdc_local.workspace")


@dataclass(frozen=True)
class Execution:
    "What carries out the work."

    run_job: Callable  # `(tasks, run_task, on_change, stop)` → how each task ended
    task: Callable  # `(task, environments, stop, on_line)` → output; `PipelineError` if the task failed
    update: Callable  # `(pipeline, update, stop, on_line)` → output; `PipelineError` if the update failed


def local_execution(
    places: Places,  # Where the files of the workspace lie
) -> Execution:  # Work done by child processes of this machine
    "Run tasks and updates as the job and the pipeline say."

    def task(task, environments, stop, on_line):
        named = [{"environment_key": key, "spec": spec} for key, spec in environments.items()]
        wheels = unpack_wheels(list_dependencies(task, named), places)
        plan = TaskPlan(
            task, wheels, {}, {}, places, places.storage.root / "notebooks" / "workspace"
        )  # parameters are in the task already
        return run_program(task_program(plan), stop, on_line, on_line)

    def update(pipeline, update, stop, on_line):
        options = UpdateOptions(
            update["update_id"],
            update["full_refresh"],
            tuple(update["refresh_selection"] or ()),
            tuple(update["full_refresh_selection"] or ()),
        )
        return run_program(update_program(pipeline, options, places), stop, None, on_line)

    return Execution(run_job, task, update)


def resolve_values(
    value: Any,  # A task, or a part of one
    references: dict[str, str],  # Name to value, e.g. `job.parameters.day`
) -> Any:  # The same with every `{{name}}` that is known replaced
    "Fill in dynamic values."
    if isinstance(value, dict):
        return {name: resolve_values(each, references) for name, each in value.items()}
    if isinstance(value, list):
        return [resolve_values(each, references) for each in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\{\{\s*([\w.-]+)\s*\}\}", lambda found: references.get(found[1], found[0]), value)


def push_down_parameters(
    task: dict,  # A task of a job
    parameters: dict[str, str],  # Parameters of the run
    references: dict[str, str],  # Further dynamic values
) -> dict:  # The task as it is run
    "Push the parameters of a run down to a task that takes them by name."
    task = resolve_values(
        task,
        references
        | {f"job.parameters.{name}": value for name, value in parameters.items()}
        | {"task.name": task["task_key"]},
    )
    for kind, named in (("notebook_task", "base_parameters"), ("python_wheel_task", "named_parameters")):
        if kind in task and not task[kind].get("parameters"):
            task[kind] = task[kind] | {named: (task[kind].get(named) or {}) | parameters}
    return task


class Runs:
    "Runs of jobs and updates of pipelines, under way and queued."

    def __init__(
        self,
        state: State,  # Where they are remembered
        execution: Execution,  # What carries them out
        host: str = "",  # Address of the workspace, for links to a run
    ):
        self.state, self.execution, self.host = state, execution, host
        self.changed, self.queue, self.stops, self.threads = threading.Condition(state.lock), [], {}, []

    def change(self, kind: str, key: str, **values) -> dict:
        "Write what changed, and wake those who wait for it."
        with self.changed:
            known = self.state.find(kind, key)
            if known is not None:
                self.state.keep(kind, key, known | values)
            self.changed.notify_all()
            return known and known | values

    def start(self, key: str, work: Callable, *args) -> None:
        "Do work in a thread of its own, with a stop signal."
        stop = threading.Event()
        thread = threading.Thread(
            target=self._work, args=(key, work, *args, stop), name=f"workspace-{key}", daemon=True
        )
        with self.changed:
            self.stops[key], self.threads = (
                stop,
                [each for each in self.threads if each.is_alive()] + [thread],
            )
            thread.start()

    def _work(self, key, work, *args):
        try:
            work(*args)
        except Exception:
            log.exception("run or update %s ended by a fault of cdc_utils", key)
        with self.changed:
            self.stops.pop(key, None)

    def stop(
        self,
        key: str,  # A run or update
    ) -> None:
        "Signal work to stop; nothing happens to what has ended."
        with self.changed:
            if key in self.stops:
                self.stops[key].set()
            self.changed.notify_all()

    def close(self) -> None:
        "Stop everything, and wait until it has ended."
        with self.changed:
            keys, threads = list(self.stops), list(self.threads)
        for key in keys:
            self.stop(key)
        for thread in threads:
            thread.join()

    def wait(
        self,
        kind: str,  # `runs` or `updates`
        key: str,  # Which one
        stop: threading.Event = None,  # Stops it when set
    ) -> dict:  # Its note, or {} when it was deleted
        "Wait until a run or an update has ended."
        with self.changed:
            while (note := self.state.find(kind, key)) is not None and note["state"] not in ENDED_STATES:
                if stop is not None and stop.is_set():
                    self.stop(key)
                self.changed.wait(0.2 if stop is not None else None)
        return note or {}

    def start_update(
        self,
        pipeline_id: str,  # The pipeline
        asked: dict,  # `full_refresh`, `refresh_selection`, `full_refresh_selection`
        cause: str = "API_CALL",  # Who asks; JOB_TASK is the other
    ) -> dict:  # The update
        "Queue an update; `CallError` if this pipeline has one already."
        with self.changed:
            pipeline = get_pipeline(self.state, pipeline_id)
            active = [
                each["update_id"]
                for each in self.state.all("updates")
                if each["pipeline_id"] == pipeline_id and each["state"] not in ENDED_STATES
            ]
            if active:
                raise CallError(
                    "RESOURCE_CONFLICT",
                    f"An active update {active[0]} already exists for pipeline '{pipeline_id}'.",
                )
            chosen = {name: _names(asked, name) for name in ("refresh_selection", "full_refresh_selection")}
            if asked.get("validate_only"):
                raise CallError(
                    "NOT_IMPLEMENTED",
                    "validate_only is not known here; `cdc run --dry-run` checks a pipeline",
                )
            update = {
                "update_id": str(uuid.uuid4()),
                "pipeline_id": pipeline_id,
                "cause": cause,
                "creation_time": api_time(),
                "number": new_number(),
                "state": "WAITING_FOR_RESOURCES",
                "full_refresh": bool(asked.get("full_refresh")),
                **chosen,
            }
            self.queue.append(update["update_id"])
            self.state.keep("updates", update["update_id"], update)
            self.start(update["update_id"], self._update, pipeline, update)
        return update

    def _update(self, pipeline: dict, update: dict, stop: threading.Event) -> None:
        "Do one update when its turn has come."
        key, lines = update["update_id"], []

        def ended(state, message=""):
            self.change("updates", key, state=state, message=message, end_time=api_time())

        with await_turn(self, key, stop):
            if stop.is_set():
                return ended("CANCELED", "canceled before it began")
            self.change("updates", key, state="RUNNING", start_time=api_time())
            try:
                self.execution.update(pipeline["spec"], update, stop, lines.append)
            except Exception as error:
                if stop.is_set():
                    return ended("CANCELED", "canceled")
                if not isinstance(error, PipelineError):
                    log.exception("update %s ended by a fault of cdc_utils", key)
                _tell_failure(self.state.storage, pipeline, key, error)
                return ended("FAILED", str(error))
            ended("CANCELED" if stop.is_set() else "COMPLETED")

    def stop_pipeline(
        self,
        pipeline_id: str,  # The pipeline
    ) -> list[str]:  # Updates that will end
        "Cancel the update of a pipeline, if it has one."
        with self.changed:
            get_pipeline(self.state, pipeline_id)
            active = [
                each
                for each in self.state.all("updates")
                if each["pipeline_id"] == pipeline_id and each["state"] not in ENDED_STATES
            ]
            for update in active:
                self.change("updates", update["update_id"], state="STOPPING")
                self.stop(update["update_id"])
        return [update["update_id"] for update in active]

    def start_run(
        self,
        job_id: int,  # The job
        asked: dict,  # `job_parameters`, `notebook_params`, `only`, `pipeline_params`, `idempotency_token`
    ) -> dict:  # The run
        "Start a run, queue it, or say that it is skipped: `max_concurrent_runs` decides."
        with self.changed:
            job, token = get_job(self.state, job_id), asked.get("idempotency_token")
            before = next(
                (each for each in self.state.all("runs") if token and each.get("idempotency_token") == token),
                None,
            )
            if before:
                return before
            run = _new_run(self, job, asked)
            if not run["tasks"]:
                raise CallError("INVALID_PARAMETER_VALUE", f"job {job_id} has no tasks to run")
            if _active(self.state, run) >= run["max_concurrent_runs"]:
                full = f"{run['max_concurrent_runs']} runs of this job are under way, as many as max_concurrent_runs allows"
                queued = (job["settings"].get("queue") or {}).get("enabled")
                run |= (
                    {"state": "QUEUED", "message": full}
                    if queued
                    else {
                        "state": "SKIPPED",
                        "result": "MAXIMUM_CONCURRENT_RUNS_REACHED",
                        "message": full,
                        "end_time": api_time(),
                    }
                )
            self.state.keep("runs", run["run_id"], run)
            if run["state"] != "SKIPPED":
                self.start(run["run_id"], self._run, run, job["settings"])
        return run

    def _run(self, run: dict, settings: dict, stop: threading.Event) -> None:
        "Do one run when its turn has come."
        key, late = run["run_id"], threading.Event()

        def expire():
            late.set()
            self.stop(key)

        with self.changed:
            while _active(self.state, run) >= run["max_concurrent_runs"] and not stop.is_set():
                self.changed.wait()
            if stop.is_set():
                return self.change("runs", key, end_time=api_time(), **run_outcome([], True))
            self.change("runs", key, state="RUNNING", message="")
        timer = threading.Timer(settings["timeout_seconds"], expire)
        timer.daemon = True
        if settings["timeout_seconds"]:
            timer.start()
        try:
            _run_tasks(self, run, settings, stop)
        except Exception as error:
            log.exception("run %s ended by a fault of cdc_utils", key)
            return self.change(
                "runs",
                key,
                state="INTERNAL_ERROR",
                result="FAILED",
                message=f"{type(error).__name__}: {error}",
                end_time=api_time(),
            )
        finally:
            timer.cancel()
        self.change(
            "runs",
            key,
            end_time=api_time(),
            **run_outcome(self.state.find("runs", key)["tasks"], stop.is_set(), late.is_set()),
        )

    def cancel_run(
        self,
        run_id: int,  # The run
    ) -> None:
        "Cancel a run, which then ends soon; `CallError` where there is none. What has ended stays as it is."
        with self.changed:
            run = self.state.get("runs", run_id, f"Run {run_id} does not exist.")
            if run["state"] in ENDED_STATES:
                return
            if run["state"] == "RUNNING":
                self.change("runs", run["run_id"], state="TERMINATING")
            self.stop(run["run_id"])


@contextmanager
def await_turn(
    runs: Runs,  # With the queue
    key: str,  # Who waits; it is in the queue
    stop: threading.Event,  # Ends the waiting
):
    "Be the first of the queue, or be stopped."
    try:
        with runs.changed:
            while runs.queue[0] != key and not stop.is_set():
                runs.changed.wait()
        yield
    finally:
        with runs.changed:
            runs.queue.remove(key)
            runs.changed.notify_all()


def _names(
    asked: dict,  # What the API takes
    name: str,  # A part of it
) -> list[str]:
    "Names of tables or tasks; `CallError` for anything else."
    found = asked.get(name) or []
    if isinstance(found, list) and all(isinstance(each, str) for each in found):
        return found
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {found!r}; it must be a list of names")


def _tell_failure(
    storage: Storage,  # With the event log
    pipeline: dict,  # The pipeline
    update_id: str,  # The update
    error: Exception,  # Why it failed
) -> None:
    "Record the failure of an update whose process recorded none."
    if read_events(storage.event_log_path, update_id=update_id, level="ERROR"):
        return
    with EventLog(storage.event_log_path, pipeline["name"], update_id) as events:
        events.record(
            "update_progress",
            f"Update {update_id[:8]} is FAILED.",
            "ERROR",
            details={"update_progress": {"state": "FAILED"}},
            error=error,
        )


def _active(
    state: State,  # Where runs are remembered
    run: dict,  # A run
) -> int:
    "How many earlier runs of its job have not ended."
    return sum(
        each["job_id"] == run["job_id"]
        and each["run_id"] < run["run_id"]
        and each["state"] not in ENDED_STATES
        for each in state.all("runs")
    )


def _texts(
    asked: dict,  # What the API takes
    name: str,  # A part of it
) -> dict[str, str]:
    "Parameters by name; `CallError` for anything else."
    found = asked.get(name) or {}
    if isinstance(found, dict) and all(isinstance(value, str) for value in found.values()):
        return found
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {found!r}; it must be names with texts")


def _new_run(
    runs: Runs,  # With the notes
    job: dict,  # The job
    asked: dict,  # As for `start_run`
) -> dict:  # The note of a run that begins
    "Decide what a run does: its parameters and its tasks."
    settings, only = job["settings"], _names(asked, "only")
    run_id = new_number(1 + len(settings.get("tasks") or ()))
    declared = {each["name"]: each.get("default", "") for each in settings.get("parameters") or ()}
    values = declared | _texts(asked, "job_parameters") | _texts(asked, "notebook_params")
    references = {
        "job.id": str(job["job_id"]),
        "job.run_id": str(run_id),
        "job.name": settings["name"],
        "job.start_time.iso_date": datetime.now(UTC).date().isoformat(),
    }

    def definition(task):
        task = push_down_parameters(task, values, references)
        if only:
            task["depends_on"] = [each for each in task.get("depends_on") or () if each["task_key"] in only]
        if "pipeline_task" in task and asked.get("pipeline_params"):
            task["pipeline_task"] = task["pipeline_task"] | {
                "full_refresh": bool(asked["pipeline_params"].get("full_refresh"))
            }
        return task

    tasks = [definition(task) for task in settings.get("tasks") or () if not only or task["task_key"] in only]
    return {
        "run_id": run_id,
        "job_id": job["job_id"],
        "run_name": settings["name"],
        "number_in_job": run_id,
        "creator_user_name": runs.state.user,
        "start_time": api_time(),
        "state": "PENDING",
        "max_concurrent_runs": max(settings["max_concurrent_runs"], 1),
        "page": f"{runs.host}/?o=0#job/{job['job_id']}/run/{run_id}",
        "idempotency_token": asked.get("idempotency_token"),
        "job_parameters": [
            {"name": name, "default": declared.get(name, ""), "value": value}
            for name, value in values.items()
        ],
        "tasks": [
            {"task_key": task["task_key"], "run_id": run_id + number, "state": "PENDING", "definition": task}
            for number, task in enumerate(tasks, 1)
        ],
    }


def _run_tasks(
    runs: Runs,  # With the notes
    run: dict,  # The run
    settings: dict,  # Settings of its job
    stop: threading.Event,  # Ends it
) -> None:
    "Have the tasks of a run done, and write how far each is."
    environments = {
        each["environment_key"]: each.get("spec", {}) for each in settings.get("environments") or ()
    }

    def attempt(task, number, stopped):
        return _attempt(runs, run, environments, task, stopped)

    runs.execution.run_job(
        [task["definition"] for task in run["tasks"]],
        attempt,
        lambda task: _task_changed(runs, run["run_id"], task),
        stop,
    )


def run_outcome(
    tasks: list[dict],  # Notes of the tasks of a run
    stopped: bool = False,  # Whether the run was stopped
    late: bool = False,  # Whether it took longer than it may
) -> dict:  # `state`, `result` and `message` of the run
    "How a run ended: its last tasks decide, the ones that no other waits for."
    if late:
        return {
            "state": "TERMINATED",
            "result": "TIMEDOUT",
            "message": "the run took longer than timeout_seconds",
        }
    if stopped:
        return {"state": "TERMINATED", "result": "CANCELED", "message": "Run cancelled."}
    needed = {each["task_key"] for task in tasks for each in task["definition"].get("depends_on") or ()}
    last = [task for task in tasks if task["task_key"] not in needed]
    failed = [task for task in tasks if task.get("result") in ("FAILED", "TIMEDOUT", "CANCELED")]
    if any(task.get("result") not in ("SUCCESS", "EXCLUDED", "SKIPPED") for task in last):
        why = (
            f"Task {failed[0]['task_key']} failed with message: {failed[0]['message'] or failed[0]['result']}."
            if failed
            else "no task could run"
        )
        return {"state": "INTERNAL_ERROR", "result": "FAILED", "message": why}
    return {"state": "TERMINATED", "result": "SUCCESS_WITH_FAILURES" if failed else "SUCCESS", "message": ""}


SECONDS = 1000  # Milliseconds


def _task_changed(
    runs: Runs,  # With the notes
    run_id: int,  # The run
    task: Any,  # A `TaskRun`
) -> None:
    "Write how far a task is; the API counts attempts from 0."

    def stamp(seconds):
        return int(seconds * SECONDS) if seconds else 0

    said = {
        "state": task.state,
        "result": task.result,
        "attempt": max(task.attempt - 1, 0),
        "message": task.message,
        "start_time": stamp(task.started),
        "end_time": stamp(task.ended),
    }
    with runs.changed:
        tasks = runs.state.find("runs", run_id)["tasks"]
        runs.change(
            "runs",
            run_id,
            tasks=[each | said if each["task_key"] == task.task_key else each for each in tasks],
        )


LONGEST = 5_000_000  # Characters of output that are kept, the last ones


def _attempt(
    runs: Runs,  # With the notes
    run: dict,  # The run
    environments: dict,  # Environments of the job, by key
    task: dict,  # The task
    stop: threading.Event,  # Ends the attempt
) -> str:  # Its output
    "Do one attempt of a task, and keep what it printed; `PipelineError` if it failed."
    number, lines = next(each["run_id"] for each in run["tasks"] if each["task_key"] == task["task_key"]), []

    def keep(**said):
        runs.state.keep("outputs", number, {"logs": "\n".join(lines)[-LONGEST:]} | said)

    try:
        output = (
            _pipeline_task(runs, task["pipeline_task"], stop)
            if "pipeline_task" in task
            else runs.execution.task(task, environments, stop, lines.append)
        )
    except Exception as error:
        told = (
            error
            if isinstance(error, PipelineError)
            else PipelineError(
                f"this is a fault of cdc_utils, not of your job ({type(error).__name__}: {error})"
            )
        )
        if told is not error:
            log.exception("task %s ended by a fault of cdc_utils", task["task_key"])
        keep(
            error=str(told),
            error_trace="\n".join(lines)[-LONGEST:] or "".join(traceback.format_exception(error)),
        )
        raise told from error
    keep(result=output)
    return output


def _pipeline_task(
    runs: Runs,  # With the queue
    asked: dict,  # `pipeline_id`, `full_refresh` and the like
    stop: threading.Event,  # Ends the update, too
) -> str:  # The update's id
    "Update a pipeline, and wait for the end; `PipelineError` if it did not complete."
    update = runs.start_update(asked["pipeline_id"], asked, "JOB_TASK")
    ended = runs.wait("updates", update["update_id"], stop)
    if ended.get("state") == "COMPLETED":
        return update["update_id"]
    raise PipelineError(
        f"update {update['update_id']} of pipeline {asked['pipeline_id']} is {ended.get('state', 'deleted')}: {ended.get('message', '')}"
    )


def run_output(
    state: State,  # Where outputs are remembered
    run_id: int,  # Id of a task's run, or of a run with one task
) -> dict:  # As `jobs/runs/get-output` answers
    "What a task printed, and why it failed."
    run = next(
        (
            each
            for each in state.all("runs")
            if run_id in (each["run_id"], *[task["run_id"] for task in each["tasks"]])
        ),
        None,
    )
    if run is None:
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"Run {run_id} does not exist.")
    tasks = [task for task in run["tasks"] if run_id in (task["run_id"], run["run_id"])]
    if len(tasks) > 1:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            "Retrieving the output of runs with multiple tasks is not supported. Please retrieve the output of each individual task run instead.",
        )
    kept, task = state.find("outputs", tasks[0]["run_id"]) or {}, tasks[0]
    metadata = run_view(run)
    shown = {
        "metadata": metadata | next(each for each in metadata["tasks"] if each["run_id"] == task["run_id"])
    } | {name: kept[name] for name in ("error", "error_trace") if name in kept}
    if "notebook_task" in task["definition"]:
        return shown | {"notebook_output": {"result": kept.get("result") or "", "truncated": False}}
    return shown | (
        {}
        if "pipeline_task" in task["definition"]
        else {
            "logs": kept.get("logs") or kept.get("result") or "",
            "logs_truncated": len(kept.get("logs", "")) >= LONGEST,
        }
    )
