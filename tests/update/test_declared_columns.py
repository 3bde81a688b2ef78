"""All that a table's declared columns may say: obeyed, or noted and told; the same in Python and in SQL.

And columns of odd names, and of structs whose fields are never NULL, on every way of writing."""

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from two_engines import Updates

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName


@pytest.fixture(scope="module")
def engines():
    engines = {name: Updates(name) for name in ("spark", "sail")}
    yield engines
    for engine in engines.values():
        engine.close()


def land(storage, *rows):
    columns = dict(zip(("id", "n", "city", "op"), map(list, zip(*rows, strict=True)), strict=True))
    types = pa.schema([("id", pa.string()), ("n", pa.int64()), ("city", pa.string()), ("op", pa.string())])
    path = storage / "tables" / "main" / "ext" / "events"
    write_deltalake(str(path), pa.table(columns, schema=types), mode="append")


def rows_of(storage, name, *columns):
    read = read_rows(Storage(storage), TableName("main", "default", name), columns or None)
    return read.values


COLUMNS = """
    id STRING NOT NULL COMMENT 'the key, of a person',
    n BIGINT,
    twice BIGINT GENERATED ALWAYS AS (n * 2) COMMENT 'computed',
    source STRING DEFAULT 'feed, one',
    number BIGINT GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 5),
    city STRING MASK main.rules.hide USING COLUMNS (id) TAGS ('pii' = 'yes'),
    CONSTRAINT pk PRIMARY KEY (id, n TIMESERIES) RELY,
    FOREIGN KEY (id) REFERENCES main.default.people (id) NOT ENFORCED"""

FILTER = "ROW FILTER main.rules.seen ON (city)"
PYTHON = f'''
from pyspark import pipelines as dp

@dp.table(schema="""{COLUMNS}""", row_filter="ROW FILTER main.rules.seen ON (city)")
def sales():
    return spark.readStream.table("main.ext.events").select("id", "n", "city")
'''
SQL = f"""
CREATE OR REFRESH STREAMING TABLE sales ({COLUMNS})
WITH ROW FILTER main.rules.seen ON (city)
AS SELECT id, n, city FROM STREAM(main.ext.events)
"""
EXPECTED = [
    ("a", 1, 2, "feed, one", "Oslo"),
    ("b", 2, 4, "feed, one", None),
    ("c", 3, 6, "feed, one", "Rome"),
]


@pytest.mark.parametrize("engine", ["sail", "spark"])
@pytest.mark.parametrize("language", ["python", "sql"])
def test_columns_are_obeyed_in_both_languages(engines, engine, language, tmp_path):
    source, storage = tmp_path / ("p.py" if language == "python" else "p.sql"), tmp_path / "storage"
    source.write_text(PYTHON if language == "python" else SQL)
    land(storage, ("a", 1, "Oslo", "U"), ("b", 2, None, "U"))
    first = engines[engine].run(source, storage)
    assert first["state"] == "COMPLETED", first
    land(storage, ("c", 3, "Rome", "U"))
    assert engines[engine].run(source, storage)["state"] == "COMPLETED"
    assert rows_of(storage, "sales", "id", "n", "twice", "source", "city") == EXPECTED
    assert sorted(number for (number,) in rows_of(storage, "sales", "number")) == [10, 15, 20]
    table = DeltaTable(str(storage / "tables/main/default/sales"))
    comments = {field.name: field.metadata.get("comment") for field in table.schema().fields}
    assert comments["id"] == "the key, of a person" and comments["twice"] == "computed"
    noted = table.metadata().configuration
    assert noted["cdc.constraint.pk"] == "PRIMARY KEY (id, n TIMESERIES) RELY"
    assert "REFERENCES main.default.people (id) NOT ENFORCED" in noted["cdc.constraint.foreign_key"]
    assert noted["cdc.mask.city"] == "MASK main.rules.hide USING COLUMNS (id)"
    assert noted["cdc.generated.twice"] == "n * 2"
    assert noted["cdc.row_filter"] == FILTER
    row_filter = "table(): `row_filter`" if language == "python" else f"main.default.sales: {FILTER}"
    assert {text for text in first["warnings"] if "has no effect" in text} == {
        f"{part} has no effect on the local runner"
        for part in (
            "main.default.sales: MASK of column city",
            "main.default.sales: TAGS of column city",
            row_filter,
        )
    }


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_null_where_a_value_must_be_fails_the_flow(engines, engine, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text(PYTHON)
    land(storage, ("a", 1, "Oslo", "U"), (None, 2, "Rome", "U"))
    answer = engines[engine].run(source, storage)
    assert answer["state"] == "FAILED"
    error = answer["flows"]["main.default.sales"]["error"]
    assert "id" in error and "NOT NULL" in error and "\tat " not in error
    assert rows_of(storage, "sales") == []


HISTORY = """
from pyspark import pipelines as dp

dp.create_streaming_table("history", schema='''id STRING NOT NULL, city STRING NOT NULL,
    is_current BOOLEAN NOT NULL GENERATED ALWAYS AS (nvl2(__END_AT, false, true)),
    shout STRING GENERATED ALWAYS AS (upper(city)), origin STRING DEFAULT 'crm', remark STRING,
    __START_AT BIGINT, __END_AT BIGINT''')
dp.create_auto_cdc_flow("history", "main.ext.events", ["id"], "n", apply_as_deletes="op = 'D'",
    except_column_list=["n", "op"], stored_as_scd_type=2)

dp.create_streaming_table("people", schema="id STRING, city STRING,"
    "shout STRING GENERATED ALWAYS AS (upper(city))")
dp.create_auto_cdc_flow("people", "main.ext.events", ["id"], "n", apply_as_deletes="op = 'D'",
    except_column_list=["n", "op"])

@dp.materialized_view
def current():
    return spark.read.table("history").where("is_current")
"""


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_targets_of_auto_cdc_compute_columns_from_what_readers_see(engines, engine, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    computed = "nvl2(__END_AT, false, true)"
    source.write_text(HISTORY if engine == "spark" else HISTORY.replace(computed, "__END_AT IS NULL"))
    land(storage, ("a", 1, "Oslo", "U"), ("b", 2, "Rome", "U"), ("b", 4, None, "D"))
    first = engines[engine].run(source, storage)
    assert first["state"] == "COMPLETED", first
    land(storage, ("a", 5, "Lima", "U"), ("a", 3, "Bonn", "U"))
    assert engines[engine].run(source, storage)["state"] == "COMPLETED"
    assert rows_of(storage, "history") == [
        ("a", "Bonn", False, "BONN", "crm", None, 3, 5),
        ("a", "Lima", True, "LIMA", "crm", None, 5, None),
        ("a", "Oslo", False, "OSLO", "crm", None, 1, 3),
        ("b", "Rome", False, "ROME", "crm", None, 2, 4),
    ]
    assert rows_of(storage, "people") == [("a", "Lima", "LIMA")]
    assert rows_of(storage, "current", "id", "city") == [("a", "Lima")]
    land(storage, ("c", 1, None, "U"))
    failed = engines[engine].run(source, storage)
    assert "rule 'city NOT NULL'" in failed["flows"]["main.default.history"]["error"]


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_a_materialized_view_computes_its_columns_and_keeps_not_null(engines, engine, tmp_path):
    source, storage = tmp_path / "p.sql", tmp_path / "storage"
    source.write_text(
        "CREATE MATERIALIZED VIEW ranked (number BIGINT GENERATED ALWAYS AS IDENTITY, id STRING NOT NULL,"
        " half DOUBLE GENERATED ALWAYS AS (n / 2), n BIGINT) AS SELECT n, id FROM main.ext.events;\n"
        "CREATE MATERIALIZED VIEW named (key COMMENT 'of a person', how_many) AS"
        " SELECT id, count(*) FROM main.ext.events GROUP BY id;\n"
    )
    for rows in ([("a", 1, "Oslo", "U")], [("b", 3, "Rome", "U")]):
        land(storage, *rows)
        answer = engines[engine].run(source, storage)
        assert answer["state"] == "COMPLETED", answer
    assert rows_of(storage, "ranked", "id", "half", "n") == [("a", 0.5, 1), ("b", 1.5, 3)]
    assert sorted(number for (number,) in rows_of(storage, "ranked", "number")) == [1, 2]
    fields = {
        field.name: field
        for name in ("ranked", "named")
        for field in DeltaTable(str(storage / "tables/main/default" / name)).schema().fields
    }
    assert list(fields)[:4] == ["number", "id", "half", "n"] and not fields["id"].nullable
    assert fields["key"].metadata["comment"] == "of a person" and "how_many" in fields


WRONG = {
    "an identity of AUTO CDC": (
        'dp.create_streaming_table("t", schema="id STRING, city STRING, '
        'k BIGINT GENERATED ALWAYS AS IDENTITY")\n'
        'dp.create_auto_cdc_flow("t", "main.ext.events", ["id"], "n", column_list=["id", "city"])\n',
        "main.default.t has the identity column k, and is the target of AUTO CDC",
    ),
    "numbers of its own": (
        '@dp.table(schema="id STRING, n BIGINT GENERATED ALWAYS AS IDENTITY")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").select("id", "n")\n',
        "gets n from its query; leave it out, or declare it BY DEFAULT",
    ),
    "another type": (
        '@dp.table(schema="n BIGINT, twice STRING GENERATED ALWAYS AS (n * 2)")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").select("n")\n',
        "column twice is string, and n * 2 is bigint",
    ),
    "an unknown column": (
        '@dp.table(schema="n BIGINT, twice BIGINT GENERATED ALWAYS AS (m * 2)")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").select("n")\n',
        "main.default.t: its declared columns cannot be computed: ",
    ),
    "a rule": (
        '@dp.table(schema="n BIGINT, CONSTRAINT few EXPECT (n < 3)")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").select("n")\n',
        "expectation few stands in a schema of Python; write @dp.expect",
    ),
    "no type": (
        '@dp.table(schema="n")\ndef t():\n    return spark.readStream.table("main.ext.events").select("n")\n',
        "schema of main.default.t: column n has no type",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_is_refused_before_anything_is_written(engines, name, tmp_path):
    code, words = WRONG[name]
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text("from pyspark import pipelines as dp\n" + code)
    land(storage, ("a", 1, "Oslo", "U"))
    answer = engines["sail"].run(source, storage)
    assert answer["state"] == "REFUSED" and words in answer["message"], answer
    assert f"{source}:" in answer["message"] or "p.py:" in answer["message"]
    assert not (storage / "tables/main/default").exists()


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_a_generated_column_that_the_query_brings_must_be_right(engines, engine, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text(
        "from pyspark import pipelines as dp\n\n"
        '@dp.table(schema="n BIGINT, twice BIGINT GENERATED ALWAYS AS (n * 2)")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").selectExpr("n", "n + n * n AS twice")\n'
    )
    land(storage, ("a", 1, "Oslo", "U"))
    assert engines[engine].run(source, storage)["state"] == "COMPLETED"
    land(storage, ("a", 2, "Oslo", "U"))
    answer = engines[engine].run(source, storage)
    assert "rule 'twice GENERATED ALWAYS AS'" in answer["flows"]["main.default.t"]["error"]
    assert rows_of(storage, "t") == [(1, 2)]


def test_another_expression_asks_for_a_full_refresh(engines, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    code = (
        "from pyspark import pipelines as dp\n\n"
        '@dp.table(schema="n BIGINT, twice BIGINT GENERATED ALWAYS AS (n * 2)")\ndef t():\n'
        '    return spark.readStream.table("main.ext.events").select("n")\n'
    )
    source.write_text(code)
    land(storage, ("a", 1, "Oslo", "U"))
    assert engines["sail"].run(source, storage)["state"] == "COMPLETED"
    source.write_text(code.replace("n * 2", "n + n"))
    answer = engines["sail"].run(source, storage)
    assert "column twice is declared as n + n now, and its rows were computed as n * 2" in answer["message"]
    assert engines["sail"].run(source, storage, full_refresh=["t"])["state"] == "COMPLETED"


NESTED = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

def nested(reader):
    meta = F.struct(F.lit("x").alias("file"), F.lit(1).alias("size")).alias("meta")
    return reader.table("main.ext.events").select("id", "n", meta, F.array(F.lit("y")).alias("names"))

@dp.table
def appended():
    return nested(spark.readStream)

@dp.materialized_view
def computed():
    return nested(spark.read)

@dp.temporary_view
def newest():
    return nested(spark.read).groupBy("id").agg(F.max("n").alias("n"), F.max("meta").alias("meta"))

for kind in (1, 2):
    dp.create_streaming_table(f"scd{kind}")
    dp.create_auto_cdc_flow(f"scd{kind}", "appended", ["id"], "n", stored_as_scd_type=kind)
dp.create_streaming_table("snapshots")
dp.create_auto_cdc_from_snapshot_flow("snapshots", "newest", ["id"])
"""


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_structs_of_fields_that_are_never_null_are_written_in_every_way(engines, engine, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text(NESTED)
    land(storage, ("a", 1, "Oslo", "U"), ("b", 2, "Rome", "U"))
    assert engines[engine].run(source, storage)["state"] == "COMPLETED"
    land(storage, ("a", 3, "Lima", "U"))
    answer = engines[engine].run(source, storage)
    assert answer["state"] == "COMPLETED", answer
    meta = {"file": "x", "size": 1}
    assert rows_of(storage, "scd2", "id", "meta", "__END_AT") == [
        ("a", meta, 3),
        ("a", meta, None),
        ("b", meta, None),
    ]
    for name in ("scd1", "snapshots"):
        assert rows_of(storage, name, "id", "n", "meta") == [("a", 3, meta), ("b", 2, meta)]
    for name in ("appended", "computed"):
        assert len(rows_of(storage, name)) == 3


def test_a_selected_metadata_reaches_a_target_of_auto_cdc_without_spark(engines, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text("""
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.table
def raw():
    files = spark.readStream.format("cloudFiles").option("cloudFiles.format", "json")
    rows = files.schema("id STRING, n BIGINT").load("/Volumes/main/default/raw/in")
    return rows.select("*", F.col("_metadata").alias("origin"))

dp.create_streaming_table("latest")
dp.create_auto_cdc_flow("latest", "raw", ["id"], "n")
""")
    landing = storage / "Volumes/main/default/raw/in"
    landing.mkdir(parents=True)
    for number in (1, 2):
        (landing / f"{number}.json").write_text(f'{{"id": "a", "n": {number}}}\n')
        answer = engines["sail"].run(source, storage)
        assert answer["state"] == "COMPLETED", answer
    [(key, number, origin)] = rows_of(storage, "latest", "id", "n", "origin")
    assert (key, number, origin["file_name"]) == ("a", 2, "2.json")
    source.write_text(source.read_text().replace("origin", "_metadata"))
    answer = engines["sail"].run(source, storage)
    assert "main.default.raw has a column _metadata" in answer["message"]


ODD = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.temporary_view
def changes():
    renamed = [F.col("id").alias("customer id"), F.col("n").alias("seq.no")]
    return spark.readStream.table("main.ext.events").select(*renamed, "city", "op")

mapped = {"delta.columnMapping.mode": "name"}
dp.create_streaming_table("texts", table_properties=mapped)
dp.create_auto_cdc_flow("TEXTS", "changes", ["`customer id`"], "`seq.no`",
    except_column_list=["`seq.no`", "op"], stored_as_scd_type=2)
dp.create_streaming_table("columns", table_properties=mapped)
dp.create_auto_cdc_flow("columns", "Changes", [F.col("`customer id`")], F.col("`seq.no`"),
    column_list=["`Customer Id`", "city"])

@dp.table(table_properties=mapped, partition_cols=["`customer id`"])
def divided():
    return spark.readStream.table("CHANGES")

@dp.table(table_properties=mapped, cluster_by=["`customer id`", "`seq.no`"])
def clustered():
    return spark.readStream.table("Divided")
"""


def test_names_with_blanks_and_dots_are_given_in_backticks(engines, tmp_path):
    source, storage = tmp_path / "p.py", tmp_path / "storage"
    source.write_text(ODD)
    land(storage, ("a", 1, "Oslo", "U"), ("b", 2, "Rome", "U"))
    for rows in ((), (("a", 3, "Lima", "U"),)):
        if rows:
            land(storage, *rows)
        answer = engines["spark"].run(source, storage)
        assert answer["state"] == "COMPLETED", answer
    assert rows_of(storage, "texts") == [("a", "Lima", 3, None), ("a", "Oslo", 1, 3), ("b", "Rome", 2, None)]
    assert rows_of(storage, "columns") == [("a", "Lima"), ("b", "Rome")]
    assert len(rows_of(storage, "divided")) == len(rows_of(storage, "clustered")) == 3
