"""Where the paths that a job names lie on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cdc_local.storage import Storage, localize


class JobPaths(Protocol):
    "Finds the paths of a job: a bundle's lie in the clone, a workspace's in the storage folder."

    @property
    def storage(self) -> Storage:
        "Volumes, tables, unpacked wheels."

    def local(self, path: str) -> Path:
        "Find a path of the job on this machine."


@dataclass(frozen=True)
class FolderPaths:
    "Paths of a job whose relative paths begin at a folder; `/Volumes/…` lies in the storage."

    storage: Storage  # Volumes, tables, unpacked wheels
    root: Path  # Where relative paths begin

    def local(
        self,
        path: str,  # A path as the job names it
    ) -> Path:  # The path on this machine
        "Find a path of the job on this machine."
        return self.root / localize(self.storage, path)


def find_notebook(
    path: Path,  # A notebook, as a job or a pipeline names it: often without its suffix
) -> Path:  # The file if there is one, else `path`
    "Find a notebook's file; its own name may have dots."
    suffixes = ("", ".ipynb", ".py", ".sql")
    candidates = (path.with_name(path.name + suffix) for suffix in suffixes)
    return next((candidate for candidate in candidates if candidate.is_file()), path)
