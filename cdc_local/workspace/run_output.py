"""What a task printed and returned, kept beside its run, since it may be long."""

from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.run_views import describe_run, find_run
from cdc_local.workspace.state import State

OUTPUT_LIMIT = 5_000_000  # Characters of output that are kept, the last ones


def write_output(
    state: State,  # The notes
    number: int,  # Id of the task's run
    lines: list[str],  # What it printed
    **outcome: str | None,  # `result`, or `error` and `error_trace`
) -> None:
    "Keep the output of a task's last attempt."
    state.write("outputs", number, {"logs": "\n".join(lines)[-OUTPUT_LIMIT:]} | outcome)


def read_output(
    state: State,  # The notes
    number: int,  # Id of a task's run, or of a run with one task
) -> dict[str, Any]:  # As `jobs/runs/get-output` answers
    "Read what a task printed, and why it failed; `CallError` for a run of several tasks."
    run = find_run(state, number)
    tasks = [task for task in run["tasks"] if number in (task["run_id"], run["run_id"])]
    if len(tasks) > 1:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            "Retrieving the output of runs with multiple tasks is not supported."
            " Please retrieve the output of each individual task run instead.",
        )
    (task,) = tasks
    output = state.find("outputs", task["run_id"]) or {}
    run_view = describe_run(run)
    (task_view,) = (view for view in run_view["tasks"] if view["run_id"] == task["run_id"])
    answer = {"metadata": run_view | task_view}
    answer |= {part: output[part] for part in ("error", "error_trace") if part in output}
    return answer | _output_of_kind(task["definition"], output)


def _output_of_kind(
    definition: dict[str, Any],  # The task
    output: dict[str, Any],  # Note of its output
) -> dict[str, Any]:
    "Answer as the API does for this kind of task; a pipeline's has no output."
    if "notebook_task" in definition:
        return {"notebook_output": {"result": output.get("result") or "", "truncated": False}}
    if "pipeline_task" in definition:
        return {}
    logs = output.get("logs") or output.get("result") or ""
    return {"logs": logs, "logs_truncated": len(output.get("logs", "")) >= OUTPUT_LIMIT}
