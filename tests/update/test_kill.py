"""An update is killed (SIGKILL, its process group with the JVM) at random moments, again and again.

Then the tables are those of the oracle, every row landed once. So are a repair and an erasure, which only
`make prove` kills. The command under test is `cdc run` itself. A kill comes after a random number of its
events and a random moment more, so that kills hit every phase and not only the start of Java. KILLS=20 is
what `make prove` asks for, with `pytest -s` to see where they hit.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from deltalake import DeltaTable
from oracle import COLUMNS, SCHEMA, assert_same, random_story, replay

from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName

KILLS, SEED = int(os.environ.get("KILLS", 2)), int(os.environ.get("SEED", 1))
CDC = str(Path(sys.executable).with_name("cdc"))
PIPELINE = f"""
from pyspark import pipelines as dp

@dp.table
def landed():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    files = files.option("cloudFiles.maxFilesPerTrigger", 2)
    return files.schema("{SCHEMA}").load("/Volumes/main/default/raw/stories")

TARGETS = {{
    "current": {{}},
    "history": dict(stored_as_scd_type=2, track_history_column_list=["name", "points"]),
}}
for target, lists in TARGETS.items():
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(
        target, "landed", ["story", "id"], "at", apply_as_deletes="op = 'D'", column_list={COLUMNS}, **lists
    )
"""


def land(folder, name, events):
    "A file that is there whole or not at all; what a killed update has seen must not change under it."
    folder.mkdir(parents=True, exist_ok=True)
    lines = [
        json.dumps(dict(zip((*COLUMNS, "op", "at", "writes"), event, strict=False))) + "\n"
        for event in events
    ]
    (folder.parent / name).write_text("".join(lines))
    (folder.parent / name).rename(folder / name)


def update(command, choose, most):
    "Kill an update after at most so many events; where it was (None: it ended first), and how many it told."
    number, process = (
        0,
        subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ),
    )
    try:
        last, wanted = "before the first event", choose.randint(0, most)
        for number, line in enumerate(process.stdout):
            event = json.loads(line)
            flow = json.loads(event["origin"]).get("flow_name")
            of_flow = flow.rsplit(".")[-1] + " " if flow else ""
            last = f"{event['event_type']}: {of_flow}{event['message'].split()[-1]}"
            if number >= wanted:
                break
        time.sleep(choose.uniform(0, 0.3 if command[-1] == "sail" else 1.5))
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()[-3000:]
            return None, number
        os.killpg(process.pid, signal.SIGKILL)
        return last, number
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def rows_of(storage, table):
    return [
        tuple(row.values()) for row in read_table(storage, TableName("main", "default", table)).to_pylist()
    ]


@pytest.mark.parametrize("engines", [("spark",), ("sail",), ("sail", "spark")], ids="-".join)
def test_killed_at_random_moments_then_run_to_the_end(engines, tmp_path):
    "With two engines each update takes one of them at random: what one has begun the other goes on with."
    choose = random.Random(SEED)
    stories = [random_story(choose, number) for number in range(40 * (KILLS + 1))]
    told = [event for story in stories for event in story]
    choose.shuffle(told)
    parts = [told[number :: 2 * KILLS] for number in range(2 * KILLS)]
    (tmp_path / "stories.py").write_text(PIPELINE)
    landing = tmp_path / "storage/Volumes/main/default/raw/stories"
    command = [
        CDC,
        "run",
        str(tmp_path / "stories.py"),
        "--storage",
        str(tmp_path / "storage"),
        "--format",
        "json",
        "--engine",
    ]
    hits, ended, landed, most = [], 0, 0, 16
    while len(hits) < KILLS:
        for _ in range(2):  # more arrives between two runs
            if landed < len(parts):
                land(landing, f"{landed:03}.json", parts[landed])
            landed += 1
        where, told_of = update([*command, choose.choice(engines)], choose, most)
        if where:
            hits.append(where)
        else:
            ended, most = (
                ended + 1,
                max(4, min(most, told_of) - 2),
            )  # an update tells of fewer events than that
        assert ended <= 5 * KILLS, "the updates end before they can be killed"
    for number in range(landed, len(parts)):
        land(landing, f"{number:03}.json", parts[number])
    last = subprocess.run([*command, choose.choice(engines)], capture_output=True, text=True)
    assert last.returncode == 0, last.stderr[-3000:]
    print(
        f"\n{len(hits)} kills on one storage, {ended} updates that came to their end before one, "
        f"{len(told)} events; the kills hit"
    )
    for where, many in Counter(hits).most_common():
        print(f"{many:4}  {where}")

    def rows(table):
        return rows_of(Storage(tmp_path / "storage"), table)

    assert Counter(map(repr, rows("landed"))) == Counter(map(repr, told))
    expected = replay(told, ["name", "points"])
    assert_same(stories, expected[0], rows("current"), "SCD1")
    assert_same(stories, expected[1], rows("history"), "SCD2")


class Told:
    "A storage after one update, and after one more with the stories that were left for later."

    def __init__(self, folder):
        choose = random.Random(SEED)
        self.storage, self.sources = Storage(folder / "storage"), folder / "stories.py"
        self.sources.write_text(PIPELINE)
        self.stories = [random_story(choose, number) for number in range(60)]
        self.go_on("1", self.stories[:40])

    def go_on(self, name, stories):
        land(
            self.storage.root / "Volumes/main/default/raw/stories",
            f"{name}.json",
            [event for story in stories for event in story],
        )
        self.cdc("run", str(self.sources))

    def rows(self):
        return {
            table: sorted(rows_of(self.storage, table), key=repr)
            for table in ("landed", "current", "history")
        }

    def path(self, table):
        return self.storage.table_path(TableName("main", "default", table))

    def command(self, *words):
        return [CDC, *words, "--storage", str(self.storage.root)]

    def cdc(self, *words):
        "Run a command to its end; the seconds that it took."
        began, done = time.monotonic(), subprocess.run(self.command(*words), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-3000:]
        return time.monotonic() - began

    def killed(self, longest, choose, *words):
        "Start a command and kill it within so many seconds; False where it ended first."
        process = subprocess.Popen(
            self.command(*words),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            time.sleep(choose.uniform(0, longest))
        finally:
            ended = process.poll()
            if ended is None:
                os.killpg(process.pid, signal.SIGKILL)
            _, said = process.communicate()
        assert ended in (None, 0), said[-3000:]
        return ended is None

    def assert_as_told(self, stories):
        rows, expected = (
            self.rows(),
            replay([event for story in stories for event in story], ["name", "points"]),
        )
        for table, each in zip(("current", "history"), expected, strict=True):
            assert_same(stories, each, rows[table], table)


prove_only = pytest.mark.skipif("KILLS" not in os.environ, reason="minutes: make prove ARGS=kills")


@prove_only
def test_a_repair_is_done_or_not_begun_whenever_it_is_killed(tmp_path):
    told, choose, kills = Told(tmp_path), random.Random(SEED), 0
    right = told.rows()

    def damage():
        DeltaTable(told.path("history")).delete("story < 20")

    def repair():
        return "repair", "history", str(told.sources), "--where", "story >= 0"

    damage()
    damaged = told.rows()
    assert damaged["history"] != right["history"]
    took = told.cdc(*repair())
    assert told.rows() == right
    while kills < KILLS:
        if told.rows() == right:
            damage()
        kills += told.killed(took, choose, *repair())
        assert told.rows() in (right, damaged)
    told.cdc(*repair())
    assert told.rows() == right
    told.go_on("2", told.stories[40:])
    told.assert_as_told(told.stories)


@prove_only
def test_an_erasure_that_was_killed_is_finished_by_the_next(tmp_path):
    told, choose, kills = Told(tmp_path), random.Random(SEED), 0

    def erase(story):
        return "erase", "--where", f"story = {story}", "--yes"

    took, gone = told.cdc(*erase(0)), [0]
    while kills < KILLS:
        before = told.rows()
        kills += told.killed(took, choose, *erase(len(gone)))
        gone.append(len(gone))
        for table, rows in told.rows().items():
            assert rows in (before[table], [row for row in before[table] if row[0] != gone[-1]])
        told.cdc(*erase(gone[-1]))
        assert told.rows() == {
            table: [row for row in rows if row[0] != gone[-1]] for table, rows in before.items()
        }
    for table in ("landed", "current", "history"):
        files = [file for file in told.path(table).rglob("*.parquet") if "_delta_log" not in file.parts]
        assert files and not {
            story
            for file in files
            for story in parquet.read_table(file, columns=["story"])["story"].to_pylist()
        } & set(gone)
    told.go_on("2", told.stories[40:])
    told.assert_as_told([story for story in told.stories if story[0][0] not in gone])
