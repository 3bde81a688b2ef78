"Processes of tasks: how they are fed, read and ended, and what is said of one that failed."

import signal
import subprocess
import threading
import time
from collections import deque
from pathlib import Path

import pytest

from cdc_local.errors import PipelineError
from cdc_local.jobs import processes
from cdc_local.jobs.processes import (
    KEPT_LINES,
    PYTHON,
    Program,
    describe_failed_process,
    end_lost_programs,
    run_program,
)

GOODBYE = """
import signal, sys, time
def goodbye(number, frame):
    time.sleep(0.3)
    print('goodbye', flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, goodbye)
print('ready', flush=True)
time.sleep(60)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {GOODBYE!r}])"
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print('ready', flush=True)
time.sleep(60)
"""


def stopped(source):
    "Run a program, stop it when it is ready; what it printed, and its seconds"
    stop, lines, began = threading.Event(), [], time.monotonic()

    def on_line(line):
        lines.append(line)
        stop.set()

    with pytest.raises(PipelineError, match="it was stopped"):
        run_program(python(source), stop, on_line)
    return lines, time.monotonic() - began


@pytest.mark.parametrize("source", [GOODBYE, PARENT], ids=["itself", "what it started"])
def test_a_program_that_is_stopped_may_say_goodbye(source):
    lines, seconds = stopped(source)
    assert lines == ["ready", "goodbye"] and seconds < 30


def test_a_program_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(processes, "GRACE_SECONDS", 0.5)
    lines, seconds = stopped(STUBBORN)
    assert lines == ["ready"] and seconds < 30


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_program_ends_though_nobody_takes_what_it_prints():
    def on_line(line):
        raise ValueError(line)

    source = "for number in range(50_000): print(number)\nprint('done')"
    assert run_program(Program((*PYTHON, "-c", source)), on_line=on_line).splitlines()[-1] == "done"


def test_only_the_newest_lines_are_kept():
    kept = run_program(
        Program((*PYTHON, "-c", f"for number in range({KEPT_LINES + 5}): print(number)"))
    ).splitlines()
    assert (len(kept), kept[0], kept[-1]) == (KEPT_LINES, "5", str(KEPT_LINES + 4))


def test_why_a_program_failed():
    assert describe_failed_process(1, deque(), deque(["error: a", "b", "error: c", "d"])) == "c\nd"
    assert describe_failed_process(-signal.SIGKILL, deque(["out"]), deque()) == "ended by SIGKILL\nout"
    assert describe_failed_process(3, deque(["out"]), deque()) == "exit status 3\nout"


def python(source, *arguments, **settings):
    return Program((*PYTHON, "-c", source, *arguments), **settings)


def test_a_program_gets_its_input_and_arguments_and_its_lines_are_passed_on():
    lines = []
    source = "import sys; print(sys.stdin.read().upper(), sys.argv[1])"
    assert run_program(python(source, "x", stdin="hello"), on_line=lines.append) == "HELLO x"
    assert lines == ["HELLO x"]


def test_a_program_runs_in_its_folder_with_its_variables():
    source = 'import os; print(os.environ["DAY"], os.path.samefile(".", "/"))'
    assert run_program(python(source, environ={"DAY": "2"}, folder=Path("/"))) == "2 True"


@pytest.mark.parametrize(
    ("source", "first", "last"),
    [
        (
            "import sys; print('reading'); sys.exit('error: orders.json is not there')",
            "orders.json is not there",
            "orders.json is not there",
        ),
        ("import os; os.kill(os.getpid(), 9)", "ended by SIGKILL", "ended by SIGKILL"),
        ("1/0", "exit status 1", "ZeroDivisionError: division by zero"),
        ("print('all that it said'); raise SystemExit(3)", "exit status 3", "all that it said"),
    ],
)
def test_a_program_that_fails_says_why(source, first, last):
    with pytest.raises(PipelineError) as failed:
        run_program(python(source))
    lines = str(failed.value).splitlines()
    assert (lines[0], lines[-1]) == (first, last)


def test_a_program_that_ends_without_reading_its_input_says_why():
    program = python('import sys; sys.exit("error: too busy")', stdin="x" * 1_000_000)
    with pytest.raises(PipelineError, match="too busy"):
        run_program(program)


def is_running(pid):
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"  # a zombie has ended


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for a process in /proc")
def test_what_a_stopped_program_started_ends_with_it():
    source = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)"
    )
    (pid,), _ = stopped(source)
    assert any(not is_running(int(pid)) or time.sleep(0.1) for _ in range(100))


# What a killed process leaves

SERVER = """
import sys
from pathlib import Path
from cdc_local.jobs.processes import Program, run_program
print(run_program(Program((sys.executable, "-c", sys.argv[2])), None, print, notes=Path(sys.argv[1])))
"""

PATIENT = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"


def test_what_a_killed_process_left_running_is_ended(tmp_path):
    command = [*PYTHON, "-u", "-c", SERVER, str(tmp_path), PATIENT]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    program = int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()
    assert is_running(program)
    assert end_lost_programs(tmp_path) == 1
    assert not is_running(program) and list(tmp_path.iterdir()) == []


def test_a_note_of_a_program_that_has_ended_says_nothing_of_whoever_has_its_number_now(tmp_path):
    other = subprocess.Popen([*PYTHON, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (tmp_path / "old.pid").write_text(str(other.pid))
    assert end_lost_programs(tmp_path) == 0
    assert other.poll() is None
    other.kill()
    other.wait()


def test_a_program_that_ends_leaves_no_note(tmp_path):
    assert run_program(Program((*PYTHON, "-c", "print(7)")), notes=tmp_path / "notes") == "7"
    assert list((tmp_path / "notes").iterdir()) == []
