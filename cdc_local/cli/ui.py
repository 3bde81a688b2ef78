"""`cdc ui`: pages over a storage, for a browser on this machine."""

import sys
import webbrowser
from typing import Annotated

import typer

from cdc_local.cli.exit_status import guarded, interruptible
from cdc_local.cli.options import STORAGE, DebugOption, StorageOption, examples, open_storage

commands = typer.Typer()


@commands.command(
    epilog=examples("cdc ui", "cdc ui --storage /tmp/shop --open", "cdc ui --port 8000"),
)
@guarded
def ui(
    port: Annotated[
        int, typer.Option("--port", min=0, max=65535, help="Port of 127.0.0.1; 0 takes a free one.")
    ] = 0,
    opens: Annotated[bool, typer.Option("--open", help="Open the browser.")] = False,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
) -> None:
    """Show a storage in the browser: updates while they run, their flow graph, rules, errors, events.
    Reads only, and starts no Spark."""
    opened = open_storage(storage)
    from cdc_local.pages.server import serve_pages

    with serve_pages(opened, port) as running, interruptible() as stop:
        typer.echo(f"{opened.root} is shown at {running.address}")
        typer.echo("Ctrl-C ends it. The address has a token: whoever has it can look, too.")
        sys.stdout.flush()
        if opens:
            webbrowser.open(running.address)
        stop.wait()
