"""Pipelines that speak Databricks' SQL, in files and in Python's texts: their tables, and what is said of a
construct that is not run here."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

pytest.importorskip("pyspark")
from deltalake import write_deltalake

from cdc_local.delta.reader import read_table
from cdc_local.errors import PipelineError
from cdc_local.sql.constructs import CONSTRUCTS
from cdc_local.storage import Storage, TableName
from cdc_local.update.request import UpdateRequest
from cdc_local.update.run import run_update

DOCUMENTS = [
    {"Id": 1, "op": "U", "address": {"city": "Oslo", "zip code": "0150"}, "tags": ["a", "b"], "n": "1"},
    {"id": 2, "op": "U", "Address": {"City": "Rome"}, "tags": [], "n": "x"},
    {"id": 3, "op": "U", "address": None, "n": None},
    {"id": 2, "op": "D", "items": [{"x": 1}, {}]},
]
SQL = """
CREATE OR REFRESH STREAMING TABLE bronze AS SELECT * FROM STREAM main.ext.landed;
CREATE OR REFRESH STREAMING TABLE silver (
  CONSTRAINT known EXPECT (raw:id::int > 0),
  CONSTRAINT numbered EXPECT (iff(raw:op = 'U', raw:n ?:: int IS NOT NULL, true)) ON VIOLATION DROP ROW
) AS SELECT raw, at, raw:id::int, raw:address.city, raw:address['zip code'] AS zip, raw:tags[0],
  raw:items[*].x AS xs, iff(raw:op = 'D', 'gone', 'here') AS state FROM STREAM bronze WHERE raw:id <> 9;
CREATE OR REFRESH STREAMING TABLE current_rows;
CREATE FLOW apply AS AUTO CDC INTO current_rows FROM STREAM(bronze_ids) KEYS (id)
  APPLY AS DELETE WHEN raw:op = 'D' SEQUENCE BY struct(at, raw:op) COLUMNS * EXCEPT (raw);
CREATE TEMPORARY VIEW bronze_ids AS SELECT raw:id::int, at, raw FROM STREAM bronze;
CREATE OR REFRESH MATERIALIZED VIEW by_state AS
  SELECT raw:op, count(*) AS n FROM bronze GROUP BY raw:op;
CREATE OR REFRESH MATERIALIZED VIEW of_variants AS
  SELECT v:id::int, v:ID AS other, v:address.city::string FROM (SELECT parse_json(raw) AS v FROM bronze)
"""
PYTHON = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.table
@dp.expect_or_drop("ours", "raw:id < 3")
def in_python():
    rows = spark.readStream.table("bronze").where("raw:op = 'U'")
    found = rows.selectExpr("at", "raw", "raw:id::int", "iff(at > 1, 1, 0) AS late")
    return found.withColumn("city", F.expr("raw:address.city"))

@dp.materialized_view
def in_text():
    return spark.sql("SELECT raw:id::int, raw:op FROM bronze WHERE raw:id = '2'")
"""


@pytest.fixture
def update(tmp_path):
    "Run one update of some source files over the documents"

    def run(**sources):
        folder, storage = tmp_path / "sources", tmp_path / "storage"
        folder.mkdir()
        for suffix, text in sources.items():
            (folder / f"pipeline.{suffix}").write_text(text)
        rows = [{"raw": json.dumps(document), "at": n} for n, document in enumerate(DOCUMENTS, 1)]
        path = Storage(storage).table_path(TableName("main", "ext", "landed"))
        write_deltalake(str(path), pa.Table.from_pylist(rows))
        done = run_update(UpdateRequest((str(folder),), storage))
        assert done.state == "COMPLETED", [flow.error for flow in done.flows]

        def rows_of(name):
            held = read_table(Storage(storage), TableName("main", "default", name)).to_pylist()
            kept = [{key: value for key, value in row.items() if key != "raw"} for row in held]
            return sorted(kept, key=repr)

        return rows_of

    return run


def test_paths_and_renamed_functions_wherever_a_pipeline_has_text(update):
    rows_of = update(sql=SQL, py=PYTHON)
    here = {"state": "here", "xs": None}
    assert rows_of("silver") == [
        {"at": 1, "id": 1, "city": "Oslo", "zip": "0150", "tags": "a"} | here,
        {"at": 4, "id": 2, "city": None, "zip": None, "tags": None, "xs": "[1,null]", "state": "gone"},
    ]
    assert rows_of("current_rows") == [{"at": 1, "id": 1}, {"at": 3, "id": 3}]
    assert rows_of("by_state") == [{"op": "D", "n": 1}, {"op": "U", "n": 3}]
    assert rows_of("in_python") == [
        {"at": 1, "id": 1, "late": 0, "city": "Oslo"},
        {"at": 2, "id": 2, "late": 1, "city": "Rome"},
    ]
    assert rows_of("in_text") == [{"id": 2, "op": "D"}, {"id": 2, "op": "U"}]
    found = [(row["id"], row["city"]) for row in rows_of("of_variants")]
    assert sorted(found, key=repr) == [(2, None), (2, None), (3, None), (None, "Oslo")]


WRONG = """
from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.materialized_view
def into_a_struct():
    return spark.range(1).selectExpr("struct(id AS a) AS s").selectExpr("s:a")

@dp.materialized_view
def into_both():
    return spark.sql("SELECT parse_json(raw):op AS a, raw:op AS b FROM main.ext.landed")

@dp.materialized_view
def of_a_variant():
    return spark.sql("SELECT parse_json('{}') AS v").select(F.expr("v:a"))
"""


def test_a_path_into_another_type_is_refused_with_what_to_write(update):
    with pytest.raises(PipelineError) as caught:
        update(py=WRONG)
    message = str(caught.value)
    assert_no_trace(message)
    for line, words in (
        (7, "s:a: a path with `:` leads into a JSON string or a VARIANT, and one here into STRUCT<a: BIGINT"),
        (11, "parse_json(raw):op: the paths of one text lead into JSON strings and into VARIANT"),
        (15, "AnalysisException: [DATATYPE_MISMATCH.UNEXPECTED_INPUT_TYPE]"),
    ):
        assert re.search(rf"pipeline\.py:{line}: {re.escape(words)}", message), message
    assert message.count("variant_get(") == 2


# What is not run here


def assert_no_trace(message):
    assert not re.search(r"Traceback|org\.apache|java\.|\tat |Py4J|File \"", message), message


@pytest.fixture(scope="module")
def refuse():
    "Run an update that is refused in a process with Sail; answers the error's text"
    command = [sys.executable, str(Path(__file__).parent / "serve_updates.py"), "sail"]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    process = subprocess.Popen(command, text=True, **pipes)

    def run(source, storage):
        request = {"sources": [str(source)], "storage": str(storage)}
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        answer = json.loads(process.stdout.readline())
        assert answer["state"] == "REFUSED", answer
        assert_no_trace(answer["message"])
        return answer["message"]

    yield run
    assert "Traceback" not in process.communicate()[1]


REFUSED = [construct for construct in CONSTRUCTS if construct.reason]
PLACES = {
    "query": "CREATE OR REFRESH MATERIALIZED VIEW m AS\n  SELECT {} AS x FROM range(1)",
    "rule": "CREATE OR REFRESH MATERIALIZED VIEW m (CONSTRAINT c EXPECT (\n  {} IS NULL)) AS SELECT 1 AS x",
    "delete": "CREATE STREAMING TABLE m; CREATE FLOW f AS AUTO CDC INTO m FROM STREAM(s) KEYS (id)\n"
    "  APPLY AS DELETE WHEN {} SEQUENCE BY n",
}


@pytest.mark.parametrize("place", PLACES)
def test_every_refused_construct_of_a_sql_file_is_named_at_its_place(place, refuse, tmp_path):
    for number, construct in enumerate(REFUSED):
        source = tmp_path / f"{number}.sql"
        source.write_text(PLACES[place].format(construct.example))
        message = refuse(source, tmp_path / "storage")
        assert re.search(rf"^\S*{number}\.sql:2:\d+: .*{re.escape(construct.reason)}", message), message
        assert message.endswith(construct.instead)


def test_every_refused_construct_in_python_is_named_at_its_line(refuse, tmp_path):
    texts = {
        "expr": "rows.select(F.expr({!r}))",
        "selectExpr": "rows.selectExpr({!r})",
        "where": "rows.where({!r})",
        "sql": "spark.sql('SELECT ' + {!r})",
    }
    lines = ["from pyspark import pipelines as dp", "from pyspark.sql import functions as F"]
    lines.append("rows = spark.range(1)")
    expected = {}
    for number, construct in enumerate(REFUSED):
        text = list(texts.values())[number % len(texts)].format(construct.example)
        lines += ["@dp.materialized_view", f"def t{number}(): return {text}"]
        expected[len(lines)] = construct
    lines += [
        "@dp.materialized_view",
        "@dp.expect('asked', 'ai_gen(id) = 1')",
        "def t(): return spark.range(1)",
    ]
    source = tmp_path / "pipeline.py"
    source.write_text("\n".join(lines))
    message = refuse(source, tmp_path / "storage")
    assert "expectation 'asked' of main.default.t: ai_gen asks a model" in message
    for line, construct in expected.items():
        found = re.search(rf"pipeline\.py:{line}: (.*)", message)
        assert found and construct.reason in found[1] and found[1].endswith(construct.instead), message


def test_a_path_needs_spark_and_says_so(refuse, tmp_path):
    source = tmp_path / "pipeline.sql"
    source.write_text("CREATE OR REFRESH MATERIALIZED VIEW m AS\n SELECT raw:a FROM main.ext.landed")
    message = refuse(source, tmp_path / "storage")
    assert "pipeline.sql:2:9: raw:a is a path into JSON, which Spark alone follows" in message


HINTS = {
    "CREATE STREAMING TABLE t AS\nSELECT * FROM range(3)": "FROM STREAM read_files(…)",
    "CREATE MATERIALIZED VIEW t AS SELECT * FROM STREAM main.ext.landed": "leave out STREAM, or write",
    "CREATE MATERIALIZED VIEW m AS SELECT 1 AS x; CREATE STREAMING TABLE t AS SELECT * FROM STREAM m": (
        "read it without STREAM, or declare it as a streaming table"
    ),
    "CREATE VIEW v AS SELECT 1 AS x; CREATE STREAMING TABLE t AS SELECT * FROM STREAM(v)": (
        "read it without STREAM"
    ),
    "CREATE VIEW v AS SELECT * FROM STREAM main.ext.landed; CREATE MATERIALIZED VIEW t AS SELECT * FROM v": (
        "read it as STREAM(view)"
    ),
}


@pytest.mark.parametrize("sql", HINTS)
def test_the_hint_of_a_sql_file_is_sql(sql, refuse, tmp_path):
    storage = tmp_path / "storage"
    path = Storage(storage).table_path(TableName("main", "ext", "landed"))
    write_deltalake(str(path), pa.table({"raw": ["{}"]}))
    source = tmp_path / "pipeline.sql"
    source.write_text(sql)
    message = refuse(source, storage)
    assert HINTS[sql] in message and "spark." not in message and "once=" not in message
