"""Parameters of a run: dynamic values are filled in, and what the run says is handed down to its tasks."""

import re
from typing import Any

from cdc_local.workspace.job_definitions import NAMED_PARAMETERS


def _fill_dynamic_values(
    value: Any,  # A task, or a part of one
    dynamic_values: dict[str, str],  # Name -> value, e.g. of `job.parameters.day`
) -> Any:  # The same with every `{{name}}` that is known replaced; what nobody knows stays
    "Fill in dynamic values, wherever they stand."
    if isinstance(value, dict):
        return {name: _fill_dynamic_values(part, dynamic_values) for name, part in value.items()}
    if isinstance(value, list):
        return [_fill_dynamic_values(part, dynamic_values) for part in value]
    if not isinstance(value, str):
        return value
    return re.sub(r"\{\{\s*([\w.-]+)\s*\}\}", lambda match: dynamic_values.get(match[1], match[0]), value)


def push_down_parameters(
    task: dict[str, Any],  # A task of a job
    parameters: dict[str, str],  # Parameters of the run
    dynamic_values: dict[str, str],  # Further dynamic values
) -> dict[str, Any]:  # The task as it is run
    "Hand the parameters of a run down to a task that takes them by name; they win over the task's own."
    known = dynamic_values | {f"job.parameters.{name}": value for name, value in parameters.items()}
    filled: dict[str, Any] = _fill_dynamic_values(task, known | {"task.name": task["task_key"]})
    for kind, part in NAMED_PARAMETERS.items():
        if kind in filled and not filled[kind].get("parameters"):
            filled[kind] = filled[kind] | {part: (filled[kind].get(part) or {}) | parameters}
    return filled
