"""One folder on this machine stands for a workspace: tables, volumes, checkpoints, the event log."""

import errno
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from cdc_local.errors import PipelineError, UsageError


@dataclass(frozen=True, order=True)
class TableName:
    """A table's full name."""

    catalog: str  # Catalog
    schema: str  # Schema
    table: str  # Table

    def __str__(self) -> str:
        return f"{self.catalog}.{self.schema}.{self.table}"

    def folded(self) -> tuple[str, str, str]:
        """The form in which two spellings of one name are equal."""
        return self.catalog.lower(), self.schema.lower(), self.table.lower()

    def is_called(
        self,
        written: "TableName",  # A name; its catalog and schema are empty where none is written
    ) -> bool:
        """Tell whether a name that may leave out its first parts can mean this table."""
        pairs = zip(written.folded(), self.folded(), strict=True)
        return all(part in ("", own) for part, own in pairs)

    @classmethod
    def parse(
        cls,
        text: str,  # One, two or three parts; backticks allowed
        catalog: str,  # Catalog where the text names none
        schema: str,  # Schema where the text names none
    ) -> "TableName":
        """Read a name as a pipeline writes it.

        Raises `UsageError` for an empty part, more than three, and one that cannot be a folder's name.
        """
        parts = split_name(text)
        is_name = re.fullmatch(rf"(?:{_NAME_PART})(?:\.(?:{_NAME_PART}))*", text.strip()) is not None
        if not is_name or len(parts) > 3 or not all(map(_can_be_folder, parts)):
            raise UsageError(
                f"{text!r} is not a table name", hint="write table, schema.table or catalog.schema.table"
            )
        return cls(*[catalog, schema][: 3 - len(parts)], *parts)


_NAME_PART = r"`((?:[^`]|``)+)`|([^.`]+)"


def split_name(
    text: str,  # A table's name as a pipeline writes it
) -> list[str]:  # Its parts, without backticks and without `LIVE.`
    """Split a name at its dots."""
    found = re.findall(_NAME_PART, text.strip())
    parts = [quoted.replace("``", "`") if quoted else bare for quoted, bare in found]
    return parts[1:] if len(parts) == 2 and parts[0].upper() == "LIVE" else parts


def spell_as_known(
    name: TableName,  # A name as it was written
    known: Iterable[TableName],  # Names there are
) -> TableName:  # The one of them that differs in nothing but case; else the name itself
    """Spell a name as it was spelt first: Unity Catalog tells no case apart."""
    return next((one for one in known if one.folded() == name.folded()), name)


def find_called(
    text: str,  # A name as typed: one, two or three parts
    name: TableName,  # The same in full
    known: Iterable[TableName],  # Tables there are
) -> TableName | None:  # The table of that full name, else the only one that is called so
    """Find the table that a typed name means; `UsageError` lists them where several are called so."""
    known, written = list(known), TableName.parse(text, "", "")
    if name in known:
        return name
    same = [table for table in known if table.folded() == name.folded()]
    same = same or [table for table in known if table.is_called(written)]
    if len(same) > 1:
        listed = ", ".join(map(str, same))
        raise UsageError(f"{text} is the name of {len(same)} tables", hint=f"write one in full: {listed}")
    return same[0] if same else None


def _can_be_folder(
    part: str,  # One part of a table's name
) -> bool:
    """Tell a part that names a folder below its parent."""
    return bool(part.strip()) and not re.search(r"[/\\\0]", part) and part not in (".", "..")


def write_json(
    path: Path,  # A JSON file; its folder is made where it is missing
    content: Any,  # Anything that JSON can say; other values as their text
) -> None:
    """Write a JSON file; a reader finds the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.write_text(json.dumps(content, default=str) + "\n")
    unfinished.replace(path)


def read_json(
    path: Path,  # A JSON file
) -> Any:  # Its content; None where there is no such file
    """Read a JSON file; raises `UsageError` that names one that is broken."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except ValueError as wrong:
        raise UsageError(f"{path} is broken: {wrong}", hint=mending_hint(path)) from None


def mending_hint(
    path: Path,  # A damaged file of a storage
) -> str:  # What to do, for an error's hint
    "Say how a damaged file is mended: by a copy of it, else by the command that computes its table anew."
    roots = [folder for folder in path.parents if (folder / "storage.json").is_file()]
    parts = path.relative_to(roots[0]).parts if roots else ()
    if parts[:1] == ("event_log",):
        return f"move {roots[0] / 'event_log'} away: no update needs it, and the next one begins a new log"
    if parts[:1] == ("checkpoints",) and "schemas" in parts:
        return "delete it: the columns are inferred again, from the files that are there"
    if parts[:1] in (("tables",), ("checkpoints",)) and len(parts) > 4:
        return (
            "restore it from a copy, or have the table read all of its input again: "
            f"cdc run … --full-refresh {parts[3]}"
        )
    return "restore it from a copy, or begin anew with another --storage folder"


def is_table(
    path: Path,  # A folder
) -> bool:  # Whether a Delta table is in it
    """Tell a table from what a killed update left of one that it was creating."""
    return any((path / "_delta_log").glob("[0-9]*"))


def remove_empty_log(
    path: Path,  # Where a table will be created
) -> None:
    """Remove a Delta log without commits, which a killed update left."""
    if (path / "_delta_log").is_dir() and not is_table(path):
        shutil.rmtree(path / "_delta_log")


_MISREAD = re.compile(r"[\[\]^|\\\x00-\x1f\x7f]|%[0-9A-Fa-f]{2}")  # In a path: what delta-rs 1.6 misreads


def _check_table_path(
    path: Path,  # Where a table lies, or many
) -> None:
    """Raise `UsageError` for a path that Spark and delta-rs would not both find."""
    misread = _MISREAD.search(str(path))
    if misread:
        raise UsageError(
            f"{path}: a Delta table cannot lie there, since {misread[0]!r} is in the path",
            hint="choose a name without [ ] ^ | \\ and without % before two digits",
        )


def check_writable(
    root: Path,  # A storage folder, there or not
) -> None:
    """Raise `UsageError` for a folder that cannot be made or written: a file, a disk that is read-only,
    another user's folder, or one with something of another user's in it."""
    found = _find_existing(root)
    if not found.is_dir():
        raise UsageError(f"storage {root}: {found} is a file", hint="name a folder with --storage")
    inside = sorted(found.iterdir()) if found == root and os.access(found, os.R_OK | os.X_OK) else []
    for path in (found, *inside):
        if os.access(path, os.W_OK):
            continue
        is_read_only = bool(os.statvfs(path).f_flag & os.ST_RDONLY)
        why = (
            "its disk is read-only" if is_read_only else "it belongs to another user, or its mode forbids it"
        )
        what = f"storage {root}" if path == root else f"storage {root}: {path}"
        reading = "; `cdc show` and `cdc events` still read this one" if root.is_dir() else ""
        raise UsageError(
            f"{what} cannot be written, since {why}", hint=f"give --storage another folder{reading}"
        )


def _find_existing(
    path: Path,  # There or not
) -> Path:  # The path itself, or the nearest folder above it that this user finds
    "Find where a file or folder will be made."
    return next(folder for folder in (path, *path.absolute().parents) if os.access(folder, os.F_OK))


_FULL_DISK = re.compile(r"No space left on device|Disk quota exceeded|There is not enough space on the disk")
_MIB = 2**20
_SPARE = _MIB  # Bytes that stay free beside what is written: a commit, a checksum


def is_full_disk(
    error: BaseException | str,  # What was raised, or what a library said of it in its own words
) -> bool:  # Whether a disk had no room left
    "Tell a write that failed for want of room."
    if isinstance(error, str):
        return _FULL_DISK.search(error) is not None
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def full_disk_error(
    *folders: Path,  # Folders that are written to, there or not
) -> PipelineError:
    "Say how much room is left where an update writes, and what to do."
    left = []
    for folder in folders:
        left.append(f"{shutil.disk_usage(_find_existing(folder)).free // _MIB:,} MiB in {folder}")
    return PipelineError(
        f"the disk is full; there are {' and '.join(left)}",
        hint="make room and run again: what was committed stays, and the next update goes on from there",
    )


def check_free_space(
    folder: Path,  # Where it will be written; it exists, or a parent does
    size: int,  # Bytes to write, about
) -> None:
    "Raise `PipelineError` where a disk has no room for a file: its writer would leave a part of it."
    if shutil.disk_usage(_find_existing(folder)).free < size + _SPARE:
        raise full_disk_error(folder)


STORAGE_FORMAT = 2  # Raised when the layout changes in a way that an older or newer program cannot read
_READ_FORMATS = (1, 2)  # In 1, Spark's checkpoints say how far flows have read; updates continue them


@dataclass(frozen=True)
class Storage:
    """The folder that stands for a workspace; raises `UsageError` for a path that Delta libraries misread."""

    root: Path  # The folder; made on first use

    def __post_init__(self) -> None:
        root = Path(self.root).absolute()
        _check_table_path(root)
        if glob := re.search(r"[*?{}]", str(root)):
            raise UsageError(
                f"{root}: a storage cannot lie there, since readers of files take {glob[0]!r} for a pattern",
                hint="choose a folder without * ? { } in its path",
            )
        object.__setattr__(self, "root", root)

    @property
    def event_log_path(self) -> Path:
        """Folder of the event log."""
        return self.root / "event_log"

    @property
    def spark_log_path(self) -> Path:
        """File that Spark logs to."""
        return self.root / "logs" / "spark.log"

    @property
    def state_path(self) -> Path:
        """Folder of what updates remember of each table."""
        return self.root / "state"

    def table_path(
        self,
        name: TableName,  # A table, there or not
    ) -> Path:
        """Folder of a Delta table; raises `UsageError` for a name that Delta libraries misread."""
        path = self.root / "tables" / name.catalog / name.schema / name.table
        _check_table_path(path)
        return path

    def flow_path(
        self,
        target: TableName,  # The table that the flow fills
        flow: str,  # Name of the flow
    ) -> Path:
        """Folder of a flow's checkpoint and schemas."""
        folder = self.root / "checkpoints" / target.catalog / target.schema / target.table
        return folder / re.sub(r"[^\w.-]", "_", flow)

    def relative_path(
        self,
        path: str,  # A path on this machine
    ) -> str:  # From the storage's folder on, for what lies in it; the path itself for anything else
        """Name a path so that the name stays when the storage is moved."""
        relative = os.path.relpath(path, self.root)
        inside = not relative.startswith("..") and Path(path).is_absolute()
        return relative if inside else path

    def tables(self) -> list[TableName]:
        """Every table in the folder, by name."""
        logs = (self.root / "tables").glob("*/*/*/_delta_log")
        return sorted(TableName(*log.parts[-4:-1]) for log in logs if is_table(log.parent))

    def find_table(
        self,
        text: str,  # A name as typed: one, two or three parts
        catalog: str,  # Catalog where the text names none
        schema: str,  # Schema where the text names none
    ) -> TableName:  # Where nothing is called so: the name in full
        """Find the table that a name means: the one of that full name, else the only one that is called so.

        Raises `UsageError` that lists them where several are.
        """
        name = TableName.parse(text, catalog, schema)
        return find_called(text, name, self.tables()) or name

    def create(self) -> "Storage":
        """Make the folder; raises `UsageError` for one that cannot be written, and for one whose layout this
        program cannot read."""
        check_writable(self.root)
        self.root.mkdir(parents=True, exist_ok=True)
        self.check()
        marker = self.root / "storage.json"
        if read_json(marker) != {"format": STORAGE_FORMAT}:
            write_json(marker, {"format": STORAGE_FORMAT})
        return self

    def check(self) -> "Storage":
        """Raise `UsageError` for a folder that another version of the layout wrote."""
        marker = read_json(self.root / "storage.json")
        version = marker.get("format") if isinstance(marker, dict) else marker
        if marker is None or version in _READ_FORMATS:
            return self
        raise UsageError(
            f"{self.root} has storage format {version}, this cdc_utils reads {STORAGE_FORMAT}",
            hint="use the version that wrote it, or another --storage folder",
        )


def strip_scheme(
    path: str,  # A path, perhaps with `file:` before it
) -> str:  # The path alone
    "Leave out the scheme that names this machine's files."
    return re.sub(r"^file:/+", "/", path)


def localize(
    storage: Storage,  # Where volumes lie
    path: str,  # A path as a pipeline writes it
) -> str:  # The path on this machine
    """Map `/Volumes/…`, `dbfs:/…` and `/databricks-datasets/…` into the storage; leave others alone.

    Raises `UsageError` for a path that leaves the storage.
    """
    text = re.sub(r"^/dbfs/+Volumes(?=/|$)", "/Volumes", str(path))
    text = re.sub(r"^(?:dbfs:)?/+Volumes(?=/|$)", "/Volumes", text)
    if text == "/Volumes" or text.startswith("/Volumes/"):
        return _join_inside(storage.root / "Volumes", text.removeprefix("/Volumes"))
    dbfs = re.match(r"(?:dbfs:|/dbfs/|(?=/databricks-datasets/))/*(.*)", text)
    return _join_inside(storage.root / "dbfs", dbfs[1]) if dbfs else str(path)


def _join_inside(
    root: Path,  # The folder that may not be left
    rest: str,  # Path below it
) -> str:
    """Join two paths; raises `UsageError` for one that climbs out."""
    joined = os.path.normpath(root / PurePosixPath(rest.lstrip("/")))
    if joined != str(root) and not joined.startswith(str(root) + os.sep):
        raise UsageError(f"path {rest!r} leaves the storage folder", hint="remove the `..`")
    return joined + ("/" if rest.endswith("/") and rest.strip("/") else "")


class StorageInUseError(UsageError):
    """Another update has locked the storage."""


@contextmanager
def lock_storage(
    storage: Storage,  # The folder to keep to ourselves
    waits: bool = False,  # Wait until no other update has locked it
) -> Iterator[Storage]:
    """Lock the storage for one update; raises `StorageInUseError` if another update has locked it, and
    `UsageError` where it cannot be written.

    The lock is the operating system's: it goes away with its process.
    """
    from filelock import FileLock, Timeout  # here, since it takes time and most commands lock nothing

    check_writable(storage.root)
    lock, owner = FileLock(storage.root / ".lock"), storage.root / ".lock-owner"
    try:
        lock.acquire(timeout=-1 if waits else 0)
    except Timeout:
        process = owner.read_text().strip() if owner.exists() else "unknown"
        raise StorageInUseError(
            f"storage {storage.root} is in use by another update (process {process})",
            hint="wait for it, or give --storage another folder",
        ) from None
    try:
        owner.write_text(str(os.getpid()))
        yield storage
    finally:
        lock.release()
