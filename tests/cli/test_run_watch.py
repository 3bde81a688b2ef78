"`cdc run --watch`: a process that goes on."

import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName

pytestmark = pytest.mark.sail

SOURCE = """from pyspark import pipelines as dp
from pyspark.sql import functions as F
import rules
spark.sql("CREATE OR REPLACE TEMPORARY VIEW kinds AS SELECT 'view' AS kind")
spark.conf.set("etl.round", spark.conf.get("etl.round", "") + "x")
if spark.conf.get("etl.round") != "x":
    raise RuntimeError("a setting of the update before is still there")
@dp.table
def raw():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    return files.schema("id int").load("landing")
@dp.materialized_view
def named():
    return spark.read.table("raw").select("id", F.lit(rules.NAME).alias("name"))
"""


class Watching:
    "A command that goes on, and the lines it has printed"

    def __init__(self, folder, *words):
        environ = {name: value for name, value in os.environ.items() if name != "CDC_STORAGE"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", "from cdc_local.cli.main import main; main()", *words],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self.lines = []
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read, daemon=True)
        self.reader.start()

    def read(self):
        for line in self.process.stdout:
            with self.changed:
                self.lines.append(line.rstrip())
                self.changed.notify_all()

    def wait(self, *texts, seconds=400):
        "Wait for a line that has these texts, and take it and those before it away"

        def find():
            return next((line for line in self.lines if all(text in line for text in texts)), None)

        with self.changed:
            assert self.changed.wait_for(find, seconds), (texts, self.lines)
            line = find()
            del self.lines[: self.lines.index(line) + 1]
            return line

    def stop(self, kind=signal.SIGINT):
        self.process.send_signal(kind)
        status = self.process.wait(60)
        self.reader.join(10)
        return status

    def has_ended(self):
        "Whether nothing is left of the command and of what it started"
        try:
            os.killpg(self.process.pid, 0)
        except ProcessLookupError:
            return True
        return False

    def kill(self):
        if not self.has_ended():
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def project(tmp_path):
    (tmp_path / "landing").mkdir()
    (tmp_path / "etl.py").write_text(SOURCE)
    (tmp_path / "rules.py").write_text("NAME = 'a'\n")
    (tmp_path / "landing/one.json").write_text('{"id": 1}\n')
    return tmp_path


@pytest.fixture
def watching(project):
    started = []

    def start(*words):
        started.append(Watching(project, *words))
        return started[-1]

    yield start
    for each in started:
        each.kill()


def rows(project, table):
    return read_rows(Storage(project / ".cdc"), TableName("main", "default", table)).values


def test_updates_follow_changes_until_ctrl_c(project, watching):
    loop = watching("run", "etl.py", "--watch")
    loop.wait("start: COMPLETED, raw 1, named 1 row")
    loop.wait("Watching etl.py, landing. Ctrl-C ends.")
    (project / "landing/two.json").write_text('{"id": 2}\n')
    loop.wait("two.json: COMPLETED, raw 1, named 2 rows")
    (project / "rules.py").write_text("NAME = 'b'\n")  # as long as before, perhaps in the same second
    loop.wait("rules.py: COMPLETED, named 2 rows")
    assert rows(project, "named") == [(1, "b"), (2, "b")]
    (project / "etl.py").write_text(SOURCE + "def (\n")
    loop.wait("etl.py: FAILED")
    loop.wait("error: etl.py:15: SyntaxError: invalid syntax")
    (project / "etl.py").write_text(SOURCE.replace('"id", F', '"idd", F'))
    loop.wait("etl.py: FAILED")
    assert "etl.py:14" in loop.wait("error: ", "idd")
    (project / "landing/three.json").write_text('{"id": 3}\n')
    loop.wait("three.json: FAILED")
    (project / "etl.py").write_text(SOURCE)
    loop.wait("etl.py: COMPLETED, raw 1, named 3 rows")
    time.sleep(2)
    assert [line for line in loop.lines if "COMPLETED" in line or "FAILED" in line] == []
    assert loop.stop() == 0 and not any("Traceback" in line for line in loop.lines)
    deadline = time.monotonic() + 20
    while not loop.has_ended() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert loop.has_ended()


def test_an_update_with_an_id_goes_on_under_it_and_sigterm_ends_it(project, watching):
    loop = watching("run", "etl.py", "--watch", "--format", "json", "--update-id", "u1")
    waits = "it waits for changes."
    loop.wait("A round of update u1 is COMPLETED", waits)
    (project / "etl.py").write_text("import nothing_here\n")
    loop.wait("A round of update u1 is FAILED", waits)
    loop.wait("error: etl.py:1: ModuleNotFoundError")
    (project / "landing/two.json").write_text('{"id": 2}\n')
    (project / "etl.py").write_text(SOURCE)
    loop.wait("A round of update u1 is COMPLETED", waits)
    time.sleep(1)
    assert loop.stop(signal.SIGTERM) == 0
    assert rows(project, "raw") == [(1,), (2,)]
    events = subprocess.run(
        [sys.executable, "-c", "from cdc_local.cli.main import main; main()", "events", "--format", "json"],
        cwd=project,
        capture_output=True,
        text=True,
        check=True,
    )
    told = [json.loads(line) for line in events.stdout.splitlines()]
    kinds = [each["event_type"] for each in told]
    assert kinds.count("create_update") == 1 and "u1" in str(told[0]["origin"])
    states = [
        json.loads(each["details"])["update_progress"]["state"]
        for each in told
        if each["event_type"] == "update_progress"
    ]
    assert states[:3] == ["INITIALIZING", "SETTING_UP_TABLES", "RUNNING"] and set(states[3:]) == {"RUNNING"}
