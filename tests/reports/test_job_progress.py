"A job as it is shown: its tasks, the flows of its pipelines, and each style of showing it."

import io
import json

from cdc_local.reports.job import JobProgress, describe_ending, tasks_table
from cdc_local.reports.tables import make_console
from cdc_utils.results import TaskRun

FAILED = TaskRun("load", "TERMINATED", "FAILED", 2, 10.0, 12.5, "no such file\nand more")
LEFT_OUT = TaskRun("report", "TERMINATED", "UPSTREAM_FAILED")


def shown(show, style="auto", tasks=1):
    "Show a job; the lines that a pipe receives."
    file = io.StringIO()
    with JobProgress(make_console(file), style, tasks) as progress:
        show(progress)
    return file.getvalue().splitlines()


def show_tasks(progress):
    progress.show_line("", "cdc_utils: make wheel")
    progress.show_task(TaskRun("load", "RUNNING", attempt=1))
    progress.show_line("load", "cell 3 of 16")
    progress.show_task(TaskRun("load", "WAITING_FOR_RETRY", attempt=1, message="the source is down"))
    progress.show_task(TaskRun("load", "RUNNING", attempt=2))
    progress.show_task(TaskRun("load", "TERMINATED", "SUCCESS", 2, 10.0, 12.5, output="500 rows"))
    progress.show_task(LEFT_OUT)


def test_a_task_has_a_heading_its_failed_attempts_what_it_printed_and_its_end():
    lines = [line.rstrip(" ─") for line in shown(show_tasks, tasks=2)]
    assert lines == [
        "cdc_utils: make wheel",
        "1 of 2  load",
        "load: attempt 1 failed: the source is down",
        "500 rows",
        "load: SUCCESS after 2.5 s",
        "report: UPSTREAM_FAILED",
    ]


def test_quiet_shows_nothing_of_a_job():
    assert shown(show_tasks, "quiet") == []


def test_the_output_of_an_attempt_before_is_not_shown_for_a_task_that_failed():
    run = TaskRun("load", "TERMINATED", "FAILED", output="of an attempt before")
    assert describe_ending(run) == "load: FAILED"


def test_flows_of_a_pipeline_are_shown_as_those_of_an_update(flow_event):
    def show(progress):
        for status, rows in (("RUNNING", 5), ("COMPLETED", 5)):
            progress.show_event("build", flow_event("orders", status, 0, rows))

    assert [line.split() for line in shown(show)] == [
        ["orders", "RUNNING"],
        ["orders", "COMPLETED", "10", "rows,", "0.0", "s"],
    ]


def test_for_a_program_each_change_of_a_task_and_each_event_is_a_line_of_json(flow_event):
    def show(progress):
        progress.show_task(FAILED)
        progress.show_event("build", flow_event("orders", "RUNNING", 0))

    task, event = map(json.loads, shown(show, "json"))
    assert task == {
        "task_key": "load",
        "state": "TERMINATED",
        "result": "FAILED",
        "attempt": 2,
        "started": 10.0,
        "ended": 12.5,
        "message": "no such file\nand more",
        "output": "",
    }
    assert event["event_type"] == "flow_progress"


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_terminal_shows_what_a_task_does_just_now(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    file = Terminal()
    with JobProgress(make_console(file)) as progress:
        progress.show_line("load", "cell 3 of 16")
        assert progress.style == "live"
    assert "load: cell 3 of 16" in file.getvalue()


def test_tasks_of_a_job_are_a_table(printed):
    lines = [line.split() for line in printed(tasks_table([FAILED, LEFT_OUT])) if line]
    assert lines[0] == ["Task", "Result", "Attempts", "Seconds", "Message"]
    assert lines[2:] == [
        ["load", "FAILED", "2", "2.5", "no", "such", "file"],
        ["report", "UPSTREAM_FAILED"],
    ]
