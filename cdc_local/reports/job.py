"""A job as it runs: one heading a task, what it printed, how it ended, and the flows of its pipelines."""

from collections.abc import Iterable
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.status import Status
from rich.table import Table

from cdc_local.delta.rows import format_json
from cdc_local.reports.tables import format_number, plain_table
from cdc_local.reports.update import UpdateProgress
from cdc_utils.results import TaskRun


class JobProgress:
    "Shows a job while it runs; give `show_line`, `show_event` and `show_task` to whatever runs it."

    def __init__(
        self,
        console: Console,  # Where to show it
        style: str = "auto",  # `live`, `lines`, `json`, `quiet`; `auto` is live in a terminal, else lines
        tasks: int = 1,  # How many tasks the job has
    ) -> None:
        self.console, self.tasks, self.begun = console, tasks, 0
        self.style = ("live" if console.is_terminal else "lines") if style == "auto" else style
        self._status: Status | None = None  # The line of a terminal that is written over
        self._update: UpdateProgress | None = None  # Flows, once a pipeline sends events
        self.update_seconds: float | None = None  # How long its last update took

    def __enter__(self) -> Self:
        if self.style == "live":
            self._status = self.console.status("")
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status:
            self._status.stop()
        if self._update:
            self._update.__exit__(kind, error, traceback)
            self.update_seconds = self._update.seconds()
        self._status = self._update = None

    def show_line(
        self,
        task_key: str,  # The task; empty for what comes before the first one
        text: str,  # What it does just now
    ) -> None:
        "Show a line that a task prints while it runs: only in a terminal, where the next one replaces it."
        if not task_key and self.style in ("live", "lines"):
            self.console.print(text, markup=False)
        elif self._status:
            self._status.update(f"{task_key}: {text}")

    def show_event(
        self,
        task_key: str,  # The task
        event: dict[str, Any],  # An event of its update
    ) -> None:
        "Show an event of a pipeline's update."
        if self._update is None:
            if self._status:
                self._status.stop()  # a terminal has room for one thing that moves
            self._status, self._update = None, UpdateProgress(self.console, self.style).__enter__()
        self._update.show_event(event)

    def show_task(
        self,
        run: TaskRun,  # A task that has changed
    ) -> None:
        "Show that a task begins, waits for its next attempt, or has ended."
        if self.style == "json":
            print(format_json(asdict(run)), file=self.console.file, flush=True)
        elif self.style == "quiet":
            return
        elif run.state == "RUNNING" and run.attempt == 1:
            is_inner = any(mark in run.task_key for mark in "[/")  # an iteration, or a task of another job
            self.begun += not is_inner
            number = "" if is_inner else f"{self.begun} of {self.tasks}  "
            self.console.rule(number + run.task_key, align="left", characters="·" if is_inner else "─")
        elif run.state == "WAITING_FOR_RETRY":
            self.console.print(f"{run.task_key}: attempt {run.attempt} failed: {run.message}", markup=False)
        elif run.state == "TERMINATED":
            self.console.print(describe_ending(run), markup=False)


def describe_ending(
    run: TaskRun,  # A task that has ended
) -> str:
    "Write what a task printed, and how it ended."
    seconds = _task_seconds(run)
    took = "" if seconds is None else f" after {seconds:.1f} s"
    output = run.output if run.result == "SUCCESS" else ""
    return "\n".join(filter(None, [output, f"{run.task_key}: {run.result}{took}"]))


def _task_seconds(
    run: TaskRun,  # A task
) -> float | None:  # None for one that never ran, and one that runs
    "How long a task took."
    return None if run.started is None or run.ended is None else run.ended - run.started


def tasks_table(
    runs: Iterable[TaskRun],  # Tasks of a job that has ended
) -> Table:  # One line a task
    "Make a table of how each task ended."
    rows = [
        (
            run.task_key,
            run.result or run.state,
            str(run.attempt or ""),
            format_number(_task_seconds(run), 1),
            run.message.splitlines()[0] if run.message else "",
        )
        for run in runs
    ]
    return plain_table("", ("Task", "Result", ">Attempts", ">Seconds", "Message"), rows)
