"""Calls of the Pipelines API: pipelines, their updates and events."""

import re
from typing import Any

from cdc_local.workspace.call import Call, CallTable
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.pipeline_definitions import (
    delete_pipeline,
    get_pipeline,
    list_pipeline_updates,
    store_pipeline,
)
from cdc_local.workspace.pipeline_events import list_events
from cdc_local.workspace.pipeline_views import describe_pipeline, describe_update

_LISTED = ("pipeline_id", "name", "state", "creator_user_name", "run_as_user_name", "latest_updates")


def _list_pipelines(call: Call) -> dict[str, Any]:
    "List the pipelines by name, those whose name meets `filter`."
    pattern = _name_pattern(call.text("filter", "").strip())
    state = call.workspace.state
    pipelines = sorted(state.all("pipelines"), key=lambda pipeline: str(pipeline["name"]))
    views = [
        describe_pipeline(state, pipeline) for pipeline in pipelines if pattern.fullmatch(pipeline["name"])
    ]
    listed = [{part: view[part] for part in _LISTED if part in view} for view in views]
    return call.page("statuses", listed, default_size=25)


def _name_pattern(
    filter: str,  # e.g. `name LIKE 'etl%'`
) -> re.Pattern[str]:  # Of the names that meet it
    "Read the filter of a list of pipelines; `CallError` for one that is not known here."
    match = re.fullmatch(r"name\s+like\s+'([^']*)'|name\s*=\s*'([^']*)'", filter, re.I)
    if filter and not match:
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"filter {filter!r} is not known here; write name LIKE '%part%'"
        )
    pattern = re.escape(match[1] or match[2] or "").replace("%", ".*") if match else ".*"
    return re.compile(pattern, re.I | re.S)


def _create_pipeline(call: Call) -> dict[str, Any]:
    "Create a pipeline, or with `dry_run` only say what it would be."
    if call.flag("dry_run"):
        return {"effective_settings": call.body}
    return {"pipeline_id": store_pipeline(call.workspace.state, call.body)["pipeline_id"]}


def _pipeline(call: Call) -> dict[str, Any]:
    "Read the pipeline `pipeline_id`."
    return get_pipeline(call.workspace.state, call.text("pipeline_id"))


def _show_pipeline(call: Call) -> dict[str, Any]:
    "Describe a pipeline and its latest updates."
    return describe_pipeline(call.workspace.state, _pipeline(call))


def _edit_pipeline(call: Call) -> None:
    "Replace the settings of a pipeline."
    store_pipeline(call.workspace.state, call.body, call.text("pipeline_id"))


def _stop_and_delete_pipeline(call: Call) -> None:
    "Stop the update of a pipeline, wait for its end, and delete the pipeline."
    workspace, pipeline_id = call.workspace, call.text("pipeline_id")
    for update_id in workspace.updates.stop(pipeline_id):
        workspace.work.wait("updates", update_id)
    delete_pipeline(workspace.state, pipeline_id)


def _stop_pipeline(call: Call) -> None:
    "Cancel the update of a pipeline, if it has one."
    call.workspace.updates.stop(call.text("pipeline_id"))


def _start_update(call: Call) -> dict[str, Any]:
    "Start an update of a pipeline."
    update = call.workspace.updates.start(call.text("pipeline_id"), call.body)
    return {"update_id": update["update_id"]}


def _show_update(call: Call) -> dict[str, Any]:
    "Describe the update `update_id` of a pipeline."
    pipeline, update_id = _pipeline(call), call.text("update_id")
    message = f"The specified update {update_id} was not found."
    update = call.workspace.state.get("updates", update_id, message)
    if update["pipeline_id"] != pipeline["pipeline_id"]:
        raise CallError("RESOURCE_DOES_NOT_EXIST", message)
    return {"update": describe_update(update, pipeline)}


def _list_updates(call: Call) -> dict[str, Any]:
    "List the updates of a pipeline, the newest first, down to `until_update_id` where that is given."
    updates = list_pipeline_updates(call.workspace.state, _pipeline(call)["pipeline_id"])
    until = call.text("until_update_id", "")
    ids = [update["update_id"] for update in updates]
    if until:
        updates = updates[: ids.index(until) + 1] if until in ids else []
    return call.page("updates", updates, default_size=25)


def _list_events(call: Call) -> dict[str, Any]:
    "List the events of a pipeline's updates, those that meet `filter`, in the order of `order_by`."
    return list_events(
        call.workspace.state,
        call.text("pipeline_id"),
        call.text("filter", ""),
        call.text("order_by", ""),
        call.number("max_results", 25) or 25,
        call.text("page_token", ""),
    )


PIPELINE_CALLS: CallTable = {
    "GET /api/2.0/pipelines": _list_pipelines,
    "POST /api/2.0/pipelines": _create_pipeline,
    "GET /api/2.0/pipelines/{pipeline_id}": _show_pipeline,
    "PUT /api/2.0/pipelines/{pipeline_id}": _edit_pipeline,
    "DELETE /api/2.0/pipelines/{pipeline_id}": _stop_and_delete_pipeline,
    "POST /api/2.0/pipelines/{pipeline_id}/stop": _stop_pipeline,
    "GET /api/2.0/pipelines/{pipeline_id}/updates": _list_updates,
    "POST /api/2.0/pipelines/{pipeline_id}/updates": _start_update,
    "GET /api/2.0/pipelines/{pipeline_id}/updates/{update_id}": _show_update,
    "GET /api/2.0/pipelines/{pipeline_id}/events": _list_events,
}
