"Which files a read has, by name, place and time; what is wrong is refused by name."

import os
from pathlib import Path

import pytest
from landed_files import JSON, no_warning, put, stream_into
from pyspark.errors import AnalysisException
from pyspark.sql.types import StructType

from cdc_local.autoloader.files import (
    detect_format,
    fixed_folder,
    list_files,
    open_with_spark,
    source_options,
)
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.partitions import partition_names
from cdc_local.autoloader.read import read_batch, read_stream
from cdc_local.autoloader.schema import KnownSchemas
from cdc_local.errors import PipelineError


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


def test_files_are_found_in_nested_folders_and_unfinished_ones_are_not(spark, tmp_path):
    put(tmp_path, "2026/first.json", '{"id": "1"}')
    put(tmp_path, "second.json", '{"id": "2"}')
    put(tmp_path, "_unfinished.json", '{"id": "3"}')

    def names(filters):
        return [Path(file).name for file in list_files(spark, str(tmp_path), filters, True)]

    assert names({}) == ["first.json", "second.json"]
    assert names(parse_options({**JSON, "fileNamePattern": "s*.json"}, no_warning).file_filters) == [
        "second.json"
    ]
    assert list_files(spark, f"{tmp_path}/*/none", {}, True) == []
    for path, streaming in ((f"{tmp_path}/nowhere", True), (f"{tmp_path}/*/none", False)):
        with pytest.raises(PipelineError, match="no such path"):
            list_files(spark, path, {}, streaming)


def test_a_batch_of_a_stream_has_a_limit_and_no_file_is_too_old():
    def limits(more):
        return source_options(parse_options({**JSON, **more}, no_warning), True)

    assert limits({}) == {"recursiveFileLookup": "true", "maxFileAge": "36500d", "maxFilesPerTrigger": "1000"}
    assert limits({"maxFilesPerTrigger": "7"})["maxFilesPerTrigger"] == "7"
    in_bytes = limits({"maxBytesPerTrigger": "2k"})
    assert in_bytes["maxBytesPerTrigger"] == "2048" and "maxFilesPerTrigger" not in in_bytes
    assert source_options(parse_options(JSON, no_warning), False) == {"recursiveFileLookup": "true"}


def test_folders_name_columns_unless_an_option_does():
    files = ("/in/year=2026/month=07/a.json", "/in/year=2026/month=08/b.json")
    assert partition_names(None, files, "/") == ("year", "month")
    assert partition_names(("month",), files, "/") == ("month",)
    mixed = ("/in/day=1/site=a/n=1.json", "/in/day=2/n=2.json")
    assert partition_names(None, mixed, "/") == ("day", "site")


def test_the_data_of_a_layout_is_what_nothing_else_fills(spark):
    columns = StructType.fromDDL("id string, day date, _corrupt_record string, _rescued_data string")
    layout = Layout(columns, "_rescued_data", partitions=("day",))
    assert [field.name for field in layout.data] == ["id"]


@pytest.mark.parametrize(
    "path, folder",
    [
        ("/in/files", "/in/files"),
        ("/in/files/", "/in/files"),
        ("file:///in/files", "/in/files"),
        ("/in/day=*/x.json", "/in"),
        ("/in/a{1,2}", "/in"),
        ("/*", "/"),
    ],
)
def test_names_of_files_begin_behind_the_part_of_a_path_that_is_no_glob(path, folder):
    assert fixed_folder(path) == folder


def test_a_file_that_is_named_lies_in_its_folder(tmp_path):
    (tmp_path / "x.json").touch()
    assert fixed_folder(str(tmp_path / "x.json")) == str(tmp_path)
