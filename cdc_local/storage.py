"""One folder on the laptop stands for a workspace: tables, volumes, checkpoints, the event log."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cdc_local.errors import UsageError


@dataclass(frozen=True, order=True)
class TableName:
    "A table's full name."

    catalog: str  # Catalog
    schema: str  # Schema
    table: str  # Table

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    @classmethod
    def parse(
        cls,
        text: str,  # One, two or three parts; backticks allowed
        catalog: str,  # Catalog where the text names none
        schema: str,  # Schema where the text names none
    ) -> "TableName":
        "Read a name as a pipeline writes it; `UsageError` for more than three parts or an empty one."
        part = r"`((?:[^`]|``)+)`|([^.`]+)"
        parts = [
            quoted.replace("``", "`") if quoted else bare for quoted, bare in re.findall(part, text.strip())
        ]
        if len(parts) == 2 and parts[0].upper() == "LIVE":
            parts = parts[1:]
        safe = all(
            name.strip() and not re.search(r"[/\\\0]", name) and name not in (".", "..") for name in parts
        )
        if not re.fullmatch(rf"(?:{part})(?:\.(?:{part}))*", text.strip()) or len(parts) > 3 or not safe:
            raise UsageError(
                f"{text!r} is not a table name", hint="write table, schema.table or catalog.schema.table"
            )
        return cls(*[catalog, schema][: 3 - len(parts)], *parts)


def write_json(
    path: Path,  # The note; its folder is made where it is missing
    content: Any,  # Anything that JSON can say; other values as their text
) -> None:
    "Write a note; a reader finds the old one or the new one, never a part."
    path.parent.mkdir(parents=True, exist_ok=True)
    written = path.with_name(f".{path.name}.tmp")
    written.write_text(json.dumps(content, default=str) + "\n")
    written.replace(path)


def read_json(
    path: Path,  # A note
) -> Any:  # What it says; None where there is none
    "Read a note; `UsageError` names one that is broken."
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as wrong:
        raise UsageError(
            f"{path} is broken: {wrong}",
            hint="restore it from a copy, or begin anew with another --storage folder",
        ) from None


def is_table(
    path: Path,  # A folder
) -> bool:  # Whether it holds a Delta table
    "Tell a table from what a killed update left of one that it was creating."
    return any((path / "_delta_log").glob("[0-9]*"))


def clear_unfinished(
    path: Path,  # Where a table will be created
) -> None:
    "Remove a log without commits."
    if (path / "_delta_log").is_dir() and not is_table(path):
        shutil.rmtree(path / "_delta_log")


NO_ADDRESS = re.compile(r"[\[\]^|\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")  # In a path: what delta-rs 1.6 misreads


def addressable(
    path: Path,  # Where a table lies, or many
) -> Path:  # The same
    "Refuse a path that Spark and delta-rs would not both find; raises `UsageError`."
    wrong = NO_ADDRESS.search(str(path))
    if not wrong:
        return path
    raise UsageError(
        f"{path}: a Delta table cannot lie there, since {wrong[0]!r} is in the path",
        hint="choose a name without [ ] ^ | \\ and without % before two digits",
    )


STORAGE_FORMAT = 1  # Raised when the layout changes in a way that an older or newer program cannot read


@dataclass(frozen=True)
class Storage:
    "The folder that stands for a workspace."

    root: Path  # The folder; made on first use

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", addressable(Path(self.root).absolute()))

    @property
    def event_log_path(self) -> Path:
        return self.root / "event_log"

    @property
    def spark_log_path(self) -> Path:
        return self.root / "logs" / "spark.log"

    @property
    def state_path(self) -> Path:
        return self.root / "state"

    def table_path(self, name: TableName) -> Path:
        return addressable(self.root / "tables" / name.catalog / name.schema / name.table)

    def flow_path(self, target: TableName, flow: str) -> Path:
        "Checkpoint and schemas of one flow."
        return (
            self.root
            / "checkpoints"
            / target.catalog
            / target.schema
            / target.table
            / re.sub(r"[^\w.-]", "_", flow)
        )

    def tables(self) -> list[TableName]:
        "Every table in the folder, by name."
        return sorted(
            TableName(*log.parts[-4:-1])
            for log in (self.root / "tables").glob("*/*/*/_delta_log")
            if is_table(log.parent)
        )

    def create(self) -> "Storage":
        "Make the folder, or check that this program can read it."
        self.root.mkdir(parents=True, exist_ok=True)
        if not (marker := self.root / "storage.json").exists():
            write_json(marker, {"format": STORAGE_FORMAT})
        return self.check()

    def check(self) -> "Storage":
        "Refuse a folder that another version of the layout wrote."
        found = read_json(self.root / "storage.json")
        version = found.get("format") if isinstance(found, dict) else found
        if found is None or version == STORAGE_FORMAT:
            return self
        raise UsageError(
            f"{self.root} has storage format {version}, this cdc_utils reads {STORAGE_FORMAT}",
            hint="use the version that wrote it, or another --storage folder",
        )


def join_inside(
    root: Path,  # The folder that may not be left
    rest: str,  # Path below it
) -> str:
    "Join, and refuse a path that climbs out."
    joined = os.path.normpath(root / PurePosixPath(rest.lstrip("/")))
    if joined != str(root) and not joined.startswith(str(root) + os.sep):
        raise UsageError(f"path {rest!r} leaves the storage folder", hint="remove the `..`")
    return joined + ("/" if rest.endswith("/") and rest.strip("/") else "")


def localize(
    storage: Storage,  # Where volumes lie
    path: str,  # A path as a pipeline writes it
) -> str:  # The path on this machine
    "Map `/Volumes/…`, `dbfs:/…` and `/databricks-datasets/…` into the storage; leave others alone."
    text = re.sub(
        r"^(?:dbfs:)?/+Volumes(?=/|$)", "/Volumes", re.sub(r"^/dbfs/+Volumes(?=/|$)", "/Volumes", str(path))
    )
    if text == "/Volumes" or text.startswith("/Volumes/"):
        return join_inside(storage.root / "Volumes", text.removeprefix("/Volumes"))
    dbfs = re.match(r"(?:dbfs:|/dbfs/|(?=/databricks-datasets/))/*(.*)", text)
    return join_inside(storage.root / "dbfs", dbfs[1]) if dbfs else str(path)


@contextmanager
def lock_storage(
    storage: Storage,  # The folder to keep to ourselves
) -> Iterator[Storage]:
    "Hold the storage for one update; `UsageError` if another update holds it."
    from filelock import FileLock, Timeout

    lock, owner = FileLock(storage.root / ".lock"), storage.root / ".lock-owner"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        who = owner.read_text().strip() if owner.exists() else "unknown"
        raise UsageError(
            f"storage {storage.root} is in use by another update (process {who})",
            hint="wait for it, or give --storage another folder",
        ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield storage
    finally:
        lock.release()
