"""Feeds that tools captured from databases, and their tables: `make e2e-postgres` and `make e2e-mariadb`
recorded them, and compared the tables with the database."""

from collections import Counter
from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from pyspark.sql import functions as F

from cdc_utils import scd1, scd2
from cdc_utils.envelopes.changes import decode_changes, parse_events, quarantine_changes

ROOT = Path(__file__).resolve().parents[2]
TABLES = ("products", "orders")


def stops_of(name):
    return sorted((ROOT / "tests/data" / name).glob("orders_at_*.parquet"))


@pytest.fixture(scope="module")
def feeds():
    "The feeds as the proofs' pipeline declares them."
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "tools/databases")
        from feeds import FEEDS

        return FEEDS


def read_events(spark, feed, record, table):
    lines = spark.read.text(str(record / f"{feed.folder(table)}.json.gz"))
    if feed.schema is None:
        return parse_events(lines, feed.sources[table])
    return feed.rows(lines.select(F.from_json("value", feed.schema).alias("row")).select("row.*"))


class Recorded:
    "A feed, the change rows of each of its tables, decoded once, and what was set aside."

    def __init__(self, spark, feed, record, folder):
        self.feed, self.record, self.changes, self.problems = feed, record, {}, []
        for table, source in feed.sources.items():
            events = read_events(spark, feed, record, table)
            decode_changes(events, source).write.parquet(str(folder / table))
            self.changes[table] = spark.read.parquet(str(folder / table))
            self.problems += quarantine_changes(events, source).select("problems").collect()

    def arguments(self, table):
        source = self.feed.sources[table]
        partial = {"columns_to_update": "changed_columns"} if source.envelope.is_partial else {}
        return {
            "keys": list(source.keys),
            "sequence_by": "sequence",
            "apply_as_deletes": "operation = 'delete'",
            "columns": list(source.columns),
            **partial,
        }


@pytest.fixture(scope="module", params=["debezium_postgres", "debezium_mariadb"])
def recorded(request, spark, feeds, tmp_path_factory):
    record = ROOT / "tests/data" / request.param
    return Recorded(spark, feeds[request.param], record, tmp_path_factory.mktemp(request.param))


def same_rows(found, path):
    expected = parquet.read_table(path)
    rows = [found.toArrow().cast(expected.schema), expected]
    return [sorted(map(repr, table.to_pylist())) for table in rows]


@pytest.mark.parametrize("table", TABLES)
def test_current_rows_are_those_of_the_database(recorded, table):
    keeps_history = recorded.feed.sources[table].keeps_history
    truncates = None if keeps_history else "operation = 'truncate'"
    found = scd1.current_rows(
        recorded.changes[table], apply_as_truncates=truncates, **recorded.arguments(table)
    )
    rows, expected = same_rows(found, recorded.record / f"{table}.parquet")
    assert len(rows) > 30
    assert rows == expected


def test_nothing_of_it_is_quarantined(recorded):
    assert recorded.problems == []


def test_the_history_as_of_a_stop_is_the_table_as_it_was(recorded):
    source, names = recorded.feed.sources["orders"], list(recorded.feed.envelope.order)
    history = scd2.history(recorded.changes["orders"], **recorded.arguments("orders")).cache()
    stops = stops_of(recorded.record.name)
    assert len(stops) == 2
    for path in stops:
        parts = path.stem.removeprefix("orders_at_").split("_")
        kinds = [recorded.feed.envelope.order[name][1] for name in names]
        stop = F.struct(*[F.lit(part).cast(kind) for part, kind in zip(parts, kinds, strict=True)])
        begins, ends = (
            F.struct(*[F.col(f"{at}.{name}") for name in names]) for at in ("__START_AT", "__END_AT")
        )
        then = history.where((begins <= stop) & (F.col("__END_AT").isNull() | (ends > stop)))
        rows, expected = same_rows(then.select(*source.columns), path)
        assert len(rows) > 30
        assert rows == expected


def test_every_kind_of_change_is_in_it(recorded):
    "Values that lie outside their row are not sent where the replica identity is the key"
    rows = recorded.changes["products"].select("operation", F.size("changed_columns").alias("size")).collect()
    counts = Counter(row.operation for row in rows)
    reads = {"read"} if recorded.record.name.startswith("debezium") else set()
    assert set(counts) >= {"insert", "update", "delete"} | reads
    if recorded.feed.envelope.is_partial:
        columns = len(recorded.feed.sources["products"].columns)
        assert sum(row.operation == "update" and row.size < columns for row in rows) > 10
