"""The `cdc` command itself: its groups, its version."""

from contextvars import ContextVar
from typing import Annotated

import typer

from cdc_utils import __version__

app = typer.Typer(
    name="cdc",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run change-data-capture pipelines written for Databricks on this machine, and look at their tables.",
    epilog="Start with [bold]cdc demo[/bold]. Exit status: 0 done, 1 the update failed, 2 wrong use, 130 interrupted.",
)


# Whether the process runs this one command, which may then decide what it sees; not in a test
is_own_process: ContextVar[bool] = ContextVar("is_own_process", default=False)


def print_version(
    asked: bool,  # Whether `--version` was given
) -> None:
    "Print the version and stop."
    if asked:
        typer.echo(f"cdc_utils {__version__}")
        raise typer.Exit()


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
):
    "Run change-data-capture pipelines written for Databricks on this machine, and look at their tables."
