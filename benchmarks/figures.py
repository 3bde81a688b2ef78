"What is measured, beside what, and how far it should reach."

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

import inputs
from machine import cores
from processes import CDC, PYTHON, ROOT, check, run
from warm import VOLUME, clean_path, land

HERE = Path(__file__).resolve().parent
MIB = 1024**2
BATCH = 5_000  # new events of an update
JUDGED = (500_000, 5_000_000)  # events of a first update at which a reach counts


@dataclass(frozen=True)
class Reach:
    "How far a figure should reach."

    measure: str  # one contestant, or `one / another`
    at_most: float | None = None
    at_least: float | None = None


@dataclass
class Figure:
    "One figure: every contestant with all its runs."

    name: str
    title: str
    unit: str
    events: int | None = None  # of the first update that the tables come from
    runs: dict = field(default_factory=dict)  # contestant -> values, in the order they were measured
    reach: Reach | None = None

    def add(self, contestant, value):
        self.runs.setdefault(contestant, []).append(value)

    def value(self, measure):
        "The median of a contestant, or the quotient of two medians."
        medians = [median(self.runs[name]) for name in measure.split(" / ")]
        return medians[0] / medians[1] if len(medians) == 2 else medians[0]

    def as_json(self):
        told = {
            "name": self.name,
            "title": self.title,
            "unit": self.unit,
            "events": self.events,
            "contestants": {
                name: {"median": round(median(values), 3), "runs": [round(value, 3) for value in values]}
                for name, values in self.runs.items()
            },
        }
        others = [name for name in self.runs if not name.startswith("ours")]
        measure = self.reach.measure if self.reach else f"ours / {others[0]}" if others else "ours"
        value = self.value(measure)
        judged = self.reach is not None and (self.events is None or self.events in JUDGED)
        at_most, at_least = (self.reach.at_most, self.reach.at_least) if judged else (None, None)
        met = (
            (at_most is None or value <= at_most) and (at_least is None or value >= at_least)
            if judged and (at_most, at_least) != (None, None)
            else None
        )
        return told | {
            "measure": measure,
            "value": round(value, 3),
            "at_most": at_most,
            "at_least": at_least,
            "met": met,
        }


@dataclass
class Bench:
    "One run of the benchmarks: where its files lie, how often each figure is taken, and whom it tells."

    work: Path
    sizes: dict  # events of a first update -> runs of it
    runs: int  # of everything else
    feed_rows: int
    tell: object  # called with a line before each run
    stored: dict = field(default_factory=dict)  # events -> storage and rival's tables, made once a run

    def fresh(self, name):
        "A folder of that name with nothing in it, not made yet."
        folder = self.work / name
        shutil.rmtree(folder, ignore_errors=True)
        return folder

    def landing(self, events):
        "Files of a feed, kept from run to run."
        if not inputs.folder(self.work, events).is_dir():
            self.tell(f"a feed of {events:,} events, made once")
        return inputs.landing(self.work, events)

    def process(self, words, *command):
        self.tell(words)
        return run(command, self.work / "last-process.log")

    def warm(self, words, *arguments):
        "Lines of one process of warm.py, as they come."
        self.tell(f"{words}: warming up")
        with (
            (self.work / "last-process.log").open("wb") as log,
            subprocess.Popen(
                [PYTHON, HERE / "warm.py", *map(str, arguments)],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            ) as process,
        ):
            try:
                for line in process.stdout:
                    told = json.loads(line)
                    self.tell(f"{words}: {told['contestant']} {told['seconds']:.1f} s")
                    yield told["contestant"], told["seconds"]
            except BaseException:
                process.kill()
                raise
        check("warm.py", process.returncode, log.name)

    def update(self, words, storage, engine="sail"):
        "`cdc run` of the project's pipeline, a process of its own."
        sources, options = ROOT / "transformations", ("--engine", engine, "--quiet")
        return self.process(words, CDC, "run", sources, "--storage", storage, *options)

    def tables(self, events):
        """A storage after its first update, and the rival's tables over the same events; made once, then
        changed by what measures on them."""
        if events not in self.stored:
            self.first(events, self.fresh(f"storage-{events}"))
        storage, rival = self.stored[events]
        if not rival.exists():
            self.process(
                f"{events:,} events, the tables by hand",
                PYTHON,
                HERE / "handwritten.py",
                clean_path(storage),
                rival,
            )
        return storage, rival

    def first(self, events, storage):
        "A first update in a new storage, which is kept for the figures that need one."
        land(storage, self.landing(events))
        done = self.update(f"first update of {events:,} events: ours", storage)
        self.stored[events] = storage, self.fresh(f"rival-{events}")
        return done

    def first_on_spark(self, events):
        "The same on Spark, in a storage that nothing else needs."
        storage = self.fresh(f"storage-{events}-spark")
        land(storage, self.landing(events))
        return self.update(f"first update of {events:,} events: ours, Spark", storage, "spark")


def from_json(told):
    "A figure that an earlier run wrote down."
    runs = {name: each["runs"] for name, each in told["contestants"].items()}
    return Figure(
        told["name"],
        told["title"],
        told["unit"],
        told["events"],
        runs,
        Reach(told["measure"], told["at_most"], told["at_least"]),
    )


def first_update(bench):
    "First update of the six tables; beside it the floor, and DuckDB computing the same tables whole."
    for events, runs in bench.sizes.items():
        seconds = Figure(
            "first-update",
            "First update, whole process",
            "s",
            events,
            reach=Reach("ours / floor", at_most=0.9 if events < JUDGED[1] else 1.0),
        )
        limit = Reach("ours", at_most=4096 if events >= JUDGED[1] else None)
        memory = Figure(
            "memory", "Most memory in a first update, whole process tree", "MiB", events, reach=limit
        )
        for _ in range(runs):
            feed, words = bench.landing(events), f"first update of {events:,} events"
            done = {
                "ours": bench.first(events, bench.fresh(f"storage-{events}")),
                "ours, Spark": bench.first_on_spark(events),
                "floor": bench.process(
                    f"{words}: floor", PYTHON, HERE / "floor.py", feed, bench.fresh("floor")
                ),
                "duckdb": bench.process(
                    f"{words}: DuckDB", PYTHON, HERE / "duckdb_whole.py", feed, bench.fresh("duckdb")
                ),
            }
            for name, each in done.items():
                seconds.add(name, each.seconds)
                memory.add(name, each.peak / MIB)
        throughput = Figure(
            "throughput",
            "First update, events per second and core",
            "1/s",
            events,
            {name: [events / value / cores() for value in values] for name, values in seconds.runs.items()},
        )
        yield from (seconds, memory, throughput)


def first_update_warm(bench):
    "The same in one process, whose session has done both before."
    events = min(bench.sizes)
    figure = Figure(
        "first-update-warm",
        "First update, warm session",
        "s",
        events,
        reach=Reach("ours / floor", at_most=2.5),
    )
    for name, seconds in bench.warm(
        f"warm first update of {events:,} events",
        "first-update",
        bench.landing(events),
        bench.work,
        min(bench.runs, 3),
    ):
        figure.add(name, seconds)
    yield figure


def feed(bench):
    "`cdc feed`."
    limit = Reach("ours", at_most=15) if bench.feed_rows >= 100_000 else None
    figure = Figure("feed", f"cdc feed of {bench.feed_rows:,} rows, whole process", "s", reach=limit)
    for _ in range(bench.runs):
        folder = bench.fresh("feed")
        figure.add(
            "ours",
            bench.process("cdc feed", CDC, "feed", folder, "--rows", bench.feed_rows, "--quiet").seconds,
        )
    yield figure


def looked_at(bench, command, what, *arguments, table=None):
    "A `cdc` command that reads a storage; beside it, where there is a table, a Spark session that shows it."
    size = min(bench.sizes)
    storage, _ = bench.tables(size)
    figure = Figure(
        command, f"cdc {command} of {what}, whole process", "s", size, reach=Reach("ours", at_most=1.5)
    )
    for _ in range(bench.runs):
        figure.add(
            "ours", bench.process(f"cdc {command}", CDC, command, *arguments, "--storage", storage).seconds
        )
        if table:
            figure.add(
                "spark",
                bench.process(
                    "Spark shows the same",
                    PYTHON,
                    HERE / "floor.py",
                    "--show",
                    clean_path(storage).with_name(table),
                ).seconds,
            )
    yield figure


def show(bench):
    "`cdc show` of a table."
    return looked_at(bench, "show", "a table", "customers_history", table="customers_history")


def events(bench):
    "`cdc events` of an update; it has no rival."
    return looked_at(bench, "events", "an update")


def nothing_new(bench):
    "An update for which nothing has landed; beside it the two streams by hand."
    size = min(bench.sizes)
    storage, rival = bench.tables(size)
    whole = Figure("nothing-new", "Nothing new, whole process", "s", size, reach=Reach("ours", at_most=1.5))
    for _ in range(bench.runs):
        whole.add("ours", bench.update("nothing new: ours", storage).seconds)
        whole.add("ours, Spark", bench.update("nothing new: ours, Spark", storage, "spark").seconds)
        whole.add(
            "handwritten",
            bench.process(
                "nothing new: by hand", PYTHON, HERE / "handwritten.py", clean_path(storage), rival
            ).seconds,
        )
    warm = Figure(
        "nothing-new-warm", "Nothing new, warm session", "s", size, reach=Reach("ours", at_most=0.5)
    )
    for name, seconds in bench.warm("nothing new, warm", "nothing-new", storage, rival, bench.runs):
        warm.add(name, seconds)
    yield from (whole, warm)


def one_row(bench):
    "An update for which a file with one row has landed; all six tables follow."
    size = min(bench.sizes)
    storage, _ = bench.tables(size)
    figure = Figure(
        "one-row", "One new row, six tables, whole process", "s", size, reach=Reach("ours", at_most=2.5)
    )
    engines = {"ours": "sail", "ours, Spark": "spark"}
    rows = inputs.new_events(bench.work / "one-row", bench.landing(size), bench.runs * len(engines), 1)
    for number, row in enumerate(rows):
        name = list(engines)[number % len(engines)]
        shutil.copy(row, storage / VOLUME / f"one-row-{number:02d}.json")
        figure.add(name, bench.update(f"one new row: {name}", storage, engines[name]).seconds)
    yield figure


def new_events(bench):
    "5,000 new events into stored tables; beside it `foreachBatch` and MERGE by hand."
    for size in bench.sizes:
        storage, rival = bench.tables(size)
        batches = bench.work / f"new-{size}"
        inputs.new_events(batches, bench.landing(size), bench.runs + 1, BATCH)
        reach = Reach("handwritten / ours", at_least=8 if size >= JUDGED[1] else 5)
        tables = {
            "customers": Figure(
                "new-events-scd1", f"{BATCH:,} new events, SCD1, warm session", "s", size, reach=reach
            ),
            "customers_history": Figure(
                "new-events-scd2", f"{BATCH:,} new events, SCD2, warm session", "s", size, reach=reach
            ),
        }
        for name, seconds in bench.warm(f"new events on {size:,}", "new-events", storage, rival, batches):
            contestant, table = name.split("/")
            tables[table].add(
                {"ours": "ours, whole update", "ours, the flow": "ours"}.get(contestant, contestant), seconds
            )
        yield from tables.values()


def growth(figures):
    "How much longer new events take on the larger tables; reported, never judged."
    for name, title in (("new-events-scd1", "SCD1"), ("new-events-scd2", "SCD2")):
        small, large = (
            [each for each in figures if each.name == name and each.events == size] for size in JUDGED
        )
        if small and large:
            grown = {who: [median(large[0].runs[who]) / median(small[0].runs[who])] for who in small[0].runs}
            yield Figure(
                name.replace("new-events", "growth"),
                f"Growth of an update with new events, {title}: 5,000,000 over 500,000",
                "x",
                None,
                grown,
            )


MEASURED = {
    "feed": feed,
    "first-update": first_update,
    "first-update-warm": first_update_warm,
    "show": show,
    "events": events,
    "nothing-new": nothing_new,
    "one-row": one_row,
    "new-events": new_events,
}  # in this order: the last ones change the tables that the first ones make
