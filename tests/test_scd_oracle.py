"""SCD1 and SCD2 against an oracle in plain Python, on random feeds cut into batches and shuffled.

Starting Spark jobs is what takes time here, so one example is a few hundred small stories that share a frame: the number of
the story is the first key column. The oracle shares no code with the chapters; it replays a story event by event.
"""
import contextlib
import io
import random
import time
from collections import defaultdict

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import _parse_datatype_string

from cdc_utils import scd1, scd2
from cdc_utils.local.session import local_spark

KEYS = ["story", "id"]
COLUMNS = [*KEYS, "name", "city", "points"]
SCHEMA = "story int, id string, name string, city string, points int, op string, at int"
DELETE = "op = 'D'"
TRACKINGS = [None, ["name"], ["name", "points"], []]
STORIES = 250
OWN = [*COLUMNS, scd1.SEQUENCE, scd1.DELETED]


@pytest.fixture(scope="module")
def spark():
    return local_spark()


@pytest.fixture(scope="module")
def tiny(spark):
    "A session for frames so small that compiling a query costs more than interpreting it."
    session = spark.newSession()
    for option in ("codegen.wholeStage", "adaptive.enabled"): session.conf.set(f"spark.sql.{option}", "false")
    session.conf.set("spark.sql.codegen.factoryMode", "NO_CODEGEN")
    session.conf.set("spark.sql.shuffle.partitions", "1")
    return session


# The oracle: rows are (story, id, name, city, points, op, at)

def rank(event):
    "Of events with one sequence the greatest rank wins: upserts first, then columns left to right, None lowest."
    return (event[5] != "D", *[(value is not None, value) if value is not None else (False,) for value in event[2:5]])


def replay(events, tracked):
    "Return (current rows, history rows) of all events, one event at a time in the order of `at`."
    tracked = [2, 3, 4] if tracked is None else [COLUMNS.index(name) for name in tracked]
    winners = defaultdict(dict)
    for event in events:
        same = winners[event[:2]]
        if event[6] not in same or rank(event) > rank(same[event[6]]): same[event[6]] = event
    current, history = [], []
    for key, by_sequence in winners.items():
        open_row = None
        for at in sorted(by_sequence):
            event, values = by_sequence[at], list(by_sequence[at][2:5])
            if event[5] == "D":
                if open_row: history.append((*key, *open_row[0], open_row[1], at))
                open_row = None
            elif open_row is None: open_row = [values, at]
            elif any(open_row[0][i - 2] != values[i - 2] for i in tracked):
                history.append((*key, *open_row[0], open_row[1], at))
                open_row = [values, at]
            else: open_row[0] = values  # tracked values are equal, the others are updated in place
        if open_row:
            history.append((*key, *open_row[0], open_row[1], None))
            current.append((*key, *open_row[0]))
    return current, history


def random_story(choose, number):
    "One to nine events of one or two keys: a fifth deletes, a quarter of the values NULL, then some duplicates and ties."
    def value(*options): return None if choose.random() < .25 else choose.choice(options)
    events = []
    for _ in range(choose.randint(1, 9)):
        op = "D" if choose.random() < .2 else choose.choice("IU")
        values = value("a", "b"), value("p", "q", "r"), value(1, 2)
        events.append((number, choose.choice("xxy"), *values, op, choose.randint(1, 12)))
    for event in list(events):
        if choose.random() < .15: events.append(event)
        if choose.random() < .08: events.append((*event[:2], value("a", "b"), value("p", "q"), value(1, 2), choose.choice("UD"), event[6]))
    choose.shuffle(events)
    return events


def batches_of(choose, story):
    "Cut a story into one to four batches, some of which may be empty."
    cuts = sorted(choose.randint(0, len(story)) for _ in range(choose.randint(0, 3)))
    return [story[start:end] for start, end in zip([0, *cuts], [*cuts, len(story)])]


def by_story(rows):
    found = defaultdict(list)
    for row in rows: found[row[0]].append(tuple(row))
    return {story: sorted(mine, key=repr) for story, mine in found.items()}


def assert_same(stories, expected, got, what):
    "Compare story by story, and show the shortest story that differs."
    expected, got = by_story(expected), by_story(got)
    wrong = [story for story in stories if expected.get(story[0][0]) != got.get(story[0][0])]
    if not wrong: return
    story = min(wrong, key=len)
    raise AssertionError(f"{what}: {len(wrong)} of {len(stories)} stories differ; the shortest, as it arrived:\n  "
        + "\n  ".join(map(str, story)) + f"\nexpected {expected.get(story[0][0])}\ngot      {got.get(story[0][0])}")


def arrow_frame(spark, rows, schema):
    "A frame by way of Arrow: no Python worker has to unpickle the rows."
    columns = to_arrow_schema(_parse_datatype_string(schema))
    return spark.createDataFrame(pa.Table.from_pylist([dict(zip(columns.names, row)) for row in rows], schema=columns))


def frame_of(spark, rows):
    return arrow_frame(spark, rows, SCHEMA)


def events_of(spark, rows):
    return scd1.events(frame_of(spark, rows), KEYS, "at", DELETE, COLUMNS)


def as_told(spark, rows):
    "Own events of an earlier result, as a store would hand them back."
    return arrow_frame(spark, rows, f"story int, id string, name string, city string, points int, {scd1.SEQUENCE} int, {scd1.DELETED} boolean")


randomness = st.integers(0, 2**32).map(random.Random)
few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@few
@given(randomness)
def test_whole_feeds(tiny, choose):
    stories = [random_story(choose, number) for number in range(STORIES)]
    changes = frame_of(tiny, [event for story in stories for event in story])
    flat = [event for story in stories for event in story]
    current = scd1.current_rows(changes, KEYS, "at", DELETE, COLUMNS).collect()
    assert_same(stories, replay(flat, None)[0], current, "SCD1")
    for tracked in (None, choose.choice(TRACKINGS[1:])):
        history = scd2.history(changes, KEYS, "at", DELETE, COLUMNS, tracked).collect()
        assert_same(stories, replay(flat, tracked)[1], history, f"SCD2, tracked {tracked}")
        assert_same(stories, current, [row[:5] for row in history if row[6] is None], f"open rows of SCD2, tracked {tracked}")


@few
@given(randomness)
def test_batches(tiny, choose):
    "Applied in batches, each over what the last one left, only the touched keys recomputed."
    stories = [random_story(choose, number) for number in range(STORIES)]
    told = [event for story in stories for event in story]
    cut = [batches_of(choose, story) for story in stories]
    tracked = choose.choice(TRACKINGS)
    newest, stored, shown = {}, defaultdict(list), defaultdict(list)
    for turn in range(4):
        batch = [event for batches in cut if turn < len(batches) for event in batches[turn]]
        if not batch: continue
        choose.shuffle(batch)
        touched, fresh = {event[:2] for event in batch}, events_of(tiny, batch)
        past = as_told(tiny, [newest[key] for key in touched if key in newest])
        for row in scd1.newest_events(past.unionByName(fresh), KEYS).collect(): newest[tuple(row[:2])] = tuple(row)
        past = as_told(tiny, [row for key in touched for row in stored[key]])
        annotated = scd2.versions(past.unionByName(fresh), KEYS, tracked).cache()
        for key in touched: stored[key], shown[key] = [], []
        for row in annotated.select(OWN).collect(): stored[tuple(row[:2])].append(tuple(row))
        for row in scd2.visible(annotated, COLUMNS).collect(): shown[tuple(row[:2])].append(tuple(row))
        annotated.unpersist()
    current, history = replay(told, tracked)
    assert_same(stories, current, [row[:5] for row in newest.values() if not row[6]], "SCD1 in batches")
    assert_same(stories, history, [row for rows in shown.values() for row in rows], f"SCD2 in batches, tracked {tracked}")


@few
@given(randomness)
def test_annotations_depend_on_the_set_of_events_only(tiny, choose):
    "The hidden rows too: shuffled, doubled, cut in two and annotated in between, they are the same."
    stories = [random_story(choose, number) for number in range(STORIES)]
    told = [event for story in stories for event in story]
    tracked = choose.choice(TRACKINGS)
    whole = [str(row) for row in scd2.versions(events_of(tiny, told), KEYS, tracked).collect()]
    newest = [str(row) for row in scd1.newest_events(events_of(tiny, told), KEYS).collect()]
    again = told + choose.sample(told, len(told) // 3)
    choose.shuffle(again)
    half = len(again) // 2
    first, second = events_of(tiny, again[:half]), events_of(tiny, again[half:])
    twice = scd2.versions(scd2.versions(first, KEYS, tracked).select(OWN).unionByName(second), KEYS, tracked)
    assert sorted(whole) == sorted(str(row) for row in twice.collect())
    newer = scd1.newest_events(scd1.newest_events(first, KEYS).unionByName(second), KEYS)
    assert sorted(newest) == sorted(str(row) for row in newer.collect())


def test_a_key_with_very_many_events(spark):
    "Fifty thousand events of one key cost about what they cost spread over many; scanning what follows each would cost thousands of times more."
    def seconds(hot):
        numbers = spark.range(100_000).select(
            F.when(F.col("id") < hot, 0).otherwise(F.col("id") % 20_000 + 1).alias("key"), F.col("id").alias("at"),
            (F.col("id") % 7).alias("name"), (F.col("id") % 11).alias("city"), F.when(F.col("id") % 5 == 0, "D").otherwise("U").alias("op"))
        versions = scd2.versions(scd1.events(numbers, ["key"], "at", DELETE, ["key", "name", "city"]), ["key"], ["name"])
        started = time.perf_counter()
        found = versions.agg(F.count("*"), F.count("__START_AT"), F.count("__END_AT"), F.sum("__latest.city")).first()
        assert found[0] == 100_000 and 0 < found[2] <= found[1] < 100_000
        return time.perf_counter() - started
    spread = max(seconds(0), 2)
    assert seconds(50_000) < 10 * spread


@pytest.mark.parametrize("tracked", TRACKINGS)
def test_one_shuffle_serves_all_windows(spark, tracked):
    with contextlib.redirect_stdout(io.StringIO()) as plan:
        scd2.history(frame_of(spark, [(1, "x", "a", "p", 1, "I", 1)]), KEYS, "at", DELETE, COLUMNS, tracked).explain()
    assert plan.getvalue().count("Exchange") == 1
    assert plan.getvalue().count("Sort [") == 2
    assert "unboundedfollowing" not in plan.getvalue().lower()


@pytest.mark.parametrize("spoilt, column", [((1, None, "a", "p", 1, "I", 1), "key `id`"), ((1, "x", "a", "p", 1, "I", None), "sequence_by `at`")])
@pytest.mark.parametrize("table", [scd1.current_rows, scd2.history])
def test_a_row_without_key_or_sequence_is_refused_in_the_plan(spark, table, spoilt, column):
    changes = frame_of(spark, [(1, "x", "a", "p", 1, "I", 9), spoilt])
    spark.sparkContext.setLogLevel("OFF")
    try:
        for result in (table(changes, KEYS, "at", DELETE, ["name"]), table(changes, KEYS, "at", DELETE).groupBy().count()):
            with pytest.raises(Exception, match=f"AUTO CDC: {column} is NULL in the row .*\"story\":1"): result.collect()
    finally: spark.sparkContext.setLogLevel("ERROR")


def test_nothing_is_computed_before_somebody_asks(spark):
    "Building a history over a frame that fails on its first row must not fail."
    failing = frame_of(spark, [(1, "x", "a", "p", 1, "I", 1)]).withColumn("name", F.raise_error(F.lit("computed")).cast("string"))
    scd2.history(failing, KEYS, "at", DELETE, COLUMNS, ["name"])
    scd1.current_rows(failing, KEYS, F.struct("at", "points"), DELETE, COLUMNS)
