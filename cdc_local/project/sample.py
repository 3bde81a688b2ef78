"""Reads the first records of a sample: JSON lines, CSV with a header, or Parquet, in a file or a folder."""

import csv
import gzip
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import pyarrow
from pyarrow import parquet

from cdc_local.errors import Location, UsageError
from cdc_utils.envelopes.snapshot_files import DATES

Record = dict[str, Any]
MOST = 5_000  # Records that are looked at
NULL_TEXT = "NULL"  # What tools write into CSV for NULL, where they write anything
FORMATS = {"json": "json", "jsonl": "json", "ndjson": "json", "csv": "csv", "parquet": "parquet"}  # By suffix
DDL_TYPES = {
    "int8": "tinyint",
    "int16": "smallint",
    "int32": "int",
    "int64": "bigint",
    "float": "float",
    "double": "double",
    "bool": "boolean",
    "date32[day]": "date",
}  # Arrow's name of a type to SQL's


@dataclass(frozen=True)
class Sample:
    "What was read of a sample."

    files: tuple[Path, ...]  # All of its files
    format: str  # `json`, `csv` or `parquet`
    records: tuple[Record, ...]  # The first ones
    texts: tuple[str, ...] = ()  # How each is written; none for Parquet
    header: str = ""  # First line of CSV
    broken: int = 0  # Lines that are no record
    types: tuple[tuple[str, str], ...] = ()  # Column and SQL type, where the files say so
    snapshots: tuple[Path, ...] = ()  # Folders with a date for a name, if that is what the sample is

    @property
    def has_null_text(self) -> bool:
        "Whether cells of CSV say NULL."
        return self.format == "csv" and any(NULL_TEXT in record.values() for record in self.records)


def read_sample(
    path: Path,  # A file or a folder
) -> Sample:
    "Read a sample; `UsageError` for one that is not there, is empty, or is of no known format."
    if not path.exists():
        raise UsageError(f"--sample {path}: there is no such file or folder", hint="name one that is there")
    files = tuple(_list_files(path))
    formats = {_format_of(file) for file in files} - {None}
    if len(formats) != 1:
        found = f"files of {len(formats)} formats ({', '.join(sorted(map(str, formats)))})"
        raise UsageError(
            f"--sample {path}: {found if formats else 'no file that is read here'}",
            hint="a sample has files that end in .json, .csv or .parquet (.gz, too), all of one format",
        )
    [known] = formats
    read = {"json": _read_json, "csv": _read_csv, "parquet": _read_parquet}[str(known)]
    data = tuple(file for file in files if _format_of(file) == known)
    sample = read(data)
    if not sample.records:
        raise UsageError(f"--sample {path}: no record in it", hint="name a file that holds some")
    return _as_snapshots(path, sample)


def _list_files(
    path: Path,  # A file or a folder
) -> Iterator[Path]:
    "List the files of a sample; hidden ones are none."
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not any(part.startswith(".") for part in file.relative_to(path).parts):
            yield file


def _format_of(
    file: Path,  # A file
) -> str | None:  # None for one that holds no records, as `_SUCCESS`
    "Tell a file's format by its name."
    return FORMATS.get(file.name.lower().removesuffix(".gz").rpartition(".")[2])


def _open(
    file: Path,  # A text file, perhaps compressed
) -> TextIO:
    "Open a file for reading."
    if file.suffix == ".gz":
        return io.TextIOWrapper(gzip.open(file), encoding="utf-8-sig", newline="")
    return file.open(encoding="utf-8-sig", newline="")


def _read_json(
    files: tuple[Path, ...],  # JSON, a record a line
) -> Sample:
    "Read JSON lines."
    records: list[Record] = []
    texts: list[str] = []
    broken = 0
    for file in files:
        with _open(file) as lines:
            for number, line in enumerate(islice(lines, MOST - len(records)), 1):
                if number == 1 and line.strip() in ("[", "{"):
                    raise UsageError(
                        "a record that goes over several lines",
                        Location(str(file), 1),
                        "write one JSON object a line, as every tool here does",
                    )
                record = _parse(line)
                if isinstance(record, dict):
                    records.append(record)
                    texts.append(line.rstrip("\r\n"))
                elif line.strip() not in ("", "null"):  # a tombstone is no fault
                    broken += 1
    return Sample(files, "json", tuple(records), tuple(texts), broken=broken)


def _parse(
    line: str,  # A line
) -> Any:  # None for one that is no JSON
    "Parse a line."
    try:
        return json.loads(line)
    except ValueError:
        return None


def _read_csv(
    files: tuple[Path, ...],  # CSV, with one header
) -> Sample:
    "Read CSV; what has no value is None. `UsageError` for files without a header, or with different ones."
    records: list[Record] = []
    texts: list[str] = []
    header = ""
    for file in files:
        with _open(file) as lines:
            first = lines.readline().rstrip("\r\n")
            names = next(csv.reader([first]), [])
            _check_header(file, names, header, first)
            header = first
            for line in islice(lines, MOST - len(records)):
                cells = next(csv.reader([line.rstrip("\r\n")]), [])
                if len(cells) == len(names):
                    records.append({name: cell or None for name, cell in zip(names, cells, strict=True)})
                    texts.append(line.rstrip("\r\n"))
    return Sample(files, "csv", tuple(records), tuple(texts), header)


def _check_header(
    file: Path,  # A file of CSV
    names: list[str],  # Cells of its first line
    header: str,  # First line of the file before it; empty for the first one
    first: str,  # Its own first line
) -> None:
    "Refuse a first line that names no columns, or others than the files before."
    where = Location(str(file), 1)
    if (
        len(names) < 2
        or not all(re.match(r"[^\W\d]", name) for name in names)
        or len(set(names)) < len(names)
    ):
        raise UsageError(
            f"the first line names no columns: {first[:60]!r}",
            where,
            "have the header written, separated by commas (AWS DMS: AddColumnName=true)",
        )
    if header and first != header:
        raise UsageError(f"other columns than in the file before: {first[:60]!r}", where, "give one table")


def _read_parquet(
    files: tuple[Path, ...],  # Parquet
) -> Sample:
    "Read Parquet."
    schema = parquet.read_schema(files[0])
    records: list[Record] = []
    for file in files:
        if len(records) < MOST:
            records += parquet.read_table(file).slice(0, MOST - len(records)).to_pylist()
    types = tuple((field.name, _sql_type(field.type)) for field in schema)
    return Sample(files, "parquet", tuple(records), types=types)


def _sql_type(
    arrow_type: pyarrow.DataType,  # A type of a Parquet column
) -> str:  # As SQL spells it
    "Name a type of Parquet in SQL."
    types = pyarrow.types
    if types.is_decimal(arrow_type):
        return f"decimal({arrow_type.precision},{arrow_type.scale})"
    if types.is_timestamp(arrow_type):
        return "timestamp" if arrow_type.tz else "timestamp_ntz"
    if types.is_list(arrow_type):
        return f"array<{_sql_type(arrow_type.value_type)}>"
    if types.is_binary(arrow_type) or types.is_fixed_size_binary(arrow_type):
        return "binary"
    return DDL_TYPES.get(str(arrow_type), "string")


def _as_snapshots(
    path: Path,  # The sample
    sample: Sample,  # What was read of it
) -> Sample:  # With its folders, where all its files lie in folders that are dates
    "Find out whether a sample is a folder a snapshot."
    folders = sorted({file.relative_to(path).parts[0] for file in sample.files}) if path.is_dir() else []
    is_dated = folders and all(re.fullmatch(DATES, name) and (path / name).is_dir() for name in folders)
    if not is_dated:
        return sample
    return replace(sample, snapshots=tuple(path / name for name in folders))


def landed_name(
    sample: Path,  # What `--sample` names
    file: Path,  # One of its files
) -> Path:  # Where it lands, below the landing folder
    "Say where a file of a sample is copied to."
    return Path(file.name) if sample.is_file() else file.relative_to(sample)
