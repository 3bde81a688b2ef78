"""Which files a live update depends on, and which of them differ from before.

What an update writes is never among them: the storage's own folders, Python's caches, hidden files.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISDIR
from typing import ClassVar, Protocol

from cdc_local.analysis.inputs import UpdateInputs
from cdc_local.autoloader.files import fixed_folder
from cdc_local.errors import UsageError
from cdc_local.source.files import discover_sources
from cdc_local.source.user_errors import display_path
from cdc_local.storage import Storage
from cdc_local.update.request import UpdateRequest
from cdc_local.update.source_environment import import_path

Stamp = tuple[int, int]  # Modification time in nanoseconds, size in bytes

_USERS_FOLDERS = ("Volumes", "dbfs")  # Folders of the storage that hold what the user puts there


class Watched(Protocol):
    "Something that an update depends on."

    is_code: ClassVar[bool]  # Whether it is run, else it is read

    def files(self) -> Iterable[Path]:
        "List its files as they are now."

    def folders(self) -> Iterable[Path]:
        "List the folders in which a change of it shows; those that are not there are left out later."

    def describe(self) -> str:
        "Name it, for a line; nothing for what goes without saying."


Snapshot = dict[Watched, dict[Path, Stamp]]  # What is watched -> its files -> how they were


@dataclass(frozen=True)
class WatchedSources:
    "Source files of one argument: a file, a folder or a pattern."

    path: str  # As typed
    storage: Storage  # Whose own files are no sources
    is_code: ClassVar[bool] = True

    def files(self) -> list[Path]:
        "The source files that it names now; none where it names none."
        try:
            files = [file.absolute() for file in discover_sources([self.path])]
        except UsageError:
            return []
        return [file for file in files if not _is_own(self.storage, file)]

    def folders(self) -> set[Path]:
        "The folder and all below it, or the folder of the file."
        return {folder for folder, _ in _walk(_absolute_folder(self.path), self.storage)}

    def describe(self) -> str:
        "As it was typed."
        return self.path


@dataclass(frozen=True)
class WatchedFile:
    "One file: a notebook of `%run`, a wheel."

    path: Path  # The file
    is_code: ClassVar[bool] = True

    def files(self) -> list[Path]:
        "The file."
        return [self.path]

    def folders(self) -> list[Path]:
        "Its folder: an editor that saves puts a new file there."
        return [self.path.parent]

    def describe(self) -> str:
        "Its path."
        return display_path(str(self.path))


@dataclass(frozen=True)
class WatchedModules:
    "A folder from which the pipeline's code imports."

    folder: Path  # On `sys.path`, or a package's
    storage: Storage  # Whose folder is no package
    is_code: ClassVar[bool] = True

    def files(self) -> list[Path]:
        "Its modules, and its subfolders, which may become packages."
        return [
            path
            for path in _list_folder(self.folder)
            if path.suffix == ".py" or (path.is_dir() and _is_visible(path) and path != self.storage.root)
        ]

    def folders(self) -> list[Path]:
        "The folder itself."
        return [self.folder]

    def describe(self) -> str:
        "Nothing: that modules belong to the code goes without saying."
        return ""


@dataclass(frozen=True)
class WatchedFolder:
    "A folder, file or glob that a flow reads; a glob stands for all below its fixed part."

    path: Path  # As it was read, absolute
    storage: Storage  # Whose own files are no input
    is_code: ClassVar[bool] = False

    def files(self) -> Iterator[Path]:
        "Every file below it that Spark would read."
        if self.path.is_file():
            yield self.path
            return
        top = _absolute_folder(str(self.path))
        for folder, files in _walk(top, self.storage):
            if all(map(_is_data, folder.relative_to(top).parts)):
                yield from (file for file in files if _is_data(file.name))

    def folders(self) -> set[Path]:
        "The folder and all below it; of a file its folder."
        if self.path.is_file():
            return {self.path.parent}
        return {folder for folder, _ in _walk(_absolute_folder(str(self.path)), self.storage)}

    def describe(self) -> str:
        "Its path; of a volume's as the pipeline writes it."
        if self.path.is_relative_to(self.storage.root / "Volumes"):
            return f"/{self.path.relative_to(self.storage.root)}"
        return display_path(str(self.path))


@dataclass(frozen=True)
class WatchedTable:
    "A Delta table that the pipeline reads and another program writes."

    path: Path  # Its folder
    is_code: ClassVar[bool] = False

    def files(self) -> list[Path]:
        "Its commits."
        return [path for path in _list_folder(self.path / "_delta_log") if path.suffix == ".json"]

    def folders(self) -> list[Path]:
        "The folder of its commits."
        return [self.path / "_delta_log"]

    def describe(self) -> str:
        "Its name."
        return f"the table {self.path.name}"


def list_watched_code(
    request: UpdateRequest,  # The updates
    inputs: UpdateInputs,  # What is known of them so far
) -> set[Watched]:
    "List what an update runs: source files, notebooks that they run, modules, wheels."
    storage = Storage(request.storage)
    found: set[Watched] = {WatchedSources(path, storage) for path in request.sources}
    named = {file for part in found for file in part.files()}
    found |= {WatchedFile(file) for file in inputs.sources if file not in named}
    found |= {WatchedFile(Path(wheel).absolute()) for wheel in request.wheels}
    try:
        folders = {Path(folder) for folder in import_path(request)}
    except UsageError:  # there is no source file at the moment
        folders = set()
    folders |= {path if path.is_dir() else path.parent for path in inputs.modules}
    return found | {WatchedModules(folder, storage) for folder in folders if not _is_own(storage, folder)}


def list_watched_inputs(
    request: UpdateRequest,  # The updates
    inputs: UpdateInputs,  # What is known of them so far
) -> set[Watched]:
    "List what an update reads: files, folders, and tables that the pipeline does not declare."
    storage = Storage(request.storage)
    paths = {Path(path) for path in inputs.paths}
    tables = inputs.tables | {path for path in paths if (path / "_delta_log").is_dir()}
    folders = {path for path in paths - tables if not _is_own(storage, path)}
    return {WatchedTable(path) for path in tables} | {WatchedFolder(path, storage) for path in folders}


def take_snapshot(
    watched: Iterable[Watched],  # What to look at
) -> Snapshot:  # Its files as they are now
    "Look at all files that an update depends on."
    return {part: dict(_stamp_files(part.files())) for part in watched}


def _stamp_files(
    files: Iterable[Path],  # Files, of which some may have gone
) -> Iterator[tuple[Path, Stamp]]:
    "Look at files; a folder counts as being there, whatever happens in it."
    for file in files:
        try:
            status = file.stat()
        except OSError:
            continue
        yield file, (0, 0) if S_ISDIR(status.st_mode) else (status.st_mtime_ns, status.st_size)


def changed_files(
    before: Snapshot,  # Files as they were
    after: Snapshot,  # Files as they are
) -> dict[Path, bool]:  # File -> whether it is code; sorted
    "List the files that came, went or changed, in what both snapshots look at."
    changed: dict[Path, bool] = {}
    for part in before.keys() & after.keys():
        earlier, later = before[part], after[part]
        for file in earlier.keys() | later.keys():
            if earlier.get(file) != later.get(file):
                changed[file] = changed.get(file, False) or part.is_code
    return dict(sorted(changed.items()))


def list_folders(
    watched: Iterable[Watched],  # What to look at
) -> set[Path]:  # Folders that are there
    "List the folders to watch; for one that is not there yet the nearest one above it."
    found = set()
    for folder in {folder.absolute() for part in watched for folder in part.folders()}:
        found.add(next(there for there in (folder, *folder.parents) if there.is_dir()))
    return found


def _walk(
    top: Path,  # A folder, there or not
    storage: Storage,  # Whose own folders are left out
) -> Iterator[tuple[Path, list[Path]]]:  # Each folder, and its files
    "Walk a folder and what lies below it, hidden folders and links to folders left out."
    files: list[os.DirEntry[str]] = []
    folders: list[os.DirEntry[str]] = []
    with suppress(OSError), os.scandir(top) as entries:  # it went away, or is a file
        for entry in entries:
            (folders if entry.is_dir() else files).append(entry)
    yield top, [top / entry.name for entry in files]
    for entry in folders:
        folder = top / entry.name
        if _is_visible(folder) and not entry.is_symlink() and not _is_own(storage, folder):
            yield from _walk(folder, storage)


def _list_folder(
    folder: Path,  # There or not
) -> list[Path]:
    "List what is in a folder; nothing for one that has gone or is a file."
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _absolute_folder(
    path: str,  # A folder, a file or a glob
) -> Path:  # The folder where it begins, which may not be there
    "Find the part of a path before its first wildcard; of a file its folder."
    return Path(fixed_folder(str(Path(path).absolute())))


def _is_visible(
    folder: Path,  # A folder
) -> bool:
    "Tell a folder of the user's from an editor's, git's and Python's own."
    return not folder.name.startswith(".") and folder.name != "__pycache__"


def _is_data(
    name: str,  # Name of a file or a folder
) -> bool:
    "Tell what Spark reads: its name begins neither with a dot nor, but for `_day=1`, with an underscore."
    return not name.startswith(".") and (not name.startswith("_") or "=" in name)


def _is_own(
    storage: Storage,  # A storage
    path: Path,  # Any path
) -> bool:
    "Tell what updates write from what the user puts into the storage: its volumes."
    absolute = path.absolute()
    if not absolute.is_relative_to(storage.root):
        return False
    return absolute == storage.root or absolute.relative_to(storage.root).parts[0] not in _USERS_FOLDERS
