"""Finds every mistake in a bundle that can be seen without a workspace, in every target, at its line."""

import dataclasses
import difflib
import re
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zoneinfo import available_timezones

from cdc_local.bundles.bundle import Bundle, User, load_bundle, read_bundle_files
from cdc_local.bundles.field_types import SCALARS, field_types, plain_type, resource_type
from cdc_local.bundles.located_values import BundleError, ValuePath
from cdc_local.errors import UsageError
from cdc_local.jobs.paths import find_notebook
from cdc_local.jobs.reference_check import find_reference_mistakes
from cdc_local.jobs.scheduler import check_tasks
from cdc_local.source.wheels import is_wheel

_Mistake = tuple[ValuePath, str]  # Path of the value in the bundle, and what is wrong with it

_NOTHING: Mapping[str, str] = MappingProxyType({})

_DEPLOYER = User("deployer@example.org")


@dataclass(frozen=True, order=True)
class Problem:
    "Something that Databricks would refuse, or a likely mistake."

    location: str  # file:line
    target: str  # The target in which it shows
    message: str  # What is wrong, and what to do

    def __str__(self) -> str:
        return f"{self.location}: {self.message} (target {self.target})"

    @property
    def line(self) -> int:
        "The line of its location, 0 where there is none."
        line = self.location.rsplit(":", 1)[-1]
        return int(line) if line.isdigit() else 0


def bundle_problems(
    folder: Path,  # The folder of `databricks.yml`
    targets: Iterable[str] = (),  # Names of targets; all by default
    variables: Mapping[str, str] = _NOTHING,  # Values from the command line
    user: User = _DEPLOYER,  # Who deploys
    environ: Mapping[str, str] | None = None,  # Environment variables; those of this process by default
) -> list[Problem]:  # In the order of files and lines; the same mistake once
    "Check a bundle for each target; raises `UsageError` for a target or variable that is not there."
    try:
        known = list(read_bundle_files(Path(folder)).values.get("targets") or {})
    except BundleError as error:
        return [_problem_of_error(error, "any")]
    targets = list(targets)
    for name in targets:
        if name not in known:
            raise UsageError(f"no target {name!r} in this bundle", hint=f"it has {', '.join(known)}")
    problems: dict[tuple[str, str], Problem] = {}
    bundles: list[Bundle] = []
    for target in targets or known or [None]:
        try:
            bundles.append(load_bundle(folder, target, variables, user, environ))
            found = [*_target_problems(bundles[-1], user), *_name_clashes(bundles)]
        except BundleError as error:
            found = [_problem_of_error(error, str(target))]
        for problem in found:
            problems.setdefault((problem.location, problem.message), problem)
    return sorted(problems.values(), key=_reading_order)


def _reading_order(
    problem: Problem,  # A problem
) -> tuple[str, int, str]:  # File, line, message
    "Where a problem comes in the list."
    return problem.location.rsplit(":", 1)[0], problem.line, problem.message


def _problem_of_error(
    error: BundleError,  # What stopped the reading of a bundle
    target: str,  # The target in which it shows
) -> Problem:
    "Make a problem of a mistake that hides all others."
    return Problem(str(error.location), target, str(error).removeprefix(f"{error.location}: "))


def _target_problems(
    bundle: Bundle,  # For one target
    user: User,  # Who deploys
) -> Iterator[Problem]:
    "Find everything that is wrong for one target."
    mistakes: list[_Mistake] = []
    for kind in bundle.settings.values.get("resources") or {}:
        expected = resource_type(kind)
        for key, value in bundle.resources(kind).items() if expected else ():
            mistakes += type_errors(expected, value, ("resources", kind, key))
    for check in _CHECKS:
        mistakes += check(bundle)
    mistakes += _permission_errors(bundle, user.name)
    for path, message in mistakes:
        yield Problem(str(bundle.settings.location(*path)), bundle.target, message)


# What a resource may say: Databricks' own types


def type_errors(
    expected: Any,  # A type annotation of databricks-bundles
    value: Any,  # What the YAML says, filled in
    path: ValuePath,  # Its path in the bundle
) -> Iterator[_Mistake]:
    "Find everything about a value that its type does not allow."
    expected = plain_type(expected)
    if value is None or isinstance(value, str) and value.startswith("${"):
        return  # only a deployment knows it
    if expected in SCALARS:
        if not _is_scalar(value, expected):
            yield path, f"{value!r} is not {SCALARS[expected]}"
    elif typing.get_origin(expected) in (list, dict):
        yield from _container_errors(expected, value, path)
    elif isinstance(expected, type) and issubclass(expected, Enum):
        allowed = [member.value for member in expected]
        if value not in allowed:
            yield path, f"{value!r} is none of {', '.join(map(str, allowed))}"
    elif dataclasses.is_dataclass(expected):
        yield from _field_errors(expected, value, path)


def _is_scalar(
    value: Any,  # What the YAML says, in the type of its field where it can be
    expected: type,  # int, float, bool or str
) -> bool:
    "Whether a value is a scalar of a type; true and false are no numbers."
    return isinstance(value, expected) and isinstance(value, bool) is (expected is bool)


def _container_errors(
    expected: Any,  # `list[…]` or `dict[…]`
    value: Any,  # What the YAML says
    path: ValuePath,  # Its path in the bundle
) -> Iterator[_Mistake]:
    "Find what is wrong with a list or a mapping, and in its entries."
    container = typing.get_origin(expected)
    if not isinstance(value, container):
        yield path, f"{value!r} is not a {'list' if container is list else 'mapping'}"
        return
    entry_type = typing.get_args(expected)[-1]
    for key, entry in value.items() if isinstance(value, dict) else enumerate(value):
        yield from type_errors(entry_type, entry, (*path, key))


def _field_errors(
    expected: Any,  # A dataclass of databricks-bundles
    value: Any,  # What the YAML says
    path: ValuePath,  # Its path in the bundle
) -> Iterator[_Mistake]:
    "Find unknown and missing fields, and what is wrong in the others."
    if not isinstance(value, dict):
        yield path, f"{value!r} is not a mapping"
        return
    annotations = field_types(expected)
    fields = {known.name: known for known in dataclasses.fields(expected)}
    for name in value:
        if name in fields:
            yield from type_errors(annotations[name], value[name], (*path, name))
            continue
        near = difflib.get_close_matches(str(name), fields, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        yield (*path, name), f"{expected.__name__} has no field {name!r}{hint}"
    for name, known in fields.items():
        if name not in value and _is_required(known):
            yield path, f"{expected.__name__} needs {name}"


def _is_required(
    known: "dataclasses.Field[Any]",  # A field of a dataclass
) -> bool:
    "Whether a field has no default."
    return known.default is dataclasses.MISSING and known.default_factory is dataclasses.MISSING


# When a job runs


def cron_error(
    expression: str,  # A Quartz cron expression
) -> str | None:  # What is wrong; None where nothing is
    "Check a schedule by Quartz's rules: six fields or seven, seconds first, one `?` for day or weekday."
    from croniter import croniter

    parts = str(expression).split()
    if len(parts) not in (6, 7):
        return (
            f"{expression!r} has {len(parts)} fields;"
            " Quartz wants second minute hour day month weekday, and may have a year"
        )
    if [parts[3], parts[5]].count("?") != 1:
        return f"{expression!r}: one of day and weekday must be ?, and only one"
    if len(parts) == 7 and not _is_year(parts[6]):
        return f"{expression!r}: {parts[6]!r} is no year"
    fields = [*parts[:3], _croniter_day(parts[3]), parts[4], _croniter_weekday(parts[5])]
    plain = " ".join("*" if part == "?" else part for part in fields)
    if croniter.is_valid(plain, second_at_beginning=True):
        return None
    return f"{expression!r} is no time at which anything could run"


def _is_year(
    text: str,  # Seventh field of a cron expression: `*`, years, ranges and steps of them
) -> bool:
    "Whether the years of a schedule are years."
    years = [year for entry in text.split(",") for year in entry.split("/")[0].split("-")]
    return all(year == "*" or year.isdigit() and len(year) == 4 for year in years)


def _croniter_day(
    text: str,  # Fourth field of a cron expression
) -> str:
    "Write a day as croniter can check it: without the nearest weekday (15W), and days before the last (L-3)."
    return re.sub(r"^(?:(\d+)W|LW|L-\d+)$", lambda found: found[1] or "L", text)


def _croniter_weekday(
    text: str,  # Sixth field of a cron expression
) -> str:
    "Write a weekday as croniter can check it: without the last one (6L); 0, which is no day of Quartz, as 8."
    return re.sub(r"(?<![\w#/])0", "8", re.sub(r"(?<=\w)L$", "", {"L": "7"}.get(text, text)))


def _schedule_errors(
    bundle: Bundle,  # For one target
) -> Iterator[_Mistake]:
    "Find schedules that cannot be, and those that would run in development."
    for key, job in bundle.resources("jobs").items():
        schedule, path = job.get("schedule") or {}, ("resources", "jobs", key, "schedule")
        expression, zone = schedule.get("quartz_cron_expression"), schedule.get("timezone_id")
        wrong = cron_error(expression) if expression else None
        if wrong:
            yield (*path, "quartz_cron_expression"), wrong
        if zone and zone not in available_timezones():
            yield (*path, "timezone_id"), f"{zone!r} is no time zone"
    if bundle.mode == "development":
        yield from _development_errors(bundle)


def _development_errors(
    bundle: Bundle,  # For a target of mode development
) -> Iterator[_Mistake]:
    "Find what would run again and again for every developer."
    for key, job in bundle.resources("jobs").items():
        for trigger in ("schedule", "trigger", "continuous"):
            if isinstance(job.get(trigger), dict) and job[trigger].get("pause_status") == "UNPAUSED":
                yield (
                    ("resources", "jobs", key, trigger),
                    f"the {trigger} of {key} runs in mode development;"
                    " leave pause_status out, the target decides",
                )
    for key, pipeline in bundle.resources("pipelines").items():
        if pipeline.get("continuous"):
            yield (
                ("resources", "pipelines", key, "continuous"),
                f"pipeline {key} never ends in mode development",
            )


# What the tasks of a job depend on


def _job_errors(
    bundle: Bundle,  # For one target
) -> Iterator[_Mistake]:
    "Find jobs without tasks, dependencies that cannot be, environments and clusters that are not there."
    for key, job in bundle.resources("jobs").items():
        tasks = job.get("tasks") or []
        if all(isinstance(task.get("task_key"), str) for task in tasks):  # else it is a missing field
            yield from _task_errors(job, tasks, ("resources", "jobs", key))


def _task_errors(
    job: dict[str, Any],  # A job
    tasks: list[dict[str, Any]],  # Its tasks
    path: ValuePath,  # Path of the job in the bundle
) -> Iterator[_Mistake]:
    "Find what is wrong with the tasks of one job."
    try:
        check_tasks(tasks)
    except UsageError as error:
        yield _find_task(tasks, str(error), path), str(error)
    else:
        yield from (((*path, *place), message) for place, message in find_reference_mistakes(job))
    for shared, name in (("environments", "environment_key"), ("job_clusters", "job_cluster_key")):
        known = {entry.get(name) for entry in job.get(shared) or ()}
        for position, task in enumerate(tasks):
            if task.get(name) and task[name] not in known:
                yield (*path, "tasks", position, name), f"the job has no {name} {task[name]!r}"


def _find_task(
    tasks: list[dict[str, Any]],  # Tasks of a job
    message: str,  # What is wrong with them
    path: ValuePath,  # Path of the job in the bundle
) -> ValuePath:
    "Find the task that a message begins with, and its dependencies where it is about these."
    for position, task in enumerate(tasks):
        if message.startswith((f"task {task['task_key']} ", f"task {task['task_key']}:")):
            about = ("depends_on",) if " depends on " in message else ()
            return (*path, "tasks", position, *about)
    return path


def _circle_errors(
    bundle: Bundle,  # For one target
) -> Iterator[_Mistake]:
    "Find jobs whose tasks run one another in a circle."
    jobs = bundle.resources("jobs")
    called = {key: {other for _, other in _find_called_jobs(job)} & jobs.keys() for key, job in jobs.items()}
    try:
        TopologicalSorter(called).prepare()
    except CycleError as circle:
        keys = list(reversed(circle.args[1]))
        place = next(place for place, other in _find_called_jobs(jobs[keys[0]]) if other == keys[1])
        yield ("resources", "jobs", keys[0], *place), f"jobs run each other: {' -> '.join(keys)}"


def _find_called_jobs(
    job: dict[str, Any],  # A job
) -> Iterator[tuple[ValuePath, str]]:  # Where a task names a job of the bundle, and the key of that
    "List the jobs that a job's tasks run."
    for path, value in walk_values(job.get("tasks") or [], ("tasks",)):
        reference = re.fullmatch(r"\$\{resources\.jobs\.(.+)\.id\}", str(value))
        if reference and path[-2:] == ("run_job_task", "job_id"):
            yield path, reference[1]


# Paths

_FILE_KINDS: dict[ValuePath, str] = {  # Last keys of a path -> what it names
    ("notebook_task", "notebook_path"): "notebook",
    ("spark_python_task", "python_file"): "file",
    ("file", "path"): "file",
    ("notebook", "path"): "notebook",
}


def walk_values(
    value: Any,  # A part of the bundle
    path: ValuePath,  # Its path in the bundle
) -> Iterator[tuple[ValuePath, Any]]:  # Path and value of each scalar
    "List all values of a part."
    if isinstance(value, dict):
        for key, item in value.items():
            yield from walk_values(item, (*path, key))
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from walk_values(item, (*path, position))
    else:
        yield path, value


def _relative_paths(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[ValuePath, str]]:  # Texts that may be relative paths, and where they are
    "List the texts of all resources that name no absolute path and nothing that only a deployment knows."
    for path, value in walk_values(bundle.settings.values.get("resources") or {}, ("resources",)):
        if isinstance(value, str) and not value.startswith(("/", "${", "dbfs:")):
            yield path, value


def _path_errors(
    bundle: Bundle,  # For one target
) -> Iterator[_Mistake]:
    "Find files, folders and patterns that name nothing."
    jobs = bundle.resources("jobs").items()
    in_repository = {("resources", "jobs", key) for key, job in jobs if job.get("git_source")}
    for path, value in _relative_paths(bundle):
        if path[:3] not in in_repository:
            yield from _missing_file(bundle, path, value)
    for position, value in enumerate((bundle.settings.values.get("sync") or {}).get("paths") or ()):
        if not bundle.local_path("sync", "paths", position).exists():
            yield ("sync", "paths", position), f"there is no folder {value} to sync"


def _missing_file(
    bundle: Bundle,  # For one target
    path: ValuePath,  # Where the value is in the bundle
    value: str,  # What may be a path
) -> Iterator[_Mistake]:  # One, or none
    "Find out whether a value names a file, folder or pattern that is not there."
    kind = _FILE_KINDS.get(path[-2:])
    if kind and not find_notebook(bundle.local_path(*path)).is_file():
        yield path, f"there is no {kind} {value}"
    if path[-2:] == ("glob", "include") and not pattern_matches(bundle.local_path(*path)):
        yield path, f"{value} matches no source file; a pipeline without any makes no tables"
    if path[-1] == "root_path" and not bundle.local_path(*path).is_dir():
        yield path, f"there is no folder {value}"


def pattern_matches(
    pattern: Path,  # A path with `*` or `**`
) -> bool:
    "Whether a pattern of source files matches any."
    parts = pattern.parts
    fixed = next((position for position, part in enumerate(parts) if "*" in part), len(parts))
    root, rest = Path(*parts[:fixed]), "/".join(parts[fixed:])
    if not rest:
        return root.exists()
    if rest.endswith("**"):
        rest += "/*"
    return root.is_dir() and any(
        path.is_file() and path.suffix in (".py", ".sql", ".ipynb") for path in root.glob(rest)
    )


def _wheel_errors(
    bundle: Bundle,  # For one target
) -> Iterator[_Mistake]:
    "Find wheels by a relative path that no artifact of the bundle builds."
    built = [
        bundle.local_path("artifacts", key, "path") if artifact.get("path") else bundle.folder.absolute()
        for key, artifact in (bundle.settings.values.get("artifacts") or {}).items()
    ]
    for path, value in _relative_paths(bundle):
        if not is_wheel(value) or not ("dependencies" in path or path[-1] == "whl"):
            continue
        wheel = bundle.local_path(*path)
        if not wheel.exists() and not any(wheel.is_relative_to(folder) for folder in built):
            yield path, f"there is no wheel {value}, and no artifact builds it"


# Who may manage what is deployed


def _permission_errors(
    bundle: Bundle,  # For one target
    deployer: str,  # Who deploys, as Databricks knows them
) -> Iterator[_Mistake]:
    "Find production without a principal, and production that would lock its deployer out."
    if bundle.mode != "production":
        return
    settings = bundle.settings.values
    permissions, run_as = settings.get("permissions") or [], settings.get("run_as") or {}
    if not run_as:
        yield (
            ("targets", bundle.target),
            f"target {bundle.target} is production and has no run_as; name a service principal",
        )
    principals = ("service_principal_name", "user_name")
    names = {deployer} | {run_as[name] for name in principals if run_as.get(name)}
    managers = {
        permission.get(name)
        for permission in permissions
        for name in principals
        if permission.get("level") == "CAN_MANAGE"
    }
    if permissions and not names & managers:
        yield (
            ("permissions",),
            f"nobody of {', '.join(sorted(names))} is CAN_MANAGE;"
            " the deployer would lose the right to deploy",
        )


# Names that two targets may not both have in one workspace


def _name_clashes(
    bundles: list[Bundle],  # One a target; those before the last were compared already
) -> Iterator[Problem]:
    "Find what the last target calls as another one does, though a workspace has each name once."
    *others, last = bundles
    for other in others:
        hosts = [(bundle.settings.values.get("workspace") or {}).get("host") for bundle in (other, last)]
        if None not in hosts and hosts[0] != hosts[1] or "development" in (other.mode, last.mode):
            continue  # a developer's names begin with [dev …]
        taken = dict(_unique_names(other))
        where = f"in {hosts[0]}" if hosts[0] and hosts[1] else "if both are deployed to one workspace"
        for name, path in _unique_names(last):
            if name in taken:
                message = (
                    f"target {other.target} calls a {name[0]} {name[1]}, too: the second deployment ends "
                    f"in a conflict {where}; give the target a name_prefix in its presets"
                )
                yield Problem(str(last.settings.location(*path)), last.target, message)


def _unique_names(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[tuple[str, str], ValuePath]]:  # Kind and full name of a resource; path of its name
    "List the names that a workspace has once: jobs may share theirs."
    prefix = str((bundle.settings.values.get("presets") or {}).get("name_prefix") or "")
    for kind, parts in _NAME_PARTS.items():
        for key, resource in bundle.resources(kind).items():
            values = [str(resource.get(part)) for part in parts]
            known = all(
                part in resource and "${" not in value for part, value in zip(parts, values, strict=True)
            )
            if known and not resource.get("allow_duplicate_names"):
                name = prefix + values[0] if kind == "pipelines" else ".".join(values)
                yield (kind.removesuffix("s"), name), ("resources", kind, key, "name")


_NAME_PARTS = {
    "pipelines": ("name",),
    "schemas": ("catalog_name", "name"),
    "volumes": ("catalog_name", "schema_name", "name"),
}

_CHECKS: tuple[Callable[[Bundle], Iterator[_Mistake]], ...] = (
    _schedule_errors,
    _job_errors,
    _circle_errors,
    _path_errors,
    _wheel_errors,
)
