"""What the proof asks of a database, and what the servers have in common."""

import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from columns import Column


class Database(ABC):
    "A server of its own, in a folder of its own, on loopback and with a password."

    name: str  # What people call it
    packages: str  # Debian's packages with it
    columns: Mapping[str, Column]
    undoes_truncates: bool  # Whether a truncate is part of its transaction
    needs_own_engine = False  # Whether Debezium's connector is not in the wheel, and comes by Maven

    def __init__(self, folder: Path):
        self.folder = folder

    @classmethod
    @abstractmethod
    def is_there(cls) -> bool:
        "Whether this machine has the server."

    @abstractmethod
    def run(self) -> AbstractContextManager[None]:
        "Run the server."

    @abstractmethod
    def connect(self) -> Any:
        "Connect; what comes back has `execute`, `commit`, `rollback` and `close`."

    @abstractmethod
    def setup(self) -> Iterator[str]:
        "Statements that make the tables."

    @abstractmethod
    def position(self, connection: Any) -> tuple:
        "Where the log ends: the place of no change that is made after this."

    @abstractmethod
    def debezium(self) -> dict[str, Any]:
        "Settings of Debezium's connector."

    def definitions(self) -> str:
        "The columns of a table, as its DDL has them."
        own = (f"{name} {column.source}" for name, column in self.columns.items())
        return ", ".join(["id int PRIMARY KEY", *own])

    def read(self, connection: Any, table: str) -> list[tuple]:
        "Read a table's rows as they should arrive."
        selected = [column.select.format(name=name) for name, column in self.columns.items()]
        rows = connection.execute(f"SELECT {', '.join(['id', *selected])} FROM {table}").fetchall()
        readers = [column.read for column in self.columns.values()]
        return [
            (
                key,
                *(
                    value if value is None else read(value)
                    for read, value in zip(readers, values, strict=True)
                ),
            )
            for key, *values in rows
        ]


def find_port() -> int:
    "Find a port that nothing listens on."
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def kill_process(process: subprocess.Popen) -> None:
    "Kill a process of ours and wait for it."
    process.kill()
    process.wait(timeout=60)


def connect_patiently(connect: Callable[[], Any], failure: type[Exception]) -> Any:
    "Connect as soon as the server answers."
    for _ in range(300):
        try:
            return connect()
        except failure:
            time.sleep(0.1)
    return connect()


def hand_over(paths: list[Path], user: str) -> None:
    "Give files to the user as whom a server runs."
    for path in paths:
        shutil.chown(path, user, user)
