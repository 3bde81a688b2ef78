"""`cdc remote` and `cdc workspace`: a workspace of Databricks, and one on this machine."""

import logging
import sys
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.app import app
from cdc_local.cli.exit_status import finish, guarded, interruptible
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    DryRunOption,
    Lines,
    LinesOption,
    QuietOption,
    StorageOption,
    examples,
    progress_style,
    read_names,
    read_pairs,
)

remote = typer.Typer(
    no_args_is_help=True,
    help="Run and watch what is deployed in a workspace. Credentials come from DATABRICKS_HOST and DATABRICKS_TOKEN, or a profile.",
)

wheels = typer.Typer(no_args_is_help=True, help="The wheels in a volume.")

ProfileOption = Annotated[
    str | None, typer.Option("--profile", help="Profile in the SDK's configuration file.")
]

EveryOption = Annotated[float, typer.Option("--every", min=0.1, help="Seconds between two looks.")]


@remote.command(
    "update",
    epilog=examples(
        "cdc remote update dlt_wheel_pipeline  # starts an update and follows it",
        "cdc remote update dlt_wheel_pipeline --full-refresh customers,customers_history",
        "cdc remote update dlt_wheel_pipeline --format json  # its events, one a line",
    ),
)
@guarded
def remote_update(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="Name or id.")],
    full_refresh: Annotated[
        list[str],
        typer.Option(
            "--full-refresh", metavar="T,…", help="Empty these tables and process all their input again."
        ),
    ] = [],
    full_refresh_all: Annotated[
        bool, typer.Option("--full-refresh-all", help="The same for all tables.")
    ] = False,
    refresh: Annotated[
        list[str], typer.Option("--refresh", metavar="T,…", help="Update only these tables.")
    ] = [],
    every: EveryOption = 5.0,
    profile: ProfileOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
):
    "Start an update of a deployed pipeline, follow it, and print what it did. Exit status 1 where it fails."
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.update import UpdateProgress
    from cdc_utils.remote import connect, follow_update, pipeline_id, start_update

    client, console, style = connect(profile=profile), make_console(), progress_style(layout, quiet)
    found = pipeline_id(client, pipeline)
    update = start_update(client, found, full_refresh_all, read_names(refresh), read_names(full_refresh))
    with UpdateProgress(console, style) as progress:
        result = follow_update(
            client, found, update, lambda event: progress.show_event(stored_event(event)), every
        )
    finish(result, console, style)


def stored_event(
    event: dict,  # A parsed event
) -> dict:  # Its objects as JSON text, as the event log's table has them
    "An event as `UpdateProgress` takes it."
    from cdc_local.delta.rows import format_json

    return {
        **event,
        **{
            key: format_json(event[key]) if event.get(key) else None for key in ("origin", "details", "error")
        },
    }


@remote.command(
    "job", epilog=examples("cdc remote job dlt_wheel_job", "cdc remote job dlt_wheel_job --param rows=500")
)
@guarded
def remote_job(
    job: Annotated[str, typer.Argument(metavar="JOB", help="Name or id.")],
    parameters: Annotated[
        list[str],
        typer.Option("--param", metavar="NAME=VALUE", help="Parameter of the job; can be repeated."),
    ] = [],
    every: EveryOption = 5.0,
    profile: ProfileOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
):
    "Run a deployed job, wait for it, and print how its tasks ended. Exit status 1 where it fails."
    from cdc_local.reports.job import JobProgress, tasks_table
    from cdc_local.reports.tables import make_console
    from cdc_utils.remote import connect, job_id, run_job

    client, console, style = connect(profile=profile), make_console(), progress_style(layout, quiet)
    given, found = read_pairs("--param", parameters), job_id(client, job)
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


FolderArgument = Annotated[
    str, typer.Argument(metavar="FOLDER", help="Folder in a volume, e.g. /Volumes/dev/shop/wheels.")
]


@wheels.command(
    "put",
    epilog=examples(
        "cdc remote wheels put dist/cdc_utils-0.1.0+4c36-py3-none-any.whl /Volumes/dev/customers/dlt_wheel_volume"
    ),
)
@guarded
def wheels_put(
    wheel: Annotated[Path, typer.Argument(metavar="WHEEL", help="The file.")],
    folder: FolderArgument,
    profile: ProfileOption = None,
    debug: DebugOption = False,
):
    "Put a wheel into a volume, and read it back."
    from cdc_utils.remote import connect, put_wheel

    typer.echo(put_wheel(connect(profile=profile), wheel, folder))


@wheels.command("list", epilog=examples("cdc remote wheels list /Volumes/dev/customers/dlt_wheel_volume"))
@guarded
def wheels_list(folder: FolderArgument, profile: ProfileOption = None, debug: DebugOption = False):
    "List the wheels of a folder, the newest first."
    from cdc_local.reports.tables import format_number, make_console, plain_table
    from cdc_utils.remote import connect, wheels_in

    found = wheels_in(connect(profile=profile), folder)
    make_console().print(
        plain_table("", ("Wheel", ">Bytes"), [(each.name, format_number(each.file_size)) for each in found])
    )


@wheels.command(
    "prune",
    epilog=examples(
        "cdc remote wheels prune /Volumes/dev/customers/dlt_wheel_volume --keep 5 --dry-run",
        "cdc remote wheels prune /Volumes/dev/customers/dlt_wheel_volume --keep 5",
    ),
)
@guarded
def wheels_prune(
    folder: FolderArgument,
    keep: Annotated[int, typer.Option("--keep", min=1, help="How many of the newest stay.")] = 5,
    dry_run: DryRunOption = False,
    profile: ProfileOption = None,
    debug: DebugOption = False,
):
    "Delete old wheels; those that a pipeline or a job names stay."
    from cdc_utils.remote import connect, prune_wheels

    gone = prune_wheels(connect(profile=profile), folder, keep, dry_run)
    for path in gone:
        typer.echo(f"{'would delete' if dry_run else 'deleted'} {path}")
    if not gone:
        typer.echo("nothing to delete")


@app.command(
    epilog=examples(
        "cdc workspace",
        "cdc workspace --port 0 --storage /tmp/ws --user ann@example.org",
        "CDC_WORKSPACE_TOKEN=… cdc workspace  # your own token, at least 16 characters",
    )
)
@guarded
def workspace(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one.")
    ] = 8765,
    storage: StorageOption = STORAGE,
    token: Annotated[str | None, typer.Option(envvar="CDC_WORKSPACE_TOKEN", hidden=True)] = None,
    user: Annotated[
        str | None,
        typer.Option("--user", metavar="NAME", help="Name of the user; the one of this machine by default."),
    ] = None,
    refuse_job_environments: Annotated[
        bool,
        typer.Option(
            "--refuse-job-environments",
            help="Refuse notebook tasks that name an environment, as some workspaces do.",
        ),
    ] = False,
    quiet: QuietOption = False,
    debug: DebugOption = False,
):
    "Serve a workspace on this machine, for the databricks command and the SDK: deploy there, and run what was deployed."
    from cdc_local.storage import Storage
    from cdc_local.workspace.call import user_name
    from cdc_local.workspace.server import serve_workspace, start_token

    place, name = Storage(storage).create(), user_name(user)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("cdc_local.workspace").setLevel(logging.WARNING if quiet else logging.INFO)
    with (
        serve_workspace(
            place,
            name,
            partial(start_token, place, token),
            port,
            refuse_job_environments=refuse_job_environments,
        ) as running,
        interruptible() as stop,
    ):
        typer.echo(
            f"The workspace of {place.root} answers {name} at {running.host}; Ctrl-C ends it. For the databricks command and the SDK:"
        )
        typer.echo(f"  export DATABRICKS_HOST={running.host}")
        typer.echo(f"  export DATABRICKS_TOKEN={running.token_shown}")
        typer.echo("  export DATABRICKS_BUNDLE_ENGINE=direct DATABRICKS_CONFIG_FILE=/dev/null")
        sys.stdout.flush()
        stop.wait()
        typer.echo("The workspace ends; what it holds stays in the storage folder.")
