"""How the rows of each tool look: what shows the tool, where a row has its values, its table, its key."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from cdc_local.project.sample import Record, Sample
from cdc_local.project.types import connect_type, postgres_type

DATABASES = {
    "postgresql": "postgres",
    "mysql": "mysql",
    "mariadb": "mysql",
    "sqlserver": "sqlserver",
    "oracle": "oracle",
    "mongodb": "mongodb",
}  # Debezium's name of a connector to the name here


@dataclass(frozen=True)
class Code:
    "An envelope of `cdc_utils.envelopes`, as a project spells it."

    module: str  # Its chapter
    name: str  # A constant, or a function
    arguments: Mapping[str, Any] | None = None  # Of a function; None: a constant

    def __str__(self) -> str:
        if self.arguments is None:
            return f"{self.module}.{self.name}"
        given = ", ".join(f"{name}={_literal(value)}" for name, value in self.arguments.items())
        return f"{self.module}.{self.name}({given})"

    def value(self) -> Any:  # An `Envelope`; `EnvelopeError` for arguments that make none
        "Evaluate it."
        found = getattr(import_module(f"cdc_utils.envelopes.{self.module}"), self.name)
        if self.arguments is None:
            return found
        return found(**{k: v.value() if isinstance(v, Code) else v for k, v in self.arguments.items()})


def _literal(
    value: Any,  # A text, a truth value, a mapping of texts, or code
) -> str:
    "Spell a value in Python."
    return str(value) if isinstance(value, (Code, bool, type(None))) else json.dumps(value)


@dataclass(frozen=True)
class Kind:
    "A tool, as its rows show it."

    name: str  # What `--kind` says
    title: str  # What people call it
    shows: Callable[[Record], bool]  # Whether a record has its shape
    values: Callable[[Record], Record | None]  # The row of the table; None where a record has none
    code: Callable[[Record], Any]  # The operation, as the tool spells it
    table: Callable[[Record], str | None] = lambda record: None  # As the envelope's `source_table`
    keys: Callable[[Record], Sequence[str]] = lambda record: ()  # Names of the key, where a record says them
    types: Callable[[Record], Record] = lambda record: {}  # Column to SQL type, where a record says it
    explode: Callable[[Record], list[Record]] = lambda record: [record]  # Changes of a record
    needs_zone: bool = False  # Whether only moments with a zone are moments
    mock: str | None = None  # What `cdc feed --envelope` calls it


def _flat(
    own: str,  # Regular expression of the columns that are the tool's
) -> Callable[[Record], Record]:
    "Make what takes the table's columns out of a flat record."
    return lambda record: {name: value for name, value in record.items() if not re.fullmatch(own, name)}


def _column(
    name: str,  # Of a record
) -> Callable[[Record], Any]:
    "Make what takes a column out of a record."
    return lambda record: record.get(name)


# Debezium


def payload(
    record: Record,  # An event, with or without a schema
) -> Record:
    "Take the schema off an event."
    inner = record.get("payload")
    return inner if "schema" in record and isinstance(inner, dict) else record


def _is_debezium(record: Record) -> bool:
    event = payload(record)
    return isinstance(event.get("op"), str) and isinstance(event.get("source"), dict)


def _debezium_values(record: Record) -> Record | None:
    event = payload(record)
    row = event.get("after") or event.get("before")
    try:
        found = json.loads(row) if isinstance(row, str) else row
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _debezium_table(record: Record) -> str | None:
    source = payload(record).get("source") or {}
    place = source.get("schema") or source.get("db")
    table = source.get("table") or source.get("collection")
    return f"{place}.{table}" if place and table else None


def _debezium_types(record: Record) -> Record:
    schema = record.get("schema")
    parts = (schema.get("fields") or []) if isinstance(schema, dict) else []
    after: Record = next((part for part in parts if part.get("field") == "after"), {})
    return {field["field"]: connect_type(field) for field in after.get("fields") or []}


def connector(
    record: Record,  # An event of Debezium
) -> str | None:  # As in `DATABASES`
    "Find the database that an event is of."
    source = payload(record).get("source")
    return DATABASES.get(str(source.get("connector"))) if isinstance(source, dict) else None


# wal2json


def _explode_transaction(record: Record) -> list[Record]:
    return [each for each in record.get("change") or [] if isinstance(each, dict)]


def _is_wal2json(record: Record) -> bool:
    action = record.get("action")
    return isinstance(action, str) and (isinstance(record.get("columns"), list) or action in "BCTM")


def _listed(record: Record) -> dict[str, Any]:
    listed = record.get("columns") or record.get("identity") or []
    return {each["name"]: each.get("value") for each in listed}


def _wal2json_keys(record: Record) -> Sequence[str]:
    said = record.get("pk") or (record.get("identity") if record.get("action") == "D" else None) or []
    return tuple(each["name"] for each in said)


def _wal2json_types(record: Record) -> Record:
    return {each["name"]: postgres_type(str(each.get("type"))) for each in record.get("columns") or []}


def _schema_table(record: Record) -> str | None:
    return f"{record['schema']}.{record['table']}" if {"schema", "table"} <= record.keys() else None


def _transaction_values(change: Record) -> Record | None:
    old = change.get("oldkeys") or {}
    names = change.get("columnnames") or old.get("keynames") or []
    return dict(zip(names, change.get("columnvalues") or old.get("keyvalues") or [], strict=False))


def _transaction_types(change: Record) -> Record:
    named = zip(change.get("columnnames") or [], change.get("columntypes") or [], strict=False)
    return {name: postgres_type(each) for name, each in named}


TRANSACTION_CODES = {"insert": "I", "update": "U", "delete": "D", "truncate": "T"}


# The others


def _is_maxwell(record: Record) -> bool:
    return {"database", "table", "type"} <= record.keys() and isinstance(record.get("data", {}), dict)


def _maxwell_table(record: Record) -> str | None:
    return f"{record['database']}.{record['table']}" if {"database", "table"} <= record.keys() else None


def _is_goldengate(record: Record) -> bool:
    images = (record.get("before"), record.get("after"))
    return {"op_type", "pos"} <= record.keys() and any(isinstance(image, dict) for image in images)


def _goldengate_values(record: Record) -> Record | None:
    row = record.get("after") or record.get("before") or {}
    return {name: value for name, value in row.items() if not name.endswith("_isMissing")}


def _is_dms(record: Record) -> bool:
    return "Op" in record and record["Op"] in ("I", "U", "D", "", None)


def _lived(name: str) -> Callable[[Record], Any]:
    return lambda record: str(record.get(name)).lower() if record.get(name) is not None else None


def _airbyte_code(record: Record) -> str:
    return "deleted" if record.get("_ab_cdc_deleted_at") else "live"


FLATTENED = r"__(op|deleted|table|db|schema|lsn|txId|file|pos|row|gtid|scn|rs_id|ssn|.*_(lsn|scn|no|ms))"
FLATTENED += r"|__source_.*"
KINDS = {
    kind.name: kind
    for kind in (
        Kind(
            "debezium",
            "Debezium",
            _is_debezium,
            _debezium_values,
            lambda record: payload(record).get("op"),
            _debezium_table,
            types=_debezium_types,
            needs_zone=True,
            mock="debezium",
        ),
        Kind(
            "debezium-flat",
            "Debezium, flattened",
            lambda record: "__op" in record or "__deleted" in record,
            _flat(FLATTENED),
            lambda record: "d" if str(record.get("__deleted")) == "true" else record.get("__op"),
            needs_zone=True,
        ),
        Kind("dms", "AWS DMS", _is_dms, _flat("Op"), _column("Op"), mock="dms"),
        Kind(
            "sqlserver",
            "SQL Server CDC",
            lambda record: {"__$operation", "__$start_lsn"} <= record.keys(),
            _flat(r"__\$.*"),
            _column("__$operation"),
            mock="sqlserver",
        ),
        Kind(
            "goldengate",
            "Oracle GoldenGate",
            _is_goldengate,
            _goldengate_values,
            _column("op_type"),
            _column("table"),
            keys=lambda record: record.get("primary_keys") or (),
            mock="goldengate",
        ),
        Kind(
            "wal2json",
            "wal2json, format 2",
            _is_wal2json,
            _listed,
            _column("action"),
            _schema_table,
            _wal2json_keys,
            _wal2json_types,
            mock="wal2json",
        ),
        Kind(
            "wal2json-1",
            "wal2json, format 1",
            lambda record: isinstance(record.get("change"), list),
            _transaction_values,
            lambda change: TRANSACTION_CODES.get(str(change.get("kind")), change.get("kind")),
            _schema_table,
            lambda change: (change.get("oldkeys") or {}).get("keynames") or (),
            _transaction_types,
            _explode_transaction,
        ),
        Kind(
            "maxwell",
            "Maxwell",
            _is_maxwell,
            _column("data"),
            _column("type"),
            _maxwell_table,
            keys=lambda record: record.get("primary_key_columns") or (),
        ),
        Kind(
            "cdf",
            "Delta's change data feed",
            lambda record: {"_change_type", "_commit_version"} <= record.keys(),
            _flat("_change_type|_commit_version|_commit_timestamp"),
            _column("_change_type"),
            mock="cdf",
        ),
        Kind(
            "snowflake",
            "a stream of Snowflake",
            lambda record: {"METADATA$ACTION", "METADATA$ISUPDATE"} <= record.keys(),
            _flat(r"METADATA\$.*"),
            _column("METADATA$ACTION"),
        ),
        Kind(
            "fivetran",
            "a table of Fivetran",
            lambda record: {"_fivetran_synced", "_fivetran_deleted"} <= record.keys(),
            _flat("_fivetran_(synced|deleted|index)"),
            _lived("_fivetran_deleted"),
        ),
        Kind(
            "airbyte",
            "a table of Airbyte",
            lambda record: "_ab_cdc_updated_at" in record,
            _flat("_ab_cdc_.*|_airbyte_.*"),
            _airbyte_code,
        ),
    )
}  # Name to a tool whose rows have an envelope
PLAIN, SNAPSHOTS = "plain", "snapshots"  # What has none: rows with a column that orders them; whole tables
NAMES = (*KINDS, PLAIN, SNAPSHOTS)


def recognise(
    sample: Sample,  # What was read
) -> list[str]:  # Names of the tools whose shape more than half of the records have
    "Find the tools that may have written a sample."
    seen: Counter[str] = Counter()
    for record in sample.records:
        seen.update(name for name, kind in KINDS.items() if kind.shows(record))
    return [name for name, count in seen.items() if 2 * count > len(sample.records)]
