"""`cdc workspace`: serve a workspace on this machine."""

import logging
import sys
from functools import partial
from typing import Annotated

import typer

from cdc_local.cli.exit_status import guarded, interruptible
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    EngineOption,
    MemoryOption,
    QuietOption,
    StorageOption,
    examples,
)

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc workspace",
        "cdc workspace --port 0 --storage /tmp/ws --user ann@example.org",
        "CDC_WORKSPACE_TOKEN=… cdc workspace  # your own token, at least 16 characters",
    )
)
@guarded
def workspace(
    port: Annotated[
        int,
        typer.Option(
            "--port", metavar="PORT", min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one."
        ),
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
            "--refuse-environments",
            help="Refuse notebook tasks that name an environment, as some workspaces do.",
        ),
    ] = False,
    engine: EngineOption = None,
    memory: MemoryOption = None,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Serve a workspace on this machine, for the databricks command and the SDK: deploy there,
    and run what was deployed."""
    from cdc_local.storage import Storage
    from cdc_local.workspace.local_workspace import read_user_name
    from cdc_local.workspace.server import serve_workspace, start_token

    opened, name = Storage(storage).create(), read_user_name(user)
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("cdc_local.workspace").setLevel(logging.WARNING if quiet else logging.INFO)
    with (
        serve_workspace(
            opened,
            name,
            partial(start_token, opened, token),
            port,
            refuse_job_environments=refuse_job_environments,
        ) as running,
        interruptible() as stop,
    ):
        typer.echo(
            f"The workspace of {opened.root} answers {name} at {running.host}; Ctrl-C ends it. "
            "For the databricks command and the SDK:"
        )
        typer.echo(f"  export DATABRICKS_HOST={running.host}")
        typer.echo(f"  export DATABRICKS_TOKEN={running.shell_token}")
        typer.echo("  export DATABRICKS_BUNDLE_ENGINE=direct DATABRICKS_CONFIG_FILE=/dev/null")
        sys.stdout.flush()
        stop.wait()
        typer.echo("The workspace ends; what it holds stays in the storage folder.")
