"""Mistakes in the dynamic value references of a job that can be seen before it runs, each at its place."""

from collections.abc import Iterator, Mapping
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.references import BEFORE_TASKS, Reference, find_references, task_kind, walk_texts
from cdc_local.jobs.scheduler import upstream_keys

Mistake = tuple[tuple[str | int, ...], str]  # Where it stands in the job, and what is wrong


def check_references(
    job: Mapping[str, Any],  # In the shape of the Jobs API
    more_parameters: bool = False,  # Whether a run may bring parameters that the job does not declare
) -> None:
    "Raise `UsageError` for the first mistake."
    for _, message in find_reference_mistakes(job, more_parameters):
        raise UsageError(message)


def find_reference_mistakes(
    job: Mapping[str, Any],  # In the shape of the Jobs API; its tasks can be put in an order
    more_parameters: bool = False,  # Whether a run may bring parameters that the job does not declare
) -> Iterator[Mistake]:
    "Find references that there are not, and those to what a task cannot know."
    for position, parameter in enumerate(job.get("parameters") or ()):
        for reference, message in _read(parameter.get("default")):
            if reference is not None and reference.parts[0] not in BEFORE_TASKS:
                message = (
                    f"{reference.written} stands in a parameter of the job, which begins before any task"
                )
            if message:
                yield ("parameters", position, "default"), f"parameter {parameter.get('name')}: {message}"
    tasks = {task["task_key"]: task for task in job.get("tasks") or ()}
    declared = [parameter.get("name") for parameter in job.get("parameters") or ()]
    parameters = None if more_parameters else declared
    for position, task in enumerate(tasks.values()):
        scope = _Scope(tasks, parameters, _list_upstream(tasks, task["task_key"]))
        for path, message in scope.mistakes(task):
            yield ("tasks", position, *path), f"task {task['task_key']}: {message}"


def _list_upstream(
    tasks: Mapping[str, Mapping[str, Any]],  # All tasks, by key
    key: str,  # One of them
) -> set[str]:  # Keys of the tasks that end before it
    "List what a task depends on, and what that depends on."
    found: set[str] = set()
    waiting = [key]
    while waiting:
        new = {upstream for upstream in upstream_keys(tasks[waiting.pop()]) if upstream in tasks} - found
        found |= new
        waiting += new
    return found


def _read(
    text: Any,  # A setting
) -> Iterator[tuple[Reference | None, str]]:  # Each reference, or why one is none
    "Read the references of a setting."
    if not isinstance(text, str):
        return
    try:
        yield from ((reference, "") for reference in find_references(text))
    except UsageError as error:
        yield None, str(error)


class _Scope:
    "What the references of one task may name."

    def __init__(
        self,
        tasks: Mapping[str, Mapping[str, Any]],  # All tasks of the job, by key
        parameters: list[Any] | None,  # Names of the job's parameters; None: there may be any
        upstream: set[str],  # Keys of the tasks that end before it
    ) -> None:
        self.tasks, self.parameters, self.upstream = tasks, parameters, upstream

    def mistakes(
        self,
        task: Mapping[str, Any],  # A task
        in_loop: bool = False,  # Whether it is the task of a `for_each_task`
    ) -> Iterator[Mistake]:
        "Find what is wrong in the references of a task."
        kind = task_kind(task)
        settings = task.get(kind) if kind else None
        if kind is None or not isinstance(settings, dict):
            return
        nested = settings.get("task") if kind == "for_each_task" else None
        own = {name: value for name, value in settings.items() if value is not nested}
        for path, text in walk_texts(own, (kind,)):
            for reference, message in _read(text):
                message = message or (self._mistake(reference, in_loop) if reference else "")
                if message:
                    yield path, message
        if isinstance(nested, dict):
            yield from (
                ((kind, "task", *path), message) for path, message in self.mistakes(nested, in_loop=True)
            )

    def _mistake(self, reference: Reference, in_loop: bool) -> str:
        "Say why a task cannot know what a reference names; empty where it can."
        if reference.parts[0] == "input" and not in_loop:
            return f"{reference.written} stands outside the task of a for_each_task"
        if reference.parts[:2] == ("job", "parameters") and self.parameters is not None:
            known, name = ", ".join(map(str, self.parameters)) or "none", reference.parts[2]
            missing = f"{reference.written}: the job has no parameter {name!r}; it has {known}"
            return "" if name in self.parameters else missing
        key = reference.upstream_key
        if key is None:
            return ""
        if key not in self.tasks:
            return f"{reference.written}: the job has no task {key!r}; it has {', '.join(self.tasks)}"
        if key not in self.upstream:
            return f"{reference.written}: it does not depend on {key}, which may end later; add a depends_on"
        if reference.parts[2] == "output" and "sql_task" not in self.tasks[key]:
            return f"{reference.written}: {key} is no sql_task, and only that has rows"
        return ""
