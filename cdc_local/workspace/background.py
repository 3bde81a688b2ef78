"""Threads that do runs and updates: each has a stop signal, and whoever waits for a change is woken."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from cdc_local.jobs.deadline import StopSignal
from cdc_local.workspace.state import ENDED_STATES, State

log = logging.getLogger(__name__)


class BackgroundWork:
    "Runs and updates under way: their threads, their stop signals, and changes of their notes."

    def __init__(
        self,
        state: State,  # Notes of runs and updates
    ) -> None:
        self.state = state
        self.changed = threading.Condition(state.lock)  # Notified at each change of a note
        self._stops: dict[str | int, threading.Event] = {}
        self._threads: list[threading.Thread] = []

    def change(
        self,
        kind: str,  # `runs` or `updates`
        key: str | int,  # Which one
        **values: Any,  # What is new in its note
    ) -> None:
        "Change a note, unless it was deleted, and wake those who wait for it."
        with self.changed:
            note = self.state.find(kind, key)
            if note is not None:
                self.state.write(kind, key, note | values)
            self.changed.notify_all()

    def start(
        self,
        key: str | int,  # Id of the run or update
        work: Callable[[threading.Event], None],  # Does it; called with its stop signal
    ) -> None:
        "Do work in a thread of its own."
        stop = threading.Event()
        thread = threading.Thread(
            target=self._do, args=(key, work, stop), name=f"workspace-{key}", daemon=True
        )
        with self.changed:
            self._stops[key] = stop
            self._threads = [other for other in self._threads if other.is_alive()] + [thread]
            thread.start()

    def _do(self, key: str | int, work: Callable[[threading.Event], None], stop: threading.Event) -> None:
        try:
            work(stop)
        except Exception:
            log.exception("run or update %s ended by a fault of cdc_utils", key)
        with self.changed:
            self._stops.pop(key, None)

    def stop(
        self,
        key: str | int,  # Id of a run or update
    ) -> None:
        "Signal work to stop; nothing happens to what has ended."
        with self.changed:
            if key in self._stops:
                self._stops[key].set()
            self.changed.notify_all()

    def close(self) -> None:
        "Stop everything, and wait until it has ended."
        with self.changed:
            keys, threads = list(self._stops), list(self._threads)
        for key in keys:
            self.stop(key)
        for thread in threads:
            thread.join()

    def wait(
        self,
        kind: str,  # `runs` or `updates`
        key: str | int,  # Which one
        stop: StopSignal | None = None,  # Stops it, too, when set
    ) -> dict[str, Any]:  # Its note, or {} when it was deleted
        "Wait until a run or an update has ended."
        with self.changed:
            while (note := self.state.find(kind, key)) is not None and note["state"] not in ENDED_STATES:
                if stop is not None and stop.is_set():
                    self.stop(key)
                self.changed.wait(0.2 if stop is not None else None)
        return note or {}
