"""How a task becomes a process: what it depends on, and a program for each kind of task.

A notebook, a script and a wheel's entry point become a child process, which can be watched, timed and ended.
What updates a pipeline is in `pipeline_task.py`.
"""

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.notebook_task import NotebookRun
from cdc_local.jobs.paths import JobPaths, find_notebook
from cdc_local.jobs.processes import PYTHON, Program
from cdc_local.jobs.references import task_kind
from cdc_local.jobs.running_job import RunningJob
from cdc_local.jobs.sql_task import check_sql_task, read_sql_run
from cdc_local.source.wheels import is_wheel, refuse_missing_libraries, unpack_wheel
from cdc_local.volumes import command_line


def list_dependencies(
    task: dict[str, Any],  # The task, in the shape of the Jobs API
    environments: list[dict[str, Any]],  # Of the job: `environment_key`, `spec`
) -> list[str]:  # Wheels by path, libraries by requirement
    "List a task's dependencies: its environment's and its own; `UsageError` for an unknown environment."
    key = task.get("environment_key")
    shared = {
        environment["environment_key"]: (environment.get("spec") or {}).get("dependencies") or []
        for environment in environments
    }
    if key is not None and key not in shared:
        raise UsageError(
            f"task {task['task_key']}: environment {key!r} is none of the job",
            hint=f"it has {', '.join(shared) or 'none'}",
        )
    own = [
        library["whl"] if "whl" in library else library["pypi"]["package"]
        for library in task.get("libraries") or ()
        if "whl" in library or "pypi" in library
    ]
    return [*shared.get(key, ()), *own]


def unpack_wheels(
    dependencies: list[str],  # Wheels by path, libraries by requirement
    paths: JobPaths,  # Where the wheels lie
) -> list[Path]:  # Folders that join `sys.path`
    "Unpack the wheels among dependencies; `UsageError` for a library that is not installed."
    refuse_missing_libraries(dependency for dependency in dependencies if not is_wheel(dependency))
    return [
        unpack_wheel(paths.local(dependency), paths.storage.root / "wheels")
        for dependency in dependencies
        if is_wheel(dependency)
    ]


@dataclass(frozen=True)
class TaskPlan:
    "A task, and all that its program depends on."

    task: dict[str, Any]  # In the shape of the Jobs API; its references are filled in
    key: str  # Its key; of an iteration `loop[0]`
    wheels: list[Path]  # Unpacked, in the order of `sys.path`
    paths: JobPaths  # Where its paths lie
    executed_notebooks: Path  # Folder for executed copies of notebooks
    job: RunningJob  # The run that it belongs to

    def environ(self) -> dict[str, str]:
        "Environment variables of its process."
        return {
            "CDC_STORAGE": str(self.paths.storage.root),
            "PYTHONPATH": os.pathsep.join(map(str, self.wheels)),
        }


def _notebook_program(
    plan: TaskPlan,  # With a `notebook_task`
) -> Program:  # Runs the notebook in a kernel; see `notebook_task.py`
    "Build the program of a notebook; `UsageError` where there is none."
    named = plan.task["notebook_task"]["notebook_path"]
    path = find_notebook(plan.paths.local(named))
    if not path.is_file():
        raise UsageError(f"task {plan.task['task_key']}: there is no notebook {named}")
    run = NotebookRun(
        str(path),
        str(plan.executed_notebooks / f"{plan.key}.ipynb"),
        str(path.parent),
        str(plan.paths.storage.root),
        plan.task["notebook_task"].get("base_parameters") or {},
        tuple(map(str, plan.wheels)),
        plan.key,
        str(plan.job.values.folder),
    )
    return Program(
        (*PYTHON, "-c", "from cdc_local.jobs.notebook_task import run_from_stdin; run_from_stdin()"),
        stdin=json.dumps(asdict(run)),
    )


def _script_program(
    plan: TaskPlan,  # With a `spark_python_task`
) -> Program:  # See `script_task.py`
    "Build the program of a script; `UsageError` where there is none."
    settings = plan.task["spark_python_task"]
    path = plan.paths.local(settings["python_file"])
    if not path.is_file():
        raise UsageError(f"task {plan.task['task_key']}: there is no file {settings['python_file']}")
    command = (*PYTHON, "-m", "cdc_local.jobs.script_task", str(path), *(settings.get("parameters") or ()))
    return Program(command, plan.environ(), path.parent)


def _wheel_program(
    plan: TaskPlan,  # With a `python_wheel_task`
) -> Program:  # See `wheel_task.py`
    "Build the program of an entry point of a wheel."
    settings = plan.task["python_wheel_task"]
    named = [f"--{name}={value}" for name, value in (settings.get("named_parameters") or {}).items()]
    command = (
        *PYTHON,
        *("-m", "cdc_local.jobs.wheel_task"),
        *(settings["package_name"], settings["entry_point"]),
        *(settings.get("parameters") or ()),
        *named,
    )
    return Program(command, plan.environ())


def _sql_program(
    plan: TaskPlan,  # With a `sql_task`
) -> Program:  # See `sql_task.py`
    "Build the program of SQL; `UsageError` where there is none."
    run = read_sql_run(plan.task, plan.paths, plan.job.rows_path(plan.key))
    command = (*PYTHON, "-c", "from cdc_local.jobs.sql_task import run_from_stdin; run_from_stdin()")
    return Program(command, stdin=json.dumps(asdict(run)))


_PROGRAMS: dict[str, Callable[[TaskPlan], Program]] = {  # Kind of task -> what builds its program
    "notebook_task": _notebook_program,
    "spark_python_task": _script_program,
    "python_wheel_task": _wheel_program,
    "sql_task": _sql_program,
}


_WITHOUT_PROGRAM = ("pipeline_task", "run_job_task", "condition_task", "for_each_task")


def check_task_kind(
    task: dict[str, Any],  # A task, in the shape of the Jobs API
) -> None:
    "Raise `UsageError` for a kind of task that the local runner does not have."
    kind = task_kind(task)
    if kind == "for_each_task":
        return check_task_kind(task[kind]["task"])
    if kind == "sql_task":
        return check_sql_task(task)
    if kind in _WITHOUT_PROGRAM or kind in _PROGRAMS:
        return
    raise UsageError(
        f"task {task.get('task_key')}: {kind or 'no kind of task'} is not supported by the local runner",
        hint=f"it runs {', '.join(_PROGRAMS)}, {', '.join(_WITHOUT_PROGRAM[:-1])} and {_WITHOUT_PROGRAM[-1]}",
    )


def task_program(
    plan: TaskPlan,  # A task whose work is a program
) -> Program:
    "Build the program of a task; `UsageError` for an unknown kind, and for a file that is not there."
    check_task_kind(plan.task)
    program = next(build(plan) for kind, build in _PROGRAMS.items() if kind in plan.task)
    return replace(program, command=command_line(plan.paths.storage, program.command))
