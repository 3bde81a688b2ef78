"""`cdc feed`: a mock feed of customer changes."""

from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    STORAGE,
    DebugOption,
    Lines,
    LinesOption,
    QuietOption,
    StorageOption,
    examples,
)

commands = typer.Typer()


class Envelope(StrEnum):
    "In whose words the changes are written; `plain` is nobody's."

    plain = "plain"
    debezium = "debezium"
    dms = "dms"
    sqlserver = "sqlserver"
    goldengate = "goldengate"
    wal2json = "wal2json"
    cdf = "cdf"  # Delta's change data feed


@commands.command(
    epilog=examples(
        "cdc feed raw  # 20,000 changes of 5,000 customers",
        "cdc feed raw --day 2  # the next day of the same customers",
        "cdc feed raw --envelope debezium  # the same changes, as Debezium writes them",
        "cdc feed /Volumes/main/default/raw_data/customers --rows 100000  # into the volume below --storage",
    )
)
@guarded
def feed(
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="Where to write; a /Volumes path lies below --storage.")
    ],
    rows: Annotated[int, typer.Option(help="Changes of the day.")] = 20_000,
    keys: Annotated[int | None, typer.Option(help="Customers; a quarter of the rows by default.")] = None,
    seed: Annotated[int, typer.Option(help="The same number gives the same bytes.")] = 42,
    files: Annotated[int, typer.Option(help="Files of the day.")] = 10,
    day: Annotated[int, typer.Option(help="Day, counted from 1.")] = 1,
    envelope: Annotated[Envelope, typer.Option(help="Whose form the changes have.")] = Envelope.plain,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
) -> None:
    """Write a mock feed of customer changes with the faults of real ones, as JSON lines; AWS DMS has CSV.
    The same options give the same bytes."""
    from cdc_local.storage import Storage, localize
    from cdc_utils.envelopes.mock_feeds import form_of
    from cdc_utils.feed import PLAIN, write_feed

    path = localize(Storage(storage), folder)
    form = PLAIN if envelope is Envelope.plain else form_of(envelope)
    counts = asdict(write_feed(Path(path), rows=rows, keys=keys, seed=seed, files=files, day=day, form=form))
    if quiet:
        return
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    if layout is Lines.json:
        return typer.echo(format_json(counts))
    lines = [(name.replace("_", " "), format_number(count)) for name, count in counts.items()]
    make_console().print(plain_table("", ("In the feed", ">"), lines))
    typer.echo(f"written to {path}")
