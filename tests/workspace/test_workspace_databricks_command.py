"The `databricks` command against the workspace, where it is installed"

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from served_workspace import TOKEN, files_in, make_volume

from cdc_local.bundles.bundle import load_bundle
from cdc_local.bundles.check import bundle_problems

ROOT = Path(__file__).parents[2]


DATABRICKS = shutil.which("databricks")


HOST_OF_LINKS = re.compile(r"http://127\.0\.0\.1:\d+/")


needs_databricks = pytest.mark.skipif(
    DATABRICKS is None, reason="the `databricks` command is not on the PATH; it is in no package registry"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "A copy of the clone with its wheel: a deployment writes beside the bundles"
    folder = tmp_path_factory.mktemp("project") / "clone"
    shutil.copytree(
        ROOT,
        folder,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", ".cache", "build", "dist", "__pycache__", ".hypothesis", ".cdc", ".databricks"
        ),
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "tools/wheel.py", "dist"], cwd=folder, check=True, capture_output=True)
    return folder


def databricks_environ(running, home):
    "The command's own settings and cache lie in a folder of the test"
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "BUNDLE_"))
    }
    return env | {
        "DATABRICKS_HOST": running.host,
        "DATABRICKS_TOKEN": TOKEN,
        "DATABRICKS_BUNDLE_ENGINE": "direct",
        "DATABRICKS_CONFIG_FILE": os.devnull,
        "HOME": str(home),
    }


def databricks(running, home, folder, *argv):
    "What the command prints"
    done = subprocess.run(
        [DATABRICKS, *argv], cwd=folder, env=databricks_environ(running, home), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


@needs_databricks
@pytest.mark.parametrize("target", ["dev", "staging", "prod"])
def test_the_bundles_are_deployed_and_destroyed(running, w, project, tmp_path, target):
    def cli(bundle, *argv):
        return databricks(running, tmp_path, project / "bundles" / bundle, "bundle", *argv, "-t", target)

    def schemas():
        return [each for named in w.catalogs.list() for each in w.schemas.list(named.name)]

    for bundle in ("foundation", "app"):
        cli(bundle, "validate", "--strict")
        assert " 0 to add" not in cli(bundle, "plan")
        cli(bundle, "deploy")
        assert "0 to add, 0 to change, 0 to delete" in cli(bundle, "plan")
        assert HOST_OF_LINKS.search(cli(bundle, "summary")) or bundle == "foundation"
    (schema,) = schemas()
    assert (
        len(list(w.volumes.list(schema.catalog_name, schema.name))) == 2
        and len(list(w.jobs.list())) == len(list(w.pipelines.list_pipelines())) == 1
    )
    (job,) = w.jobs.list(expand_tasks=True)
    for task in job.settings.tasks:
        if task.notebook_task:
            assert w.workspace.get_status(task.notebook_task.notebook_path).object_type.value == "NOTEBOOK"
    for bundle in ("app", "foundation"):
        cli(bundle, "destroy", "--auto-approve")
    assert not [*schemas(), *w.jobs.list(), *w.pipelines.list_pipelines()]


@needs_databricks
def test_a_deployment_that_was_killed_is_mended_by_the_next(running, w, project, tmp_path):
    folder = project / "bundles/app"
    databricks(running, tmp_path, project / "bundles/foundation", "bundle", "deploy", "-t", "staging")
    killed = 0
    for tenths in range(1, 30):
        deploying = subprocess.Popen(
            [DATABRICKS, "bundle", "deploy", "-t", "staging", "--force-lock"],
            cwd=folder,
            env=databricks_environ(running, tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deploying.wait(tenths / 10)
        except subprocess.TimeoutExpired:
            os.killpg(deploying.pid, signal.SIGKILL)
            deploying.wait()
            killed += 1
        else:
            break
    assert killed > 2
    databricks(
        running, tmp_path, folder, "bundle", "deploy", "-t", "staging", "--force-lock"
    )  # a killed one still has the lock; a job that it made and could not note down stays beside the new one
    assert "0 to add, 0 to change, 0 to delete" in databricks(
        running, tmp_path, folder, "bundle", "plan", "-t", "staging"
    )
    state = json.loads(
        databricks(running, tmp_path, folder, "bundle", "summary", "-t", "staging", "--output", "json")
    )["resources"]
    ((pipeline,), (job,)) = ([made["id"] for made in state[kind].values()] for kind in ("pipelines", "jobs"))
    (wheel,) = w.pipelines.get(pipeline).spec.environment.dependencies
    assert w.files.download(wheel).contents.read() == (project / "dist" / Path(wheel).name).read_bytes()
    assert [
        task.pipeline_task.pipeline_id for task in w.jobs.get(int(job)).settings.tasks if task.pipeline_task
    ] == [pipeline]
    for bundle in ("app", "foundation"):
        databricks(
            running,
            tmp_path,
            project / "bundles" / bundle,
            "bundle",
            "destroy",
            "-t",
            "staging",
            "--auto-approve",
        )


@needs_databricks
def test_the_command_copies_files(running, w, tmp_path):
    place = "dbfs:" + make_volume(w)
    (tmp_path / "day/deep").mkdir(parents=True)
    (tmp_path / "day/1.json").write_text("one")
    (tmp_path / "day/deep/2.json").write_text("two")

    def cli(*argv):
        return databricks(running, tmp_path, tmp_path, "fs", *argv)

    cli("cp", "-r", str(tmp_path / "day"), f"{place}/day")
    assert (
        sorted(cli("ls", f"{place}/day").split()) == ["1.json", "deep"]
        and cli("cat", f"{place}/day/deep/2.json") == "two"
    )
    cli("cp", "-r", f"{place}/day", str(tmp_path / "back"))
    assert files_in(tmp_path / "back") == ["1.json", "deep/2.json"]
    cli("rm", "-r", f"{place}/day")
    assert cli("ls", place) == ""


ODD_VALUES = """
bundle: {name: odd}
variables:
  flag: {default: true}
  n: {default: 1.0}
  few: {default: "2"}
targets: {dev: {default: true}}
resources:
  jobs:
    odd:
      name: 2026
      max_concurrent_runs: ${var.few}
      timeout_seconds: 60.0
      queue: {enabled: "yes"}
      tags: {year: 2026, share: 0.1}
      parameters:
        - {name: flag, default: "${var.flag}"}
        - {name: n, default: "${var.n}"}
        - {name: both, default: "${var.flag}-${var.n}"}
        - {name: large, default: 1e3}
      tasks:
        - task_key: wait
          max_retries: "3"
          condition_task: {op: EQUAL_TO, left: 1.50, right: true}
"""


SETTLED_VALUES = {
    "name": "2026",
    "max_concurrent_runs": 2,
    "timeout_seconds": 60,
    "queue": {"enabled": True},
    "tags": {"year": "2026", "share": "0.1"},
    "parameters": [
        {"name": "flag", "default": "true"},
        {"name": "n", "default": "1"},
        {"name": "both", "default": "true-1"},
        {"name": "large", "default": "1000"},
    ],
    "tasks": [
        {
            "task_key": "wait",
            "max_retries": 3,
            "condition_task": {"op": "EQUAL_TO", "left": "1.5", "right": "true"},
        }
    ],
}


def test_a_run_here_has_the_values_that_a_deployment_has(tmp_path):
    (tmp_path / "databricks.yml").write_text(ODD_VALUES)
    assert load_bundle(tmp_path, environ={}).resources("jobs")["odd"] == SETTLED_VALUES
    assert bundle_problems(tmp_path, environ={}) == []


@needs_databricks
def test_a_deployment_has_the_values_that_a_run_here_has(running, w, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    (folder / "databricks.yml").write_text(ODD_VALUES)
    databricks(running, tmp_path, folder, "bundle", "deploy")
    (job,) = w.jobs.list()
    deployed = w.jobs.get(job.job_id).settings.as_dict()
    task = deployed["tasks"][0]
    deployed["tasks"] = [{name: task[name] for name in SETTLED_VALUES["tasks"][0]}]
    assert {name: deployed[name] for name in SETTLED_VALUES} == SETTLED_VALUES
