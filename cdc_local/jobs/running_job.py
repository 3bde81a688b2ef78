"""A run of a job while it goes on: what its references stand for, what its tasks leave for one another."""

import hashlib
import json
import threading
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.references import BEFORE_TASKS, Reference, fill_references, task_kind
from cdc_local.source.task_values import TaskValues
from cdc_local.storage import Storage, read_json
from cdc_utils.results import TaskRun


def stable_number(
    text: str,  # What has a number
) -> int:  # At most 2**52, which JSON carries exactly
    "Number something by its name: the same number in every process."
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) >> 12


def workspace_number(
    storage: Storage,  # The folder that stands for a workspace
) -> int:
    "Number a workspace."
    return stable_number(str(storage.root))


NO_INPUT = object()  # Stands for the input of a task that is no iteration

_HANDED_DOWN = {
    "notebook_task": "base_parameters",
    "python_wheel_task": "named_parameters",
    "sql_task": "parameters",
}  # Kind of a task that takes parameters by name -> where it has them


@dataclass(frozen=True)
class JobFacts:
    "What references may ask of a job and its run, beside its parameters."

    job_id: int  # Of the job
    run_id: int  # Of the run
    name: str  # Of the job
    started: datetime  # When the run began, with its zone
    workspace_id: int = 0  # Of the workspace
    workspace_url: str = ""  # Its address
    trigger: str = "one_time"  # What started it: `one_time`, or `run_job_task`


class RunningJob:
    "A run of a job: fills in the references of its tasks as each is about to start."

    def __init__(
        self,
        facts: JobFacts,  # Of the job and the run
        tasks: list[dict[str, Any]],  # In the shape of the Jobs API
        parameters: Mapping[str, str],  # Of the run; see `fill_parameters`
        folder: Path,  # Where tasks leave what others read; it outlives none of them
        number: Callable[[], int],  # Makes the id of a task's run
        run_ids: Mapping[str, int] | None = None,  # Ids that are known already, by key
    ) -> None:
        self.facts = facts
        self.folder = folder
        self.values = TaskValues(folder / "values")
        self.filled: dict[str, dict[str, Any]] = {}  # Tasks as their newest attempts run them, by key
        self._tasks = {task["task_key"]: task for task in tasks}
        self._runs: dict[str, TaskRun] = {}
        self._number, self._run_ids = number, dict(run_ids or {})
        self._lock = threading.Lock()
        self.parameters = dict(parameters)

    def note(
        self,
        run: TaskRun,  # A task that has changed
    ) -> None:
        "Remember how far a task is, for those that ask about it."
        self._runs[run.task_key] = run

    def run_id(
        self,
        key: str,  # Of a task, or `loop[0]` of an iteration
    ) -> int:
        "Give the run of a task its id, which stays."
        with self._lock:
            if key not in self._run_ids:
                self._run_ids[key] = self._number()
            return self._run_ids[key]

    def rows_path(
        self,
        key: str,  # Of a SQL task
    ) -> Path:  # A JSON file: a list of rows, each a mapping
        "Say where a SQL task leaves its rows."
        return self.folder / "rows" / f"{key}.json"

    def fill(
        self,
        task: dict[str, Any],  # A task
        key: str,  # Its key; of an iteration `loop[0]`
        attempt: int = 1,  # Counted from 1
        item: Any = NO_INPUT,  # Of an iteration: what it works on
    ) -> dict[str, Any]:  # The same task as it is run
        "Fill in a task's references, and hand the parameters of the job down to it; `UsageError`."

        def text(reference: Reference) -> str:
            value = self._value_in_task(reference, task, key, attempt, item)
            if kind == "condition_task" and not isinstance(value, (str, int, float)):
                raise UsageError(
                    f"task {task['task_key']}: {reference.written} is {_as_text(value)}",
                    hint="a condition compares texts, numbers, true and false",
                )
            return _as_text(value)

        kind = task_kind(task)
        if kind is None:
            return task
        settings = _fill_texts(task[kind], text)
        names = _HANDED_DOWN.get(kind)
        if names is not None and not (kind == "python_wheel_task" and settings.get("parameters")):
            settings = settings | {names: (settings.get(names) or {}) | self.parameters}
        self.filled[key] = task | {kind: settings}
        return self.filled[key]

    def fill_text(
        self,
        text: str,  # A setting of a task
        task: dict[str, Any],  # The task
        attempt: int = 1,  # Counted from 1
    ) -> str:
        "Fill in the references of one text; `UsageError`."
        key = task["task_key"]
        return fill_references(
            text,
            lambda reference: _as_text(self._value_in_task(reference, task, key, attempt, NO_INPUT)),
        )

    def _value_in_task(
        self, reference: Reference, task: dict[str, Any], key: str, attempt: int, item: Any
    ) -> Any:
        "Look up what a reference in a task names."
        parts = reference.parts
        match parts:
            case ("task", "name") | ("task_key",):
                return task["task_key"]
            case ("task", "run_id") | ("run_id",):
                return self.run_id(key)
            case ("task", "execution_count"):
                return attempt
            case ("task_retry_count",):
                return attempt - 1
            case ("task", "notebook_path"):
                return (task.get("notebook_task") or {}).get("notebook_path", "")
            case ("input", *names):
                return _part_of_input(reference, item, names)
            case ("tasks", *_):
                return self._value_of_task(reference)
            case ("job", "parameters", name):
                return _entry(reference, self.parameters, name, "the job has")
        return _value_of_job(self.facts, reference)

    def _value_of_task(self, reference: Reference) -> Any:
        "Look up what names another task, which has ended."
        _, key, field, *names = reference.parts
        run = self._runs.get(key)
        if run is None or run.state != "TERMINATED":
            raise UsageError(
                f"{reference.written}: {key} has not ended"
                if key in self._tasks
                else f"{reference.written}: the job has no task {key!r}",
                hint="name a task that this one depends on",
            )
        match field:
            case "values":
                return _entry(reference, self.values.read(key), names[0], f"task {key} has set")
            case "output":
                return self._output_of_task(reference, key, names)
            case "run_id":
                return self.run_id(key)
            case "result_state":
                return str(run.result).lower()
            case "error_code":
                return "RunExecutionError" if run.result in ("FAILED", "TIMEDOUT") else ""
            case "execution_count":
                return run.attempt
        return (self._tasks[key].get("notebook_task") or {}).get("notebook_path", "")

    def _output_of_task(self, reference: Reference, key: str, names: list[str]) -> Any:
        "Look up rows of a SQL task."
        rows = read_json(self.rows_path(key))
        if rows is None or names == ["alert_state"]:
            raise UsageError(
                f"{reference.written}: task {key} has left no rows", hint="name a sql_task with a query"
            )
        if names == ["rows"]:
            return rows
        if not rows:
            raise UsageError(f"{reference.written}: the query of task {key} has found no row")
        first = rows[0]
        return first if names == ["first_row"] else _entry(reference, first, names[1], "the row has")


def _value_of_job(
    facts: JobFacts,  # Of the job and the run
    reference: Reference,  # To the job, its run or the workspace
) -> Any:
    "Look up what a reference names, whatever task it stands in."
    match reference.parts:
        case ("job", "start_time" | "trigger", *_, part) if part in _TIMES:
            return _TIMES[part](facts.started.astimezone(UTC))
        case ("start_date",):
            return _TIMES["iso_date"](facts.started.astimezone(UTC))
        case ("start_time",):
            return _TIMES["timestamp_ms"](facts.started)
    known = {
        ("job", "id"): facts.job_id,
        ("job_id",): facts.job_id,
        ("job", "run_id"): facts.run_id,
        ("run_id",): facts.run_id,
        ("parent_run_id",): facts.run_id,
        ("job", "name"): facts.name,
        ("job", "repair_count"): 0,
        ("job", "trigger", "type"): facts.trigger,
        ("workspace", "id"): facts.workspace_id,
        ("workspace", "url"): facts.workspace_url,
    }
    if reference.parts in known:
        return known[reference.parts]
    raise UsageError(
        f"{reference.written} has a value where a trigger or a backfill starts the run: none does here",
        hint="name a parameter of the job, and give it a value: --param NAME=VALUE",
    )


def fill_parameters(
    facts: JobFacts,  # Of the job and the run
    parameters: Mapping[str, str],  # Of the run
) -> dict[str, str]:
    "Fill in the references in a job's parameters; `UsageError`, also for one to a task: none has begun."

    def text(reference: Reference) -> str:
        if reference.parts[0] not in BEFORE_TASKS:
            raise UsageError(f"{reference.written} stands in a parameter, and the job begins before any task")
        return _as_text(_value_of_job(facts, reference))

    return {name: fill_references(value, text) for name, value in parameters.items()}


def hand_down(
    running: RunningJob,  # A run with a task that runs another job
    given: Mapping[str, str] | None,  # `job_parameters` of the task
    declared: Collection[str],  # Parameters that the other job has
) -> dict[str, str]:  # What the other job is run with
    "Hand parameters down to another job; those of this job win."
    own = {name: value for name, value in running.parameters.items() if name in declared}
    return dict(given or {}) | own


_TIMES: dict[str, Callable[[datetime], Any]] = {
    "iso_weekday": lambda time: time.isoweekday(),
    "is_weekday": lambda time: time.isoweekday() < 6,
    "iso_date": lambda time: time.date().isoformat(),
    "iso_datetime": lambda time: time.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    "year": lambda time: time.year,
    "month": lambda time: time.month,
    "day": lambda time: time.day,
    "hour": lambda time: time.hour,
    "minute": lambda time: time.minute,
    "second": lambda time: time.second,
    "timestamp_ms": lambda time: int(time.timestamp() * 1000),
}


def _fill_texts(
    value: Any,  # Settings of a task, or a part of them
    text: Callable[[Reference], str],  # What a reference stands for
) -> Any:
    "Fill in references, wherever they stand."
    if isinstance(value, dict):
        return {name: _fill_texts(part, text) for name, part in value.items()}
    if isinstance(value, list):
        return [_fill_texts(part, text) for part in value]
    return fill_references(value, text) if isinstance(value, str) else value


def _as_text(
    value: Any,  # What a reference stands for
) -> str:
    "Write a value as text: a text as it is, all else as JSON."
    return value if isinstance(value, str) else json.dumps(value)


def _part_of_input(
    reference: Reference,  # `{{input}}`, or `{{input.key}}`
    item: Any,  # What the iteration works on
    names: list[str],  # The key, if any
) -> Any:
    "Take an iteration's input, or a value of it."
    if item is NO_INPUT:
        raise UsageError(
            f"{reference.written} stands outside the task of a for_each_task",
            hint="only iterations have inputs",
        )
    return _entry(reference, item, names[0], "the input has") if names else item


def _entry(
    reference: Reference,  # Names an entry
    values: Any,  # A mapping, or anything else
    name: str,  # Of the entry
    owner: str,  # Who has them, for the message: `the row has`
) -> Any:
    "Take an entry by its name; `UsageError` where there is none."
    if isinstance(values, dict) and name in values:
        return values[name]
    known = ", ".join(values) if isinstance(values, dict) else _as_text(values)
    raise UsageError(f"{reference.written}: there is no {name!r}", hint=f"{owner} {known or 'nothing'}")
