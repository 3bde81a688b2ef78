"""Bitemporal tables: whole feeds, and batch by batch, against the oracle of tests/oracle.py.

Events come late in both times, again, together, and correct each other.
"""

import pytest
from deltalake import DeltaTable
from hypothesis import HealthCheck, given, settings
from oracle import (
    COLUMNS,
    DELETE,
    KEYS,
    SCHEMA,
    TRACKINGS,
    assert_same,
    heard_late,
    random_story,
    replay_bitemporal,
)
from random_tables import arrow_frame, randomness
from test_laws import batches_of

from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, compute_from_changes, create_backing_table, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName
from cdc_utils import bitemporal, scd2
from cdc_utils.gold import known_at
from cdc_utils.spec import CdcSpec

STORIES = 60
HEARD = SCHEMA + ", heard int"
UNSAID = [[], ["name"], COLUMNS[2:]]
once = settings(
    max_examples=1,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def frame_of(spark, rows):
    return arrow_frame(spark, rows, HEARD)


def stories_of(choose):
    return [heard_late(choose, random_story(choose, number)) for number in range(STORIES)]


@once
@given(randomness)
def test_whole_feeds(tiny, choose):
    stories = stories_of(choose)
    told = [event for story in stories for event in story]
    tracked, unsaid = choose.choice(TRACKINGS), choose.choice(UNSAID)
    table = bitemporal.history(frame_of(tiny, told), KEYS, "at", "heard", DELETE, COLUMNS, tracked, unsaid)
    expected = replay_bitemporal(told, tracked, unsaid)
    assert_same(stories, expected, table.collect(), f"bitemporal, tracked {tracked}, {unsaid} unsaid")


@once
@given(randomness)
def test_at_every_moment_it_is_the_history_of_what_was_known_then(tiny, choose):
    "Without corrections, of which SCD2 knows nothing."
    stories = [
        list({event[:2] + event[6:7]: event for event in story}.values()) for story in stories_of(choose)
    ]
    frame = frame_of(tiny, [event for story in stories for event in story]).persist()
    table = bitemporal.history(frame, KEYS, "at", "heard", DELETE, COLUMNS).persist()
    for moment in (1, choose.randint(2, 12), 99):
        known = scd2.history(frame.where(f"heard <= {moment}"), KEYS, "at", DELETE, COLUMNS)
        assert_same(stories, known.collect(), known_at(table, moment).collect(), f"known at {moment}")
    for held in (frame, table):
        held.unpersist()


@pytest.mark.parametrize("writer", ["delta-rs", "Spark"])
@once
@given(randomness)
def test_any_order_any_batches_any_repeats(tiny, tmp_path_factory, monkeypatch, writer, choose):
    "The hidden rows too: what batches leave in the backing table is what all events at once give."
    if writer == "Spark":
        monkeypatch.setattr("cdc_local.delta.choice.MOST_EVENTS", 0)
    stories = stories_of(choose)
    told = [event for story in stories for event in story]
    tracked, unsaid = choose.choice(TRACKINGS[:3]), choose.choice(UNSAID)
    spec = CdcSpec(
        "known",
        "events",
        KEYS,
        "at",
        apply_as_deletes=DELETE,
        column_list=COLUMNS,
        stored_as_scd_type="bitemporal",
        system_sequence_by="heard",
        track_history_column_list=tracked,
        ignore_null_updates_column_list=unsaid,
    )
    storage, name = Storage(tmp_path_factory.mktemp("known")), TableName("main", "default", "known")
    whole, path = frame_of(tiny, told), storage.table_path(name)
    target = Target.of(Flow("known", name, "auto_cdc", spec=spec), whole.schema)
    create_backing_table(tiny, path, target, whole.schema)
    for batch in batches_of(choose, told, 4, least=3):
        apply_events(extract_events(frame_of(tiny, batch), target), path, target)
    shown = [tuple(row.values()) for row in read_table(storage, name).to_pylist()]
    expected = replay_bitemporal(told, tracked, unsaid)
    assert_same(stories, expected, shown, f"bitemporal, tracked {tracked}, {unsaid} unsaid")
    rows = compute_from_changes(whole, target)
    stored = DeltaTable(str(path)).to_pyarrow_table(columns=rows.columns).to_pylist()
    assert sorted(map(str, stored)) == sorted(map(str, rows.toArrow().to_pylist()))
