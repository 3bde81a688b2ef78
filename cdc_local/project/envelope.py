"""Which envelope reads a sample, with which arguments: the database, the column that orders, how a position
is written."""

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.project.kinds import Code, connector
from cdc_local.project.options import Options, UnclearError
from cdc_local.project.sample import Record
from cdc_local.project.types import suggest_type
from cdc_utils.envelopes.airbyte import POSITIONS
from cdc_utils.envelopes.dms import CHANGE_SEQ, COMMIT_TIME

CONSTANTS = {
    "cdf": Code("change_feed", "change_feed", {}),
    "goldengate": Code("goldengate", "GOLDENGATE"),
    "wal2json": Code("wal2json", "WAL2JSON"),
    "wal2json-1": Code("wal2json", "WAL2JSON_1"),
    "maxwell": Code("maxwell", "MAXWELL"),
    "fivetran": Code("fivetran", "FIVETRAN"),
}
DEBEZIUM = ("postgres", "mysql", "sqlserver", "oracle", "mongodb")
BATCH_TYPES = ("bigint", "date", "timestamp")  # Of a column that numbers the reads of a stream


def choose_envelope(
    kind: str,  # A name of `KINDS`
    options: Options,  # What the user says
    records: Sequence[Record],  # Of the sample; none without one
) -> Code:
    "Choose the envelope; `UnclearError` or `UsageError` where records and options do not say it."
    if kind in CONSTANTS:
        return CONSTANTS[kind]
    choose = {
        "debezium": _debezium,
        "debezium-flat": _flattened,
        "dms": _dms,
        "sqlserver": _sql_server,
        "snowflake": _snowflake,
        "airbyte": _airbyte,
    }
    return choose[kind](options, records)


def own_columns(
    code: Code,  # An envelope
) -> set[str]:  # Columns that it was told of, which are none of the table's
    "Name the columns that an envelope takes from the feed by the user's or the sample's word."
    given = [value for value in (code.arguments or {}).values() if isinstance(value, str)]
    fields = (code.arguments or {}).get("fields") or {}
    return {*given, *fields.values()}


def _debezium(options: Options, records: Sequence[Record]) -> Code:
    return Code("debezium", _database(options, {connector(each) for each in records}, DEBEZIUM).upper())


def _database(
    options: Options,  # What the user says
    found: set[str | None],  # What the records say
    known: Sequence[str],  # Databases there are
) -> str:
    "Choose a database."
    if options.database is not None:
        if options.database not in known:
            raise UsageError(f"--database {options.database!r}", hint=f"it is one of {', '.join(known)}")
        return options.database
    named = sorted(name for name in found if name)
    if len(named) == 1:
        return named[0]
    said = f"the records are of {' and '.join(named)}" if named else "nothing says which database is read"
    raise UnclearError("database", said, named or known)


def _flattened(options: Options, records: Sequence[Record]) -> Code:
    columns = {name for record in records for name in record}
    found = {}
    for name in DEBEZIUM[:-1]:
        parts = Code("debezium", name.upper()).value().order
        spelt = {part: [f"__source_{part}", f"__{part}"] for part in parts}
        fields = {
            part: next((each for each in names if each in columns), "") for part, names in spelt.items()
        }
        if set(fields.values()) <= columns:
            found[name] = fields
    if not found:
        raise UsageError(
            "nothing orders these events: the columns are " + ", ".join(sorted(columns)),
            hint="let the connector add it: add.fields=op,lsn of PostgreSQL, op,file,pos,row of MySQL, "
            "op,commit_lsn,change_lsn,event_serial_no of SQL Server",
        )
    name = _database(options, set(found), DEBEZIUM)
    if name not in found:
        raise UsageError(f"--database {name}: these events are ordered as those of {', '.join(found)}")
    return Code("debezium", "unwrapped", {"envelope": Code("debezium", name.upper()), "fields": found[name]})


def _dms(options: Options, records: Sequence[Record]) -> Code:
    column = options.sequence or _only_column(records, CHANGE_SEQ)
    if column is None:
        raise UnclearError(
            "sequence",
            "no column has the 35 digits of $AR_H_CHANGE_SEQ, so nothing orders the changes of a transaction",
            _matching(records, COMMIT_TIME),
            "add it to the DMS task by a transformation rule; where no transaction changes a row twice, "
            "--sequence names the column of the commit time",
        )
    if not records or column in _matching(records, CHANGE_SEQ):
        return Code("dms", "dms", {"change_seq": column})
    return Code("dms", "dms", {"change_seq": None, "commit_time": column, "orders_by_time": True})


def _matching(
    records: Sequence[Record],  # Flat
    pattern: str,  # Regular expression
) -> list[str]:  # Columns all of whose values match; one value in ten may be a fault
    "Find columns by the shape of their values."
    found = []
    for name in dict.fromkeys(name for record in records for name in record):
        texts = [str(record[name]) for record in records if record.get(name) not in (None, "")]
        if texts and sum(bool(re.match(pattern, text)) for text in texts) >= 0.9 * len(texts):
            found.append(name)
    return found


def _only_column(records: Sequence[Record], pattern: str) -> str | None:
    if not records:
        return "change_seq"
    found = _matching(records, pattern)
    return found[0] if len(found) == 1 else None


def _sql_server(options: Options, records: Sequence[Record]) -> Code:
    columns = {name for record in records for name in record}
    reader = "table" if not records or "__$command_id" in columns else "all"
    if records and "__$seqval" not in columns:
        reader = "net"
    values = [record["__$start_lsn"] for record in records if record.get("__$start_lsn") is not None]
    lsn = next((how for value in values if (how := _landing(value))), "hex")
    return Code("sqlserver", "sql_server", {"lsn": lsn, "reader": reader})


def _landing(
    value: Any,  # A position
) -> str | None:  # How it was landed; None for what is no position
    "Tell how ten bytes are written."
    if isinstance(value, bytes):
        return "binary"
    if re.fullmatch(r"(0[xX])?[0-9A-Fa-f]{20}", str(value)):
        return "hex"
    try:
        return "base64" if len(base64.b64decode(str(value), validate=True)) == 10 else None
    except binascii.Error:
        return None


def _snowflake(options: Options, records: Sequence[Record]) -> Code:
    typed = {
        name: suggest_type([record[name] for record in records if record.get(name) is not None], True)
        for name in dict.fromkeys(name for record in records for name in record)
        if not name.startswith("METADATA$")
    }
    if options.sequence is None:
        raise UnclearError(
            "sequence",
            "a stream of Snowflake orders nothing",
            [name for name, kind in typed.items() if kind in BATCH_TYPES],
            "name the column in which the task that unloads it numbers its runs",
        )
    kind = typed.get(options.sequence, "bigint")
    more = {} if kind == "bigint" else {"batch_type": kind}
    return Code("snowflake", "snowflake_stream", {"batch": options.sequence, **more})


def _airbyte(options: Options, records: Sequence[Record]) -> Code:
    columns = {name for record in records for name in record}
    if "_ab_cdc_log_file" in columns:
        found = {"mysql"}
    else:
        positions = [record.get("_ab_cdc_lsn") for record in records]
        found = {
            "sqlserver" if isinstance(each, str) and ":" in each else "postgres" for each in positions if each
        }
    return Code("airbyte", "airbyte_table", {"database": _database(options, {*found}, tuple(POSITIONS))})
