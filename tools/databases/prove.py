"""Prove SCD1 and SCD2 tables against a database whose changes a tool captures.

    python tools/databases/prove.py postgres|mariadb [--capture debezium|wal2json|wal2json-1]
        [--changes N] [--stops N] [--kills N] [--seed N] [--keep DIR] [--record DIR]

A server of its own, in a folder of its own, on loopback and with a password, takes a random workload. At each
stop the capture has caught up, the pipeline is updated, and its SCD1 tables are compared with the source's,
row for row and type for type. At the end the history is read as of every stop. Kills end the capture and an
update in the middle. Where the server or Java is not installed, that is said and nothing is proved."""

import argparse
import gzip
import random
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow
from captures import Capture, Debezium, Wal2json, Wal2json1
from database import Database, kill_process
from feeds import FEEDS, TABLES
from mariadb import MariaDB
from postgres import Postgres, PostgresWithSlot
from pyarrow import parquet
from workload import Workload

from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName

HERE = Path(__file__).resolve().parent
CDC = HERE.parents[1] / ".venv/bin/cdc"
PROOFS: dict[tuple[str, str], tuple[str, type[Database], type[Capture]]] = {
    ("postgres", "debezium"): ("debezium_postgres", Postgres, Debezium),
    ("postgres", "wal2json"): ("wal2json", PostgresWithSlot, Wal2json),
    ("postgres", "wal2json-1"): ("wal2json_1", PostgresWithSlot, Wal2json1),
    ("mariadb", "debezium"): ("debezium_mariadb", MariaDB, Debezium),
}  # Database and capture to the feed and its parts


class Pipeline:
    "The pipeline's storage, and updates of it by the `cdc` command."

    def __init__(self, folder: Path, feed: str, landing: Path):
        self.storage, self.landing, self.feed = folder / "cdc", landing, FEEDS[feed]
        settings = [f"--conf=landing={landing}", f"--conf=feed={feed}"]
        self.command = [CDC, "run", HERE / "pipeline.py", "--storage", self.storage, *settings]

    def update(self, kill_after: float | None = None) -> None:
        "Update the pipeline; with `kill_after`, kill an update after so many seconds first."
        if kill_after is not None:
            process = subprocess.Popen(self.command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=kill_after)
            except subprocess.TimeoutExpired:
                kill_process(process)
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode:
            said = f"{done.stdout[-3000:]}{done.stderr[-3000:]}"
            raise SystemExit(f"FAILED: the update ended with {done.returncode}: {said}")

    def read(self, table: str) -> pyarrow.Table:
        "Read a table."
        return read_table(Storage(self.storage), TableName("main", "default", table))

    def rows(self, table: str, *columns: str) -> list[tuple]:
        "Read a table's rows."
        names = ["id", *self.feed.columns, *columns]
        return [tuple(comparable(row[name]) for name in names) for row in self.read(table).to_pylist()]


def comparable(value: Any) -> Any:
    "Give a value the form in which both sides have it."
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return tuple(value) if isinstance(value, list) else value


def read_source(database: Database, connection: Any) -> dict[str, set[tuple]]:
    "Read the source's tables, each row with its types."
    rows = {table: database.read(connection, table) for table in TABLES}
    connection.commit()
    return {table: {typed(tuple(map(comparable, row))) for row in found} for table, found in rows.items()}


def typed(row: tuple) -> tuple:
    "Put the types beside the values: 1 is no 1.0, and 1 no True."
    return tuple((type(value).__name__, value) for value in row)


def compare(found: list[tuple], expected: set[tuple], what: str) -> None:
    "Compare a table with the source's, row for row."
    rows = {typed(row) for row in found}
    if len(found) == len(expected) and rows == expected:
        return
    missing, extra = [
        [text[:500] for text in sorted(map(str, some))[:3]] for some in (expected - rows, rows - expected)
    ]
    raise SystemExit(
        f"FAILED: {what}: {len(found)} rows, {len(expected)} expected\n  missing {missing}\n  extra {extra}"
    )


def check_nothing_is_quarantined(pipeline: Pipeline, table: str) -> None:
    "What a tool wrote itself has no problems."
    problems = pipeline.read(f"{table}_quarantine").column("problems").to_pylist()
    if problems:
        raise SystemExit(f"FAILED: {len(problems)} events of {table} were quarantined: {problems[:3]}")


def record(pipeline: Pipeline, folder: Path, states: list[tuple[tuple, set[tuple]]]) -> None:
    "Keep the feed and what came of it, which was compared with the source: `tests/data` has such records."
    folder.mkdir(parents=True)
    for kept in sorted({pipeline.feed.folder(table) for table in TABLES}):
        with gzip.GzipFile(folder / f"{kept}.json.gz", "w", mtime=0) as feed:
            for path in sorted((pipeline.landing / kept).glob("*.json")):
                feed.write(path.read_bytes())
    for table in TABLES:
        parquet.write_table(pipeline.read(table), folder / f"{table}.parquet", compression="zstd")
    schema = pipeline.read("orders").schema
    for place, expected in states[:-1]:
        rows = [dict(zip(schema.names, (value for _, value in row), strict=True)) for row in expected]
        path = folder / f"orders_at_{'_'.join(map(str, place))}.parquet"
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), path, compression="zstd")


def compare_history(pipeline: Pipeline, states: list[tuple[tuple, set[tuple]]]) -> None:
    "Read the history as of each stop, and compare it with what the table was then."
    place = pipeline.feed.place
    versions = [
        (row[:-2], place(row[-2]), row[-1] and place(row[-1]))
        for row in pipeline.rows("orders_history", "__START_AT", "__END_AT")
    ]
    for stop, expected in states:
        then = [row for row, start, end in versions if start <= stop and (end is None or end > stop)]
        compare(then, expected, f"orders_history as of {stop}")
    print(f"  ok  {len(versions):,} versions, read as of {len(states)} stops", flush=True)


def check_stop(pipeline: Pipeline, expected: dict[str, set[tuple]], what: str) -> str:  # What was compared
    "Compare the current rows of both tables."
    for table in TABLES:
        compare(pipeline.rows(table), expected[table], f"{table} at {what}")
        check_nothing_is_quarantined(pipeline, table)
    return ", ".join(f"{table} {len(expected[table]):,} rows" for table in TABLES)


def prove(arguments: argparse.Namespace, folder: Path) -> None:
    "Run the workload, stop by stop."
    begun, draw = time.monotonic(), random.Random(arguments.seed)
    feed, make_database, make_capture = PROOFS[arguments.database, arguments.capture]
    with ExitStack() as stack:
        database = make_database(folder / "server")
        stack.enter_context(database.run())
        source, *connections = [stack.enter_context(closing(database.connect())) for _ in range(3)]
        for statement in database.setup():
            source.execute(statement)
        source.commit()
        workload = Workload(database, connections, arguments.seed)
        workload.make_changes(min(200, arguments.changes // 10))  # rows that a snapshot reads
        capture = make_capture(database, folder)
        stack.callback(capture.end)
        capture.start()
        pipeline, states = Pipeline(folder, feed, capture.landing), []
        kills = draw.sample(range(arguments.stops), arguments.kills)
        half = arguments.changes // arguments.stops // 2
        for stop in range(arguments.stops):
            workload.make_changes(half)
            if stop in kills:
                capture.end()
            workload.make_changes(half)
            if stop in kills:
                capture.start()
            source.execute("INSERT INTO stops VALUES (%s)", [stop])
            source.commit()
            capture.wait_for(stop)
            expected = read_source(database, source)
            states.append((database.position(source), expected["orders"]))
            pipeline.update(draw.uniform(3, 12) if stop in kills else None)
            rows = check_stop(pipeline, expected, f"stop {stop + 1}")
            killed = ", after kills" * (stop in kills)
            print(f"  ok  stop {stop + 1} of {arguments.stops}: {rows}{killed}", flush=True)
        compare_history(pipeline, states)
        if arguments.record:
            record(pipeline, arguments.record, states)
    done = ", ".join(f"{count:,} {kind}" for kind, count in workload.done.items())
    print(f"done: {done}, {len(kills)} stops with kills, {time.monotonic() - begun:,.0f} s")


def read_arguments(words: list[str]) -> argparse.Namespace:
    "Read the command's words."
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("database", choices=sorted({database for database, _ in PROOFS}))
    parser.add_argument(
        "--capture",
        choices=sorted({capture for _, capture in PROOFS}),
        default="debezium",
        help="what reads the log (default: %(default)s)",
    )
    for name, default, what in (
        ("changes", 5_000, "changes of rows, in all"),
        ("stops", 5, "times at which all is compared"),
        ("kills", 2, "stops with a kill of the capture and of an update"),
        ("seed", 1, "the same seed makes the same workload"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=f"{what} (default: %(default)s)")
    parser.add_argument(
        "--keep", type=Path, help="folder to work in, which stays; a temporary one by default"
    )
    parser.add_argument("--record", type=Path, help="new folder for the feed and the tables that came of it")
    arguments = parser.parse_args(words)
    if (arguments.database, arguments.capture) not in PROOFS:
        parser.error(f"{arguments.capture} does not read {arguments.database}")
    if arguments.kills > arguments.stops:
        parser.error(f"--kills {arguments.kills} is more than --stops {arguments.stops}")
    return arguments


def needs(command: str, database: type[Database]) -> bool:
    "Whether a command is missing that the proof runs."
    return shutil.which(command) is None and (command == "java" or database.needs_own_engine)


def main(words: list[str]) -> int:
    "Prove, or say what is missing."
    arguments = read_arguments(words)
    _, database, _ = PROOFS[arguments.database, arguments.capture]
    missing = (
        [] if database.is_there() else [f"{database.name} (Debian 12: apt-get install {database.packages})"]
    )
    missing += [name for name, command in (("Java", "java"), ("Maven", "mvn")) if needs(command, database)]
    if missing:
        print(f"skipped, since this is not installed: {', '.join(missing)}")
        return 0
    if arguments.keep:
        arguments.keep.mkdir(parents=True)
        prove(arguments, arguments.keep.resolve())
        return 0
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)  # the server may run as another user
        prove(arguments, Path(folder))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
