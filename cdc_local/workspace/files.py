"""The two trees that a client of Databricks writes to, on a laptop: `/Workspace` and `/Volumes`."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from cdc_local.errors import PipelineError
from cdc_local.storage import Storage

HTTP_STATUS = {
    "INVALID_PARAMETER_VALUE": 400,
    "MALFORMED_REQUEST": 400,
    "DIRECTORY_NOT_EMPTY": 400,
    "SCHEMA_NOT_EMPTY": 400,
    "SCHEMA_ALREADY_EXISTS": 400,
    "VOLUME_ALREADY_EXISTS": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "RESOURCE_DOES_NOT_EXIST": 404,
    "SCHEMA_DOES_NOT_EXIST": 404,
    "VOLUME_DOES_NOT_EXIST": 404,
    "ENDPOINT_NOT_FOUND": 404,
    "ALREADY_EXISTS": 409,
    "RESOURCE_ALREADY_EXISTS": 409,
    "RESOURCE_CONFLICT": 409,
    "REQUEST_ENTITY_TOO_LARGE": 413,
    "INTERNAL_ERROR": 500,
    "NOT_IMPLEMENTED": 501,
}  # Error code to the status of HTTP


class CallError(PipelineError):
    "A call of the workspace that was refused, as Databricks says it."

    def __init__(
        self,
        error_code: str,  # One of `STATUS`
        message: str,  # The thing, the value received, what to do
    ):
        super().__init__(message)
        self.error_code, self.status = error_code, HTTP_STATUS[error_code]

    @property
    def answer(self) -> dict:
        return {"error_code": self.error_code, "message": str(self)}


def check_path(
    path: str,  # As a client sends it
) -> tuple[str, ...]:  # Its parts, `Workspace` or `Volumes` first
    "Read a path of the workspace; `CallError` for one that is not plain."
    text = re.sub(r"^dbfs:(?=/)", "", path)
    parts = [part for part in text.split("/") if part]
    if parts[:1] == ["dbfs"] and parts[1:2] == ["Volumes"]:
        parts = parts[1:]
    for part in parts:
        odd = (
            part in (".", "..")
            or re.search(r"[\x00-\x1f\x7f\\]|%(?:2e|2f|5c|00|25)", part, re.I)
            or len(part.encode(errors="replace")) > 255
        )
        if odd or not part.isprintable():
            raise CallError(
                "INVALID_PARAMETER_VALUE",
                f"path {path!r} has the part {part!r}, which is no name of a file or folder",
            )
    if not text.startswith("/"):
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"path {path!r} is not absolute: it begins with /Workspace/, /Users/ or /Volumes/",
        )
    if parts[:1] == ["Volumes"]:
        return ("Volumes", *[part.lower() for part in parts[1:4]], *parts[4:])
    return tuple(parts) if parts[:1] == ["Workspace"] else ("Workspace", *parts)


SUFFIXES = {
    ".ipynb": "PYTHON",
    ".py": "PYTHON",
    ".sql": "SQL",
    ".scala": "SCALA",
    ".r": "R",
}  # Suffix of a notebook to its language

NOTEBOOK_MARKS = {
    ".py": b"# Databricks notebook source",
    ".sql": b"-- Databricks notebook source",
    ".scala": b"// Databricks notebook source",
    ".r": b"# Databricks notebook source",
}


def is_notebook(
    path: Path,  # A file on the laptop
) -> bool:  # Whether Databricks would call it a notebook
    "Tell a notebook from another file, by its suffix and its first line."
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES or not path.is_file():
        return False
    if suffix == ".ipynb":
        return True
    with path.open("rb") as file:
        return file.read(len(NOTEBOOK_MARKS[suffix])) == NOTEBOOK_MARKS[suffix]


@dataclass(frozen=True)
class Places:
    "Where the paths of a workspace lie on this machine."

    storage: Storage  # The folder that stands for the workspace

    def local(self, path: str) -> Path:  # A path as a client sends it
        "The file or folder that a path names, whether it is there or not."
        parts = check_path(path)
        root, place = self.storage.root / parts[0], self.storage.root.joinpath(*parts)
        if not place.exists() and parts[0] == "Workspace":
            named = (place.with_name(place.name + suffix) for suffix in SUFFIXES)
            place = next((each for each in named if is_notebook(each)), place)
        if not place.resolve().is_relative_to(root.resolve()):
            raise CallError("PERMISSION_DENIED", f"path {path!r} is a link that leads out of {parts[0]}")
        return place

    def remote(self, place: Path) -> str:  # A file or folder below the storage
        "The path that names it; of a notebook without its suffix."
        name = place.relative_to(self.storage.root)
        return (
            "/"
            + (
                name.with_suffix("") if name.parts[0] == "Workspace" and is_notebook(place) else name
            ).as_posix()
        )


def object_id(
    path: str,  # A path, in any spelling
) -> int:  # At most 2**52, which JSON carries exactly
    "The number of a file or folder."
    return int.from_bytes(hashlib.sha256("/".join(check_path(path)).encode()).digest()[:8]) >> 12


def describe_object(
    places: Places,  # Where the trees lie
    path: str,  # A path of the workspace
) -> dict:  # As `workspace/get-status` answers
    "What a path names; `CallError` where there is nothing."
    place = places.local(path)
    if not place.exists():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"Path ({path}) doesn't exist.")
    named, stat, notebook = places.remote(place), place.stat(), is_notebook(place)
    kind = "DIRECTORY" if place.is_dir() else "NOTEBOOK" if notebook else "FILE"
    found = {
        "object_type": kind,
        "path": named,
        "object_id": object_id(named),
        "resource_id": str(object_id(named)),
    }
    if notebook:
        found["language"] = SUFFIXES[place.suffix.lower()]
    return (
        found
        | ({"size": stat.st_size} if kind == "FILE" else {})
        | {"created_at": int(stat.st_ctime * 1000), "modified_at": int(stat.st_mtime * 1000)}
    )


def list_folder(
    places: Places,  # Where the trees lie
    path: str,  # A folder, or one object
) -> list[dict]:  # Its objects, by name
    "What lies in a folder of the workspace; `CallError` where there is none."
    place = places.local(path)
    if not place.is_dir():
        return [describe_object(places, path)]
    inside = (each for each in sorted(place.iterdir()) if not each.is_symlink())
    return [
        describe_object(places, "/" + each.relative_to(places.storage.root).as_posix()) for each in inside
    ]


def make_folder(
    places: Places,  # Where the trees lie
    path: str,  # A folder
) -> None:
    "Make a folder and those above it; `CallError` where a file is in the way."
    try:
        places.local(path).mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise CallError("RESOURCE_ALREADY_EXISTS", f"a file is in the way of the folder {path}") from None


def delete_object(
    places: Places,  # Where the trees lie
    path: str,  # A file, notebook or folder
    recursive: bool = False,  # Whether a folder may hold something
) -> list[int]:  # Numbers of what is gone
    "Delete from the workspace; `CallError` where there is nothing, or a folder is not empty."
    place, kind = places.local(path), describe_object(places, path)["object_type"]
    if len(check_path(path)) < 2:
        raise CallError("INVALID_PARAMETER_VALUE", f"{path} is the whole tree, which cannot be deleted")
    below = list(place.rglob("*")) if kind == "DIRECTORY" else []
    if below and not recursive:
        raise CallError(
            "DIRECTORY_NOT_EMPTY", f"Folder ({path}) is not empty; delete it with recursive=true."
        )
    gone = [object_id("/" + each.relative_to(places.storage.root).as_posix()) for each in (place, *below)] + [
        object_id(path)
    ]
    if kind == "DIRECTORY":
        shutil.rmtree(place)
    else:
        place.unlink()
    return gone


@dataclass
class Upload:
    "A file that is arriving."

    places: Places  # Where the trees lie
    limit: int  # Bytes that it may have
    size: int = 0  # Bytes so far

    def __enter__(self):
        folder = self.places.storage.root / "workspace" / "uploads"
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder)
        self.file, self.path = os.fdopen(handle, "wb"), Path(name)
        return self

    def __exit__(self, *_):
        self.file.close()
        self.path.unlink(missing_ok=True)

    def write(self, chunk: bytes) -> None:
        "Take the next bytes; `CallError` for more than the limit."
        self.size += len(chunk)
        if self.size > self.limit:
            raise CallError(
                "REQUEST_ENTITY_TOO_LARGE",
                f"the upload is larger than {self.limit:,} bytes, which this workspace accepts",
            )
        self.file.write(chunk)

    def finish(
        self,
        path: str,  # Where it belongs
        overwrite: bool = False,  # Whether a file may be there
        parents: bool = False,  # Whether to make the folders above it
    ) -> None:
        "Put the file into its place, whole; `CallError` where a folder is missing or the name is taken."
        place = self.places.local(path)
        if parents:
            make_folder(self.places, self.places.remote(place.parent))
        taken = CallError(
            "ALREADY_EXISTS" if check_path(path)[0] == "Volumes" else "RESOURCE_ALREADY_EXISTS",
            f"{path} already exists.",
        )
        if place.is_dir():
            raise taken
        try:
            put_in_place(self, place, overwrite)
        except FileExistsError:
            raise taken from None
        except (FileNotFoundError, NotADirectoryError):
            raise CallError(
                "RESOURCE_DOES_NOT_EXIST", f"The parent folder ({os.path.dirname(path)}) doesn't exist."
            ) from None


def put_in_place(
    upload: Upload,  # A whole file
    place: Path,  # Where it belongs
    overwrite: bool,  # Whether a file may be there
) -> None:
    "Put an upload into its place in one step."
    upload.file.close()
    upload.path.chmod(0o644)
    if overwrite:
        upload.path.replace(place)
    else:
        os.link(upload.path, place)


def save_file(
    places: Places,  # Where the trees lie
    path: str,  # Where the file belongs
    chunks: Iterable[bytes],  # Its content
    overwrite: bool = False,  # Whether a file may be there
    parents: bool = False,  # Whether to make the folders above it
    limit: int = 2**30,  # Bytes that it may have
) -> None:
    "Write a file that is at hand."
    with Upload(places, limit) as upload:
        for chunk in chunks:
            upload.write(chunk)
        upload.finish(path, overwrite, parents)


def check_volume(
    path: str,  # A path below `/Volumes`
    declared: Callable[[str], bool],  # Whether there is a volume `catalog.schema.volume`
) -> str:  # The path, in the spelling that is stored
    "`CallError` for a path outside the volumes that were declared."
    parts = check_path(path)
    if parts[0] != "Volumes" or len(parts) < 4:
        raise CallError(
            "INVALID_PARAMETER_VALUE",
            f"{path} is not below a volume: write /Volumes/<catalog>/<schema>/<volume>/…",
        )
    name = ".".join(parts[1:4])
    if not declared(name):
        raise CallError("VOLUME_DOES_NOT_EXIST", f"Volume '{name}' does not exist.")
    return "/" + "/".join(parts)


def list_volume(
    places: Places,  # Where the trees lie
    path: str,  # A folder of a volume
) -> list[dict]:  # As `fs/directories` answers
    "What lies in a folder of a volume; `CallError` where there is none."
    place = places.local(path)
    if not place.is_dir():
        raise CallError("RESOURCE_DOES_NOT_EXIST", f"The directory {path} does not exist.")

    def entry(each):
        found = {
            "path": places.remote(each),
            "name": each.name,
            "is_directory": each.is_dir(),
            "last_modified": int(each.stat().st_mtime * 1000),
        }
        return found if each.is_dir() else found | {"file_size": each.stat().st_size}

    return [entry(each) for each in sorted(place.iterdir()) if not each.is_symlink()]
