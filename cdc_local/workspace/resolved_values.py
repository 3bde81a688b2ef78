"""What a task ran with, once its references were filled in: `resolved_values` of a task's run."""

from typing import Any

from cdc_local.jobs.references import task_kind

_PARTS = {
    "condition_task": ("left", "right"),
    "notebook_task": ("base_parameters",),
    "pipeline_task": ("parameters",),
    "python_wheel_task": ("named_parameters", "parameters"),
    "run_job_task": ("job_parameters",),
    "spark_python_task": ("parameters",),
    "sql_task": ("parameters",),
}  # Kind of a task -> what of it the API shows


def resolve_values(
    task: dict[str, Any],  # A task, filled in
) -> dict[str, Any]:  # As `jobs/runs/get` shows it; empty for a kind that shows nothing
    "Say what a task ran with."
    kind = task_kind(task)
    if kind is None:
        return {}
    shown = {part: task[kind][part] for part in _PARTS.get(kind, ()) if part in task[kind]}
    return {kind: shown} if shown else {}
