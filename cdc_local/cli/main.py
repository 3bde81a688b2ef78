"""Everything of this project that a shell can start, and what it answers when something is wrong."""

import sys

from cdc_local.cli import bundle, operations, remote, run, tables  # noqa: F401  # each adds its commands to `app`
from cdc_local.cli.app import app, is_own_process

app.add_typer(bundle.bundles, name="bundle")
app.add_typer(remote.remote, name="remote")
remote.remote.add_typer(remote.wheels, name="wheels")


__all__ = ["app", "main"]


def main() -> None:
    "What the shell starts as `cdc`."
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # data that this terminal has no letters for
    is_own_process.set(True)
    app()
