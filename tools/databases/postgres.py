"""PostgreSQL: its server, its tables, what reads its log."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
from columns import POSTGRES, WAL2JSON
from database import Database, connect_patiently, find_port, hand_over
from feeds import TABLES

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "fsync": "off",
}


def find_programs() -> Path | None:  # The folder with `initdb` and `postgres`
    "Find PostgreSQL's programs."
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: -int(each.parent.name))
    found = shutil.which("initdb")
    return next(iter([*([Path(found).resolve().parent] if found else []), *places]), None)


def as_server(command: list[str]) -> list[str]:  # The command, as a user that PostgreSQL accepts
    "PostgreSQL refuses root."
    return ["runuser", "-u", "postgres", "--", *command] if os.getuid() == 0 else command


class Postgres(Database):
    "A server with a log that can be decoded."

    name, packages, columns, undoes_truncates = "PostgreSQL", "postgresql", POSTGRES, True

    @classmethod
    def is_there(cls) -> bool:
        "Whether this machine has the server."
        return find_programs() is not None

    @contextmanager
    def run(self) -> Iterator[None]:
        "Run the server."
        programs, password = find_programs(), secrets.token_hex(16)
        self.folder.mkdir()
        secret = self.folder.parent / "password"
        secret.write_text(password)
        if os.getuid() == 0:
            hand_over([self.folder, secret], "postgres")
        data = self.folder / "data"
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.STDOUT, "cwd": self.folder}
        made = ["-D", str(data), "-U", "proof", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8"]
        subprocess.run(as_server([f"{programs}/initdb", *made]), check=True, **quiet)
        secret.unlink()
        self.address = {"host": "127.0.0.1", "port": find_port(), "user": "proof", "password": password}
        self.address["dbname"] = "postgres"
        flags = [flag for name, value in SETTINGS.items() for flag in ("-c", f"{name}={value}")]
        command = [f"{programs}/postgres", "-D", str(data), "-p", str(self.address["port"]), *flags]
        server = subprocess.Popen(as_server(command), **quiet)
        try:
            yield
        finally:
            stop = [f"{programs}/pg_ctl", "stop", "-m", "immediate", "-D", str(data)]
            subprocess.run(as_server(stop), **quiet)
            server.wait(timeout=60)

    def connect(self) -> psycopg.Connection:
        "Connect as soon as the server answers."
        return connect_patiently(lambda: psycopg.connect(**self.address), psycopg.OperationalError)

    def setup(self) -> Iterator[str]:
        "Statements that make the tables; large values of products are left out of the log."
        for table in TABLES:
            yield f"CREATE TABLE {table} ({self.definitions()})"
            yield f"ALTER TABLE {table} ALTER notes SET STORAGE EXTERNAL"
        yield "ALTER TABLE orders REPLICA IDENTITY FULL"
        yield "CREATE TABLE stops (id int PRIMARY KEY)"

    def position(self, connection: Any) -> tuple:
        "The end of the log."
        [[lsn]] = connection.execute("SELECT pg_current_wal_lsn() - '0/0'")
        return (int(lsn),)

    def debezium(self) -> dict[str, Any]:
        "Settings of Debezium's connector."
        return {
            "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
            "plugin.name": "pgoutput",
            "slot.name": "proof",
            "database.hostname": self.address["host"],
            "database.port": self.address["port"],
            "database.user": self.address["user"],
            "database.password": self.address["password"],
            "database.dbname": self.address["dbname"],
            "table.include.list": "public.products,public.orders,public.stops",
        }


class PostgresWithSlot(Postgres):
    "A server with a slot that wal2json fills, from before the first change on."

    name, packages, columns = "PostgreSQL with wal2json", "postgresql-15 postgresql-15-wal2json", WAL2JSON

    @classmethod
    def is_there(cls) -> bool:
        "Whether this machine has the server and the plugin."
        programs = find_programs()
        return programs is not None and (programs.parent / "lib/wal2json.so").exists()

    def setup(self) -> Iterator[str]:
        "Statements that make the tables, and the slot."
        yield from super().setup()
        yield "COMMIT"
        yield "SELECT pg_create_logical_replication_slot('proof', 'wal2json')"

    def position(self, connection: Any) -> tuple:
        "The end of the log, as `lsn_of` writes it."
        return tuple(f"{lsn:016X}" for lsn in super().position(connection))
