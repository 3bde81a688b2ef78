"Whole processes, timed, with the most memory that their whole tree ever held."

import subprocess
import sys
import threading
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import psutil

ROOT = Path(__file__).resolve().parents[1]
PYTHON = sys.executable
CDC = str(Path(sys.executable).with_name("cdc"))
EVERY = 0.1  # seconds between two looks at a tree's memory


class Run(NamedTuple):
    "One run of a command."

    seconds: float
    peak: (
        int  # bytes: the greatest sum of the resident memory of all its processes; shared pages count in each
    )


def resident(process):
    "Resident memory of a process and of all that it started."
    total = 0
    for each in [process, *process.children(recursive=True)]:
        try:
            total += each.memory_info().rss
        except psutil.NoSuchProcess:
            continue  # it ended while we looked
    return total


def watch(pid, ended, peaks):
    "Note the memory of a tree until it has ended."
    while not ended.wait(EVERY):
        try:
            peaks.append(resident(psutil.Process(pid)))
        except psutil.NoSuchProcess:
            return


def check(name, status, log):
    "`SystemExit` with the last words of a command that failed."
    if status:
        raise SystemExit(
            f"{name} ended with status {status}:\n{Path(log).read_text(errors='replace')[-2000:]}"
        )


def run(command, log):
    "Run a command to its end; `SystemExit` with its last words if it fails."
    peaks, ended = [0], threading.Event()
    with Path(log).open("wb") as words:
        began = perf_counter()
        process = subprocess.Popen(
            list(map(str, command)),
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=words,
            stderr=subprocess.STDOUT,
        )
        watcher = threading.Thread(target=watch, args=(process.pid, ended, peaks))
        watcher.start()
        try:
            status = process.wait()
        finally:
            process.kill()  # only after Ctrl-C is it still there
            seconds = perf_counter() - began
            ended.set()
            watcher.join()
    check(" ".join(map(str, command)), status, log)
    return Run(seconds, max(peaks))
