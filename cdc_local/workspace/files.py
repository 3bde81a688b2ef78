"""Files, folders and notebooks of a workspace: described, listed, made and deleted."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.paths import (
    NOTEBOOK_LANGUAGES,
    WorkspacePaths,
    check_path,
    is_notebook,
    object_id,
)


def describe_object(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # A path of the workspace
) -> dict[str, Any]:  # As `workspace/get-status` answers
    "Describe what a path names; `CallError` where there is nothing."
    local_path = paths.local(path)
    if not local_path.exists():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"Path ({path}) doesn't exist.")
    stored_path = paths.remote(local_path)
    stat = local_path.stat()
    kind = "DIRECTORY" if local_path.is_dir() else "NOTEBOOK" if is_notebook(local_path) else "FILE"
    answer = {
        "object_type": kind,
        "path": stored_path,
        "object_id": object_id(stored_path),
        "resource_id": str(object_id(stored_path)),
    }
    if kind == "NOTEBOOK":
        answer["language"] = NOTEBOOK_LANGUAGES[local_path.suffix.lower()]
    if kind == "FILE":
        answer["size"] = stat.st_size
    times = {"created_at": int(stat.st_ctime * 1000), "modified_at": int(stat.st_mtime * 1000)}
    return answer | times


def list_folder(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # A folder, or one object
) -> list[dict[str, Any]]:  # Its objects, by name
    "List a folder of the workspace; `CallError` where there is none."
    folder = paths.local(path)
    if not folder.is_dir():
        return [describe_object(paths, path)]
    return [describe_object(paths, _below_storage(paths, inside)) for inside in _list_without_links(folder)]


def _list_without_links(folder: Path) -> list[Path]:
    "List a folder by name; links are left out, since they may lead anywhere."
    return [path for path in sorted(folder.iterdir()) if not path.is_symlink()]


def _below_storage(paths: WorkspacePaths, local_path: Path) -> str:
    "Name a file or folder by its path below the storage, suffix included."
    return "/" + local_path.relative_to(paths.storage.root).as_posix()


def make_folder(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # A folder
) -> None:
    "Make a folder and those above it; `CallError` where a file is in the way."
    try:
        paths.local(path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CallError("RESOURCE_ALREADY_EXISTS", f"a file is in the way of the folder {path}") from None


def delete_object(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # A file, notebook or folder
    recursive: bool = False,  # Whether to delete a folder that is not empty
) -> list[int]:  # Numbers of what is gone, as `object_id` makes them
    "Delete from the workspace; `CallError` where there is nothing, or a folder is not empty."
    local_path = paths.local(path)
    is_folder = describe_object(paths, path)["object_type"] == "DIRECTORY"
    if len(check_path(path)) < 2:
        raise CallError("INVALID_PARAMETER_VALUE", f"{path} is the whole tree, which cannot be deleted")
    inside = list(local_path.rglob("*")) if is_folder else []
    if inside and not recursive:
        raise CallError(
            "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty; delete it with recursive=true."
        )
    numbers = [object_id(_below_storage(paths, deleted)) for deleted in (local_path, *inside)]
    if is_folder:
        shutil.rmtree(local_path)
    else:
        local_path.unlink()
    return [*numbers, object_id(path)]


def check_volume_path(
    path: str,  # A path below `/Volumes`
    has_volume: Callable[[str], bool],  # Whether there is a volume `catalog.schema.volume`
) -> str:  # The path, in the spelling that is stored
    "Read a path of a volume; `CallError` for one outside the volumes that were declared."
    parts = check_path(path)
    if parts[0] != "Volumes" or len(parts) < 4:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"{path} is not below a volume: write /Volumes/<catalog>/<schema>/<volume>/…",
        )
    name = ".".join(parts[1:4])
    if not has_volume(name):
        raise CallError("VOLUME_DOES_NOT_EXIST", f"Volume '{name}' does not exist.")
    return "/" + "/".join(parts)


def list_volume_folder(
    paths: WorkspacePaths,  # Where the files lie
    path: str,  # A folder of a volume
) -> list[dict[str, Any]]:  # As `fs/directories` answers
    "List a folder of a volume; `CallError` where there is none."
    folder = paths.local(path)
    if not folder.is_dir():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The directory {path} does not exist.")
    return [_describe_volume_entry(paths, inside) for inside in _list_without_links(folder)]


def _describe_volume_entry(paths: WorkspacePaths, local_path: Path) -> dict[str, Any]:
    "Describe a file or folder of a volume."
    entry = {
        "path": paths.remote(local_path),
        "name": local_path.name,
        "is_directory": local_path.is_dir(),
        "last_modified": int(local_path.stat().st_mtime * 1000),
    }
    return entry if local_path.is_dir() else entry | {"file_size": local_path.stat().st_size}
