"Jobs of a bundle, run here: stopped, out of time, refused; and what their updates tell."

import getpass
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from typer.testing import CliRunner

from cdc_local.bundles import run as bundle_runs
from cdc_local.bundles.bundle import load_bundle, local_user
from cdc_local.bundles.run import RunRequest, UpdateFailedError, run_bundle_job, run_pipeline
from cdc_local.cli.exit_status import interruptible
from cdc_local.cli.main import app
from cdc_local.errors import UsageError
from cdc_local.jobs.pipeline_task import UpdateOptions
from cdc_local.jobs.processes import PYTHON, Program
from cdc_local.storage import Storage

JOB = """bundle: {name: naps}
targets: {dev: {mode: development}}
resources:
  jobs:
    nap:
      name: nap
      tasks:
        - {task_key: sleep, max_retries: 3, spark_python_task: {python_file: sleep.py}}
        - {task_key: after, depends_on: [{task_key: sleep}], spark_python_task: {python_file: after.py}}
  pipelines:
    orders: {name: orders, libraries: [{glob: {include: 'etl/**'}}]}
"""


@pytest.fixture
def bundle(tmp_path):
    (tmp_path / "databricks.yml").write_text(JOB)
    (tmp_path / "sleep.py").write_text(
        "import os, pathlib, time\npathlib.Path('pid.new').write_text(str(os.getpid()))\n"
        "os.rename('pid.new', 'pid')\ntime.sleep(30)"
    )
    (tmp_path / "after.py").write_text("open('after', 'w')")
    return tmp_path


def waited(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds() and time.monotonic() < end:
        time.sleep(0.05)
    return holds()


def runs(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("kind", [signal.SIGINT, signal.SIGTERM])
def test_a_job_that_is_stopped_ends_with_its_task(bundle, kind):
    words = ["bundle", "run", "nap", "--bundle", str(bundle), "--storage", str(bundle / "cdc")]
    process = subprocess.Popen(
        [sys.executable, "-c", "from cdc_local.cli.main import main; main()", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert waited((bundle / "pid").is_file), "the task did not start"
        pid = int((bundle / "pid").read_text())
        process.send_signal(kind)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and "interrupted" in err and "Traceback" not in err
    assert "Job nap is CANCELED." in out
    assert waited(lambda: not runs(pid), 10), "the task goes on"
    assert not (bundle / "after").exists()


def pipeline_that_says(monkeypatch, bundle, source):
    "A pipeline whose update is a small program; what was told, and what came out"
    monkeypatch.setattr(bundle_runs, "update_program", lambda *given: Program((*PYTHON, "-c", source)))
    lines, events = [], []
    request = RunRequest(
        load_bundle(bundle, environ={}),
        "orders",
        Storage(bundle / "cdc").create(),
        on_line=lambda *told: lines.append(told),
        on_event=lambda *told: events.append(told),
    )
    return lines, events, lambda: run_pipeline(request, "orders", UpdateOptions(), task_key="build")


def event(kind, **details):
    return json.dumps(
        {
            "id": "e",
            "event_type": kind,
            "timestamp": "2026-01-05T10:00:00+00:00",
            "message": kind,
            "level": "INFO",
            "error": None,
            "origin": json.dumps({"update_id": "u7"}),
            "details": json.dumps({kind: details}),
        }
    )


def test_an_update_tells_its_events_and_what_its_files_print(monkeypatch, bundle):
    ended = event("update_progress", state="COMPLETED")
    source = f"import sys\nprint('3 files')\nprint(42)\nprint({ended!r})\nprint('a warning', file=sys.stderr)"
    lines, events, run = pipeline_that_says(monkeypatch, bundle, source)
    result = run()
    assert (result.update_id, result.state) == ("u7", "COMPLETED")
    assert sorted(lines) == [("build", "3 files"), ("build", "42"), ("build", "a warning")]
    assert [(key, told["event_type"]) for key, told in events] == [("build", "update_progress")]


def test_an_update_that_fails_says_why_and_how_far_it_came(monkeypatch, bundle):
    source = (
        f"import sys\nprint({event('update_progress', state='FAILED')!r})\nsys.exit('error: no column idd')"
    )
    lines, _, run = pipeline_that_says(monkeypatch, bundle, source)
    with pytest.raises(UpdateFailedError, match="no column idd") as failed:
        run()
    assert (failed.value.result.update_id, failed.value.result.state, lines) == ("u7", "FAILED", [])


def test_a_user_without_a_name(monkeypatch):
    def unknown():
        raise KeyError("getpwuid(): uid not found: 4711")

    monkeypatch.setattr(getpass, "getuser", unknown)
    assert local_user().name == "nobody@localhost"


def test_a_job_ends_when_its_time_is_over(bundle):
    text = (
        (bundle / "databricks.yml")
        .read_text()
        .replace("      name: nap\n", "      name: nap\n      timeout_seconds: 1\n")
    )
    (bundle / "databricks.yml").write_text(text)
    done = run_bundle_job(
        RunRequest(load_bundle(bundle, environ={}), "nap", Storage(bundle / "cdc").create())
    )
    assert (done.result, [run.result for run in done.tasks]) == ("TIMEDOUT", ["TIMEDOUT", "UPSTREAM_FAILED"])


def test_a_pipeline_that_is_no_ones_is_told_before_anything_runs(bundle):
    text = (
        (bundle / "databricks.yml")
        .read_text()
        .replace(
            "  pipelines:", "        - {task_key: build, pipeline_task: {pipeline_id: 0f3a}}\n  pipelines:"
        )
    )
    (bundle / "databricks.yml").write_text(text)
    with pytest.raises(UsageError, match="pipeline '0f3a' is not in this bundle"):
        run_bundle_job(RunRequest(load_bundle(bundle, environ={}), "nap", Storage(bundle / "cdc").create()))
    assert not (bundle / "pid").exists()


def test_the_command_passes_its_options_on(monkeypatch, bundle):
    asked = []

    def program(pipeline, options, places):
        asked.append(options)
        return Program((*PYTHON, "-c", f"print({event('update_progress', state='COMPLETED')!r})"))

    monkeypatch.setattr(bundle_runs, "update_program", program)

    def run(*words):
        return CliRunner().invoke(
            app,
            ["bundle", "run", "orders", "--bundle", str(bundle), "--storage", str(bundle / "cdc"), *words],
        )

    done = run("--full-refresh", "items,orders", "--refresh", "days")
    assert done.exit_code == 0 and "Update u7 is COMPLETED." in done.stdout, done.output
    assert run("--full-refresh-all").exit_code == 0
    assert asked == [UpdateOptions(None, False, ("days",), ("items", "orders")), UpdateOptions(None, True)]


def test_the_first_interrupt_stops_and_the_second_interrupts():
    before = [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(KeyboardInterrupt), interruptible() as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop.is_set()
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
    assert [signal.getsignal(kind) for kind in (signal.SIGINT, signal.SIGTERM)] == before
