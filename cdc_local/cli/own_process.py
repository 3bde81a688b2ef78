"""What a command may do when this process runs it alone: show the volumes as folders."""

from contextlib import suppress
from contextvars import ContextVar
from pathlib import Path

from cdc_local.errors import UsageError

# Whether the process runs one command, which may then decide what it sees; not in a test or a notebook
is_own_process: ContextVar[bool] = ContextVar("is_own_process", default=False)


def mount_volumes(
    storage: Path,  # Storage folder, as typed
    sources: list[str] | None = None,  # Paths of source files, as typed; only where they are there
    makes_folders: bool = True,  # Whether the folders of volumes are made
) -> None:
    """Show `/Volumes` to this process, where it runs one command and that is permitted.
    Call it before anything starts a thread."""
    if not is_own_process.get():
        return
    from cdc_local.source.files import discover_sources
    from cdc_local.storage import Storage, check_writable
    from cdc_local.volumes import mount

    with suppress(UsageError):  # the command itself refuses the same, before anything is written
        if sources is not None:
            discover_sources(sources)
        opened = Storage(storage).check()
        if makes_folders:
            check_writable(opened.root)
        mount(opened, makes_folders)
