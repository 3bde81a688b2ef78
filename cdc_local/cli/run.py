"""`cdc run` and `cdc demo`: one update, and the whole way."""

import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from cdc_local.cli.app import app, is_own_process
from cdc_local.cli.exit_status import finish, guarded, interruptible
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    DebugOption,
    Lines,
    LinesOption,
    QuietOption,
    SchemaOption,
    StorageOption,
    examples,
    progress_style,
    read_conf,
    read_names,
)
from cdc_local.errors import UsageError
from cdc_local.source.files import discover_sources
from cdc_local.storage import Storage
from cdc_local.volumes import mount


def update_configuration(
    pairs: list[str],  # `--conf` options
    catalog: str,  # `--catalog`
    schema: str,  # `--schema`
) -> dict[str, str]:  # Configuration of the pipeline
    "The `--conf` options, and `cdc.catalog` and `cdc.schema` where they don't set them."
    return {"cdc.catalog": catalog, "cdc.schema": schema} | read_conf(pairs)


def picture_path(
    path: Path | None,  # `--graph`, as typed
) -> Path | None:  # The same
    "See before anything runs that a picture can be written; `UsageError` for a file that is no SVG, or has no folder."
    if path is None:
        return None
    if path.suffix.lower() != ".svg":
        raise UsageError(f"--graph {path}: only SVG is drawn", hint=f"name it {path.with_suffix('.svg')}")
    if os.path.isdir(path):
        raise UsageError(f"--graph {path} is a folder", hint="name a file in it")
    if not os.path.isdir(path.parent):
        raise UsageError(f"--graph {path}: there is no folder {path.parent}", hint="make it first")
    return path


def save_picture(
    path: Path,  # File to write
    graph,  # A `Graph`
    reads: dict,  # Flow or view to what it reads
) -> None:
    "Draw a pipeline into a file; `UsageError` where it can't be written."
    from cdc_utils.pictures import flow_graph

    try:
        flow_graph(graph, reads).save(path)
    except OSError as error:
        raise UsageError(f"--graph {path}: it cannot be written ({error.strerror})") from None


@app.command(
    epilog=examples(
        "cdc run transformations  # one update of the pipeline in this folder",
        "cdc run etl.py rules.sql --conf cdc.catalog=main",
        "cdc run transformations --dry-run  # the graph and its errors, nothing is written",
        "cdc run transformations --dry-run --graph flow.svg  # the same as a picture",
        "cdc run transformations --full-refresh customers,customers_history",
    )
)
@guarded
def run(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH…", help="Source files (.py, .ipynb, .sql), folders or ** patterns."),
    ],
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    conf: Annotated[
        list[str],
        typer.Option("--conf", metavar="KEY=VALUE", help="Pipeline configuration; can be repeated."),
    ] = [],
    full_refresh: Annotated[
        list[str],
        typer.Option(
            "--full-refresh", metavar="T,…", help="Empty these tables and process all their input again."
        ),
    ] = [],
    full_refresh_all: Annotated[
        bool, typer.Option("--full-refresh-all", help="The same for all tables.")
    ] = False,
    refresh: Annotated[
        list[str], typer.Option("--refresh", metavar="T,…", help="Update only these tables.")
    ] = [],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the graph; write nothing.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--graph", metavar="FILE.svg", help="Draw datasets and flows into this file."),
    ] = None,
    master: Annotated[str | None, typer.Option("--master", help="Spark master; local[*] by default.")] = None,
    root_path: Annotated[
        Path | None,
        typer.Option(
            "--root-path",
            metavar="DIR",
            help="Folder that joins sys.path; the parent of the sources by default.",
        ),
    ] = None,
    wheels: Annotated[
        list[Path],
        typer.Option(
            "--wheel",
            metavar="FILE",
            help="A wheel that the sources import from, before anything that is installed here; can be repeated.",
        ),
    ] = [],
    name: Annotated[str, typer.Option("--name", help="Name of the pipeline in the event log.")] = "pipeline",
    update_id: Annotated[str | None, typer.Option("--update-id", hidden=True)] = None,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
):
    "Run one update of the pipeline that these Lakeflow source files declare, unmodified, with Spark and Delta Lake on this machine."
    configuration, picture = update_configuration(conf, catalog, schema), picture_path(picture)
    if is_own_process.get():  # before anything below starts a thread
        with suppress(UsageError):  # `run_update` refuses the same, before anything is written
            discover_sources(paths)
            mount(Storage(storage).check(), makes_folders=not dry_run)
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.update import UpdateProgress
    from cdc_local.update.request import UpdateRequest
    from cdc_local.update.run import run_update

    request = UpdateRequest(
        sources=tuple(paths),
        storage=storage,
        catalog=catalog,
        schema=schema,
        configuration=configuration,
        full_refresh=read_names(full_refresh),
        full_refresh_all=full_refresh_all,
        refresh=read_names(refresh),
        dry_run=dry_run,
        master=master,
        root_path=root_path,
        wheels=tuple(wheels),
        pipeline_name=name,
        update_id=update_id,
    )
    console, style = make_console(), progress_style(layout, quiet)
    with UpdateProgress(console, style) as progress:
        result = run_update(request, progress.show_event)
    if dry_run and style != "quiet" and result.graph is not None:
        print_graph(result.graph, result.reads, console, layout)
    if picture and result.graph is not None:
        save_picture(picture, result.graph, result.reads)
    finish(result, console, style)


def graph_lines(
    graph,  # A `Graph`
    reads: dict[str, object] = {},  # Flow name to the tables and views it reads
) -> list[dict]:  # One per dataset: name, kind, its flows as `{name, kind, reads}`, names of its expectations
    "A graph as plain values."
    flows = {}
    for flow in graph.flows.values():
        flows.setdefault(flow.target, []).append(
            {"name": flow.name, "kind": flow.kind, "reads": sorted(map(str, reads.get(flow.name, ())))}
        )
    return [
        {
            "dataset": str(dataset.name),
            "kind": dataset.kind,
            "flows": flows.get(dataset.name, []),
            "expectations": [rule.name for rule in dataset.expectations],
        }
        for dataset in graph.datasets.values()
    ]


def print_graph(
    graph,  # A `Graph`
    reads: dict,  # Flow name to what it reads
    console,  # Where to print
    layout: Lines,  # table or json
) -> None:
    "Print the datasets and flows of a graph."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import plain_table

    lines = graph_lines(graph, reads)
    if layout is Lines.json:
        for line in lines:
            typer.echo(format_json(line))
        return

    def short(name):
        return name.removeprefix(f"{graph.catalog}.{graph.schema}.")

    def flow_text(flow, dataset):
        told = flow["kind"] + (f" from {', '.join(map(short, flow['reads']))}" if flow["reads"] else "")
        return told if flow["name"] == dataset else f"{short(flow['name'])} ({told})"

    console.print(
        plain_table(
            "",
            ("Dataset", "Kind", "Flows", "Expectations"),
            [
                (
                    short(line["dataset"]),
                    line["kind"],
                    "\n".join(flow_text(flow, line["dataset"]) for flow in line["flows"]),
                    ", ".join(line["expectations"]),
                )
                for line in lines
            ],
        )
    )


@app.command(
    epilog=examples("cdc demo", "cdc demo --rows 100000", "cdc demo  # again: only the next day is processed")
)
@guarded
def demo(
    rows: Annotated[int, typer.Option(help="Changes of a day.")] = 20_000,
    seed: Annotated[int, typer.Option(help="The same number gives the same feed.")] = 42,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    debug: DebugOption = False,
):
    "Feed, exploration, pipeline, results: the whole way on this machine. Run again, it adds a day and processes only that."
    if is_own_process.get():
        mount(Storage(storage).check())
    from cdc_local.operations.demo import run_demo
    from cdc_local.reports.tables import make_console

    with interruptible() as stop:
        result = run_demo(Path.cwd(), storage, rows, seed, catalog, schema, make_console(), stop)
    finish(result, make_console(), "quiet")
