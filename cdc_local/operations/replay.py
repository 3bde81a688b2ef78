"""`cdc replay`: rows of a quarantine that a person mended land as one more file, for the next update to read.
`cdc replay`: rows of a quarantine that a person mended land as one more file, for the next update to read."""

import difflib
import json
import uuid
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from cdc_local.delta.reader import open_table, read_rows
from cdc_local.delta.rows import format_json
from cdc_local.errors import UsageError
from cdc_local.storage import Storage, TableName, localize
from cdc_local.update.event_log import EventLog
from cdc_utils.feed import write_whole

_QUARANTINE_COLUMNS = ("failed_rules", "source_file")  # Why a row was set aside, and where it came from
_READER_COLUMNS = ("_rescued_data", "_corrupt_record", "_metadata")  # What a reader adds to a file's columns
_JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}  # Files of JSON lines
_REPLAY_MARK = "-replay-"  # In the name of each file that a replay landed
_MOST_SHOWN = 10  # Rows or lines that an error lists


@dataclass(frozen=True)
class MendedRow:
    "One row of a mended file."

    file: str  # The file, as it was typed
    line: int  # Its line, counted from 1
    values: dict[str, Any]  # Column to value

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


@dataclass(frozen=True)
class Landing:
    "What became of one mended file."

    mended: str  # The file
    rows: int  # Rows that land
    landed_before: int  # Rows that an earlier replay landed
    unchanged: int  # Rows left out, since they are as they were
    path: Path | None  # The new file; None where no row is left
    content: bytes = b""  # Of the new file


@dataclass(frozen=True)
class ReplayResult:
    "What a replay did, or would do."

    folder: Path  # Where the rows land
    landings: list[Landing]  # One a mended file
    still_rescued: int  # Rows that still have `_rescued_data` or `_corrupt_record`: neither lands


def replay_rows(
    storage: Storage,  # Tables, volumes and the event log
    name: TableName,  # The quarantine
    files: Collection[Path],  # Mended files
    to: str | None = None,  # Folder to land in; by default the one that the rows came from
    drop: Collection[str] = (),  # More columns that the pipeline added
    skip_unchanged: bool = False,  # Leave out rows that are as they were
    force: bool = False,  # Land them all the same
    dry_run: bool = False,  # Check, land nothing
) -> ReplayResult:
    """Take mended rows back in, by landing them for the next update; `UsageError` names what is wrong with
    them, and then nothing landed."""
    columns = [field.name for field in open_table(storage, name).schema().fields]
    record, batches = columns_to_land(name, columns, drop), [read_mended(file) for file in files]
    rows = [row for batch in batches for row in batch]
    for row in rows:
        for column in row.values:
            _check_column(name, column, columns, str(row))
    quarantined = _read_quarantine(storage, name)
    if not (force or skip_unchanged):
        _refuse_unchanged(rows, quarantined)
    origins = find_origin_folders(storage, [row.values for row in rows])
    origins = origins or find_origin_folders(storage, quarantined.values())
    folder = choose_folder(storage, name, origins, to)
    check_format(folder, name)
    landed, beside = read_landed_lines(folder), origins.get(folder, name.table)
    landings = [
        plan_landing(batch, record, folder, beside, quarantined, landed, skip_unchanged and not force)
        for batch in batches
    ]
    if not dry_run:
        _land_files(storage, name, landings)
    rescued = sum(any(row.values.get(column) is not None for column in _READER_COLUMNS) for row in rows)
    return ReplayResult(folder, landings, rescued)


# --- what a person mended -----------------------------------------------------------------------------------


def read_mended(
    path: Path,  # A file of JSON lines
) -> list[MendedRow]:
    "Read a mended file; `UsageError` names every line that is no JSON object, and a file without rows."
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    rows, wrong = [], []
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            rows.append(MendedRow(str(path), number, parse_row(line)))
        except ValueError as error:
            wrong.append(f"{path}:{number}: {error}")
    if wrong:
        raise UsageError(f"{path} is not JSON lines, one row a line{_list_some(wrong)}")
    if not rows:
        raise UsageError(
            f"{path} holds no row", hint="`cdc show TABLE --all --format json` prints those of a table"
        )
    return rows


def parse_row(
    line: str,  # A line
) -> dict[str, Any]:  # Column to value; numbers keep all their digits
    "Read one JSON object; `ValueError` says what is wrong with it."
    try:
        values = json.loads(
            line,
            parse_float=Decimal,
            parse_constant=_refuse_constant,
            object_pairs_hook=_refuse_duplicate_keys,
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from None
    if not isinstance(values, dict):
        raise ValueError("it is not an object {…}")
    format_json(values).encode()  # half a character, \ud800, cannot be written
    return values


def _refuse_duplicate_keys(
    pairs: list[tuple[str, Any]],  # Names and values of a JSON object
) -> dict[str, Any]:
    "Refuse an object that gives a name twice."
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")


def _refuse_constant(
    text: str,  # NaN, Infinity or -Infinity
) -> None:
    "Refuse what Python reads and JSON does not have."
    raise ValueError(f"{text} is not JSON")


def _list_some(
    lines: Sequence[str],  # What an error lists
) -> str:  # The first of them, a line each, and how many more there are
    "List the first lines of many."
    shown = "".join(f"\n  {line}" for line in lines[:_MOST_SHOWN])
    return shown + (f"\n  and {len(lines) - _MOST_SHOWN} more" if len(lines) > _MOST_SHOWN else "")


# --- what lands ---------------------------------------------------------------------------------------------


def columns_to_land(
    name: TableName,  # The quarantine
    columns: Collection[str],  # Its columns
    drop: Collection[str] = (),  # More columns that the pipeline added
) -> list[str]:  # Columns of the record
    "Tell the record from what was added to it; `UsageError` for an unknown column, and where none is left."
    for column in drop:
        _check_column(name, column, columns, "--drop")
    kept = [column for column in columns if column not in (*_QUARANTINE_COLUMNS, *_READER_COLUMNS, *drop)]
    if not kept:
        raise UsageError(
            f"{name} has no column left to land",
            hint=f"its columns are {', '.join(columns)}; --drop names fewer",
        )
    return kept


def _check_column(
    name: TableName,  # The table
    column: str,  # A column that somebody named
    columns: Collection[str],  # Columns of the table
    where: str,  # Where it was named
) -> None:
    "Refuse a column that is not there: `UsageError`."
    if column in columns:
        return
    near = difflib.get_close_matches(column, columns, 1)
    raise UsageError(
        f"{where}: {name} has no column {column!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(columns)}",
    )


def row_identity(
    values: dict[str, Any],  # Column to value
) -> str:  # The same for rows that are the same
    "Write a row as text, without why it was set aside; a column that is NULL counts as absent."
    record = {
        name: values[name]
        for name in sorted(values)
        if values[name] is not None and name not in _QUARANTINE_COLUMNS
    }
    return format_json(record)


def _read_quarantine(
    storage: Storage,  # Where tables lie
    name: TableName,  # The quarantine
) -> dict[str, dict[str, Any]]:  # Identity to the row, as JSON has it
    "Read the rows that are set aside now."
    rows = map(parse_row, read_rows(storage, name, ordered=False).json_lines())
    return {row_identity(values): values for values in rows}


def _refuse_unchanged(
    rows: list[MendedRow],  # Rows to land
    quarantined: dict[str, dict[str, Any]],  # Rows that are set aside now, by identity
) -> None:
    "`UsageError` if a row is still as it was."
    unchanged = [row for row in rows if row_identity(row.values) in quarantined]
    if not unchanged:
        return

    def failed_rules(row: MendedRow) -> str:
        rules = quarantined[row_identity(row.values)].get("failed_rules") or ["reason unknown"]
        return ", ".join(map(str, rules))

    listed = _list_some([f"{row}: {failed_rules(row)}" for row in unchanged])
    raise UsageError(
        f"{len(unchanged)} of {len(rows)} rows are as they are in quarantine, "
        f"and would only be set aside again{listed}\n"
        "mend them; --skip-unchanged leaves them out; "
        "--force lands them all the same, after a rule of the pipeline was mended"
    )


# --- where it lands -----------------------------------------------------------------------------------------


def source_path(
    storage: Storage,  # Where volumes lie
    address: str,  # A value of `source_file`: `file:///…`, `/Volumes/…`, `dbfs:/Volumes/…`
) -> Path:  # On this machine
    "Find the file that an address names."
    if address.startswith("file:"):
        return Path(unquote(urlparse(address).path))
    return Path(localize(storage, address))


def find_origin_folders(
    storage: Storage,  # Where volumes lie
    rows: Iterable[dict[str, Any]],  # Rows, with `source_file` or without
) -> dict[Path, str]:  # Folder to the name of a file in it
    "Find the folders that rows came from."
    files = sorted({source_path(storage, str(row["source_file"])) for row in rows if row.get("source_file")})
    return {file.parent.resolve(): file.name for file in reversed(files)}


def choose_folder(
    storage: Storage,  # Where volumes lie
    name: TableName,  # The quarantine
    origins: dict[Path, str],  # Folders that its rows came from
    to: str | None,  # What was asked for
) -> Path:  # A folder that is there
    "Choose the folder to land in; `UsageError` where that is not plain."
    listed = ", ".join(map(str, origins))
    if to is None and len(origins) != 1:
        raise UsageError(
            f"the rows came from {len(origins)} folders: {listed}"
            if origins
            else f"no row of {name} names its source_file",
            hint="--to DIR says where the mended rows land, "
            "e.g. --to /Volumes/main/default/raw_data/customers",
        )
    folder = (next(iter(origins)) if to is None else Path(localize(storage, to))).resolve()
    volumes = [(storage.root / part).resolve() for part in ("Volumes", "dbfs")]
    if folder not in origins and not any(folder.is_relative_to(volume) for volume in volumes):
        raise UsageError(
            f"{to} is no folder of this storage, nor one that rows of {name.table} came from",
            hint=f"give a path below /Volumes{', or ' + listed if listed else ''}",
        )
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder {folder}",
            hint=f"the rows came from {listed}" if listed else "name the one that the pipeline reads",
        )
    return folder


def check_format(
    folder: Path,  # Where rows are to land
    name: TableName,  # The quarantine
) -> None:
    "`UsageError` for a folder of CSV or Parquet files: a flow that reads those cannot read JSON lines."
    formats = {
        "".join(file.suffixes[-2:])
        for file in folder.iterdir()
        if file.is_file() and file.suffixes and not file.name.startswith((".", "_"))
    }
    if not formats or any(_JSON_SUFFIXES & set(Path("x" + suffixes).suffixes) for suffixes in formats):
        return
    raise UsageError(
        f"{folder} holds {', '.join(sorted(formats))} files, and a replay lands JSON lines",
        hint=f"write the mended rows of {name.table} as such a file yourself",
    )


def name_landed_file(
    beside: str,  # A file that rows came from: a pattern such as `orders*.json` finds the new one, too
    content: bytes,  # Of the new one
) -> str:
    "Name a file by its content."
    return (
        f"{beside.split('.')[0].split(_REPLAY_MARK)[0]}{_REPLAY_MARK}{sha256(content).hexdigest()[:16]}.json"
    )


def read_landed_lines(
    folder: Path,  # Where earlier replays landed
) -> set[str]:  # Rows, as they were written
    "Read what earlier replays landed in a folder."
    return {
        line
        for file in folder.glob(f"[!._]*{_REPLAY_MARK}*.json")
        for line in file.read_text(encoding="utf-8").split("\n")
        if line
    }


def plan_landing(
    rows: list[MendedRow],  # Rows of one file
    columns: list[str],  # Columns that land
    folder: Path,  # Where
    beside: str,  # A file that rows came from
    quarantined: dict[str, dict[str, Any]],  # Rows that are set aside now, by identity
    landed: set[str],  # Lines that earlier replays landed; the planned ones are added
    skip_unchanged: bool,  # Leave out what is as it was
) -> Landing:
    "Decide what one file lands as; `UsageError` for a row without any value to land."
    changed = [row for row in rows if not (skip_unchanged and row_identity(row.values) in quarantined)]
    lines = []
    for row in changed:
        record = {column: row.values[column] for column in columns if row.values.get(column) is not None}
        if not record:
            raise UsageError(
                f"{row} has no value in {', '.join(columns)}",
                hint="write into the columns what _corrupt_record or _rescued_data holds as text",
            )
        lines.append(format_json(record))
    fresh = [line for line in lines if line not in landed]
    landed.update(fresh)
    content = "".join(line + "\n" for line in fresh).encode()
    path = folder / name_landed_file(beside, content) if fresh else None
    return Landing(rows[0].file, len(fresh), len(lines) - len(fresh), len(rows) - len(changed), path, content)


def _land_files(
    storage: Storage,  # With the event log
    name: TableName,  # The quarantine
    landings: list[Landing],  # What to write
) -> None:
    "Write the files, and record each in the event log."
    with EventLog(storage.event_log_path, "replay", str(uuid.uuid4())) as log:
        for landing in landings:
            if landing.path is None:
                continue
            if not landing.path.exists():
                write_whole(landing.path, landing.content)
            log.record(
                "user_action",
                f"{landing.rows} mended rows of {name} landed in {landing.path.name}.",
                dataset_name=str(name),
                details={
                    "user_action": {"action": "REPLAY", "rows": landing.rows, "path": str(landing.path)}
                },
            )
