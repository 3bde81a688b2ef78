"""When an attempt at a task must end, and why."""

import time
from typing import Protocol


class StopSignal(Protocol):
    "What a caller sets to end a job: a `threading.Event`, or a `Deadline`."

    def is_set(self) -> bool:
        "Whether the work must end."

    def wait(self, seconds: float, /) -> bool:
        "Wait until the work must end, at most so many seconds; say whether it must."


class Deadline:
    "A stop signal that also sets itself when the time is over, and says which of the two it was."

    def __init__(
        self,
        stop: StopSignal,  # What ends it early
        seconds: float | None = None,  # How long it may take; None or 0: without a limit
    ) -> None:
        self.stop = stop
        self.ends = time.monotonic() + seconds if seconds else None

    def reason(self) -> str | None:  # CANCELED, TIMEDOUT, or None while it may go on
        "Say why the work must end."
        if self.stop.is_set():
            return self.stop.reason() if isinstance(self.stop, Deadline) else "CANCELED"
        return "TIMEDOUT" if self.ends is not None and time.monotonic() >= self.ends else None

    def is_set(self) -> bool:  # Whether the work must end
        "Whether the work must end."
        return self.reason() is not None

    def wait(
        self,
        seconds: float,  # How long to wait at most
        /,
    ) -> bool:  # Whether the work must end
        "Wait, but not longer than until the deadline."
        left = seconds if self.ends is None else max(min(seconds, self.ends - time.monotonic()), 0)
        self.stop.wait(left)
        return self.is_set()
