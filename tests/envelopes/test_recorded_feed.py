"""A feed that Debezium captured from PostgreSQL, and its tables: `make e2e-postgres` recorded them,
and compared the tables with the database."""

from pathlib import Path

import pyarrow.parquet as parquet
import pytest
from pyspark.sql import functions as F

from cdc_utils import scd1, scd2
from cdc_utils.envelopes.changes import decode_changes, parse_events, quarantine_changes

ROOT = Path(__file__).resolve().parents[2]
RECORD = ROOT / "tests/data/debezium_postgres"
STATES = sorted(RECORD.glob("orders_at_*.parquet"))


@pytest.fixture(scope="module")
def sources():
    "The tables as the proof's pipeline declares them."
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(ROOT / "tools/databases")
        from source_tables import ORDERS, PRODUCTS

        return {"products": PRODUCTS, "orders": ORDERS}


def read_events(spark, source, table):
    return parse_events(spark.read.text(str(RECORD / f"{table}.json.gz")), source)


@pytest.fixture(scope="module")
def changes(spark, sources, tmp_path_factory):
    "The change rows of each table, decoded once."
    folder = tmp_path_factory.mktemp("changes")
    for table, source in sources.items():
        decoded = decode_changes(read_events(spark, source, table), source)
        decoded.write.parquet(str(folder / table))
    return {table: spark.read.parquet(str(folder / table)) for table in sources}


def arguments(source):
    return {
        "keys": list(source.keys),
        "sequence_by": "sequence",
        "apply_as_deletes": "operation = 'delete'",
        "columns": list(source.columns),
        "columns_to_update": "changed_columns",
    }


def same_rows(found, path):
    expected = parquet.read_table(path)
    rows = [found.toArrow().cast(expected.schema), expected]
    return [sorted(map(repr, table.to_pylist())) for table in rows]


@pytest.mark.parametrize("table", ["products", "orders"])
def test_current_rows_are_those_of_the_database(sources, changes, table):
    source = sources[table]
    truncates = None if source.keeps_history else "operation = 'truncate'"
    found = scd1.current_rows(changes[table], apply_as_truncates=truncates, **arguments(source))
    rows, expected = same_rows(found, RECORD / f"{table}.parquet")
    assert len(rows) > 90
    assert rows == expected


def test_nothing_of_it_is_quarantined(spark, sources):
    for table, source in sources.items():
        events = read_events(spark, source, table)
        assert quarantine_changes(events, source).select("problems").collect() == []


@pytest.mark.parametrize("path", STATES, ids=[path.stem for path in STATES])
def test_the_history_as_of_a_stop_is_the_table_as_it_was(sources, changes, path):
    source, lsn = sources["orders"], int(path.stem.rpartition("_")[2])
    history = scd2.history(changes["orders"], **arguments(source))
    begins, ends = F.col("__START_AT.lsn"), F.col("__END_AT.lsn")
    then = history.where((begins <= lsn) & (ends.isNull() | (ends > lsn)))
    rows, expected = same_rows(then.select(*source.columns), path)
    assert len(rows) > 40
    assert rows == expected


def test_every_kind_of_change_is_in_it(sources, changes):
    "Values that lie outside their row are not sent where the replica identity is the key"
    counts = {row.operation: row["count"] for row in changes["orders"].groupBy("operation").count().collect()}
    assert set(counts) == {"read", "insert", "update", "delete"}
    columns = len(sources["products"].columns)
    partial = changes["products"].where(
        (F.col("operation") == "update") & (F.size("changed_columns") < columns)
    )
    assert partial.count() > 10
