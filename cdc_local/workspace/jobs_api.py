"""Calls for jobs and their runs."""

from cdc_local.workspace.call import Call
from cdc_local.workspace.definitions import delete_job, get_job, keep_job, update_job
from cdc_local.workspace.files import CallError
from cdc_local.workspace.runs import run_output
from cdc_local.workspace.state import ENDED_STATES
from cdc_local.workspace.views import run_view


def list_jobs(
    call: Call,  # `name`, `expand_tasks`, `limit`
) -> dict:
    "The jobs, the newest first."
    name = call.text("name", "").lower()

    def view(job):
        return (
            job
            if call.flag("expand_tasks")
            else job
            | {
                "settings": {
                    part: value
                    for part, value in job["settings"].items()
                    if part not in ("tasks", "environments", "parameters")
                }
            }
        )

    found = [
        view(job)
        for job in call.workspace.state.all("jobs")
        if not name or job["settings"]["name"].lower() == name
    ]
    page = call.page("jobs", sorted(found, key=lambda job: -job["job_id"]), "limit", 20)
    return page | {"has_more": "next_page_token" in page}


def list_runs(
    call: Call,  # `job_id`, `active_only`, `completed_only`, `expand_tasks`, `limit`
) -> dict:
    "Runs, the newest first."
    job = call.number("job_id", 0)

    def wanted(run):
        return (
            job in (0, run["job_id"])
            and not (call.flag("active_only") and run["state"] in ENDED_STATES)
            and not (call.flag("completed_only") and run["state"] not in ENDED_STATES)
        )

    found = sorted(filter(wanted, call.workspace.state.all("runs")), key=lambda run: -run["run_id"])
    page = call.page("runs", [run_view(run, call.flag("expand_tasks")) for run in found], "limit", 20)
    return page | {"has_more": "next_page_token" in page}


def show_run(
    call: Call,  # `run_id`
) -> dict:
    "One run, of a job or of a task."
    number = call.number("run_id")
    run = next(
        (
            each
            for each in call.workspace.state.all("runs")
            if number in (each["run_id"], *[task["run_id"] for task in each["tasks"]])
        ),
        None,
    )
    if run is None:
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"Run {number} does not exist.")
    view = run_view(run)
    return (
        view
        if number == run["run_id"]
        else view | next(task for task in view["tasks"] if task["run_id"] == number)
    )


def cancel_all_runs(
    call: Call,  # `job_id`
) -> None:
    "Cancel every run of a job."
    get_job(call.workspace.state, call.number("job_id"))
    for run in call.workspace.state.all("runs"):
        if run["job_id"] == call.number("job_id"):
            call.workspace.runs.cancel_run(run["run_id"])


def cancel_and_delete_job(
    call: Call,  # `job_id`
) -> None:
    "Cancel the runs of a job and forget it."
    cancel_all_runs(call)
    delete_job(call.workspace.state, call.number("job_id"))


def delete_run(
    call: Call,  # `run_id`
) -> None:
    "Forget a run that has ended."
    state, number = call.workspace.state, call.number("run_id")
    run = state.get("runs", number, f"Run {number} does not exist.")
    if run["state"] not in ENDED_STATES:
        raise CallError("INVALID_PARAMETER_VALUE", f"Run {number} is {run['state']}; cancel it first.")
    for task in run["tasks"]:
        state.drop("outputs", task["run_id"])
    state.drop("runs", number)


def read_settings(
    call: Call,  # `new_settings`
    default: dict = None,  # What a call that sends none means
) -> dict:
    "Settings that a call sends."
    settings = call.body.get("new_settings", default)
    if not isinstance(settings, dict):
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"new_settings is {settings!r}; it must be the settings of a job"
        )
    return settings


def run_job_now(
    call: Call,  # `job_id`, `job_parameters` and the like
) -> dict:
    "Start a run of a job."
    run = call.workspace.runs.start_run(call.number("job_id"), call.body)
    return {"run_id": run["run_id"], "number_in_job": run["number_in_job"]}


JOBS_API = "/api/2.{minor:int}/jobs"

JOB_CALLS = {
    f"POST {JOBS_API}/create": lambda call: {
        "job_id": keep_job(
            call.workspace.state, call.body, refuse_environments=call.workspace.refuse_job_environments
        )["job_id"]
    },
    f"POST {JOBS_API}/reset": lambda call: (
        keep_job(
            call.workspace.state,
            read_settings(call),
            call.number("job_id"),
            call.workspace.refuse_job_environments,
        )
        and {}
    ),
    f"POST {JOBS_API}/update": lambda call: (
        update_job(
            call.workspace.state,
            call.number("job_id"),
            read_settings(call, {}),
            call.body.get("fields_to_remove") or (),
            call.workspace.refuse_job_environments,
        )
        and {}
    ),
    f"GET {JOBS_API}/get": lambda call: get_job(call.workspace.state, call.number("job_id")),
    f"GET {JOBS_API}/list": list_jobs,
    f"POST {JOBS_API}/delete": cancel_and_delete_job,
    f"POST {JOBS_API}/run-now": run_job_now,
    f"GET {JOBS_API}/runs/get": show_run,
    f"GET {JOBS_API}/runs/get-output": lambda call: run_output(call.workspace.state, call.number("run_id")),
    f"GET {JOBS_API}/runs/list": list_runs,
    f"POST {JOBS_API}/runs/cancel": lambda call: call.workspace.runs.cancel_run(call.number("run_id")),
    f"POST {JOBS_API}/runs/cancel-all": cancel_all_runs,
    f"POST {JOBS_API}/runs/delete": delete_run,
}
