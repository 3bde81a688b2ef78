"""An update is killed (SIGKILL, the whole process group with its JVM) at random moments, again and again on one storage; then the
tables are those of the oracle, every row landed once.

The command under test is `cdc run` itself. A kill comes after a random number of its events and a random moment more, so that
kills hit every phase and not only the start of Java. KILLS=20 is what `make prove` asks for, with `pytest -s` to see where they hit.
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

from cdc_utils.local.storage import Storage, TableName
from cdc_utils.local.tables import read_table
from oracle import COLUMNS, SCHEMA, assert_same, random_story, replay

KILLS, SEED = int(os.environ.get("KILLS", 2)), int(os.environ.get("SEED", 1))
CDC = str(Path(sys.executable).with_name("cdc"))
PIPELINE = f"""
from pyspark import pipelines as dp

@dp.table
def landed():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json").option("cloudFiles.maxFilesPerTrigger", 2)
    return files.schema("{SCHEMA}").load("/Volumes/main/default/raw/stories")

for target, lists in {{"current": {{}}, "history": dict(stored_as_scd_type=2, track_history_column_list=["name", "points"])}}.items():
    dp.create_streaming_table(target)
    dp.create_auto_cdc_flow(target, "landed", ["story", "id"], "at", apply_as_deletes="op = 'D'", column_list={COLUMNS}, **lists)
"""


def land(folder, name, events):
    "A file that is there whole or not at all; what a killed update has seen must not change under it."
    folder.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps(dict(zip((*COLUMNS, "op", "at", "writes"), event))) + "\n" for event in events]
    (folder.parent / name).write_text("".join(lines))
    (folder.parent / name).rename(folder / name)


def update(command, choose, most):
    "Start an update and kill it after at most so many events; return where it was, None where it ended first, and how many it told."
    number, process = 0, subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        last, wanted = "before the first event", choose.randint(0, most)
        for number, line in enumerate(process.stdout):
            event = json.loads(line)
            flow = json.loads(event["origin"]).get("flow_name")
            last = f"{event['event_type']}: {flow.rsplit('.')[-1] + ' ' if flow else ''}{event['message'].split()[-1]}"
            if number >= wanted: break
        time.sleep(choose.uniform(0, 1.5))
        if process.poll() is not None:
            assert process.returncode == 0, process.stderr.read()[-3000:]
            return None, number
        os.killpg(process.pid, signal.SIGKILL)
        return last, number
    finally:
        if process.poll() is None: os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def test_killed_at_random_moments_then_run_to_the_end(tmp_path):
    choose = random.Random(SEED)
    stories = [random_story(choose, number) for number in range(40 * (KILLS + 1))]
    told = [event for story in stories for event in story]
    choose.shuffle(told)
    parts = [told[number::2 * KILLS] for number in range(2 * KILLS)]
    (tmp_path / "stories.py").write_text(PIPELINE)
    landing = tmp_path / "storage/Volumes/main/default/raw/stories"
    command = [CDC, "run", str(tmp_path / "stories.py"), "--storage", str(tmp_path / "storage"), "--format", "json"]
    hits, ended, landed, most = [], 0, 0, 16
    while len(hits) < KILLS:
        for _ in range(2):  # more arrives between two runs
            if landed < len(parts): land(landing, f"{landed:03}.json", parts[landed])
            landed += 1
        where, told_of = update(command, choose, most)
        if where: hits.append(where)
        else: ended, most = ended + 1, max(4, min(most, told_of) - 2)  # an update tells of fewer events than that
        assert ended <= 5 * KILLS, "the updates end before they can be killed"
    for number in range(landed, len(parts)): land(landing, f"{number:03}.json", parts[number])
    last = subprocess.run(command, capture_output=True, text=True)
    assert last.returncode == 0, last.stderr[-3000:]
    print(f"\n{len(hits)} kills on one storage, {ended} updates that came to their end before one, {len(told)} events; the kills hit")
    for where, many in Counter(hits).most_common(): print(f"{many:4}  {where}")

    def rows(table): return [tuple(row.values()) for row in read_table(Storage(tmp_path / "storage"), TableName("main", "default", table)).to_pylist()]
    assert Counter(map(repr, rows("landed"))) == Counter(map(repr, told))
    expected = replay(told, ["name", "points"])
    assert_same(stories, expected[0], rows("current"), "SCD1")
    assert_same(stories, expected[1], rows("history"), "SCD2")
