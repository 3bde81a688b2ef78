"""Both ways of a batch into its table, delta-rs and Spark's MERGE, write the same rows, whatever the types.

Also what sends a batch to Spark, and what a batch does that comes twice."""

import datetime as dt
import json
from decimal import Decimal
from types import SimpleNamespace

import pyarrow as pa
import pytest
from deltalake import DeltaTable as Files
from deltalake import write_deltalake
from hypothesis import given
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import _parse_datatype_string
from random_tables import UTC, VALUES, arrow_frame, merged_by, randomness, some

from cdc_local.auto_cdc import merge
from cdc_local.auto_cdc.merge import (
    apply_events,
    merge_with_delta_rs,
    merge_with_spark,
)
from cdc_local.auto_cdc.target import Target, create_backing_table, extract_events
from cdc_local.dataflow.graph import Flow
from cdc_local.delta import choice
from cdc_local.delta.choice import choose_merge
from cdc_local.delta.files import can_read_files, list_data_files, read_rows_with_keys
from cdc_local.delta.reader import read_table
from cdc_local.delta.writer import merge_rows
from cdc_local.storage import Storage, TableName
from cdc_local.update import auto_cdc_flow
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update
from cdc_utils.spec import CdcSpec

KEYS = {
    "number": ("bigint", [0, 1, -(2**63), 2**63 - 1]),
    "Name": ("string", ["x", "X", "", "é'\"\\"]),
    "date": ("date", [dt.date(1, 1, 1), dt.date(2024, 1, 1)]),
    "decimal": ("decimal(20,4)", [Decimal("1.0000"), Decimal("1.0001")]),
    "at": ("timestamp", [dt.datetime(1900, 1, 1, tzinfo=UTC), dt.datetime(2024, 1, 1, tzinfo=UTC)]),
    "raw": ("binary", [b"", b"\x00"]),
}
SEQUENCES = {
    "int": lambda n: n,
    "timestamp": lambda n: (
        dt.datetime(1900, 1, 1, tzinfo=UTC) + dt.timedelta(microseconds=n, days=40_000 * (n % 2))
    ),
    "decimal(38,0)": lambda n: Decimal(n * 10**30),
    "struct<day:date,line:int>": lambda n: {"day": None if n < 2 else dt.date(2024, 1, n // 2), "line": n},
}


class Feed:
    "Random events of a random declaration."

    def __init__(self, choose, kind=None, partial=None):
        self.choose = choose
        self.keys = choose.sample(list(KEYS), choose.randint(1, 2))
        self.values = choose.sample(list(VALUES), 6)
        self.sequence = choose.choice(list(SEQUENCES))
        self.types = {name: (KEYS | VALUES)[name][0] for name in (*self.keys, *self.values)} | {
            "op": "string",
            "seq": self.sequence,
            "writes": "array<string>",
        }
        partial = partial or choose.choice(["", "nulls", "listed"])
        options = {
            "": {},
            "nulls": {"ignore_null_updates_column_list": self.values[:3]},
            "listed": {"columns_to_update": "writes"},
        }[partial]
        kind = kind or choose.choice([1, 2])
        if kind == 2 and choose.random() < 0.5:
            options["track_history_column_list"] = self.values[:4]
        self.spec = CdcSpec(
            "t",
            "events",
            keys=self.keys,
            sequence_by="seq",
            apply_as_deletes="op = 'D'",
            except_column_list=["op", "seq", "writes"],
            stored_as_scd_type=kind,
            **options,
        )
        self.schema = to_arrow_schema(
            _parse_datatype_string(", ".join(f"`{name}` {kind}" for name, kind in self.types.items())),
            timezone="UTC",
        )

    def event(self):
        def value(options):
            return None if self.choose.random() < 0.3 else self.choose.choice(options)

        return {
            **{name: self.choose.choice(KEYS[name][1]) for name in self.keys},
            **{name: value(VALUES[name][1]) for name in self.values},
            "op": "D" if self.choose.random() < 0.2 else "U",
            "seq": SEQUENCES[self.sequence](self.choose.randint(1, 40)),
            "writes": value([[], self.values[:1], self.values[2:5]]),
        }

    def batches(self):
        told, cut = [self.event() for _ in range(60)], self.choose.randint(5, 30)
        told += self.choose.sample(told, 10)  # some come twice
        return [told[:cut], told[cut:40], told[40:]]

    def frame(self, spark, rows):
        return spark.createDataFrame(pa.Table.from_pylist(rows, schema=self.schema))


class Table:
    "A backing table, merged into by one of the routes."

    def __init__(self, spark, path, spec, source, extra=None):
        self.spark, self.path = spark, path
        self.target = Target.of(Flow("t", TableName("main", "default", "t"), "auto_cdc", spec=spec), source)
        create_backing_table(spark, path, self.target, source, extra=extra)

    def events(self, frame):
        return extract_events(frame, self.target)

    def rows(self):
        "All stored rows, hidden columns too, as Spark reads them."
        return sorted(str(row) for row in self.spark.read.format("delta").load(str(self.path)).collect())


def with_spark(table, events):
    "What `apply_events` does where the short route is closed."
    if not Files(table.path).file_uris():
        apply_events(events, table.path, table.target)
    else:
        merge_with_spark(events, table.path, table.target)


@some
@given(randomness)
def test_both_routes_write_the_same_rows(tiny, tmp_path_factory, choose):
    feed, root = Feed(choose), tmp_path_factory.mktemp("routes *? {a} 100% é")
    source = feed.frame(tiny, []).schema
    short, long = (Table(tiny, root / name, feed.spec, source) for name in ("short", "long"))
    for number, batch in enumerate(feed.batches()):
        frame = feed.frame(tiny, batch)
        if number:
            assert choose_merge(Files(short.path), short.events(frame), short.target.identity).is_delta_rs
            assert merge_with_delta_rs(short.events(frame), Files(short.path), short.path, short.target)
        else:
            with_spark(short, short.events(frame))
        with_spark(long, long.events(frame))
        assert short.rows() == long.rows(), (number, feed.spec, feed.types)


SPEC = CdcSpec(
    "t",
    "events",
    keys=["id"],
    sequence_by="at",
    apply_as_deletes="op = 'D'",
    except_column_list=["at", "op"],
    stored_as_scd_type=2,
)
SCHEMA = "id int, name string, seen timestamp, at int, op string"
SEEN = dt.datetime(2024, 1, 1, tzinfo=UTC)
FIRST = [(number, f"n{number}", SEEN, 1, "U") for number in range(50)]
SECOND = [(7, "seven", None, 2, "U"), (8, None, SEEN, 2, "D"), (99, "new", SEEN, 1, "U")]


def frame(spark, rows, schema=SCHEMA):
    return arrow_frame(spark, rows, schema)


def stored_after(spark, path, extra=None, change=lambda table: None):
    "A table with two batches; the second after a change."
    table = Table(spark, path, SPEC, frame(spark, []).schema, extra)
    apply_events(table.events(frame(spark, FIRST)), path, table.target)
    change(table)
    apply_events(table.events(frame(spark, SECOND)), path, table.target, ("stream", 1))
    return table


@pytest.fixture(scope="module")
def expected(tiny, tmp_path_factory):
    table = stored_after(tiny, tmp_path_factory.mktemp("plain") / "t")
    assert merged_by(table.path) == "delta-rs" and Files(table.path).transaction_version("stream") == 1
    return table.rows()


def old_timestamps(table):
    "Write the rows anew as Spark did before it wrote TIMESTAMP_MICROS."
    spark = table.spark
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    try:
        spark.read.format("delta").load(str(table.path)).coalesce(1).write.format("delta").mode(
            "overwrite"
        ).save(str(table.path))
    finally:
        spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    assert not can_read_files(list_data_files(Files(table.path), table.path))


def deletion_vector(table):
    "Let a file have a row that is no row of the table any more."
    table.spark.sql(f"INSERT INTO delta.`{table.path}` SELECT * FROM delta.`{table.path}` WHERE id < 40")
    table.spark.sql(f"DELETE FROM delta.`{table.path}` WHERE id < 40")
    table.spark.sql(
        f"INSERT INTO delta.`{table.path}` SELECT * FROM delta.`{table.path}` VERSION AS OF 1 WHERE id < 40"
    )


@pytest.mark.parametrize(
    "properties, change",
    [
        ({"delta.enableDeletionVectors": "true"}, deletion_vector),
        (
            {
                "delta.columnMapping.mode": "name",
                "delta.minReaderVersion": "2",
                "delta.minWriterVersion": "5",
            },
            lambda table: None,
        ),
        ({"delta.enableChangeDataFeed": "true"}, lambda table: None),
        ({}, old_timestamps),
    ],
    ids=["deletion vectors", "column mapping", "change data feed", "INT96"],
)
def test_a_table_that_needs_spark_gets_spark(tiny, tmp_path, expected, properties, change):
    table = stored_after(tiny, tmp_path / "t", properties, change)
    assert merged_by(table.path) == "Spark" and table.rows() == expected


@pytest.mark.parametrize("limit", ["MOST_EVENTS", "MOST_STORED_ROWS"])
def test_a_batch_that_is_not_small_gets_spark(tiny, tmp_path, expected, limit, monkeypatch):
    monkeypatch.setattr(choice, limit, 1)
    table = stored_after(tiny, tmp_path / "t")
    assert merged_by(table.path) == "Spark" and table.rows() == expected


def test_a_batch_of_just_the_limit_is_small(tiny, tmp_path, expected, monkeypatch):
    monkeypatch.setattr(choice, "MOST_EVENTS", len(SECOND))
    monkeypatch.setattr(choice, "MOST_STORED_ROWS", 2)  # 7 and 8 are stored
    table = stored_after(tiny, tmp_path / "t")
    assert merged_by(table.path) == "delta-rs" and table.rows() == expected


ELSEWHERE = SimpleNamespace(sparkContext=SimpleNamespace(master="spark://host:7077"))  # a cluster's session


@pytest.mark.parametrize(
    "column, kind",
    [
        ("name", "variant"),
        ("id", "double"),
        ("id", "struct<a:float>"),
        ("id", "string collate unicode_ci"),
        ("at", "double"),
    ],
)
def test_types_and_masters_that_need_spark(tiny, tmp_path, column, kind):
    "Decided from schemas: no such table has to be there."

    def suits(session, told, written):
        events = type("", (), {"sparkSession": session, "schema": _parse_datatype_string(told)})
        schema = _parse_datatype_string(written)
        table = type(
            "",
            (),
            {
                "protocol": plain.protocol,
                "metadata": plain.metadata,
                "schema": lambda self: type("", (), {"to_json": lambda self: schema.json()})(),
            },
        )()
        target = Target(SPEC, ("id",), ("id", "name"), None)
        return choose_merge(table, events, target.identity).is_delta_rs

    write_deltalake(tmp_path / "t", pa.table({"id": [1]}))
    plain = Files(tmp_path / "t")
    types = {"id": "int", "name": "string", "__sequence": "int", "__deleted": "boolean"}

    def columns(types):
        return ", ".join(f"{name} {kind}" for name, kind in types.items())

    good = columns(types)
    assert suits(tiny, good, good) and suits(tiny, "id int NOT NULL, __sequence int", good)
    assert not suits(ELSEWHERE, good, good)
    assert not suits(tiny, good.replace("name string", "name int"), good) and not suits(
        tiny, good + ", more int", good
    )
    bad = columns(types | {"__sequence" if column == "at" else column: kind})
    assert not suits(tiny, bad, bad)


def test_a_source_that_gains_and_loses_columns(tiny, tmp_path):
    "Old files lack the new column and the new field; stored rows keep what the source has no more."
    now = "id int, seen timestamp, at int, op string, place struct<city:string,zip:int>, level int"
    before = "id int, name string, seen timestamp, at int, op string, place struct<city:string>"
    first = [(number, f"n{number}", SEEN, 1, "U", {"city": "Ulm"}) for number in range(20)]
    second = [
        (3, SEEN, 2, "U", {"city": "Bonn", "zip": 53}, 1),
        (4, None, 2, "D", None, None),
        (5, SEEN, 0, "U", None, 7),
        (30, SEEN, 1, "U", None, 2),
    ]
    rows = []
    for route in (with_spark, lambda table, events: apply_events(events, table.path, table.target)):
        path = tmp_path / f"{len(rows)}"
        table = Table(tiny, path, SPEC, frame(tiny, [], before).schema)
        route(table, table.events(frame(tiny, first, before)))
        table = Table(tiny, path, SPEC, frame(tiny, [], now).schema)
        route(table, table.events(frame(tiny, second, now)))
        assert merged_by(path) == ("delta-rs" if rows else "Spark")
        rows.append(table.rows())
    assert rows[0] == rows[1]


def test_a_large_decimal_finds_its_row(tmp_path):
    "delta-rs rounds the bounds of a decimal to a double: files must not be left out by them."
    numbers = pa.array(
        [Decimal("1234567890123456.7891"), Decimal("1234567890123456.7892")], pa.decimal128(20, 4)
    )
    write_deltalake(tmp_path, pa.table({"id": numbers, "name": ["a", "b"]}))
    merge_rows(Files(tmp_path), pa.table({"id": numbers, "name": ["A", "B"]}), ["id"])
    rows = read_rows_with_keys(
        list_data_files(Files(tmp_path), tmp_path),
        pa.table({"id": numbers}),
        pa.schema({"id": numbers.type, "name": pa.string()}),
        limit=10,
    )
    assert sorted(rows["name"].to_pylist()) == ["A", "B"]


def test_files_without_a_touched_key_stay(tiny, tmp_path):
    table = Table(tiny, tmp_path / "t", SPEC, frame(tiny, []).schema)
    for start in (0, 100):
        apply_events(
            table.events(frame(tiny, [(start + number, "n", SEEN, 1, "U") for number in range(50)])),
            table.path,
            table.target,
        )
    before = set(list_data_files(Files(table.path), table.path))
    apply_events(table.events(frame(tiny, [(120, "other", None, 3, "U")])), table.path, table.target)
    after = set(list_data_files(Files(table.path), table.path))
    assert len(before) == 2 and len(before & after) == 1 and len(table.rows()) == 101


def test_new_keys_only_and_nothing_at_all_with_nested_columns(tiny, tmp_path):
    schema = "id int, list array<int>, nested struct<a:int>, map map<string,int>, at int, op string"
    table = Table(tiny, tmp_path / "t", SPEC, _parse_datatype_string(schema))

    def events(*ids):
        return table.events(
            tiny.createDataFrame([(id, [id], (id,), {"a": id}, 1, "U") for id in ids], schema)
        )

    apply_events(events(1), table.path, table.target)
    for ids in ((2, 3), ()):
        assert merge_with_delta_rs(events(*ids), Files(table.path), table.path, table.target)
    assert [
        tuple(row)
        for row in tiny.read.format("delta")
        .load(str(table.path))
        .orderBy("id")
        .select("id", "list", "nested.a", "map")
        .collect()
    ] == [(id, [id], id, {"a": id}) for id in (1, 2, 3)]


def test_a_batch_that_comes_twice_is_merged_once(tiny, tmp_path, monkeypatch):
    table = stored_after(tiny, tmp_path / "t")
    version, rows = Files(table.path).version(), table.rows()
    apply_events(
        table.events(frame(tiny, SECOND)), table.path, table.target
    )  # under no name: it differs in nothing

    def must_not(*_):
        raise AssertionError("it was merged again")

    monkeypatch.setattr(merge, "find_changed_rows", must_not)
    for number in (0, 1):
        apply_events(table.events(frame(tiny, SECOND)), table.path, table.target, ("stream", number))
    for name, number in (("stream", 2), ("other", 1)):
        with pytest.raises(AssertionError):
            apply_events(table.events(frame(tiny, SECOND)), table.path, table.target, (name, number))
    assert Files(table.path).version() == version and table.rows() == rows


PIPELINE = """
from pyspark import pipelines as dp
@dp.table
def landed():
    reader = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return reader.schema('id int, name string, at int').load('/Volumes/main/default/raw/people')
@dp.temporary_view
def each_once(): return spark.readStream.table('landed').dropDuplicates(['id', 'at'])
dp.create_streaming_table('people')
dp.create_auto_cdc_flow('people', 'each_once', ['id'], 'at', except_column_list=['at'], stored_as_scd_type=2)
"""


class Dies:
    "Merges, and fails before the stream can note that the batch is done."

    def __init__(self, *arguments):
        apply_events(*arguments)
        raise RuntimeError("killed after the commit")


def test_an_update_that_dies_between_its_commit_and_its_checkpoint(tmp_path, monkeypatch):
    "The next one does not merge the batch again, counts its events, and a stream with state goes on."
    (tmp_path / "src").mkdir()
    (tmp_path / "src/people.py").write_text(PIPELINE)
    storage = Storage(tmp_path / "storage")
    path = storage.table_path(TableName("main", "default", "people"))

    def update(number, *events):
        landing = storage.root / "Volumes/main/default/raw/people"
        landing.mkdir(parents=True, exist_ok=True)
        if events:
            (landing / f"{number}.json").write_text(
                "".join(
                    json.dumps(dict(zip(("id", "name", "at"), event, strict=True))) + "\n" for event in events
                )
            )
        result = run_update(UpdateRequest((str(tmp_path / "src"),), storage.root))
        return (
            result.state,
            next((flow.num_upserted_rows for flow in result.flows if flow.dataset.endswith("people")), None),
            result.error,
        )

    assert update(1, (1, "a", 1), (2, "b", 1)) == ("COMPLETED", 2, None)
    with monkeypatch.context() as patched:
        patched.setattr(auto_cdc_flow, "apply_events", Dies)
        state, _, error = update(2, (1, "A", 2), (1, "A", 2), (3, "c", 1))
        assert state == "FAILED" and "killed after the commit" in error
    version = Files(path).version()
    assert merged_by(path) == "delta-rs"

    def must_not(*_):
        raise AssertionError("it was merged again")

    with monkeypatch.context() as patched:
        patched.setattr(merge, "find_changed_rows", must_not)
        assert update(2) == ("COMPLETED", 2, None)
    assert Files(path).version() == version
    assert update(3, (1, "A", 2), (2, "B", 2)) == ("COMPLETED", 1, None)
    rows = [
        tuple(row.values())
        for row in read_table(storage, TableName("main", "default", "people"), ordered=True).to_pylist()
    ]
    assert rows == [(1, "A", 2, None), (1, "a", 1, 2), (2, "B", 2, None), (2, "b", 1, 2), (3, "c", 1, None)]
