"""MariaDB: its server, its tables, what reads its binlog."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pymysql
from columns import MARIADB
from database import Database, connect_patiently, find_port, hand_over, kill_process
from feeds import TABLES

SETTINGS = (
    "--bind-address=127.0.0.1",
    "--socket=server.sock",
    "--skip-name-resolve",
    "--server-id=1",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--binlog-row-image=FULL",
    "--max-binlog-size=256K",  # so that a change's place has many files
    "--transaction-isolation=READ-COMMITTED",
    "--innodb-lock-wait-timeout=10",
    "--innodb-flush-log-at-trx-commit=0",
    "--character-set-server=utf8mb4",
)


class Connection(pymysql.connections.Connection):
    "A connection that runs statements, as psycopg's does."

    def execute(self, statement: str, values: list | None = None) -> pymysql.cursors.Cursor:
        "Run a statement."
        cursor = self.cursor()
        cursor.execute(statement, values)
        return cursor


class MariaDB(Database):
    "A server with a binlog of rows."

    name, packages, columns, undoes_truncates = "MariaDB", "mariadb-server", MARIADB, False
    needs_own_engine = True

    @classmethod
    def is_there(cls) -> bool:
        "Whether this machine has the server."
        return shutil.which("mariadbd") is not None and shutil.which("mariadb-install-db") is not None

    @contextmanager
    def run(self) -> Iterator[None]:
        "Run the server; its one user has a password made for it."
        self.folder.mkdir()
        password, port, is_root = secrets.token_hex(16), find_port(), os.getuid() == 0
        first = self.folder / "first.sql"
        first.write_text(
            "CREATE DATABASE shop;\n"
            f"CREATE USER proof@127.0.0.1 IDENTIFIED BY '{password}';\n"
            "GRANT ALL ON *.* TO proof@127.0.0.1;\n"
            "DROP USER root@localhost;\n"
        )
        if is_root:
            hand_over([self.folder, first], "mysql")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": self.folder}
        user = ["--user=mysql"] if is_root else []
        data = f"--datadir={self.folder / 'data'}"
        made = ["--auth-root-authentication-method=normal", "--skip-test-db", *user]
        subprocess.run(["mariadb-install-db", "--no-defaults", data, *made], check=True, **quiet)
        command = [
            "mariadbd",
            "--no-defaults",
            data,
            f"--port={port}",
            f"--init-file={first}",
            *SETTINGS,
            *user,
        ]
        server = subprocess.Popen(command, **quiet)
        self.address = {"host": "127.0.0.1", "port": port, "user": "proof", "password": password}
        try:
            self.connect().close()
            first.unlink()
            yield
        finally:
            kill_process(server)

    def connect(self) -> Connection:
        "Connect as soon as the server answers."
        more = {"database": "shop", "charset": "utf8mb4", "init_command": "SET time_zone = '+00:00'"}
        return connect_patiently(lambda: Connection(**self.address, **more), pymysql.err.OperationalError)

    def setup(self) -> Iterator[str]:
        "Statements that make the tables."
        for table in TABLES:
            yield f"CREATE TABLE {table} ({self.definitions()})"
        yield "CREATE TABLE stops (id int PRIMARY KEY)"

    def position(self, connection: Any) -> tuple:
        "The end of the binlog: the number of its file, the place in it."
        file, place, *_ = connection.execute("SHOW MASTER STATUS").fetchone()
        return int(file.rpartition(".")[2]), place, 0

    def debezium(self) -> dict[str, Any]:
        "Settings of Debezium's connector."
        return {
            "connector.class": "io.debezium.connector.mariadb.MariaDbConnector",
            "database.hostname": self.address["host"],
            "database.port": self.address["port"],
            "database.user": self.address["user"],
            "database.password": self.address["password"],
            "database.server.id": 2,
            "database.include.list": "shop",
            "table.include.list": "shop.products,shop.orders,shop.stops",
            "bigint.unsigned.handling.mode": "precise",
            "include.schema.changes": "false",
        }
