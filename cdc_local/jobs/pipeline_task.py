"""A pipeline's update as a child process: `cdc run` with what the pipeline's settings say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.jobs.paths import JobPaths, find_notebook
from cdc_local.jobs.processes import PYTHON, Program
from cdc_local.source.wheels import is_wheel, refuse_missing_libraries

_RUN_CDC = (*PYTHON, "-c", "from cdc_local.cli.main import main; main()")


@dataclass(frozen=True)
class UpdateOptions:
    "What one update of a pipeline is asked to do."

    # A new one by default; an update that has one waits while another one has locked the storage
    update_id: str | None = None
    full_refresh: bool = False  # Empty and compute all tables
    refresh_selection: tuple[str, ...] = ()  # Only these
    full_refresh_selection: tuple[str, ...] = ()  # Empty and compute these
    validate_only: bool = False  # Check the graph, write nothing but events
    parameters: Mapping[str, str] = field(default_factory=dict)  # Instead of those of the pipeline
    output: tuple[str, ...] = ("--format", "json")  # Options of `cdc run` that say what it prints


def update_program(
    pipeline: dict[str, Any],  # In the shape of the Pipelines API
    options: UpdateOptions,  # What to do
    paths: JobPaths,  # Where its paths lie
) -> Program:
    """Build the program of an update: `cdc run`, whose output is one event a line, as JSON, by default.
    That of a continuous pipeline goes on until it is stopped, unless it only validates.

    Raises `UsageError` for a library that is not supported, and a dependency that is not installed.
    """
    dependencies = (pipeline.get("environment") or {}).get("dependencies") or []
    refuse_missing_libraries(dependency for dependency in dependencies if not is_wheel(dependency))
    pairs = [
        ("--storage", paths.storage.root),
        ("--catalog", pipeline.get("catalog") or "main"),
        ("--schema", pipeline.get("schema") or pipeline.get("target") or "default"),
        ("--name", pipeline.get("name") or "pipeline"),
        options.output,
        *(("--conf", f"{key}={value}") for key, value in (pipeline.get("configuration") or {}).items()),
        *(
            ("--param", f"{name}={value}")
            for name, value in {**(pipeline.get("parameters") or {}), **options.parameters}.items()
        ),
        *(("--wheel", paths.local(wheel)) for wheel in dependencies if is_wheel(wheel)),
        *_option_pairs(options),
    ]
    if pipeline.get("root_path"):
        pairs.append(("--root-path", paths.local(pipeline["root_path"])))
    arguments = [str(word) for pair in pairs for word in pair]
    flags = [
        *(["--full-refresh-all"] if options.full_refresh else []),
        *(["--dry-run", "--keep-events"] if options.validate_only else []),
        *(["--watch"] if pipeline.get("continuous") and not options.validate_only else []),
        *(["--wait-for-storage"] if options.update_id else []),
    ]
    return Program((*_RUN_CDC, "run", *list_pipeline_sources(pipeline, paths), *arguments, *flags))


def _option_pairs(
    options: UpdateOptions,  # What an update is asked to do
) -> list[tuple[str, str]]:  # Options of `cdc run` that have a value, with it
    "Write an update's options as `cdc run` has them."
    return [
        *(("--refresh", table) for table in options.refresh_selection),
        *(("--full-refresh", table) for table in options.full_refresh_selection),
        *([("--update-id", options.update_id)] if options.update_id else []),
    ]


def list_pipeline_sources(
    pipeline: dict[str, Any],  # In the shape of the Pipelines API
    paths: JobPaths,  # Where its paths lie
) -> list[str]:  # Files and patterns, as arguments of `cdc run`
    "List the source files of a pipeline; `UsageError` for a library of another kind, and for none."
    sources = []
    libraries: list[dict[str, Any]] = pipeline.get("libraries") or []
    for library in libraries:
        kind, settings = next(iter((library or {"nothing": None}).items()))
        if kind not in ("glob", "file", "notebook"):
            raise UsageError(
                f"pipeline {pipeline.get('name')}: a library of kind {kind} is not supported"
                " by the local runner",
                hint="it has glob, file and notebook",
            )
        path = paths.local(settings["include" if kind == "glob" else "path"])
        sources.append(str(find_notebook(path) if kind == "notebook" else path))
    if not sources:
        raise UsageError(
            f"pipeline {pipeline.get('name')} has no libraries",
            hint="name its source files: libraries: [{glob: {include: transformations/**}}]",
        )
    return sources
