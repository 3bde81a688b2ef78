"""`cdc demo`: feed, exploration, pipeline, results."""

from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.exit_status import finish, guarded, interruptible
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    EngineOption,
    MemoryOption,
    SchemaOption,
    StorageOption,
    examples,
)
from cdc_local.cli.own_process import mount_volumes

commands = typer.Typer()


@commands.command(
    epilog=examples("cdc demo", "cdc demo --rows 100000", "cdc demo  # again: only the next day is processed")
)
@guarded
def demo(
    rows: Annotated[int, typer.Option(help="Changes of a day.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same number gives the same feed.")] = 42,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    engine: EngineOption = None,
    memory: MemoryOption = None,
    debug: DebugOption = False,
) -> None:
    """Feed, exploration, pipeline, results: the whole way on this machine.
    Run again, it adds a day and processes only that."""
    mount_volumes(storage)
    from cdc_local.operations.demo import run_demo
    from cdc_local.reports.tables import make_console

    with interruptible() as stop:
        result = run_demo(Path.cwd(), storage, rows, seed, catalog, schema, make_console(), stop)
    finish(result, make_console(), "quiet")
