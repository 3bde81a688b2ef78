"Every figure beside its rivals, in one run: `make bench`."

import json
import os
from datetime import date
from pathlib import Path
from typing import Annotated

import machine
import plot
import typer
from figures import JUDGED, MEASURED, Bench, from_json, growth
from processes import ROOT
from rich.console import Console
from rich.table import Table

RESULTS, WORK = ROOT / "benchmarks/results.json", ROOT / "build/bench"
SIZES = {"quick": {20_000: 1}, "default": {500_000: 5}, "large": {500_000: 5, 5_000_000: 1}}
EPILOG = "\n\n".join(
    [
        "[bold]Examples[/bold]",
        "[cyan]make bench[/cyan]  500,000 events",
        "[cyan]make bench ARGS=--quick[/cyan]  does it all work?",
        "[cyan]make bench ARGS=--large[/cyan]  5,000,000 events too",
        "[cyan]make bench ARGS=--add-large[/cyan]  these alone, beside the figures that are there",
        '[cyan]make bench ARGS="first-update show"[/cyan]  these only, into build/bench/results.json',
        '[cyan]make bench ARGS="--keep first-update"[/cyan]  these again, beside the figures that are there',
    ]
)
app = typer.Typer(add_completion=False, rich_markup_mode="rich", pretty_exceptions_enable=False)


def table(figures):
    "Figure, ours, rivals, measure, reach, met or not."
    shown = Table(box=None, header_style="bold")
    for name, side in (
        ("Figure", "left"),
        ("Events", "right"),
        ("Ours", "right"),
        ("Rivals", "right"),
        ("Measure", "right"),
        ("Reach", "right"),
        ("", "left"),
    ):
        shown.add_column(name, justify=side)
    for each in figures:
        medians = {
            name: plot.shown(contestant["median"], each["unit"])
            for name, contestant in each["contestants"].items()
        }
        rivals = "\n".join(f"{name} {value}" for name, value in medians.items() if name != "ours")
        shown.add_row(
            each["name"],
            f"{each['events']:,}" if each["events"] else "",
            medians["ours"],
            rivals,
            f"{each['measure']} = {each['value']:.2f}" if "/" in each["measure"] else "",
            plot.limit(each),
            {True: "met", False: "[bold]not met[/bold]", None: ""}[each["met"]],
        )
    return shown


def kept_figures(results, measured):
    "What an earlier run measured and this one did not."
    again = {(figure.name, figure.events) for figure in measured}
    return [
        from_json(each)
        for each in json.loads(results.read_text())["figures"]
        if (each["name"], each["events"]) not in again and not each["name"].startswith("growth")
    ]


def write_results(output, kind, selected, figures):
    "Write figures into a file, and give them as they stand there."
    figures = [figure.as_json() for figure in (*figures, *growth(figures))]
    output.write_text(json.dumps(whole_json(kind, selected, figures), indent=1, ensure_ascii=False) + "\n")
    return figures


def whole_json(kind, selected, figures):
    "What results.json holds."
    return {
        "run": {"kind": kind, "selected": selected, "date": date.today().isoformat()},
        "machine": machine.facts(),
        "figures": figures,
    }


@app.command(epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Figures to take, all by default: {', '.join(MEASURED)}.")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="20,000 events and few runs: a smoke test, its figures mean nothing."),
    ] = False,
    large: Annotated[bool, typer.Option("--large", help="5,000,000 events as well.")] = False,
    add_large: Annotated[
        bool,
        typer.Option(
            "--add-large",
            help="5,000,000 events alone; the other figures stay as benchmarks/results.json has them.",
        ),
    ] = False,
    keep: Annotated[
        bool,
        typer.Option("--keep", help="Leave the other figures as benchmarks/results.json has them."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="Where the figures go; benchmarks/results.json where all were taken.")
    ] = None,
):
    """Measure this project beside its rivals on this machine. Leave the machine alone meanwhile. Inputs are
    kept in build/bench, and so are the figures of a run that did not end."""
    if quick + large + add_large > 1:
        raise typer.BadParameter("give one of --quick, --large and --add-large")
    if add_large and names:
        raise typer.BadParameter("--add-large takes the figures that grow with the events, and no others")
    if unknown := set(names or ()) - set(MEASURED):
        raise typer.BadParameter(
            f"there is no figure {sorted(unknown)[0]!r}; there are {', '.join(MEASURED)}"
        )
    kind, console = (
        "quick" if quick else "large" if large or add_large else "default",
        Console(highlight=False, log_path=False, width=max(Console().width, 120)),
    )
    WORK.mkdir(parents=True, exist_ok=True)
    sizes, taken = (
        ({JUDGED[1]: 1}, ["first-update", "new-events"])
        if add_large
        else (SIZES[kind], names or list(MEASURED))
    )
    bench = Bench(WORK, sizes, 2 if quick else 5, 2_000 if quick else 100_000, console.log)
    figures = []
    for name in (name for name in MEASURED if name in taken):
        figures += MEASURED[name](bench)
        write_results(WORK / "results.json", kind, names or [], figures)
    if add_large or keep:
        figures = kept_figures(RESULTS, figures) + figures
        kind = "large" if any(figure.events == JUDGED[1] for figure in figures) else kind
    output = output or (WORK / "results.json" if names and not keep else RESULTS)
    figures = write_results(output, kind, [] if keep else names or [], figures)
    picture = WORK / "results.svg"
    plot.picture(figures).save(picture)
    console.print(table(figures))
    for path in (output, picture):
        console.print(f"written: {os.path.relpath(path)}", soft_wrap=True)


if __name__ == "__main__":
    app()
