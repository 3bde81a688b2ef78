"""`cdc bundle`: check a bundle, run its jobs and pipelines."""

from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.exit_status import INTERRUPTED, finish, guarded, interruptible
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    Lines,
    LinesOption,
    QuietOption,
    StorageOption,
    examples,
    progress_style,
    read_names,
    read_pairs,
)
from cdc_local.errors import UsageError


def find_bundles(
    start: Path,  # A folder
) -> list[
    Path
]:  # Folders with a `databricks.yml`: the folder itself, else those below it and below `bundles/`
    "The bundles of a folder; `UsageError` where there is none."
    if (start / "databricks.yml").is_file():
        return [start]
    found = sorted(
        path.parent
        for pattern in ("*/databricks.yml", "bundles/*/databricks.yml")
        for path in start.glob(pattern)
    )
    if found:
        return found
    raise UsageError(
        f"no bundle in {start}: there is no databricks.yml", hint="--bundle DIR names its folder"
    )


def choose_bundle(
    key: str,  # Key of a job or a pipeline
    folder: Path | None,  # What `--bundle` said
    start: Path,  # Where to look otherwise
) -> Path:  # The bundle that declares it
    "Choose the bundle; `UsageError` where several could be meant."
    from cdc_local.bundles.bundle import read_bundle_files

    folders = [folder] if folder else find_bundles(start)
    if len(folders) == 1:
        return folders[0]
    known = {
        each: [
            name
            for kind in ("jobs", "pipelines")
            for name in (read_bundle_files(each).values.get("resources") or {}).get(kind) or ()
        ]
        for each in folders
    }
    having = [each for each in folders if key in known[each]]
    if len(having) == 1:
        return having[0]
    if having:
        raise UsageError(
            f"{len(having)} bundles here have {key!r}: {', '.join(map(str, having))}",
            hint="--bundle DIR names one",
        )
    raise UsageError(
        f"no bundle here has a job or a pipeline {key!r}",
        hint=f"there are {', '.join(name for names in known.values() for name in names) or 'none'}",
    )


bundles = typer.Typer(
    no_args_is_help=True, help="Check a bundle, and run its jobs and pipelines on this machine."
)

BundleOption = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Folder of databricks.yml.")
]

TargetOption = Annotated[
    str | None, typer.Option("--target", "-t", help="Target; the default one by default.")
]

VariableOption = Annotated[
    list[str], typer.Option("--var", metavar="NAME=VALUE", help="Value of a variable; can be repeated.")
]


@bundles.command(
    "check",
    epilog=examples(
        "cdc bundle check  # every bundle here, every target",
        "cdc bundle check bundles/app --target prod",
        "cdc bundle check --format json",
    ),
)
@guarded
def bundle_check(
    folders: Annotated[
        list[Path], typer.Argument(metavar="DIR…", help="Folders of bundles; those found here by default.")
    ] = [],
    target: Annotated[
        str | None, typer.Option("--target", "-t", help="Only this target; every one by default.")
    ] = None,
    variables: VariableOption = [],
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
):
    "Find what Databricks would refuse, and what nobody can want, in every target, without a workspace. Exit status 1 where there is any."
    from cdc_local.bundles.check import bundle_problems
    from cdc_local.delta.rows import format_json

    given, problems, checked = read_pairs("--var", variables), [], folders or find_bundles(Path())
    for each in checked:
        problems += bundle_problems(each, [target] if target else [], given)
    for problem in problems:
        typer.echo(format_json(vars(problem)) if layout is Lines.json else str(problem))
    if problems:
        raise typer.Exit(1)
    if layout is Lines.table:
        typer.echo(f"no problem in {', '.join(map(str, checked))}")


@bundles.command(
    "run",
    epilog=examples(
        "cdc bundle run dlt_wheel_job  # every task of the job, in order",
        "cdc bundle run dlt_wheel_job --target dev --param rows=500 --var default_schema=tryout",
        "cdc bundle run dlt_wheel_pipeline --full-refresh-all",
    ),
)
@guarded
def bundle_run(
    key: Annotated[str, typer.Argument(metavar="KEY", help="Key of a job or a pipeline in the bundle.")],
    folder: BundleOption = None,
    target: TargetOption = None,
    variables: VariableOption = [],
    parameters: Annotated[
        list[str],
        typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the job; can be repeated."),
    ] = [],
    full_refresh: Annotated[
        list[str],
        typer.Option(
            "--full-refresh",
            metavar="T,…",
            help="Of a pipeline: empty these tables and process all their input again.",
        ),
    ] = [],
    full_refresh_all: Annotated[
        bool, typer.Option("--full-refresh-all", help="Of a pipeline: the same for all tables.")
    ] = False,
    refresh: Annotated[
        list[str], typer.Option("--refresh", metavar="T,…", help="Of a pipeline: update only these tables.")
    ] = [],
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
):
    "Run a job or a pipeline of a bundle on this machine, as its YAML says: variables, target, parameters, order, retries, timeouts, the wheel that it builds."
    from cdc_local.bundles.bundle import load_bundle
    from cdc_local.bundles.run import RunRequest, find_resource_kind
    from cdc_local.jobs.pipeline_task import UpdateOptions
    from cdc_local.storage import Storage

    bundle = load_bundle(choose_bundle(key, folder, Path()), target, read_pairs("--var", variables))
    options, given = (
        UpdateOptions(None, full_refresh_all, read_names(refresh), read_names(full_refresh)),
        read_pairs("--param", parameters),
    )
    kind = find_resource_kind(bundle, key)
    if kind == "pipelines" and given:
        raise UsageError(
            f"{key} is a pipeline and takes no --param", hint="its configuration is in the bundle"
        )
    if kind == "jobs" and options != UpdateOptions():
        raise UsageError(f"{key} is a job; --refresh and --full-refresh are for pipelines")
    request = RunRequest(bundle, key, Storage(storage).create(), given, options)
    (run_job_and_print if kind == "jobs" else run_pipeline_and_print)(request, progress_style(layout, quiet))


def run_job_and_print(
    request,  # `RunRequest`
    style: str,  # Style of `JobProgress`
) -> None:
    "Run a job, and print how its tasks ended."
    from dataclasses import replace

    from cdc_local.bundles.run import run_bundle_job
    from cdc_local.reports.job import JobProgress, tasks_table
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.update import result_table

    console = make_console()
    with (
        interruptible() as stop,
        JobProgress(
            console, style, len(request.bundle.resources("jobs")[request.key].get("tasks") or ())
        ) as progress,
    ):
        done = run_bundle_job(
            replace(
                request,
                on_line=progress.show_line,
                on_event=progress.show_event,
                on_change=progress.show_task,
            ),
            stop,
        )
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


def run_pipeline_and_print(
    request,  # `RunRequest`
    style: str,  # Style of `UpdateProgress`
) -> None:
    "Run one update of a pipeline, and print what it did."
    from dataclasses import replace

    from cdc_local.bundles.run import UpdateFailedError, build_artifacts, run_pipeline
    from cdc_local.reports.job import JobProgress
    from cdc_local.reports.tables import make_console

    console = make_console()
    with interruptible() as stop, JobProgress(console, style) as progress:
        build_artifacts(request.bundle, lambda line: progress.show_line("", line))
        try:
            result = run_pipeline(
                replace(request, on_line=progress.show_line, on_event=progress.show_event),
                request.key,
                request.options,
                stop,
            )
        except UpdateFailedError as failed:
            if not failed.result.flows and not stop.is_set():
                raise
            result = replace(
                failed.result,
                state="CANCELED" if stop.is_set() else "FAILED",
                error=failed.result.error or str(failed),
            )
    finish(result, console, style)
