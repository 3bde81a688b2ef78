"""`cdc bundle`: check a bundle, run its jobs and pipelines."""

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import INTERRUPTED, finish, guarded, interruptible
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    EngineOption,
    Lines,
    LinesOption,
    MemoryOption,
    QuietOption,
    StorageOption,
    examples,
    progress_style,
    read_names,
    read_pairs,
    read_parameters,
)
from cdc_local.errors import PipelineError, UsageError

if TYPE_CHECKING:
    from cdc_local.bundles.run import RunRequest

commands = typer.Typer(
    no_args_is_help=True, help="Check a bundle, and run its jobs and pipelines on this machine."
)

_BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Folder of databricks.yml.")
]

_TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="Target; the default one by default.")
]

_VariableOption = Annotated[
    list[str] | None,
    typer.Option("--var", metavar="NAME=VALUE", help="Value of a variable; can be repeated."),
]


@commands.command(
    "check",
    epilog=examples(
        "cdc bundle check  # every bundle here, every target",
        "cdc bundle check bundles/app --target prod",
        "cdc bundle check --format json",
    ),
)
@guarded
def check_bundles(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="DIR…", help="Folders of bundles; those found here by default."),
    ] = None,
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Only this target; every one by default.")
    ] = None,
    variables: _VariableOption = None,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
) -> None:
    """Find what Databricks would refuse, and likely mistakes, with file and line, in every target.
    Needs no workspace. Exit status 1 where there is any."""
    from cdc_local.bundles.check import bundle_problems
    from cdc_local.delta.rows import format_json

    given, checked = read_pairs("--var", variables), folders or find_bundles(Path())
    problems = [
        problem
        for folder in checked
        for problem in bundle_problems(folder, [target] if target else [], given)
    ]
    for problem in problems:
        typer.echo(format_json(vars(problem)) if layout is Lines.json else str(problem))
    if problems:
        raise typer.Exit(1)
    if layout is Lines.table:
        typer.echo(f"no problem in {', '.join(map(str, checked))}")


@commands.command(
    "run",
    epilog=examples(
        "cdc bundle run dlt_wheel_job  # every task of the job, in order",
        "cdc bundle run dlt_wheel_job --target dev --param rows=500 --var default_schema=tryout",
        "cdc bundle run dlt_wheel_pipeline --full-refresh-all",
        "cdc bundle run live_pipeline  # `continuous: true`: now and after each change, until Ctrl-C",
    ),
)
@guarded
def run_resource(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a job or a pipeline in the bundle.")],
    folder: _BundleOption = None,
    target: _TargetOption = None,
    variables: _VariableOption = None,
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the job; can be repeated."),
    ] = None,
    full_refresh: Annotated[
        list[str] | None,
        typer.Option(
            "--full-refresh",
            metavar="T,…",
            help="Of a pipeline: empty these tables and process all their input again.",
        ),
    ] = None,
    full_refresh_all: Annotated[
        bool, typer.Option("--full-refresh-all", help="Of a pipeline: the same for all tables.")
    ] = False,
    refresh: Annotated[
        list[str] | None,
        typer.Option("--refresh", metavar="T,…", help="Of a pipeline: update only these tables."),
    ] = None,
    engine: EngineOption = None,
    memory: MemoryOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
) -> None:
    """Run a job or a pipeline of a bundle on this machine, as its YAML says: variables, target, parameters,
    order, retries, timeouts, the wheel that it builds."""
    from cdc_local.bundles.bundle import load_bundle
    from cdc_local.bundles.run import RunRequest, find_resource_kind
    from cdc_local.jobs.pipeline_task import UpdateOptions
    from cdc_local.storage import Storage

    bundle = load_bundle(choose_bundle(key, folder, Path()), target, read_pairs("--var", variables))
    options = UpdateOptions(None, full_refresh_all, read_names(refresh), read_names(full_refresh))
    given = read_pairs("--param", parameters)
    kind = find_resource_kind(bundle, key)
    if kind == "pipelines":
        options = replace(options, parameters=read_parameters(parameters))
    if kind == "jobs" and options != UpdateOptions():
        raise UsageError(f"{key} is a job; --refresh and --full-refresh are for pipelines")
    request = RunRequest(bundle, key, Storage(storage).create(), given, options)
    style = progress_style(layout, quiet)
    if kind == "jobs":
        _run_job(request, style)
    elif bundle.resources("pipelines")[key].get("continuous"):
        _run_continuous_pipeline(request, style)
    else:
        _run_pipeline(request, style)


def find_bundles(
    start: Path,  # A folder
) -> list[Path]:  # Folders of databricks.yml: the folder itself, else those in it and in its `bundles/`
    "Find the bundles of a folder; `UsageError` where there is none."
    if (start / "databricks.yml").is_file():
        return [start]
    patterns = ("*/databricks.yml", "bundles/*/databricks.yml")
    found = sorted(path.parent for pattern in patterns for path in start.glob(pattern))
    if found:
        return found
    raise UsageError(
        f"no bundle in {start}: there is no databricks.yml", hint="--bundle DIR names its folder"
    )


def choose_bundle(
    key: str,  # Key of a job or a pipeline
    folder: Path | None,  # What `--bundle` names
    start: Path,  # Where to look otherwise
) -> Path:  # The bundle that declares it
    "Choose the bundle; `UsageError` where several could be meant, or none."
    folders = [folder] if folder else find_bundles(start)
    if len(folders) == 1:
        return folders[0]
    keys = {bundle: _resource_keys(bundle) for bundle in folders}
    declaring = [bundle for bundle in folders if key in keys[bundle]]
    if len(declaring) == 1:
        return declaring[0]
    if declaring:
        raise UsageError(
            f"{len(declaring)} bundles here have {key!r}: {', '.join(map(str, declaring))}",
            hint="--bundle DIR names one",
        )
    known = ", ".join(name for names in keys.values() for name in names)
    raise UsageError(f"no bundle here has a job or a pipeline {key!r}", hint=f"there are {known or 'none'}")


def _resource_keys(
    folder: Path,  # Of a bundle
) -> list[str]:  # Keys of its jobs, then of its pipelines
    "List what a bundle can run."
    from cdc_local.bundles.bundle import read_bundle_files

    resources = read_bundle_files(folder).values.get("resources") or {}
    return [key for kind in ("jobs", "pipelines") for key in resources.get(kind) or ()]


def _run_job(
    request: "RunRequest",  # The job
    style: str,  # Style of `JobProgress`
) -> None:
    """Run a job, and print how its tasks ended; raises `typer.Exit` with 1 where it failed, with 130 where it
    was stopped."""
    from cdc_local.bundles.run import run_bundle_job
    from cdc_local.reports.job import JobProgress, tasks_table
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.update import result_table

    console = make_console()
    tasks = len(request.bundle.resources("jobs")[request.key].get("tasks") or ())
    with interruptible() as stop, JobProgress(console, style, tasks) as progress:
        listening = replace(
            request, on_line=progress.show_line, on_event=progress.show_event, on_change=progress.show_task
        )
        done = run_bundle_job(listening, stop)
    if style == "auto":
        for result in done.updates.values():
            console.print(result_table(result.flows))
        console.print(tasks_table(done.tasks))
        typer.echo(f"Job {request.key} is {done.result}.")
    if done.result == "CANCELED":
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(130)
    if done.result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
        return
    for run in done.tasks:
        if run.message:
            typer.echo(f"error: {run.task_key}: {run.message}", err=True)
    raise typer.Exit(1)


def _run_pipeline(
    request: "RunRequest",  # The pipeline
    style: str,  # Style of `JobProgress`
) -> None:
    "Run one update of a pipeline, and print what it did; raises `typer.Exit` as `finish` does."
    from cdc_local.bundles.run import UpdateFailedError, build_artifacts, run_pipeline
    from cdc_local.reports.job import JobProgress
    from cdc_local.reports.tables import make_console

    console = make_console()
    with interruptible() as stop, JobProgress(console, style) as progress:
        build_artifacts(request.bundle, lambda line: progress.show_line("", line))
        listening = replace(request, on_line=progress.show_line, on_event=progress.show_event)
        try:
            result = run_pipeline(listening, request.key, request.options, stop)
        except UpdateFailedError as failed:
            if not failed.result.flows and not stop.is_set():
                raise
            state = "CANCELED" if stop.is_set() else "FAILED"
            result = replace(failed.result, state=state, error=failed.result.error or str(failed))
    finish(result, console, style, progress.update_seconds)


def _run_continuous_pipeline(
    request: "RunRequest",  # The pipeline
    style: str,  # Style of `WatchProgress`
) -> None:
    "Run updates of a pipeline until Ctrl-C; raises `typer.Exit` with 130 where that stopped one."
    from cdc_local.bundles.run import build_artifacts, run_continuous_pipeline
    from cdc_local.jobs.processes import KEPT_LINES

    printed: deque[str] = deque(maxlen=KEPT_LINES)

    def print_error(line: str) -> None:
        printed.append(line)
        typer.echo(line, err=True)

    output = {"json": ("--format", "json"), "quiet": ("--quiet",)}.get(style, ())
    with interruptible() as stop:
        build_artifacts(request.bundle, print_error if style == "auto" else None)
        try:
            was_update_stopped = run_continuous_pipeline(request, stop, typer.echo, print_error, output)
        except PipelineError as error:
            if f"error: {error}" in "\n".join(printed):
                raise typer.Exit(1) from None  # the updates said so themselves
            raise
    if was_update_stopped:
        raise typer.Exit(130)  # the update said so itself
