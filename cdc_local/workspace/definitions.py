"""Pipelines and jobs as they were defined."""

import uuid
from collections.abc import Iterable
from typing import Any

from cdc_local.workspace.files import CallError
from cdc_local.workspace.state import State, api_time, new_number

ASIDE = (
    "allow_duplicate_names",
    "dry_run",
    "expected_last_modified",
    "run_as",
    "parameters",
)  # Asked beside the specification


def keep_pipeline(
    state: State,  # Where it is remembered
    asked: dict,  # What the API takes
    pipeline: str = None,  # Id of one that is edited; a new one is made by default
) -> dict:  # The pipeline
    "Create or edit a pipeline; `CallError` for a name that is taken."
    if not asked.get("name") or not isinstance(asked["name"], str):
        raise CallError("INVALID_PARAMETER_VALUE", f"a pipeline needs a name, not {asked.get('name')!r}")
    with state.lock:
        known = (
            get_pipeline(state, pipeline)
            if pipeline
            else {
                "pipeline_id": str(uuid.uuid4()),
                "creator_user_name": state.user,
                "run_as_user_name": state.user,
            }
        )
        same = [
            each["pipeline_id"]
            for each in state.all("pipelines")
            if each["name"] == asked["name"] and each["pipeline_id"] != known["pipeline_id"]
        ]
        if same and not asked.get("allow_duplicate_names"):
            raise CallError(
                "RESOURCE_CONFLICT",
                f"The pipeline name '{asked['name']}' is already used by another pipeline. This check can be skipped by setting `allow_duplicate_names = true` in the request.",
            )
        spec = {name: value for name, value in asked.items() if name not in ASIDE} | {
            "id": known["pipeline_id"]
        }
        aside = {name: asked[name] for name in ("run_as", "parameters") if asked.get(name) is not None}
        made = known | {"name": asked["name"], "spec": spec, "last_modified": api_time()} | aside
        return state.keep("pipelines", known["pipeline_id"], made)


def get_pipeline(
    state: State,  # Where it is remembered
    pipeline: str,  # Its id
) -> dict:  # The pipeline
    "One pipeline; `CallError` where there is none."
    return state.get("pipelines", pipeline, f"The specified pipeline {pipeline} was not found.")


def delete_pipeline(
    state: State,  # Where it is remembered
    pipeline: str,  # Its id
) -> None:
    "Forget a pipeline and its updates; its tables stay."
    with state.lock:
        get_pipeline(state, pipeline)
        for update in state.all("updates"):
            if update["pipeline_id"] == pipeline:
                state.drop("updates", update["update_id"])
        state.drop("pipelines", pipeline)
        state.drop("permissions", f"pipelines/{pipeline}")


def fill_job_defaults(
    asked: dict,  # Settings
) -> dict:  # With what Databricks adds
    "Fill in what was left out."

    def task(each):
        return {"run_if": "ALL_SUCCESS", "timeout_seconds": 0, "email_notifications": {}} | each

    tasks = [task(each) for each in asked.get("tasks") or ()]
    added = {
        "name": "Untitled",
        "email_notifications": {},
        "webhook_notifications": {},
        "timeout_seconds": 0,
        "max_concurrent_runs": 1,
        "format": "MULTI_TASK",
    }
    return added | asked | ({"tasks": tasks} if tasks else {})


def check_items(
    name: str,  # What it is called
    value: Any,  # What came
) -> list[dict]:
    "A list of objects; `CallError` for anything else."
    if isinstance(value, list) and all(isinstance(each, dict) for each in value):
        return value
    raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a list of objects")


def check_numbers(
    settings: dict,  # Settings of a job
) -> None:
    "`CallError` for a number that is none."
    for name in ("timeout_seconds", "max_concurrent_runs"):
        if type(settings.get(name, 0)) is not int or not 0 <= settings.get(name, 0) < 2**31:
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {settings[name]!r}; it must be a number")


def check_texts(
    settings: dict,  # Settings of a job
) -> None:
    "`CallError` for a name or a parameter that is no text."
    tasks = settings.get("tasks") or []
    named = [
        ("name", settings.get("name", "")),
        *[("environment_key", each.get("environment_key")) for each in settings.get("environments") or ()],
        *[
            (f"{part} of a parameter", each.get(part, ""))
            for each in settings.get("parameters") or ()
            for part in ("name", "default")
        ],
        *[
            ("pipeline_id", task["pipeline_task"].get("pipeline_id"))
            for task in tasks
            if "pipeline_task" in task
        ],
    ]
    for kind, part in (("notebook_task", "base_parameters"), ("python_wheel_task", "named_parameters")):
        found = [task[kind].get(part) or {} for task in tasks if kind in task]
        check_items(part, found)
        named += [(part, value) for each in found for value in each.values()]
    for name, value in named:
        if not isinstance(value, str):
            raise CallError("INVALID_PARAMETER_VALUE", f"{name} is {value!r}; it must be a text")


def check_task_order(
    tasks: list[dict],  # Tasks of a job
) -> None:
    "`CallError` for tasks that cannot be put in an order."

    def wrong(message):
        raise CallError("INVALID_PARAMETER_VALUE", message)

    keys = [
        task["task_key"]
        if isinstance(task.get("task_key"), str)
        else wrong(f"a task has no task_key: {task}")
        for task in tasks
    ]
    for key in keys:
        if keys.count(key) > 1:
            wrong(f"task_key {key!r} is given twice")
    needs = {
        task["task_key"]: {str(each.get("task_key")) for each in task.get("depends_on") or ()}
        for task in tasks
    }
    for key, wanted in needs.items():
        if wanted - set(keys):
            wrong(
                f"task {key!r} depends on {sorted(wanted - set(keys))}, which the job has not: its tasks are {keys}"
            )
    while needs:
        ready = {key for key, wanted in needs.items() if not wanted & needs.keys()}
        if not ready:
            wrong(f"the tasks {sorted(needs)} wait for each other")
        needs = {key: wanted for key, wanted in needs.items() if key not in ready}


def check_job(
    settings: dict,  # Settings of a job
    refuse_environments: bool = False,  # Refuse a notebook task that names an environment
) -> None:
    "`CallError` for a job that Databricks would refuse."
    for name in ("tasks", "environments", "parameters"):
        check_items(name, settings.get(name) or [])
    tasks = settings.get("tasks") or []
    for task in tasks:
        check_items("depends_on", task.get("depends_on") or [])
    for task in (settings, *tasks):
        check_items(
            "queue or a task",
            [value for name, value in task.items() if name == "queue" or name.endswith("_task")],
        )
    check_numbers(settings)
    check_texts(settings)
    check_task_order(tasks)
    known = [each.get("environment_key") for each in settings.get("environments") or ()]
    for task in tasks:
        key = task.get("environment_key")
        if key is not None and key not in known:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"task {task['task_key']!r} names the environment {key!r}, which the job does not have: {known}",
            )
        if refuse_environments and key is not None and "notebook_task" in task:
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"The task {task['task_key']!r} is a notebook task, and environment_key is not supported for it; use the notebook's environment",
            )


def store_job(
    state: State,  # Where it is remembered
    job: dict,  # The job
    settings: dict,  # Its settings, which are checked
) -> dict:  # The job
    "Write a job with the settings that Databricks adds."
    return state.keep("jobs", job["job_id"], job | {"settings": fill_job_defaults(settings)})


def keep_job(
    state: State,  # Where it is remembered
    settings: dict,  # Its settings
    job_id: int = None,  # One that is changed; a new one is made by default
    refuse_environments: bool = False,  # As for `check_job`
) -> dict:  # The job
    "Create or reset a job; `CallError` for settings that Databricks would refuse."
    check_job(settings, refuse_environments)
    with state.lock:
        known = (
            get_job(state, job_id)
            if job_id is not None
            else {
                "job_id": new_number(),
                "creator_user_name": state.user,
                "run_as_user_name": state.user,
                "created_time": api_time(),
            }
        )
        before = known.get("settings", {})
        kept = (
            {"run_as": before["run_as"]} if "run_as" in before else {}
        )  # a reset without it does not take it away
        return store_job(state, known, kept | settings)


def get_job(
    state: State,  # Where it is remembered
    job_id: int,  # Its id
) -> dict:  # The job
    "One job; `CallError` where there is none."
    return state.get("jobs", job_id, f"Job {job_id} does not exist.")


def update_job(
    state: State,  # Where it is remembered
    job_id: int,  # Its id
    new: dict,  # Settings to replace; of tasks those with the same `task_key`
    remove: Iterable[str] = (),  # Settings to take away
    refuse_environments: bool = False,  # As for `check_job`
) -> dict:  # The job
    "Change some settings of a job."
    with state.lock:
        job = get_job(state, job_id)
        settings = {name: value for name, value in job["settings"].items() if name not in remove}
        fresh = {each.get("task_key"): each for each in new.get("tasks") or ()}
        tasks = [fresh.pop(each["task_key"], each) for each in settings.get("tasks", ())] + list(
            fresh.values()
        )
        settings |= new | ({"tasks": tasks} if tasks else {})
        check_job(settings, refuse_environments)
        return store_job(state, job, settings)


def delete_job(
    state: State,  # Where it is remembered
    job_id: int,  # Its id
) -> None:
    "Forget a job; its runs stay."
    with state.lock:
        get_job(state, job_id)
        state.drop("jobs", job_id)
        state.drop("permissions", f"jobs/{job_id}")
