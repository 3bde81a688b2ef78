"What a chapter cannot show without processes, kernels or Spark: how tasks are ended, read and fed, and Databricks' magics in a notebook."

import signal
import threading
import time
from collections import deque
from types import SimpleNamespace

import pytest

from cdc_local.errors import PipelineError
from cdc_local.jobs import tasks as programs
from cdc_local.jobs.notebook_task import Installed, register_magics
from cdc_local.jobs.processes import PYTHON, TAIL, Program, last_words, run_program
from cdc_local.storage import Storage

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
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"


def stopped(source):
    "Run a program, stop it when it is ready; what it printed, and its seconds"
    stop, lines, began = threading.Event(), [], time.monotonic()

    def on_line(line):
        lines.append(line)
        stop.set()

    with pytest.raises(PipelineError, match="it was stopped"):
        run_program(Program((*PYTHON, "-c", source)), stop, on_line)
    return lines, time.monotonic() - began


@pytest.mark.parametrize("source", [GOODBYE, PARENT], ids=["itself", "what it started"])
def test_a_program_that_is_stopped_may_say_goodbye(source):
    lines, seconds = stopped(source)
    assert lines == ["ready", "goodbye"] and seconds < 30


def test_a_program_that_does_not_end_is_killed(monkeypatch):
    monkeypatch.setattr(programs, "GRACE", 0.5)
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
        Program((*PYTHON, "-c", f"for number in range({TAIL + 5}): print(number)"))
    ).splitlines()
    assert (len(kept), kept[0], kept[-1]) == (TAIL, "5", str(TAIL + 4))


def test_why_a_program_failed():
    assert last_words(1, deque(), deque(["error: a", "b", "error: c", "d"])) == "c\nd"
    assert last_words(-signal.SIGKILL, deque(["out"]), deque()) == "ended by SIGKILL\nout"
    assert last_words(3, deque(["out"]), deque()) == "exit status 3\nout"


@pytest.fixture
def shell(monkeypatch, tmp_path):
    "A shell with the magics, and a session that answers with what it was asked"
    from IPython.core.interactiveshell import InteractiveShell
    from pyspark.sql import SparkSession

    monkeypatch.setattr(
        SparkSession,
        "active",
        lambda: SimpleNamespace(sql=lambda text: SimpleNamespace(toPandas=lambda: text)),
    )
    shell = InteractiveShell()
    installed = Installed(Storage(tmp_path), [])
    register_magics(shell, installed)
    yield shell
    installed._held.close()  # where a kernel would end


def test_sql_magics_answer_with_their_last_statement(shell):
    assert shell.run_line_magic("sql", "SELECT 1") == "SELECT 1"
    assert shell.run_cell_magic("sql", "", "USE shop;\nSELECT 2;\n") == "SELECT 2"
    assert shell.run_cell_magic("sql", "", "-- nothing") is None


def test_pip_looks_and_installs_nothing(shell, capsys):
    for name in ("pip", "conda"):
        shell.run_line_magic(name, "install --upgrade pyspark no-such-library")
    assert capsys.readouterr().out.count("no-such-library is not installed") == 2
    for line in ("freeze", "install -r requirements.txt"):
        shell.run_line_magic("pip", line)
    assert capsys.readouterr().out == "skipped: %pip freeze\nskipped: %pip install -r requirements.txt\n"
    assert shell.run_cell_magic("md", "", "# Title") is None
