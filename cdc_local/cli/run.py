"""`cdc run`: one update of a pipeline."""

import shlex
import sys
from contextlib import closing
from dataclasses import replace
from graphlib import TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cdc_local.cli.exit_status import finish, guarded
from cdc_local.cli.options import (
    CATALOG,
    SCHEMA,
    STORAGE,
    CatalogOption,
    ConfOption,
    DebugOption,
    EngineOption,
    FullRefreshAllOption,
    FullRefreshOption,
    Lines,
    LinesOption,
    MasterOption,
    MemoryOption,
    ParamOption,
    PathsArgument,
    QuietOption,
    RefreshOption,
    RootPathOption,
    SchemaOption,
    StorageOption,
    examples,
    progress_style,
    read_conf,
    read_names,
    read_parameters,
)
from cdc_local.cli.own_process import mount_volumes
from cdc_local.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.console import Console

    from cdc_local.dataflow.graph import Graph
    from cdc_local.update.request import UpdateRequest
    from cdc_utils.results import FlowResult, UpdateResult

commands = typer.Typer()


@commands.command(
    epilog=examples(
        "cdc run transformations  # one update of the pipeline in this folder",
        "cdc run etl.py rules.sql --conf cdc.catalog=main",
        "cdc run transformations --dry-run  # the graph and its errors, nothing is written",
        "cdc run transformations --dry-run --graph flow.svg  # the same as a picture",
        "cdc run transformations --full-refresh customers,customers_history",
        "cdc run transformations --watch  # now, and whenever a source file or the input changes",
    )
)
@guarded
def run(
    paths: PathsArgument,
    storage: StorageOption = STORAGE,
    catalog: CatalogOption = CATALOG,
    schema: SchemaOption = SCHEMA,
    conf: ConfOption = None,
    param: ParamOption = None,
    full_refresh: FullRefreshOption = None,
    full_refresh_all: FullRefreshAllOption = False,
    refresh: RefreshOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and print the graph; write nothing.")
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option("--graph", metavar="FILE.svg", help="Draw datasets and flows into this file."),
    ] = None,
    master: MasterOption = None,
    engine: EngineOption = None,
    memory: MemoryOption = None,
    root_path: RootPathOption = None,
    wheels: Annotated[
        list[Path] | None,
        typer.Option(
            "--wheel",
            metavar="FILE",
            help="A wheel that the sources import from, before anything that is installed here; "
            "can be repeated.",
        ),
    ] = None,
    name: Annotated[str, typer.Option("--name", help="Name of the pipeline in the event log.")] = "pipeline",
    update_id: Annotated[str | None, typer.Option("--update-id", hidden=True)] = None,
    waits: Annotated[bool, typer.Option("--wait-for-storage", hidden=True)] = False,
    keeps_events: Annotated[bool, typer.Option("--keep-events", hidden=True)] = False,
    watch: Annotated[
        bool,
        typer.Option(
            "--watch",
            help="Go on: run an update whenever a source file, a module or the input changes, until Ctrl-C. "
            "--full-refresh is of the first update alone.",
        ),
    ] = False,
    layout: LinesOption = Lines.table,
    quiet: QuietOption = False,
    debug: DebugOption = False,
) -> None:
    """Run one update of the pipeline that these Lakeflow source files declare, unmodified,
    on this machine, with Sail or Spark and Delta Lake."""
    configuration, parameters = read_conf(conf, catalog, schema), read_parameters(param)
    if picture:
        _check_picture_path(picture)
    mount_volumes(storage, paths, makes_folders=not dry_run)
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
        parameters=parameters,
        full_refresh=read_names(full_refresh),
        full_refresh_all=full_refresh_all,
        refresh=read_names(refresh),
        dry_run=dry_run,
        master=master,
        root_path=root_path,
        wheels=tuple(wheels or ()),
        pipeline_name=name,
        update_id=update_id,
    )
    if waits:
        request = replace(request, waits_for_storage=True)
    if keeps_events:
        request = replace(request, keeps_events=True)
    console, style = make_console(), progress_style(layout, quiet)
    if watch:
        _watch(request, console, style, picture)
        return
    with UpdateProgress(console, style) as progress:
        result = run_update(request, progress.show_event)
    if dry_run and style != "quiet" and result.graph is not None:
        print_graph(result.graph, result.reads, console, layout)
    if picture and result.graph is not None:
        _save_picture(picture, result.graph, result.reads)
    finish(result, console, style, progress.seconds())
    if style == "auto" and not dry_run and console.is_terminal:
        console.print(f"Next: {suggest_command(result.flows, storage)}", style="dim", markup=False)


def suggest_command(
    flows: "Iterable[FlowResult]",  # What the update did
    storage: Path,  # Its storage folder
) -> str:  # A command to type
    "Suggest how to look at what came out: the rows of the last table that was filled."
    tables = [flow.dataset.rsplit(".", 1)[-1] for flow in flows if flow.dataset]
    named = [] if storage == STORAGE else ["--storage", str(storage)]
    return shlex.join(["cdc", "show", *tables[-1:], *named])


def _watch(
    request: "UpdateRequest",  # What to run
    console: "Console",  # Where to print
    style: str,  # Style of `WatchProgress`
    picture: Path | None,  # `--graph`
) -> None:
    """Run updates until Ctrl-C; raises `typer.Exit` with 130 where that stopped one. An update with an id of
    its own is one that goes on."""
    from cdc_local.reports.tables import make_console
    from cdc_local.reports.watch import WatchProgress
    from cdc_local.update.watch import watch_updates

    def draw(result: "UpdateResult") -> None:
        if picture and result.graph is not None:
            _save_picture(picture, result.graph, result.reads)

    request = replace(request, continuous=request.update_id is not None)
    with closing(WatchProgress(console, make_console(sys.stderr), style, draw)) as progress:
        stopped = watch_updates(request, progress)
    if stopped is not None:
        finish(stopped, console, "quiet")


def _check_picture_path(
    path: Path,  # `--graph`, as typed
) -> None:
    """See before anything runs that a picture can be written; `UsageError` for a file that is no SVG,
    or has no folder."""
    if path.suffix.lower() != ".svg":
        raise UsageError(f"--graph {path}: only SVG is drawn", hint=f"name it {path.with_suffix('.svg')}")
    if path.is_dir():
        raise UsageError(f"--graph {path} is a folder", hint="name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"--graph {path}: there is no folder {path.parent}", hint="make it first")


def _save_picture(
    path: Path,  # File to write
    graph: "Graph",  # The pipeline
    reads: "Mapping[str, Iterable[Any]]",  # Flow or view -> tables and views it reads
) -> None:
    "Draw a pipeline into a file; `UsageError` where it can't be written."
    from cdc_utils.pictures import flow_graph

    try:
        flow_graph(graph, reads).save(path)
    except OSError as error:
        raise UsageError(f"--graph {path}: it cannot be written ({error.strerror})") from None


def print_graph(
    graph: "Graph",  # The pipeline
    reads: "Mapping[str, Iterable[Any]]",  # Flow name -> tables and views it reads
    console: "Console",  # Where to print
    layout: Lines,  # table or json
) -> None:
    "Print the datasets and flows of a pipeline."
    from cdc_local.delta.rows import format_json
    from cdc_local.reports.tables import plain_table

    datasets = list_datasets(graph, reads)
    if layout is Lines.json:
        for dataset in datasets:
            typer.echo(format_json(dataset))
        return

    def short_name(name: str) -> str:
        return name.removeprefix(f"{graph.catalog}.{graph.schema}.")

    def describe_flow(flow: dict[str, Any], dataset: str) -> str:
        text = flow["kind"]
        if flow["reads"]:
            text += f" from {', '.join(map(short_name, flow['reads']))}"
        return text if flow["name"] == dataset else f"{short_name(flow['name'])} ({text})"

    lines = [
        (
            short_name(dataset["dataset"]),
            dataset["kind"],
            "\n".join(describe_flow(flow, dataset["dataset"]) for flow in dataset["flows"]),
            ", ".join(dataset["expectations"]),
        )
        for dataset in datasets
    ]
    console.print(plain_table("", ("Dataset", "Kind", "Flows", "Expectations"), lines))


def list_datasets(
    graph: "Graph",  # The pipeline
    reads: "Mapping[str, Iterable[Any]]",  # Flow name -> tables and views it reads
) -> list[
    dict[str, Any]
]:  # Name, kind, flows as `{name, kind, reads}`, names of expectations, a dataset each
    "List the datasets of a pipeline as plain values, each after those that it reads."
    flows: dict[Any, list[dict[str, Any]]] = {}
    for flow in graph.flows.values():
        flows.setdefault(flow.target, []).append(
            {"name": flow.name, "kind": flow.kind, "reads": sorted(map(str, reads.get(flow.name, ())))}
        )
    return [
        {
            "dataset": str(dataset.name),
            "kind": dataset.kind,
            "flows": flows.get(dataset.name, []),
            "expectations": [expectation.name for expectation in dataset.expectations],
        }
        for dataset in (graph.datasets[name] for name in _order_by_reads(graph, reads))
    ]


def _order_by_reads(
    graph: "Graph",  # The pipeline
    reads: "Mapping[str, Iterable[Any]]",  # Flow or view -> tables and views it reads
) -> "list[Any]":  # Names of its datasets, each after those that it reads
    "Put datasets into the order in which rows pass through them."
    order = TopologicalSorter[Any](dict.fromkeys(graph.datasets, ()))
    for name in graph.datasets:
        order.add(name, *sorted(set(reads.get(str(name), ())) & graph.datasets.keys() - {name}))
    for flow in graph.flows.values():
        order.add(flow.target, *sorted(set(reads.get(flow.name, ())) & graph.datasets.keys() - {flow.target}))
    return list(order.static_order())
