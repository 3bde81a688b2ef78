"""Decides what a project is about: from what the user says, and from what a sample shows."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cdc_local.errors import UsageError
from cdc_local.project.envelope import choose_envelope, own_columns
from cdc_local.project.kinds import KINDS, NAMES, PLAIN, SNAPSHOTS, Code, Kind, recognise
from cdc_local.project.options import Options, UnclearError
from cdc_local.project.sample import Record, Sample
from cdc_local.project.types import suggest_type
from cdc_utils.envelopes.changes import CHANGE_COLUMNS, SourceTable, split_columns

NAME = r"[a-z_][a-z0-9_]*"  # Of a table, and of what Python calls it
OPERATIONS = "i|u|d|c|r|insert|update|delete|append|create|upsert|remove|inserted|updated|deleted|removed"
DELETES = "d|delete|remove|deleted|removed"


@dataclass(frozen=True)
class Plan:
    "What a project is about."

    kind: str  # A name of `NAMES`
    title: str  # What people call it
    table: str  # What the table is called here
    keys: tuple[str, ...]  # Columns that identify a row
    columns: Mapping[str, str]  # Column to SQL type
    examples: Mapping[str, Any]  # Column to a value of the sample
    sample: Sample | None = None  # What was looked at
    envelope: Code | None = None  # How the feed is written; None: it has no envelope
    source: SourceTable | None = None  # The same with the table's facts
    source_table: str | None = None  # Which of several tables in the feed
    sequence: str | None = None  # Column that orders rows without an envelope
    operation: str | None = None  # Column that says what such a row is
    deletes: str | None = None  # Its value that means a delete
    types: Mapping[str, str] = field(default_factory=dict)  # Column to type, of those two
    marker: str | None = None  # File that is written last into a snapshot
    has_history: bool = True  # Whether a table with every version is wanted
    operations: Mapping[str, int] = field(default_factory=dict)  # Operation to its number of records
    left_out: tuple[str, ...] = ()  # Columns whose names change rows use

    @property
    def format(self) -> str:
        "Format of the files."
        return self.sample.format if self.sample else ("csv" if self.kind == "dms" else "json")


def make_plan(
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> Plan:
    "Decide all of it; `UnclearError` for what has to be asked, `UsageError` for what cannot be."
    kind = _choose_kind(options, sample)
    if kind in KINDS:
        return _plan_envelope(KINDS[kind], options, sample)
    return _plan_plain(options, sample) if kind == PLAIN else _plan_snapshots(options, sample)


def _choose_kind(
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> str:  # A name of `NAMES`
    "Choose the kind; what the user says has to fit the sample."
    if options.kind is not None and options.kind not in NAMES:
        raise UsageError(f"--kind {options.kind!r} is not known", hint=f"it is one of {', '.join(NAMES)}")
    if sample is None:
        if options.kind is None:
            raise UnclearError("kind", "there is neither a sample nor a kind of source", NAMES)
        return options.kind
    found = recognise(sample)
    if options.kind in KINDS and options.kind not in found:
        looks = f"it looks like {_titles(found)}" if found else "no tool's rows look so"
        raise UsageError(f"--kind {options.kind}: the sample is no {KINDS[options.kind].title}; {looks}")
    if options.kind is not None:
        return options.kind
    if len(found) == 1:
        return found[0]
    if found:
        raise UnclearError("kind", f"the sample may be {_titles(found)}", found)
    if any("_fivetran_start" in record for record in sample.records):
        raise UsageError(
            "the sample is a table of Fivetran in history mode, which is a history already",
            hint="cdc_utils.envelopes.fivetran.map_history reads it, in a materialized view",
        )
    if sample.snapshots:
        return SNAPSHOTS
    raise UnclearError(
        "kind",
        "the rows have no envelope: they are changes that a column orders, or each file is a whole table",
        (PLAIN, SNAPSHOTS),
    )


def _titles(names: Sequence[str]) -> str:
    return " or ".join(KINDS[name].title for name in names)


# With an envelope


def _plan_envelope(
    kind: Kind,  # The tool
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> Plan:
    "Plan a feed of a tool."
    records = [each for each in (sample.records if sample else ()) if kind.shows(each)]
    envelope = choose_envelope(kind.name, options, records)
    changes = [change for record in records for change in kind.explode(record)]
    source_table, changes = _choose_source_table(kind, options, changes)
    rows = [row for change in changes if (row := kind.values(change))]
    types = {name: each for change in changes for name, each in kind.types(change).items()}
    types |= dict(sample.types) if sample else {}
    found = _find_columns(rows, types, options, own_columns(envelope), sample, kind.needs_zone)
    columns, left_out = _leave_out(found)
    said = {tuple(names) for change in changes if (names := kind.keys(change))}
    table = _name_table(options, source_table or _only(_tables(kind, changes)), sample)
    keys = _choose_keys(options, columns, rows, said, table)
    value = envelope.value()
    keeps = options.has_history and "truncate" in value.operations.values()
    encodings = dict(options.encodings)
    several = source_table if len(_tables(kind, [c for r in records for c in kind.explode(r)])) > 1 else None
    source = SourceTable(value, keys, columns, encodings, several, keeps)
    codes = Counter(value.operations.get(str(kind.code(change)), "unknown") for change in changes)
    return Plan(
        kind.name,
        kind.title,
        table,
        keys,
        columns,
        _examples(rows, columns),
        sample,
        envelope,
        source,
        several,
        has_history=options.has_history,
        operations=codes,
        left_out=left_out,
    )


def _tables(kind: Kind, changes: Sequence[Record]) -> list[str]:
    return sorted({name for change in changes if (name := kind.table(change))})


def _only(names: Sequence[str]) -> str | None:
    return names[0] if len(names) == 1 else None


def _choose_source_table(
    kind: Kind,  # The tool
    options: Options,  # What the user says
    changes: Sequence[Record],  # Of all tables
) -> tuple[
    str | None, list[Record]
]:  # The table as the feed spells it, None where it spells none; its changes
    "Choose one of the tables in a feed."
    tables = _tables(kind, changes)
    if len(tables) < 2:
        return _only(tables), list(changes)
    wanted = [name for name in tables if options.table in (name, name.rpartition(".")[2])]
    if len(wanted) != 1:
        raise UnclearError("table", f"the sample holds {len(tables)} tables", tables)
    return wanted[0], [change for change in changes if kind.table(change) == wanted[0]]


# Columns and keys


def _find_columns(
    rows: Sequence[Record],  # Rows of the table
    types: Mapping[str, str],  # Column to SQL type, where the feed says it
    options: Options,  # What the user says
    own: set[str],  # Columns that are the envelope's
    sample: Sample | None,  # What was read
    needs_zone: bool = False,  # Whether only moments with a zone are moments
) -> dict[str, str]:  # Column to type
    "Find the columns and their types: as the user says, else as the feed does, else as the values suggest."
    if options.columns:
        return dict(options.columns)
    names = [name for name in dict.fromkeys(name for row in rows for name in row) if name not in own]
    if not names:
        raise UnclearError("columns", "no column of the table is known", hint="as 'id bigint, city string'")
    columns = {}
    for name in names:
        values = [row[name] for row in rows if row.get(name) is not None]
        is_text = sample is not None and sample.format == "csv"
        if sample and sample.has_null_text:
            values = [value for value in values if value != "NULL"]
        columns[name] = types.get(name) or suggest_type(values, is_text, needs_zone)
    return columns


def _leave_out(
    columns: Mapping[str, str],  # Of a table with an envelope
) -> tuple[dict[str, str], tuple[str, ...]]:  # Those that can be kept; names that change rows use
    "Leave out the columns whose names change rows use."
    left_out = tuple(name for name in columns if name.lower() in CHANGE_COLUMNS)
    return {name: kind for name, kind in columns.items() if name not in left_out}, left_out


def parse_columns(
    text: str,  # As `--columns` has it: `id bigint, price decimal(10,2)`
) -> dict[str, str]:  # Column to type
    "Read columns as SQL spells them; `UsageError` for one without a type."
    found = {}
    for part in split_columns(text):
        name, _, sql_type = part.strip().partition(" ")
        if not sql_type.strip():
            raise UsageError(
                f"--columns: {part.strip()!r} has no type", hint="write 'id bigint, city string'"
            )
        found[name.strip("`")] = sql_type.strip().lower()
    return found


def _choose_keys(
    options: Options,  # What the user says
    columns: Mapping[str, str],  # Of the table
    rows: Sequence[Record],  # Rows of the table
    said: set[tuple[str, ...]],  # Keys that records name
    table: str,  # What the table is called
) -> tuple[str, ...]:
    "Choose the key: as the user says, else as the feed does, else the one column that is called like one."
    if options.keys:
        wrong = [name for name in options.keys if name not in columns]
        if wrong:
            raise UsageError(f"--keys: {wrong[0]!r} is no column", hint=f"there are {', '.join(columns)}")
        return options.keys
    if len(said) == 1 and set(next(iter(said))) <= columns.keys():
        return next(iter(said))
    filled = [name for name in columns if sum(row.get(name) is None for row in rows) <= len(rows) // 10]
    singular = table.removesuffix("s")
    for pattern in (r"_?id|_fivetran_id", rf"({table}|{singular})_?(id|key|no|nr)", r".*_(id|key)"):
        found = [name for name in filled if re.fullmatch(pattern, name, re.IGNORECASE)]
        if len(found) == 1:
            return tuple(found)
        if found:
            break
    raise UnclearError("keys", "no column is clearly the key", list(columns))


def _name_table(
    options: Options,  # What the user says
    source_table: str | None,  # As the feed spells it
    sample: Sample | None,  # What was read
) -> str:
    "Name the table here."
    stem = sample.files[0].name.partition(".")[0] if sample else ""
    stem = stem if re.fullmatch(r"[A-Za-z_]+", stem) and not (sample and sample.snapshots) else ""
    for text in (options.table, source_table, stem):
        name = (text or "").rpartition(".")[2].lower()
        if re.fullmatch(NAME, name):
            return name
        if text and text is options.table:
            raise UsageError(
                f"--table {text!r} is no name", hint="write letters, digits and _, a letter first"
            )
    raise UnclearError("table", "nothing says what the table is called")


def _examples(rows: Sequence[Record], columns: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for row in rows:
        found |= {name: row[name] for name in columns if name not in found and row.get(name) is not None}
    return found


# Without an envelope


def _plan_plain(
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> Plan:
    "Plan changes that are plain rows."
    rows = list(sample.records) if sample else []
    columns = _find_columns(rows, dict(sample.types) if sample else {}, options, set(), sample)
    operation = _choose_operation(options, rows, columns)
    deletes = _choose_deletes(options, rows, operation)
    sequence = _choose_sequence(options, columns, operation)
    own = {name: columns.get(name, "string") for name in (sequence, operation) if name}
    table = _name_table(options, None, sample)
    kept = {name: kind for name, kind in columns.items() if name not in own}
    keys = _choose_keys(options, kept, rows, set(), table)
    counts = Counter(str(row.get(operation)) for row in rows) if operation else Counter()
    return Plan(
        PLAIN,
        "plain change rows",
        table,
        keys,
        kept,
        _examples(rows, columns),
        sample,
        sequence=sequence,
        operation=operation,
        deletes=deletes,
        types=own,
        has_history=options.has_history,
        operations={
            name: count for name, count in counts.items() if re.fullmatch(OPERATIONS, name, re.IGNORECASE)
        },
    )


def _choose_operation(
    options: Options,  # What the user says
    rows: Sequence[Record],  # Of the sample
    columns: Mapping[str, str],  # Column to type
) -> str | None:  # None: every row is the newest state of its key
    "Choose the column that says what a change is."
    if options.operation is not None:
        if options.operation and rows and options.operation not in columns:
            raise UsageError(f"--operation: {options.operation!r} is no column")
        return options.operation or None
    found = []
    for name in columns:
        texts = [str(row[name]) for row in rows if row.get(name) is not None]
        fits = sum(bool(re.fullmatch(OPERATIONS, text, re.IGNORECASE)) for text in texts)
        if texts and fits >= 0.9 * len(texts):
            found.append(name)
    if len(found) > 1:
        raise UnclearError("operation", "several columns may say what a change is", found)
    return found[0] if found else None


def _choose_deletes(
    options: Options,  # What the user says
    rows: Sequence[Record],  # Of the sample
    operation: str | None,  # Column that says what a change is
) -> str | None:  # None where there is no such column
    "Choose the value that means a delete."
    if operation is None or options.deletes is not None:
        return options.deletes
    values = sorted({str(row[operation]) for row in rows if row.get(operation) is not None})
    found = [value for value in values if re.fullmatch(DELETES, value, re.IGNORECASE)]
    if len(found) == 1:
        return found[0]
    raise UnclearError("deletes", f"which value of {operation} means a delete is not clear", found or values)


def _choose_sequence(
    options: Options,  # What the user says
    columns: Mapping[str, str],  # Column to type
    operation: str | None,  # Column that says what a change is
) -> str:
    "Choose the column that orders the changes."
    if options.sequence is not None:
        if options.sequence not in columns:
            raise UsageError(
                f"--sequence: {options.sequence!r} is no column", hint=f"there are {', '.join(columns)}"
            )
        return options.sequence
    found = [name for name, kind in columns.items() if kind.startswith("timestamp") and name != operation]
    if len(found) == 1:
        return found[0]
    raise UnclearError("sequence", "which column orders the changes is not clear", found or list(columns))


def _plan_snapshots(
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> Plan:
    "Plan whole tables, a folder each."
    if sample is not None and not sample.snapshots:
        raise UsageError(
            "a snapshot is a folder whose name is its date, as 2026-03-01, and the sample has none",
            hint="let --sample name the folder above them",
        )
    rows = list(sample.records) if sample else []
    columns = _find_columns(rows, dict(sample.types) if sample else {}, options, set(), sample)
    table = _name_table(options, None, sample)
    keys = _choose_keys(options, columns, rows, set(), table)
    return Plan(
        SNAPSHOTS,
        "snapshots, a folder each",
        table,
        keys,
        columns,
        _examples(rows, columns),
        sample,
        marker=_choose_marker(options, sample),
        has_history=options.has_history,
    )


def _choose_marker(
    options: Options,  # What the user says
    sample: Sample | None,  # What was read
) -> str | None:  # None: a folder is whole as soon as it is there
    "Choose the file that tells that a snapshot is whole."
    if options.marker is not None:
        return options.marker or None
    if sample is None or all((folder / "_SUCCESS").is_file() for folder in sample.snapshots):
        return "_SUCCESS"
    raise UnclearError(
        "marker",
        "no file _SUCCESS tells that a snapshot is whole, and what is missing in one is deleted",
        hint="name the file that is written last; an empty name means that folders appear whole",
    )
