"Tasks as processes: what they depend on, their parameters, and the program of each kind."

import zipfile
from datetime import UTC, datetime
from pathlib import Path

import pytest

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.paths import FolderPaths, find_notebook
from cdc_local.jobs.processes import run_program
from cdc_local.jobs.running_job import JobFacts, RunningJob
from cdc_local.jobs.tasks import (
    TaskPlan,
    check_task_kind,
    list_dependencies,
    task_program,
    unpack_wheels,
)
from cdc_local.storage import Storage

WHEEL = "dist/shop-1-py3-none-any.whl"
ENVIRONMENTS = [{"environment_key": "default", "spec": {"dependencies": [WHEEL, "packaging>=20"]}}]


@pytest.fixture
def paths(tmp_path):
    "A clone with a wheel, and a storage beside it."
    wheel = tmp_path / "clone" / WHEEL
    wheel.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("shop.py", 'import sys\ndef load(): print("loads", sys.argv[1:])\n')
        archive.writestr("shop-1.dist-info/entry_points.txt", "[console_scripts]\nload-all = shop:load\n")
    return FolderPaths(Storage(tmp_path / "cdc"), tmp_path / "clone")


def plan(paths, **task):
    facts = JobFacts(1, 2, "daily", datetime(2026, 1, 5, tzinfo=UTC))
    task = {"task_key": "load", **task}
    job = RunningJob(facts, [task], {"day": "2"}, paths.root.parent / "run", lambda: 3)
    wheels = unpack_wheels([WHEEL], paths)
    return TaskPlan(job.fill(task, "load"), "load", wheels, paths, paths.root.parent / "ran", job)


def run_task(paths, **task):
    return run_program(task_program(plan(paths, **task)))


def test_relative_paths_lie_in_the_clone_and_volumes_in_the_storage(paths, tmp_path):
    assert paths.local("etl/load.py") == tmp_path / "clone/etl/load.py"
    assert paths.local("/Volumes/dev/shop/wheels/shop-1.whl") == (
        tmp_path / "cdc/Volumes/dev/shop/wheels/shop-1.whl"
    )


def test_a_task_depends_on_its_environment_and_on_its_own_libraries():
    libraries = [{"whl": "dist/own-1-py3-none-any.whl"}, {"pypi": {"package": "faker>=40"}}, {"jar": "x.jar"}]
    task = {"task_key": "a", "environment_key": "default"}
    assert list_dependencies(task, ENVIRONMENTS) == [WHEEL, "packaging>=20"]
    assert list_dependencies({**task, "libraries": libraries}, ENVIRONMENTS) == [
        *(WHEEL, "packaging>=20", "dist/own-1-py3-none-any.whl", "faker>=40")
    ]
    assert list_dependencies({"task_key": "a"}, ENVIRONMENTS) == []


def test_an_environment_that_the_job_does_not_have_is_refused():
    with pytest.raises(UsageError, match="task a: environment 'old' is none of the job; it has default"):
        list_dependencies({"task_key": "a", "environment_key": "old"}, ENVIRONMENTS)


def test_wheels_are_unpacked_into_the_storage(paths):
    (folder,) = unpack_wheels([WHEEL, "packaging>=20"], paths)
    assert folder.parent == paths.storage.root / "wheels" and folder.name.startswith("shop-1-")
    assert (folder / "shop.py").is_file()


def test_a_library_that_is_not_installed_is_refused(paths):
    with pytest.raises(UsageError, match="pip install 'no-such-library>=1'"):
        unpack_wheels(["no-such-library>=1"], paths)


def test_a_script_runs_with_its_parameters_its_storage_and_the_wheel(paths):
    (paths.root / "load.py").write_text(
        'import os, shop, sys\nprint("file", sys.argv[1:], os.path.basename(os.environ["CDC_STORAGE"]))'
    )
    task = {"python_file": "load.py", "parameters": ["--day", "{{job.parameters.day}}"]}
    assert run_task(paths, spark_python_task=task) == "file ['--day', '2'] cdc"


@pytest.mark.parametrize("entry_point", ["load-all", "load"], ids=["entry point", "function"])
def test_an_entry_point_of_a_wheel_runs_with_its_parameters(paths, entry_point):
    task = {
        "package_name": "shop",
        "entry_point": entry_point,
        "parameters": ["a"],
        "named_parameters": {"day": "{{job.parameters.day}}"},
    }
    assert run_task(paths, python_wheel_task=task) == "loads ['a', '--day=2']"


@pytest.mark.parametrize(
    ("package", "message"),
    [("shop", "shop has no entry point lod"), ("shoe", "the package shoe is not there")],
)
def test_an_entry_point_that_is_not_there_is_named(paths, package, message):
    with pytest.raises(PipelineError, match=message):
        run_task(paths, python_wheel_task={"package_name": package, "entry_point": "lod"})


def test_a_notebook_runs_in_its_folder_with_parameters_of_the_job_and_its_own(paths):
    (paths.root / "etl.py").write_text(
        "# Databricks notebook source\n"
        "import os\n"
        'print(os.path.basename(os.getcwd()), dbutils.widgets.get("day"), dbutils.widgets.get("mode"))'
    )
    task = {"notebook_path": "etl", "base_parameters": {"mode": "full"}}
    assert run_task(paths, notebook_task=task) == "clone 2 full"
    assert (paths.root.parent / "ran/load.ipynb").is_file()


def test_a_notebook_is_found_without_its_suffix_even_where_its_name_has_a_dot(tmp_path):
    for name in ("etl.v2.py", "items.sql", "plain.ipynb"):
        (tmp_path / name).write_text("")
    names = ("etl.v2", "items", "plain", "plain.ipynb", "none")
    found = [find_notebook(tmp_path / name).name for name in names]
    assert found == ["etl.v2.py", "items.sql", "plain.ipynb", "plain.ipynb", "none"]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"notebook_task": {"notebook_path": "no"}}, "task load: there is no notebook no"),
        ({"spark_python_task": {"python_file": "no.py"}}, "task load: there is no file no.py"),
        (
            {"dbt_task": {}},
            "task load: dbt_task is not supported by the local runner; it runs notebook_task,"
            " spark_python_task, python_wheel_task, sql_task, pipeline_task, run_job_task,"
            " condition_task and for_each_task",
        ),
    ],
)
def test_a_task_that_cannot_be_run_is_refused(paths, task, message):
    with pytest.raises(UsageError) as refused:
        task_program(plan(paths, **task))
    assert str(refused.value) == message


def test_a_pipeline_task_is_a_kind_that_is_known():
    check_task_kind({"task_key": "build", "pipeline_task": {}})


def test_paths_are_found_where_the_job_says():
    assert FolderPaths(Storage(Path("cdc")), Path("clone")).local("/etc/hosts") == Path("/etc/hosts")
