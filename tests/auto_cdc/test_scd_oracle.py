"""SCD1 and SCD2 of whole feeds against the oracle of tests/oracle.py; test_laws.py has the same in batches.

Starting Spark jobs is what takes time here, so one example is a few hundred small stories that share a frame.
"""

import contextlib
import io
import time

import pytest
from hypothesis import HealthCheck, given, settings
from oracle import COLUMNS, DELETE, KEYS, SCHEMA, TRACKINGS, assert_same, random_story, replay
from pyspark.sql import functions as F
from random_tables import arrow_frame, randomness

from cdc_utils import scd1, scd2
from cdc_utils.events import DELETED, SEQUENCE, build_events

STORIES = 250
OWN = [*COLUMNS, SEQUENCE, DELETED]


def frame_of(spark, rows):
    return arrow_frame(spark, rows, SCHEMA)


def events_of(spark, rows):
    return build_events(frame_of(spark, rows), KEYS, "at", DELETE, COLUMNS)


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
        assert_same(
            stories,
            current,
            [row[:5] for row in history if row[6] is None],
            f"open rows of SCD2, tracked {tracked}",
        )


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
    "Fifty thousand events of one key cost about what they cost spread over many, unlike a scan for each."

    def seconds(hot):
        numbers = spark.range(100_000).select(
            F.when(F.col("id") < hot, 0).otherwise(F.col("id") % 20_000 + 1).alias("key"),
            F.col("id").alias("at"),
            (F.col("id") % 7).alias("name"),
            (F.col("id") % 11).alias("city"),
            F.when(F.col("id") % 5 == 0, "D").otherwise("U").alias("op"),
        )
        versions = scd2.versions(
            build_events(numbers, ["key"], "at", DELETE, ["key", "name", "city"]), ["key"], ["name"]
        )
        started = time.perf_counter()
        found = versions.agg(
            F.count("*"), F.count("__START_AT"), F.count("__END_AT"), F.sum("__latest.city")
        ).first()
        assert found[0] == 100_000 and 0 < found[2] <= found[1] < 100_000
        return time.perf_counter() - started

    spread = max(seconds(0), 2)
    assert seconds(50_000) < 10 * spread


@pytest.mark.parametrize("tracked", TRACKINGS)
def test_one_shuffle_serves_all_windows(spark, tracked):
    with contextlib.redirect_stdout(io.StringIO()) as plan:
        scd2.history(
            frame_of(spark, [(1, "x", "a", "p", 1, "I", 1)]), KEYS, "at", DELETE, COLUMNS, tracked
        ).explain()
    assert plan.getvalue().count("Exchange") == 1
    assert plan.getvalue().count("Sort [") == 2
    assert "unboundedfollowing" not in plan.getvalue().lower()


@pytest.mark.parametrize(
    "spoilt, column",
    [((1, None, "a", "p", 1, "I", 1), "key `id`"), ((1, "x", "a", "p", 1, "I", None), "sequence_by `at`")],
)
@pytest.mark.parametrize("table", [scd1.current_rows, scd2.history])
def test_a_row_without_key_or_sequence_is_refused_in_the_plan(spark, table, spoilt, column):
    changes = frame_of(spark, [(1, "x", "a", "p", 1, "I", 9), spoilt])
    spark.sparkContext.setLogLevel("OFF")
    try:
        for result in (
            table(changes, KEYS, "at", DELETE, ["name"]),
            table(changes, KEYS, "at", DELETE).groupBy().count(),
        ):
            with pytest.raises(Exception, match=f'AUTO CDC: {column} is NULL in the row .*"story":1'):
                result.collect()
    finally:
        spark.sparkContext.setLogLevel("ERROR")


def test_nothing_is_computed_before_somebody_asks(spark):
    "Building a history over a frame that fails on its first row must not fail."
    failing = frame_of(spark, [(1, "x", "a", "p", 1, "I", 1)]).withColumn(
        "name", F.raise_error(F.lit("computed")).cast("string")
    )
    scd2.history(failing, KEYS, "at", DELETE, COLUMNS, ["name"])
    scd1.current_rows(failing, KEYS, F.struct("at", "points"), DELETE, COLUMNS)
