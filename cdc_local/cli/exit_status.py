"""What a command raises, as a message and an exit status."""

import functools
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from datetime import UTC, datetime, timezone
from pathlib import Path

import typer

from cdc_local.errors import PipelineError
from cdc_utils import __version__


def is_users_mistake(
    error: Exception,  # What was raised
) -> bool:  # Whether its text is written for the user
    "Our own errors about wrong input, and plain `ValueError`s."
    return (
        isinstance(error, PipelineError)
        or type(error) is ValueError
        or (isinstance(error, ValueError) and type(error).__module__.startswith(("cdc_utils.", "cdc_local.")))
    )


def keep_traceback(
    storage: Path | None,  # Storage folder of the command, if it has one
) -> Path:  # The file
    "Write the traceback of the error being handled beside the tables, or else into a temporary folder."
    name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}.txt"
    folder = (
        Path(storage) / "tracebacks"
        if storage and Path(storage).is_dir()
        else Path(tempfile.mkdtemp(prefix="cdc-"))
    )
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        folder = Path(tempfile.mkdtemp(prefix="cdc-"))
    (folder / name).write_text(
        f"cdc_utils {__version__}, Python {sys.version}\n{' '.join(sys.argv)}\n\n{traceback.format_exc()}"
    )
    return folder / name


INTERRUPTED = "interrupted: what was committed stays, and the next run goes on from there"


def came_of_interrupt(
    error: BaseException,  # What was raised
) -> bool:  # Whether it is Ctrl-C, or what failed while it was dealt with
    "Ctrl-C breaks connections, and tidying up may fail on those: that is nobody's fault."
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None


@contextmanager
def exit_status(
    storage: Path = None,  # Where a traceback may go
    debug: bool = False,  # Show the traceback
):
    "Turn what a command raises into a message on stderr and an exit status."
    try:
        yield
    except BrokenPipeError:
        raise  # the reader of the pipe left: `cdc show … | head`
    except (KeyboardInterrupt, Exception) as error:
        if isinstance(error, typer.Exit) or type(error).__module__.split(".")[0] in ("click", "typer"):
            raise
        if came_of_interrupt(error):
            typer.echo(INTERRUPTED, err=True)
            raise typer.Exit(130) from None
        if debug:
            typer.echo(traceback.format_exc(), err=True)
        if is_users_mistake(error):
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(getattr(error, "exit_code", 2)) from None
        if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith(
            ("cdc_utils", "cdc_local")
        ):
            typer.echo(
                f"error: this command needs the package {error.name}, which is not installed; pip install 'cdc-utils[local]'",
                err=True,
            )
            raise typer.Exit(2) from None
        where = "" if debug else f"; the traceback is in {keep_traceback(storage)}, --debug shows it"
        typer.echo(
            f"error: this is a fault of cdc_utils, not of your pipeline ({type(error).__name__}: {error}){where}",
            err=True,
        )
        raise typer.Exit(1) from None


def guarded(
    command: Callable,  # A command
) -> Callable:  # The same, under `exit_status`
    "Give a command its exit status."

    @functools.wraps(command)
    def run(*args, **kwargs):
        with exit_status(kwargs.get("storage"), kwargs.get("debug", False)):
            return command(*args, **kwargs)

    return run


def finish(
    result,  # `UpdateResult`
    console,  # Where to print
    style: str,  # Style of `UpdateProgress`
) -> None:
    "Print the result of an update; raises `typer.Exit` with 1 for one that failed, with 130 for one that was stopped."
    from cdc_local.reports.update import expectations_table, result_table

    if style == "auto":
        if result.flows:
            console.print(result_table(result.flows))
        counts = [count for flow in result.flows for count in flow.expectations]
        if counts:
            console.print(expectations_table(counts))
        typer.echo(f"Update {result.update_id} is {result.state}.")
    if result.state == "COMPLETED":
        return
    if result.state == "CANCELED":
        typer.echo(INTERRUPTED, err=True)
        raise typer.Exit(130)
    told = (
        result.error
        or "; ".join(str(flow.error) for flow in result.flows if flow.error)
        or f"update {result.update_id} is {result.state}"
    )
    typer.echo(f"error: {told}", err=True)
    raise typer.Exit(1)


@contextmanager
def interruptible():
    "An event that Ctrl-C or a polite end of this process sets; a second Ctrl-C interrupts the command itself."
    stop, kinds = threading.Event(), (signal.SIGINT, signal.SIGTERM)

    def interrupt(number, frame):
        if stop.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        stop.set()

    before = (
        {kind: signal.signal(kind, interrupt) for kind in kinds}
        if threading.current_thread() is threading.main_thread()
        else {}
    )
    try:
        yield stop
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
