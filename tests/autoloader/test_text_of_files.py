"Files that are no UTF-8 become text that every reader of a table takes."

import pytest
from landed_files import JSON, RESCUING, no_warning, put
from pyspark.sql import functions as F

from cdc_local.autoloader.read import read_batch
from cdc_local.sql_names import quote_for_spark


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


def test_a_bad_byte_is_replaced_and_the_encoding_reads_it_right(spark, tmp_path):
    put(tmp_path, "a.json", '{"name": "Müller"}', '{"name": "Mül', encoding="latin-1")

    def names(options):
        return [row.name for row in read_batch(spark, str(tmp_path), JSON | options, "name string").collect()]

    assert names({}) == ["M\ufffdller", None]
    assert names({"encoding": "ISO-8859-1"}) == ["Müller", None]
