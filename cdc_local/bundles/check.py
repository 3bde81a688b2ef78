"""Every mistake in a bundle that can be seen without a workspace, for every target, at its line."""

import re
import types
import typing
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from zoneinfo import available_timezones

from cdc_local.bundles.bundle import Bundle, BundleError, User, load_bundle, read_files
from cdc_local.errors import UsageError
from cdc_local.jobs.scheduler import check_tasks, upstream_keys
from cdc_local.source.wheels import is_wheel


@dataclass(frozen=True, order=True)
class Problem:
    "Something that Databricks would refuse, or that nobody can want."

    location: str  # file:line
    target: str  # The target in which it shows
    message: str  # What is wrong, and what to do

    def __str__(self):
        return f"{self.location}: {self.message} (target {self.target})"


def resource_types() -> dict[str, type]:  # Kind of resource -> its type
    "Databricks' own types; `UsageError` where the library is missing."
    try:
        from databricks.bundles.jobs import Job
        from databricks.bundles.pipelines import Pipeline
        from databricks.bundles.schemas import Schema
        from databricks.bundles.volumes import Volume
    except ImportError:
        raise UsageError(
            "checking a bundle needs databricks-bundles", hint="pip install 'cdc-utils[local]'"
        ) from None
    return {"jobs": Job, "pipelines": Pipeline, "schemas": Schema, "volumes": Volume}


def plain_type(
    hint,  # A type annotation of databricks-bundles
):  # Without the variable and without None
    "What a field holds: `VariableOrOptional[int]` is an int."
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    from databricks.bundles.core import Variable

    kinds = [
        each
        for each in typing.get_args(hint)
        if each is not type(None) and typing.get_origin(each) is not Variable
    ]
    return plain_type(kinds[0]) if len(kinds) == 1 else typing.Union[tuple(kinds)]


SCALARS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}


def scalar_error(
    kind: type,  # int, float, bool or str
    value,  # What the YAML says
) -> str | None:  # What is wrong
    "Hold a value against what it should be."
    good = (
        isinstance(value, kind)
        and (kind is bool or not isinstance(value, bool))
        or kind is float
        and isinstance(value, int)
        or kind is str
        and isinstance(value, (int, float))
        and not isinstance(value, bool)
    )
    return None if good else f"{value!r} is not {SCALARS[kind]}"


def type_errors(
    kind,  # A type annotation
    value,  # What the YAML says, filled in
    at: tuple,  # Where it stands
) -> Iterator[tuple[tuple, str]]:  # Where, and what is wrong
    "Everything about a value that its type does not allow."
    kind = plain_type(kind)
    if isinstance(value, str) and value.startswith("${") or value is None:
        return  # only a deployment knows it
    if kind in SCALARS:
        wrong = scalar_error(kind, value)
        if wrong:
            yield at, wrong
    elif typing.get_origin(kind) is list:
        if not isinstance(value, list):
            yield at, f"{value!r} is not a list"
        else:
            for place, each in enumerate(value):
                yield from type_errors(typing.get_args(kind)[0], each, (*at, place))
    elif typing.get_origin(kind) is dict:
        if not isinstance(value, dict):
            yield at, f"{value!r} is not a mapping"
        else:
            for key, each in value.items():
                yield from type_errors(typing.get_args(kind)[1], each, (*at, key))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        allowed = [each.value for each in kind]
        if value not in allowed:
            yield at, f"{value!r} is none of {', '.join(map(str, allowed))}"
    elif is_dataclass(kind):
        yield from field_errors(kind, value, at)


def field_errors(
    kind: type,  # A dataclass of databricks-bundles
    value,  # What the YAML says
    at: tuple,  # Where it stands
) -> Iterator[tuple[tuple, str]]:
    "Unknown and missing fields, and what is wrong in the others."
    import dataclasses
    import difflib

    if not isinstance(value, dict):
        yield at, f"{value!r} is not a mapping"
        return
    hints, known = typing.get_type_hints(kind), {each.name: each for each in fields(kind)}
    for name in value:
        near = difflib.get_close_matches(str(name), known, 1)
        if name not in known:
            yield (
                (*at, name),
                f"{kind.__name__} has no field {name!r}" + (f"; did you mean {near[0]}?" if near else ""),
            )
        else:
            yield from type_errors(hints[name], value[name], (*at, name))
    for name, each in known.items():
        if (
            name not in value
            and each.default is dataclasses.MISSING
            and each.default_factory is dataclasses.MISSING
        ):
            yield at, f"{kind.__name__} needs {name}"


def cron_error(
    expression: str,  # A Quartz cron expression
) -> str | None:  # What is wrong
    "Hold a schedule against Quartz's rules."
    from croniter import croniter

    parts = str(expression).split()
    if len(parts) not in (6, 7):
        return f"{expression!r} has {len(parts)} fields; Quartz wants second minute hour day month weekday, and may have a year"
    if [parts[3], parts[5]].count("?") != 1:
        return f"{expression!r}: one of day and weekday must be ?, and only one"
    if len(parts) == 7 and not all(
        each == "*" or each.isdigit() and len(each) == 4
        for field in parts[6].split(",")
        for each in field.split("/")[0].split("-")
    ):
        return f"{expression!r}: {parts[6]!r} is no year"
    day = re.sub(
        r"^(?:(\d+)W|LW|L-\d+)$", lambda found: found[1] or "L", parts[3]
    )  # near the 15th, the last weekday, three days before the last: croniter has no words for them
    weekday = re.sub(
        r"(?<![\w#/])0", "8", re.sub(r"(?<=\w)L$", "", {"L": "7"}.get(parts[5], parts[5]))
    )  # the last Friday; 0 is no day
    plain = ["*" if part == "?" else part for part in (*parts[:3], day, parts[4], weekday)]
    return (
        None
        if croniter.is_valid(" ".join(plain), second_at_beginning=True)
        else f"{expression!r} is no time at which anything could run"
    )


def schedule_errors(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[tuple, str]]:
    "Schedules that cannot be, and those that would run in dev."
    for key, job in bundle.resources("jobs").items():
        schedule, at = job.get("schedule") or {}, ("resources", "jobs", key, "schedule")
        wrong = (
            cron_error(schedule["quartz_cron_expression"]) if schedule.get("quartz_cron_expression") else None
        )
        if wrong:
            yield (*at, "quartz_cron_expression"), wrong
        zone = schedule.get("timezone_id")
        if zone and zone not in available_timezones():
            yield (*at, "timezone_id"), f"{zone!r} is no time zone"
        for name in ("schedule", "trigger", "continuous"):
            if (
                bundle.mode == "development"
                and isinstance(job.get(name), dict)
                and job[name].get("pause_status") == "UNPAUSED"
            ):
                yield (
                    ("resources", "jobs", key, name),
                    f"the {name} of {key} runs in mode development; leave pause_status out, the target decides",
                )
    for key, pipeline in bundle.resources("pipelines").items():
        if bundle.mode == "development" and pipeline.get("continuous"):
            yield (
                ("resources", "pipelines", key, "continuous"),
                f"pipeline {key} never ends in mode development",
            )


def job_errors(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[tuple, str]]:
    "Jobs without tasks, tasks that wait for nothing or for each other, environments and clusters that are not there."
    for key, job in bundle.resources("jobs").items():
        at, tasks = ("resources", "jobs", key), job.get("tasks") or []
        names = [task.get("task_key") for task in tasks]
        if not all(isinstance(name, str) for name in names):
            continue  # told as a missing field
        try:
            check_tasks(tasks)
        except UsageError as wrong:
            place = next(
                (
                    place
                    for place, task in enumerate(tasks)
                    if any(need not in names for need in upstream_keys(task))
                ),
                None,
            )
            yield (at if place is None else (*at, "tasks", place, "depends_on")), str(wrong)
        for shared, name in (("environments", "environment_key"), ("job_clusters", "job_cluster_key")):
            known = {each.get(name) for each in job.get(shared) or ()}
            for place, task in enumerate(tasks):
                if task.get(name) and task[name] not in known:
                    yield (*at, "tasks", place, name), f"the job has no {name} {task[name]!r}"


FILES = {
    ("notebook_task", "notebook_path"): "notebook",
    ("spark_python_task", "python_file"): "file",
    ("file", "path"): "file",
    ("notebook", "path"): "notebook",
}  # Last keys of a path -> what it names


def walk_values(
    value,  # A part of the bundle
    at: tuple,  # Where it stands
) -> Iterator[tuple[tuple, object]]:  # Every scalar, and where it stands
    "All values of a part."
    children = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    if not isinstance(value, (dict, list)):
        yield at, value
    for key, each in children:
        yield from walk_values(each, (*at, key))


def path_errors(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[tuple, str]]:
    "Files, folders and patterns that name nothing."
    elsewhere = {
        ("resources", "jobs", key) for key, job in bundle.resources("jobs").items() if job.get("git_source")
    }  # their files are in a repository
    for at, value in walk_values(bundle.said.values.get("resources") or {}, ("resources",)):
        if not isinstance(value, str) or value.startswith(("/", "${", "dbfs:")) or at[:3] in elsewhere:
            continue
        what = FILES.get(at[-2:])
        if what and not any(
            bundle.path_at(*at).with_name(bundle.path_at(*at).name + suffix).is_file()
            for suffix in ("", ".ipynb", ".py", ".sql")
        ):
            yield at, f"there is no {what} {value}"
        if at[-2:] == ("glob", "include") and not pattern_matches(bundle.path_at(*at)):
            yield at, f"{value} matches no source file; a pipeline without any makes no tables"
        if at[-1] == "root_path" and not bundle.path_at(*at).is_dir():
            yield at, f"there is no folder {value}"
    for place, value in enumerate((bundle.said.values.get("sync") or {}).get("paths") or ()):
        if not bundle.path_at("sync", "paths", place).exists():
            yield ("sync", "paths", place), f"there is no folder {value} to sync"


def pattern_matches(
    pattern: Path,  # A path with `*` or `**`
) -> bool:
    "Whether a pattern of source files matches any."
    parts = pattern.parts
    fixed = next((place for place, part in enumerate(parts) if "*" in part), len(parts))
    root, rest = Path(*parts[:fixed]), "/".join(parts[fixed:])
    if rest.endswith("**"):
        rest += "/*"
    if not rest:
        return root.exists()
    return root.is_dir() and any(
        path.is_file() and path.suffix in (".py", ".sql", ".ipynb") for path in root.glob(rest)
    )


def wheel_errors(
    bundle: Bundle,  # For one target
) -> Iterator[tuple[tuple, str]]:
    "Wheels by a relative path that no artifact of the bundle builds."
    built = [
        bundle.path_at("artifacts", key, "path") if artifact.get("path") else bundle.folder.absolute()
        for key, artifact in (bundle.said.values.get("artifacts") or {}).items()
    ]
    for at, value in walk_values(bundle.said.values.get("resources") or {}, ("resources",)):
        if (
            not isinstance(value, str)
            or not is_wheel(value)
            or value.startswith(("/", "${", "dbfs:"))
            or not ("dependencies" in at or at[-1] == "whl")
        ):
            continue
        path = bundle.path_at(*at)
        if not path.exists() and not any(path.is_relative_to(folder) for folder in built):
            yield at, f"there is no wheel {value}, and no artifact builds it"


def permission_errors(
    bundle: Bundle,  # For one target
    deployer: str,  # Who deploys, as Databricks knows them
) -> Iterator[tuple[tuple, str]]:
    "Production in which whoever runs things may not manage them: the next deployment would lock itself out."
    if bundle.mode != "production":
        return
    granted = bundle.said.values.get("permissions") or []
    run_as = bundle.said.values.get("run_as") or {}
    if not run_as:
        yield (
            ("targets", bundle.target),
            f"target {bundle.target} is production and has no run_as; name a service principal",
        )
    names = {deployer, run_as.get("service_principal_name"), run_as.get("user_name")} - {None}
    managers = {
        each.get(key)
        for each in granted
        for key in ("user_name", "service_principal_name")
        if each.get("level") == "CAN_MANAGE"
    }
    if granted and not names & managers:
        yield (
            ("permissions",),
            f"nobody of {', '.join(sorted(names))} is CAN_MANAGE; the deployer would lose the right to deploy",
        )


CHECKS = (schedule_errors, job_errors, path_errors, wheel_errors)


def target_problems(
    bundle: Bundle,  # For one target
    user: User,  # Who deploys
) -> Iterator[Problem]:
    "Everything that is wrong for one target."

    def problem(at, wrong):
        return Problem(str(bundle.said.where(*at)), bundle.target, wrong)

    for kind, expected in resource_types().items():
        for key, value in bundle.resources(kind).items():
            for at, wrong in type_errors(expected, value, ("resources", kind, key)):
                yield problem(at, wrong)
    for check in CHECKS:
        for at, wrong in check(bundle):
            yield problem(at, wrong)
    for at, wrong in permission_errors(bundle, user.name):
        yield problem(at, wrong)


def problem_of(
    wrong: BundleError,  # What stopped the reading of a bundle
    target: str,  # The target in which it shows
) -> Problem:
    "A mistake that hides all others."
    return Problem(str(wrong.location), target, str(wrong).removeprefix(f"{wrong.location}: "))


def bundle_problems(
    folder: Path,  # The folder of `databricks.yml`
    targets: Iterable[str] = (),  # Names of targets; all by default
    variables: dict = {},  # Values from the command line
    user: User = User("deployer@example.org"),  # Who deploys
    environ: dict = None,  # Environment variables; those of this process by default
) -> list[Problem]:  # In the order of files and lines; the same mistake once
    "Check a bundle for each target; raises `UsageError` for a target or variable that is not there."
    try:
        known, problems = list(read_files(Path(folder)).values.get("targets") or {}), {}
    except BundleError as wrong:
        return [problem_of(wrong, "any")]
    for name in targets:
        if name not in known:
            raise UsageError(f"no target {name!r} in this bundle", hint=f"it has {', '.join(known)}")
    for target in targets or known or [None]:
        try:
            found = list(target_problems(load_bundle(folder, target, variables, user, environ), user))
        except BundleError as wrong:
            found = [problem_of(wrong, str(target))]
        for problem in found:
            problems.setdefault((problem.location, problem.message), problem)
    return sorted(
        problems.values(),
        key=lambda problem: (problem.location.rsplit(":", 1)[0], line_of(problem.location), problem.message),
    )


def line_of(
    location: str,  # file:line
) -> int:
    "The line of a location, 0 where it has none."
    line = location.rsplit(":", 1)[-1]
    return int(line) if line.isdigit() else 0
