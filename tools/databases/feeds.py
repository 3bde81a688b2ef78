"""The feeds of the proofs: which tool reads which database, and the tables as `pipeline.py` declares them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from columns import MARIADB, POSTGRES, WAL2JSON, Column

from cdc_utils.envelopes import debezium, wal2json
from cdc_utils.envelopes.changes import Envelope, SourceTable

TABLES = ("products", "orders")  # Products are truncated now and then; orders have a history


@dataclass(frozen=True)
class Feed:
    "What a tool makes of the tables of a database."

    envelope: Envelope
    columns: Mapping[str, Column]  # Beside `id`, the key
    schema: str | None = None  # Of what lands, where that is not yet rows of the envelope
    rows: Callable[[Any], Any] = lambda raw: raw  # Makes rows of the envelope of what lands
    is_one: bool = False  # Whether all tables come in one folder

    @cached_property
    def sources(self) -> dict[str, SourceTable]:
        "The tables as the pipeline declares them."
        types = {"id": "int"} | {name: column.arrives for name, column in self.columns.items()}
        encodings = {name: column.encoding for name, column in self.columns.items() if column.encoding}
        return {
            table: SourceTable(
                self.envelope,
                ["id"],
                types,
                encodings,
                table=f"public.{table}" if self.is_one else None,
                keeps_history=table == "orders",
            )
            for table in TABLES
        }

    def folder(self, table: str) -> str:
        "The folder below the landing zone in which a table's changes arrive."
        return "all" if self.is_one else table

    def place(self, sequence: Mapping[str, Any]) -> tuple:
        "The position in the log of a change's sequence."
        return tuple(sequence[name] for name in self.envelope.order)


FEEDS = {
    "debezium_postgres": Feed(debezium.POSTGRES, POSTGRES),
    "debezium_mariadb": Feed(debezium.MYSQL, MARIADB),
    "wal2json": Feed(wal2json.WAL2JSON, WAL2JSON, is_one=True),
    "wal2json_1": Feed(
        wal2json.WAL2JSON_1, WAL2JSON, wal2json.TRANSACTION_COLUMNS, wal2json.explode_transactions, True
    ),
}
