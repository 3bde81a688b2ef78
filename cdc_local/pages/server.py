"""A port of this machine: an application that answers there until a block ends."""

import secrets
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn
from starlette.types import ASGIApp

from cdc_local.errors import UsageError
from cdc_local.pages.app import create_app
from cdc_local.storage import Storage

ADDRESS = "127.0.0.1"  # Other machines cannot reach it


@dataclass(frozen=True)
class RunningPages:
    "Pages that are served."

    host: str  # Their address
    token: str  # What opens them

    @property
    def address(self) -> str:
        "What to open in a browser."
        return f"{self.host}/?token={self.token}"


@contextmanager
def serve_pages(
    storage: Storage,  # What to show
    port: int = 0,  # Where to listen; 0 takes a free port
) -> Iterator[RunningPages]:
    "Serve pages over a storage until the block ends; `UsageError` for a port that is taken."
    with listen(port) as listening:
        token, stopping = secrets.token_urlsafe(24), threading.Event()
        with serve_app(create_app(storage, token, stopping), listening, stopping):
            yield RunningPages(f"http://{ADDRESS}:{listening.getsockname()[1]}", token)


@contextmanager
def serve_app(
    app: ASGIApp,  # What answers
    listening: socket.socket,  # Where: what `listen` returned
    stopping: threading.Event | None = None,  # Is set when the block ends, before open answers are waited for
) -> Iterator[None]:
    "Answer calls in a thread until the block ends; the application logs them, uvicorn keeps quiet."
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(
        target=server.run, kwargs={"sockets": [listening]}, name="local-server", daemon=True
    )
    thread.start()
    try:
        yield
    finally:
        if stopping is not None:
            stopping.set()
        server.should_exit = True
        thread.join()


def listen(
    port: int,  # 0 takes one that is free
) -> socket.socket:
    "Take a port of this machine; `UsageError` if another program has it."
    # Named as TCP, since asyncio sets TCP_NODELAY only then: without it each answer waits 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((ADDRESS, port))
        listening.listen(128)
    except OSError as error:
        listening.close()
        raise UsageError(
            f"port {port} of {ADDRESS} cannot be taken: {error.strerror}", hint="--port 0 takes a free one"
        ) from None
    return listening
