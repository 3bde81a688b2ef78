"""The program `cdc`: its commands, in the order of `cdc --help`, and its version."""

import gc
import sys
from collections.abc import Iterable
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand, TyperGroup

from cdc_local.cli import (
    bundle,
    demo,
    erase,
    events,
    feed,
    init,
    maintain,
    prove,
    remote,
    repair,
    replay,
    report,
    run,
    show,
    ui,
    workspace,
)
from cdc_local.cli.exit_status import end_at_once_on_interrupt
from cdc_local.cli.own_process import is_own_process
from cdc_utils import __version__

# New objects before Python looks for cycles among them: with its own 700, an eighth of a short command's time
# goes into looking through modules that are being imported
GARBAGE_THRESHOLD = 50_000


Parameters = TypeVar("Parameters", bound=Iterable[Any])


def _name_flags_alone(
    parameters: Parameters,  # Of a command
) -> Parameters:  # The same
    "Let help show an option that takes no value by its name alone."
    for parameter in parameters:
        if getattr(parameter, "is_flag", False):
            parameter.metavar = ""
    return parameters


class _Command(TyperCommand):
    "A command of the program."

    def get_params(self, ctx: Any) -> Any:
        "List the parameters, `--help` included."
        return _name_flags_alone(super().get_params(ctx))


class _Group(TyperGroup):
    "Commands under one name."

    def get_params(self, ctx: Any) -> Any:
        "List the parameters, `--help` included."
        return _name_flags_alone(super().get_params(ctx))


app = typer.Typer(
    name="cdc",
    cls=_Group,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run change-data-capture pipelines written for Databricks on this machine, "
    "and look at their tables.",
    epilog="Start with [bold]cdc demo[/bold]. "
    "Exit status: 0 done, 1 the update failed, 2 wrong use, 130 interrupted.",
)


def _print_version(
    wanted: bool,  # Whether `--version` was given
) -> None:
    "Print the version and stop."
    if wanted:
        typer.echo(f"cdc_utils {__version__}")
        raise typer.Exit()


@app.callback()
def program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit."),
    ] = False,
) -> None:
    "Run change-data-capture pipelines written for Databricks on this machine, and look at their tables."


for module in (
    show,
    ui,
    report,
    events,
    init,
    feed,
    run,
    demo,
    prove,
    replay,
    repair,
    erase,
    maintain,
    workspace,
):
    app.add_typer(module.commands)
app.add_typer(bundle.commands, name="bundle", cls=_Group)
app.add_typer(remote.commands, name="remote", cls=_Group)
for group in app.registered_groups:
    for command in group.typer_instance.registered_commands if group.typer_instance else ():
        command.cls = _Command


def main() -> None:
    "Run what the shell started as `cdc`."
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # data that this terminal has no letters for
    is_own_process.set(True)
    gc.set_threshold(GARBAGE_THRESHOLD)
    try:
        app()
    finally:
        end_at_once_on_interrupt()
