"Auto Loader locally: every file once, every value somewhere. The chapter shows the rules; these are the dull corners."

import json
import os
import warnings

import pytest

pytest.importorskip("pyspark")
from pyspark.errors import AnalysisException
from pyspark.sql import functions as F

from cdc_local.autoloader.files import detect_format, open_with_spark
from cdc_local.autoloader.json_documents import split_documents
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.partitions import partition_names
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.autoloader.schema import KnownSchemas
from cdc_local.engines.spark.session import local_spark
from cdc_local.errors import PipelineError
from cdc_local.sql_names import quote_for_spark


@pytest.fixture(scope="module")
def spark():
    return local_spark()


def put(folder, name, *lines, encoding="utf-8"):
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines) + "\n", encoding=encoding)
    return file


def no_warning(text):
    raise AssertionError(text)


def rescued(row):
    found = json.loads(row["_rescued_data"])
    assert found.pop("_file_path").startswith("file:")
    return found


def stream_into(spark, frame, folder):
    "Run a stream to its end and give the number of its batches and all rows so far."
    query = frame.writeStream.format("parquet").option("checkpointLocation", str(folder / "checkpoint"))
    query = query.trigger(availableNow=True).start(str(folder / "out"))
    query.awaitTermination()
    batches = sum(1 for progress in query.recentProgress if progress["numInputRows"])
    return batches, spark.read.parquet(str(folder / "out"))


JSON = {"cloudFiles.format": "json"}
RESCUING = {**JSON, "rescuedDataColumn": "_rescued_data"}


def test_json_keeps_every_value_somewhere(spark, tmp_path):
    put(
        tmp_path,
        "a.json",
        '{"id": "1", "n": 1, "t": "2026-01-02T03:04:05Z", "when": null}',
        "   ",
        '{"id": "2", "id": "2b", "n": 2}',  # a key twice: the last one counts
        '{"id": "3", "z": {"q": 1, "q": 2}}',  # twice inside an undeclared value
        '{"id": "4", "n": 99999999999, "t": "yesterday"}',  # beyond the type, not a timestamp
        '{"id": "5", "list": [{"k": 1}, {"k": "x"}], "s": {"a": {"b": true}}}',  # wrong inside an array and a struct
        '{"id": "6", "list": [{"k": 1, "new": 2.5}]}',  # undeclared inside an array
        '"text"',
        "42",
        '{"id": "8"',
        "{}",
        '{"id": {"deep": "kept"}}',
        '{"id": "9", "n": null, "s": {"a": {"b": 1, "new": 2}}, "it\'s": 1, "a.b": 2, "_file_path2": null}',
    )
    schema = (
        "id string, n int, t timestamp, `when` string, list array<struct<k: int>>, s struct<a: struct<b: int>>, "
        "_corrupt_record string"
    )
    rows = read_batch(spark, str(tmp_path), RESCUING, schema, no_warning).collect()
    by_id = {row.id: row for row in rows}
    assert len(rows) == 12
    assert by_id["1"]._rescued_data is None and str(by_id["1"].t) == "2026-01-02 03:04:05"
    assert by_id["2b"].n == 2 and by_id["2b"]._rescued_data is None
    assert set(rescued(by_id["3"])) == {"z"}
    assert rescued(by_id["4"]) == {"n": 99999999999, "t": "yesterday"}
    assert rescued(by_id["5"]) == {"list": [{"k": 1}, {"k": "x"}], "s": {"a": {"b": True}}}
    assert rescued(by_id["6"]) == {"list": [{"k": 1, "new": 2.5}]} and by_id["6"].list[0].k == 1
    assert rescued(by_id["9"]) == {"s": {"a": {"b": 1, "new": 2}}, "it's": 1, "a.b": 2, "_file_path2": None}
    assert by_id['{"deep":"kept"}']._rescued_data is None
    corrupt = [row for row in rows if row._corrupt_record is not None]
    assert sorted(row._corrupt_record for row in corrupt) == ['"text"', "42", '{"id": "8"']
    assert all(row.id is None and row._rescued_data is None for row in corrupt)


def test_unparsable_lines_stay_as_rows_without_a_corrupt_column(spark, tmp_path):
    put(tmp_path, "a.json", '{"id": "1"}', '{"id": ')
    rows = read_batch(spark, str(tmp_path), RESCUING, "id string", no_warning).collect()
    assert sorted(map(tuple, rows), key=str) == [("1", None), (None, None)]


def test_lenient_json_is_looked_at_as_leniently(spark, tmp_path):
    put(tmp_path, "a.json", '{id: "1", extra: 2} // unquoted names', '{"id": "2"}')
    options = {**RESCUING, "allowUnquotedFieldNames": "true", "allowComments": "true"}
    rows = read_batch(spark, str(tmp_path), options, "id string", no_warning).orderBy("id").collect()
    assert rescued(rows[0]) == {"extra": 2} and tuple(rows[1]) == ("2", None)


def test_multiline_file_of_records_with_byte_order_mark_and_comments(spark, tmp_path):
    put(
        tmp_path,
        "a.json",
        "\ufeff[",
        '  {"id": "1", "n": 12345678901234567.89}, // first',
        '  {"id": "2", "n": "x"}',
        "]",
    )
    options = {**RESCUING, "multiLine": True, "allowComments": "true"}
    rows = (
        read_batch(spark, str(tmp_path), options, "id string, n decimal(38,2)", no_warning)
        .orderBy("id")
        .collect()
    )
    assert [str(row.n) for row in rows] == ["12345678901234567.89", "None"]
    assert rescued(rows[1]) == {"n": "x"}


@pytest.mark.parametrize(
    "options, schema",
    [
        (RESCUING, "name string, n int, _corrupt_record string"),
        (JSON, "name string, _corrupt_record string"),
        (JSON, None),
        ({**RESCUING, "readerCaseSensitive": "false"}, "NAME string, _corrupt_record string"),
        ({**JSON, "multiLine": "true"}, "name string, _corrupt_record string"),
        ({"cloudFiles.format": "csv", "rescuedDataColumn": "_rescued_data"}, "a string, b int"),
        ({"cloudFiles.format": "csv"}, "a string, b string"),
        ({"cloudFiles.format": "csv", "header": "true"}, None),
        ({"cloudFiles.format": "text"}, None),
        ({"cloudFiles.format": "text", "wholetext": "true"}, None),
    ],
)
def test_bytes_that_are_no_utf8_become_text_that_every_reader_takes(spark, tmp_path, options, schema):
    put(
        tmp_path,
        "a",
        '{"name": "Müller", "n": "ö"}',
        '{"ä": "Köln"}',
        '{"name": "Mül',
        '[{"name": "ß"}]',
        encoding="latin-1",
    )
    rows = read_batch(spark, str(tmp_path), options, schema, no_warning)
    texts = [field.name for field in rows.schema if field.dataType.simpleString() == "string"]
    found = rows.select(
        F.to_json(F.struct(*map(quote_for_spark, texts))).alias("all"),
        *[F.is_valid_utf8(quote_for_spark(name)).alias(name) for name in texts],
    ).collect()
    assert "\ufffd" in "".join(row["all"] for row in found) and texts
    assert all(row[name] in (True, None) for row in found for name in texts)


@pytest.mark.parametrize(
    "encoding, options",
    [
        ("latin-1", {}),
        ("latin-1", {"multiLine": "true"}),
        ("utf-16", {"multiLine": "true"}),
        ("utf-16LE", {"lineSep": "\n"}),
    ],
)
def test_a_file_in_another_encoding_is_decoded(spark, tmp_path, encoding, options):
    put(
        tmp_path / "json",
        "a.json",
        '[{"name": "Müller"}]' if "multiLine" in options else '{"name": "Müller"}',
        encoding=encoding,
    )
    put(tmp_path / "csv", "a.csv", "näme,b", '"Müller",1', encoding=encoding)
    options = {
        "encoding" if "lineSep" in options else "charset": encoding.replace("latin-1", "ISO-8859-1")
    } | options
    for schema in ("name string", None):
        assert [
            row.name
            for row in read_batch(spark, str(tmp_path / "json"), JSON | options, schema, no_warning).collect()
        ] == ["Müller"]
    if "multiLine" in options:
        return
    for asked in ({}, {"rescuedDataColumn": "_rescued_data"}):
        rows = read_batch(
            spark,
            str(tmp_path / "csv"),
            {"cloudFiles.format": "csv", "header": "true"} | options | asked,
            None,
            no_warning,
        )
        assert [row["näme"] for row in rows.collect()] == ["Müller"]


def test_an_encoding_that_spark_does_not_know_is_refused(spark, tmp_path):
    put(tmp_path, "a.json", '{"name": "x"}')
    for schema in ("name string", None):
        with pytest.raises(Exception, match="klingon"):
            read_batch(spark, str(tmp_path), JSON | {"encoding": "klingon"}, schema, no_warning).collect()


def test_names_quote_for_spark_and_in_folders():
    assert quote_for_spark("a`b") == "`a``b`"
    assert partition_names(None, ("/in/day=1/site=a/n=1.json", "/in/day=2/n=2.json")) == ("day", "site")


def test_a_key_twice_deep_inside(spark, tmp_path):
    put(
        tmp_path,
        "a.json",
        '[{"id": 1, "z": {"q": 1, "q": 2}}, {"id": 2}]',
        '{"id": 3, "z": {"q": 1, "q": 2}}',
    )
    documents = [
        json.loads(row.value)["id"]
        for row in split_documents(spark.read.text(str(tmp_path)), parse_options(JSON, print)).collect()
    ]
    assert documents == [1, 2, 3]
    frame = read_batch(spark, str(tmp_path), JSON, warn=no_warning)
    assert dict(frame.dtypes)["z"] == "string" and [row.z for row in frame.orderBy("id").collect()] == [
        '{"q":1,"q":2}',
        None,
        '{"q":1,"q":2}',
    ]


def test_csv_with_lines_in_its_cells(spark, tmp_path):
    put(tmp_path, "a.csv", "id,note", '1,"two', 'lines"')
    said, options = [], {"format": "csv", "header": True, "multiLine": True, "rescuedDataColumn": "r"}
    assert [
        tuple(row)
        for row in read_batch(spark, str(tmp_path), options, "id int, note string", said.append).collect()
    ] == [(1, "two\nlines", None)]
    assert said == ["CSV with multiLine is matched by position, and nothing of it is rescued locally"]


def test_a_stream_reads_each_file_once_old_hidden_and_nested_ones_right(spark, tmp_path):
    data, state = tmp_path / "in put", tmp_path / "state"
    put(data, "new.json", '{"id": "1"}')
    put(data, "a[1]/old.json", '{"id": "2", "extra": 1}')
    (
        put(data, "_hidden.json", '{"id": "no"}'),
        put(data, ".hidden.json", '{"id": "no"}'),
        put(data, "_dir/x.json", '{"id": "no"}'),
    )
    options = {
        **RESCUING,
        "cloudFiles.maxFilesPerTrigger": "1",
        "cloudFiles.useNotifications": "true",
        "cloudFiles.schemaLocation": "/x",
    }

    def update():
        frame = read_stream(spark, str(data), options, "id string", state, no_warning)
        assert frame.columns == ["id", "_rescued_data"]
        facts = ("file_path", "file_name", "file_size", "file_modification_time")
        file = frame.select("*", *[f"_metadata.{fact}" for fact in facts])
        return stream_into(spark, file.where("id is not null"), tmp_path)

    batches, rows = update()
    assert batches == 2 and {row.id: row.file_name for row in rows.collect()} == {
        "1": "new.json",
        "2": "old.json",
    }
    late = put(data, "late.json", '{"id": "3"}')
    os.utime(late, (1e9, 1e9))  # landed now, dated 2001: Spark's default of seven days would lose it
    assert sorted(row.id for row in update()[1].collect()) == ["1", "2", "3"]


def test_columns_evolve_and_types_stay(spark, tmp_path):
    data, state = tmp_path / "in put", tmp_path / "state"
    put(data, "a[1].json", '{"id": 1, "size": {"w": 1}}')
    options = {**JSON, "cloudFiles.inferColumnTypes": True}

    def types(extra=None, folder=state):
        return dict(
            read_stream(spark, str(data), {**options, **(extra or {})}, None, folder, no_warning).dtypes
        )

    assert types() == {"id": "bigint", "size": "struct<w:bigint>", "_rescued_data": "string"}
    put(data, "b.json", '{"a": true, "id": "x", "size": {"w": 1, "h": 2}}')
    assert types({"cloudFiles.schemaEvolutionMode": "rescue"})["size"] == "struct<w:bigint>"
    assert "_rescued_data" not in types({"cloudFiles.schemaEvolutionMode": "none"})
    with pytest.raises(PipelineError, match="new columns: size.h, a "):
        types({"cloudFiles.schemaEvolutionMode": "failOnNewColumns"})
    assert len(KnownSchemas.read(state).files) == 1  # none of these stored anything
    assert list(types()) == ["id", "size", "a", "_rescued_data"] and types()["id"] == "bigint"
    assert types({"schemaHints": "size.w int, _corrupt_record string"}) == {
        "id": "bigint",
        "size": "struct<w:int,h:bigint>",
        "a": "boolean",
        "_corrupt_record": "string",
        "_rescued_data": "string",
    }
    before = (state / "auto_loader.json").read_text()
    types(folder=None)
    assert (state / "auto_loader.json").read_text() == before and [file.name for file in state.iterdir()] == [
        "auto_loader.json"
    ]
    (data / "a[1].json").unlink(), (data / "b.json").unlink()
    assert "a" in types()  # an empty folder needs no files once the columns are known


def test_refusals_name_what_is_wrong(spark, tmp_path):
    with pytest.raises(PipelineError, match="CF_EMPTY_DIR_FOR_SCHEMA_INFERENCE"):
        read_stream(spark, str(tmp_path), JSON)
    with pytest.raises(PipelineError, match="no such path"):
        read_stream(spark, str(tmp_path / "none"), JSON, "id string")
    with pytest.raises(PipelineError, match="no such path"):
        read_batch(spark, str(tmp_path / "none"), JSON)
    with pytest.raises(PipelineError, match="format is 'avro'"):
        read_stream(spark, str(tmp_path), {"cloudFiles.format": "avro"})
    with pytest.raises(PipelineError, match="does not go with a declared schema"):
        read_stream(
            spark, str(tmp_path), {**JSON, "cloudFiles.schemaEvolutionMode": "addNewColumns"}, "id string"
        )
    with pytest.raises(PipelineError, match="schemaEvolutionMode is 'grow'"):
        parse_options({**JSON, "schemaEvolutionMode": "grow"}, print)
    with pytest.raises(PipelineError, match="header is 'maybe'"):
        read_stream(
            spark, str(tmp_path), {"format": "csv", "header": "maybe", "rescuedDataColumn": "r"}, "id string"
        )
    assert read_stream(spark, str(tmp_path), JSON, "id string").columns == [
        "id"
    ]  # a schema, an empty folder: an empty stream
    with pytest.raises(AnalysisException, match="UNABLE_TO_INFER_SCHEMA"):
        open_with_spark(spark, str(tmp_path), "parquet", {}, False)  # the path is there
    put(tmp_path, "c/A.JSON", "{}"), put(tmp_path, "c/b.jsonl.gz", "")
    assert detect_format(spark, str(tmp_path / "c")) == "json"
    put(tmp_path, "a.json", "{}"), put(tmp_path, "b.csv", "x")
    with pytest.raises(PipelineError, match="from csv, json"):
        detect_format(spark, str(tmp_path))


def test_partitions_globs_and_times(spark, tmp_path):
    old = put(tmp_path, "p/day=2026-01-01/site=a+b%3Ac/x.json", '{"id": "1"}')
    put(tmp_path, "p/day=2026-01-02/site=c/x.json", '{"id": "2"}')
    os.utime(old, (1e9, 1e9))
    options = {**JSON, "cloudFiles.schemaHints": "day date"}
    frame = read_batch(spark, str(tmp_path / "p"), options, warn=no_warning)
    assert frame.dtypes == [
        ("id", "string"),
        ("day", "date"),
        ("site", "string"),
        ("_rescued_data", "string"),
    ]
    assert [(str(row.day), row.site) for row in frame.orderBy("id").collect()] == [
        ("2026-01-01", "a+b:c"),
        ("2026-01-02", "c"),
    ]
    named = read_batch(
        spark, str(tmp_path / "p"), {**JSON, "partitionColumns": "day"}, "id string, day date", no_warning
    )
    assert sorted(str(row.day) for row in named.collect()) == ["2026-01-01", "2026-01-02"]
    assert [row.id for row in read_batch(spark, f"{tmp_path}/*/day=*2/*", JSON, "id string").collect()] == [
        "2"
    ]
    after = read_batch(
        spark, str(tmp_path / "p"), {**JSON, "modifiedAfter": "2010-01-01T00:00:00"}, "id string", no_warning
    )
    before = read_batch(
        spark, str(tmp_path / "p"), {**JSON, "modifiedBefore": "2010-01-01T00:00:00"}, "id string", no_warning
    )
    assert [row.id for row in after.collect()] == ["2"] and [row.id for row in before.collect()] == ["1"]
    read_stream(
        spark,
        str(tmp_path / "p"),
        {**JSON, "includeExistingFiles": False},
        "id string",
        tmp_path / "state",
        no_warning,
    )
    started = KnownSchemas.read(tmp_path / "state").started
    put(tmp_path, "p/later.json", '{"id": "3"}')
    os.utime(tmp_path / "p" / "later.json", (started + 5, started + 5))
    only_new = read_stream(
        spark, str(tmp_path / "p"), {**JSON, "includeExistingFiles": False}, "id string", tmp_path / "state"
    )
    assert KnownSchemas.read(tmp_path / "state").started == started
    assert [row.id for row in stream_into(spark, only_new, tmp_path)[1].collect()] == ["3"]


def test_csv_by_name_by_position_and_inferred(spark, tmp_path):
    put(tmp_path, "a.csv", "# export", "id,n,day", "1,10,31.01.2026", '"2, b",x,1.2.26', "3")
    put(tmp_path, "b.csv", "# export", "DAY,ID", "02.01.2026,4")
    options = {
        "cloudFiles.format": "csv",
        "header": True,
        "skipRows": 1,
        "dateFormat": "dd.MM.yyyy",
        "rescuedDataColumn": "_rescued_data",
    }
    rows = read_batch(spark, str(tmp_path), options, "id string, n int, day date", no_warning).collect()
    by_id = {row.id: row for row in rows}
    assert (by_id["1"].n, str(by_id["1"].day), by_id["1"]._rescued_data) == (10, "2026-01-31", None)
    assert rescued(by_id["2, b"]) == {"n": "x", "day": "1.2.26"}
    assert tuple(by_id["3"]) == ("3", None, None, None)
    assert rescued(by_id[None]) == {"DAY": "02.01.2026", "ID": "4"}
    folded = read_batch(
        spark, str(tmp_path), {**options, "readerCaseSensitive": "false"}, "id string, n int, day date"
    )
    assert [str(row.day) for row in folded.where("id = '4'").collect()] == ["2026-01-02"]
    put(tmp_path, "c/x.csv", "id,n", "1,2"), put(tmp_path, "c/y.csv", "n,id,m", "z,3,4")
    options = {"format": "csv", "header": "true", "inferColumnTypes": "true"}
    inferred = read_stream(spark, str(tmp_path / "c"), options, None, None, no_warning)
    assert inferred.dtypes == [("id", "int"), ("n", "string"), ("m", "int"), ("_rescued_data", "string")]
    bare = read_batch(spark, str(tmp_path / "c" / "x.csv"), {}, "a string, b string", no_warning)
    assert sorted(map(tuple, bare.collect())) == [("1", "2"), ("id", "n")]


def test_csv_line_too_wide_to_rescue_is_kept_whole(spark, tmp_path):
    wide = ",".join(f"x{number}" for number in range(40))
    put(tmp_path, "a.csv", "id", "1", wide)
    options = {"format": "csv", "header": "true", "rescuedDataColumn": "_rescued_data"}
    rows = read_batch(
        spark, str(tmp_path), options, "id string, _corrupt_record string", no_warning
    ).collect()
    assert {row.id: row._corrupt_record for row in rows} == {"1": None, "x0": wide}


def test_other_formats_are_sparks_own(spark, tmp_path):
    spark.range(2).write.parquet(str(tmp_path / "p"))
    said = []
    frame = read_batch(spark, str(tmp_path / "p"), {}, warn=said.append)
    assert frame.dtypes == [("id", "bigint"), ("_rescued_data", "string")] and frame.count() == 2
    stream = read_stream(spark, str(tmp_path / "p"), {"format": "parquet"}, warn=said.append)
    assert said == 2 * ["parquet: the rescued column _rescued_data stays NULL locally"]
    assert stream.select("*", "_metadata.file_name").isStreaming
    put(tmp_path, "t/a.txt", "x", "y")
    texts = read_batch(spark, str(tmp_path / "t"), {}, warn=no_warning)
    assert sorted(row.value for row in texts.collect()) == ["x", "y"]
    binary = read_batch(spark, str(tmp_path / "t"), {"format": "BINARYFILE"})
    assert binary.columns == ["path", "modificationTime", "length", "content"]
    said = []
    options = {"format": "parquet", "rescuedDataColumn": "r", "cleanSource": "MOVE"}
    read_stream(spark, str(tmp_path / "p"), options, "id bigint", None, said.append)
    assert [text.split(" is ")[0] for text in said] == [
        "Auto Loader option cleanSource",
        "parquet: the rescued column r stays NULL locally",
    ]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read_stream(spark, str(tmp_path / "p"), {"format": "parquet", "badRecordsPath": "/x"}, "id bigint")
    assert len(caught) == 1
