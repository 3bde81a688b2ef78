"""`/Volumes` is a folder of the storage wherever a pipeline's, a task's or a notebook's own code looks.

On Databricks every program reads and writes `/Volumes/<catalog>/<schema>/<volume>/…` as files, and
`/dbfs/…` too. Here both are folders below `--storage`: `Volumes` and `dbfs`. What our own readers are
given (`spark.read`, Auto Loader, `dbutils.fs`) is mapped by `localize`, always and in the same way, so
checkpoints, event logs and tables hold the same whatever applies here. For all other code, this module
decides, in this order:

1. **A folder.** `/Volumes` is the storage's folder already: a link that somebody made (`sudo ln -s
   /home/ann/shop/.cdc/Volumes /Volumes`), or the namespace of the process that started this one.
2. **A mount namespace** (`mount`, `command_line`). `cdc run` and the tasks of a job are processes of
   their own: on Linux, where root or the kernel's user namespaces permit it, they see both folders, with
   all that they start: threads, subprocesses, Java, libraries in C. This machine's file system is not
   touched.
3. **Mapped functions** (`mapped_functions`). An update in a notebook or in a test runs in a process that
   has threads already, and other systems have no namespaces. While the user's code runs, and in threads
   that it starts, Python's own functions (`os`, `shutil`, `pathlib`, `glob`, `open`, `tempfile`,
   `sqlite3`, `zipfile` …) map paths. Subprocesses that `subprocess` starts see the folders by a namespace
   where that is permitted, else a warning names the path. Libraries in C that open files themselves
   (pyarrow, DuckDB, polars) and Python functions that Spark's workers run see nothing; where that makes
   the user's code fail, `explain` says so in the error.

A `/Volumes` of this machine that is another folder, not empty, stays what it is: then 3 applies.
"""

import importlib
import os
import re
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from contextvars import ContextVar
from functools import cached_property, wraps
from typing import Any

from cdc_local import mount_namespace
from cdc_local.storage import Storage

_system_stat, _system_open = os.stat, os.open  # as they were before any function was replaced
_Function = Callable[..., Any]
_Arguments = tuple[tuple[int, str], ...]  # position and name of each path that a function takes
_installed: list["_Mapping"] = []  # of the updates that run in this process
_PATHS = re.compile(r"(?:/Volumes|/dbfs)/[^\s'\",;]+")


def shown_folders(
    storage: Storage,  # Where volumes lie
) -> dict[str, str]:  # Path as Databricks has it, to the folder on this machine; outer paths first
    """The paths that the user's code finds on Databricks."""
    volumes, dbfs = str(storage.root / "Volumes"), str(storage.root / "dbfs")
    return {"/Volumes": volumes, "/dbfs": dbfs, "/dbfs/Volumes": volumes}


def missing_folders(
    storage: Storage,  # Where volumes lie
) -> dict[str, str]:  # As `shown_folders`, without those that this process sees at their path
    """What a program that starts now would not find."""
    return {path: folder for path, folder in shown_folders(storage).items() if not _is_same(path, folder)}


def _is_same(path: str, folder: str) -> bool:
    try:
        return os.path.samestat(_system_stat(path), _system_stat(folder))
    except OSError:
        return False


def _can_be_mounted(path: str) -> bool:
    """Whether nothing is at a path of this machine that a mount would hide."""
    if not os.path.lexists(path):
        return True
    return os.path.isdir(path) and not os.path.islink(path) and not os.listdir(path)


def _mountable_folders(storage: Storage, makes_folders: bool) -> dict[str, str]:
    """The folders that a mount namespace can show."""
    if sys.platform != "linux" or os.getcwd() == "/":  # `/` is read-only in a namespace
        return {}
    missing = missing_folders(storage)
    folders = {path: folder for path, folder in missing.items() if _can_be_mounted(path)}
    if "/dbfs" in missing.keys() - folders.keys():
        folders.pop("/dbfs/Volumes", None)
    if makes_folders:
        for folder in folders.values():
            os.makedirs(folder, exist_ok=True)
    return {path: folder for path, folder in folders.items() if os.path.isdir(folder)}


def mount(
    storage: Storage,  # Where volumes lie
    makes_folders: bool = True,  # Whether its folders are made; else one that is missing is not shown
) -> None:
    """Show `/Volumes` and `/dbfs` to this process, where that is permitted and it has one thread yet."""
    if not mount_namespace.is_single_threaded():
        return
    folders = _mountable_folders(storage, makes_folders)
    if not folders:
        return
    with suppress(OSError):  # not permitted: then functions are mapped
        mount_namespace.enter(folders)


def command_line(
    storage: Storage,  # Where volumes lie; its folders are made
    command: Sequence[str],  # Program and arguments
) -> tuple[str, ...]:  # A command that runs the same in a mount namespace, where that is permitted
    """The command that lets a program and all that it starts see `/Volumes` and `/dbfs`."""
    folders = _mountable_folders(storage, True)
    return (*_enter_command(folders), *command) if folders else tuple(command)


def _enter_command(folders: dict[str, str]) -> list[str]:
    """`mount_namespace` as a program; `-I -S`: it needs nothing that is installed, and starts in 20 ms."""
    pairs = [f"{path}={folder}" for path, folder in folders.items()]
    return [sys.executable, "-I", "-S", mount_namespace.__file__, *pairs, "--"]


@contextmanager
def mapped_functions(
    storage: Storage,  # Where volumes lie
    is_users_code: Callable[[], bool],  # Whether the calling thread runs the user's code now
) -> Iterator[None]:
    """Map paths in Python's functions while the user's code runs, unless this process sees the folders."""
    folders = missing_folders(storage)
    with ExitStack() as replaced:
        if folders:
            absent = [path for path in folders if not os.path.lexists(path)]
            replaced.callback(_warn_of_folders, absent, folders)
            mapping = _Mapping(storage, folders, is_users_code)
            _installed.append(mapping)
            replaced.callback(_installed.remove, mapping)
            for owner, name, new in _replacements(mapping):
                replaced.enter_context(_replaced(owner, name, new))
        yield


def _warn_of_folders(absent: Sequence[str], folders: Mapping[str, str]) -> None:
    """Say that a library in C, which may do so as root, has made a folder that was not there."""
    for path in absent:
        if os.path.lexists(path):
            text = (
                f"a library that opens files itself wrote to {path} of this machine, not to {folders[path]}"
            )
            warnings.warn(f"{text}: move what is there, and remove {path}", RuntimeWarning, stacklevel=2)
            return


def explain(
    error: BaseException,  # What the user's code raised
) -> str | None:  # A sentence for the error's hint; None where the error has another cause
    """Say why code that opens files itself did not find a path below `/Volumes` that the storage has."""
    # Python's own functions name the file, and would find its folder; Spark's errors may quote theirs
    is_pythons = getattr(error, "filename", None) is not None or type(error).__module__.startswith("py")
    for mapping in _installed:
        for path in _PATHS.findall(str(error)):
            mapped = mapping.map(path)
            if mapped != path and os.path.exists(mapped if is_pythons else os.path.dirname(mapped)):
                return (
                    f"{path} is {mapped}: in this process only Python's own functions map it; a library that "
                    "opens files itself finds it in `cdc run` on Linux, or where /Volumes is a link"
                )
    return None


def _map_text(
    folders: Mapping[str, str],  # As `missing_folders`
    text: str,  # A path
) -> str:  # The path on this machine; the same one where it is not below a folder that is shown
    """Map a path, its `..` resolved first: the kernel cannot, where it does not find what is before them."""
    if not text.startswith("/"):
        return text
    plain = "/" + os.path.normpath(text).lstrip("/")
    for shown in reversed(list(folders)):  # inner paths first
        if plain == shown or plain.startswith(shown + "/"):
            return folders[shown] + plain.removeprefix(shown) + ("/" if text.endswith("/") else "")
    return plain if text.startswith(tuple(f"{shown}/" for shown in folders)) else text


_OURS = object()  # marks a stretch of our own code that the user's code has called


class _Mapping:
    """Which paths are mapped, and when."""

    of_thread: ContextVar[object] = ContextVar("mapping_of_thread", default=None)

    def __init__(self, storage: Storage, folders: dict[str, str], is_users_code: Callable[[], bool]):
        self.folders, self.is_users_code = folders, is_users_code
        own = (str(storage.root), sys.prefix, sys.base_prefix, os.getcwd())
        self.real = tuple(f"{path}/" for path in own if _map_text(folders, path) != path)  # a disk of macOS
        self.has_moved = False  # whether the working folder is one that was mapped

    def is_active(self) -> bool:
        carried = self.of_thread.get()
        return carried is self or (carried is not _OURS and self.is_users_code())

    def map(self, path: Any) -> Any:
        """A path as this machine has it; anything else, such as a file descriptor, as it is."""
        if not isinstance(path, str | bytes | os.PathLike):
            return path
        given = os.fspath(path)
        text = os.fsdecode(given)
        mapped = text if f"{text}/".startswith(self.real) else _map_text(self.folders, text)
        if mapped == text:
            return path
        return os.fsencode(mapped) if isinstance(given, bytes) else mapped

    def show(self, path: str) -> str:
        """A path as the user's code has it."""
        for shown, folder in self.folders.items():
            real = os.path.realpath(folder)
            if path == real or path.startswith(real + "/"):
                return shown + path.removeprefix(real)
        return path

    def carried(self, function: _Function) -> _Function:
        """A function that counts as the user's code, in whatever thread it runs."""

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            token = self.of_thread.set(self)
            try:
                return function(*args, **kwargs)
            finally:
                self.of_thread.reset(token)

        return call

    @cached_property
    def namespace_refusal(self) -> str:
        """Why a process that starts now cannot enter a mount namespace; empty where it can."""
        token = self.of_thread.set(_OURS)
        try:
            return _try_namespace(self.folders)
        finally:
            self.of_thread.reset(token)


def _try_namespace(folders: dict[str, str]) -> str:
    """Start a process that enters; the reason where it cannot, else nothing."""
    taken = [path for path in folders if not _can_be_mounted(path)]
    if taken:
        return f"{taken[0]} is another folder on this machine"
    if sys.platform != "linux":
        return f"{sys.platform} has no mount namespaces"
    for folder in folders.values():
        os.makedirs(folder, exist_ok=True)
    tried = subprocess.run(_enter_command(folders), capture_output=True, text=True)
    return f"mount namespaces: {tried.stderr.strip()}" if tried.returncode else ""


# Functions of Python that take paths: module, names, and each path's position and name
_PATH: _Arguments = ((0, "path"),)
_TWO_PATHS: _Arguments = ((0, "src"), (1, "dst"))
_MAPPED = (
    ("os", "access chdir chflags chmod chown chroot execv execve getxattr lchflags lchmod lchown", _PATH),
    ("os", "listdir listxattr lstat mkdir mkfifo mknod open pathconf readlink remove removexattr", _PATH),
    ("os", "rmdir scandir setxattr stat", _PATH),
    ("os", "statvfs truncate unlink utime", _PATH),
    ("os", "link rename replace symlink", _TWO_PATHS),
    ("io", "open_code", _PATH),
    ("sqlite3", "connect", ((0, "database"),)),
    ("sqlite3.dbapi2", "connect", ((0, "database"),)),
    ("tempfile", "_sanitize_params", ((2, "dir"),)),  # it keeps `os.unlink`, which is given what this returns
)
_OPENS = (  # three modules keep `open` under a name of their own
    ("builtins", "open"),
    ("io", "open"),
    ("bz2", "_builtin_open"),
    ("tarfile", "bltn_open"),
    ("tokenize", "_builtin_open"),
)
_SUPPORTS = (os.supports_dir_fd, os.supports_effective_ids, os.supports_fd, os.supports_follow_symlinks)


def _replacements(mapping: _Mapping) -> Iterator[tuple[Any, str, _Function]]:
    """Owner, name and replacement of each function that is replaced."""
    special = {"scandir": _scandir, "chdir": _chdir}
    for module, names, arguments in _MAPPED:
        for name in names.split():
            owner = _module(module)
            if hasattr(owner, name):
                wrap = special.get(name, _with_mapped_paths)
                yield owner, name, wrap(mapping, getattr(owner, name), arguments)
    for module, name in _OPENS:
        owner = _module(module)
        if hasattr(owner, name):
            yield owner, name, _open(mapping, getattr(owner, name))
    for name in ("getcwd", "getcwdb"):
        yield os, name, _getcwd(mapping, getattr(os, name))
    yield os, "system", _system(mapping, os.system)
    yield subprocess.Popen, "__init__", _start_process(mapping, subprocess.Popen.__init__)
    yield threading.Thread, "start", _start_thread(mapping, threading.Thread.start)
    yield ThreadPoolExecutor, "submit", _submit(mapping, ThreadPoolExecutor.submit)


def _module(name: str) -> Any:
    """A module; None where this Python was built without it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


@contextmanager
def _replaced(owner: Any, name: str, new: _Function) -> Iterator[None]:
    """Put a function in another's place; also where Python notes what a function of `os` supports."""
    original = getattr(owner, name)
    notes = [note for note in _SUPPORTS if original in note]
    setattr(owner, name, new)
    for note in notes:
        note.add(new)
    try:
        yield
    finally:
        setattr(owner, name, original)
        for note in notes:
            note.discard(new)


def _unbound(function: _Function) -> _Function:
    """A function of which a class that keeps it makes no method, as of Python's own."""
    return staticmethod(function)


def _with_mapped_paths(mapping: _Mapping, original: _Function, arguments: _Arguments) -> _Function:
    """A function whose arguments are mapped, and whose errors name the path that was given."""

    @_unbound
    @wraps(original)
    def function(*args: Any, **kwargs: Any) -> Any:
        if not mapping.is_active():
            return original(*args, **kwargs)
        values, given = list(args), {}
        for position, name in arguments:
            holder: Any = values if position < len(values) else kwargs
            key = position if holder is values else name
            if holder is values or name in kwargs:
                path, mapped = holder[key], mapping.map(holder[key])
                if mapped is not path:
                    holder[key], given[mapped] = mapped, os.fspath(path)
        with _errors_naming(given):
            return original(*values, **kwargs)

    return function


@contextmanager
def _errors_naming(given: Mapping[Any, Any]) -> Iterator[None]:
    """Let errors name paths as they were given: `given` has them by the path on this machine."""
    try:
        yield
    except OSError as error:
        if error.filename in given:
            error.filename = given[error.filename]
        if error.filename2 in given:
            error.filename2 = given[error.filename2]
        raise


def _open(mapping: _Mapping, original: _Function) -> _Function:
    """`open`: the file keeps the name that it was given."""

    @_unbound
    @wraps(original)
    def function(file: Any, *args: Any, **kwargs: Any) -> Any:
        mapped = mapping.map(file) if mapping.is_active() else file
        if mapped is file or len(args) > 6 or kwargs.get("opener"):  # such an opener maps by itself
            return original(file, *args, **kwargs)
        with _errors_naming({mapped: os.fspath(file)}):
            kwargs["opener"] = lambda path, flags: _system_open(mapped, flags, 0o666)
            return original(file, *args, **kwargs)

    return function


def _scandir(mapping: _Mapping, original: _Function, arguments: _Arguments) -> _Function:
    """`os.scandir`: entries whose paths begin as the folder was given."""
    scan = _with_mapped_paths(mapping, original, arguments)

    @_unbound
    @wraps(original)
    def function(path: Any = None) -> Any:
        mapped = mapping.map(path) if mapping.is_active() else path
        return scan(path) if mapped is path else _Entries(scan(path), os.fspath(path))

    return function


class _Entries:
    """What `os.scandir` returns, for a folder that was mapped."""

    def __init__(self, entries: Any, folder: str | bytes):
        self._entries, self._folder = entries, folder

    def __iter__(self) -> "_Entries":
        return self

    def __next__(self) -> "_Entry":
        return _Entry(next(self._entries), self._folder)

    def __enter__(self) -> "_Entries":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._entries.close()


class _Entry:
    """An `os.DirEntry` whose path begins as its folder was given."""

    def __init__(self, entry: os.DirEntry[Any], folder: str | bytes):
        self._entry, self.path = entry, os.path.join(folder, entry.name)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __fspath__(self) -> str | bytes:
        return self.path

    def __repr__(self) -> str:
        return repr(self._entry)


def _chdir(mapping: _Mapping, original: _Function, arguments: _Arguments) -> _Function:
    """`os.chdir`: from now on, `os.getcwd` names a mapped folder as the user's code does."""
    change = _with_mapped_paths(mapping, original, arguments)

    @_unbound
    @wraps(original)
    def function(path: Any) -> None:
        change(path)
        mapping.has_moved |= mapping.is_active() and mapping.map(path) is not path

    return function


def _getcwd(mapping: _Mapping, original: _Function) -> _Function:
    @_unbound
    @wraps(original)
    def function() -> str | bytes:
        folder: str | bytes = original()
        if not mapping.has_moved or not mapping.is_active():
            return folder
        shown = mapping.show(os.fsdecode(folder))
        return os.fsencode(shown) if isinstance(folder, bytes) else shown

    return function


def _start_process(mapping: _Mapping, original: _Function) -> _Function:
    """`subprocess.Popen`: the process enters a namespace, or a warning names the path that it cannot see."""

    @wraps(original)
    def __init__(self: subprocess.Popen[Any], args: Any, *rest: Any, **options: Any) -> None:
        if not mapping.is_active():
            original(self, args, *rest, **options)
            return
        if options.get("cwd") is not None:
            options["cwd"] = mapping.map(options["cwd"])
        refusal = mapping.namespace_refusal
        if refusal:
            _warn_of_paths(args, mapping, refusal)
        elif len(rest) < 6:
            options["preexec_fn"] = _entering(mapping.folders, options.get("preexec_fn"))
        original(self, args, *rest, **options)

    return __init__


def _entering(folders: dict[str, str], then: _Function | None) -> _Function:
    """What a child does between its fork and its program."""

    def enter() -> None:
        _Mapping.of_thread.set(_OURS)
        mount_namespace.enter_at_once(folders)
        if then is not None:
            then()

    return enter


def _warn_of_paths(args: Any, mapping: _Mapping, refusal: str) -> None:
    words = [args] if isinstance(args, str | bytes | os.PathLike) else list(args)
    named = [os.fsdecode(word) for word in words if isinstance(word, str | bytes | os.PathLike)]
    found = [path for word in named for path in _PATHS.findall(word)]
    if found:
        warnings.warn(
            f"the program {named[0]} does not see {found[0]}: {refusal}", RuntimeWarning, stacklevel=4
        )


def _system(mapping: _Mapping, original: _Function) -> _Function:
    """`os.system`, by `subprocess`."""

    @_unbound
    @wraps(original)
    def function(command: str) -> int:
        if not mapping.is_active():
            status: int = original(command)
            return status
        status = subprocess.run(command, shell=True).returncode
        return -status if status < 0 else status << 8

    return function


def _start_thread(mapping: _Mapping, original: _Function) -> _Function:
    """`Thread.start`: a thread that the user's code starts runs the user's code."""

    @wraps(original)
    def start(self: threading.Thread) -> None:
        if mapping.is_active():
            self.run = mapping.carried(self.run)  # type: ignore[method-assign]
        original(self)

    return start


def _submit(mapping: _Mapping, original: _Function) -> _Function:
    """`ThreadPoolExecutor.submit`: so does what it hands to threads, whoever started these."""

    @wraps(original)
    def submit(self: ThreadPoolExecutor, function: _Function, /, *args: Any, **kwargs: Any) -> Any:
        return original(self, mapping.carried(function) if mapping.is_active() else function, *args, **kwargs)

    return submit
