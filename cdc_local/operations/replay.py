"""Rows that a rule set aside, mended by a person, are taken back in: as one more file for the next update to read."""

import difflib
import json
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from urllib.parse import unquote, urlparse

from cdc_local.delta.reader import open_table, read_rows
from cdc_local.delta.rows import format_json
from cdc_local.errors import UsageError
from cdc_local.storage import Storage, TableName, localize
from cdc_local.update.event_log import EventLog
from cdc_utils.feed import write_whole


@dataclass(frozen=True)
class MendedRow:
    "One row of a mended file."

    file: str  # The file, as it was typed
    line: int  # Its line, counted from 1
    values: dict  # Column to value

    def __str__(self):
        return f"{self.file}:{self.line}"


def refuse_duplicate_keys(
    pairs: list[tuple],  # Names and values of a JSON object
) -> dict:
    "Refuse an object that says something twice."
    values = dict(pairs)
    if len(values) == len(pairs):
        return values
    names = [name for name, _ in pairs]
    raise ValueError(f"{next(name for name in names if names.count(name) > 1)} is given twice")


def refuse_constant(
    text: str,  # NaN, Infinity or -Infinity
) -> None:
    "Refuse what Python reads and JSON does not have."
    raise ValueError(f"{text} is not JSON")


def parse_row(
    line: str,  # A line
) -> dict:  # Column to value; numbers keep all their digits
    "Read one JSON object; `ValueError` says what is wrong with it."
    try:
        values = json.loads(
            line, parse_float=Decimal, parse_constant=refuse_constant, object_pairs_hook=refuse_duplicate_keys
        )
    except json.JSONDecodeError as error:
        raise ValueError(f"{error.msg} at column {error.colno}") from None
    if not isinstance(values, dict):
        raise ValueError("it is not an object {…}")
    format_json(values).encode()  # half a character, \ud800, cannot be written
    return values


def read_mended(
    path: Path,  # A file of JSON lines
) -> list[MendedRow]:
    "Read a mended file; `UsageError` names every line that is no JSON object, and a file that holds none."
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
    more = f"\n  and {len(wrong) - 10} more" if len(wrong) > 10 else ""
    if wrong:
        raise UsageError(f"{path} is not JSON lines, one row a line\n  " + "\n  ".join(wrong[:10]) + more)
    if not rows:
        raise UsageError(
            f"{path} holds no row", hint="`cdc show TABLE --all --format json` prints those of a table"
        )
    return rows


REASONS = ("failed_rules", "source_file")  # Why a row was set aside, and where it came from

READERS = ("_rescued_data", "_corrupt_record", "_metadata")  # What a reader adds to the columns of a file


def landed_columns(
    name: TableName,  # The quarantine
    columns: Collection[str],  # Its columns
    drop: Collection[str] = (),  # More columns that the pipeline added
) -> list[str]:  # Columns of the record
    "Tell the record from what was added to it; `UsageError` for an unknown column."
    for column in drop:
        known_column(name, column, columns, "--drop")
    kept = [column for column in columns if column not in (*REASONS, *READERS, *drop)]
    if not kept:
        raise UsageError(
            f"{name} has no column left to land",
            hint=f"its columns are {', '.join(columns)}; --drop names fewer",
        )
    return kept


def known_column(
    name: TableName,  # The table
    column: str,  # A column that somebody named
    columns: Collection[str],  # Columns of the table
    where: str,  # Where it was named
) -> None:
    "Refuse a column that is not there."
    if column in columns:
        return
    near = difflib.get_close_matches(column, columns, 1)
    raise UsageError(
        f"{where}: {name} has no column {column!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"it has {', '.join(columns)}",
    )


def row_identity(
    values: dict,  # Column to value
) -> str:  # The same for rows that say the same
    "A row as text, without the reasons; a column that is NULL says nothing."
    return format_json(
        {name: values[name] for name in sorted(values) if values[name] is not None and name not in REASONS}
    )


def quarantined_rows(
    storage: Storage,  # Where tables lie
    name: TableName,  # The quarantine
) -> dict[str, dict]:  # Identity to the row, as JSON has it
    "The rows that are set aside now."
    rows = map(parse_row, read_rows(storage, name, ordered=False).json_lines())
    return {row_identity(values): values for values in rows}


def refuse_unchanged(
    rows: list[MendedRow],  # Rows to land
    quarantined: dict[str, dict],  # What `quarantined_rows` returned
) -> None:
    "`UsageError` if a row is still as it was."
    same = [row for row in rows if row_identity(row.values) in quarantined]
    if not same:
        return

    def why(row):
        return ", ".join(
            map(str, quarantined[row_identity(row.values)].get("failed_rules") or ["reason unknown"])
        )

    told = "".join(f"\n  {row}: {why(row)}" for row in same[:10]) + (
        f"\n  and {len(same) - 10} more" if len(same) > 10 else ""
    )
    raise UsageError(
        f"{len(same)} of {len(rows)} rows are as they are in quarantine, and would only be set aside again{told}\n"
        "mend them; --skip-unchanged leaves them out; --force lands them all the same, after a rule of the pipeline was mended"
    )


def source_path(
    storage: Storage,  # Where volumes lie
    address: str,  # What `source_file` holds: `file:///…`, `/Volumes/…`, `dbfs:/Volumes/…`
) -> Path:  # On this machine
    "The file that an address names."
    return (
        Path(unquote(urlparse(address).path))
        if address.startswith("file:")
        else Path(localize(storage, address))
    )


def origin_folders(
    storage: Storage,  # Where volumes lie
    rows: Iterable[dict],  # Rows, with `source_file` or without
) -> dict[Path, str]:  # Folder to the name of a file in it
    "The folders that rows came from."
    files = sorted({source_path(storage, str(row["source_file"])) for row in rows if row.get("source_file")})
    return {file.parent.resolve(): file.name for file in reversed(files)}


def choose_destination(
    storage: Storage,  # Where volumes lie
    name: TableName,  # The quarantine
    known: dict[Path, str],  # Folders that its rows came from
    to: str | None,  # What was asked for
) -> Path:  # A folder that is there
    "Choose the folder to land in; `UsageError` where that is not plain."
    listed = ", ".join(map(str, known))
    if to is None and len(known) != 1:
        told = (
            f"the rows came from {len(known)} folders: {listed}"
            if known
            else f"no row of {name} names its source_file"
        )
        raise UsageError(
            told,
            hint="--to DIR says where the mended rows land, e.g. --to /Volumes/main/default/raw_data/customers",
        )
    place = (next(iter(known)) if to is None else Path(localize(storage, to))).resolve()
    volumes = [(storage.root / part).resolve() for part in ("Volumes", "dbfs")]
    if place not in known and not any(place.is_relative_to(volume) for volume in volumes):
        raise UsageError(
            f"{to} is no folder of this storage, nor one that rows of {name.table} came from",
            hint=f"give a path below /Volumes{', or ' + listed if listed else ''}",
        )
    if not place.is_dir():
        raise UsageError(
            f"there is no folder {place}",
            hint=f"the rows came from {listed}" if listed else "name the one that the pipeline reads",
        )
    return place


JSON_SUFFIXES = {".json", ".jsonl", ".ndjson"}  # Files that hold JSON lines


def refuse_format(
    place: Path,  # The folder
    name: TableName,  # The quarantine
) -> None:
    "A folder of CSV or Parquet files is read by a flow that cannot read JSON lines: `UsageError`."
    others = {
        "".join(file.suffixes[-2:])
        for file in place.iterdir()
        if file.is_file() and file.suffixes and not file.name.startswith((".", "_"))
    }
    if not others or any(JSON_SUFFIXES & set(Path("x" + each).suffixes) for each in others):
        return
    raise UsageError(
        f"{place} holds {', '.join(sorted(others))} files, and a replay lands JSON lines",
        hint=f"write the mended rows of {name.table} as such a file yourself",
    )


MARK = "-replay-"  # In the name of each file that a replay landed


def file_name(
    beside: str,  # A file that rows came from: a pattern such as `orders*.json` finds the new one, too
    content: bytes,  # What the new one holds
) -> str:
    "Name a file by its content."
    return f"{beside.split('.')[0].split(MARK)[0]}{MARK}{sha256(content).hexdigest()[:16]}.json"


def landed_lines(
    place: Path,  # The folder
) -> set[str]:  # Rows, as they were written
    "What earlier replays landed in a folder."
    return {
        line
        for file in place.glob(f"[!._]*{MARK}*.json")
        for line in file.read_text(encoding="utf-8").split("\n")
        if line
    }


@dataclass(frozen=True)
class Landing:
    "What became of one mended file."

    mended: str  # The file
    rows: int  # Rows that land
    landed_before: int  # Rows that an earlier replay landed
    unchanged: int  # Rows left out, since they are as they were
    path: Path | None  # The new file; None where no row is left
    content: bytes = b""  # What it holds


def plan_landing(
    rows: list[MendedRow],  # Rows of one file
    columns: list[str],  # Columns that land
    place: Path,  # Where
    beside: str,  # A file that rows came from
    quarantined: dict[str, dict],  # Rows that are set aside now
    landed: set[str],  # Lines that earlier replays landed; the planned ones are added
    skip_unchanged: bool,  # Leave out what is as it was
) -> Landing:
    "Decide what one file lands as; `UsageError` for a row that says nothing."
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
    path = place / file_name(beside, content) if fresh else None
    return Landing(rows[0].file, len(fresh), len(lines) - len(fresh), len(rows) - len(changed), path, content)


@dataclass(frozen=True)
class Replayed:
    "What a replay did, or would do."

    place: Path  # The folder
    landings: list[Landing]  # One per mended file
    still_rescued: int  # Rows that still hold `_rescued_data` or `_corrupt_record`: neither lands


def replay_rows(
    storage: Storage,  # Tables, volumes and the event log
    name: TableName,  # The quarantine
    files: Collection[Path],  # Mended files
    to: str | None = None,  # Folder to land in; by default the one that the rows came from
    drop: Collection[str] = (),  # More columns that the pipeline added
    skip_unchanged: bool = False,  # Leave out rows that are as they were
    force: bool = False,  # Land them all the same
    dry_run: bool = False,  # Check, land nothing
) -> Replayed:
    "Take mended rows back in, by landing them for the next update."
    columns = [field.name for field in open_table(storage, name).schema().fields]
    record, batches = landed_columns(name, columns, drop), [read_mended(file) for file in files]
    rows = [row for batch in batches for row in batch]
    for row in rows:
        for column in row.values:
            known_column(name, column, columns, str(row))
    quarantined = quarantined_rows(storage, name)
    if not (force or skip_unchanged):
        refuse_unchanged(rows, quarantined)
    known = origin_folders(storage, [row.values for row in rows]) or origin_folders(
        storage, quarantined.values()
    )
    place = choose_destination(storage, name, known, to)
    refuse_format(place, name)
    landed, beside = landed_lines(place), known.get(place, name.table)
    landings = [
        plan_landing(batch, record, place, beside, quarantined, landed, skip_unchanged and not force)
        for batch in batches
    ]
    if not dry_run:
        land_files(storage, name, landings)
    rescued = sum(any(row.values.get(column) is not None for column in READERS) for row in rows)
    return Replayed(place, landings, rescued)


def land_files(
    storage: Storage,  # With the event log
    name: TableName,  # The quarantine
    landings: list[Landing],  # What to write
) -> None:
    "Write the files, and tell the event log."
    with EventLog(storage.event_log_path, "replay", str(uuid.uuid4())) as log:
        for each in landings:
            if each.path is None:
                continue
            if not each.path.exists():
                write_whole(each.path, each.content)
            log.record(
                "user_action",
                f"{each.rows} mended rows of {name} landed in {each.path.name}.",
                dataset_name=str(name),
                details={"user_action": {"action": "REPLAY", "rows": each.rows, "path": str(each.path)}},
            )
