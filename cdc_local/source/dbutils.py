"""The few parts of `dbutils` that a pipeline's source file may use, on local folders."""

import shutil
from pathlib import Path
from typing import Any, NamedTuple

from cdc_local.errors import PipelineError
from cdc_local.storage import Storage, localize


class FileInfo(NamedTuple):
    "One entry of `dbutils.fs.ls`."

    path: str  # Path as it was asked for, `dbfs:` in front
    name: str  # Last part; a folder's ends in `/`
    size: int  # Bytes, 0 for a folder
    modificationTime: int  # Milliseconds since 1970

    def isDir(self) -> bool:
        return self.name.endswith("/")

    def isFile(self) -> bool:
        return not self.isDir()


def _local(
    storage: Storage,  # Where volumes lie
    path: str,  # A path as a pipeline writes it
    must_exist: bool = True,  # Whether a missing one is a mistake
) -> Path:  # The path on this machine
    "Map a path of `dbutils.fs`."
    local = Path(localize(storage, str(path)).removeprefix("file:"))
    if must_exist and not local.exists():
        raise PipelineError(f"dbutils.fs: no such file or folder: {path}")
    return local


class FileSystem:
    "`dbutils.fs` over the storage's volumes."

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def ls(self, path: str) -> list[FileInfo]:
        "Entries of a folder, by name."
        folder, found = _local(self._storage, path), []
        for entry in sorted(folder.iterdir()) if folder.is_dir() else [folder]:
            state, name = entry.stat(), entry.name + ("/" if entry.is_dir() else "")
            shown = (
                "dbfs:"
                + str(path).removeprefix("dbfs:").rstrip("/")
                + (f"/{name}" if folder.is_dir() else "")
            )
            found.append(
                FileInfo(shown, name, 0 if entry.is_dir() else state.st_size, int(state.st_mtime * 1000))
            )
        return found

    def head(self, path: str, max_bytes: int = 65536) -> str:
        return _local(self._storage, path).read_bytes()[:max_bytes].decode()

    def mkdirs(self, path: str) -> bool:
        _local(self._storage, path, False).mkdir(parents=True, exist_ok=True)
        return True

    def put(self, path: str, contents: str, overwrite: bool = False) -> bool:
        "Write a text file."
        target = _local(self._storage, path, False)
        if target.exists() and not overwrite:
            raise PipelineError(f"dbutils.fs.put: {path} exists", hint="pass overwrite=True")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(contents)
        return True

    def cp(self, source: str, target: str, recurse: bool = False) -> bool:
        "Copy a file, or with `recurse` a folder."
        origin, copy = _local(self._storage, source), _local(self._storage, target, False)
        if origin.is_dir() and not recurse:
            raise PipelineError(f"dbutils.fs.cp: {source} is a folder", hint="pass recurse=True")
        copy.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if origin.is_dir() else shutil.copy2)(origin, copy)
        return True


class Widgets:
    "`dbutils.widgets`: parameters, taken from the configuration."

    def __init__(self, values: dict[str, str]) -> None:
        self._values = dict(values)

    def get(self, name: str) -> str:
        "A parameter's value."
        if name in self._values:
            return self._values[name]
        raise PipelineError(
            f"dbutils.widgets.get({name!r}): no such parameter", hint=f"give it a value: --conf {name}=…"
        )

    def text(self, name: str, default: str = "", label: str = None) -> None:
        self._values.setdefault(name, default)

    def dropdown(self, name: str, default: str, choices: list, label: str = None) -> None:
        self._values.setdefault(name, default)

    combobox = dropdown

    def getAll(self) -> dict[str, str]:
        return dict(self._values)


class Dbutils:
    "`dbutils` as far as a laptop has it; anything else is refused by name."

    def __init__(
        self,
        storage: Storage,  # Where volumes lie
        values: dict[str, str] = {},  # Parameters
    ) -> None:
        self.fs, self.widgets = FileSystem(storage), Widgets(values)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise PipelineError(
            f"dbutils.{name} is not supported by the local runner",
            hint="it has dbutils.fs and dbutils.widgets",
        )
