"""Runs of jobs as the API shows them."""

from collections import Counter
from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import LOST_MESSAGE, State
from cdc_utils.results import ENDED_TASK_STATES

_TERMINATION_CODES = {
    "SUCCESS": ("SUCCESS", "SUCCESS"),
    "SUCCESS_WITH_FAILURES": ("SUCCESS_WITH_FAILURES", "SUCCESS"),
    "CANCELED": ("USER_CANCELED", "SUCCESS"),
    "TIMEDOUT": ("CANCELED", "CLIENT_ERROR"),
    "FAILED": ("RUN_EXECUTION_ERROR", "CLIENT_ERROR"),
    "DISABLED": ("DISABLED", "SUCCESS"),
    "MAXIMUM_CONCURRENT_RUNS_REACHED": ("MAX_CONCURRENT_RUNS_EXCEEDED", "CLIENT_ERROR"),
}  # Result -> code and type of `termination_details`

_STATUS_OF_LIFE_CYCLE = {"WAITING_FOR_RETRY": "WAITING"}  # Life cycle -> state of `status`, where they differ


def find_run(
    state: State,  # The notes
    number: int,  # Id of a run, or of a task's run
) -> dict[str, Any]:  # The run
    "Find the run that has a number, or a task or iteration with it; `CallError` where there is none."
    for run in state.all("runs"):
        if number in (run["run_id"], *[note["run_id"] for note in list_notes(run)]):
            return dict(run)
    raise CallError("RESOURCE_DOES_NOT_EXIST", f"Run {number} does not exist.")


def list_notes(
    run: dict[str, Any],  # Note of a run
) -> list[dict[str, Any]]:  # Notes of its tasks, those of a loop's iterations behind it
    "List all that a run runs."
    return [note for task in run["tasks"] for note in (task, *(task.get("iterations") or {}).values())]


def describe_run_state(
    note: dict[str, Any],  # A run, or a task of one
) -> dict[str, Any]:  # `state`, which older clients read, and `status`, which newer ones read
    "Describe how far a run is, in both ways of the API."
    life_cycle, result, message = note["state"], note.get("result"), note.get("message", "")
    state = {
        "life_cycle_state": life_cycle,
        "state_message": message,
        "user_cancelled_or_timedout": result in ("CANCELED", "TIMEDOUT"),
    }
    if life_cycle not in ENDED_TASK_STATES:
        status: dict[str, Any] = {"state": _STATUS_OF_LIFE_CYCLE.get(life_cycle, life_cycle)}
        if life_cycle == "QUEUED":
            status["queue_details"] = {"code": "MAX_CONCURRENT_RUNS_REACHED", "message": message}
        return {"state": state, "status": status}
    code, kind = _TERMINATION_CODES.get(str(result), ("SKIPPED", "CLIENT_ERROR"))
    if message == LOST_MESSAGE:
        code = kind = "INTERNAL_ERROR"
    details = {"code": code, "type": kind, "message": message}
    return {
        "state": state | {"result_state": result},
        "status": {"state": "TERMINATED", "termination_details": details},
    }


def describe_run(
    run: dict[str, Any],  # Note of a run
    with_tasks: bool = True,  # Whether to describe its tasks
) -> dict[str, Any]:  # As `jobs/runs/get` answers
    "Describe a run as the API shows it."
    shown = ("run_id", "job_id", "run_name", "number_in_job", "creator_user_name", "job_parameters")
    view = {part: run[part] for part in shown}
    view |= {
        "run_type": "JOB_RUN",
        "trigger": "RUN_JOB_TASK" if run.get("caller") else "ONE_TIME",
        "format": "MULTI_TASK",
        "run_page_url": run["page"],
        "original_attempt_run_id": run["run_id"],
    }
    if run.get("caller"):
        view["trigger_info"] = {"run_id": run["caller"]["run_id"]}
    view |= _describe_times(run) | describe_run_state(run)
    if with_tasks:
        view["tasks"] = [_describe_task(task, run["page"]) for task in run["tasks"]]
    return view


def describe_part(
    run: dict[str, Any],  # Note of a run
    number: int,  # Id of the run, of a task or of an iteration
) -> dict[str, Any]:  # As `jobs/runs/get` answers
    "Describe a run as the API shows it, or what of it has a number; a loop with its iterations."
    view = describe_run(run)
    for note in list_notes(run):
        if note["run_id"] == number:
            iterations = [
                _describe_task(iteration, run["page"])
                for iteration in (note.get("iterations") or {}).values()
            ]
            shown = {"iterations": iterations} if "for_each_task" in note["definition"] else {}
            return view | _describe_task(note, run["page"]) | shown
    return view


def _describe_task(task: dict[str, Any], page: str) -> dict[str, Any]:
    "Describe a task of a run as the API shows it; `page` is the run's link."
    hidden = ("email_notifications", "webhook_notifications")
    view = {part: value for part, value in task["definition"].items() if part not in hidden}
    view |= {
        "run_id": task["run_id"],
        "attempt_number": task.get("attempt", 0),
        "run_page_url": f"{page}/tasks/{task['run_id']}",
    }
    if "for_each_task" in view:
        iterations = list((task.get("iterations") or {}).values())
        view["for_each_task"] = view["for_each_task"] | {"stats": _describe_iterations(iterations)}
    if "outcome" in task:
        view["condition_task"] = view["condition_task"] | {"outcome": task["outcome"]}
    if task.get("resolved"):
        view["resolved_values"] = task["resolved"]
    return view | _describe_times(task) | describe_run_state(task)


def _describe_iterations(iterations: list[dict[str, Any]]) -> dict[str, Any]:
    "Count the iterations of a loop, and name the commonest reasons of those that failed."
    ended = [note for note in iterations if note["state"] in ENDED_TASK_STATES]
    failed = [note for note in ended if note.get("result") != "SUCCESS"]
    reasons = Counter(note.get("message", "") for note in failed).most_common(3)
    return {
        "task_run_stats": {
            "total_iterations": len(iterations),
            "scheduled_iterations": len(iterations) - sum(note["state"] == "PENDING" for note in iterations),
            "active_iterations": sum(
                note["state"] not in ("PENDING", *ENDED_TASK_STATES) for note in iterations
            ),
            "completed_iterations": len(ended),
            "succeeded_iterations": len(ended) - len(failed),
            "failed_iterations": len(failed),
        },
        "error_message_stats": [
            {"error_message": message, "count": count, "termination_category": "RUN_EXECUTION_ERROR"}
            for message, count in reasons
        ],
    }


def _describe_times(note: dict[str, Any]) -> dict[str, int]:
    "Say when a run or a task began and ended; 0 where it has not."
    start, end = note.get("start_time") or 0, note.get("end_time") or 0
    return {"start_time": start, "end_time": end, "run_duration": max(end - start, 0)}
