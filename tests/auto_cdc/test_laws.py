"""The law: tables depend only on the set of events, never on their order, their batches, their repeats.

A batch of a few hundred stories goes into the backing tables as a micro-batch does, and what readers see is
compared with the oracle. `make prove` runs more examples: LAWS_EXAMPLES says how many.
"""

import os

import pytest
from hypothesis import HealthCheck, given, settings
from oracle import COLUMNS, DELETE, KEYS, TRACKINGS, TRUNCATE, assert_same, random_story, replay
from random_tables import randomness
from test_scd_oracle import frame_of

from cdc_local.auto_cdc.merge import apply_events
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.delta.reader import read_table
from cdc_local.storage import Storage, TableName
from cdc_utils.spec import CdcSpec

pytestmark = pytest.mark.sail

STORIES = 200
LISTS = {"keys": KEYS, "sequence_by": "at", "apply_as_deletes": DELETE, "column_list": COLUMNS}
some = settings(
    max_examples=int(os.environ.get("LAWS_EXAMPLES", 1)),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Table:
    "A target of AUTO CDC in a storage of its own."

    def __init__(self, spark, root, name, **spec):
        self.storage, self.name = Storage(root), TableName("main", "default", name)
        flow = Flow(name, self.name, "auto_cdc", spec=CdcSpec(name, "events", **LISTS, **spec))
        source = frame_of(spark, [(0, "x", "a", "p", 1, "I", 0, None)]).schema
        self.target, self.path = Target.of(flow, source), self.storage.table_path(self.name)
        create_backing_table(spark, self.path, self.target, source)

    def apply(self, spark, batch):
        events = extract_events(frame_of(spark, batch), self.target).persist()
        apply_events(events, self.path, self.target)
        events.unpersist()

    def rows(self):
        return [tuple(row.values()) for row in read_table(self.storage, self.name).to_pylist()]


def batches_of(choose, events, most, least=1):
    "The events in random order, cut into `least` to `most` batches, some with events of earlier ones."
    events, many = choose.sample(events, len(events)), choose.randint(least, most)
    cuts = sorted(choose.sample(range(1, len(events)), many - 1))
    batches = [events[start:end] for start, end in zip([0, *cuts], [*cuts, len(events)], strict=True)]
    for number, batch in enumerate(batches):
        if choose.random() < 0.5:
            batch += choose.choices(events[: cuts[number] if number < len(cuts) else None], k=len(batch) // 6)
        choose.shuffle(batch)
    return batches


def told_of(choose, truncates):
    "Stories, and their events with one or two truncates of the table among them."
    stories = [random_story(choose, number) for number in range(STORIES)]
    emptied = (
        [(None, None, None, None, None, "T", choose.randint(6, 9), None) for _ in range(choose.randint(1, 2))]
        if truncates
        else []
    )
    return stories, [*emptied, *[event for story in stories for event in story]]


@pytest.mark.parametrize("manner", ["whole events", "NULLs say nothing", "listed columns"])
@some
@given(randomness)
def test_any_order_any_batches_any_repeats(tiny, tmp_path_factory, manner, choose):
    stories, told = told_of(choose, truncates=False)
    tracked, unsaid = choose.choice(TRACKINGS), choose.choice([["name"], COLUMNS[2:]])
    lists = (
        {}
        if tracked is None
        else {"track_history_column_list": tracked}
        if tracked
        else {"track_history_except_column_list": COLUMNS[2:]}
    )
    spec, rule = {
        "whole events": ({}, {}),
        "NULLs say nothing": ({"ignore_null_updates_column_list": unsaid}, {"unsaid": unsaid}),
        "listed columns": ({"columns_to_update": "writes"}, {"listed": True}),
    }[manner]
    root = tmp_path_factory.mktemp("laws")
    current, history = (
        Table(tiny, root, "current", **spec),
        Table(tiny, root, "history", stored_as_scd_type=2, **spec, **lists),
    )
    for table in (current, history):
        for batch in batches_of(choose, told, 8):
            table.apply(tiny, batch)
    expected = replay(told, tracked, **rule)
    assert_same(stories, expected[0], current.rows(), "SCD1")
    assert_same(stories, expected[1], history.rows(), f"SCD2, tracked {tracked}")
    assert_same(
        stories, current.rows(), [row[:5] for row in history.rows() if row[6] is None], "open rows of SCD2"
    )


@some
@given(randomness)
def test_a_truncate_forgets_what_is_older_whenever_it_comes(tiny, tmp_path_factory, choose):
    (stories, told), unsaid = told_of(choose, truncates=True), choose.choice([[], ["city"]])
    table = Table(
        tiny,
        tmp_path_factory.mktemp("laws"),
        "current",
        apply_as_truncates=TRUNCATE,
        ignore_null_updates_column_list=unsaid or None,
    )
    first, *others = batches_of(choose, told, 5, least=3)
    for batch in ([told[0], *first], *others):
        table.apply(tiny, batch)  # a truncate, perhaps again: older events come after it, too
    assert_same(stories, replay(told, None, unsaid)[0], table.rows(), f"SCD1 with truncates, {unsaid} unsaid")
