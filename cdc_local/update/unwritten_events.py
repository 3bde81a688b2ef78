"""Events that have not reached the log's table yet: a file for each running update, which others read as it
grows.

A commit of the table for every event would slow an update down; a line of a file does not.
"""

import json
import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import quote

Event = dict[str, Any]  # A row of the log, with its columns

_LONGEST_NAME = 200  # Characters of an update's id in a file's name


def unwritten_folder(
    log_path: Path,  # Folder of the log's table
) -> Path:  # There while an update runs, or one was killed
    "Where the files are."
    return Path(log_path).parent / "logs" / "events"


class UnwrittenEvents:
    "The file of one update; its name has the update and the process that runs it."

    def __init__(
        self,
        log_path: Path,  # Folder of the log's table
        update_id: str,  # Identifies the update
    ) -> None:
        name = quote(update_id, safe="")[:_LONGEST_NAME]
        self.path = unwritten_folder(log_path) / f"{name}.{os.getpid()}.jsonl"
        self._file: TextIO | None = None

    def add(
        self,
        event: Event,  # An event that was recorded
    ) -> None:
        "Write an event for those who follow the update."
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self.path.open("a", encoding="utf-8")
        line = event | {"timestamp": event["timestamp"].isoformat()}
        self._file.write(json.dumps(line, ensure_ascii=False) + "\n")
        self._file.flush()

    def clear(self) -> None:
        "Remove what has reached the table."
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)
            self._file = None


@dataclass(frozen=True)
class UnwrittenUpdate:
    "What has been recorded of an update and is not in the table."

    is_alive: bool  # Whether the process that runs it is there
    events: list[Event]  # The newest last


def read_unwritten(
    log_path: Path,  # Folder of the log's table
) -> list[UnwrittenUpdate]:  # Of updates that run, and of those that were killed
    "Read the files; a line that is being written is left for the next time."
    files = sorted(unwritten_folder(log_path).glob("*.*.jsonl"))
    return [UnwrittenUpdate(_is_alive(file), _read_lines(file)) for file in files]


def _read_lines(
    file: Path,  # Of one update
) -> list[Event]:
    try:
        text = file.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:  # its events have reached the table meanwhile
        return []
    events = [json.loads(line) for line in text.split("\n")[:-1]]
    return [event | {"timestamp": datetime.fromisoformat(event["timestamp"])} for event in events]


def _is_alive(
    file: Path,  # Of one update
) -> bool:
    number = file.name.split(".")[-2]
    if not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
