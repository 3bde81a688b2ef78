"How the Java of a session ends: after its session, by Ctrl-C, without memory, killed."

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from types import SimpleNamespace

import pytest
from py4j.clientserver import FinalizerWorker

from cdc_local.engines.spark import java
from cdc_local.engines.spark.java import describe_java_end, end_java, is_java_running


class Java:
    "A process that ended with a status, or did not."

    stdin = None
    pid = 1

    def __init__(self, status=None, waits=()):
        self.status, self.waits, self.waited = status, list(waits), []

    def poll(self):
        return self.status

    def wait(self, seconds=None):
        self.waited.append(seconds)
        if self.waits:
            raise self.waits.pop()
        if self.status is None:
            raise subprocess.TimeoutExpired("java", seconds)
        return self.status


@pytest.fixture
def java_of_this_process(monkeypatch):
    "Put a process in the place of this one's Java."
    from pyspark import SparkContext

    def use(status):
        monkeypatch.setattr(SparkContext, "_gateway", SimpleNamespace(proc=Java(status)))

    return use


@pytest.mark.parametrize(
    "text",
    [
        "java.lang.OutOfMemoryError: Java heap space",
        "Not enough memory to build and broadcast the table to all worker nodes",
        "[UNABLE_TO_ACQUIRE_MEMORY] Unable to acquire 65536 bytes of memory, got 0.",
    ],
)
def test_too_little_memory_names_the_option(monkeypatch, java_of_this_process, text):
    monkeypatch.setenv("CDC_MEMORY", "1500m")
    java_of_this_process(None)
    assert describe_java_end(["Job aborted", text], False) == (
        "Spark's Java ran out of memory, it has 1.5 GB; give it more by --memory, e.g. --memory 3g"
    )


@pytest.mark.parametrize(
    "status, sentence",
    [
        (52, "Spark's Java ran out of memory, it has 2 GB; give it more by --memory, e.g. --memory 4g"),
        (-9, "Spark's Java was killed, as a machine that runs out of memory does; it had 2 GB"),
        (1, "Spark's Java has ended (exit status 1); the storage's logs/spark.log says why"),
    ],
)
def test_a_java_that_ended_says_how(monkeypatch, java_of_this_process, status, sentence):
    monkeypatch.setenv("CDC_MEMORY", "2g")
    java_of_this_process(status)
    assert describe_java_end(["Connection refused"], True).startswith(sentence)
    assert describe_java_end(["any other"], False).startswith(sentence)
    assert not is_java_running()


def test_a_java_that_runs_is_not_to_blame(monkeypatch, java_of_this_process):
    monkeypatch.setattr(java, "_SECONDS_TO_DIE", 0.01)
    java_of_this_process(None)
    assert describe_java_end(["division by zero"], False) is None
    assert describe_java_end(["Connection refused"], True) is None  # by a server of the pipeline's own
    assert is_java_running()


def test_the_end_asks_java_nothing_more(monkeypatch):
    asked, released = threading.Event(), []

    class Client:
        def garbage_collect_object(self, target, enqueue):
            asked.set()
            time.sleep(0.2)  # as long as an answer takes
            released.append(target)

    queue = deque((Client(), f"o{number}") for number in range(100))
    worker = FinalizerWorker(queue)
    worker.daemon = True
    worker.start()
    assert asked.wait(10)
    monkeypatch.setattr(java, "threads", lambda: [worker])
    monkeypatch.setattr("pyspark.SparkContext._active_spark_context", None)
    end_java(Java(0))
    assert not worker.is_alive() and 1 <= len(released) < 10


def test_ctrl_c_at_the_end_waits_no_longer(monkeypatch):
    monkeypatch.setattr("pyspark.SparkContext._active_spark_context", None)
    monkeypatch.setattr(java, "threads", list)
    closed = []
    waiting = Java(None, [KeyboardInterrupt()])
    waiting.stdin = SimpleNamespace(close=lambda: closed.append(True))
    end_java(waiting)
    assert (closed, waiting.waited) == ([True], [java.JAVA_GRACE])

    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr(java, "_stop_releasing_objects", interrupted)
    end_java(waiting)
    assert closed == [True, True]  # whenever it comes, Java hears that nobody needs it


ENDS_IN_USE = """
from cdc_local.engines.spark.session import start_spark
spark = start_spark()
client = spark.sparkContext._gateway._gateway_client
for number in range(200_000): client.garbage_collect_object(f'o9{number}') # it tells Java long after the end
"""


def test_a_session_that_ends_in_the_middle_of_its_tidying_up_prints_nothing():
    done = subprocess.run([sys.executable, "-c", ENDS_IN_USE], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


LOSES_JAVA = """
import os, signal
from cdc_local.engines.spark.java import describe_java_end
from cdc_local.engines.spark.session import start_spark
spark = start_spark()
os.kill(spark.sparkContext._gateway.proc.pid, signal.SIGKILL)
try: spark.range(3).count()
except Exception as error: print(describe_java_end([str(error)], True))
"""


def test_a_killed_java_is_one_sentence_and_no_traceback():
    done = subprocess.run([sys.executable, "-c", LOSES_JAVA], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("Spark's Java was killed") and done.stderr == ""


INTERRUPTED_TWICE = """
import time, typer
from cdc_local.cli import main
from cdc_local.cli.exit_status import guarded
from concurrent.futures import ThreadPoolExecutor
app = typer.Typer()
@app.command()
@guarded
def wait():
    pool = ThreadPoolExecutor(1)
    pool.submit(time.sleep, 600)
    print('ready', flush=True)
    time.sleep(600)
main.app = app
main.main()
"""


def test_ctrl_c_ends_a_command_whose_thread_goes_on():
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED_TWICE], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    os.kill(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and printed == ""
    assert errors == "interrupted: what was committed stays, and the next run goes on from there\n"
