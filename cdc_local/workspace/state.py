"""What was declared, granted, deployed and run: small notes on disk, which outlive the server."""

import threading
import time
from typing import Any
from urllib.parse import quote

from cdc_local.storage import Storage, read_json, write_json
from cdc_local.workspace.files import CallError
from cdc_utils.results import ENDED_TASK_STATES, ENDED_UPDATE_STATES


class State:
    "The notes of a workspace, by kind and key."

    KINDS = ("schemas", "volumes", "grants", "permissions", "pipelines", "jobs", "runs", "outputs", "updates")

    def __init__(
        self,
        storage: Storage,  # The folder that stands for the workspace
        user: str,  # Name of the one user
    ):
        self.storage, self.user, self.lock = storage, user, threading.RLock()
        self.root = storage.root / "workspace"
        self.notes = {
            kind: {
                note["key"]: note["value"]
                for path in sorted((self.root / kind).glob("[!.]*.json"))
                for note in [read_json(path)]
            }
            for kind in self.KINDS
        }

    def _path(self, kind: str, key: str):
        return self.root / kind / f"{quote(str(key), safe='')}.json"

    def all(self, kind: str) -> list[Any]:
        "Every note of a kind, the oldest first."
        with self.lock:
            return list(self.notes[kind].values())

    def find(self, kind: str, key: str) -> Any:
        "One note; None where there is none."
        with self.lock:
            return self.notes[kind].get(str(key))

    def keep(self, kind: str, key: str, value: Any) -> Any:
        "Write a note, and return it."
        with self.lock:
            write_json(self._path(kind, key), {"key": str(key), "value": value})
            self.notes[kind][str(key)] = value
        return value

    def drop(self, kind: str, key: str) -> None:
        "Remove a note, if there is one."
        with self.lock:
            self.notes[kind].pop(str(key), None)
            self._path(kind, key).unlink(missing_ok=True)

    def get(
        self,
        kind: str,  # Kind of the note
        key: str,  # Its key
        message: str,  # What to say where there is none
        error_code: str = "RESOURCE_DOES_NOT_EXIST",  # The code of that answer
    ) -> Any:  # What the note says
        "One note; `CallError` where there is none."
        found = self.find(kind, key)
        if found is None:
            raise CallError(error_code, message)
        return found


def api_time() -> int:  # Milliseconds since 1970
    "The time, as the API writes it."
    return time.time_ns() // 1_000_000


_newest, _numbering = [0], threading.Lock()


def new_number(
    many: int = 1,  # How many are wanted
) -> int:  # The first of them; below 2**52, which JSON carries exactly
    "A number for a job or a run; a later one is larger, also within a millisecond and after a restart."
    with _numbering:
        first = max(api_time() << 10, _newest[0] + 1)
        _newest[0] = first + many - 1
    return first


ENDED_STATES = (*ENDED_TASK_STATES, *ENDED_UPDATE_STATES)  # In which runs and updates stay

LOST_MESSAGE = "the local workspace ended while this was running; start it again"  # What is said of those that did not reach one


def settle_runs(
    state: State,  # Notes of an earlier server
) -> int:  # How many runs and updates it left
    "End what an earlier server left running."
    left = 0
    for run in state.all("runs"):
        if run["state"] in ENDED_STATES:
            continue

        def ended(each):
            return (
                each
                if each["state"] in ENDED_STATES
                else each
                | {
                    "state": "INTERNAL_ERROR",
                    "result": "FAILED",
                    "message": LOST_MESSAGE,
                    "end_time": api_time(),
                }
            )

        state.keep("runs", run["run_id"], ended(run | {"tasks": [ended(task) for task in run["tasks"]]}))
        left += 1
    for update in state.all("updates"):
        if update["state"] in ENDED_STATES:
            continue
        state.keep(
            "updates",
            update["update_id"],
            update | {"state": "FAILED", "message": LOST_MESSAGE, "end_time": api_time()},
        )
        left += 1
    return left
