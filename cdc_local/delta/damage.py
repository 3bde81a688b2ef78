"""Which file of a table, or of a stream's checkpoint, is damaged: looked for once something has failed."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from urllib.parse import unquote

import pyarrow
import pyarrow.parquet
from deltalake import DeltaTable

from cdc_local.errors import PipelineError
from cdc_local.storage import is_table, mending_hint

_PARQUET_MARK = b"PAR1"  # Begins and ends a Parquet file
_STREAM_FOLDERS = ("offsets", "commits", "sources")  # Of a checkpoint: files whose first line is a version


def damaged_file_error(
    path: Path,  # The file
    why: BaseException | str,  # What is wrong with it, or what its reader raised
) -> PipelineError:  # Names the file, and the command that mends it
    "Say that a file is damaged, and how that is mended."
    said = str(why).strip().splitlines()
    return PipelineError(f"{path} is damaged: {said[0] if said else 'it is empty'}", hint=mending_hint(path))


def find_damage(
    tables: Iterable[Path],  # Folders of Delta tables, there or not
    checkpoints: Iterable[Path] = (),  # Folders of streams' checkpoints, there or not
) -> PipelineError | None:  # None where every file can be read
    "Look for the first file that cannot be read, logs and checkpoints first."
    checks = [
        *((_check_stream, folder) for folder in checkpoints if folder.is_dir()),
        *((check, folder) for check in (_check_log, _check_rows) for folder in tables if is_table(folder)),
    ]
    for check, folder in checks:
        for path, why in check(folder):
            return damaged_file_error(path, why)
    return None


def _check_log(
    folder: Path,  # Of a table
) -> Iterator[tuple[Path, BaseException | str]]:  # Files that are damaged, and why
    "Read the log of a table: commits, checkpoints, and whether a version is missing."
    log = folder / "_delta_log"
    yield from _check_files(sorted(log.glob("*.parquet")), _read_footer)
    commits = sorted(path for path in log.glob("*.json") if path.stem.isdigit())
    yield from _check_files([path for path in (log / "_last_checkpoint",) if path.exists()], _read_object)
    yield from _check_files(commits, _read_objects)
    checkpoints = (path.name[:20] for path in log.glob("*.checkpoint*"))
    begins_at = {int(version) for version in checkpoints if version.isdigit()} | {-1}
    versions = {int(path.stem) for path in commits}
    for version in range(max(begins_at) + 1, max(versions | begins_at) + 1):
        if version not in versions:
            yield log / f"{version:020d}.json", "it is missing"


def _check_rows(
    folder: Path,  # Of a table whose log can be read
) -> Iterator[tuple[Path, BaseException | str]]:  # Files that are damaged, and why
    "Look at the ends of a table's files of rows."
    names = pyarrow.table(DeltaTable(str(folder)).get_add_actions())["path"].to_pylist()
    own = [name for name in names if "://" not in name]  # a clone's files lie elsewhere
    files = [folder / name if (folder / name).exists() else folder / unquote(name) for name in own]
    yield from _check_files(files, _read_footer)


def _check_stream(
    checkpoint: Path,  # Of a stream that is not running
) -> Iterator[tuple[Path, BaseException | str]]:  # Files that are damaged, and why
    "Read the checkpoint of a stream: its name, and the batches that it planned and finished."
    batches = [
        path
        for name in _STREAM_FOLDERS
        for path in sorted((checkpoint / name).rglob("*"))
        if path.is_file() and path.name.split(".")[0].isdigit()
    ]
    if batches:
        yield from _check_files([checkpoint / "metadata"], _read_object)
    yield from _check_files(batches, _read_versioned)
    planned = {int(path.name) for path in batches if path.parent.name == "offsets"}
    finished = {int(path.name) for path in batches if path.parent.name == "commits"}
    for batch in sorted(finished - planned):
        yield checkpoint / "offsets" / str(batch), "it is missing"


def _check_files(
    files: Iterable[Path],  # Files that should be there
    read: Callable[[Path], object],  # Raises what is wrong with one
) -> Iterator[tuple[Path, BaseException | str]]:  # Files that are damaged, and why
    "Read files, and name those that cannot be read."
    for path in files:
        try:
            read(path)
        except FileNotFoundError:
            yield path, "it is missing"
        except (OSError, ValueError, pyarrow.ArrowException) as wrong:
            yield path, wrong


def _read_object(
    path: Path,  # A file of one JSON object
) -> None:
    "Read a JSON object; raises `ValueError` for anything else."
    if not isinstance(json.loads(path.read_text()), dict):
        raise ValueError("it is no JSON object")


def _read_objects(
    path: Path,  # A file of JSON objects, one a line
) -> None:
    "Read JSON lines; raises `ValueError` for anything else, and for a file without lines."
    lines = path.read_text().splitlines()
    if not lines:
        raise ValueError("it is empty")
    for line in lines:
        json.loads(line)


def _read_versioned(
    path: Path,  # A file of a stream's checkpoint
) -> None:
    "Read a file that begins with its version and goes on with JSON or numbers; raises `ValueError`."
    first, *lines = path.read_text().splitlines() or [""]
    if not (first.startswith("v") and first[1:].isdigit()):
        raise ValueError(f"its first line is {first[:20]!r}, and no version" if first else "it is empty")
    for line in lines:
        if line.startswith(("{", "[")):
            json.loads(line)


def _read_footer(
    path: Path,  # A Parquet file
) -> None:
    "Read the footer of a Parquet file; raises `ValueError` or pyarrow's error for a damaged one."
    with path.open("rb") as file:
        if file.read(len(_PARQUET_MARK)) != _PARQUET_MARK:
            raise ValueError("it is no Parquet file")
    pyarrow.parquet.read_metadata(path)
