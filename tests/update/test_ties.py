"Events that the sequence cannot tell apart: an update counts their keys, names some, says what would help."

import json

import pyarrow as pa
import pytest
from deltalake import write_deltalake
from test_both_engines import Updates

from cdc_local.storage import Storage
from cdc_local.update.event_log import read_events

SCHEMA = pa.schema(
    [("id", pa.string()), ("n", pa.int64()), ("city", pa.string()), ("lsn", pa.int64()), ("op", pa.string())]
)
SOURCE = """from pyspark import pipelines as dp
dp.create_streaming_table("people")
dp.create_auto_cdc_flow(
    target="people", source="main.ext.events", keys=["id"], sequence_by="n", stored_as_scd_type=SCD,
    apply_as_deletes="op = 'D'", except_column_list=["lsn", "op"],
)
"""


@pytest.fixture(scope="module")
def sail():
    updates = Updates("sail")
    yield updates
    updates.close()


class Pipeline:
    "A target of AUTO CDC, and batches of events for it."

    def __init__(self, folder, engine, scd_type):
        self.engine, self.storage, self.source = engine, folder / "store", folder / "people.py"
        self.source.write_text(SOURCE.replace("SCD", str(scd_type)))

    def update(self, *rows):
        "Land events, run an update, return its warnings."
        before = len(self.events()) if self.storage.exists() else 0
        columns = [list(column) for column in zip(*rows, strict=True)]
        path = str(self.storage / "tables" / "main" / "ext" / "events")
        write_deltalake(path, pa.table(columns, schema=SCHEMA), mode="append")
        done = self.engine.run(self.source, self.storage)
        assert done["state"] == "COMPLETED", done
        return [event for event in self.events()[before:] if event["level"] == "WARN"]

    def events(self):
        return read_events(Storage(self.storage).event_log_path)


@pytest.fixture(params=[1, 2], ids=["scd1", "scd2"])
def people(request, tmp_path, sail):
    return Pipeline(tmp_path, sail, request.param)


def test_the_keys_are_counted_and_named_with_what_would_tell_their_events_apart(people):
    [warning] = people.update(
        ("a", 1, "Oslo", 10, "U"), ("a", 1, "Rome", 11, "U"),
        ("b", 2, "Bonn", 12, "U"), ("b", 2, "Bonn", 13, "D"),
        ("c", 1, "Kyiv", 14, "U"), ("c", 2, "Lima", 15, "U"),
    )  # fmt: skip
    message = warning["message"]
    assert message.startswith(
        "people: 2 keys have events of one sequence that differ in city, whether they delete"
    )
    assert "(id a, sequence 1; id b, sequence 2)" in message
    assert "lsn tells them apart: sequence_by struct(n, lsn)" in message
    assert json.loads(warning["details"])["flow_progress"]["metrics"] == {"num_tied_keys": 2}


def test_a_tie_with_a_stored_event_is_found_whichever_wins(people):
    assert people.update(("a", 1, "Oslo", 10, "U"), ("b", 1, "Oslo", 10, "U")) == []
    [warning] = people.update(("a", 1, "Bonn", 11, "U"), ("b", 1, "Rome", 12, "U"))
    assert warning["message"].startswith("people: 2 keys have events of one sequence that differ in city")


def test_copies_of_an_event_are_no_tie(people):
    twice = ("a", 1, "Oslo", 10, "U"), ("b", 3, None, 11, "U")
    assert people.update(*twice, *twice) == []
    assert people.update(*twice) == []


def test_a_source_without_a_column_that_helps_is_told_so(people):
    [warning] = people.update(("a", 1, "Oslo", 10, "U"), ("a", 1, "Rome", 10, "U"), ("a", 1, "Rome", 10, "U"))
    assert "No number, date or moment of main.ext.events tells them apart" in warning["message"]
    assert warning["message"].startswith("people: 1 key has events")


def test_more_keys_than_fit_a_sentence_are_counted_all(people):
    rows = [
        (f"k{key:03}", 1, city, number, "U") for key in range(40) for number, city in enumerate(("A", "B"))
    ]
    [warning] = people.update(*rows)
    assert "40 keys have" in warning["message"] and "(id k000, sequence 1; id k001" in warning["message"]
    assert "; …)" in warning["message"] and "k003" not in warning["message"]
