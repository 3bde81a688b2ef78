"""The same pipeline over the same events, on Spark, on Sail, and on both in turns: the same tables, the same
counters in the event log, the same kinds of errors.

What Spark gives for all updates of a pipeline stands in spark_record.json (spark_record.py says how to remake
it). Each run compares Sail with that, and both engines in turns, and one pipeline as Spark runs it now.
"""

import shutil
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from spark_record import REMAKES, read_record, write_record
from two_engines import Updates

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage


@pytest.fixture(scope="module")
def engines():
    engines = {name: Updates(name) for name in ("spark", "sail")}
    yield engines
    for engine in engines.values():
        engine.close()


SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("n", pa.int64()),
        ("city", pa.string()),
        ("amount", pa.decimal128(10, 2)),
        ("op", pa.string()),
        ("updates", pa.list_(pa.string())),
    ]
)


def land(storage, rows):
    "Append events to the table that pipelines stream; it lies in their storage, and no pipeline declares it."
    columns = [list(column) for column in zip(*rows, strict=True)]
    columns[3] = [None if value is None else Decimal(value) for value in columns[3]]
    path = storage / "tables" / "main" / "ext" / "events"
    write_deltalake(str(path), pa.table(columns, schema=SCHEMA), mode="append")


FIRST = [
    ("a", 1, "Oslo", "1.00", "U", ["city"]),
    ("b", 2, "Rome", None, "U", ["city", "amount"]),
    ("a", 3, None, "2.50", "U", ["amount"]),
    ("c", 2, "Bonn", "-1.00", "U", None),
    ("d", 4, "Kyiv", "3.00", "U", ["city", "amount"]),
    ("d", 5, None, None, "D", None),
]
SECOND = [
    ("a", 2, "Lima", "7.00", "U", ["city", "amount"]),  # late
    ("a", 3, None, "2.50", "U", ["amount"]),  # repeated
    ("b", 9, None, None, "D", None),
    ("e", 1, "Zürich 😀", "0.01", "U", ["city"]),
]
THIRD = [
    ("b", 10, "Rome", "4.00", "U", ["city", "amount"]),
    ("d", 3, "Kyiv", "1.00", "U", ["amount"]),  # late, before a delete
    ("f", 1, "Bern", "-5.00", "U", ["city"]),
]
BATCHES = (FIRST, SECOND, THIRD)

HEAD = """from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.table
def bronze():
    return spark.readStream.table("main.ext.events")
"""

PIPELINES = {
    "rules": HEAD
    + """
@dp.temporary_view
@dp.expect_or_drop("cheap", "amount IS NULL OR amount < 5")
def seen():
    return spark.readStream.table("bronze").withColumn("city", F.upper("city"))

@dp.table
@dp.expect_all({"known": "city IS NOT NULL", "late": "n > 2"})
@dp.expect_or_drop("positive", "amount >= 0")
def clean():
    return spark.readStream.table("seen")

@dp.materialized_view
@dp.expect("big", "total > 1")
def totals():
    found = spark.read.table("clean").groupBy("id")
    return found.agg(F.sum("amount").alias("total"), F.count("n").alias("n"))
""",
    "scd": HEAD
    + """
for kind in (1, 2):
    dp.create_streaming_table(f"scd{kind}")
    dp.create_auto_cdc_flow(
        target=f"scd{kind}", source="bronze", keys=["id"], sequence_by=F.col("n"), stored_as_scd_type=kind,
        apply_as_deletes=F.expr("op = 'D'"), except_column_list=["op", "updates"],
    )

@dp.materialized_view
def lives():
    found = spark.read.table("scd2").groupBy("id")
    return found.agg(F.count("*").alias("versions"), F.max("__END_AT").alias("end"))
""",
    "partial updates": HEAD
    + """
for kind in (1, 2):
    dp.create_streaming_table(f"nulls{kind}")
    dp.create_auto_cdc_flow(
        target=f"nulls{kind}", source="bronze", keys=["id"], sequence_by="n", stored_as_scd_type=kind,
        ignore_null_updates=True, column_list=["id", "n", "city", "amount"],
    )
dp.create_streaming_table("tracked")
dp.create_auto_cdc_flow(
    target="tracked", source="bronze", keys=["id"], sequence_by=F.struct("n", "op"), stored_as_scd_type=2,
    track_history_column_list=["city"], apply_as_deletes="op = 'D'",
)
""",
    "bitemporal": HEAD
    + """
dp.create_streaming_table("known")
dp.create_auto_cdc_flow(
    target="known", source="bronze", keys=["id"], sequence_by="n", system_sequence_by="coalesce(amount, 5)",
    stored_as_scd_type="bitemporal", apply_as_deletes="op = 'D'", column_list=["id", "city"],
)
dp.create_streaming_table("partly")
dp.create_auto_cdc_flow(
    target="partly", source="bronze", keys=["id"], sequence_by=F.struct("n", "op"), ignore_null_updates=True,
    system_sequence_by=F.coalesce("amount", "n"), stored_as_scd_type="bitemporal",
    column_list=["id", "n", "city"], track_history_except_column_list=["n"],
)
""",
    "truncates": HEAD
    + """
dp.create_streaming_table("cut")
dp.create_auto_cdc_flow(
    target="cut", source="bronze", keys=["id"], sequence_by="n", apply_as_deletes="op = 'D'",
    apply_as_truncates="id = 'c'",
)
""",
    "snapshots": HEAD
    + """
@dp.materialized_view
def newest():
    return spark.read.table("bronze").groupBy("id").agg(F.max("n").alias("n"), F.max("city").alias("city"))

dp.create_streaming_table("history")
dp.create_auto_cdc_from_snapshot_flow(target="history", source="newest", keys=["id"], stored_as_scd_type=2)
""",
    "change feeds": HEAD
    + """
KINDS = {
    "one": {"apply_as_truncates": "id = 'f'"},
    "two": {"stored_as_scd_type": 2, "track_history_column_list": ["city"]},
}
for kind, more in KINDS.items():
    dp.create_streaming_table(kind)
    dp.create_auto_cdc_flow(
        target=kind, source="bronze", keys=["ID"], sequence_by="n", apply_as_deletes="op = 'D'",
        except_column_list=["op", "updates"], **more,
    )

    @dp.table(name=f"changes_of_{kind}")
    def changes(kind=kind):
        return spark.readStream.option("readChangeFeed", "true").table(kind).drop("_commit_timestamp")

dp.create_streaming_table("copy")
dp.create_auto_cdc_flow(
    target="copy", source="changed", keys=["id"], sequence_by=F.struct("_commit_version", "_change_type"),
    apply_as_deletes="_change_type = 'delete'",
    except_column_list=["_change_type", "_commit_version", "_commit_timestamp"],
)

@dp.temporary_view
def changed():
    changes = spark.sql("SELECT * FROM STREAM one WITH (readChangeFeed = true)")
    return changes.where("_change_type <> 'update_preimage'")

@dp.materialized_view
def listed():
    changes = spark.sql("SELECT * FROM table_changes('two', 0) WHERE _commit_timestamp IS NOT NULL")
    return changes.drop("_commit_timestamp")
""",
    "replaced rows": HEAD
    + """
@dp.table(replace_using=["id"], sequence_by="n")
@dp.expect_or_drop("known", "op = 'U'")
def newest():
    return spark.readStream.table("bronze")

@dp.table(replace_using=["city", "op"], sequence_by=F.struct("n", "id"))
def of_city():
    return spark.readStream.table("bronze").select("city", "op", "n", "id", "updates")

@dp.table(replace_where="n >= 3")
def late():
    return spark.read.table("bronze").groupBy("n").agg(F.count("id").alias("events"))
""",
    "ties": HEAD
    + """
for kind in (1, 2):
    dp.create_streaming_table(f"tied{kind}")
    dp.create_auto_cdc_flow(
        target=f"tied{kind}", source="bronze", keys=["id"], sequence_by=F.lit(1), stored_as_scd_type=kind,
        except_column_list=["updates"],
    )
""",
    "joins and unions": HEAD
    + """
@dp.materialized_view
def cities():
    return spark.read.table("bronze").where("city IS NOT NULL").select("city").distinct()

@dp.table
def joined():
    events = spark.readStream.table("bronze")
    return events.join(spark.read.table("cities"), "city", "left").select("id", "n", "city")

dp.create_streaming_table("twice")

@dp.append_flow(target="twice")
def first():
    return spark.readStream.table("bronze").select("id", F.lit("first").alias("flow"))

@dp.append_flow(target="twice")
def second():
    rows = spark.readStream.table("bronze").select("id", F.explode("updates").alias("flow"))
    return rows.union(spark.readStream.table("joined").select("id", "city"))
""",
}

PIPELINES["texts of Python's"] = (
    HEAD
    + """
@dp.materialized_view
def by_name():
    text = "SELECT id, n FROM bronze WHERE n > :low AND city = :city"
    return spark.sql(text, args={"low": 0, "city": "Oslo"})

@dp.materialized_view
def in_order():
    return spark.sql("SELECT id, n, ? AS flow FROM main.default.bronze WHERE n > ?", args=["it's", 1])

@dp.materialized_view
def frames():
    rows = spark.read.table("bronze").where("n > 1")
    text = "SELECT a.id, {n} FROM {rows} a JOIN {rows} b ON a.id = b.id WHERE a.n = {low} AND a.city = {city}"
    return spark.sql(text, rows=rows, n=F.col("b.n"), low=2, city="Rome")

@dp.table
def streamed():
    return spark.sql("SELECT id, n FROM {events} WHERE n > 1", events=spark.readStream.table("bronze"))

@dp.materialized_view
def identified():
    text = "SELECT id, IDENTIFIER(:c) FROM IDENTIFIER(:t)"
    return spark.sql(text, args={"c": "city", "t": "default.bronze"})
"""
)

# Actions see no rows while the pipeline is analysed, and all of them when the table is computed
PIPELINES["actions"] = (
    HEAD
    + """
@dp.materialized_view
def acted():
    rows = spark.read.table("bronze").orderBy("id", "n", "op")
    seen = {
        "count": rows.count(), "collect": rows.collect(), "first": rows.first(), "head": rows.head(2),
        "take": rows.take(3), "tail": rows.tail(2), "isEmpty": rows.where("n > 100").isEmpty(),
        "toLocalIterator": list(rows.select("updates").limit(2).orderBy("updates").toLocalIterator()),
        "one": spark.sql("SELECT max(n) AS n, min(amount) AS a FROM bronze").collect()[0].asDict(),
    }
    columns = ["id", "n", "city", "amount", "n / 2 AS half", "updates", "DATE'2026-01-01' AS d"]
    columns += ["CASE WHEN n > 2 THEN n END AS some", "TIMESTAMP'2026-01-01 10:00:00' AS at", "n > 2 AS late"]
    given = rows.selectExpr(*columns).orderBy("id", "n", "city", "half").toPandas()
    seen |= {"toPandas": given.to_dict("records"), "types": given.dtypes.to_dict()}
    shown = [F.lit(repr(value)).alias(name) for name, value in seen.items()]
    return rows.agg(F.count("id").alias("n")).select(*shown)

@dp.table
def of_known():
    counts = spark.read.table("bronze").groupBy("city").count()
    cities = [row.city for row in counts.orderBy("city").collect()]
    return spark.readStream.table("bronze").select("id", "n", F.lit(str(cities)).alias("cities"))
"""
)

# A name of one part is the view's in all of the pipeline, and a full name is a table's
PIPELINES["a view named as the table that it reads"] = (
    HEAD
    + """
dp.create_streaming_table("filled")
spark.sql("USE SCHEMA ext")

@dp.temporary_view
def events():
    return spark.readStream.table("main.ext.events").where("n > 1")

spark.sql("USE SCHEMA default")
dp.create_auto_cdc_flow(
    target="filled", source="events", keys=["id"], sequence_by="n", once=True, name="fill",
    except_column_list=["op", "updates"],
)

@dp.table
def passed():
    return spark.readStream.table("events").select("id", "n")
"""
)


# Lakeflow's SQL; its tables have the rows that Python's have
PIPELINES["sql"] = """
CREATE OR REFRESH STREAMING TABLE bronze AS SELECT * FROM STREAM main.ext.events;
CREATE TEMPORARY VIEW seen (CONSTRAINT cheap EXPECT (amount IS NULL OR amount < 5) ON VIOLATION DROP ROW)
  AS SELECT * EXCEPT (city), upper(city) AS city FROM STREAM(LIVE.bronze);
CREATE OR REFRESH STREAMING TABLE clean (CONSTRAINT known EXPECT (city IS NOT NULL),
  CONSTRAINT positive EXPECT (amount >= 0) ON VIOLATION DROP ROW) AS SELECT * FROM STREAM seen;
CREATE OR REFRESH STREAMING TABLE scd2;
CREATE FLOW apply AS AUTO CDC INTO scd2 FROM STREAM bronze KEYS (id) APPLY AS DELETE WHEN op = 'D'
  SEQUENCE BY n COLUMNS * EXCEPT (op, updates) STORED AS SCD TYPE 2;
CREATE OR REFRESH MATERIALIZED VIEW totals AS
  SELECT id, sum(amount) AS total, count(*) AS n FROM (SELECT id, amount FROM clean WHERE n > 1) GROUP BY id;
CREATE OR REFRESH MATERIALIZED VIEW cities AS SELECT DISTINCT city FROM bronze WHERE city IS NOT NULL;
CREATE OR REFRESH STREAMING TABLE joined AS
  SELECT b.id, b.n, c.city AS known FROM STREAM bronze b LEFT JOIN cities c ON b.city = c.city;
CREATE OR REFRESH STREAMING TABLE twice;
CREATE FLOW first AS INSERT INTO twice BY NAME
  WITH seen AS (SELECT id FROM STREAM bronze WHERE n > 1) SELECT id, 'first' AS flow FROM seen;
CREATE FLOW second AS INSERT INTO twice BY NAME
  SELECT id, explode(updates) AS flow FROM STREAM bronze UNION ALL SELECT id, known FROM STREAM(joined);
CREATE OR REFRESH MATERIALIZED VIEW ranks AS
  SELECT id, n, row_number() OVER (PARTITION BY id ORDER BY n, op, amount) AS place FROM bronze;
CREATE OR REFRESH MATERIALIZED VIEW spoken (CONSTRAINT few EXPECT (iff(n > 4, false, true))) AS
  SELECT id, n, iff(n > 2, city, 'few') AS shown, n::string AS written FROM bronze
"""


def tables_of(storage):
    "Rows of each table of the pipeline; a snapshot's history without the moment that it was taken."
    opened = Storage(storage)
    found = {}
    for name in opened.tables():
        if name.schema == "default":
            rows = read_rows(opened, name)
            keep = [
                i for i, column in enumerate(rows.columns) if name.table != "history" or column[:2] != "__"
            ]
            values = sorted((tuple(row[i] for i in keep) for row in rows.values), key=repr)
            found[name.table] = ([rows.columns[i] for i in keep], values)
    return found


ORDERS = {  # of engines, update by update; the last has nothing new
    "spark": ("spark", "spark", "spark", "spark"),
    "sail": ("sail", "sail", "sail", "sail"),
    "turns": ("sail", "spark", "sail", "sail"),
}
STILL_RUN = "scd"  # the pipeline whose record is seen to be what Spark gives today


def run_updates(order, engines, source, storage):
    "What each update says and leaves, in words that a file can hold."
    given = []
    for engine, batch in zip(order, (*BATCHES, None), strict=True):
        if batch:
            land(storage, batch)
        said = engines[engine].run(source, storage)
        said["warnings"] = [text.replace(f"{source.parent}/", "") for text in said.get("warnings", ())]
        left = {
            table: [columns, [repr(row) for row in rows]]
            for table, (columns, rows) in tables_of(storage).items()
        }
        given.append({"said": said, "left": left})
    return given


@pytest.mark.parametrize("name", PIPELINES)
def test_tables_and_counters_are_the_same_on_either_engine_and_on_both_in_turns(name, engines, tmp_path):
    source = tmp_path / ("pipeline.sql" if name == "sql" else "pipeline.py")
    source.write_text(PIPELINES[name])
    asked = (PIPELINES[name], BATCHES)
    recorded = None if REMAKES else read_record(name, asked)
    if recorded is None:
        recorded = run_updates(ORDERS["spark"], engines, source, tmp_path / "reference")
    if REMAKES:
        write_record(name, asked, recorded)
    assert [update["said"]["state"] for update in recorded] == ["COMPLETED"] * 4, recorded
    for plan in ("spark", "sail", "turns") if name == STILL_RUN else ("sail", "turns"):
        given = run_updates(ORDERS[plan], engines, source, tmp_path / plan)
        for number, (update, expected) in enumerate(zip(given, recorded, strict=True)):
            assert update["said"] == expected["said"], f"update {number} of {plan}"
            assert update["left"] == expected["left"], f"update {number} of {plan}"


def test_what_spark_gave_for_another_pipeline_is_no_reference():
    assert read_record("rules", (PIPELINES["rules"], BATCHES))
    assert read_record("rules", (PIPELINES["rules"] + "# changed", BATCHES)) is None


ASKED = (
    HEAD
    + """
@dp.materialized_view
def asked():
    found = spark.catalog.tableExists("main.ext.events") and not spark.catalog.tableExists("main.ext.nothing")
    text = "SELECT table_name, :found AS found FROM information_schema.tables WHERE table_schema = 'ext'"
    return spark.sql(text, args={"found": found})

@dp.materialized_view
def shown():
    return spark.sql("DESCRIBE TABLE main.ext.events").where("col_name <> 'op'")
"""
)


def test_what_is_asked_about_tables_is_answered_alike(engines, tmp_path):
    source, found = tmp_path / "pipeline.py", []
    source.write_text(ASKED)
    for name, engine in engines.items():
        land(tmp_path / name, FIRST)
        answer = engine.run(source, tmp_path / name)
        assert answer["state"] == "COMPLETED", answer
        found.append(tables_of(tmp_path / name))
    assert found[0] == found[1] and found[0]["asked"][1] == [("events", True)]


FAULTS = {
    "a rule fails": (
        '@dp.table\n@dp.expect_or_fail("none", "amount > 0")\ndef t():\n'
        '    return spark.readStream.table("bronze").where("amount IS NOT NULL")\n',
        "EXPECTATION_VIOLATION rule 'none' (amount > 0) is broken by",
    ),
    "a cast fails": (
        "@dp.table\ndef t():\n"
        '    return spark.readStream.table("bronze").select(F.col("city").cast("int"))\n',
        "Oslo",
    ),
    "an unknown column": (
        '@dp.table\ndef t():\n    return spark.readStream.table("bronze").select("nope")\n',
        "nope",
    ),
    "an unknown table": ('@dp.table\ndef t():\n    return spark.readStream.table("nope")\n', "nope"),
    "an action on a stream": (
        '@dp.table\ndef t():\n    f = spark.readStream.table("bronze"); f.count(); return f\n',
        "count() acts on a stream",
    ),
    "a write": ('@dp.table\ndef t():\n    f = spark.read.table("bronze"); f.write; return f\n', "write"),
    "a rule that is no SQL": (
        '@dp.table\n@dp.expect("x", "id >")\ndef t():\n    return spark.readStream.table("bronze")\n',
        "expectation 'x'",
    ),
    "a cycle": (
        '@dp.table\ndef t():\n    return spark.read.table("u")\n@dp.table\ndef u():\n'
        '    return spark.read.table("t")\n',
        "cycle",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_mistake_is_refused_on_either_engine_at_the_same_line(name, engines, tmp_path):
    code, words = FAULTS[name]
    source = tmp_path / "pipeline.py"
    source.write_text(HEAD + code)
    found = {}
    for engine in engines:
        land(tmp_path / engine, FIRST)
        answer = engines[engine].run(source, tmp_path / engine)
        failed = [flow["error"] for flow in answer.get("flows", {}).values() if flow["error"]]
        message = answer.get("message") or failed[0]
        assert words in message, (engine, message)
        assert "java" not in message.lower()
        found[engine] = (answer["state"], message.partition(": ")[0], tables_of(tmp_path / engine).get("t"))
    assert found["sail"] == found["spark"]


LEFT_TO_SPARK = {
    "a sink": (
        'dp.create_sink("out", "delta", {"path": "/tmp/unwritten"})\n'
        '@dp.append_flow(target="out")\ndef t():\n'
        '    return spark.readStream.table("bronze")\n',
        "t: main.default.out is a sink, which Spark alone writes",
    ),
    "state": ('@dp.table\ndef t():\n    return spark.readStream.table("bronze").distinct()\n', "keeps state"),
    "a sort of a stream": (
        '@dp.table\ndef t():\n    return spark.readStream.table("bronze").orderBy("id")\n',
        "it sorts a stream",
    ),
    "a stream of files without Auto Loader": (
        '@dp.table\ndef t():\n    files = spark.readStream.schema("id int")\n'
        '    return files.orc("/Volumes/main/default/raw/x")\n',
        "a stream of format orc is read by Spark alone",
    ),
    "a stream of another source": (
        '@dp.table\ndef t():\n    return spark.readStream.format("rate").load()\n',
        "a stream of format rate is read by Spark alone",
    ),
    "a subquery in an expression": (
        '@dp.table\ndef t():\n    rows = spark.read.table("bronze")\n'
        '    return rows.where("n = (SELECT max(n) FROM main.default.bronze)")\n',
        "pipeline.py:10: a subquery in an expression is computed by Spark alone",
    ),
    "a setting": (
        'spark.conf.set("spark.sql.ansi.enabled", "false")\n',
        "the setting spark.sql.ansi.enabled is obeyed by Spark alone",
    ),
    "a format of Auto Loader": (
        '@dp.table\ndef t():\n    files = spark.readStream.format("cloudFiles")\n'
        '    files = files.option("cloudFiles.format", "orc")\n'
        '    return files.schema("id int").load("/Volumes/main/default/raw/x")\n',
        "orc",
    ),
}


@pytest.mark.parametrize("name", LEFT_TO_SPARK)
def test_what_only_spark_does_is_refused_by_name_and_writes_nothing(name, engines, tmp_path):
    code, words = LEFT_TO_SPARK[name]
    source, storage = tmp_path / "pipeline.py", tmp_path / "storage"
    source.write_text(HEAD + code)
    land(storage, FIRST)
    (storage / "Volumes/main/default/raw/x").mkdir(parents=True)
    answer = engines["sail"].run(source, storage)
    assert (answer["state"], answer["error"]) == ("REFUSED", "NeedsSparkError"), answer
    assert words in answer["message"] and "--engine spark" in answer["message"]
    assert tables_of(storage) == {}


FED = """
from pyspark import pipelines as dp

@dp.table
def streamed():
    changes = spark.readStream.option("readChangeFeed", True).option("startingVersion", "0")
    return changes.table("main.ext.fed")

@dp.table
def begun_later():
    return spark.readStream.option("readChangeFeed", True).table("main.ext.fed")

@dp.materialized_view
def ranged():
    changes = spark.read.option("readChangeFeed", "true").option("startingVersion", 1)
    return changes.option("endingVersion", 2).table("main.ext.fed")
"""


def test_a_feed_that_a_table_records_is_read_alike(engines, tmp_path):
    def change(path, number):
        table = DeltaTable(str(path))
        rows = pa.table({"id": ["a", f"d{number}"], "n": pa.array([10 * number, number], pa.int64())})
        merge = table.merge(rows, "old.id = new.id", source_alias="new", target_alias="old")
        merge.when_matched_update_all().when_not_matched_insert_all().execute()
        table.delete(f"n = {number}")
        table.optimize.compact()
        table.optimize.compact()

    source, storages = tmp_path / "pipeline.py", {name: tmp_path / name for name in ("spark", "sail")}
    source.write_text(FED)
    first = tmp_path / "spark" / "tables" / "main" / "ext" / "fed"
    property = {"delta.enableChangeDataFeed": "true"}
    rows = pa.table({"id": ["a", "b"], "n": pa.array([1, 2], pa.int64())})
    write_deltalake(str(first), rows, configuration=property)
    for number in (2, 3):
        change(first, number)
        other = tmp_path / "sail" / "tables" / "main" / "ext" / "fed"
        shutil.rmtree(other, ignore_errors=True)
        shutil.copytree(first, other)
        answers = {name: engines[name].run(source, storage) for name, storage in storages.items()}
        assert answers["spark"]["state"] == "COMPLETED" and answers["sail"] == answers["spark"], answers
        tables = {name: tables_of(storage) for name, storage in storages.items()}
        assert tables["sail"] == tables["spark"]
    assert len(tables["sail"]["streamed"][1]) == 11 and len(tables["sail"]["ranged"][1]) == 5
