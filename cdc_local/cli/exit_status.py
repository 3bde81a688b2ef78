"""What a command raises, as a message and an exit status: 0 done, 1 the update failed, 2 wrong use, 130
interrupted."""

import functools
import os
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import typer

from cdc_local.cli.options import use_engine_options
from cdc_local.errors import PipelineError, install_hint, is_users_mistake
from cdc_local.source.excerpts import describe_place
from cdc_local.storage import full_disk_error, is_full_disk
from cdc_utils import __version__

if TYPE_CHECKING:
    from rich.console import Console

    from cdc_utils.results import UpdateResult

INTERRUPTED = "interrupted: what was committed stays, and the next run goes on from there"

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")


def guarded(
    command: Callable[Parameters, Returned],  # A command
) -> Callable[Parameters, Returned]:  # The same, under `exit_status`
    "Give a command its exit status, and updates the engine and the memory that its options say."

    @functools.wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
        storage, debug = kwargs.get("storage"), bool(kwargs.get("debug"))
        engine, memory = kwargs.get("engine"), kwargs.get("memory")
        with (
            exit_status(storage if isinstance(storage, Path) else None, debug),
            use_engine_options(
                engine if isinstance(engine, str) else None, memory if isinstance(memory, str) else None
            ),
        ):
            return command(*args, **kwargs)

    run.__doc__ = " ".join(
        (command.__doc__ or "").split()
    )  # a docstring of two lines is one paragraph of help
    return run


@contextmanager
def exit_status(
    storage: Path | None = None,  # Where a traceback may go
    debug: bool = False,  # Show the traceback
) -> Iterator[None]:
    "Turn what a command raises into a message on stderr and an exit status."
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the pipe left: `cdc show … | head`
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, typer.Exit) or type(error).__module__.split(".")[0] in ("click", "typer"):
            raise
        if _came_of_interrupt(error):
            typer.echo(INTERRUPTED, err=True)
            raise typer.Exit(130) from None
        if debug:
            typer.echo(traceback.format_exc(), err=True)
        if is_users_mistake(error):
            place = describe_place(error) if isinstance(error, PipelineError) else ""
            typer.echo(f"error: {error}" + (f"\n{place}" if place else ""), err=True)
            raise typer.Exit(getattr(error, "exit_code", 2)) from None
        package = str(error.name) if isinstance(error, ModuleNotFoundError) else ""
        if package and not package.startswith(("cdc_utils", "cdc_local")):
            typer.echo(
                f"error: this command needs the package {package}, which is not installed; {install_hint()}",
                err=True,
            )
            raise typer.Exit(2) from None
        if is_full_disk(error):
            typer.echo(f"error: {full_disk_error(storage or _find_folder(error))}", err=True)
            raise typer.Exit(1) from None
        where = "" if debug else f"; the traceback is in {_keep_traceback(storage)}, --debug shows it"
        typer.echo(
            "error: this is a fault of cdc_utils, not of your pipeline "
            f"({type(error).__name__}: {error}){where}",
            err=True,
        )
        raise typer.Exit(1) from None


def _find_folder(
    error: BaseException,  # Raised by a write
) -> Path:  # The folder of the file that it names; else the working directory
    "Find where a write failed."
    name = getattr(error, "filename", None)
    return Path(os.fsdecode(name)).parent if name else Path.cwd()


def _came_of_interrupt(
    error: BaseException,  # What was raised
) -> bool:  # Whether it is Ctrl-C, or what failed while it was dealt with
    "Look for Ctrl-C: it breaks connections, and tidying up may fail on those, which is nobody's fault."
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, KeyboardInterrupt):
        cause = cause.__context__
    return cause is not None


def _keep_traceback(
    storage: Path | None,  # Storage folder of the command, if it has one
) -> Path:  # The file
    "Write the traceback of the error being handled beside the tables, or else into a temporary folder."
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    folder = storage / "tracebacks" if storage and storage.is_dir() else Path(tempfile.mkdtemp(prefix="cdc-"))
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="cdc-"))
    (folder / name).write_text(
        f"cdc_utils {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    )
    return folder / name


def finish(
    result: "UpdateResult",  # What the update did
    console: "Console",  # Where to print
    style: str,  # Style of `UpdateProgress`
    seconds: float | None = None,  # How long the update took, where that is known
) -> None:
    """Print the result of an update; raises `typer.Exit` with 1 for one that failed, with 130 for one that
    was stopped."""
    from cdc_local.reports.update import expectations_table, result_table, summarize_result

    if style == "auto":
        if result.flows:
            console.print(result_table(result.flows))
        counts = [count for flow in result.flows for count in flow.expectations]
        if counts:
            console.print(expectations_table(counts))
        typer.echo(summarize_result(result, seconds))
    if result.state == "COMPLETED":
        return
    if result.state == "CANCELED":
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(130)
    failed = [flow.error for flow in result.flows if flow.status != "SKIPPED"]
    errors = [error for error in (result.error, *failed) if error]
    first, *more = dict.fromkeys(errors or [f"update {result.update_id} is {result.state}"])
    typer.echo("\n".join([f"error: {first}", *(f"also: {error}" for error in more)]), err=True)
    raise typer.Exit(1)


def end_at_once_on_interrupt() -> None:
    """Let Ctrl-C end this process where it stands, once its command has ended: what is left is tidying up,
    and Java does its own as soon as nobody listens to it any more. An interrupted command waits for no thread
    that it left at work."""

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(130)

    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it left
            stream.flush()
    ending = sys.exc_info()[1]
    left = [thread for thread in threading.enumerate() if not thread.daemon] != [threading.main_thread()]
    if left and isinstance(ending, SystemExit) and ending.code == 130:
        os._exit(130)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:  # a shell's background process ignores it
        signal.signal(signal.SIGINT, end)


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    "Make an event that Ctrl-C or SIGTERM sets; a second Ctrl-C interrupts the command itself."
    stop, signals = threading.Event(), (signal.SIGINT, signal.SIGTERM)

    def interrupt(number: int, frame: FrameType | None) -> None:
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    in_main_thread = threading.current_thread() is threading.main_thread()
    before = {number: signal.signal(number, interrupt) for number in signals} if in_main_thread else {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
