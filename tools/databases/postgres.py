"""Prove SCD1 and SCD2 tables against PostgreSQL, whose changes Debezium captures: `make e2e-postgres`.

    python tools/databases/postgres.py [--changes N] [--stops N] [--kills N] [--seed N] [--keep DIR]
                                       [--record DIR]

A server of its own, in a folder of its own, on loopback and with a password, takes a random workload. At each
stop Debezium has caught up, the pipeline is updated, and its SCD1 tables are compared with the source's, row
for row and type for type. At the end the history is read as of every stop. Kills end Debezium and an update
in the middle. Where PostgreSQL or Java is not installed, that is said and nothing is proved."""

import argparse
import gzip
import os
import random
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pyarrow
from pyarrow import parquet
from workload import SETUP, TABLES, VALUES, Workload

from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
CDC = ROOT / ".venv/bin/cdc"
NAMES = ("id", *VALUES)
PATIENCE = 180  # Seconds that Debezium has to catch up


def find_server() -> Path | None:  # The folder with `initdb` and `postgres`
    "Find PostgreSQL's programs."
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: -int(each.parent.name))
    found = shutil.which("initdb")
    return next(iter([*([Path(found).parent] if found else []), *places]), None)


def as_server(command: list[str]) -> list[str]:  # The command, as a user that PostgreSQL accepts
    "PostgreSQL refuses root."
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


@contextmanager
def run_server(folder: Path) -> Iterator[dict[str, Any]]:  # How to connect
    "Run a server in a folder, reachable from this machine alone, by a password made for it."
    programs, password = find_server(), secrets.token_hex(16)
    port = find_port()
    folder.mkdir()
    secret = folder.parent / "password"
    secret.write_text(password)
    if os.getuid() == 0:
        for path in (folder, secret):
            shutil.chown(path, "postgres", "postgres")
    data = folder / "data"
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": folder}
    made = ["-D", str(data), "-U", "proof", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
    subprocess.run(as_server([str(programs / "initdb"), *made]), check=True, **quiet)
    secret.unlink()
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "wal_level": "logical",
        "fsync": "off",
    }
    flags = [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
    command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), *flags]
    server = subprocess.Popen(as_server(command), **quiet)
    try:
        yield {"host": "127.0.0.1", "port": port, "user": "proof", "password": password, "dbname": "postgres"}
    finally:
        subprocess.run(
            as_server([str(programs / "pg_ctl"), "stop", "-m", "immediate", "-D", str(data)]), **quiet
        )
        server.wait(timeout=60)


def find_port() -> int:
    "Find a port that nothing listens on."
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_process(process: subprocess.Popen) -> None:
    "Kill a process of ours and wait for it."
    process.kill()
    process.wait(timeout=60)


def connect(address: dict[str, Any]) -> psycopg.Connection:
    "Connect as soon as the server answers."
    for _ in range(100):
        try:
            return psycopg.connect(**address)
        except psycopg.OperationalError:
            time.sleep(0.1)
    return psycopg.connect(**address)


class Capture:
    "Debezium's engine as a process."

    def __init__(self, address: dict[str, Any], folder: Path):
        self.landing, state = folder / "landing", folder / "state"
        state.mkdir()
        settings = {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "slot.name": "proof",
            "database.hostname": address["host"],
            "database.port": address["port"],
            "database.user": address["user"],
            "database.password": address["password"],
            "database.dbname": address["dbname"],
            "table.include.list": "public.products,public.orders,public.stops",
        }
        self.command = [sys.executable, str(HERE / "capture.py"), str(self.landing), str(state)]
        self.command += [f"{name}={value}" for name, value in settings.items()]
        self.log, self.folder = folder / "debezium.log", folder
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        "Start the engine where its last run stopped."
        with self.log.open("a") as log:
            self.process = subprocess.Popen(self.command, stdout=log, stderr=log, cwd=self.folder)

    def end(self) -> None:
        "Kill the engine."
        if self.process is not None:
            kill_process(self.process)

    def wait_for(self, stop: int) -> None:
        "Wait until the events of a stop have landed."
        deadline, mark = time.monotonic() + PATIENCE, f'"after":{{"id":{stop}}}'
        while time.monotonic() < deadline:
            if any(mark in path.read_text() for path in (self.landing / "stops").glob("*.json")):
                return
            if self.process is None or self.process.poll() is not None:
                raise SystemExit(f"Debezium has ended: {self.log.read_text()[-2000:]}")
            time.sleep(0.05)
        raise SystemExit(f"Debezium has not sent stop {stop} in {PATIENCE} s: {self.log.read_text()[-2000:]}")


class Pipeline:
    "The pipeline's storage, and updates of it by the `cdc` command."

    def __init__(self, folder: Path, landing: Path):
        self.storage, self.landing = folder / "cdc", landing

    def update(self, kill_after: float | None = None) -> None:
        "Update the pipeline; with `kill_after`, kill an update after so many seconds first."
        command = [
            CDC,
            "run",
            HERE / "pipeline.py",
            "--storage",
            self.storage,
            "--conf",
            f"landing={self.landing}",
        ]
        if kill_after is not None:
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                process.wait(timeout=kill_after)
            except subprocess.TimeoutExpired:
                kill_process(process)
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(
                f"FAILED: the update ended with {done.returncode}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
            )

    def read(self, table: str) -> pyarrow.Table:
        "Read a table."
        return read_table(Storage(self.storage), TableName("main", "default", table))

    def rows(self, table: str, *columns: str) -> list[tuple]:
        "Read a table's rows."
        rows = self.read(table).to_pylist()
        return [tuple(comparable(row[name]) for name in (*NAMES, *columns)) for row in rows]


def comparable(value: Any) -> Any:
    "Give a value the form in which both sides have it."
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC)
    return tuple(value) if isinstance(value, list) else value


def read_source(connection: psycopg.Connection) -> dict[str, set[tuple]]:
    "Read the source's tables, each row with its types."
    read = {}
    for table in TABLES:
        rows = connection.execute(f"SELECT {', '.join(NAMES)} FROM {table}").fetchall()  # type: ignore[call-overload]
        read[table] = {typed(tuple(map(comparable, row))) for row in rows}
    connection.commit()
    return read


def typed(row: tuple) -> tuple:
    "Put the types beside the values: 1 is no 1.0, and 1 no True."
    return tuple((type(value).__name__, value) for value in row)


def compare(found: list[tuple], expected: set[tuple], what: str) -> None:
    "Compare a table with the source's, row for row."
    rows = {typed(row) for row in found}
    if len(found) == len(expected) and rows == expected:
        return
    missing, extra = sorted(map(str, expected - rows))[:3], sorted(map(str, rows - expected))[:3]
    raise SystemExit(
        f"FAILED: {what}: {len(found)} rows, {len(expected)} expected\n  missing {missing}\n  extra {extra}"
    )


def check_nothing_is_quarantined(pipeline: Pipeline, table: str) -> None:
    "Debezium's own events have no problems."
    problems = pipeline.read(f"{table}_quarantine").column("problems").to_pylist()
    if problems:
        raise SystemExit(f"FAILED: {len(problems)} events of {table} were quarantined: {problems[:3]}")


def record(pipeline: Pipeline, folder: Path, states: list[tuple[int, set[tuple]]]) -> None:
    "Keep the feed and what came of it, which was compared with the source: `tests/data` has such a record."
    folder.mkdir(parents=True)
    for table in TABLES:
        with gzip.GzipFile(folder / f"{table}.json.gz", "w", mtime=0) as feed:
            for path in sorted((pipeline.landing / table).glob("*.json")):
                feed.write(path.read_bytes())
        parquet.write_table(pipeline.read(table), folder / f"{table}.parquet", compression="zstd")
    schema = pipeline.read("orders").schema
    for lsn, expected in states[:-1]:
        rows = [dict(zip(NAMES, (value for _, value in row), strict=True)) for row in expected]
        parquet.write_table(
            pyarrow.Table.from_pylist(rows, schema), folder / f"orders_at_{lsn}.parquet", compression="zstd"
        )


def compare_history(pipeline: Pipeline, states: list[tuple[int, set[tuple]]]) -> None:
    "Read the history as of each stop, and compare it with what the table was then."
    versions = [
        (row[:-2], row[-2], row[-1]) for row in pipeline.rows("orders_history", "__START_AT", "__END_AT")
    ]
    for lsn, expected in states:
        then = [
            row for row, start, end in versions if start["lsn"] <= lsn and (end is None or end["lsn"] > lsn)
        ]
        compare(then, expected, f"orders_history as of {lsn}")
    print(f"  ok  {len(versions):,} versions, read as of {len(states)} stops", flush=True)


def prove(arguments: argparse.Namespace, folder: Path) -> None:
    "Run the workload, stop by stop."
    draw, states = random.Random(arguments.seed), []
    with ExitStack() as stack:
        address = stack.enter_context(run_server(folder / "server"))
        source = stack.enter_context(connect(address))
        for statement in SETUP:
            source.execute(statement)
        source.commit()
        workload = Workload(lambda: stack.enter_context(connect(address)), arguments.seed)
        workload.make_changes(min(200, arguments.changes // 10))  # rows that the snapshot reads
        capture = Capture(address, folder)
        stack.callback(capture.end)
        capture.start()
        pipeline = Pipeline(folder, capture.landing)
        kills = (
            {draw.randrange(arguments.stops): None for _ in range(arguments.kills)} if arguments.kills else {}
        )
        for stop in range(arguments.stops):
            workload.make_changes(arguments.changes // arguments.stops // 2)
            if stop in kills:
                capture.end()
            workload.make_changes(arguments.changes // arguments.stops // 2)
            if stop in kills:
                capture.start()
            source.execute("INSERT INTO stops VALUES (%s)", [stop])
            source.commit()
            capture.wait_for(stop)
            [lsn] = source.execute("SELECT pg_current_wal_lsn() - '0/0'").fetchone()  # type: ignore[misc]
            expected = read_source(source)
            states.append((int(lsn), expected["orders"]))
            pipeline.update(draw.uniform(3, 12) if stop in kills else None)
            for table in TABLES:
                compare(pipeline.rows(table), expected[table], f"{table} at stop {stop}")
                check_nothing_is_quarantined(pipeline, table)
            rows = ", ".join(f"{table} {len(expected[table]):,} rows" for table in TABLES)
            print(
                f"  ok  stop {stop + 1} of {arguments.stops}: {rows}{', after kills' * (stop in kills)}",
                flush=True,
            )
        compare_history(pipeline, states)
        if arguments.record:
            record(pipeline, arguments.record, states)
        print("done: " + ", ".join(f"{count:,} {kind}" for kind, count in workload.done.items()))


def main(words: list[str]) -> int:
    "Prove, or say what is missing."
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--changes", type=int, default=5_000, help="changes of rows, in all (default: %(default)s)"
    )
    parser.add_argument(
        "--stops", type=int, default=5, help="times at which all is compared (default: %(default)s)"
    )
    parser.add_argument(
        "--kills", type=int, default=2, help="stops with a kill of both (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same workload")
    parser.add_argument(
        "--keep", type=Path, help="folder to work in, which stays; a temporary one by default"
    )
    parser.add_argument("--record", type=Path, help="new folder for the feed and the tables that came of it")
    arguments = parser.parse_args(words)
    missing = [
        name for name, found in (("PostgreSQL", find_server()), ("Java", shutil.which("java"))) if not found
    ]
    if missing:
        print(
            f"skipped: {' and '.join(missing)} not found; install it (Debian 12: apt-get install postgresql)"
        )
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
