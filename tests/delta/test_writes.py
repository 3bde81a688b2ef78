"""Both ways into a table, delta-rs for few rows and Spark for all else, write the same table.

Also what sends rows to Spark, and what a batch does that comes twice."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable as Files
from hypothesis import given
from pyspark.errors import AnalysisException
from pyspark.sql import Observation
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import to_arrow_schema
from pyspark.sql.types import StructField, StructType, _parse_datatype_string
from random_tables import VALUES, merged_by, randomness, some

from cdc_local.delta import choice
from cdc_local.delta.choice import MOST_BYTES, PROPERTY_DEFAULTS, choose_create
from cdc_local.delta.reader import read_table
from cdc_local.delta.writer import (
    append_batch,
    append_with_spark,
    create_table,
    create_with_spark,
    overwrite_table,
    overwrite_with_spark,
)
from cdc_local.storage import Storage, TableName
from cdc_local.update import append_flow
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

PLAIN = "id int, name string"


def frame(spark, folder, rows, schema):
    "Rows of a file: Spark knows how large it is."
    columns = to_arrow_schema(
        _parse_datatype_string(schema) if isinstance(schema, str) else schema, timezone="UTC"
    )
    file = folder / f"{len(list(folder.glob('*.parquet')))}.parquet"
    pq.write_table(
        pa.Table.from_pylist(
            [row if isinstance(row, dict) else dict(zip(columns.names, row, strict=False)) for row in rows],
            schema=columns,
        ),
        file,
    )
    return spark.read.parquet(str(file))


def table(spark, path, schema=PLAIN, **options):
    create_table(
        spark, path, _parse_datatype_string(schema) if isinstance(schema, str) else schema, **options
    )
    return path


def stored(spark, path):
    frame = spark.read.format("delta").load(str(path))
    return frame.schema.simpleString(), sorted(map(str, frame.collect()))


@some
@given(randomness)
def test_both_ways_write_the_same_rows(tiny, tmp_path_factory, choose):
    root = tmp_path_factory.mktemp("ways 100% é")
    types = {name: VALUES[name] for name in choose.sample(list(VALUES), 8)}
    schema = ", ".join(f"`{name}` {kind}" for name, (kind, _) in types.items())

    def rows(count):
        return [
            {
                name: None if choose.random() < 0.3 else choose.choice(values)
                for name, (_, values) in types.items()
            }
            for _ in range(count)
        ]

    few, many = (table(tiny, root / name, schema) for name in ("few", "many"))
    for number, count in enumerate((3, 0, 20)):
        batch = frame(tiny, root, rows(count), schema)
        if number == 2:
            batch = batch.select([f"`{name}`" for name in list(types)[:4]])  # a source that lost columns
        append_batch(batch, few, ("stream", number))
        append_with_spark(batch, many, ("stream", number))
        if count:
            assert (merged_by(few), merged_by(many)) == ("delta-rs", "Spark")
        assert stored(tiny, few) == stored(tiny, many)
    for count in (4, 0):
        batch = frame(tiny, root, rows(count), schema)
        overwrite_table(batch, few)
        overwrite_with_spark(batch, many)
        assert (merged_by(few), merged_by(many)) == ("delta-rs", "Spark")
        assert stored(tiny, few) == stored(tiny, many)


def first_commit(path):
    "What the log says of a new table, but its identity and time."
    found = [
        json.loads(line) for line in (path / "_delta_log/00000000000000000000.json").read_text().splitlines()
    ]
    metadata, protocol = (
        next(action[name] for action in found if name in action) for name in ("metaData", "protocol")
    )
    schema = json.loads(metadata["schemaString"])
    return (
        schema,
        metadata.get("description"),
        metadata["partitionColumns"],
        metadata["configuration"],
        protocol,
    )


@pytest.mark.parametrize(
    "schema",
    [
        "id int, name string",
        "id int NOT NULL COMMENT 'the key', price decimal(38,9), at timestamp, "
        "list array<struct<a:int COMMENT 'x'>>, map map<string,date>",
        "`a.b` int, `Größe-%` string, `%d` struct<`x.y`:int>",
    ],
)
@pytest.mark.parametrize(
    "comment, properties",
    [
        (None, {}),
        (
            "What it's for",
            {"quality": "gold", "pipelines.reset.allowed": "false", "cdc.keys": '["id"]', "level": 3},
        ),
    ],
)
def test_both_ways_create_the_same_table(tiny, tmp_path, schema, comment, properties):
    schema = _parse_datatype_string(schema)
    create_table(tiny, tmp_path / "few", schema, comment, properties)
    create_with_spark(
        tiny, tmp_path / "many", schema, comment, {key: str(value) for key, value in properties.items()}
    )
    assert merged_by(tmp_path / "few") == "delta-rs" and first_commit(tmp_path / "few") == first_commit(
        tmp_path / "many"
    )


@pytest.mark.parametrize(
    "schema",
    [
        "id int, ID int",
        "id int, `the name` string",
        "id int, place struct<`a;b`:int>",
        "id int, list array<struct<x:int,X:int>>",
    ],
)
def test_columns_that_spark_refuses_are_refused(tiny, tmp_path, schema):
    with pytest.raises(AnalysisException):
        table(tiny, tmp_path / "t", schema)
    assert not Files.is_deltatable(str(tmp_path / "t"))


@pytest.mark.parametrize(
    "schema, options",
    [
        (PLAIN, {"partition_cols": ["name"]}),
        (PLAIN, {"cluster_by": ["id"]}),
        (PLAIN, {"properties": {"delta.enableChangeDataFeed": "true"}}),
        (PLAIN, {"properties": {"delta.autoOptimize.autoCompact": "true"}}),
        ("id int, name variant", {}),
    ],
    ids=["partitioned", "clustered", "change data feed", "compacted", "variant"],
)
def test_a_table_that_needs_spark_gets_spark(tiny, tmp_path, schema, options):
    path = table(tiny, tmp_path / "t", schema, **options)
    assert merged_by(path) == "Spark"
    rows = frame(tiny, tmp_path, [(1, "a"), (2, "b")], PLAIN)
    if "variant" in schema:
        rows = rows.withColumn("name", F.parse_json(F.lit("1")))
    append_batch(rows, path)
    assert merged_by(path) == "Spark" and tiny.read.format("delta").load(str(path)).count() == 2
    layout = {name: options.get(name) for name in ("partition_cols", "cluster_by")}
    overwrite_table(rows.where("id = 1"), path, **layout)
    assert merged_by(path) == "Spark" and tiny.read.format("delta").load(str(path)).count() == 1
    if "partition_cols" in options:
        assert Files(path).metadata().partition_columns == ["name"]


def test_a_session_that_gives_tables_properties_makes_them(tiny, tmp_path):
    key = PROPERTY_DEFAULTS + "enableChangeDataFeed"
    tiny.conf.set(key, "true")
    try:
        table(tiny, tmp_path / "t")
    finally:
        tiny.conf.unset(key)
    assert Files(tmp_path / "t").metadata().configuration == {"delta.enableChangeDataFeed": "true"}


def test_new_columns_and_other_orders_replace_those_of_a_view(tiny, tmp_path):
    path = table(tiny, tmp_path / "t")
    for schema in (
        "name string, id int",
        "id int, name string, more date",
        "id bigint, name string",
        "id bigint COMMENT 'the key', name string",
    ):
        declared = _parse_datatype_string(schema)
        rows = frame(tiny, tmp_path, [{"id": 1, "name": "a"}], declared)
        rows = rows.select(
            [F.col(field.name).alias(field.name, metadata=field.metadata) for field in declared]
        )
        overwrite_table(rows, path)
        assert merged_by(path) == "Spark" and tiny.read.format("delta").load(str(path)).schema == declared
    overwrite_table(rows, path)
    assert merged_by(path) == "delta-rs" and tiny.read.format("delta").load(str(path)).schema == declared


def test_a_null_where_none_may_be_is_refused_by_name(tiny, tmp_path):
    path = table(tiny, tmp_path / "t", "id int NOT NULL, name string")
    with pytest.raises(Exception, match="(?i)not null.*id|id.*not null"):
        append_batch(frame(tiny, tmp_path, [(1, "a"), (None, "b")], PLAIN), path)
    assert Files(path).version() == 0
    append_batch(frame(tiny, tmp_path, [(1, "a")], PLAIN), path)
    assert merged_by(path) == "Spark"
    append_batch(
        frame(tiny, tmp_path, [(2, None)], PLAIN)
        .where("id = 2")
        .select(F.coalesce("id", F.lit(0)).alias("id"), "name"),
        path,
    )
    assert merged_by(path) == "delta-rs" and stored(tiny, path)[1] == [
        "Row(id=1, name='a')",
        "Row(id=2, name=None)",
    ]


def counted(spark, seen):
    "What an observation counted; None where nothing was computed, for which `get` would wait for ever."
    spark.sparkContext._jsc.sc().listenerBus().waitUntilEmpty()
    return seen.get if seen._jo.future().isCompleted() else None


@pytest.mark.parametrize(
    "limit, way", [(None, "delta-rs"), ("MOST_EVENTS", "Spark"), ("MOST_BYTES", "Spark")]
)
def test_a_batch_is_computed_once_and_written_once(tiny, tmp_path, monkeypatch, limit, way):
    "Also where it turns out not to be small; and a batch that comes again is computed, and not written."
    if limit:
        monkeypatch.setattr(choice, limit, 1)
    path = table(tiny, tmp_path / "t")
    for write in (
        lambda rows: append_batch(rows, path, ("stream", 5)),
        lambda rows: append_batch(rows, path, ("stream", 5)),
        lambda rows: append_batch(rows, path, ("stream", 4)),
    ):
        seen = Observation()
        write(
            frame(tiny, tmp_path, [(1, "a"), (2, "b")], PLAIN).observe(seen, F.count(F.lit(1)).alias("rows"))
        )
        assert counted(tiny, seen) == {"rows": 2} and Files(path).version() == 1 and merged_by(path) == way
    seen = Observation()
    overwrite_table(
        frame(tiny, tmp_path, [(1, "a"), (2, "b"), (3, "c")], PLAIN).observe(
            seen, F.count(F.lit(1)).alias("rows")
        ),
        path,
    )
    assert counted(tiny, seen) == {"rows": 3} and len(stored(tiny, path)[1]) == 3 and merged_by(path) == way


def test_a_batch_of_just_the_limits_is_small(tiny, tmp_path, monkeypatch):
    rows = frame(tiny, tmp_path, [(1, "a"), (2, "b")], PLAIN)
    monkeypatch.setattr(choice, "MOST_EVENTS", 2)
    monkeypatch.setattr(choice, "MOST_BYTES", (tmp_path / "0.parquet").stat().st_size)
    path = table(tiny, tmp_path / "t")
    append_batch(rows, path)
    assert merged_by(path) == "delta-rs"


def test_a_cluster_writes_for_itself(tiny, tmp_path, monkeypatch):
    path = table(tiny, tmp_path / "t")
    monkeypatch.setattr(choice, "is_local", lambda spark: False)
    append_batch(frame(tiny, tmp_path, [(1, "a")], PLAIN), path)
    assert merged_by(path) == "Spark" and merged_by(table(tiny, tmp_path / "other")) == "Spark"


def test_metadata_of_a_column_that_asks_for_more(tiny, tmp_path):
    "A generated column is a rule for writers, in the column's metadata."
    schema = StructType(
        [
            StructField("id", _parse_datatype_string("int")),
            StructField(
                "twice", _parse_datatype_string("int"), metadata={"delta.generationExpression": "id * 2"}
            ),
        ]
    )
    assert not choose_create(tiny, schema, {}).is_delta_rs
    assert choose_create(tiny, StructType(schema.fields[:1]), {}).is_delta_rs


PIPELINE = """
from pyspark import pipelines as dp
@dp.table
@dp.expect('named', 'name IS NOT NULL')
def landed():
    reader = spark.readStream.format('cloudFiles').option('cloudFiles.format', 'json')
    return reader.schema('id int, name string').load('/Volumes/main/default/raw/people')
@dp.table
def each_once(): return spark.readStream.table('landed').dropDuplicates(['id'])
"""


def dying_at(name, append_batch):
    "Appends, and at one table fails before the stream can note that the batch is done."

    def append(batch, path, transaction):
        append_batch(batch, path, transaction)
        if path.name == name:
            raise RuntimeError("killed after the commit")

    return append


@pytest.mark.parametrize("most", [MOST_BYTES, 0], ids=["few", "many"])
def test_an_update_that_dies_between_its_commit_and_its_checkpoint(tmp_path, monkeypatch, most):
    "The next one counts the batch's rows and rules, but does not append it; a stream with state goes on."
    monkeypatch.setattr(choice, "MOST_BYTES", most)
    (tmp_path / "src").mkdir()
    (tmp_path / "src/people.py").write_text(PIPELINE)
    storage = Storage(tmp_path / "storage")

    def update(number, *rows):
        landing = storage.root / "Volumes/main/default/raw/people"
        landing.mkdir(parents=True, exist_ok=True)
        if rows:
            (landing / f"{number}.json").write_text(
                "".join(json.dumps(dict(zip(("id", "name"), row, strict=True))) + "\n" for row in rows)
            )
        result = run_update(UpdateRequest((str(tmp_path / "src"),), storage.root))
        rules = {
            rule.name: (rule.passed_records, rule.failed_records)
            for flow in result.flows
            for rule in flow.expectations
        }
        return result.state, rules.get("named"), result.error

    def rows(name):
        return sorted(
            (row["id"], row["name"] or "")
            for row in read_table(storage, TableName("main", "default", name)).to_pylist()
        )

    assert update(1, (1, "a"), (2, None)) == ("COMPLETED", (1, 1), None)
    for number, victim in enumerate(("landed", "each_once"), 2):
        with monkeypatch.context() as patched:
            patched.setattr(append_flow, "append_batch", dying_at(victim, append_batch))
            state, _, error = update(number, (number * 10, "x"), (1, "again"))
            assert state == "FAILED" and "killed after the commit" in error
        state, counts, _ = update(number)
        assert state == "COMPLETED" and counts == (
            (2, 0) if victim == "landed" else (0, 0)
        )  # the batch that came again, or none
        assert rows("each_once") == sorted(
            [(1, "a"), (2, ""), *[(later * 10, "x") for later in range(2, number + 1)]]
        )
    assert rows("landed") == sorted([(1, "a"), (2, ""), (20, "x"), (30, "x"), (1, "again"), (1, "again")])
