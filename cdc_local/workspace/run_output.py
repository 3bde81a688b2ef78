"""What a task printed and returned, kept beside its run, since it may be long."""

from typing import Any

from cdc_local.jobs.references import task_kind
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.run_views import describe_part, find_run, list_notes
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
    tasks = run["tasks"] if number == run["run_id"] else []
    tasks = tasks or [note for note in list_notes(run) if note["run_id"] == number]
    if len(tasks) > 1:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            "Retrieving the output of runs with multiple tasks is not supported."
            " Please retrieve the output of each individual task run instead.",
        )
    (task,) = tasks
    output = state.find("outputs", task["run_id"]) or {}
    answer = {"metadata": describe_part(run, task["run_id"])}
    answer |= {part: output[part] for part in ("error", "error_trace") if part in output}
    return answer | _output_of_kind(task, output)


def _output_of_kind(
    task: dict[str, Any],  # Its note
    output: dict[str, Any],  # Note of its output
) -> dict[str, Any]:
    "Answer as the API does for this kind of task; a pipeline's, a condition's and a loop's has no output."
    kind = task_kind(task["definition"])
    if kind == "notebook_task":
        return {"notebook_output": {"result": output.get("result") or "", "truncated": False}}
    if kind == "run_job_task":
        return {"run_job_output": {"run_id": task["other_run_id"]}} if "other_run_id" in task else {}
    if kind == "sql_task":
        return {
            "sql_output": {"query_output": {"warehouse_id": task["definition"][kind].get("warehouse_id")}}
        }
    if kind in ("pipeline_task", "condition_task", "for_each_task"):
        return {}
    logs = output.get("logs") or output.get("result") or ""
    return {"logs": logs, "logs_truncated": len(output.get("logs", "")) >= OUTPUT_LIMIT}
