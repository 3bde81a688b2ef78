"""Runs and pipelines as the API shows them."""

from datetime import UTC, datetime, timezone

from cdc_local.workspace.state import ENDED_STATES, LOST_MESSAGE, State

CODES = {
    "SUCCESS": ("SUCCESS", "SUCCESS"),
    "SUCCESS_WITH_FAILURES": ("SUCCESS_WITH_FAILURES", "SUCCESS"),
    "CANCELED": ("USER_CANCELED", "SUCCESS"),
    "TIMEDOUT": ("CANCELED", "CLIENT_ERROR"),
    "FAILED": ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "MAXIMUM_CONCURRENT_RUNS_REACHED": ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"),
}  # Result to code and type of a termination

RUNNING_STATES = {"WAITING_FOR_RETRY": "WAITING"}  # Life cycle to state of `status`, where they differ


def run_state(
    note: dict,  # A run or a task of it
) -> dict:  # `state` and `status`, as the API answers
    "How far a run is, in the two ways of the API."
    life, result, message = note["state"], note.get("result"), note.get("message", "")
    state = {
        "life_cycle_state": life,
        "state_message": message,
        "user_cancelled_or_timedout": result in ("CANCELED", "TIMEDOUT"),
    }
    if life not in ENDED_STATES:
        queued = (
            {"queue_details": {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": message}}
            if life == "QUEUED"
            else {}
        )
        return {"state": state, "status": {"state": RUNNING_STATES.get(life, life)} | queued}
    code, kind = CODES.get(result, ("SKIPPED", "CLIENT_ERROR"))
    if message == LOST_MESSAGE:
        code = kind = "INTERNAL_ERROR"
    ended = {"state": "TERMINATED", "termination_details": {"code": code, "type": kind, "message": message}}
    return {"state": state | {"result_state": result}, "status": ended}


def run_view(
    run: dict,  # Note of a run
    tasks: bool = True,  # Whether to tell of its tasks
) -> dict:  # As `jobs/runs/get` answers
    "A run, as the API shows it."

    def times(each):
        return {
            "start_time": each.get("start_time") or 0,
            "end_time": each.get("end_time") or 0,
            "run_duration": max((each.get("end_time") or 0) - (each.get("start_time") or 0), 0),
        }

    def view(task):
        definition = {
            name: value
            for name, value in task["definition"].items()
            if name not in ("email_notifications", "webhook_notifications")
        }
        return (
            definition
            | {
                "run_id": task["run_id"],
                "attempt_number": task.get("attempt", 0),
                "run_page_url": f"{run['page']}/tasks/{task['run_id']}",
            }
            | times(task)
            | run_state(task)
        )

    shown = {
        name: run[name]
        for name in ("run_id", "job_id", "run_name", "number_in_job", "creator_user_name", "job_parameters")
    }
    shown |= (
        {
            "run_type": "JOB_RUN",
            "trigger": "ONE_TIME",
            "format": "MULTI_TASK",
            "run_page_url": run["page"],
            "original_attempt_run_id": run["run_id"],
        }
        | times(run)
        | run_state(run)
    )
    return shown | ({"tasks": [view(task) for task in run["tasks"]]} if tasks else {})


def pipeline_view(
    state: State,  # Where it is remembered
    pipeline: dict,  # Its note
) -> dict:  # As `GET pipelines/{id}` answers
    "A pipeline with its latest updates, the newest first."
    updates = sorted(
        (each for each in state.all("updates") if each["pipeline_id"] == pipeline["pipeline_id"]),
        key=lambda each: -each["number"],
    )
    active = next((each["state"] for each in updates if each["state"] not in ENDED_STATES), None)
    latest = [
        {
            "update_id": each["update_id"],
            "state": each["state"],
            "creation_time": datetime.fromtimestamp(each["creation_time"] / 1000, UTC).isoformat(
                timespec="milliseconds"
            ),
        }
        for each in updates[:5]
    ]
    shown = pipeline | {
        "state": {None: "IDLE", "WAITING_FOR_RESOURCES": "STARTING", "STOPPING": "STOPPING"}.get(
            active, "RUNNING"
        ),
        "effective_publishing_mode": "DEFAULT_PUBLISHING_MODE",
    }
    return shown | ({"latest_updates": latest} if latest else {})
