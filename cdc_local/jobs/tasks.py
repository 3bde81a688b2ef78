"""Whatever a task is, a notebook, a script, a wheel's entry point, a pipeline, it becomes one child process, which can be watched, timed and ended."""

import json
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from cdc_local.errors import UsageError
from cdc_local.jobs.notebook_task import NotebookRun
from cdc_local.jobs.processes import PYTHON, Program
from cdc_local.source.wheels import is_wheel, refuse_missing_libraries, unpack_wheel
from cdc_local.storage import Storage, localize


@dataclass(frozen=True)
class Places:
    "Where the paths of a job lie on this machine."

    storage: Storage  # Volumes, tables, unpacked wheels
    root: Path  # Where relative paths begin

    def local(self, path: str) -> Path:  # The path on this machine
        "Find a path of a job."
        return self.root / localize(self.storage, path)


def unpacked_wheels(
    dependencies: list[str],  # Of an environment: wheels by path, libraries by name
    places,  # `Places`
) -> list[Path]:  # Folders that join `sys.path`
    "Unpack the wheels of an environment; `UsageError` for a library that is not installed."
    refuse_missing_libraries(each for each in dependencies if not is_wheel(each))
    return [
        unpack_wheel(places.local(each), places.storage.root / "wheels")
        for each in dependencies
        if is_wheel(each)
    ]


def task_dependencies(
    task: dict,  # The task
    environments: list[dict],  # Of the job: `environment_key`, `spec`
) -> list[str]:
    "The dependencies of a task's environment, and its own libraries; `UsageError` for an environment that is not there."
    key, named = (
        task.get("environment_key"),
        {
            each["environment_key"]: (each.get("spec") or {}).get("dependencies") or []
            for each in environments
        },
    )
    if key is not None and key not in named:
        raise UsageError(
            f"task {task['task_key']}: environment {key!r} is none of the job",
            hint=f"it has {', '.join(named) or 'none'}",
        )
    own = [
        library["whl"] if "whl" in library else library["pypi"]["package"]
        for library in task.get("libraries") or ()
        if {"whl", "pypi"} & set(library)
    ]
    return [*named.get(key, ()), *own]


def fill_references(
    text: str,  # What a task says
    known: Mapping[str, str],  # Reference -> value: `job.parameters.day`, `job.name`, `task.name`
) -> str:
    "Fill in `{{…}}`; `UsageError` for a reference that the local runner does not know."

    def value(found):
        name = found[1].strip()
        if name in known:
            return str(known[name])
        raise UsageError(
            f"{found[0]} is not known here",
            hint=f"known are {', '.join('{{' + each + '}}' for each in known)}",
        )

    return re.sub(r"\{\{([^{}]*)\}\}", value, str(text))


def task_parameters(
    task: dict,  # The task
    parameters: Mapping[str, str],  # Of the job
    known: Mapping[str, str],  # For `filled`
) -> dict[str, str]:  # Of the notebook
    "What a notebook's widgets answer."
    own = (task.get("notebook_task") or {}).get("base_parameters") or {}
    return {name: fill_references(value, known) for name, value in {**own, **parameters}.items()}


def dynamic_values(
    job_name: str,  # The job
    task_key: str,  # The task
    parameters: Mapping[str, str],  # Of the job
) -> dict[str, str]:  # For `filled`
    "What `{{…}}` may name: https://docs.databricks.com/aws/en/jobs/dynamic-value-references."
    return {
        "job.name": job_name,
        "task.name": task_key,
        **{f"job.parameters.{name}": value for name, value in parameters.items()},
    }


@dataclass(frozen=True)
class TaskPlan:
    "A task, and all that its program depends on."

    task: dict  # In the shape of the Jobs API
    wheels: list[Path]  # Unpacked
    parameters: dict[str, str]  # Of the job
    known: dict[str, str]  # For `filled`
    places: object  # `Places`
    copies: Path  # Where executed notebooks go

    def environ(self) -> dict[str, str]:
        return {
            "CDC_STORAGE": str(self.places.storage.root),
            "PYTHONPATH": os.pathsep.join(map(str, self.wheels)),
        }

    def arguments(self, given) -> list[str]:
        return [fill_references(each, self.known) for each in given or ()]


def find_notebook(
    path: Path,  # A notebook, as a job or a pipeline names it: often without its suffix
) -> Path:  # The file, if there is one
    "Find a notebook's file; its own name may have dots."
    return next(
        (
            each
            for each in (path, *[path.with_name(path.name + suffix) for suffix in (".ipynb", ".py", ".sql")])
            if each.is_file()
        ),
        path,
    )


def notebook_program(
    plan: TaskPlan,  # With a `notebook_task`
) -> Program:
    "A kernel for a notebook."
    path = find_notebook(plan.places.local(plan.task["notebook_task"]["notebook_path"]))
    if not path.is_file():
        raise UsageError(
            f"task {plan.task['task_key']}: there is no notebook {plan.task['notebook_task']['notebook_path']}"
        )
    copy = plan.copies / f"{plan.task['task_key']}.ipynb"
    run = NotebookRun(
        str(path),
        str(copy),
        str(path.parent),
        str(plan.places.storage.root),
        task_parameters(plan.task, plan.parameters, plan.known),
        tuple(map(str, plan.wheels)),
    )
    return Program(
        (*PYTHON, "-c", "from cdc_local.jobs.notebook_task import run_from_stdin; run_from_stdin()"),
        stdin=json.dumps(asdict(run)),
    )


def python_program(
    plan: TaskPlan,  # With a `spark_python_task`
) -> Program:
    "Python for a file."
    settings = plan.task["spark_python_task"]
    path = plan.places.local(settings["python_file"])
    if not path.is_file():
        raise UsageError(f"task {plan.task['task_key']}: there is no file {settings['python_file']}")
    return Program(
        (sys.executable, str(path), *plan.arguments(settings.get("parameters"))), plan.environ(), path.parent
    )


ENTRY_POINT = """
import sys
from importlib import import_module, metadata
package, name, sys.argv = sys.argv[1], sys.argv[2], sys.argv[2:]
try: points = metadata.distribution(package).entry_points
except metadata.PackageNotFoundError: sys.exit(f'error: the package {package} is not there: name its wheel in the environment of the task')
found = [point for point in points if point.name == name]
if found: found[0].load()()
elif hasattr(import_module(package), name): getattr(import_module(package), name)()
else: sys.exit(f'error: {package} has no entry point {name}')
"""


def wheel_program(
    plan: TaskPlan,  # With a `python_wheel_task`
) -> Program:
    "Python for an entry point of a wheel."
    settings = plan.task["python_wheel_task"]
    named = [
        f"--{name}={fill_references(value, plan.known)}"
        for name, value in (settings.get("named_parameters") or {}).items()
    ]
    return Program(
        (
            *PYTHON,
            "-c",
            ENTRY_POINT,
            settings["package_name"],
            settings["entry_point"],
            *plan.arguments(settings.get("parameters")),
            *named,
        ),
        plan.environ(),
    )


KINDS = {
    "notebook_task": notebook_program,
    "spark_python_task": python_program,
    "python_wheel_task": wheel_program,
}


def check_kind(
    task: dict,  # A task, in the shape of the Jobs API
) -> None:
    "`UsageError` for a kind of task that the local runner does not have."
    if any(kind in task for kind in (*KINDS, "pipeline_task")):
        return
    kind = next((name for name in task if name.endswith("_task")), "no kind of task")
    raise UsageError(
        f"task {task.get('task_key')}: {kind} is not supported by the local runner",
        hint=f"it runs {', '.join(KINDS)} and pipeline_task",
    )


def task_program(
    plan: TaskPlan,  # A task that is no pipeline's
) -> Program:
    "The program of a task; raises what `check_kind` raises."
    check_kind(plan.task)
    return next(program for kind, program in KINDS.items() if kind in plan.task)(plan)


def pipeline_sources(
    pipeline: dict,  # In the shape of the Pipelines API
    places,  # `Places`
) -> list[str]:  # Files and patterns, as `cdc run` takes them
    "The source files of a pipeline; `UsageError` for a library of another kind."
    sources = []
    for library in pipeline.get("libraries") or ():
        kind, found = next(iter(library.items()), ("nothing", None))
        if kind not in ("glob", "file", "notebook"):
            raise UsageError(
                f"pipeline {pipeline.get('name')}: a library of kind {kind} is not supported by the local runner",
                hint="it has glob, file and notebook",
            )
        path = places.local(found["include" if kind == "glob" else "path"])
        sources.append(str(find_notebook(path) if kind == "notebook" else path))
    if not sources:
        raise UsageError(
            f"pipeline {pipeline.get('name')} has no libraries",
            hint="name its source files: libraries: [{glob: {include: transformations/**}}]",
        )
    return sources


@dataclass(frozen=True)
class UpdateOptions:
    "What one update of a pipeline is asked to do."

    update_id: str | None = None  # A new one by default
    full_refresh: bool = False  # Empty and compute all tables
    refresh_selection: tuple[str, ...] = ()  # Only these
    full_refresh_selection: tuple[str, ...] = ()  # Empty and compute these


def update_program(
    pipeline: dict,  # In the shape of the Pipelines API: libraries, catalog, schema, configuration, root_path, environment
    options: UpdateOptions,  # What to do
    places,  # `Places`
) -> Program:
    "`cdc run` for one update; its output is one event a line, as JSON."
    catalog, schema = (
        pipeline.get("catalog") or "main",
        pipeline.get("schema") or pipeline.get("target") or "default",
    )
    wheels = (pipeline.get("environment") or {}).get("dependencies") or []
    refuse_missing_libraries(each for each in wheels if not is_wheel(each))
    given = [
        ("--storage", places.storage.root),
        ("--catalog", catalog),
        ("--schema", schema),
        ("--name", pipeline.get("name") or "pipeline"),
        ("--format", "json"),
    ]
    given += [("--conf", f"{key}={value}") for key, value in (pipeline.get("configuration") or {}).items()]
    given += [("--wheel", places.local(each)) for each in wheels if is_wheel(each)]
    given += [("--refresh", each) for each in options.refresh_selection] + [
        ("--full-refresh", each) for each in options.full_refresh_selection
    ]
    if pipeline.get("root_path"):
        given.append(("--root-path", places.local(pipeline["root_path"])))
    if options.update_id:
        given.append(("--update-id", options.update_id))
    words = [
        "run",
        *pipeline_sources(pipeline, places),
        *[str(word) for pair in given for word in pair],
        *(["--full-refresh-all"] if options.full_refresh else []),
    ]
    return Program((*PYTHON, "-c", "from cdc_local.cli.main import main; main()", *words))
