"""A mount namespace shows folders at paths that this machine does not have: `/Volumes` is the storage's
folder there.

Only the process that enters it sees them, and everything that this process starts afterwards: threads,
Java, Python's workers, any program in any language. The file system of this machine is not written to,
and other processes see nothing. Linux permits it to root, and in most places to everybody, in a user
namespace that belongs to the process.

The process gets a root folder of its own, in memory and read-only: each entry of `/` is mounted there
under its name, and the shown folders beside them. A process must enter while it has one thread, which is
why `cdc run` does so first, and why this file is a program too: `python -I -S mount_namespace.py
/Volumes=FOLDER … -- COMMAND …` enters and becomes the command; where entering is not permitted, it
becomes the command all the same. Without a command, its exit status says whether entering is permitted.
It imports nothing but Python.
"""

import ctypes
import os
import sys
from collections.abc import Mapping

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, and so on: the kernel's numbers
_NEW_USERS = 0x10000000
_READ_ONLY, _REMOUNT, _BIND, _RECURSIVE, _PRIVATE_OUTWARDS = 1, 32, 4096, 16384, 1 << 19
_DETACH = 2
_CAPABILITIES_VERSION = 0x20080522
_LIBRARY = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_OLD_ROOT = "/.cdc-old-root"


def is_single_threaded() -> bool:  # Always False where the system is not Linux
    """Whether this process has one thread, and may enter a mount namespace."""
    return sys.platform == "linux" and len(os.listdir("/proc/self/task")) == 1


def enter(
    folders: Mapping[str, str],  # A path, as `/Volumes`, to the folder shown there; outer paths first
) -> None:
    """Show folders to this process and to all that it starts; raises `OSError` where that is not permitted.

    What happens is tried in a child first, so that a process that may not enter stays as it was.
    """
    if not is_single_threaded():
        raise PermissionError("a process with several threads cannot enter a mount namespace")
    number = _try_in_child(folders)
    if number:
        raise OSError(number, os.strerror(number))
    enter_at_once(folders)


def _try_in_child(folders: Mapping[str, str]) -> int:  # Number of the error, 0 where it succeeds
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    number = 1
    try:
        enter_at_once(folders)
        number = 0
    except OSError as error:
        number = error.errno or 1
    finally:
        os._exit(number)  # without what the parent does as it ends


def enter_at_once(
    folders: Mapping[str, str],  # As for `enter`
) -> None:
    """Do what `enter` does without trying it first: for a child that was just forked; raises `OSError`."""
    shown = {path: os.path.realpath(folder) for path, folder in folders.items()}
    working_folder = os.getcwd()
    is_root = os.geteuid() == 0
    _unshare(is_root)
    _mount(None, "/", None, _RECURSIVE | _PRIVATE_OUTWARDS)
    place = next(iter(shown.values()))  # any folder will do: the new root leaves it as it becomes the root
    _mount("tmpfs", place, "tmpfs", 0, "mode=755")
    os.mkdir(place + _OLD_ROOT)
    _call("pivot_root", place.encode(), (place + _OLD_ROOT).encode())
    os.chdir("/")
    for entry in os.scandir(_OLD_ROOT):
        if f"/{entry.name}" not in shown:
            _show_entry(entry)
    for path, folder in shown.items():
        os.makedirs(path, exist_ok=True)
        _mount(_OLD_ROOT + folder, path, None, _BIND | _RECURSIVE)
    _call("umount2", _OLD_ROOT.encode(), _DETACH)
    os.rmdir(_OLD_ROOT)
    _mount(None, "/", None, _REMOUNT | _BIND | _READ_ONLY)
    os.chdir(working_folder)
    if not is_root:
        _drop_capabilities()


def _unshare(is_root: bool) -> None:
    """Leave the machine's mounts; a user other than root becomes itself in a user namespace of its own."""
    if is_root:  # in a user namespace, root would lose its rights over the files of others
        return _call("unshare", _NEW_MOUNTS)
    user, group = os.geteuid(), os.getegid()
    _call("unshare", _NEW_MOUNTS | _NEW_USERS)
    _write("/proc/self/setgroups", "deny")
    _write("/proc/self/uid_map", f"{user} {user} 1")
    _write("/proc/self/gid_map", f"{group} {group} 1")


def _show_entry(entry: os.DirEntry[str]) -> None:
    """Mount an entry of the old root under its name."""
    path = f"/{entry.name}"
    if entry.is_symlink():
        return os.symlink(os.readlink(entry.path), path)
    if entry.is_dir(follow_symlinks=False):
        os.mkdir(path)
    else:
        _write(path, "")
    _mount(entry.path, path, None, _BIND | _RECURSIVE)


def _drop_capabilities() -> None:
    """Give up what a user namespace gave: with it, a user would pass the permissions of its own files."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITIES_VERSION, 0)
    _call("capset", header, (ctypes.c_uint32 * 6)())


def _mount(source: str | None, target: str, kind: str | None, flags: int, data: str | None = None) -> None:
    texts = [text if text is None else os.fsencode(text) for text in (source, target, kind, data)]
    _call("mount", *texts[:3], ctypes.c_ulong(flags), texts[3])


def _call(name: str, *arguments: object) -> None:
    """Call a function of the C library; raises `OSError`."""
    if getattr(_LIBRARY, name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def main() -> None:
    """Enter where that is permitted, then become the command."""
    split = sys.argv.index("--")
    command = sys.argv[split + 1 :]
    try:
        enter(dict(pair.split("=", 1) for pair in sys.argv[1:split]))
    except OSError as error:
        if not command:
            sys.exit(error.strerror)
    if command:
        os.execvp(command[0], command)


if __name__ == "__main__":
    main()
