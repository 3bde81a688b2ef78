"""Paths of a workspace, and where they lie on this machine: `/Workspace` and `/Volumes` below the storage."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from cdc_local.storage import Storage
from cdc_local.workspace.call_error import CallError


def check_path(
    path: str,  # As a client sends it
) -> tuple[str, ...]:  # Its parts, `Workspace` or `Volumes` first
    "Read a path of the workspace; `CallError` for one that is not plain."
    text = re.sub(r"^dbfs:(?=/)", "", path)
    parts = [part for part in text.split("/") if part]
    if parts[:1] == ["dbfs"] and parts[1:2] == ["Volumes"]:
        parts = parts[1:]
    for part in parts:
        if not _is_plain_name(part):
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


def _is_plain_name(
    part: str,  # A part of a path
) -> bool:  # False for `..`, control characters, and what decodes to a dot, a slash or a percent sign
    "Whether a part is one name on every disk."
    encoded = re.search(r"[\x00-\x1f\x7f\\]|%(?:2e|2f|5c|00|25)", part, re.I)
    return (
        part not in (".", "..")
        and not encoded
        and len(part.encode(errors="replace")) <= 255
        and part.isprintable()
    )


NOTEBOOK_LANGUAGES = {
    ".ipynb": "PYTHON",
    ".py": "PYTHON",
    ".sql": "SQL",
    ".scala": "SCALA",
    ".r": "R",
}  # Suffix of a notebook's file -> its language

NOTEBOOK_MARKS = {
    ".py": b"# Databricks notebook source",
    ".sql": b"-- Databricks notebook source",
    ".scala": b"// Databricks notebook source",
    ".r": b"# Databricks notebook source",
}  # Suffix -> first line that makes a source file a notebook


def is_notebook(
    path: Path,  # A file on this machine
) -> bool:  # Whether Databricks would call it a notebook
    "Tell a notebook from another file, by its suffix and its first line."
    suffix = path.suffix.lower()
    if suffix not in NOTEBOOK_LANGUAGES or not path.is_file():
        return False
    if suffix == ".ipynb":
        return True
    with path.open("rb") as file:
        return file.read(len(NOTEBOOK_MARKS[suffix])) == NOTEBOOK_MARKS[suffix]


@dataclass(frozen=True)
class WorkspacePaths:
    "Where the paths of a workspace lie on this machine."

    storage: Storage  # The folder that stands for the workspace

    def local(
        self,
        path: str,  # As a client sends it
    ) -> Path:  # Whether it is there or not; a notebook's file has a suffix that its path has not
        "Find the file or folder that a path names; `CallError` for a link that leads out of its tree."
        parts = check_path(path)
        tree = self.storage.root / parts[0]
        local_path = self.storage.root.joinpath(*parts)
        if not local_path.exists() and parts[0] == "Workspace":
            candidates = [local_path.with_name(local_path.name + suffix) for suffix in NOTEBOOK_LANGUAGES]
            local_path = next(filter(is_notebook, candidates), local_path)
        if not local_path.resolve().is_relative_to(tree.resolve()):
            raise CallError("PERMISSION_DENIED", f"path {path!r} is a link that leads out of {parts[0]}")
        return local_path

    def remote(
        self,
        local_path: Path,  # A file or folder below the storage
    ) -> str:  # Of a notebook without its suffix
        "Name a file or folder as the workspace does."
        name = local_path.relative_to(self.storage.root)
        if name.parts[0] == "Workspace" and is_notebook(local_path):
            name = name.with_suffix("")
        return "/" + name.as_posix()


def object_id(
    path: str,  # A path, in any spelling
) -> int:  # At most 2**52, which JSON carries exactly
    "Number a file or folder; the number is made of the path, so a restart does not change it."
    digest = hashlib.sha256("/".join(check_path(path)).encode()).digest()
    return int.from_bytes(digest[:8]) >> 12
