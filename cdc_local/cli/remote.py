"""`cdc remote`: run and watch what is deployed in a workspace."""

from pathlib import Path
from typing import Annotated, Any

import typer

from cdc_local.cli.exit_status import finish, guarded
from cdc_local.cli.options import (
    DebugOption,
    DryRunOption,
    FullRefreshAllOption,
    FullRefreshOption,
    Lines,
    LinesOption,
    QuietOption,
    RefreshOption,
    examples,
    progress_style,
    read_names,
    read_pairs,
)

commands = typer.Typer(
    no_args_is_help=True,
    help="Run and watch what is deployed in a workspace. "
    "Credentials come from DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile.",
)

_wheel_commands = typer.Typer(no_args_is_help=True, help="The wheels in a volume.")
commands.add_typer(_wheel_commands, name="wheels")

_ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Profile in the SDK's configuration file.")
]

_EveryOption = Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")]

_FolderArgument = Annotated[
    str, typer.Argument(metavar="FOLDER", help="Folder in a volume, e.g. /Volumes/dev/shop/wheels.")
]


@commands.command(
    "update",
    epilog=examples(
        "cdc remote update dlt_wheel_pipeline  # starts an update and follows it",
        "cdc remote update dlt_wheel_pipeline --full-refresh customers,customers_history",
        "cdc remote update dlt_wheel_pipeline --format json  # its events, one a line",
    ),
)
@guarded
def run_remote_update(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name or id.")],
    full_refresh: FullRefreshOption = None,
    full_refresh_all: FullRefreshAllOption = False,
    refresh: RefreshOption = None,
    every: _EveryOption = 5.0,
    profile: _ProfileOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    "Start an update of a deployed pipeline, follow it, and print what it did. Exit status 1 where it fails."
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.update import UpdateProgress
    from cdc_utils.remote import connect, find_pipeline_id, follow_update, start_update

    client, console, style = connect(profile=profile), make_console(), progress_style(layout, quiet)
    found = find_pipeline_id(client, pipeline)
    update = start_update(client, found, full_refresh_all, read_names(refresh), read_names(full_refresh))
    with UpdateProgress(console, style) as progress:
        result = follow_update(
            client, found, update, lambda event: progress.show_event(to_log_event(event)), every
        )
    finish(result, console, style, progress.seconds())


def to_log_event(
    event: dict[str, Any],  # A parsed event
) -> dict[str, Any]:  # Its objects as JSON text, as the event log's table has them
    "Write an event as `UpdateProgress` reads it."
    from cdc_local.delta.rows import format_json

    texts = {
        key: format_json(event[key]) if event.get(key) else None for key in ("origin", "details", "error")
    }
    return event | texts


@commands.command(
    "job", epilog=examples("cdc remote job dlt_wheel_job", "cdc remote job dlt_wheel_job --param rows=500")
)
@guarded
def run_remote_job(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Name or id.")],
    parameters: Annotated[
        list[str] | None,
        typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the job; can be repeated."),
    ] = None,
    every: _EveryOption = 5.0,
    profile: _ProfileOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    "Run a deployed job, wait for it, and print how its tasks ended. Exit status 1 where it fails."
    from cdc_local.reports.job import JobProgress, tasks_table
    from cdc_local.reports.tables import make_console
    from cdc_utils.remote import connect, find_job_id, run_job

    client, console, style = connect(profile=profile), make_console(), progress_style(layout, quiet)
    given, found = read_pairs("--param", parameters), find_job_id(client, job)
    tasks = len(client.jobs.get(found).settings.tasks or ())
    with JobProgress(console, style, tasks) as progress:
        result, runs = run_job(client, found, given, progress.show_task, every)
    if style == "auto":
        console.print(tasks_table(runs))
        typer.echo(f"Job {job} is {result}.")
    if result in ("SUCCESS", "SUCCESS_WITH_FAILURES"):
        return
    for run in runs:
        if run.message:
            typer.echo(f"error: {run.task_key}: {run.message}", err=True)
    raise typer.Exit(1)


@_wheel_commands.command(
    "put",
    epilog=examples(
        "cdc remote wheels put dist/cdc_utils-0.1.0+4c36-py3-none-any.whl "
        "/Volumes/dev/customers/dlt_wheel_volume"
    ),
)
@guarded
def put_remote_wheel(
    wheel: Annotated[Path, typer.Argument(metavar="WHEEL", help="The file.")],
    folder: _FolderArgument,
    profile: _ProfileOption = None,
    debug: DebugOption = False,
) -> None:
    "Put a wheel into a volume, and read it back."
    from cdc_utils.remote import connect, upload_wheel

    typer.echo(upload_wheel(connect(profile=profile), wheel, folder))


@_wheel_commands.command(
    "list", epilog=examples("cdc remote wheels list /Volumes/dev/customers/dlt_wheel_volume")
)
@guarded
def list_remote_wheels(
    folder: _FolderArgument,
    profile: _ProfileOption = None,
    debug: DebugOption = False,
) -> None:
    "List the wheels of a folder, the newest first."
    from cdc_local.reports.tables import format_number, make_console, plain_table
    from cdc_utils.remote import connect, list_wheels

    found = list_wheels(connect(profile=profile), folder)
    lines = [(wheel.name, format_number(wheel.file_size)) for wheel in found]
    make_console().print(plain_table("", ("Wheel", ">Bytes"), lines))


@_wheel_commands.command(
    "prune",
    epilog=examples(
        "cdc remote wheels prune /Volumes/dev/customers/dlt_wheel_volume --keep 5 --dry-run",
        "cdc remote wheels prune /Volumes/dev/customers/dlt_wheel_volume --keep 5",
    ),
)
@guarded
def prune_remote_wheels(
    folder: _FolderArgument,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest stay.")] = 5,
    dry_run: DryRunOption = False,
    profile: _ProfileOption = None,
    debug: DebugOption = False,
) -> None:
    "Delete old wheels; those that a pipeline or a job names stay."
    from cdc_utils.remote import connect, prune_wheels

    deleted = prune_wheels(connect(profile=profile), folder, keep, dry_run)
    for path in deleted:
        typer.echo(f"{'would delete' if dry_run else 'deleted'} {path}")
    if not deleted:
        typer.echo("nothing to delete")
