"""Calls for pipelines and their updates."""

import re

from cdc_local.workspace.call import Call
from cdc_local.workspace.definitions import delete_pipeline, get_pipeline, keep_pipeline
from cdc_local.workspace.events import list_events
from cdc_local.workspace.files import CallError
from cdc_local.workspace.views import pipeline_view


def list_pipelines(
    call: Call,  # `filter`, `max_results`, `page_token`
) -> dict:
    "The pipelines, by name."
    text = call.text("filter", "").strip()
    wanted = re.fullmatch(r"name\s+like\s+'([^']*)'|name\s*=\s*'([^']*)'", text, re.I)
    if text and not wanted:
        raise CallError(
            "INVALID_PARAMETER_VALUE", f"filter {text!r} is not known here; write name LIKE '%part%'"
        )
    pattern = re.compile(
        re.escape(wanted[1] or wanted[2] or "").replace("%", ".*") if wanted else ".*", re.I | re.S
    )
    state, shown = (
        call.workspace.state,
        ("pipeline_id", "name", "state", "creator_user_name", "run_as_user_name", "latest_updates"),
    )
    views = [
        pipeline_view(state, each) for each in sorted(state.all("pipelines"), key=lambda each: each["name"])
    ]
    return call.page(
        "statuses",
        [
            {name: view[name] for name in shown if name in view}
            for view in views
            if pattern.fullmatch(view["name"])
        ],
        default=25,
    )


def show_update(
    call: Call,  # `pipeline`, `update`
) -> dict:
    "One update of a pipeline."
    state, pipeline, update = call.workspace.state, call.text("pipeline"), call.text("update")
    get_pipeline(state, pipeline)
    found = state.get("updates", update, f"The specified update {update} was not found.")
    if found["pipeline_id"] != pipeline:
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The specified update {update} was not found.")
    return found


def list_updates(
    call: Call,  # `pipeline`
) -> dict:
    "Updates of a pipeline, the newest first."
    pipeline = get_pipeline(call.workspace.state, call.text("pipeline"))["pipeline_id"]
    found = [each for each in call.workspace.state.all("updates") if each["pipeline_id"] == pipeline]
    return call.page("updates", sorted(found, key=lambda each: -each["number"]), default=25)


def stop_and_delete_pipeline(
    call: Call,  # `pipeline`
) -> None:
    "Stop a pipeline, wait for it, forget it."
    runs, pipeline = call.workspace.runs, call.text("pipeline")
    for update in runs.stop_pipeline(pipeline):
        runs.wait("updates", update)
    delete_pipeline(call.workspace.state, pipeline)


def create_pipeline(
    call: Call,  # What the API takes
) -> dict:
    "Make a pipeline, or say what it would be."
    if call.flag("dry_run"):
        return {"effective_settings": call.body}
    return {"pipeline_id": keep_pipeline(call.workspace.state, call.body)["pipeline_id"]}


PIPELINE_CALLS = {
    "GET /api/2.0/pipelines": list_pipelines,
    "POST /api/2.0/pipelines": create_pipeline,
    "GET /api/2.0/pipelines/{pipeline}": lambda call: pipeline_view(
        call.workspace.state, get_pipeline(call.workspace.state, call.text("pipeline"))
    ),
    "PUT /api/2.0/pipelines/{pipeline}": lambda call: (
        keep_pipeline(call.workspace.state, call.body, call.text("pipeline")) and {}
    ),
    "DELETE /api/2.0/pipelines/{pipeline}": stop_and_delete_pipeline,
    "GET /api/2.0/pipelines/{pipeline}/updates": list_updates,
    "POST /api/2.0/pipelines/{pipeline}/updates": lambda call: {
        "update_id": call.workspace.runs.start_update(call.text("pipeline"), call.body)["update_id"]
    },
    "GET /api/2.0/pipelines/{pipeline}/updates/{update}": lambda call: {"update": show_update(call)},
    "POST /api/2.0/pipelines/{pipeline}/stop": lambda call: (
        call.workspace.runs.stop_pipeline(call.text("pipeline")) and {}
    ),
    "GET /api/2.0/pipelines/{pipeline}/events": lambda call: list_events(
        call.workspace.state,
        call.text("pipeline"),
        call.text("filter", ""),
        call.text("order_by", ""),
        call.number("max_results", 25) or 25,
        call.text("page_token", ""),
    ),
}
