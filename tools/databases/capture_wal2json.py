"""Capture PostgreSQL's changes with wal2json, as JSON lines in a folder; `prove.py` runs it.

    capture_wal2json.py FOLDER FORMAT TABLES ADDRESS

A batch is one file, which appears whole. The slot moves on after it, so that a kill between the two repeats a
batch and loses none."""

import itertools
import json
import sys
import time
from pathlib import Path

import psycopg
from files import write_file

BATCH = 2_000  # Changes; a batch ends with a transaction
OPTIONS = {
    "include-xids": "true",
    "include-timestamp": "true",
    "include-lsn": "true",
    "actions": "insert,update,delete,truncate",
}


def read_batch(connection: psycopg.Connection, options: list[str]) -> list[str]:
    "Look at what the slot has next; it stays there."
    holes = ", ".join(["%s"] * len(options))
    query = f"SELECT data FROM pg_logical_slot_peek_changes('proof', NULL, {BATCH}, {holes})"
    return [data for [data] in connection.execute(query, options)]  # type: ignore[call-overload]


def main(folder: str, version: str, tables: str, address: str) -> None:
    "Capture until somebody ends this process."
    chosen = OPTIONS | {"format-version": version, "add-tables": tables}
    options = [word for pair in chosen.items() for word in pair]
    with psycopg.connect(**json.loads(address), autocommit=True) as connection:
        for number in itertools.count():
            lines = read_batch(connection, options)
            if not lines:
                time.sleep(0.05)
                continue
            write_file(Path(folder), f"{time.time_ns()}-{number:06}", lines)
            end = json.loads(lines[-1])["nextlsn"]
            connection.execute("SELECT pg_replication_slot_advance('proof', %s::pg_lsn)", [end])


if __name__ == "__main__":
    main(*sys.argv[1:])
