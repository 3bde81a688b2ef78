"A mock feed in the words of each tool is read back by that tool's envelope: the same table, the same faults."

import pytest
from pyspark.sql import functions as F

from cdc_utils import scd1
from cdc_utils.envelopes.change_feed import change_feed
from cdc_utils.envelopes.changes import SourceTable, decode_changes, parse_events, quarantine_changes
from cdc_utils.envelopes.debezium import POSTGRES
from cdc_utils.envelopes.dms import dms
from cdc_utils.envelopes.goldengate import GOLDENGATE
from cdc_utils.envelopes.mock_feeds import COLUMNS, FORMS
from cdc_utils.envelopes.sqlserver import sql_server
from cdc_utils.envelopes.wal2json import WAL2JSON
from cdc_utils.feed import FAULTS, OPERATION, feed_day, written_day

ENVELOPES = {
    "debezium": POSTGRES,
    "dms": dms(),
    "sqlserver": sql_server("hex"),
    "goldengate": GOLDENGATE,
    "wal2json": WAL2JSON,
    "cdf": change_feed(),
}
ROWS, KEYS = 120, 30


def customers_of(events):
    "The customers that are left, by code that knows nothing of envelopes"
    left = {}
    for event in sorted(events, key=lambda event: event.when):
        if event.kind in OPERATION or event.kind == "updates":
            left[event.row["id"]] = None if event.kind == "deletes" else tuple(event.row.values())
    return sorted(row for row in left.values() if row is not None)


@pytest.fixture(scope="module", params=ENVELOPES)
def feed(request, spark):
    "Raw rows of a feed, the table that they are of, and what happened in it"
    source = SourceTable(ENVELOPES[request.param], ["id"], dict.fromkeys(COLUMNS, "string"))
    [lines], summary = feed_day(ROWS, KEYS, files=1, form=FORMS[request.param])
    texts = spark.createDataFrame([(line,) for line in lines], "value string")
    if FORMS[request.param].suffix == "csv":
        row = F.from_csv("value", source.schema, {"nullValue": "NULL", "escape": '"'})
        return texts.select(row.alias("row")).select("row.*"), source, summary
    return parse_events(texts, source).drop("value"), source, summary


def test_the_table_is_that_of_the_events(feed):
    raw, source, _ = feed
    rows = scd1.current_rows(
        decode_changes(raw, source),
        ["id"],
        "sequence",
        "operation = 'delete'",
        list(COLUMNS),
        columns_to_update="changed_columns" if source.envelope.is_partial else None,
    )
    happened = [event for event, _ in written_day(ROWS, KEYS, 42, 1)]
    assert sorted(map(tuple, rows.collect())) == customers_of(happened)


def test_the_faults_are_set_aside_and_nothing_else(feed):
    raw, source, summary = feed
    faults = sum(getattr(summary, kind) for kind in FAULTS if kind != "duplicates")
    problems = [row.problems for row in quarantine_changes(raw, source).collect()]
    assert len(problems) == faults
    told = " ".join(reason for reasons in problems for reason in reasons)
    assert "the key id is missing" in told and " is none of " in told and "no place in the order" in told
