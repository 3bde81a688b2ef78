"""Options that several commands share, and how their text is read."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.engines.session import ENGINE_VARIABLE
from cdc_local.engines.spark.memory import MEMORY_VARIABLE, parse_memory
from cdc_local.errors import UsageError

if TYPE_CHECKING:
    from cdc_local.storage import Storage

STORAGE, CATALOG, SCHEMA = Path(".cdc"), "main", "default"  # What a command uses where an option is not given


class Format(StrEnum):
    "How rows are printed."

    table = "table"  # For the eye
    json = "json"  # One JSON object a line
    csv = "csv"  # A header and one line per row


class Lines(StrEnum):
    "How events are printed."

    table = "table"  # For the eye
    json = "json"  # One JSON object a line


class Engines(StrEnum):
    "Who computes."

    auto = "auto"  # Sail, and Spark where something needs it
    sail = "sail"
    spark = "spark"


PathsArgument = Annotated[
    list[str],
    typer.Argument(metavar="PATH…", help="Source files (.py, .ipynb, .sql), folders or ** patterns."),
]

StorageOption = Annotated[
    Path,
    typer.Option(
        "--storage", metavar="DIR", envvar="CDC_STORAGE", help="Folder that stands for the workspace."
    ),
]

CatalogOption = Annotated[str, typer.Option("--catalog", help="Catalog of names that give none.")]

SchemaOption = Annotated[str, typer.Option("--schema", help="Schema of names that give none.")]

ConfOption = Annotated[
    list[str] | None,
    typer.Option("--conf", metavar="KEY=VALUE", help="Pipeline configuration; can be repeated."),
]

ParamOption = Annotated[
    list[str] | None,
    typer.Option(
        "--param",
        metavar="NAME=VALUE",
        help="Pipeline parameter, `:NAME` in SQL files; can be repeated.",
    ),
]

MasterOption = Annotated[str | None, typer.Option("--master", help="Spark master; local[*] by default.")]

MemoryOption = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        envvar=MEMORY_VARIABLE,
        help="Memory of Spark's Java, e.g. 4g; by default a quarter of this machine's, from 2g to 16g.",
    ),
]

EngineOption = Annotated[
    Engines | None,
    typer.Option(
        "--engine",
        envvar=ENGINE_VARIABLE,
        help="sail needs no Java. auto, the default, is sail where all of a pipeline is known to give what "
        "it gives on Spark, else spark.",
    ),
]

RootPathOption = Annotated[
    Path | None,
    typer.Option(
        "--root-path",
        metavar="DIR",
        help="Folder that joins sys.path; the parent of the sources by default.",
    ),
]

FullRefreshOption = Annotated[
    list[str] | None,
    typer.Option(
        "--full-refresh", metavar="T,…", help="Empty these tables and process all their input again."
    ),
]

FullRefreshAllOption = Annotated[bool, typer.Option("--full-refresh-all", help="The same for all tables.")]

RefreshOption = Annotated[
    list[str] | None, typer.Option("--refresh", metavar="T,…", help="Update only these tables.")
]

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check and tell what would be done; write nothing.")
]

LinesOption = Annotated[Lines, typer.Option("--format", help="json: one object per event and line.")]

QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]

DebugOption = Annotated[bool, typer.Option("--debug", help="Show the traceback of an unexpected error.")]


@contextmanager
def use_engine_options(
    engine: str | None,  # `--engine`, as typed
    memory: str | None,  # `--memory`, as typed
) -> Iterator[None]:
    """Let updates run on this engine, and Java have this memory, here and in the processes that a command
    starts; `UsageError` for no size."""
    if memory is not None:
        parse_memory(memory)
    given = {ENGINE_VARIABLE: engine, MEMORY_VARIABLE: memory}
    before = {name: os.environ.get(name) for name, value in given.items() if value is not None}
    os.environ.update({name: value for name, value in given.items() if value is not None})
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def read_pairs(
    option: str,  # Its name
    pairs: list[str] | None,  # `name=value`, as typed
    form: str = "name=value",  # What a message calls the right form
    hint: str = "",  # What to write instead
) -> dict[str, str]:  # Name -> value; of a name given twice the last value
    "Split options that give values to names; `UsageError` for one without a name or a `=`."
    found = {}
    for pair in pairs or ():
        name, sign, value = pair.partition("=")
        if not sign or not name.strip():
            raise UsageError(f"{option} {pair!r} is not {form}", hint=hint)
        found[name.strip()] = value
    return found


def read_conf(
    pairs: list[str] | None,  # `--conf` options, as typed
    catalog: str,  # `--catalog`
    schema: str,  # `--schema`
) -> dict[str, str]:  # Configuration of the pipeline
    "Read the `--conf` options, and `cdc.catalog` and `cdc.schema` where they don't set them."
    given = read_pairs("--conf", pairs, "key=value", "write e.g. --conf cdc.catalog=main")
    return {"cdc.catalog": catalog, "cdc.schema": schema} | given


def read_parameters(
    pairs: list[str] | None,  # `--param` options, as typed
) -> dict[str, str]:  # Parameters of the pipeline
    "Read the `--param` options; `UsageError` for a name that Databricks would not take."
    found = read_pairs("--param", pairs)
    for name in found:
        if not re.fullmatch(r"[\w.-]+", name, re.ASCII):
            raise UsageError(
                f"--param {name!r} is no name of a parameter",
                hint="it has letters, digits, `_`, `-` and `.` alone",
            )
    return found


def read_names(
    options: list[str] | None,  # As typed; each may name several, separated by commas
) -> tuple[str, ...]:  # Names
    "Split the options that take tables or columns."
    return tuple(name.strip() for option in options or () for name in option.split(",") if name.strip())


def open_storage(
    storage: Path,  # As typed
) -> "Storage":  # It is there and can be read
    "Open a storage folder for reading; `UsageError` where there is none."
    from cdc_local.storage import Storage

    if not storage.is_dir():
        raise UsageError(
            f"no storage folder {storage}",
            hint="`cdc demo` or `cdc run` makes one; --storage DIR names another",
        )
    return Storage(storage).check()


def progress_style(
    layout: Lines,  # table or json
    quiet: bool,  # Errors only
) -> str:  # Style of `UpdateProgress`: 'auto', 'json' or 'quiet'
    "Choose how an update is shown while it runs."
    if layout is Lines.json:
        return "json"
    return "quiet" if quiet else "auto"


def examples(
    *lines: str,  # Commands, and what they do after a `#`
) -> str:  # The end of a help page
    "Write the examples of `--help`: a command a line, below it what it does."

    def example(line: str) -> str:
        command, _, remark = (part.strip() for part in line.partition("#"))
        return f"  [cyan]{command}[/cyan]" + (f"\n    [dim]{remark}[/dim]" if remark else "")

    return "\n".join(["[bold]Examples[/bold]", *map(example, lines)])
