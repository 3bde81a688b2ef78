"Formats that Spark parses, and one that is refused."

import warnings

import pytest
from landed_files import no_warning, put

from cdc_local.autoloader.file_formats import DATABRICKS_ONLY, FORMATS, find_format, format_of_ending
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.errors import PipelineError


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


@pytest.mark.parametrize("name", DATABRICKS_ONLY)
def test_a_format_of_databricks_alone_is_refused_with_its_reason(name):
    with pytest.raises(PipelineError, match=f"cloudFiles.format is '{name}'") as refused:
        find_format(name.upper())
    assert refused.value.hint == (
        "Avro needs the jar spark-avro, which PySpark does not bring; "
        "supported locally: json, csv, text, parquet, orc, xml, binaryfile"
    )


def test_a_format_is_known_by_the_endings_of_its_files():
    endings = ["json", "jsonl", "ndjson", "csv", "tsv", "txt", "parquet", "orc", "xml"]
    names = [found.name for ending in endings if (found := format_of_ending(ending))]
    assert names == ["json", "json", "json", "csv", "csv", "text", "parquet", "orc", "xml"]
    assert format_of_ending("avro") is None and format_of_ending("") is None
    assert not FORMATS.keys() & DATABRICKS_ONLY.keys()
