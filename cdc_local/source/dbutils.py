"""The few parts of `dbutils` that a source file may use, on the folders of a storage."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cdc_local.errors import PipelineError
from cdc_local.source.task_values import Jobs
from cdc_local.storage import Storage, localize


class FileInfo(NamedTuple):
    """One entry of `dbutils.fs.ls`, with the names it has on Databricks."""

    path: str  # Path as it was asked for, `dbfs:` in front
    name: str  # Last part; a folder's ends in `/`
    size: int  # Bytes, 0 for a folder
    modificationTime: int  # noqa: N815 (its name on Databricks): milliseconds since 1970

    def isDir(self) -> bool:  # noqa: N802 (its name on Databricks)
        """Whether it is a folder."""
        return self.name.endswith("/")

    def isFile(self) -> bool:  # noqa: N802 (its name on Databricks)
        """Whether it is a file."""
        return not self.isDir()


class FileSystem:
    """`dbutils.fs` over the storage's volumes.

    A pipeline reads: there is no `rm`, since files that are removed while a pipeline is being declared would
    make its next evaluation see something else.
    """

    def __init__(
        self,
        storage: Storage,  # Where volumes lie
    ) -> None:
        self._storage = storage

    def ls(
        self,
        path: str,  # A folder or a file, as Databricks has it
    ) -> list[FileInfo]:  # Its entries by name; the file itself for a file
        """List a folder; raises `PipelineError` where there is none."""
        folder = self._find(path)
        if not folder.is_dir():
            return [self._describe(folder, path)]
        return [
            self._describe(entry, f"{path.rstrip('/')}/{entry.name}") for entry in sorted(folder.iterdir())
        ]

    def head(
        self,
        path: str,  # A file
        max_bytes: int = 65536,  # Bytes to read
    ) -> str:
        """Read the beginning of a text file; raises `PipelineError` where there is none."""
        return self._find(path).read_bytes()[:max_bytes].decode()

    def mkdirs(
        self,
        path: str,  # A folder
    ) -> bool:  # True
        """Make a folder and those above it."""
        self._locate(path).mkdir(parents=True, exist_ok=True)
        return True

    def put(
        self,
        path: str,  # A file; its folder is made
        contents: str,  # Its text
        overwrite: bool = False,  # Whether it may be there already
    ) -> bool:  # True
        """Write a text file; raises `PipelineError` for one that is there and may not be."""
        file = self._locate(path)
        if file.exists() and not overwrite:
            raise PipelineError(f"dbutils.fs.put: {path} exists", hint="pass overwrite=True")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(contents)
        return True

    def cp(
        self,
        source: str,  # A file or a folder
        target: str,  # Where its copy will be
        recurse: bool = False,  # Whether it may be a folder
    ) -> bool:  # True
        """Copy a file, or with `recurse` a folder; raises `PipelineError`."""
        original, copy = self._find(source), self._locate(target)
        if original.is_dir() and not recurse:
            raise PipelineError(f"dbutils.fs.cp: {source} is a folder", hint="pass recurse=True")
        copy.parent.mkdir(parents=True, exist_ok=True)
        if original.is_dir():
            shutil.copytree(original, copy)
        else:
            shutil.copy2(original, copy)
        return True

    def _locate(
        self,
        path: str,  # A path as a pipeline writes it
    ) -> Path:  # The path on this machine
        return Path(localize(self._storage, path).removeprefix("file:"))

    def _find(
        self,
        path: str,  # A path as a pipeline writes it
    ) -> Path:  # The path on this machine, where something is
        local = self._locate(path)
        if not local.exists():
            raise PipelineError(f"dbutils.fs: no such file or folder: {path}")
        return local

    def _describe(
        self,
        local: Path,  # A file or folder on this machine
        path: str,  # Its path as a pipeline writes it
    ) -> FileInfo:
        state, mark = local.stat(), "/" if local.is_dir() else ""
        return FileInfo(
            path="dbfs:" + path.removeprefix("dbfs:").rstrip("/") + mark,
            name=local.name + mark,
            size=0 if local.is_dir() else state.st_size,
            modificationTime=int(state.st_mtime * 1000),
        )


class Widgets:
    """`dbutils.widgets`: parameters, whose values are those of the configuration."""

    def __init__(
        self,
        values: Mapping[str, str],  # Value of each parameter
    ) -> None:
        self._values = dict(values)

    def get(
        self,
        name: str,  # A parameter
    ) -> str:  # Its value
        """Read a parameter; raises `PipelineError` for one that has no value."""
        if name in self._values:
            return self._values[name]
        raise PipelineError(
            f"dbutils.widgets.get({name!r}): no such parameter", hint=f"give it a value: --conf {name}=…"
        )

    def text(
        self,
        name: str,  # A parameter
        default: str = "",  # Its value where the configuration has none
        label: str | None = None,  # Without effect
    ) -> None:
        """Declare a parameter."""
        self._values.setdefault(name, default)

    def dropdown(
        self,
        name: str,  # A parameter
        default: str,  # Its value where the configuration has none
        choices: Sequence[str],  # Without effect
        label: str | None = None,  # Without effect
    ) -> None:
        """Declare a parameter with a list of choices."""
        self._values.setdefault(name, default)

    combobox = dropdown

    def getAll(self) -> dict[str, str]:  # noqa: N802 (its name on Databricks)
        """All parameters and their values."""
        return dict(self._values)


class Dbutils:
    """`dbutils` as far as this machine has it; anything else is refused by name."""

    def __init__(
        self,
        storage: Storage,  # Where volumes lie
        values: Mapping[str, str] | None = None,  # Value of each parameter
        jobs: Jobs | None = None,  # Of a notebook, which a job may run
    ) -> None:
        self.fs, self.widgets = FileSystem(storage), Widgets(values or {})
        if jobs is not None:
            self.jobs = jobs

    def __getattr__(self, name: str) -> Any:
        """Raise `PipelineError` for what is not supported."""
        if name.startswith("__"):
            raise AttributeError(name)
        raise PipelineError(
            f"dbutils.{name} is not supported by the local runner",
            hint="it has dbutils.fs and dbutils.widgets; notebooks of a job have dbutils.jobs, too",
        )
