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
from cdc_local.bundles.located_values import BundleError
from cdc_local.bundles.run import (
    RunRequest,
    UpdateFailedError,
    build_artifacts,
    find_pipeline_key,
    find_resource_kind,
    load_resource,
    read_job_parameters,
    read_update_options,
    run_bundle_job,
    run_pipeline,
)
from cdc_local.cli.exit_status import interruptible
from cdc_local.cli.main import app
from cdc_local.errors import PipelineError, UsageError
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
    assert done.exit_code == 0 and "Update u7 is COMPLETED, " in done.stdout, done.output
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


# What a job needs before it runs

TOP = """bundle: {name: shop}
include: [resources/*.yml]
artifacts:
  shop: {type: whl, path: .., build: 'echo built > built.txt'}
targets: {dev: {mode: development}}
"""
DAILY = """resources:
  jobs:
    daily:
      name: daily
      parameters: [{name: day, default: '1'}]
      tasks:
        - task_key: load
          spark_python_task: {python_file: ../../etl/load.py, parameters: ['{{job.parameters.day}}']}
        - task_key: report
          depends_on: [{task_key: load}]
          notebook_task: {notebook_path: ../../etl/report.py}
"""
BUILD = """        - task_key: build
          depends_on: [{task_key: load}]
          pipeline_task: {pipeline_id: '${resources.pipelines.orders.id}'}
  pipelines:
    orders: {name: orders, libraries: [{glob: {include: ../../etl/sql/**}}]}
"""


@pytest.fixture
def shop(tmp_path):
    "A clone whose bundle has a job of three tasks and a pipeline; what makes its bundle and its storage."
    files = {
        "bundle/databricks.yml": TOP,
        "bundle/resources/daily.yml": DAILY + BUILD,
        "etl/load.py": "import sys; print('day', sys.argv[1])",
        "etl/report.py": "# Databricks notebook source\nprint('report of day', dbutils.widgets.get('day'))",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def load(folder):
    return load_bundle(folder / "bundle", environ={})


def run(folder, key, **settings):
    return run_bundle_job(RunRequest(load(folder), key, Storage(folder / "cdc").create(), **settings))


def test_a_key_names_a_job_or_a_pipeline(shop):
    assert [find_resource_kind(load(shop), key) for key in ("daily", "orders")] == ["jobs", "pipelines"]
    expected = "bundle shop has no job or pipeline 'dayly'; did you mean daily?"
    with pytest.raises(UsageError) as refused:
        find_resource_kind(load(shop), "dayly")
    assert str(refused.value) == expected


def test_paths_of_a_resource_become_paths_of_this_machine(shop):
    job, pipeline = (
        load_resource(load(shop), "jobs", "daily"),
        load_resource(load(shop), "pipelines", "orders"),
    )
    assert job["tasks"][0]["spark_python_task"]["python_file"] == str(shop / "etl/load.py")
    assert job["tasks"][1]["notebook_task"]["notebook_path"] == str(shop / "etl/report.py")
    assert pipeline["libraries"][0]["glob"]["include"] == str(shop / "etl/sql/**")
    assert job["tasks"][0]["spark_python_task"]["parameters"] == ["{{job.parameters.day}}"]


def test_a_task_updates_a_pipeline_of_the_same_bundle(shop):
    task = load(shop).resources("jobs")["daily"]["tasks"][2]
    assert find_pipeline_key(load(shop), task) == "orders"
    with pytest.raises(UsageError, match="task build: pipeline '0f3a' is not in this bundle"):
        find_pipeline_key(load(shop), {"task_key": "build", "pipeline_task": {"pipeline_id": "0f3a"}})


@pytest.mark.parametrize(
    ("settings", "options"),
    [
        ({"full_refresh_selection": ["items"]}, UpdateOptions(full_refresh_selection=("items",))),
        (
            {"full_refresh": True, "refresh_selection": ["orders"]},
            UpdateOptions(full_refresh=True, refresh_selection=("orders",)),
        ),
        (
            {"parameters": {"day": "2", "city": "Oslo"}},
            UpdateOptions(parameters={"day": "2", "city": "Oslo"}),
        ),
    ],
)
def test_a_task_says_what_it_asks_of_an_update(settings, options):
    assert read_update_options({"pipeline_task": settings}) == options


def test_parameters_of_a_job_have_defaults_and_come_from_the_command_line(shop):
    job = load(shop).resources("jobs")["daily"]
    assert read_job_parameters(job, {}) == {"day": "1"}
    assert read_job_parameters(job, {"day": "2"}) == {"day": "2"}
    with pytest.raises(UsageError, match="job daily has no parameter 'dya'; it has day"):
        read_job_parameters(job, {"dya": "2"})


def test_artifacts_are_built_in_their_folder(shop):
    lines = []
    build_artifacts(load(shop), lines.append)
    assert lines == ["shop: echo built > built.txt"]
    assert (shop / "built.txt").read_text() == "built\n"


def test_a_build_that_fails_says_what_it_printed(shop):
    text = "bundle: {name: b}\nartifacts: {b: {build: 'echo no compiler; exit 3'}}\ntargets: {dev: {}}"
    (shop / "bundle/databricks.yml").write_text(text)
    with pytest.raises(PipelineError) as failed:
        build_artifacts(load(shop))
    expected = "artifact b: `echo no compiler; exit 3` ended with status 3\nno compiler"
    assert str(failed.value) == f"{shop}/bundle/databricks.yml:2: {expected}"


# A job, run


def test_a_job_runs_its_tasks_with_its_parameters(shop):
    (shop / "bundle/resources/daily.yml").write_text(DAILY)
    changes = []
    done = run(
        shop,
        "daily",
        parameters={"day": "3"},
        on_change=lambda task: changes.append(f"{task.task_key} {task.result or task.state}"),
    )
    assert changes == ["load RUNNING", "load SUCCESS", "report RUNNING", "report SUCCESS"]
    assert (done.key, done.result) == ("daily", "SUCCESS")
    assert [task.output for task in done.tasks] == ["day 3", "report of day 3"]
    assert (shop / "cdc/notebooks/daily/report.ipynb").is_file()  # the executed copy


def test_a_task_that_fails_says_why_and_holds_back_what_depends_on_it(shop):
    (shop / "bundle/resources/daily.yml").write_text(DAILY)
    (shop / "etl/load.py").write_text("raise SystemExit('error: the source is down')")
    done = run(shop, "daily")
    assert done.result == "FAILED"
    assert [(task.task_key, task.result, task.message) for task in done.tasks] == [
        ("load", "FAILED", "the source is down"),
        ("report", "UPSTREAM_FAILED", ""),
    ]


RATES = """bundle: {{name: wheel}}
artifacts:
  shop:
    type: whl
    path: ..
    build: 'mkdir -p dist && {python} -m zipfile -c dist/shop-1-py3-none-any.whl shop.py'
targets: {{dev: {{}}}}
resources:
  jobs:
    rates:
      name: rates
      environments: [{{environment_key: default, spec: {{dependencies: [../dist/*.whl]}}}}]
      tasks:
        - task_key: tell
          environment_key: default
          spark_python_task: {{python_file: ../etl/rates.py}}
"""


def test_a_task_runs_with_the_wheel_that_was_just_built(shop):
    (shop / "bundle/databricks.yml").write_text(RATES.format(python=sys.executable))
    (shop / "shop.py").write_text("RATE = 0.19")
    (shop / "etl/rates.py").write_text("import shop; print(shop.RATE)")
    with pytest.raises(BundleError, match=r"\.\./dist/\*\.whl matches 0 wheels; build it first"):
        load_resource(load(shop), "jobs", "rates")
    done = run(shop, "rates")
    assert (done.result, done.tasks[0].output) == ("SUCCESS", "0.19")
    (shop / "dist/shop-2-py3-none-any.whl").write_text("")
    with pytest.raises(BundleError, match=r"\.\./dist/\*\.whl matches 2 wheels; name one"):
        load_resource(load(shop), "jobs", "rates")


REFUSED = """resources:
  jobs:
    daily:
      name: daily
      tasks:
        - {task_key: load, spark_python_task: {python_file: ../../etl/load.py}}
        - {task_key: ask, depends_on: [{task_key: load}], dbt_task: {commands: [dbt run]}}
    linked:
      name: linked
      git_source: {git_url: 'https://git.example.org/shop.git', git_provider: gitLab}
      tasks: [{task_key: load, spark_python_task: {python_file: etl/load.py}}]
"""


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (
            "daily",
            "task ask: dbt_task is not supported by the local runner; it runs notebook_task,"
            " spark_python_task, python_wheel_task, sql_task, pipeline_task, run_job_task,"
            " condition_task and for_each_task",
        ),
        (
            "linked",
            "job linked takes its files from a repository (git_source);"
            " name files of the bundle, to run them here",
        ),
    ],
)
def test_a_job_that_cannot_be_run_here_is_refused_before_its_first_task(shop, key, message):
    (shop / "bundle/resources/daily.yml").write_text(REFUSED)
    changes = []
    with pytest.raises(UsageError) as refused:
        run(shop, key, on_change=changes.append)
    assert str(refused.value) == message
    assert changes == [] and not (shop / "built.txt").exists()


@pytest.mark.parametrize(
    ("state", "ending", "result", "output", "message"),
    [
        ("COMPLETED", "", "SUCCESS", "update u7 is COMPLETED", ""),
        ("FAILED", "import sys; sys.exit('error: no column idd')", "FAILED", "", "no column idd"),
    ],
)
def test_a_task_that_updates_a_pipeline_ends_as_its_update_did(
    monkeypatch, shop, state, ending, result, output, message
):
    source = f"print({event('update_progress', state=state)!r})\n{ending}"
    monkeypatch.setattr(bundle_runs, "update_program", lambda *given: Program((*PYTHON, "-c", source)))
    done = run(shop, "daily")
    task = next(task for task in done.tasks if task.task_key == "build")
    assert (task.result, task.output, task.message) == (result, output, message)
    assert (done.updates["build"].update_id, done.updates["build"].state) == ("u7", state)


# A continuous pipeline

GOES_ON = """import signal, sys, time
def end(*_):
    print('ended', flush=True)
    sys.exit({status})
signal.signal(signal.SIGTERM, end)
print('12:00:07 start: COMPLETED', flush=True)
print('error: one mistake', file=sys.stderr, flush=True)
time.sleep(60)"""


@pytest.fixture
def live(monkeypatch, bundle):
    "A bundle whose pipeline is continuous, with a program in place of its updates; what was asked of it"
    file = bundle / "databricks.yml"
    file.write_text(file.read_text().replace("{name: orders,", "{name: orders, continuous: true,"))
    asked = []

    def begin(status):
        def program(pipeline, options, paths):
            asked.append((pipeline["continuous"], options))
            return Program((*PYTHON, "-c", GOES_ON.replace("{status}", str(status))))

        monkeypatch.setattr(bundle_runs, "update_program", program)
        return asked

    return begin


@pytest.mark.parametrize("status", [0, 130])
@pytest.mark.parametrize(
    "words, output", [([], ()), (["--quiet"], ("--quiet",)), (["--format", "json"], ("--format", "json"))]
)
def test_a_continuous_pipeline_goes_on_until_ctrl_c(live, bundle, monkeypatch, status, words, output):
    asked = live(status)
    run = bundle_runs.run_continuous_pipeline

    def interrupt_then(on_line):
        def line(text):
            on_line(text)
            if "COMPLETED" in text:
                os.kill(os.getpid(), signal.SIGINT)

        return line

    monkeypatch.setattr(
        bundle_runs,
        "run_continuous_pipeline",
        lambda request, stop, on_line, *more: run(request, stop, interrupt_then(on_line), *more),
    )
    folders = ["--bundle", str(bundle), "--storage", str(bundle / "cdc")]
    done = CliRunner().invoke(app, ["bundle", "run", "orders", *folders, "--full-refresh-all", *words])
    assert done.exit_code == status and done.stdout == "12:00:07 start: COMPLETED\nended\n"
    assert done.stderr == "error: one mistake\n"
    assert asked == [(True, UpdateOptions(full_refresh=True, output=output))]


def test_a_continuous_pipeline_that_ends_by_itself_has_failed(live, bundle, monkeypatch):
    live(0)
    source = "import sys; sys.exit('error: storage x is full')"
    monkeypatch.setattr(bundle_runs, "update_program", lambda *given: Program((*PYTHON, "-c", source)))
    done = CliRunner().invoke(
        app, ["bundle", "run", "orders", "--bundle", str(bundle), "--storage", str(bundle / "cdc")]
    )
    assert (done.exit_code, done.stderr) == (1, "error: storage x is full\n")


def test_a_job_does_not_update_a_continuous_pipeline(shop):
    pipeline = (shop / "bundle/resources/daily.yml").read_text()
    (shop / "bundle/resources/daily.yml").write_text(
        pipeline.replace("{name: orders,", "{name: orders, continuous: true,")
    )
    with pytest.raises(
        UsageError, match="task build: pipeline orders is continuous, a job updates triggered"
    ):
        run(shop, "daily")
    assert not (shop / "built.txt").exists()
