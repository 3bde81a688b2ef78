"""Pipelines as the API shows them."""

from datetime import UTC, datetime
from typing import Any

from cdc_local.workspace.pipeline_definitions import list_pipeline_updates
from cdc_local.workspace.state import State
from cdc_utils.results import ENDED_UPDATE_STATES

_LATEST_UPDATES = 5  # How many updates a pipeline is shown with


def describe_pipeline(
    state: State,  # The notes
    pipeline: dict[str, Any],  # Note of a pipeline
) -> dict[str, Any]:  # As `GET pipelines/{id}` answers
    "Describe a pipeline with its latest updates, the newest first."
    updates = list_pipeline_updates(state, pipeline["pipeline_id"])
    active = [update["state"] for update in updates if update["state"] not in ENDED_UPDATE_STATES]
    view = pipeline | {
        "state": _pipeline_state(active[0]) if active else "IDLE",
        "effective_publishing_mode": "DEFAULT_PUBLISHING_MODE",
    }
    if updates:
        view["latest_updates"] = [_describe_latest(update) for update in updates[:_LATEST_UPDATES]]
    return view


def describe_update(
    update: dict[str, Any],  # Note of an update
    pipeline: dict[str, Any],  # Note of its pipeline
) -> dict[str, Any]:  # As `GET pipelines/{id}/updates/{id}` answers
    "Describe an update with the settings of its pipeline."
    mode = "CONTINUOUS" if pipeline["spec"].get("continuous") else "DEFAULT"
    return update | {"config": pipeline["spec"], "mode": mode}


def _pipeline_state(
    update_state: str,  # State of the update that is under way
) -> str:
    "Name the state of a pipeline that is being updated."
    return {"WAITING_FOR_RESOURCES": "STARTING", "STOPPING": "STOPPING"}.get(update_state, "RUNNING")


def _describe_latest(update: dict[str, Any]) -> dict[str, Any]:
    "Describe an update in the list of a pipeline."
    created = datetime.fromtimestamp(update["creation_time"] / 1000, UTC)
    return {
        "update_id": update["update_id"],
        "state": update["state"],
        "creation_time": created.isoformat(timespec="milliseconds"),
    }
