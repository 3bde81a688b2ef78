"""Pipelines as they were defined, as notes."""

import uuid
from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.state import State, api_time

_NOT_IN_SPEC = (
    "allow_duplicate_names",
    "dry_run",
    "expected_last_modified",
    "run_as",
    "parameters",
)  # What a call says beside the pipeline's specification


def store_pipeline(
    state: State,  # The notes
    settings: dict[str, Any],  # As the API takes them
    pipeline_id: str | None = None,  # The pipeline that is edited; a new one by default
) -> dict[str, Any]:  # The pipeline
    "Create or edit a pipeline; `CallError` without a name, and for a name that is taken."
    name = settings.get("name")
    if not name or not isinstance(name, str):
        raise CallError("INVALID_PARAMETER_VALUE", f"a pipeline needs a name, not {name!r}")
    with state.lock:
        pipeline = get_pipeline(state, pipeline_id) if pipeline_id else _new_pipeline(state.user)
        if not settings.get("allow_duplicate_names"):
            _refuse_taken_name(state, name, pipeline["pipeline_id"])
        spec = {part: value for part, value in settings.items() if part not in _NOT_IN_SPEC}
        changed = {
            part: settings[part] for part in ("run_as", "parameters") if settings.get(part) is not None
        }
        changed |= {
            "name": name,
            "spec": spec | {"id": pipeline["pipeline_id"]},
            "last_modified": api_time(),
        }
        stored: dict[str, Any] = state.write("pipelines", pipeline["pipeline_id"], pipeline | changed)
        return stored


def _new_pipeline(user: str) -> dict[str, Any]:
    "Begin the note of a pipeline."
    return {"pipeline_id": str(uuid.uuid4()), "creator_user_name": user, "run_as_user_name": user}


def _refuse_taken_name(state: State, name: str, pipeline_id: str) -> None:
    "Raise `CallError` if another pipeline has this name."
    for pipeline in state.all("pipelines"):
        if pipeline["name"] == name and pipeline["pipeline_id"] != pipeline_id:
            raise CallError(
                "RESOURCE_CONFLICT",
                f"The pipeline name '{name}' is already used by another pipeline. This check can be"
                " skipped by setting `allow_duplicate_names = true` in the request.",
            )


def get_pipeline(
    state: State,  # The notes
    pipeline_id: str,  # The pipeline
) -> dict[str, Any]:  # The pipeline
    "Read a pipeline; `CallError` where there is none."
    message = f"The specified pipeline {pipeline_id} was not found."
    pipeline: dict[str, Any] = state.get("pipelines", pipeline_id, message)
    return pipeline


def list_pipeline_updates(
    state: State,  # The notes
    pipeline_id: str,  # The pipeline
) -> list[dict[str, Any]]:  # The newest first
    "List the updates of a pipeline."
    updates = [update for update in state.all("updates") if update["pipeline_id"] == pipeline_id]
    return sorted(updates, key=lambda update: -update["number"])


def delete_pipeline(
    state: State,  # The notes
    pipeline_id: str,  # The pipeline
) -> None:
    "Delete a pipeline and its updates; its tables stay. `CallError` where there is none."
    with state.lock:
        get_pipeline(state, pipeline_id)
        for update in list_pipeline_updates(state, pipeline_id):
            state.delete("updates", update["update_id"])
        state.delete("pipelines", pipeline_id)
        state.delete("permissions", f"pipelines/{pipeline_id}")
