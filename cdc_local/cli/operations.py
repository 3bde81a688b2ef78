"""`cdc prove`, `cdc replay`, `cdc repair` and `cdc erase`."""

from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.app import app
from cdc_local.cli.exit_status import guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    DryRunOption,
    Lines,
    LinesOption,
    QuietOption,
    SchemaOption,
    StorageOption,
    examples,
    read_names,
)
from cdc_local.cli.run import update_configuration
from cdc_local.cli.tables import open_storage


def print_findings(
    findings: list,  # `Finding`s
    console,  # Where to print
    layout: Lines,  # table or json
) -> None:
    "Print the laws, then a counterexample for each broken one."
    from cdc_local.delta.rows import format_json
    from cdc_local.operations.prove import LAWS
    from cdc_local.reports.tables import plain_table

    if layout is Lines.json:
        for finding in findings:
            typer.echo(format_json(finding._asdict()))
        return
    console.print(
        plain_table(
            "",
            ("Law", "Table", "Verdict", ">Cases", "Remark"),
            [
                (each.law, each.table, each.verdict, str(each.cases), each.why or LAWS.get(each.law, ""))
                for each in findings
            ],
        )
    )
    for each in findings:
        if each.verdict != "breaks" or not (each.events or each.expected or each.found):
            continue
        arrived = [
            (f"arrives in batch {number}", row)
            for number, batch in enumerate(each.events, 1)
            for row in batch
        ]
        rows = [
            *arrived,
            *[("expected", row) for row in each.expected or ("no row",)],
            *[("found", row) for row in each.found or ("no row",)],
        ]
        console.print(plain_table(f"{each.law} breaks for {each.table}", ("", "Row"), rows))


@app.command(
    epilog=examples(
        "cdc prove transformations",
        "cdc prove etl.py --runs 5 --events 1000",
        "cdc prove etl.py --feed landing/  # your own JSON lines, delivered otherwise",
    )
)
@guarded
def prove(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Source files (.py, .ipynb, .sql), folders or ** patterns."),
    ],
    runs: Annotated[int, typer.Option("--runs", min=1, help="Deliveries of each manner.")] = 1,
    rows: Annotated[int, typer.Option("--events", min=10, help="Events of the feed, about.")] = 300,
    seed: Annotated[
        int, typer.Option("--seed", help="The same number gives the same feed and deliveries.")
    ] = 0,
    own: Annotated[
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
    conf: Annotated[
        list[str],
        typer.Option("--conf", metavar="KEY=VALUE", help="Pipeline configuration; can be repeated."),
    ] = [],
    root_path: Annotated[
        Path | None,
        typer.Option(
            "--root-path",
            metavar="DIR",
            help="Folder that joins sys.path; the parent of the sources by default.",
        ),
    ] = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
):
    "Try whether the tables of AUTO CDC depend on the events alone: not on their order, their batches, their copies."
    configuration = update_configuration(conf, catalog, schema)
    from cdc_local.operations.prove import prove_laws as try_laws
    from cdc_local.reports.tables import make_console
    from cdc_local.update.request import UpdateRequest

    request = UpdateRequest(
        sources=tuple(paths),
        storage=storage,
        catalog=catalog,
        schema=schema,
        configuration=configuration,
        root_path=root_path,
    )

    def tell(line):
        quiet or typer.echo(line, err=True)

    findings = try_laws(request, runs, rows, seed, own, tell)
    print_findings(findings, make_console(), layout)
    if any(finding.verdict == "breaks" for finding in findings):
        raise typer.Exit(1)


@app.command(
    epilog=examples(
        "cdc show customers_cdc_quarantine --all --format json > mended.json  # then mend the rows in an editor",
        "cdc replay customers_cdc_quarantine mended.json --dry-run",
        "cdc replay customers_cdc_quarantine mended.json --skip-unchanged  # only the rows you touched",
        "cdc replay customers_cdc_quarantine mended.json --to /Volumes/main/default/raw_data/customers",
    )
)
@guarded
def replay(
    table: Annotated[
        str, typer.Argument(metavar="QUARANTINE_TABLE", help="The table that the rows were set aside in.")
    ],
    mended: Annotated[
        list[Path], typer.Argument(metavar="MENDED_FILE…", help="Its rows as JSON lines, mended.")
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="DIR",
            help="Folder to land in; by default the one that the rows' source_file names.",
        ),
    ] = None,
    drop: Annotated[
        list[str],
        typer.Option(
            "--drop", metavar="C,…", help="More columns that the pipeline added and that must not land."
        ),
    ] = [],
    skip_unchanged: Annotated[
        bool, typer.Option("--skip-unchanged", help="Leave out rows that are as they are in quarantine.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Land rows that are as they are in quarantine, too.")
    ] = False,
    dry_run: DryRunOption = False,
    layout: LinesOption = Lines.table,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    debug: DebugOption = False,
):
    "Take mended rows of a quarantine back in: they land as a new file of the raw volume, for the next update to read and judge. Starts no Spark."
    opened = open_storage(storage)
    from cdc_local.operations.replay import replay_rows as land_rows
    from cdc_local.storage import TableName

    done = land_rows(
        opened,
        TableName.parse(table, catalog, schema),
        mended,
        to,
        read_names(drop),
        skip_unchanged,
        force,
        dry_run,
    )
    print_replayed(done, dry_run, layout)


def print_replayed(
    done,  # `Replayed`
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Tell what landed, and what to do next."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    def state(each):
        return (
            "landed before"
            if each.path is None and each.landed_before
            else "nothing to land"
            if each.path is None
            else "would land"
            if dry_run
            else "landed"
        )

    if layout is Lines.json:
        for each in done.landings:
            typer.echo(
                format_json(
                    {
                        "mended": each.mended,
                        "status": state(each),
                        "rows": each.rows,
                        "landed_before": each.landed_before,
                        "unchanged": each.unchanged,
                        "path": each.path and str(each.path),
                    }
                )
            )
        return
    lines = [
        (
            each.mended,
            state(each),
            format_number(each.rows),
            format_number(each.landed_before),
            format_number(each.unchanged),
            each.path.name if each.path else "",
        )
        for each in done.landings
    ]
    make_console().print(
        plain_table("", ("Mended file", "Status", ">Rows", ">Landed before", ">Unchanged", "New file"), lines)
    )
    if done.still_rescued:
        typer.echo(
            f"{done.still_rescued} rows still hold _rescued_data or _corrupt_record, which do not land: what they say must be in the columns."
        )
    if not any(each.path for each in done.landings):
        return
    typer.echo(
        f"{'Would land' if dry_run else 'Landed'} in {done.place}; the next update reads it. On Databricks copy the file into the same folder of the volume (databricks fs cp)."
    )


@app.command(
    epilog=examples(
        "cdc repair customers_history transformations --where \"id IN ('7', '42')\" --dry-run  # what would change",
        "cdc repair customers_history transformations --where \"id = '7'\"",
        'cdc repair customers transformations --since 2026-01-03 --until "2026-01-04 12:00:00"  # keys with an event in that time',
    )
)
@guarded
def repair(
    table: Annotated[str, typer.Argument(help="A target of AUTO CDC.")],
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH…", help="The source files of the pipeline, as for `cdc run`.")
    ],
    where: Annotated[
        str | None,
        typer.Option(
            "--where", metavar="SQL", help="Keys for which this holds, in Spark SQL on the key columns."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(
            "--since", metavar="SEQUENCE", help="Keys that have an event of this sequence or a later one."
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="SEQUENCE", help="… of this sequence or an earlier one.")
    ] = None,
    force: Annotated[
        bool,
        typer.Option("--force", help="Even if stored events are not in the source any more: they are lost."),
    ] = False,
    dry_run: DryRunOption = False,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    conf: Annotated[
        list[str],
        typer.Option("--conf", metavar="KEY=VALUE", help="Pipeline configuration; can be repeated."),
    ] = [],
    master: Annotated[str | None, typer.Option("--master", help="Spark master; local[*] by default.")] = None,
    root_path: Annotated[
        Path | None,
        typer.Option(
            "--root-path",
            metavar="DIR",
            help="Folder that joins sys.path; the parent of the sources by default.",
        ),
    ] = None,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
):
    "Rebuild chosen keys of an AUTO CDC target from all of their source, in one commit, without a full refresh."
    configuration = update_configuration(conf, catalog, schema)
    open_storage(storage)
    from cdc_local.operations.repair import Choice
    from cdc_local.operations.repair import repair_table as repair_table
    from cdc_local.update.request import UpdateRequest

    request = UpdateRequest(
        sources=tuple(paths),
        storage=storage,
        catalog=catalog,
        schema=schema,
        configuration=configuration,
        dry_run=dry_run,
        master=master,
        root_path=root_path,
    )
    print_repaired(repair_table(request, table, Choice(where, since, until), force), dry_run, layout)


def print_repaired(
    done,  # `Repaired`
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Tell what a repair changed."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table, rows_table

    counts = {name: getattr(done, name) for name in ("keys", "rows_before", "rows_after", "removed", "added")}
    status = "unchanged" if not done.changed else "would change" if dry_run else "repaired"
    if layout is Lines.json:
        return typer.echo(
            format_json({"table": done.table, "status": status, **counts, "warnings": list(done.warnings)})
        )
    for text in done.warnings:
        typer.echo(f"warning: {text}", err=True)
    console = make_console()
    console.print(
        plain_table(
            "",
            ("Table", "Status", ">Keys", ">Rows before", ">Rows after", ">Stored rows out", ">in"),
            [(done.table, status, *map(format_number, counts.values()))],
        )
    )
    if done.changes.values:
        console.print(rows_table(done.changes, console.width, "Rows that go (-) and come (+)"))
    elif not done.changed:
        typer.echo("The rows of these keys are as their source says: nothing was written.")


@app.command(
    epilog=examples(
        "cdc erase --where \"id = '7'\" --dry-run  # rows of each table that would go",
        "cdc erase --where \"id = '7'\" --yes",
        "cdc erase --where \"_corrupt_record LIKE '%Smith%'\"  # records that could not be parsed",
    )
)
@guarded
def erase(
    where: Annotated[
        str,
        typer.Option(
            "--where",
            metavar="SQL",
            help="Rows for which this holds, in Spark SQL; of an AUTO CDC target, on its keys.",
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: DryRunOption = False,
    storage: StorageOption = STORAGE,
    layout: LinesOption = Lines.table,
    debug: DebugOption = False,
):
    "Take the rows of a key out of every table for good: hidden ones, quarantine and old files included. The next update goes on."
    opened = open_storage(storage)
    from cdc_local.engines.spark.session import local_spark
    from cdc_local.operations.erase import erase_rows as erase_rows

    spark = local_spark(log=opened.spark_log_path)
    if not (yes or dry_run) and (rows := erase_rows(spark, opened, where, dry_run=True).rows):
        typer.confirm(f"Erase {rows:,} rows for good?", abort=True, err=True)
    print_erased(erase_rows(spark, opened, where, dry_run), dry_run, layout)


def print_erased(
    done,  # `Erased`
    dry_run: bool,  # Whether nothing was written
    layout: Lines,  # table or json
) -> None:
    "Tell what went, and which files still hold it."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import format_number, make_console, plain_table

    def state(each):
        return (
            f"no column {each.missing}"
            if each.missing
            else "no such row"
            if not each.rows
            else "would be erased"
            if dry_run
            else "erased"
        )

    if layout is Lines.json:
        for each in done.tables:
            typer.echo(format_json({"table": each.table, "status": state(each), "rows": each.rows}))
        return
    make_console().print(
        plain_table(
            "",
            ("Table", "Status", ">Rows"),
            [(each.table, state(each), format_number(each.rows)) for each in done.tables],
        )
    )
    if not done.files:
        return
    typer.echo(
        "They came from these files, which stay as they are; a full refresh of the table that reads them would bring the rows back:"
    )
    for file in done.files:
        typer.echo(f"  {file}")
