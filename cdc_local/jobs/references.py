"""Dynamic value references of a job, as `{{job.id}}`: which there are, and where each may stand.

The list is that of https://docs.databricks.com/aws/en/jobs/dynamic-value-references (2026-11). Braces around
anything else are text there and here, but what begins like a reference and is none is refused.
"""

import difflib
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cdc_local.errors import UsageError

_BRACES = re.compile(r"\{\{([^{}]*)\}\}")

_PART = re.compile(r"\s*(?:`([^`]+)`|(\w+))\s*")

TIME_PARTS = (
    "iso_weekday",
    "is_weekday",
    "iso_date",
    "iso_datetime",
    "year",
    "month",
    "day",
    "hour",
    "minute",
    "second",
    "timestamp_ms",
)  # What a reference may ask of a time, which is in UTC

_NAME = "<name>"  # Stands for any name of the user's

_TIMES = ("job.start_time", "job.trigger.time", "backfill")

_KNOWN = tuple(
    tuple(name.split("."))
    for name in (
        *("job.id", "job.name", "job.run_id", "job.repair_count", f"job.parameters.{_NAME}"),
        *("job.trigger.type", "job.trigger.file_arrival.location"),
        *("job.trigger.table_update.updated_tables",),
        *(f"{time}.{part}" for time in _TIMES for part in TIME_PARTS),
        *("task.name", "task.run_id", "task.execution_count", "task.notebook_path"),
        *(
            f"tasks.{_NAME}.{field}"
            for field in ("run_id", "result_state", "error_code", "execution_count", "notebook_path")
        ),
        *(f"tasks.{_NAME}.values.{_NAME}", f"tasks.{_NAME}.output.rows", f"tasks.{_NAME}.output.first_row"),
        *(f"tasks.{_NAME}.output.first_row.{_NAME}", f"tasks.{_NAME}.output.alert_state"),
        *("workspace.id", "workspace.url", "input", f"input.{_NAME}"),
        # Deprecated, and still filled in
        *("job_id", "run_id", "parent_run_id", "task_key", "task_retry_count", "start_date", "start_time"),
    )
)

_NAMESPACES = ("job", "task", "tasks", "workspace", "input", "backfill")


# How references begin that have a value before any task: a job's parameter may have these
BEFORE_TASKS = ("job", "workspace", "backfill", "job_id", "run_id", "parent_run_id")


@dataclass(frozen=True)
class Reference:
    "One reference that is known."

    written: str  # With its braces, as it stands in the text
    parts: tuple[str, ...]  # `tasks`, `load`, `values`, `rows`

    @property
    def upstream_key(self) -> str | None:
        "The other task that it asks about."
        return self.parts[1] if self.parts[0] == "tasks" else None


def fill_references(
    text: str,  # A value of a task or a parameter
    value: Callable[[Reference], str],  # What a reference stands for
) -> str:
    "Fill in the references of a text; `UsageError` for one that there is not."

    def fill(braces: re.Match[str]) -> str:
        reference = _read_reference(braces[0], braces[1])
        return braces[0] if reference is None else value(reference)

    return _BRACES.sub(fill, text)


def find_references(
    text: str,  # A value of a task or a parameter
) -> list[Reference]:
    "List the references of a text; `UsageError` for one that there is not."
    found = (_read_reference(braces[0], braces[1]) for braces in _BRACES.finditer(text))
    return [reference for reference in found if reference is not None]


def _read_reference(
    written: str,  # With its braces
    inside: str,  # Without
) -> Reference | None:  # None: the braces are text
    "Read what stands in braces; `UsageError` for what begins like a reference and is none."
    first = re.match(r"\s*(\w*)", inside)
    namespace = first[1] if first else ""
    singles = [known[0] for known in _KNOWN if len(known) == 1]
    if namespace not in (*_NAMESPACES, *singles):
        near = difflib.get_close_matches(namespace, _NAMESPACES, 1, 0.75)
        if near and "." in inside:
            raise UsageError(f"{written} is no dynamic value reference", hint=f"did you mean {near[0]}?")
        return None
    parts = _split(inside)
    if parts is None:
        raise UsageError(
            f"{written} is no dynamic value reference",
            hint="a name more than letters, digits and _ stands in backticks: {{tasks.`my-task`.run_id}}",
        )
    if any(_fits(parts, known) for known in _KNOWN):
        return Reference(written, parts)
    raise UsageError(f"{written} is no dynamic value reference", hint=_suggest(parts))


def _split(
    inside: str,  # What stands between braces
) -> tuple[str, ...] | None:  # None where it is no row of names with dots between them
    "Split a reference at the dots that are not in backticks."
    parts, at = [], 0
    while part := _PART.match(inside, at):
        parts.append(part[1] or part[2])
        at = part.end()
        if at == len(inside):
            return tuple(parts)
        if inside[at] != ".":
            return None
        at += 1
    return None


def _fits(
    parts: tuple[str, ...],  # A reference
    known: tuple[str, ...],  # A form of one
) -> bool:
    return len(parts) == len(known) and all(
        form in (_NAME, part) for part, form in zip(parts, known, strict=True)
    )


def _suggest(
    parts: tuple[str, ...],  # A reference that there is not
) -> str:
    "Say what could have been meant."
    begin = 2 if parts[0] == "tasks" else 1
    forms = {".".join(form[begin:]): ".".join(form) for form in _KNOWN if form[0] == parts[0]}
    near = difflib.get_close_matches(".".join(parts[begin:]), forms, 1)
    if near:
        return f"did you mean {{{{{forms[near[0]]}}}}}?"
    return f"there are {', '.join('{{' + form + '}}' for form in sorted(forms.values()))}"


def walk_texts(
    value: Any,  # Settings of a task's kind, or a part of them
    path: tuple[str | int, ...] = (),  # Where it stands
) -> Iterator[tuple[tuple[str | int, ...], str]]:  # Where each text stands, and the text
    "List the texts in which references may stand."
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk_texts(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from walk_texts(item, (*path, position))
    elif isinstance(value, str):
        yield path, value


def task_kind(
    task: Mapping[str, Any],  # A task, in the shape of the Jobs API
) -> str | None:  # `notebook_task` and the like; None where it has none
    "Tell what kind of task one is."
    return next((name for name in task if name.endswith("_task")), None)
