"""`cdc bundle run` runs the job or the pipeline that a bundle declares, from its own YAML, on this machine."""

import copy
import difflib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from cdc_local.bundles.bundle import Bundle, BundleError
from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.deadline import Deadline
from cdc_local.jobs.paths import FolderPaths
from cdc_local.jobs.pipeline_task import UpdateOptions, update_program
from cdc_local.jobs.processes import run_program
from cdc_local.jobs.scheduler import check_tasks, job_result, run_job
from cdc_local.jobs.tasks import (
    TaskPlan,
    check_task_kind,
    list_dependencies,
    list_dynamic_values,
    task_program,
    unpack_wheels,
)
from cdc_local.source.wheels import is_wheel
from cdc_local.storage import Storage
from cdc_utils.results import TaskRun, UpdateResult, update_result


def find_resource(
    bundle: Bundle,  # The bundle
    key: str,  # Key of a job or a pipeline
) -> str:  # `jobs` or `pipelines`
    "Which kind of resource a key names; `UsageError` for one that can't be run."
    runnable = {name: kind for kind in ("jobs", "pipelines") for name in bundle.resources(kind)}
    if key in runnable:
        return runnable[key]
    near = difflib.get_close_matches(key, runnable, 1)
    raise UsageError(
        f"bundle {bundle.name} has no job or pipeline {key!r}",
        hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(runnable) or 'none'}",
    )


def dependency_path(
    bundle: Bundle,  # The bundle
    *at,  # Where the dependency stands
) -> str:  # As it is, or the wheel's path on this machine
    "Find a wheel that an environment names; `BundleError` for a pattern that matches none, or several."
    value = bundle.said.below(*at).values
    if not is_wheel(value) or value.startswith(("/", "dbfs:")):
        return value
    path = bundle.path_at(*at)
    if "*" not in path.name:
        return str(path)
    found = sorted(path.parent.glob(path.name))
    if len(found) == 1:
        return str(found[0])
    raise BundleError(
        f"{value} matches {len(found)} wheels",
        bundle.said.where(*at),
        "name one" if found else "build it first",
    )


def with_local_paths(
    bundle: Bundle,  # The bundle
    value,  # A part of it
    at: tuple,  # Where the part stands
):  # The part, with paths of this machine
    "Make the paths of a job or a pipeline absolute."
    if isinstance(value, dict):
        return {key: with_local_paths(bundle, each, (*at, key)) for key, each in value.items()}
    if isinstance(value, list):
        return [with_local_paths(bundle, each, (*at, place)) for place, each in enumerate(value)]
    if not isinstance(value, str) or value.startswith(("/", "dbfs:")):
        return value
    if at[-1] in ("notebook_path", "python_file", "root_path", "include") or at[-2:] in (
        ("file", "path"),
        ("notebook", "path"),
    ):
        return str(bundle.path_at(*at))
    return dependency_path(bundle, *at) if "dependencies" in at[-2:] or at[-1] == "whl" else value


def load_resource(
    bundle: Bundle,  # The bundle
    kind: str,  # jobs or pipelines
    key: str,  # Its key
) -> dict:  # As the API would get it, with paths of this machine
    "A job or a pipeline, ready to run."
    return with_local_paths(bundle, copy.deepcopy(bundle.resources(kind)[key]), ("resources", kind, key))


def pipeline_key(
    bundle: Bundle,  # The bundle
    task: dict,  # With a `pipeline_task`
) -> str:  # Key of the pipeline in the bundle
    "Which pipeline a task updates; `UsageError` for one that is not in this bundle."
    named = task["pipeline_task"].get("pipeline_id", "")
    key = (
        named.removeprefix("${resources.pipelines.").removesuffix(".id}")
        if named.startswith("${resources.pipelines.")
        else ""
    )
    if key in bundle.resources("pipelines"):
        return key
    raise UsageError(
        f"task {task['task_key']}: pipeline {named!r} is not in this bundle",
        hint="only a pipeline that the bundle declares can be run here",
    )


def update_options(
    task: dict,  # With a `pipeline_task`
) -> UpdateOptions:
    "What the task asks of the update."
    settings = task["pipeline_task"]
    return UpdateOptions(
        full_refresh=bool(settings.get("full_refresh")),
        refresh_selection=tuple(settings.get("refresh_selection") or ()),
        full_refresh_selection=tuple(settings.get("full_refresh_selection") or ()),
    )


def job_parameters(
    job: dict,  # The job
    given: Mapping[str, str],  # From the command line
) -> dict[str, str]:  # Name -> value
    "A job's parameters; `UsageError` for one that it does not have."
    known = {each["name"]: str(each.get("default", "")) for each in job.get("parameters") or ()}
    for name in given:
        if name not in known:
            raise UsageError(
                f"job {job.get('name')} has no parameter {name!r}",
                hint=f"it has {', '.join(known) or 'none'}",
            )
    return {**known, **given}


def build_artifacts(
    bundle: Bundle,  # The bundle
    on_line: Callable = None,  # Called with what is being built
) -> None:
    "Run the build commands of a bundle; `PipelineError` with what a command said where it fails."
    for key, artifact in (bundle.said.values.get("artifacts") or {}).items():
        if not artifact.get("build"):
            continue
        folder = bundle.path_at("artifacts", key, "path") if artifact.get("path") else bundle.folder
        if on_line:
            on_line(f"{key}: {artifact['build']}")
        done = subprocess.run(
            artifact["build"],
            shell=True,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise PipelineError(
                f"artifact {key}: `{artifact['build']}` ended with status {done.returncode}\n{(done.stdout + done.stderr).strip()}",
                bundle.said.where("artifacts", key),
            )


@dataclass(frozen=True)
class RunRequest:
    "A job or a pipeline to run."

    bundle: Bundle  # Where it is declared
    key: str  # Its key
    storage: Storage  # Volumes, tables, events
    parameters: dict = field(default_factory=dict)  # Of the job
    options: UpdateOptions = UpdateOptions()  # Of the pipeline
    on_line: Callable = None  # Called with `(task_key, line)`: what a task tells while it runs
    on_event: Callable = None  # Called with `(task_key, event)` for each event of an update
    on_change: Callable = None  # Called with a `TaskRun` after each change


@dataclass(frozen=True)
class JobRun:
    "What became of a job."

    key: str  # Its key
    result: str  # SUCCESS, SUCCESS_WITH_FAILURES, FAILED, TIMEDOUT or CANCELED
    tasks: tuple[TaskRun, ...]  # In the order of the job
    updates: dict[str, UpdateResult] = field(default_factory=dict)  # Task -> what its update did
    seconds: float = 0.0  # Wall clock


class UpdateFailed(PipelineError):
    "An update that did not end well; `result` says how far it came."

    def __init__(self, message: str, result: UpdateResult):
        super().__init__(message)
        self.result = result


def run_pipeline(
    request: RunRequest,  # With an `on_event`, if somebody listens
    key: str,  # Key of the pipeline
    options: UpdateOptions,  # What the update is asked
    stop=None,  # Ends it when it is set
    task_key: str = "",  # The task that it belongs to
) -> UpdateResult:
    "Run one update of a pipeline of the bundle; raises `UpdateFailed` where it fails."
    events = []

    def told(line):
        if request.on_line and not line.startswith("error: "):
            request.on_line(task_key, line)

    def take(line):
        try:
            event = json.loads(line)
        except ValueError:
            event = None
        if not isinstance(event, dict) or "event_type" not in event:
            return told(line)  # a source file printed it
        event["timestamp"] = datetime.fromisoformat(event["timestamp"])
        events.append(event)
        if request.on_event:
            request.on_event(task_key, event)

    program = update_program(
        load_resource(request.bundle, "pipelines", key),
        options,
        FolderPaths(request.storage, request.bundle.folder),
    )
    try:
        run_program(program, stop, take, told)
    except PipelineError as error:
        raise UpdateFailed(str(error), update_result(events)) from None
    return update_result(events)


def run_task(
    request: RunRequest,  # The run
    job: dict,  # The job, with paths of this machine
    parameters: dict[str, str],  # Its parameters
    updates: dict,  # Gets what updates did
    task: dict,  # The task
    attempt: int,  # Counted from 1
    stop,  # Ends it when it is set
) -> str:  # What it printed
    "Make one attempt at a task."
    key, known = task["task_key"], list_dynamic_values(job.get("name", request.key), task["task_key"], parameters)
    if "pipeline_task" in task:
        try:
            updates[key] = run_pipeline(
                request, pipeline_key(request.bundle, task), update_options(task), stop, key
            )
        except UpdateFailed as failed:
            updates[key] = failed.result
            raise
        return f"update {updates[key].update_id} is {updates[key].state}"
    places = FolderPaths(request.storage, request.bundle.folder)
    wheels = unpack_wheels(list_dependencies(task, job.get("environments") or []), places)
    plan = TaskPlan(task, wheels, parameters, known, places, request.storage.root / "notebooks" / request.key)
    return run_program(task_program(plan), stop, None, request.on_line and partial(request.on_line, key))


def run_bundle_job(
    request: RunRequest,  # Which job, and who is told
    stop=None,  # `Event`: ends the job
) -> JobRun:
    "Run a job of a bundle; raises `UsageError` before its first task where it cannot be run."
    job, began, updates = request.bundle.resources("jobs")[request.key], time.monotonic(), {}
    parameters, tasks = job_parameters(job, request.parameters), job.get("tasks") or []
    check_tasks(tasks)
    for task in tasks:
        check_task_kind(task)
        if "pipeline_task" in task:
            pipeline_key(request.bundle, task)
    if job.get("git_source"):
        raise UsageError(
            f"job {request.key} takes its files from a repository (git_source)",
            hint="name files of the bundle, to run them here",
        )
    build_artifacts(request.bundle, request.on_line and partial(request.on_line, ""))
    job = load_resource(request.bundle, "jobs", request.key)  # now there are wheels that a pattern can match
    ending = Deadline(stop or threading.Event(), job.get("timeout_seconds"))
    runs = run_job(
        job["tasks"],
        partial(run_task, request, job, parameters, updates),
        request.on_change or (lambda run: None),
        ending,
    )
    return JobRun(request.key, job_result(tasks, runs), tuple(runs), updates, time.monotonic() - began)
