"""`cdc demo`: feed, exploration, pipeline, results: the job of this project from end to end, on this machine.
`cdc demo`: feed, exploration, pipeline, results: the job of this project from end to end, on this machine."""

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

from cdc_local.bundles.bundle import load_bundle
from cdc_local.bundles.run import RunRequest, run_bundle_job
from cdc_local.delta.reader import connect_duckdb, count_rows_of_tables, open_table, read_rows, scan_rows
from cdc_local.delta.rows import Rows
from cdc_local.errors import PipelineError, UsageError
from cdc_local.reports.job import JobProgress, tasks_table
from cdc_local.reports.tables import format_number, plain_table, rows_table
from cdc_local.reports.update import expectations_table, result_table
from cdc_local.storage import Storage, TableName
from cdc_utils.results import UpdateResult

BUNDLE, JOB = Path("bundles", "app"), "dlt_wheel_job"  # What the demo runs


def run_demo(
    start: Path,  # A folder in a clone of the project
    storage: Path,  # Storage folder
    rows: int,  # Changes of a day
    seed: int,  # Seed of the feed
    catalog: str,  # Catalog of the tables
    schema: str,  # Schema of the tables
    console: Console,  # Where to show it
    stop: threading.Event | None = None,  # Ends the job
) -> UpdateResult:  # Of the pipeline
    """Run the job of this project on this machine, and show what it made; raises `PipelineError` where a
    task fails, `KeyboardInterrupt` where it was stopped."""
    project, opened, began = find_project(start), Storage(storage).create(), time.monotonic()
    before = count_rows_of_tables(opened)
    bundle = load_bundle(project / BUNDLE, "dev", {"default_catalog": catalog, "default_schema": schema})
    parameters = {"mock": "true", "rows": str(rows), "seed": str(seed)}
    with JobProgress(console, tasks=len(bundle.resources("jobs")[JOB]["tasks"])) as progress:
        request = RunRequest(
            bundle,
            JOB,
            opened,
            parameters,
            on_line=progress.show_line,
            on_event=progress.show_event,
            on_change=progress.show_task,
        )
        done = run_bundle_job(request, stop)
    result = next(iter(done.updates.values()), None)
    if result and result.flows:
        console.print(result_table(result.flows))
    if done.result == "CANCELED":
        raise KeyboardInterrupt
    if done.result != "SUCCESS" or result is None:
        console.print(tasks_table(done.tasks))
        messages = [run.message for run in done.tasks if run.message]
        raise PipelineError(messages[0] if messages else f"job {JOB} is {done.result}")
    console.rule("What came out", align="left")
    print_results(opened, before, result, catalog, schema, console)
    console.print(plain_table("Next", ("Look at", "It shows"), next_steps(storage, not before)))
    console.print(f"{rows:,} changes, from feed to gold, in {time.monotonic() - began:.0f} s", markup=False)
    return result


def find_project(
    start: Path,  # A folder in a clone of the project
) -> Path:  # The clone
    "Find the clone that a folder lies in; `UsageError` says what to do outside of one."
    start = Path(start).absolute()
    for folder in (start, *start.parents):
        if (folder / BUNDLE / "databricks.yml").is_file() and (folder / "transformations").is_dir():
            return folder
    raise UsageError(
        f"no pipeline to show in {start}: there is no folder {BUNDLE} with transformations/ beside it",
        hint="git clone the project and run `cdc demo` in its folder; "
        "`cdc run PATH` runs a pipeline of your own, `cdc bundle run KEY` a job",
    )


def print_results(
    storage: Storage,  # Where tables lie
    before: Mapping[TableName, int | None],  # Rows of each table before the update
    result: UpdateResult,  # What the update did
    catalog: str,  # Of the tables
    schema: str,  # Of the tables
    console: Console,  # Where to print
) -> None:
    "Print the tables, expectations, one customer and the gold table."
    after = count_rows_of_tables(storage)
    console.print(growth_table(before, after, result), "")
    counts = [count for flow in result.flows for count in flow.expectations]
    if counts:
        console.print(expectations_table(counts), "")
    history = TableName(catalog, schema, "customers_history")
    key = choose_key(storage, history) if after.get(history) else None
    if key is not None:
        versions = read_versions(storage, history, key)
        console.print(rows_table(versions, console.width, f"customers_history of {key}"), "")
    gold = TableName(catalog, schema, "customers_history_agg")
    if after.get(gold):
        busiest = read_busiest(storage, gold)
        console.print(rows_table(busiest, console.width, "customers_history_agg, the busiest customers"), "")


def growth_table(
    before: Mapping[TableName, int | None],  # Rows of each table before the update
    after: Mapping[TableName, int | None],  # And after it
    result: UpdateResult,  # What the update did
) -> Table:
    "Set what the update processed beside the numbers of rows."
    written: dict[str, int] = {}
    for flow in result.flows:
        merged = [rows for rows in (flow.num_upserted_rows, flow.num_deleted_rows) if rows is not None]
        rows = flow.num_output_rows if flow.num_output_rows is not None else sum(merged) if merged else None
        if rows is not None:
            written[str(flow.dataset)] = written.get(str(flow.dataset), 0) + rows
    lines = [
        (
            name.table,
            format_number(before.get(name)),
            format_number(written.get(str(name), written.get(name.table))),
            format_number(rows),
        )
        for name, rows in after.items()
    ]
    return plain_table("Rows", ("Table", ">Before", ">Written by this update", ">Now"), lines)


def choose_key(
    storage: Storage,  # Where tables lie
    name: TableName,  # A history (SCD2) with a column `id`
) -> str | None:  # An id; None where the table is empty
    "Choose an id with about four versions, deleted if there is one like that."
    rows = scan_rows(open_table(storage, name), connect_duckdb())
    by_interest = rows.query(
        "history",
        """SELECT id FROM history GROUP BY id
        ORDER BY count(*) >= 3 DESC, bool_and("__END_AT" IS NOT NULL) DESC, abs(count(*) - 4), id LIMIT 1""",
    )
    found = [] if by_interest is None else by_interest.fetchall()  # its length would read the stream
    return found[0][0] if found else None


def read_versions(
    storage: Storage,  # Where tables lie
    name: TableName,  # A history (SCD2) with a column `id`
    key: str,  # An id
) -> Rows:  # Its versions, the oldest first, without the id
    "Read all versions of one row."
    rows = read_rows(storage, name, where="id = '" + str(key).replace("'", "''") + "'")
    start = rows.columns.index("__START_AT")
    shown = [position for position, column in enumerate(rows.columns) if column != "id"]
    in_order = sorted(rows.values, key=lambda row: (row[start] is not None, row[start]))
    columns = tuple(rows.columns[position] for position in shown)
    return Rows(columns, [tuple(row[position] for position in shown) for row in in_order])


def read_busiest(
    storage: Storage,  # Where tables lie
    name: TableName,  # A table with a row per id
    rows: int = 5,  # How many to show
) -> Rows:  # Its rows with the greatest numbers
    "Read the top of a gold table: by `version_count` where it has one, else by its last column."
    relation = scan_rows(open_table(storage, name), connect_duckdb())
    column = "version_count" if "version_count" in relation.columns else relation.columns[-1]
    top = relation.order(f'"{column}" DESC, "{relation.columns[0]}"').limit(rows)
    return Rows(tuple(top.columns), top.fetchall())


def next_steps(
    storage: Path,  # `--storage`, as typed
    first_day: bool,  # Whether a first day was shown
) -> list[tuple[str, str]]:  # Where things lie, or what to type, and why
    "List what to look at after the demo."
    option = "" if str(storage) == ".cdc" else f" --storage {storage}"
    return [
        (f"{storage}/tables", "the tables, in Delta format"),
        (f"{storage}/Volumes", "the feed: JSON files"),
        (f"{storage}/notebooks/{JOB}", "the executed notebooks, with their plots"),
        (f"cdc show{option}", "all tables"),
        (f"cdc show customers_cdc_quarantine{option}", "the rows that broke a rule, and which"),
        (f"cdc events{option}", "what the update did"),
        (
            f"cdc demo{option}",
            "the next day: only its changes are processed" if first_day else "one more day",
        ),
    ]
