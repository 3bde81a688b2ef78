"""Updates of pipelines: one at a time for a storage, the others wait their turn.

An update of a continuous pipeline has no turn: it goes on until it is stopped, and locks the storage only
while something has changed. One that only validates has none either: it writes no table.
"""

import logging
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

from cdc_local.errors import PipelineError
from cdc_local.storage import Storage
from cdc_local.update.event_log import EventLog, read_events
from cdc_local.workspace.background import BackgroundWork
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.pipeline_definitions import get_pipeline, list_pipeline_updates
from cdc_local.workspace.state import State, api_time, new_number
from cdc_local.workspace.values import read_names, read_parameters
from cdc_utils.results import ENDED_UPDATE_STATES

log = logging.getLogger(__name__)


def _list_active_updates(
    state: State,  # The notes
    pipeline_id: str,  # The pipeline
) -> list[dict[str, Any]]:  # At most one, unless two were started by different servers
    "List the updates of a pipeline that have not ended."
    updates = list_pipeline_updates(state, pipeline_id)
    return [update for update in updates if update["state"] not in ENDED_UPDATE_STATES]


def _is_continuous(
    pipeline: dict[str, Any],  # As it was defined
) -> bool:
    "Tell a pipeline whose updates go on until they are stopped."
    return bool(pipeline["spec"].get("continuous"))


_NOT_RUN = {
    "reset_checkpoint_selection": "name its table in full_refresh_selection, which clears the data too",
    "replace_where_overrides": "change the predicate of REPLACE WHERE in the source, and update",
    "rewind_spec": "name the tables in full_refresh_selection",
}  # Settings of an update that change where flows begin, and what to do instead


def _has_turn(
    pipeline: dict[str, Any],  # As it was defined
    update: dict[str, Any],  # Of this pipeline
) -> bool:
    "Tell an update that waits until it has the storage to itself."
    return not (_is_continuous(pipeline) or update["validate_only"])


def _refuse_unknown_starts(
    settings: dict[str, Any],  # Of an update
) -> None:
    "Refuse what would change where flows begin, rather than begin elsewhere in silence."
    for name, instead in _NOT_RUN.items():
        if settings.get(name):
            raise CallError("NOT_IMPLEMENTED", f"{name}: not run in this workspace; {instead}")


class Updates:
    "Updates of pipelines, under way and queued."

    def __init__(
        self,
        work: BackgroundWork,  # Threads and notes
        execution: Execution,  # What carries them out
    ) -> None:
        self.work = work
        self.state = work.state
        self.execution = execution
        self._queue: list[str] = []  # Ids; the first is the one that runs

    def start(
        self,
        pipeline_id: str,  # The pipeline
        settings: dict[str, Any],  # `full_refresh`, `refresh_selection`, `validate_only` and the like
        cause: str = "API_CALL",  # Why it starts: API_CALL or JOB_TASK
    ) -> dict[str, Any]:  # The update
        """Queue an update; `CallError` if this pipeline has one already, for a job's task of a continuous
        pipeline, and for settings that are not run here."""
        _refuse_unknown_starts(settings)
        with self.work.changed:
            pipeline = get_pipeline(self.state, pipeline_id)
            for active in _list_active_updates(self.state, pipeline_id):
                raise CallError(
                    "RESOURCE_CONFLICT",
                    f"An active update {active['update_id']} already exists for pipeline '{pipeline_id}'.",
                )
            if _is_continuous(pipeline) and cause == "JOB_TASK":
                raise CallError(
                    "INVALID_PARAMETER_VALUE",
                    f"Pipeline '{pipeline_id}' is continuous; a job's task updates triggered pipelines only.",
                )
            update = self._new_update(pipeline_id, settings, cause)
            if _has_turn(pipeline, update):
                self._queue.append(update["update_id"])
            self.state.write("updates", update["update_id"], update)
            self.work.start(update["update_id"], partial(self._run, pipeline, update))
        return update

    def _new_update(self, pipeline_id: str, settings: dict[str, Any], cause: str) -> dict[str, Any]:
        "Begin the note of an update."
        refresh = read_names(settings, "refresh_selection")
        full_refresh = read_names(settings, "full_refresh_selection")
        return {
            "update_id": str(uuid.uuid4()),
            "pipeline_id": pipeline_id,
            "cause": cause,
            "creation_time": api_time(),
            "number": new_number(),
            "state": "WAITING_FOR_RESOURCES",
            "full_refresh": bool(settings.get("full_refresh")),
            "validate_only": bool(settings.get("validate_only")),
            "refresh_selection": refresh,
            "full_refresh_selection": full_refresh,
            "parameters": read_parameters(settings, "parameters"),
        }

    def stop(
        self,
        pipeline_id: str,  # The pipeline
    ) -> list[str]:  # Ids of the updates that will end
        "Cancel the update of a pipeline, if it has one; `CallError` where there is no such pipeline."
        with self.work.changed:
            get_pipeline(self.state, pipeline_id)
            ids = [update["update_id"] for update in _list_active_updates(self.state, pipeline_id)]
            for update_id in ids:
                self.work.change("updates", update_id, state="STOPPING")
                self.work.stop(update_id)
        return ids

    def _run(self, pipeline: dict[str, Any], update: dict[str, Any], stop: threading.Event) -> None:
        "Carry out an update when its turn has come, and note how it ended."
        update_id = update["update_id"]
        with self._turn(update_id, stop) if _has_turn(pipeline, update) else nullcontext():
            if stop.is_set():
                return self._end(update_id, "CANCELED", "canceled before it began")
            self.work.change("updates", update_id, state="RUNNING", start_time=api_time())
            try:
                self.execution.update(pipeline["spec"], update, stop, _ignore_line)
            except Exception as error:
                if stop.is_set():
                    return self._end(update_id, "CANCELED", "canceled")
                if not isinstance(error, PipelineError):
                    log.exception("update %s ended by a fault of cdc_utils", update_id)
                _record_failure(self.state.storage, pipeline["name"], update_id, error)
                return self._end(update_id, "FAILED", str(error))
            self._end(update_id, "CANCELED" if stop.is_set() else "COMPLETED")

    def _end(self, update_id: str, state: str, message: str = "") -> None:
        "Note that an update has ended."
        self.work.change("updates", update_id, state=state, message=message, end_time=api_time())

    @contextmanager
    def _turn(self, update_id: str, stop: threading.Event) -> Iterator[None]:
        "Wait to be the first of the queue, or to be stopped; leave the queue at the end of the block."
        try:
            with self.work.changed:
                while self._queue[0] != update_id and not stop.is_set():
                    self.work.changed.wait()
            yield
        finally:
            with self.work.changed:
                self._queue.remove(update_id)
                self.work.changed.notify_all()


def _ignore_line(line: str) -> None:
    "What an update prints is in the event log already."


def _record_failure(
    storage: Storage,  # With the event log
    pipeline_name: str,  # The pipeline
    update_id: str,  # The update
    error: Exception,  # Why it failed
) -> None:
    "Record the failure of an update whose process recorded none: clients show errors of the event log."
    if read_events(storage.event_log_path, update_id=update_id, level="ERROR"):
        return
    with EventLog(storage.event_log_path, pipeline_name, update_id) as events:
        events.record(
            "update_progress",
            f"Update {update_id[:8]} is FAILED.",
            "ERROR",
            details={"update_progress": {"state": "FAILED"}},
            error=error,
        )
