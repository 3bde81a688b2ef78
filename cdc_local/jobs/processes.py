"""A child process: started, watched, fed, ended with all that it started."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cdc_local.errors import PipelineError


@dataclass(frozen=True)
class Program:
    "A child process that does a task."

    command: tuple[str, ...]  # Program and arguments
    environ: dict[str, str] = field(default_factory=dict)  # Added to this process's variables
    folder: Path | None = None  # Working directory; this process's by default
    stdin: str = ""  # What it reads


PYTHON = (sys.executable, "-P")  # -P: what lies in the working directory does not shadow what is installed

GRACE = 15  # Seconds that a process gets to end by itself

TAIL = 1_000  # Lines of a process's output that are kept


def end_process_group(
    process: subprocess.Popen,  # Leader of a process group of its own
) -> None:
    "End a process and all that it started: politely, then not."
    latest = time.monotonic() + GRACE
    try:
        os.killpg(process.pid, signal.SIGTERM)
        while time.monotonic() < latest:
            process.poll()  # a process that ended belongs to its group until somebody asks how
            os.killpg(process.pid, 0)
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # nobody is left
    process.wait()


def read_lines(
    stream,  # Lines of the process
    kept: deque,  # Takes the newest ones
    on_line: Callable,  # Called with each, or None
) -> None:
    "Read a stream to its end, whatever becomes of those who are told."
    failed = None
    with stream:
        for line in stream:
            kept.append(line.rstrip("\n"))
            try:
                if on_line and not failed:
                    on_line(line.rstrip("\n"))
            except Exception as error:
                failed = error  # a process whose output nobody takes would stand still
    if failed:
        raise failed


def run_program(
    program: Program,  # What to run
    stop=None,  # `Event` or `Deadline`; when it is set, the process and all that it started end
    on_line: Callable = None,  # Called with each line of its output
    on_error_line: Callable = None,  # Called with each line of its standard error
) -> str:  # Its output, the newest `TAIL` lines
    "Run a program; `PipelineError` with its last words where it does not end well or was stopped."
    environ = {**os.environ, **program.environ, "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        program.command,
        env=environ,
        cwd=program.folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    out, err = deque(maxlen=TAIL), deque(maxlen=TAIL)
    readers = [
        threading.Thread(target=read_lines, args=each)
        for each in ((process.stdout, out, on_line), (process.stderr, err, on_error_line))
    ]
    for reader in readers:
        reader.start()
    try:
        feed_process(process, program.stdin)
        while process.poll() is None:
            if stop is not None and stop.is_set():
                raise PipelineError("it was stopped")
            try:
                process.wait(0.1)
            except subprocess.TimeoutExpired:
                pass
    finally:
        end_process_group(process)  # also what a process that ended left running
        for reader in readers:
            reader.join()
    if process.returncode:
        raise PipelineError(last_words(process.returncode, out, err))
    return "\n".join(out)


def feed_process(
    process: subprocess.Popen,  # A process that may have ended already
    text: str,  # What it is to read
) -> None:
    "Give a process its standard input."
    try:
        with process.stdin:
            process.stdin.write(text)
    except BrokenPipeError:
        pass  # it ended without reading: its exit status says more


def last_words(
    status: int,  # Exit status; negative: the signal that ended it
    out: deque,  # Its output
    err: deque,  # Its standard error
) -> str:  # What to tell
    "What a process that failed said last: its own `error: …`, else its last lines."
    said = [line for line in err if line.startswith("error: ")]
    if said:
        return "\n".join(list(err)[list(err).index(said[-1]) :]).removeprefix("error: ")
    ended = f"ended by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    return "\n".join([ended, *list(err or out)[-20:]])
