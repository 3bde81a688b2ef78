"""`cdc prove`: try whether a pipeline's tables depend on its events alone."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    ConfOption,
    DebugOption,
    EngineOption,
    Lines,
    LinesOption,
    MemoryOption,
    ParamOption,
    PathsArgument,
    QuietOption,
    RootPathOption,
    SchemaOption,
    StorageOption,
    examples,
    read_conf,
    read_parameters,
)

if TYPE_CHECKING:
    from rich.console import Console

    from cdc_local.operations.prove_laws import Finding

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc prove transformations",
        "cdc prove etl.py --runs 5 --events 1000",
        "cdc prove etl.py --feed landing/  # your own JSON lines, delivered otherwise",
    )
)
@guarded
def prove(
    paths: PathsArgument,
    runs: Annotated[int, typer.Option("--runs", min=1, help="Deliveries of each manner.")] = 1,
    events: Annotated[int, typer.Option("--events", min=10, help="Events of the feed, about.")] = 300,
    seed: Annotated[
        int, typer.Option("--seed", help="The same number gives the same feed and deliveries.")
    ] = 0,
    feed: Annotated[
        Path | None,
        typer.Option(
            "--feed",
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="JSON lines of your own instead of a feed made up.",
        ),
    ] = None,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    conf: ConfOption = None,
    param: ParamOption = None,
    engine: EngineOption = None,
    memory: MemoryOption = None,
    root_path: RootPathOption = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Try whether the tables of AUTO CDC depend on the events alone: not on their order, their batches,
    their copies."""
    configuration, parameters = read_conf(conf, catalog, schema), read_parameters(param)
    from cdc_local.operations.prove import prove_laws
    from cdc_local.reports.tables import make_console
    from cdc_local.update.request import UpdateRequest

    request = UpdateRequest(
        sources=tuple(paths),
        storage=storage,
        catalog=catalog,
        schema=schema,
        configuration=configuration,
        parameters=parameters,
        root_path=root_path,
    )

    def report(line: str) -> None:
        if not quiet:
            typer.echo(line, err=True)

    findings = prove_laws(request, runs, events, seed, feed, report)
    print_findings(findings, make_console(), layout)
    if any(finding.verdict == "breaks" for finding in findings):
        raise typer.Exit(1)


def print_findings(
    findings: "list[Finding]",  # What became of each law
    console: "Console",  # Where to print
    layout: Lines,  # table or json
) -> None:
    "Print the laws, then a counterexample for each broken one."
    from cdc_local.delta.rows import format_json
    from cdc_local.operations.prove_laws import LAWS
    from cdc_local.reports.tables import plain_table

    if layout is Lines.json:
        for finding in findings:
            typer.echo(format_json(finding._asdict()))
        return
    lines = [
        (
            finding.law,
            finding.table,
            finding.verdict,
            str(finding.cases),
            finding.why or LAWS.get(finding.law, ""),
        )
        for finding in findings
    ]
    console.print(plain_table("", ("Law", "Table", "Verdict", ">Cases", "Remark"), lines))
    for finding in findings:
        if finding.verdict == "breaks" and (finding.events or finding.expected or finding.found):
            title = f"{finding.law} breaks for {finding.table}"
            console.print(plain_table(title, ("", "Row"), _counterexample_lines(finding)))


def _counterexample_lines(
    finding: "Finding",  # A broken law
) -> list[tuple[str, str]]:  # What a row is, and the row
    "List the events that arrive, the rows that were expected and those that were found."
    arriving = [
        (f"arrives in batch {number}", row) for number, batch in enumerate(finding.events, 1) for row in batch
    ]
    expected = [("expected", row) for row in finding.expected or ("no row",)]
    return [*arriving, *expected, *[("found", row) for row in finding.found or ("no row",)]]
