"""Calls of the Jobs API: jobs and their runs."""

from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.job_definitions import create_job, delete_job, get_job, reset_job, update_job
from cdc_local.workspace.run_output import read_output
from cdc_local.workspace.run_views import describe_part, describe_run, find_run, list_notes
from cdc_local.workspace.values import read_names
from cdc_utils.results import ENDED_TASK_STATES

_NOT_LISTED = ("tasks", "environments", "parameters")  # Settings that a list shows with `expand_tasks` only


def _create_job(call: Call) -> dict[str, Any]:
    "Create a job."
    workspace = call.workspace
    return {"job_id": create_job(workspace.state, call.body, workspace.refuse_job_environments)["job_id"]}


def _reset_job(call: Call) -> None:
    "Replace the settings of `job_id` by `new_settings`."
    workspace, settings = call.workspace, _new_settings(call)
    reset_job(workspace.state, call.number("job_id"), settings, workspace.refuse_job_environments)


def _update_job(call: Call) -> None:
    "Change `new_settings` of `job_id`, and take away `fields_to_remove`."
    workspace = call.workspace
    update_job(
        workspace.state,
        call.number("job_id"),
        _new_settings(call, default={}),
        read_names(call.body, "fields_to_remove"),
        workspace.refuse_job_environments,
    )


def _new_settings(
    call: Call,  # `new_settings`
    default: dict[str, Any] | None = None,  # Where it is missing; None: it must be there
) -> dict[str, Any]:
    "Read the settings of a job; `CallError` for anything else."
    settings = call.body.get("new_settings", default)
    if not isinstance(settings, dict):
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"new_settings is {settings!r}; it must be the settings of a job"
        )
    return settings


def _show_job(call: Call) -> dict[str, Any]:
    "Describe the job `job_id`."
    return get_job(call.workspace.state, call.number("job_id"))


def _list_jobs(call: Call) -> dict[str, Any]:
    "List the jobs, the newest first, those called `name`; `expand_tasks` shows what they do."
    name = call.text("name", "").lower()
    jobs = [
        job for job in call.workspace.state.all("jobs") if not name or job["settings"]["name"].lower() == name
    ]
    jobs.sort(key=lambda job: -int(job["job_id"]))
    if not call.flag("expand_tasks"):
        jobs = [job | {"settings": _short_settings(job["settings"])} for job in jobs]
    return _page_with_more(call, "jobs", jobs)


def _short_settings(settings: dict[str, Any]) -> dict[str, Any]:
    "Leave out the settings that a list does not show."
    return {part: value for part, value in settings.items() if part not in _NOT_LISTED}


def _page_with_more(call: Call, name: str, items: list[Any]) -> dict[str, Any]:
    "Answer with a page of a list, and whether more follows."
    page = call.page(name, items, "limit", 20)
    return page | {"has_more": "next_page_token" in page}


def _run_job(call: Call) -> dict[str, Any]:
    "Start a run of `job_id`."
    run = call.workspace.runs.start(call.number("job_id"), call.body)
    return {"run_id": run["run_id"], "number_in_job": run["number_in_job"]}


def _cancel_and_delete_job(call: Call) -> None:
    "Cancel the runs of `job_id`, and delete the job."
    _cancel_all_runs(call)
    delete_job(call.workspace.state, call.number("job_id"))


def _list_runs(call: Call) -> dict[str, Any]:
    "List runs, the newest first: those of `job_id`, `active_only` or `completed_only`."
    job_id = call.number("job_id", 0)
    runs = [run for run in call.workspace.state.all("runs") if job_id in (0, run["job_id"])]
    if call.flag("active_only"):
        runs = [run for run in runs if run["state"] not in ENDED_TASK_STATES]
    if call.flag("completed_only"):
        runs = [run for run in runs if run["state"] in ENDED_TASK_STATES]
    runs.sort(key=lambda run: -int(run["run_id"]))
    return _page_with_more(call, "runs", [describe_run(run, call.flag("expand_tasks")) for run in runs])


def _show_run(call: Call) -> dict[str, Any]:
    "Describe `run_id`, a run of a job or of a task."
    number = call.number("run_id")
    return describe_part(find_run(call.workspace.state, number), number)


def _show_output(call: Call) -> dict[str, Any]:
    "Read what the task with `run_id` printed."
    return read_output(call.workspace.state, call.number("run_id"))


def _cancel_run(call: Call) -> None:
    "Cancel `run_id`."
    call.workspace.runs.cancel(call.number("run_id"))


def _cancel_all_runs(call: Call) -> None:
    "Cancel every run of `job_id`."
    job = get_job(call.workspace.state, call.number("job_id"))
    for run in call.workspace.state.all("runs"):
        if run["job_id"] == job["job_id"]:
            call.workspace.runs.cancel(run["run_id"])


def _delete_run(call: Call) -> None:
    "Delete `run_id`, which must have ended, and its output."
    state, number = call.workspace.state, call.number("run_id")
    run = state.get("runs", number, f"Run {number} does not exist.")
    if run["state"] not in ENDED_TASK_STATES:
        raise CallError("INVALID_PARAMETER_VALUE", f"Run {number} is {run['state']}; cancel it first.")
    for task in list_notes(run):
        state.delete("outputs", task["run_id"])
    state.delete("runs", number)


_ROOT = "/api/2.{minor:int}/jobs"

JOB_CALLS: CallTable = {
    f"POST {_ROOT}/create": _create_job,
    f"POST {_ROOT}/reset": _reset_job,
    f"POST {_ROOT}/update": _update_job,
    f"GET {_ROOT}/get": _show_job,
    f"GET {_ROOT}/list": _list_jobs,
    f"POST {_ROOT}/delete": _cancel_and_delete_job,
    f"POST {_ROOT}/run-now": _run_job,
    f"GET {_ROOT}/runs/get": _show_run,
    f"GET {_ROOT}/runs/get-output": _show_output,
    f"GET {_ROOT}/runs/list": _list_runs,
    f"POST {_ROOT}/runs/cancel": _cancel_run,
    f"POST {_ROOT}/runs/cancel-all": _cancel_all_runs,
    f"POST {_ROOT}/runs/delete": _delete_run,
}
