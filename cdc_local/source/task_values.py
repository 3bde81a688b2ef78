"""`dbutils.jobs.taskValues`: what a task of a job leaves for the tasks after it, one file a task."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from cdc_local.errors import UsageError
from cdc_local.storage import read_json, write_json

_LIMIT = 48 * 1024  # Bytes of a value as JSON, on Databricks


class TaskValues:
    "The values of one run of a job, in a folder of its own."

    def __init__(
        self,
        folder: Path,  # One file for each task that has set a value
    ) -> None:
        self.folder = folder

    def read(
        self,
        task_key: str,  # A task
    ) -> dict[str, Any]:  # Key -> value; empty where it has set none
        "Read what a task has set."
        return read_json(self._path(task_key)) or {}

    def add(
        self,
        task_key: str,  # The task that sets it
        key: str,  # Its name
        value: Any,  # Anything that JSON can say
    ) -> None:
        "Keep a value; `UsageError` for one that is no JSON, or too long, and a key that is no text."
        if not isinstance(key, str):
            raise UsageError(f"dbutils.jobs.taskValues.set: the key is {key!r}", hint="name it by a text")
        try:
            size = len(json.dumps(value, allow_nan=False).encode())
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"dbutils.jobs.taskValues.set({key!r}): {error}",
                hint="a value is what JSON can say: a text, a number, true or false, a list, a mapping",
            ) from None
        if size > _LIMIT:
            raise UsageError(
                f"dbutils.jobs.taskValues.set({key!r}): {size:,} bytes of JSON; 48 KiB are the limit",
                hint="write it to a table or a volume, and set its name",
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self._path(task_key), self.read(task_key) | {key: value})

    def clear(
        self,
        task_key: str,  # A task
    ) -> None:
        "Forget what an earlier attempt at a task has set."
        self._path(task_key).unlink(missing_ok=True)

    def _path(self, task_key: str) -> Path:
        return self.folder / f"{quote(task_key, safe='')}.json"


class _TaskValuesOfTask:
    "`dbutils.jobs.taskValues` of one task; of none in a notebook that no job runs."

    def __init__(self, values: TaskValues | None, task_key: str) -> None:
        self._values, self._task_key = values, task_key

    def set(
        self,
        key: str,  # Its name
        value: Any,  # Anything that JSON can say
    ) -> None:
        """Leave a value to the tasks after this one. Without a job there are none, and nothing is kept."""
        if self._values is not None:
            self._values.add(self._task_key, key, value)

    def get(
        self,
        taskKey: str,  # noqa: N803 (its name on Databricks): the task that has set it
        key: str,  # Its name
        default: Any = None,  # Its value where that task has set none
        debugValue: Any = None,  # noqa: N803 (its name on Databricks): its value without a job
    ) -> Any:
        """Read a value; `TypeError` without a job and a `debugValue`, `ValueError` where there is none."""
        call = f"dbutils.jobs.taskValues.get({taskKey!r}, {key!r})"
        if self._values is None:
            if debugValue is None:
                raise TypeError(f"{call}: no job runs this notebook; give a debugValue")
            return debugValue
        known = self._values.read(taskKey)
        if key in known:
            return known[key]
        if default is None:
            raise ValueError(f"{call}: it has set {', '.join(known) or 'nothing'}; give a default")
        return default


class Jobs:
    """`dbutils.jobs`: what tasks of a job tell one another."""

    def __init__(
        self,
        values: TaskValues | None = None,  # Of the run; None: no job runs this
        task_key: str = "",  # The task that runs
    ) -> None:
        self.taskValues = _TaskValuesOfTask(values, task_key)
