"""A child process: started, given its input, read, and ended with all that it started."""

import contextlib
import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from cdc_local.errors import PipelineError
from cdc_local.jobs.deadline import StopSignal

OnLine = Callable[[str], object]  # Called with a line, without its end

PYTHON = (sys.executable, "-P")  # -P: what lies in the working directory does not shadow what is installed

GRACE_SECONDS = 15.0  # How long a process may take to end by itself once it is stopped

KEPT_LINES = 1_000  # Lines of a process's output that are kept: the newest

_NOTE = ".pid"  # How the note of a program that runs is called

_SHOWN_LINES = 20  # Lines of output that an error message shows


@dataclass(frozen=True)
class Program:
    "A child process that does a task."

    command: tuple[str, ...]  # Program and arguments
    environ: dict[str, str] = field(default_factory=dict)  # Added to this process's variables
    folder: Path | None = None  # Working directory; this process's by default
    stdin: str = ""  # What it reads


class ProgramStoppedError(PipelineError):
    "A program that was stopped; `status` is its exit status, negative where a signal ended it."

    def __init__(self, status: int) -> None:
        super().__init__("it was stopped")
        self.status = status


def run_program(
    program: Program,  # What to run
    stop: StopSignal | None = None,  # When it is set, the process and all that it started end
    on_line: OnLine | None = None,  # Called with each line of its standard output
    on_error_line: OnLine | None = None,  # Called with each line of its standard error
    notes: Path | None = None,  # Folder for a note of it while it runs, for `end_lost_programs`
) -> str:  # Its output, the newest `KEPT_LINES` lines
    """Run a program; raises `PipelineError`, with what it printed last, where it fails, and
    `ProgramStoppedError`."""
    with _hold_note(notes) as note:
        return _run_noted(program, note, stop, on_line, on_error_line)


@contextlib.contextmanager
def _hold_note(
    folder: Path | None,  # Where notes lie; None for no note
) -> Iterator[IO[str] | None]:  # Locked: the program inherits the lock, and has it as long as it lives
    "Make the note of a program, and take it away at the end."
    if folder is None:
        yield None
        return
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=folder, suffix=_NOTE) as note:
        fcntl.flock(note, fcntl.LOCK_EX)
        yield note.file


def end_lost_programs(
    folder: Path,  # Where a process that was killed left its notes
) -> int:  # How many programs went on
    "End the programs that a killed process left running, with all that they started."
    lost = 0
    for path in folder.glob(f"*{_NOTE}"):
        with path.open() as note:
            group = note.read()
            if not _is_free(note) and group.isdigit():
                lost += 1
                _end_lost_group(int(group), note)
        path.unlink()
    return lost


def _is_free(
    note: IO[str],  # Of a program
) -> bool:
    "Whether nobody holds a note: its program has ended."
    try:
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _end_lost_group(
    group: int,  # A process group
    note: IO[str],  # Free when its leader has ended
) -> None:
    "Ask a process group to end; kill what is left after `GRACE_SECONDS`."
    latest = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        while time.monotonic() < latest and not _is_free(note):
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)


def _run_noted(
    program: Program,  # What to run
    note: IO[str] | None,  # Of the program
    stop: StopSignal | None,  # Ends it
    on_line: OnLine | None,  # Called with each line of its standard output
    on_error_line: OnLine | None,  # Called with each line of its standard error
) -> str:  # Its output
    "Run a program; raises what `run_program` raises."
    process = _start_process(program, note)
    output: deque[str] = deque(maxlen=KEPT_LINES)
    errors: deque[str] = deque(maxlen=KEPT_LINES)
    readers = [
        threading.Thread(target=_read_lines, args=(process.stdout, output, on_line)),
        threading.Thread(target=_read_lines, args=(process.stderr, errors, on_error_line)),
    ]
    for reader in readers:
        reader.start()
    try:
        _write_stdin(process, program.stdin)
        was_stopped = not _wait_for_end(process, stop)
    finally:
        end_process_group(process)  # also what a process that ended left running
        for reader in readers:
            reader.join()
    if was_stopped:
        raise ProgramStoppedError(process.returncode)
    if process.returncode:
        raise PipelineError(describe_failed_process(process.returncode, output, errors))
    return "\n".join(output)


def _start_process(
    program: Program,  # What to run
    note: IO[str] | None,  # Gets the number of its process group
) -> subprocess.Popen[str]:  # Leader of a process group of its own
    "Start a program."
    process = subprocess.Popen(
        program.command,
        env={**os.environ, **program.environ, "PYTHONUNBUFFERED": "1"},
        cwd=program.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        pass_fds=() if note is None else (note.fileno(),),
    )
    if note is not None:
        note.write(str(process.pid))
        note.flush()
    return process


def _read_lines(
    stream: IO[str],  # Output of the process
    kept: deque[str],  # Gets each line
    on_line: OnLine | None,  # Called with each line until it raises
) -> None:
    "Read a stream to its end, for an unread process would stand still; then raise what `on_line` raised."
    failure = None
    with stream:
        for line in stream:
            text = line.rstrip("\n")
            kept.append(text)
            try:
                if on_line is not None and failure is None:
                    on_line(text)
            except Exception as error:
                failure = error
    if failure is not None:
        raise failure


def _write_stdin(
    process: subprocess.Popen[str],  # A process that may have ended already
    text: str,  # What it is to read
) -> None:
    "Give a process its standard input."
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError), process.stdin:  # it ended unread: its exit status says more
        process.stdin.write(text)


def _wait_for_end(
    process: subprocess.Popen[str],  # A process that runs
    stop: StopSignal | None,  # When it is set, there is no more waiting
) -> bool:  # False where it is to be stopped
    "Wait until a process ends, or is to be stopped."
    while process.poll() is None:
        if stop is not None and stop.is_set():
            return False
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    return True


def end_process_group(
    process: subprocess.Popen[str],  # Leader of a process group of its own
) -> None:
    "Ask a process and all that it started to end; kill what is left after `GRACE_SECONDS`."
    latest = time.monotonic() + GRACE_SECONDS
    with contextlib.suppress(ProcessLookupError):  # nobody is left
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < latest:
            process.poll()  # a process that ended belongs to its group until somebody asks how
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def describe_failed_process(
    status: int,  # Exit status; negative: the signal that ended it
    output: deque[str],  # Lines of its standard output
    errors: deque[str],  # Lines of its standard error
) -> str:  # An error message
    "Say why a process failed: its own last `error: …`, else how it ended and its last lines."
    lines = list(errors)
    starts = [number for number, line in enumerate(lines) if line.startswith("error: ")]
    if starts:
        return "\n".join(lines[starts[-1] :]).removeprefix("error: ")
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return "\n".join([ended, *list(errors or output)[-_SHOWN_LINES:]])
