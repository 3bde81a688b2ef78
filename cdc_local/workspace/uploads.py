"""Files that arrive: written beside the trees, and moved into their place when they are complete."""

import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import BinaryIO

from cdc_local.storage import Storage
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.files import make_folder
from cdc_local.workspace.paths import WorkspacePaths, check_path

UPLOAD_LIMIT = 2**30  # Bytes that one upload may have


def _upload_folder(storage: Storage) -> Path:
    "Name the folder of files that are arriving."
    return storage.root / "workspace" / "uploads"


def delete_broken_uploads(
    storage: Storage,  # The folder that stands for the workspace
) -> None:
    "Delete what an earlier server left of uploads that were not complete."
    for left in _upload_folder(storage).glob("*"):
        left.unlink()


@dataclass
class Upload:
    "A file that is arriving; it is gone at the end of the block unless it was finished."

    paths: WorkspacePaths  # Where the files lie
    limit: int  # Bytes that it may have
    size: int = 0  # Bytes so far

    def __enter__(self) -> "Upload":
        folder = _upload_folder(self.paths.storage)
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        self._file: BinaryIO = os.fdopen(handle, "wb")
        self._path = Path(name)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)

    def write(
        self,
        chunk: bytes,  # The next bytes
    ) -> None:
        "Write the next bytes; `CallError` for more than the limit."
        self.size += len(chunk)
        if self.size > self.limit:
            raise CallError(
                "REQUEST_ENTITY_TOO_LARGE",
                f"the upload is larger than {self.limit:,} bytes, which this workspace accepts",
            )
        self._file.write(chunk)

    def finish(
        self,
        path: str,  # Where it belongs
        overwrite: bool = False,  # Whether to replace a file that is there
        make_parents: bool = False,  # Whether to make the folders above it
    ) -> None:
        "Move the file into its place in one step; `CallError` without a folder, or where the name is taken."
        local_path = self.paths.local(path)
        if make_parents:
            make_folder(self.paths, self.paths.remote(local_path.parent))
        in_volume = check_path(path)[0] == "Volumes"
        taken = CallError(
            "ALREADY_EXISTS" if in_volume else "RESOURCE_ALREADY_EXISTS", f"{path} already exists."
        )
        if local_path.is_dir():
            raise taken
        try:
            self._move_to(local_path, overwrite)
        except FileExistsError:
            raise taken from None
        except (FileNotFoundError, NotADirectoryError):
            parent = PurePosixPath(path).parent
            raise CallError(
                "RESOURCE_DOES_NOT_EXIST", f"The parent folder ({parent}) doesn't exist."
            ) from None

    def _move_to(self, local_path: Path, overwrite: bool) -> None:
        "Move the file; without `overwrite` a name that is taken is refused, also when two uploads race."
        self._file.close()
        self._path.chmod(0o644)
        if overwrite:
            self._path.replace(local_path)
        else:
            local_path.hardlink_to(self._path)


def save_file(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # Where the file belongs
    chunks: Iterable[bytes],  # Its content
    overwrite: bool = False,  # Whether to replace a file that is there
    make_parents: bool = False,  # Whether to make the folders above it
    limit: int = UPLOAD_LIMIT,  # Bytes that it may have
) -> None:
    "Write a file whose content is in memory; raises as `Upload` does."
    with Upload(paths, limit) as upload:
        for chunk in chunks:
            upload.write(chunk)
        upload.finish(path, overwrite, make_parents)
