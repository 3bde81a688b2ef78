"""Runs the job or the pipeline that a bundle declares, as its own YAML says, on this machine."""

import copy
import difflib
import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from cdc_local.bundles.bundle import Bundle
from cdc_local.bundles.located_values import BundleError, ValuePath
from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.attempts import Attempt, make_attempt
from cdc_local.jobs.deadline import Deadline, StopSignal
from cdc_local.jobs.paths import FolderPaths
from cdc_local.jobs.pipeline_task import UpdateOptions, update_program
from cdc_local.jobs.processes import ProgramStoppedError, run_program
from cdc_local.jobs.reference_check import check_references
from cdc_local.jobs.running_job import (
    JobFacts,
    RunningJob,
    fill_parameters,
    hand_down,
    stable_number,
    workspace_number,
)
from cdc_local.jobs.scheduler import OnChange, check_tasks, job_result, one_at_a_time, run_job
from cdc_local.jobs.tasks import (
    TaskPlan,
    check_task_kind,
    list_dependencies,
    task_program,
    unpack_wheels,
)
from cdc_local.source.wheels import is_wheel
from cdc_local.storage import Storage
from cdc_utils.results import TaskRun, UpdateResult, update_result

_OnTaskLine = Callable[[str, str], object]  # Called with `(task_key, line)`: what a task prints while it runs

_OnTaskEvent = Callable[[str, dict[str, Any]], object]  # Called with `(task_key, event)` of an update


@dataclass(frozen=True)
class RunRequest:
    "A job or a pipeline to run."

    bundle: Bundle  # Where it is declared
    key: str  # Its key
    storage: Storage  # Volumes, tables, events
    parameters: Mapping[str, str] = field(default_factory=dict)  # Of the job
    options: UpdateOptions = UpdateOptions()  # Of the pipeline
    on_line: _OnTaskLine | None = None  # Called with lines that a task prints while it runs
    on_event: _OnTaskEvent | None = None  # Called with each event of an update
    on_change: OnChange | None = None  # Called with a `TaskRun` after each change
    trigger: str = "one_time"  # What starts it: `one_time`, or `run_job_task`


@dataclass(frozen=True)
class JobRun:
    "What became of a job."

    key: str  # Its key
    result: str  # SUCCESS, SUCCESS_WITH_FAILURES, FAILED, TIMEDOUT or CANCELED
    tasks: tuple[TaskRun, ...]  # In the order of the job
    updates: dict[str, UpdateResult] = field(default_factory=dict)  # Task -> what its update did
    seconds: float = 0.0  # Wall clock


class UpdateFailedError(PipelineError):
    "An update that failed or was stopped; `result` says how far it came."

    def __init__(self, message: str, result: UpdateResult) -> None:
        super().__init__(message)
        self.result = result


def run_bundle_job(
    request: RunRequest,  # Which job, and who hears of it
    stop: StopSignal | None = None,  # Ends the job
) -> JobRun:
    "Run a job of a bundle; raises `UsageError` before its first task where it cannot be run."
    read_job_parameters(request.bundle.resources("jobs")[request.key], request.parameters)
    _refuse_what_cannot_run(request.bundle, request.key)
    build_artifacts(request.bundle, None if request.on_line is None else partial(request.on_line, ""))
    return _run_built_job(request, stop or threading.Event())


def _run_built_job(
    request: RunRequest,  # Which job; its wheels are there
    stop: StopSignal,  # Ends the job
) -> JobRun:
    "Run a job whose bundle is built."
    began, started = time.monotonic(), datetime.now(UTC)
    job = load_resource(request.bundle, "jobs", request.key)  # a pattern can match wheels now
    run_id = int(started.timestamp() * 1000) << 10
    facts = JobFacts(
        stable_number(f"{request.bundle.name}/{request.key}"),
        run_id,
        job.get("name", request.key),
        started,
        workspace_number(request.storage),
        str((request.bundle.settings.values.get("workspace") or {}).get("host") or ""),
        request.trigger,
    )
    updates: dict[str, UpdateResult] = {}
    with TemporaryDirectory(prefix="cdc-job-") as folder:
        running = RunningJob(
            facts,
            job["tasks"],
            fill_parameters(facts, read_job_parameters(job, request.parameters)),
            Path(folder),
            count(run_id + 1).__next__,
        )
        on_change = one_at_a_time(partial(_note_change, request, running))
        runs = run_job(
            job["tasks"],
            partial(make_attempt, running, partial(_do_attempt, request, job, running, updates), on_change),
            on_change,
            Deadline(stop, job.get("timeout_seconds")),
        )
    return JobRun(request.key, job_result(job["tasks"], runs), tuple(runs), updates, time.monotonic() - began)


def _note_change(
    request: RunRequest,  # The run
    running: RunningJob,  # Remembers it
    run: TaskRun,  # A task that has changed
) -> None:
    "Tell of a change, and remember it."
    running.note(run)
    if request.on_change is not None:
        request.on_change(run)


def _refuse_what_cannot_run(
    bundle: Bundle,  # The bundle
    key: str,  # Key of a job
    calling: tuple[str, ...] = (),  # Jobs whose tasks run this one, the outermost first
) -> None:
    "Raise `UsageError` for a job with a task that cannot be run here, and for jobs that run each other."
    job = bundle.resources("jobs")[key]
    if key in calling:
        raise UsageError(
            f"jobs run each other: {' -> '.join([*calling, key])}", hint="take one run_job_task out"
        )
    tasks = job.get("tasks") or []
    check_tasks(tasks)
    check_references(job)
    for task in tasks:
        check_task_kind(task)
        task = (task.get("for_each_task") or {"task": task})["task"]
        if "pipeline_task" in task:
            _refuse_continuous(bundle, find_pipeline_key(bundle, task), task)
        if "run_job_task" in task:
            _refuse_what_cannot_run(bundle, find_job_key(bundle, task), (*calling, key))
    if job.get("git_source"):
        raise UsageError(
            f"job {key} takes its files from a repository (git_source)",
            hint="name files of the bundle, to run them here",
        )


def _refuse_continuous(
    bundle: Bundle,  # The bundle
    key: str,  # Key of a pipeline
    task: dict[str, Any],  # The task that updates it
) -> None:
    "Raise `UsageError` for a task whose pipeline is continuous: it would never end."
    if bundle.resources("pipelines")[key].get("continuous"):
        raise UsageError(
            f"task {task['task_key']}: pipeline {key} is continuous, a job updates triggered pipelines only",
            hint=f"set `continuous: false`, or run the pipeline itself: cdc bundle run {key}",
        )


def _do_attempt(
    request: RunRequest,  # The run
    job: dict[str, Any],  # The job, with paths of this machine
    running: RunningJob,  # Its run
    updates: dict[str, UpdateResult],  # Gets what updates did, by task
    attempt: Attempt,  # At a task that is no condition and no loop
) -> str:  # What it printed
    "Make one attempt at a task."
    if "pipeline_task" in attempt.task:
        return _run_pipeline_task(request, updates, attempt)
    if "run_job_task" in attempt.task:
        return _run_job_task(request, running, updates, attempt)
    paths = FolderPaths(request.storage, request.bundle.folder)
    plan = TaskPlan(
        attempt.task,
        attempt.key,
        unpack_wheels(list_dependencies(attempt.task, job.get("environments") or []), paths),
        paths,
        request.storage.root / "notebooks" / request.key,
        running,
    )
    on_error_line = None if request.on_line is None else partial(request.on_line, attempt.key)
    return run_program(task_program(plan), attempt.stop, None, on_error_line)


def _run_pipeline_task(
    request: RunRequest,  # The run
    updates: dict[str, UpdateResult],  # Gets what the update did, also where it failed
    attempt: Attempt,  # At a `pipeline_task`
) -> str:  # How the update ended
    "Update the pipeline of a task; raises `UpdateFailedError`."
    key, pipeline = attempt.key, find_pipeline_key(request.bundle, attempt.task)
    try:
        updates[key] = run_pipeline(request, pipeline, read_update_options(attempt.task), attempt.stop, key)
    except UpdateFailedError as error:
        updates[key] = error.result
        raise
    return f"update {updates[key].update_id} is {updates[key].state}"


def _run_job_task(
    request: RunRequest,  # The run
    running: RunningJob,  # The same, as it goes on
    updates: dict[str, UpdateResult],  # Gets what updates of the other job did, as `task/its task`
    attempt: Attempt,  # At a `run_job_task`
) -> str:  # How the other job ended
    "Run the job of a task; `PipelineError` where it fails."
    key = find_job_key(request.bundle, attempt.task)
    given = attempt.task["run_job_task"].get("job_parameters")
    declared = read_job_parameters(request.bundle.resources("jobs")[key], {})
    inner = replace(
        _listen_inside(request, attempt.key),
        key=key,
        parameters=hand_down(running, given, declared),
        trigger="run_job_task",
    )
    done = _run_built_job(inner, attempt.stop)
    updates |= {f"{attempt.key}/{task_key}": result for task_key, result in done.updates.items()}
    ending = f"job {key} is {done.result}"
    if done.result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
        return ending
    reasons = [f"{run.task_key}: {run.message}" for run in done.tasks if run.message]
    raise PipelineError(": ".join([ending, *reasons[:1]]))


def _listen_inside(
    request: RunRequest,  # The run
    key: str,  # The task that runs another job
) -> RunRequest:  # For that job: its tasks are called `task/its task`
    "Let listeners of a run hear of the job that one of its tasks runs."
    on_line, on_event, on_change = request.on_line, request.on_event, request.on_change

    def inside(task_key: str) -> str:
        return f"{key}/{task_key}" if task_key else key

    return replace(
        request,
        on_line=on_line and (lambda task_key, line: on_line(inside(task_key), line)),
        on_event=on_event and (lambda task_key, event: on_event(inside(task_key), event)),
        on_change=on_change and (lambda run: on_change(replace(run, task_key=inside(run.task_key)))),
    )


def run_pipeline(
    request: RunRequest,  # With an `on_event`, if somebody listens
    key: str,  # Key of the pipeline
    options: UpdateOptions,  # What the update is asked to do
    stop: StopSignal | None = None,  # Ends it when it is set
    task_key: str = "",  # The task that it belongs to
) -> UpdateResult:
    "Run one update of a pipeline of the bundle; raises `UpdateFailedError` where it fails."
    events: list[dict[str, Any]] = []

    def pass_line_on(line: str) -> None:
        if request.on_line is not None and not line.startswith("error: "):
            request.on_line(task_key, line)

    def pass_event_on(line: str) -> None:
        event = _parse_event(line)
        if event is None:
            return pass_line_on(line)  # a source file printed it
        events.append(event)
        if request.on_event is not None:
            request.on_event(task_key, event)

    paths = FolderPaths(request.storage, request.bundle.folder)
    program = update_program(load_resource(request.bundle, "pipelines", key), options, paths)
    try:
        run_program(program, stop, pass_event_on, pass_line_on)
    except PipelineError as error:
        raise UpdateFailedError(str(error), update_result(events)) from None
    return update_result(events)


def run_continuous_pipeline(
    request: RunRequest,  # The pipeline
    stop: StopSignal,  # Ends its updates when it is set
    on_line: Callable[[str], object],  # Called with each line on standard output
    on_error_line: Callable[[str], object],  # Called with each line on standard error
    output: tuple[str, ...] = (),  # Options of `cdc run` that say what it prints
) -> bool:  # Whether an update was stopped; False where it was stopped between two
    "Run updates of a pipeline of the bundle until they are stopped; raises `PipelineError` if they end."
    options = replace(request.options, output=output)
    paths = FolderPaths(request.storage, request.bundle.folder)
    program = update_program(load_resource(request.bundle, "pipelines", request.key), options, paths)
    try:
        run_program(program, stop, on_line, on_error_line)
    except ProgramStoppedError as stopped:
        return stopped.status != 0
    return False


def _parse_event(
    line: str,  # A line that `cdc run --format json` printed
) -> dict[str, Any] | None:  # An event with a `datetime`; None for a line that is none
    "Read an event of an update."
    try:
        event = json.loads(line)
    except ValueError:
        return None
    if not isinstance(event, dict) or "event_type" not in event:
        return None
    return {**event, "timestamp": datetime.fromisoformat(event["timestamp"])}


def find_resource_kind(
    bundle: Bundle,  # The bundle
    key: str,  # Key of a job or a pipeline
) -> str:  # `jobs` or `pipelines`
    "Find which kind of resource a key names; `UsageError` for one that can't be run."
    kinds = {name: kind for kind in ("jobs", "pipelines") for name in bundle.resources(kind)}
    if key in kinds:
        return kinds[key]
    near = difflib.get_close_matches(key, kinds, 1)
    raise UsageError(
        f"bundle {bundle.name} has no job or pipeline {key!r}",
        hint=f"did you mean {near[0]}?" if near else f"it has {', '.join(kinds) or 'none'}",
    )


def load_resource(
    bundle: Bundle,  # The bundle
    kind: str,  # jobs or pipelines
    key: str,  # Its key
    without: Collection[str] = (),  # Settings that the caller does not need
) -> dict[str, Any]:  # As the API would get it, with paths of this machine
    "Take a job or a pipeline, ready to run; `BundleError` for a pattern of wheels that does not match one."
    settings = copy.deepcopy(bundle.resources(kind)[key])
    return {
        name: _localize(bundle, value, ("resources", kind, key, name))
        for name, value in settings.items()
        if name not in without
    }


def _localize(
    bundle: Bundle,  # The bundle
    value: Any,  # A part of a resource
    path: ValuePath,  # Its path in the bundle
) -> Any:  # The part, with paths of this machine
    "Make the paths of a part absolute: they count from the file that names them."
    if isinstance(value, dict):
        return {key: _localize(bundle, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_localize(bundle, item, (*path, position)) for position, item in enumerate(value)]
    if not isinstance(value, str) or value.startswith(("/", "dbfs:")):
        return value
    is_path = path[-1] in ("notebook_path", "python_file", "root_path", "include")
    if is_path or path[-2:] in (("file", "path"), ("notebook", "path")):
        return str(bundle.local_path(*path))
    is_dependency = "dependencies" in path[-2:] or path[-1] == "whl"
    return _find_wheel(bundle, value, path) if is_dependency and is_wheel(value) else value


def _find_wheel(
    bundle: Bundle,  # The bundle
    value: str,  # Path of a wheel, or a pattern
    path: ValuePath,  # Its path in the bundle
) -> str:  # The wheel on this machine
    "Find a wheel; `BundleError` for a pattern that matches none, or several."
    wheel = bundle.local_path(*path)
    if "*" not in wheel.name:
        return str(wheel)
    found = sorted(wheel.parent.glob(wheel.name))
    if len(found) == 1:
        return str(found[0])
    raise BundleError(
        f"{value} matches {len(found)} wheels",
        bundle.settings.location(*path),
        "name one" if found else "build it first",
    )


def find_pipeline_key(
    bundle: Bundle,  # The bundle
    task: dict[str, Any],  # With a `pipeline_task`
) -> str:  # Key of the pipeline in the bundle
    "Find which pipeline a task updates; `UsageError` for one that is not in this bundle."
    return _find_key(bundle, task, "pipeline", task["pipeline_task"].get("pipeline_id", ""))


def find_job_key(
    bundle: Bundle,  # The bundle
    task: dict[str, Any],  # With a `run_job_task`
) -> str:  # Key of the job in the bundle
    "Find which job a task runs; `UsageError` for one that is not in this bundle."
    return _find_key(bundle, task, "job", str(task["run_job_task"].get("job_id", "")))


def _find_key(
    bundle: Bundle,  # The bundle
    task: dict[str, Any],  # The task that names it
    kind: str,  # `pipeline` or `job`
    named: str,  # Its id, as the task has it
) -> str:  # Its key in the bundle
    "Find which resource an id refers to; `UsageError` for one that is not in this bundle."
    reference = re.fullmatch(rf"\$\{{resources\.{kind}s\.(.+)\.id\}}", named)
    key = reference[1] if reference else ""
    if key in bundle.resources(f"{kind}s"):
        return key
    raise UsageError(
        f"task {task['task_key']}: {kind} {named!r} is not in this bundle",
        hint=f"only a {kind} that the bundle declares can be run here",
    )


def read_update_options(
    task: dict[str, Any],  # With a `pipeline_task` whose references are filled in
) -> UpdateOptions:
    "Read what a task asks of the update."
    settings = task["pipeline_task"]
    return UpdateOptions(
        full_refresh=bool(settings.get("full_refresh")),
        refresh_selection=tuple(settings.get("refresh_selection") or ()),
        full_refresh_selection=tuple(settings.get("full_refresh_selection") or ()),
        parameters=settings.get("parameters") or {},
    )


def read_job_parameters(
    job: dict[str, Any],  # The job
    command_line: Mapping[str, str],  # Values from the command line
) -> dict[str, str]:  # Name -> value
    "Read a job's parameters; `UsageError` for one that it does not have."
    defaults = {parameter["name"]: parameter.get("default", "") for parameter in job.get("parameters") or ()}
    for name in command_line:
        if name not in defaults:
            raise UsageError(
                f"job {job.get('name')} has no parameter {name!r}",
                hint=f"it has {', '.join(defaults) or 'none'}",
            )
    return {**defaults, **command_line}


def build_artifacts(
    bundle: Bundle,  # The bundle
    on_line: Callable[[str], object] | None = None,  # Called with what is being built
) -> None:
    "Run the build commands of a bundle; `PipelineError` with what a command printed where it fails."
    for key, artifact in (bundle.settings.values.get("artifacts") or {}).items():
        command = artifact.get("build")
        if not command:
            continue
        folder = bundle.local_path("artifacts", key, "path") if artifact.get("path") else bundle.folder
        if on_line is not None:
            on_line(f"{key}: {command}")
        built = subprocess.run(
            command, shell=True, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True
        )
        if built.returncode:
            printed = (built.stdout + built.stderr).strip()
            raise PipelineError(
                f"artifact {key}: `{command}` ended with status {built.returncode}\n{printed}",
                bundle.settings.location("artifacts", key),
            )
