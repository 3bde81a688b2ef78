"""What was declared, granted, deployed and run: one note on disk for each, which outlives the server."""

import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cdc_local.storage import Storage, read_json, write_json
from cdc_local.workspace.call_error import CallError
from cdc_utils.results import ENDED_TASK_STATES, ENDED_UPDATE_STATES

ENDED_STATES = (*ENDED_TASK_STATES, *ENDED_UPDATE_STATES)  # A run or an update in one of these stays in it

LOST_MESSAGE = "the local workspace ended while this was running; start it again"  # Of runs and updates lost

_KINDS = (
    "schemas",
    "volumes",
    "grants",
    "permissions",
    "pipelines",
    "jobs",
    "runs",
    "outputs",
    "queries",
    "updates",
)  # Kinds of notes; each has a folder


class State:
    "The notes of a workspace, by kind and key: read when the server starts, written at each change."

    def __init__(
        self,
        storage: Storage,  # The folder that stands for the workspace
        user: str,  # Name of the one user
    ) -> None:
        self.storage = storage
        self.user = user
        self.lock = threading.RLock()  # For those that read, decide and write
        self.root = storage.root / "workspace"
        self._notes: dict[str, dict[str, Any]] = {kind: self._read_notes(kind) for kind in _KINDS}

    def _read_notes(self, kind: str) -> dict[str, Any]:
        notes = [read_json(path) for path in sorted((self.root / kind).glob("[!.]*.json"))]
        return {note["key"]: note["value"] for note in notes}

    def _path(self, kind: str, key: str | int) -> Path:
        return self.root / kind / f"{quote(str(key), safe='')}.json"

    def all(
        self,
        kind: str,  # One of `_KINDS`
    ) -> list[Any]:  # The oldest first
        "List every note of a kind."
        with self.lock:
            return list(self._notes[kind].values())

    def find(
        self,
        kind: str,  # One of `_KINDS`
        key: str | int,  # Its key
    ) -> Any:  # The note; None where there is none
        "Look for a note."
        with self.lock:
            return self._notes[kind].get(str(key))

    def get(
        self,
        kind: str,  # One of `_KINDS`
        key: str | int,  # Its key
        message: str,  # Of the error where there is none
        error_code: str = "RESOURCE_DOES_NOT_EXIST",  # The code of that error
    ) -> Any:  # The note
        "Read a note; `CallError` where there is none."
        note = self.find(kind, key)
        if note is None:
            raise CallError(error_code, message)
        return note

    def write(
        self,
        kind: str,  # One of `_KINDS`
        key: str | int,  # Its key; any text, since it is quoted in the name of its file
        value: Any,  # The note, which can be written as JSON
    ) -> Any:  # The note
        "Write a note in one step: a killed server leaves the one before, or this."
        with self.lock:
            write_json(self._path(kind, key), {"key": str(key), "value": value})
            self._notes[kind][str(key)] = value
        return value

    def delete(
        self,
        kind: str,  # One of `_KINDS`
        key: str | int,  # Its key
    ) -> None:
        "Delete a note, if there is one."
        with self.lock:
            self._notes[kind].pop(str(key), None)
            self._path(kind, key).unlink(missing_ok=True)


def api_time() -> int:  # Milliseconds since 1970
    "Read the clock, as the API writes times."
    return time.time_ns() // 1_000_000


_newest_number = 0
_numbering = threading.Lock()


def new_number(
    count: int = 1,  # How many numbers are wanted
) -> int:  # The first of them; below 2**52, which JSON carries exactly
    "Make a number for a job or a run; a later one is larger, also within a millisecond and after a restart."
    global _newest_number
    with _numbering:
        first = max(api_time() << 10, _newest_number + 1)
        _newest_number = first + count - 1
    return first


def settle_lost_work(
    state: State,  # Notes of an earlier server
) -> int:  # How many runs and updates were under way
    "Mark as failed what an earlier server left running: nothing of it runs any more."
    runs = [run for run in state.all("runs") if run["state"] not in ENDED_TASK_STATES]
    for run in runs:
        tasks = [_end_lost_run(task) for task in run["tasks"]]
        state.write("runs", run["run_id"], _end_lost_run(run | {"tasks": tasks}))
    updates = [update for update in state.all("updates") if update["state"] not in ENDED_UPDATE_STATES]
    for update in updates:
        failed = {"state": "FAILED", "message": LOST_MESSAGE, "end_time": api_time()}
        state.write("updates", update["update_id"], update | failed)
    return len(runs) + len(updates)


def _end_lost_run(
    run: dict[str, Any],  # A run, or a task of one
) -> dict[str, Any]:  # The same where it had ended
    "Mark a run or a task as failed, unless it had ended."
    if run["state"] in ENDED_TASK_STATES:
        return run
    failed = {"state": "INTERNAL_ERROR", "result": "FAILED", "message": LOST_MESSAGE, "end_time": api_time()}
    iterations = {key: _end_lost_run(note) for key, note in (run.get("iterations") or {}).items()}
    return run | failed | ({"iterations": iterations} if iterations else {})
