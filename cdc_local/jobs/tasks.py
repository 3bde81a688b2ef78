"""How a task becomes a process: what it depends on, its parameters, and a program for each kind of task.

A notebook, a script and a wheel's entry point become a child process, which can be watched, timed and ended.
What updates a pipeline is in `pipeline_task.py`.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.notebook_task import NotebookRun
from cdc_local.jobs.paths import JobPaths, find_notebook
from cdc_local.jobs.processes import PYTHON, Program
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


def list_dynamic_values(
    job_name: str,  # The job
    task_key: str,  # The task
    parameters: Mapping[str, str],  # Of the job
) -> dict[str, str]:  # Reference -> value: `job.parameters.day`, `job.name`, `task.name`
    "List what `{{…}}` may name: https://docs.databricks.com/aws/en/jobs/dynamic-value-references."
    return {
        "job.name": job_name,
        "task.name": task_key,
        **{f"job.parameters.{name}": value for name, value in parameters.items()},
    }


def fill_references(
    text: str,  # A parameter of a task
    dynamic_values: Mapping[str, str],  # See `list_dynamic_values`
) -> str:
    "Fill in `{{…}}`; `UsageError` for a reference that the local runner does not know."

    def value(reference: re.Match[str]) -> str:
        name = reference[1].strip()
        if name in dynamic_values:
            return str(dynamic_values[name])
        raise UsageError(
            f"{reference[0]} is not known here",
            hint=f"known are {', '.join('{{' + known + '}}' for known in dynamic_values)}",
        )

    return re.sub(r"\{\{([^{}]*)\}\}", value, str(text))


def notebook_parameters(
    task: dict[str, Any],  # The task
    parameters: Mapping[str, str],  # Of the job, which win over the notebook's own
    dynamic_values: Mapping[str, str],  # See `list_dynamic_values`
) -> dict[str, str]:  # Name -> value of a widget
    "Put together what a notebook's widgets answer."
    own = (task.get("notebook_task") or {}).get("base_parameters") or {}
    return {name: fill_references(value, dynamic_values) for name, value in {**own, **parameters}.items()}


@dataclass(frozen=True)
class TaskPlan:
    "A task, and all that its program depends on."

    task: dict[str, Any]  # In the shape of the Jobs API
    wheels: list[Path]  # Unpacked, in the order of `sys.path`
    parameters: Mapping[str, str]  # Of the job
    dynamic_values: Mapping[str, str]  # See `list_dynamic_values`
    paths: JobPaths  # Where its paths lie
    executed_notebooks: Path  # Folder for executed copies of notebooks

    def environ(self) -> dict[str, str]:
        "Environment variables of its process."
        return {
            "CDC_STORAGE": str(self.paths.storage.root),
            "PYTHONPATH": os.pathsep.join(map(str, self.wheels)),
        }

    def arguments(
        self,
        parameters: list[str] | None,  # Of a script or an entry point
    ) -> list[str]:
        "Arguments of its process: the parameters, filled in."
        return [fill_references(parameter, self.dynamic_values) for parameter in parameters or ()]


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
        str(plan.executed_notebooks / f"{plan.task['task_key']}.ipynb"),
        str(path.parent),
        str(plan.paths.storage.root),
        notebook_parameters(plan.task, plan.parameters, plan.dynamic_values),
        tuple(map(str, plan.wheels)),
    )
    return Program(
        (*PYTHON, "-c", "from cdc_local.jobs.notebook_task import run_from_stdin; run_from_stdin()"),
        stdin=json.dumps(asdict(run)),
    )


def _script_program(
    plan: TaskPlan,  # With a `spark_python_task`
) -> Program:  # Python with the script, in its folder
    "Build the program of a script; `UsageError` where there is none."
    settings = plan.task["spark_python_task"]
    path = plan.paths.local(settings["python_file"])
    if not path.is_file():
        raise UsageError(f"task {plan.task['task_key']}: there is no file {settings['python_file']}")
    return Program(
        (sys.executable, str(path), *plan.arguments(settings.get("parameters"))), plan.environ(), path.parent
    )


def _wheel_program(
    plan: TaskPlan,  # With a `python_wheel_task`
) -> Program:  # See `wheel_task.py`
    "Build the program of an entry point of a wheel."
    settings = plan.task["python_wheel_task"]
    named = [
        f"--{name}={fill_references(value, plan.dynamic_values)}"
        for name, value in (settings.get("named_parameters") or {}).items()
    ]
    command = (
        *PYTHON,
        *("-m", "cdc_local.jobs.wheel_task"),
        *(settings["package_name"], settings["entry_point"]),
        *plan.arguments(settings.get("parameters")),
        *named,
    )
    return Program(command, plan.environ())


_PROGRAMS: dict[str, Callable[[TaskPlan], Program]] = {  # Kind of task -> what builds its program
    "notebook_task": _notebook_program,
    "spark_python_task": _script_program,
    "python_wheel_task": _wheel_program,
}


def check_task_kind(
    task: dict[str, Any],  # A task, in the shape of the Jobs API
) -> None:
    "Raise `UsageError` for a kind of task that the local runner does not have."
    if "pipeline_task" in task or any(kind in task for kind in _PROGRAMS):
        return
    kind = next((name for name in task if name.endswith("_task")), "no kind of task")
    raise UsageError(
        f"task {task.get('task_key')}: {kind} is not supported by the local runner",
        hint=f"it runs {', '.join(_PROGRAMS)} and pipeline_task",
    )


def task_program(
    plan: TaskPlan,  # A task of a kind other than `pipeline_task`
) -> Program:
    "Build the program of a task; `UsageError` for an unknown kind, and for a file that is not there."
    check_task_kind(plan.task)
    program = next(build(plan) for kind, build in _PROGRAMS.items() if kind in plan.task)
    return replace(program, command=command_line(plan.paths.storage, program.command))
