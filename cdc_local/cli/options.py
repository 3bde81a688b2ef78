"""Options that several commands share, and how their text is read."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.errors import UsageError


class Format(str, Enum):
    "How rows are printed."

    table = "table"  # For the eye
    json = "json"  # One JSON object a line
    csv = "csv"  # A header and one line per row


class Lines(str, Enum):
    "How events are printed."

    table = "table"  # For the eye
    json = "json"  # One JSON object a line


StorageOption = Annotated[
    Path,
    typer.Option(
        "--storage", metavar="DIR", envvar="CDC_STORAGE", help="Folder that stands for the workspace."
    ),
]

CatalogOption = Annotated[str, typer.Option("--catalog", help="Catalog of names that give none.")]

SchemaOption = Annotated[str, typer.Option("--schema", help="Schema of names that give none.")]

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

LinesOption = Annotated[Lines, typer.Option("--format", help="json: one object per event and line.")]

STORAGE, CATALOG, SCHEMA = Path(".cdc"), "main", "default"


def read_conf(
    pairs: list[str],  # `key=value`, as typed
) -> dict[str, str]:  # Configuration; of a key given twice the last value
    "Split the `--conf` options; `UsageError` for one without a key or a `=`."
    found = {}
    for pair in pairs:
        key, sign, value = pair.partition("=")
        if not sign or not key.strip():
            raise UsageError(f"--conf {pair!r} is not key=value", hint="write e.g. --conf cdc.catalog=main")
        found[key.strip()] = value
    return found


def read_names(
    options: list[str],  # As typed; each may name several, separated by commas
) -> tuple[str, ...]:  # Names of tables
    "Split the options that take tables."
    return tuple(name.strip() for option in options for name in option.split(",") if name.strip())


def examples(
    *lines: str,  # Commands, and what they do after a `#`
) -> str:  # The end of a help page
    "Examples for `--help`."

    def shown(line):
        command, _, remark = line.partition("#")
        return f"[cyan]{command.strip()}[/cyan]" + (f"  {remark.strip()}" if remark else "")

    return "\n\n".join(["[bold]Examples[/bold]", *map(shown, lines)])


class Level(str, Enum):
    "The least serious level shown."

    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"


def progress_style(
    layout: Lines,  # table or json
    quiet: bool,  # Errors only
) -> str:  # Style of `UpdateProgress`
    "How an update is shown while it runs."
    return "json" if layout is Lines.json else "quiet" if quiet else "auto"


TablesOption = Annotated[list[str], typer.Option(metavar="T,…", help="Tables, separated by commas.")]

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check and tell what would be done; write nothing.")
]


def read_pairs(
    option: str,  # Its name
    pairs: list[str],  # `name=value`, as typed
) -> dict[str, str]:  # Name -> value
    "Split options that give values to names; `UsageError` for one without a name or a `=`."
    found = {}
    for pair in pairs:
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"{option} {pair!r} is not name=value")
        found[name.strip()] = value
    return found
