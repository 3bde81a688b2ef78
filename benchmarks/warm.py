"""Contestants side by side, their engines warm: Spark in this process, Sail in one beside it. Prints one JSON
line a run.

    python benchmarks/warm.py first-update LANDING WORK RUNS
    python benchmarks/warm.py nothing-new STORAGE RIVAL RUNS
    python benchmarks/warm.py new-events STORAGE RIVAL BATCHES

The first run of each is for warming up, and is not printed. STORAGE holds the tables of a first update, RIVAL
those of handwritten.py."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from time import perf_counter

import floor
import handwritten
from pyspark.sql import functions as F

from cdc_local.engines.spark.session import start_spark
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_utils import customers

SOURCES = Path(__file__).resolve().parents[1] / "transformations"
VOLUME = Path("Volumes/main/default/raw_data/customers")


def update(storage, *files, engine="spark"):
    "One update of the pipeline, or of some of its source files."
    sources = tuple(str(SOURCES / name) for name in files) or (str(SOURCES),)
    request = UpdateRequest(
        sources,
        Path(storage),
        configuration={"cdc.catalog": "main", "cdc.schema": "default"},
        root_path=str(SOURCES.parent),
        engine=engine,
    )
    result = run_update(request)
    if result.state != "COMPLETED":
        raise SystemExit(f"the update is {result.state}: {result.error}")
    return result


class SailUpdates:
    "A process beside this one whose Sail is warm."

    def __init__(self):
        command = [sys.executable, str(Path(__file__).with_name("serve_updates.py"))]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.communicate()

    def update(self, storage, *files):
        "One update; the seconds of each flow, by table."
        self.process.stdin.write(json.dumps({"storage": str(storage), "files": files}) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit("an update on Sail failed")
        return json.loads(answer)


def land(storage, landing):
    "Let the files of a feed lie in the volume that the pipeline reads."
    folder = Path(storage) / VOLUME
    folder.mkdir(parents=True)
    for path in Path(landing).iterdir():
        (folder / path.name).hardlink_to(path)


def clean_path(storage):
    "Where the events lie that SCD1 and SCD2 stream from."
    return Storage(Path(storage)).table_path(TableName("main", "default", customers.HISTORY.source))


def tell(contestant, seconds):
    print(json.dumps({"contestant": contestant, "seconds": seconds}), flush=True)


def timed(contestants, number):
    "Run each once, in turn; print the seconds unless it is the first round."
    for name in sorted(contestants, reverse=number % 2 == 0):
        began = perf_counter()
        contestants[name]()
        if number:
            tell(name, perf_counter() - began)


def first_update(landing, work, runs):
    "The whole first update and the floor, in a session that has done both before."
    spark, table = start_spark(), Path(work, "warm-floor")
    storages = {name: Path(work, f"warm-storage-{name}") for name in ("sail", "spark")}
    with SailUpdates() as sail:
        for number in range(int(runs) + 1):
            for folder in (*storages.values(), table):
                shutil.rmtree(folder, ignore_errors=True)
            for storage in storages.values():
                land(storage, landing)
            timed(
                {
                    "ours": partial(sail.update, storages["sail"]),
                    "ours, Spark": partial(update, storages["spark"]),
                    "floor": partial(floor.write_table, spark, landing, table),
                },
                number,
            )


def nothing_new(storage, rival, runs):
    "Updates for which no file has landed: the whole pipeline; by hand, the two streams."
    spark = start_spark()

    def by_hand():
        for name in handwritten.MERGES:
            handwritten.catch_up(spark, clean_path(storage), rival, name)

    with SailUpdates() as sail:
        for number in range(int(runs) + 1):
            ours = {"ours": lambda: sail.update(storage), "ours, Spark": lambda: update(storage)}
            timed(ours | {"handwritten": by_hand}, number)


def add(spark, events, clean):
    "Append new events to the table that both sides stream from."
    rows, names = (
        spark.read.schema(customers.SCHEMA).json(str(events)),
        spark.read.format("delta").load(str(clean)).columns,
    )
    rows = rows.select(
        *[F.col(name) if name in rows.columns else F.lit(None).cast("string").alias(name) for name in names]
    )
    rows.write.format("delta").mode("append").save(str(clean))


def told_by_flow(sail, storage, name, number):
    "An update of one table; what its flow alone took is told as well."
    (seconds,) = [
        seconds for table, seconds in sail.update(storage, f"{name}.py").items() if table.endswith(f".{name}")
    ]
    if number:
        tell(f"ours, the flow/{name}", seconds)


def new_events(storage, rival, batches):
    "New events into the stored SCD1 and SCD2 tables: a stream into each, from its start to its end."
    spark, clean = start_spark(), clean_path(storage)
    with SailUpdates() as sail:
        for number, events in enumerate(sorted(Path(batches).iterdir())):
            add(spark, events, clean)
            for name in handwritten.MERGES:
                timed(
                    {
                        f"ours/{name}": partial(told_by_flow, sail, storage, name, number),
                        f"handwritten/{name}": partial(handwritten.catch_up, spark, clean, rival, name),
                    },
                    number,
                )


if __name__ == "__main__":
    what = {"first-update": first_update, "nothing-new": nothing_new, "new-events": new_events}
    if len(sys.argv) != 5 or sys.argv[1] not in what:
        sys.exit(__doc__)
    what[sys.argv[1]](*sys.argv[2:])
