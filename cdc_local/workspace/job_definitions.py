"""Jobs as they were defined: checked as Databricks checks them, and stored as notes."""

from collections.abc import Iterable
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.reference_check import check_references
from cdc_local.jobs.scheduler import check_tasks
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import State, api_time, new_number
from cdc_local.workspace.values import check_objects

NAMED_PARAMETERS = {
    "notebook_task": "base_parameters",
    "python_wheel_task": "named_parameters",
    "run_job_task": "job_parameters",
    "sql_task": "parameters",
}  # Kind of a task that takes parameters by name -> where it has them


_TEXTS = (
    ("pipeline_task", "pipeline_id"),
    ("for_each_task", "inputs"),
    *[("condition_task", part) for part in ("op", "left", "right")],
)  # Kind of a task -> a part of it that must be a text


def _check_job(
    settings: dict[str, Any],  # Settings of a job
    refuse_environments: bool = False,  # Whether to refuse a notebook task that names an environment
) -> None:
    "Raise `CallError` for a job that Databricks would refuse."
    _check_lists(settings)
    _check_numbers(settings)
    _check_texts(settings)
    _check_task_order(settings.get("tasks") or [])
    _check_environments(settings, refuse_environments)
    _check_rules(settings)


def _check_lists(settings: dict[str, Any]) -> None:
    "Raise `CallError` for a part that is no list of objects, or no object."
    for name in ("tasks", "environments", "parameters"):
        check_objects(name, settings.get(name) or [])
    for task in settings.get("tasks") or ():
        check_objects("depends_on", task.get("depends_on") or [])
        if "for_each_task" in task:
            check_objects("for_each_task and its task", [task["for_each_task"]])
            check_objects("for_each_task and its task", [task["for_each_task"].get("task")])
    for part in (settings, *_all_tasks(settings)):
        objects = [value for name, value in part.items() if name == "queue" or name.endswith("_task")]
        check_objects("queue or a task", objects)
        sql = part.get("sql_task") or {}
        check_objects("file or query", [sql[kind] for kind in ("file", "query") if kind in sql])


def _all_tasks(settings: dict[str, Any]) -> list[dict[str, Any]]:
    "List the tasks of a job, that of a `for_each_task` behind it."
    tasks = []
    for task in settings.get("tasks") or ():
        tasks += [task, task["for_each_task"]["task"]] if "for_each_task" in task else [task]
    return tasks


def _check_numbers(settings: dict[str, Any]) -> None:
    "Raise `CallError` for a number that is none."
    numbers = [(name, settings.get(name, 0)) for name in ("timeout_seconds", "max_concurrent_runs")]
    for task in _all_tasks(settings):
        numbers += [("timeout_seconds", task.get("timeout_seconds", 0))]
        if "for_each_task" in task:
            numbers += [("concurrency", task["for_each_task"].get("concurrency", 1))]
        if "run_job_task" in task:
            number = task["run_job_task"].get("job_id")
            if type(number) is not int:
                raise CallError("INVALID_PARAMETER_VALUE", f"job_id is {number!r}; it must be a number")
    for name, value in numbers:
        if type(value) is not int or not 0 <= value < 2**31:
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a number")


def _check_texts(settings: dict[str, Any]) -> None:
    "Raise `CallError` for a name or a parameter that is no text."
    texts = [("name", settings.get("name", ""))]
    for environment in settings.get("environments") or ():
        texts.append(("environment_key", environment.get("environment_key")))
    for parameter in settings.get("parameters") or ():
        texts += [(f"{part} of a parameter", parameter.get(part, "")) for part in ("name", "default")]
    tasks = _all_tasks(settings)
    for task in tasks:
        for kind, part in _TEXTS:
            if kind in task:
                texts.append((part, task[kind].get(part)))
    for kind, part in NAMED_PARAMETERS.items():
        parameters = [task[kind].get(part) or {} for task in tasks if kind in task]
        texts += [(part, value) for named in check_objects(part, parameters) for value in named.values()]
    for name, value in texts:
        if not isinstance(value, str):
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a text")


def _check_task_order(tasks: list[dict[str, Any]]) -> None:
    "Raise `CallError` for tasks that cannot be put in an order."
    for task in tasks:
        if not isinstance(task.get("task_key"), str):
            raise CallError("INVALID_PARAMETER_VALUE", f"a task has no task_key: {task}")
    keys = [task["task_key"] for task in tasks]
    for key in keys:
        if keys.count(key) > 1:
            raise CallError("INVALID_PARAMETER_VALUE", f"task_key {key!r} is given twice")
    upstream = {
        task["task_key"]: {str(other.get("task_key")) for other in task.get("depends_on") or ()}
        for task in tasks
    }
    for key, wanted in upstream.items():
        if wanted - set(keys):
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"task {key!r} depends on {sorted(wanted - set(keys))}, which the job has not:"
                f" its tasks are {keys}",
            )
    while upstream:
        ready = {key for key, wanted in upstream.items() if not wanted & upstream.keys()}
        if not ready:
            raise CallError("INVALID_PARAMETER_VALUE", f"the tasks {sorted(upstream)} wait for each other")
        upstream = {key: wanted for key, wanted in upstream.items() if key not in ready}


def _check_environments(settings: dict[str, Any], refuse_environments: bool) -> None:
    "Raise `CallError` for a task that names an environment that it cannot have."
    keys = [environment.get("environment_key") for environment in settings.get("environments") or ()]
    for task in _all_tasks(settings):
        key = task.get("environment_key")
        if key is not None and key not in keys:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"task {task['task_key']!r} names the environment {key!r}, which the job does not have:"
                f" {keys}",
            )
        if refuse_environments and key is not None and "notebook_task" in task:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"The task {task['task_key']!r} is a notebook task, and environment_key is not supported"
                " for it; use the notebook's environment",
            )


def _check_rules(settings: dict[str, Any]) -> None:
    "Raise `CallError` for what a run would refuse: references, conditions, loops that cannot be."
    try:
        if settings.get("tasks"):
            check_tasks(settings["tasks"])
        check_references(settings, more_parameters=True)
    except UsageError as error:
        raise CallError("INVALID_PARAMETER_VALUE", str(error)) from None


_JOB_DEFAULTS = {
    "name": "Untitled",
    "email_notifications": {},
    "webhook_notifications": {},
    "timeout_seconds": 0,
    "max_concurrent_runs": 1,
    "format": "MULTI_TASK",
}  # What Databricks adds to settings

_TASK_DEFAULTS = {
    "run_if": "ALL_SUCCESS",
    "timeout_seconds": 0,
    "email_notifications": {},
}  # What it adds to a task


def _write_job(
    state: State,  # The notes
    job: dict[str, Any],  # The job
    settings: dict[str, Any],  # Its settings, which are checked
) -> dict[str, Any]:  # The job
    "Write a job with the settings that Databricks adds."
    tasks = [_TASK_DEFAULTS | task for task in settings.get("tasks") or ()]
    filled = _JOB_DEFAULTS | settings | ({"tasks": tasks} if tasks else {})
    stored: dict[str, Any] = state.write("jobs", job["job_id"], job | {"settings": filled})
    return stored


def create_job(
    state: State,  # The notes
    settings: dict[str, Any],  # Its settings
    refuse_environments: bool = False,  # As for `_check_job`
) -> dict[str, Any]:  # The job
    "Create a job; `CallError` for settings that Databricks would refuse."
    _check_job(settings, refuse_environments)
    job = {
        "job_id": new_number(),
        "creator_user_name": state.user,
        "run_as_user_name": state.user,
        "created_time": api_time(),
    }
    return _write_job(state, job, settings)


def reset_job(
    state: State,  # The notes
    job_id: int,  # The job
    settings: dict[str, Any],  # All its settings from now on; without `run_as` that stays
    refuse_environments: bool = False,  # As for `_check_job`
) -> dict[str, Any]:  # The job
    "Replace the settings of a job; `CallError` where there is none, and as `create_job`."
    _check_job(settings, refuse_environments)
    with state.lock:
        job = get_job(state, job_id)
        kept = {part: value for part, value in job["settings"].items() if part == "run_as"}
        return _write_job(state, job, kept | settings)


def get_job(
    state: State,  # The notes
    job_id: int | str,  # The job
) -> dict[str, Any]:  # The job
    "Read a job; `CallError` where there is none."
    job: dict[str, Any] = state.get("jobs", job_id, f"Job {job_id} does not exist.")
    return job


def update_job(
    state: State,  # The notes
    job_id: int,  # The job
    changes: dict[str, Any],  # Settings to replace; of tasks those with the same `task_key`
    removed: Iterable[str] = (),  # Settings to take away
    refuse_environments: bool = False,  # As for `_check_job`
) -> dict[str, Any]:  # The job
    "Change some settings of a job; `CallError` where there is none, and as `create_job`."
    with state.lock:
        job = get_job(state, job_id)
        settings = {part: value for part, value in job["settings"].items() if part not in removed}
        new_tasks = check_objects("tasks", changes.get("tasks") or [])
        changed_tasks = {task.get("task_key"): task for task in new_tasks}
        tasks = [changed_tasks.pop(task["task_key"], task) for task in settings.get("tasks", ())]
        tasks += changed_tasks.values()
        settings |= changes | ({"tasks": tasks} if tasks else {})
        _check_job(settings, refuse_environments)
        return _write_job(state, job, settings)


def delete_job(
    state: State,  # The notes
    job_id: int,  # The job
) -> None:
    "Delete a job; its runs stay. `CallError` where there is none."
    with state.lock:
        get_job(state, job_id)
        state.delete("jobs", job_id)
        state.delete("permissions", f"jobs/{job_id}")
