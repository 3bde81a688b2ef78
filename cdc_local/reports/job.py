"""One heading per task, what it printed, how it ended; the flows of a pipeline as they go."""

from dataclasses import asdict

from rich.console import Console

from cdc_local.delta.reader import json_text
from cdc_local.reports.update import Progress, format_number, plain_table
from cdc_utils.results import TaskRun


class JobProgress:
    "Shows a job while it runs; give its methods to a run."

    def __init__(
        self,
        console: Console,  # Where to show it
        style: str = "auto",  # `live`, `lines`, `json`, `quiet`; `auto` is live in a terminal, else lines
        tasks: int = 1,  # How many tasks the job has
    ):
        self.console, self.tasks, self.begun = console, tasks, 0
        self.style = ("live" if console.is_terminal else "lines") if style == "auto" else style
        self._status, self._updates = None, None

    def __enter__(self):
        if self.style == "live":
            self._status = self.console.status("")
            self._status.start()
        return self

    def __exit__(self, *_):
        if self._status:
            self._status.stop()
        if self._updates:
            self._updates.__exit__()
        self._status = self._updates = None

    def line(
        self,
        task_key: str,  # The task; empty for what comes before the first one
        text: str,  # What it is at
    ) -> None:
        "Take a line that a task tells while it runs."
        if not task_key and self.style in ("live", "lines"):
            self.console.print(text, markup=False)
        elif self._status:
            self._status.update(f"{task_key}: {text}")

    def event(
        self,
        task_key: str,  # The task
        event: dict,  # An event of its update
    ) -> None:
        "Take an event of a pipeline's update."
        if self._updates is None:
            if self._status:
                self._status.stop()  # a terminal has room for one thing that moves
            self._status, self._updates = None, Progress(self.console, self.style).__enter__()
        self._updates(event)

    def change(
        self,
        run: TaskRun,  # What has become of a task
    ) -> None:
        "Take a change of a task."
        if self.style == "json":
            return print(json_text(asdict(run)), file=self.console.file, flush=True)
        if self.style == "quiet":
            return
        if run.state == "RUNNING" and run.attempt == 1:
            self.begun += 1
            self.console.rule(f"{self.begun} of {self.tasks}  {run.task_key}", align="left")
        elif run.state == "WAITING_FOR_RETRY":
            self.console.print(f"{run.task_key}: attempt {run.attempt} failed: {run.message}", markup=False)
        elif run.state == "TERMINATED":
            self.console.print(describe_ending(run), markup=False)


def describe_ending(
    run: TaskRun,  # A task that has ended
) -> str:
    "What a task printed, and how it ended."
    took = f" after {run.ended - run.started:.1f} s" if run.started is not None else ""
    return "\n".join(
        filter(None, [run.output if run.result == "SUCCESS" else "", f"{run.task_key}: {run.result}{took}"])
    )


def tasks_table(
    runs,  # `TaskRun`s
):  # A rich table, one line per task
    "The tasks of a job that has ended."

    def seconds(run):
        return (
            format_number(run.ended - run.started, 1)
            if run.started is not None and run.ended is not None
            else ""
        )

    def words(run):
        return run.message.splitlines()[0] if run.message else ""

    return plain_table(
        "",
        ("Task", "Result", ">Attempts", ">Seconds", "Message"),
        [
            (run.task_key, run.result or run.state, str(run.attempt or ""), seconds(run), words(run))
            for run in runs
        ],
    )
