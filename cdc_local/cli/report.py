"""`cdc report`: what an update did, as one file to send to somebody."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import STORAGE, DebugOption, StorageOption, examples, open_storage
from cdc_local.errors import UsageError

commands = typer.Typer()


class Layout(StrEnum):
    "What a report can be."

    html = "html"
    markdown = "markdown"
    junit = "junit"


@commands.command(
    epilog=examples(
        "cdc report -o update.html  # of the newest update",
        "cdc report 7f3a90c2 --format markdown  # for the comment of a merge request",
        "cdc report --format junit -o rules.xml  # expectations as test results",
    )
)
@guarded
def report(
    update: Annotated[
        str, typer.Argument(metavar="UPDATE", help="An update, or its first letters.")
    ] = "newest",
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="File to write; else printed."),
    ] = None,
    layout: Annotated[
        Layout, typer.Option("--format", help="html: one file, without scripts. junit: rules as tests.")
    ] = Layout.html,
    storage: StorageOption = STORAGE,
    debug: DebugOption = False,
) -> None:
    """Write what an update did: its flow graph, rows, expectations, errors. Starts no Spark."""
    opened = open_storage(storage)
    from cdc_local.pages.event_cache import EventCache
    from cdc_local.pages.report import html_report, junit_report, markdown_report
    from cdc_local.pages.summaries import summarize_update
    from cdc_local.pages.update_pages import find_update

    writers = {Layout.html: html_report, Layout.markdown: markdown_report, Layout.junit: junit_report}
    text = writers[layout](summarize_update(find_update(EventCache(opened), update)))
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"{output} cannot be written: {error.strerror}") from None
    typer.echo(f"wrote {output}")
