"""A server on this machine that the `databricks` command and the Python SDK take for a workspace."""

import os
import secrets
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from filelock import FileLock, Timeout

from cdc_local.errors import UsageError
from cdc_local.pages.server import ADDRESS, listen, serve_app
from cdc_local.storage import Storage
from cdc_local.workspace.app import create_app
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.local_workspace import Workspace

_SHORTEST_TOKEN = 16  # Characters


@dataclass(frozen=True)
class RunningWorkspace:
    "A workspace that answers calls."

    host: str  # Its address, as DATABRICKS_HOST has it
    token: str  # What each call must have
    shell_token: str  # How a shell gets the token, without showing it
    workspace: Workspace  # What stands behind the calls


@contextmanager
def serve_workspace(
    storage: Storage,  # The folder that stands for the workspace
    user: str,  # Name of the user
    choose_token: Callable[[], tuple[str, str]],  # Called once the storage is ours: as `start_token` answers
    port: int = 0,  # Where to listen; 0 takes a free port
    execution: Execution | None = None,  # What carries out runs; processes of this machine by default
    **options: Any,  # `upload_limit`, `refuse_job_environments` of `Workspace`
) -> Iterator[RunningWorkspace]:
    """Answer calls in a thread until the block ends; what runs then is stopped, and the notes stay.

    Raises `UsageError` for a port that is taken, and a storage that another server has.
    """
    with _claim_workspace(storage), listen(port) as listening:
        token, shell_token = choose_token()
        host = f"http://{ADDRESS}:{listening.getsockname()[1]}"
        workspace = Workspace(storage, user, execution, host, **options)
        with serve_app(create_app(workspace, token), listening):
            try:
                yield RunningWorkspace(host, token, shell_token, workspace)
            finally:
                workspace.close()


@contextmanager
def _claim_workspace(
    storage: Storage,  # The folder to keep to one server
) -> Iterator[None]:
    "Keep the workspace of a storage; `UsageError` if another server has it."
    root = storage.create().root / "workspace"
    root.mkdir(exist_ok=True)
    lock = FileLock(root / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UsageError(
            f"a workspace is running on storage {storage.root}",
            hint="stop it, or give --storage another folder",
        ) from None
    try:
        yield
    finally:
        lock.release()


def start_token(
    storage: Storage,  # Whose workspace
    given: str | None = None,  # A token of the user's own; one is made by default
) -> tuple[str, str]:  # The token, and how a shell gets it
    """Choose the token of a server; one that is made is written where only this user can read it.

    Raises `UsageError` for a token that can be guessed.
    """
    if given is not None:
        if len(given) < _SHORTEST_TOKEN or not given.isascii() or not given.isprintable() or " " in given:
            raise UsageError(
                "CDC_WORKSPACE_TOKEN is no token",
                hint=f"give at least {_SHORTEST_TOKEN} characters, ASCII and no spaces, or leave it out",
            )
        return given, '"$CDC_WORKSPACE_TOKEN"'
    token = secrets.token_urlsafe(32)
    path = storage.root / "workspace" / "token"
    path.unlink(missing_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(token + "\n")
    return token, f'"$(cat {shlex.quote(str(path))})"'
