"""`cdc init`: a new project, from a sample of its feed or from what is said of it."""

import re
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import CATALOG, SCHEMA, DebugOption, examples, read_names, read_pairs
from cdc_local.errors import UsageError

if TYPE_CHECKING:
    from cdc_local.project.options import Options, UnclearError
    from cdc_local.project.plan import Plan
    from cdc_local.project.sample import Sample

commands = typer.Typer()

MOCK_ROWS, MOCK_TABLE = 2_000, "customers"  # Changes of a mock feed, and whose they are


@commands.command(
    epilog=examples(
        "cdc init shop --sample orders.json  # looks at the file, says what it found, writes shop/",
        "cdc init shop --sample landed/orders --keys shop,order_no  # where the key is not clear",
        "cdc init shop --kind sqlserver --table orders --columns 'id bigint, total decimal(10,2)'",
        "cdc init trial --kind debezium  # with a mock feed of customers",
        "cdc init shop --sample rows.csv --kind plain --sequence changed_at --deletes D",
    )
)
@guarded
def init(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the project; made if missing.")],
    sample: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="File or folder of the feed: JSON lines, CSV or Parquet."),
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="How changes are written: debezium, debezium-flat, dms, sqlserver, goldengate, wal2json, "
            "wal2json-1, maxwell, cdf, snowflake, fivetran, airbyte; plain: rows that a column orders; "
            "snapshots: the whole table, a folder each. Found in the sample.",
        ),
    ] = None,
    database: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Of Debezium and Airbyte: postgres, mysql, sqlserver, …"),
    ] = None,
    table: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which table of the feed, or what to call it.")
    ] = None,
    keys: Annotated[
        list[str] | None, typer.Option(metavar="C,…", help="Columns that identify a row.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="DDL", help="Columns and types: 'id bigint, city string'.")
    ] = None,
    encodings: Annotated[
        list[str] | None,
        typer.Option(
            "--encoding",
            metavar="COLUMN=HOW",
            help="How a value is written where the feed does not say it: price=Decimal; can be repeated.",
        ),
    ] = None,
    sequence: Annotated[
        str | None,
        typer.Option(metavar="COLUMN", help="What orders changes, where the tool's log position does not."),
    ] = None,
    operation: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Of plain rows: what says what a change is.")
    ] = None,
    deletes: Annotated[
        str | None, typer.Option(metavar="VALUE", help="Of plain rows: its value that means a delete.")
    ] = None,
    marker: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Of snapshots: the file that is written last; '' for none."),
    ] = None,
    history: Annotated[
        bool, typer.Option("--history/--no-history", help="Whether to keep every version, too.")
    ] = True,
    catalog: Annotated[str, typer.Option(help="Catalog on Databricks.")] = CATALOG,
    force: Annotated[bool, typer.Option("--force", help="Write over files that are there.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    debug: DebugOption = False,
) -> None:
    """Write a project: pipeline, rules, unit tests, bundle, CI. It runs at once. What a sample does not show
    and no option says is asked in a terminal, and elsewhere refused by name."""
    from cdc_local.project.options import Options
    from cdc_local.project.plan import parse_columns

    options = Options(
        sample=sample,
        kind=kind,
        database=database,
        table=table,
        keys=read_names(keys) or None,
        columns=parse_columns(columns) if columns else None,
        encodings=read_pairs("--encoding", encodings),
        sequence=sequence,
        operation=operation,
        deletes=deletes,
        marker=marker,
        has_history=history,
    )
    asks = _has_terminal() and not yes
    with tempfile.TemporaryDirectory() as mock:
        _write(folder, options, catalog, force, asks, Path(mock) / "feed")


def _has_terminal() -> bool:
    "Whether somebody is there to be asked."
    return sys.stdin.isatty()


def _write(
    folder: Path,  # Of the project
    options: "Options",  # What was said of it
    catalog: str,  # On Databricks
    force: bool,  # Whether files may be written over
    asks: bool,  # Whether somebody is there to be asked
    mock: Path,  # Where a mock feed may lie
) -> None:
    "Look, show what was found, and write."
    from cdc_local.project.files import land_sample, render, write_project

    name = _name_project(folder)
    plan, path = _decide(options, asks, mock)
    _show(plan)
    if asks and not typer.confirm(f"Write the project {folder}?", default=True):
        raise typer.Exit(1)
    line = "No file of the feed is there yet: land some in `.cdc/Volumes/main/default/raw_data/" + plan.table
    line = f"{line}`." if plan.sample is None else _feed_line(path == mock)
    write_project(folder, render(plan, name, catalog, line), force)
    land_sample(plan, path, folder / ".cdc", CATALOG, SCHEMA)
    typer.echo(f"\n{folder} is written. Next:\n\n    cd {folder}\n    cdc run transformations")
    typer.echo(f"    cdc show {plan.table}\n    pytest\n    cdc bundle check")


def _feed_line(
    is_mock: bool,  # Whether it is a mock feed
) -> str:
    "Say what lies there to begin with."
    if is_mock:
        return "A mock feed lies in `.cdc`, with the faults of real ones; `cdc feed` writes more."
    return "The sample lies in `.cdc`, where the pipeline reads."


def _name_project(
    folder: Path,  # Of the project
) -> str:  # Of bundle, pipeline, job and schema
    "Name a project after its folder; `UsageError` where its name will not do."
    name = folder.resolve().name.lower().replace("-", "_")
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        raise UsageError(
            f"{folder}: {name!r} names no bundle and no schema",
            hint="call the folder by letters, digits, - and _, a letter first",
        )
    return name


def _decide(
    options: "Options",  # What was said of the project
    asks: bool,  # Whether somebody is there to be asked
    mock: Path,  # Where a mock feed may lie
) -> tuple["Plan", Path]:  # The plan; the sample that it is of
    "Make the plan; what is not clear is asked, one question after the other."
    from cdc_local.project.options import UnclearError
    from cdc_local.project.plan import make_plan
    from cdc_local.project.sample import read_sample

    sample: Sample | None = read_sample(options.sample) if options.sample else None
    while True:
        if sample is None and _has_mock(options):
            sample = _make_mock(str(options.kind), mock)
            options = replace(options, table=options.table or MOCK_TABLE)
        try:
            return make_plan(options, sample), options.sample or mock
        except UnclearError as question:
            if not asks:
                raise
            options = replace(options, **_ask(question))


def _has_mock(
    options: "Options",  # What was said of the project
) -> bool:
    "Whether nothing but a kind was said, of which there is a mock feed."
    from cdc_local.project.kinds import KINDS, PLAIN

    kind = KINDS.get(options.kind or "")
    return options.columns is None and (options.kind == PLAIN or bool(kind and kind.mock))


def _make_mock(
    kind: str,  # Of the source
    folder: Path,  # Where it is written
) -> "Sample":
    "Write a mock feed, and read it as a sample."
    from cdc_local.project.kinds import PLAIN
    from cdc_local.project.sample import read_sample
    from cdc_utils.envelopes.mock_feeds import form_of
    from cdc_utils.feed import PLAIN as PLAIN_FORM
    from cdc_utils.feed import write_feed

    form = PLAIN_FORM if kind == PLAIN else form_of(kind)
    write_feed(folder, rows=MOCK_ROWS, files=4, form=form)
    return read_sample(folder)


def _ask(
    question: "UnclearError",  # What is not clear
) -> dict[str, Any]:  # Field of the options to its value
    "Ask in the terminal."
    from cdc_local.project.plan import parse_columns

    typer.echo(f"\n{question.message[:1].upper()}{question.message[1:]}.")
    for number, choice in enumerate(question.choices, 1):
        typer.echo(f"  {number}  {choice}")
    text = typer.prompt(question.option.capitalize()).strip()
    if text.isdigit() and 0 < int(text) <= len(question.choices):
        text = question.choices[int(text) - 1]
    if question.option == "keys":
        return {"keys": read_names([text])}
    return {question.option: parse_columns(text) if question.option == "columns" else text}


def _show(
    plan: "Plan",  # What was found
) -> None:
    "Print what the project will be about."
    from cdc_local.reports.tables import make_console, plain_table

    said = [("source", plan.title), ("table", plan.table), ("key", ", ".join(plan.keys))]
    if plan.envelope is not None:
        said.append(("envelope", str(plan.envelope)))
    if plan.sequence:
        said.append(("order", plan.sequence))
        said.append(("deletes", f"{plan.operation} = {plan.deletes}" if plan.operation else "none"))
    if plan.sample is not None:
        counts = ", ".join(f"{count:,} {name}" for name, count in plan.operations.items())
        said.append(("sample", f"{len(plan.sample.records):,} records" + (f": {counts}" if counts else "")))
    if plan.left_out:
        said.append(
            ("left out", f"{', '.join(plan.left_out)}: names of change rows, kept in rescued_columns")
        )
    console = make_console()
    console.print(plain_table("", ("Found", ""), said))
    rows = [(name, kind, _shorten(plan.examples.get(name))) for name, kind in plan.columns.items()]
    console.print(plain_table("", ("Column", "Type", "As in"), rows))


def _shorten(
    value: Any,  # Of a sample
) -> str:
    "Show the beginning of a value."
    text = "" if value is None else str(value)
    return text if len(text) < 40 else f"{text[:38]}…"
