"Options of Auto Loader are parsed once; a wrong one is refused, one that is not emulated is named."

import pytest
from landed_files import JSON, no_warning

from cdc_local.autoloader.file_formats import CSV, TEXT
from cdc_local.autoloader.file_formats import JSON as JSON_FORMAT
from cdc_local.autoloader.options import EvolutionMode, parse_byte_count, parse_options, split_options
from cdc_local.errors import PipelineError


def test_options_are_known_in_any_case_with_or_without_prefix():
    known, unknown = split_options(
        {
            "cloudFiles.format": "json",
            "CLOUDFILES.inferColumnTypes": True,
            "dateFormat": "dd.MM.yyyy",
            "cloudFiles.useNotifications": "true",
            "cloudFiles.cleanSource": "DELETE",
            "cloudFiles.allowOverwrites": "false",
        }
    )
    assert known == {"format": "json", "infercolumntypes": "true", "dateformat": "dd.MM.yyyy"}
    assert unknown == ["cloudFiles.cleanSource"]


def test_what_is_not_emulated_is_named_once():
    warnings = []
    written = {"cloudFiles.format": "JSON", "badRecordsPath": "/bad", "cloudFiles.useNotifications": "true"}
    assert parse_options(written, warnings.append).format is JSON_FORMAT
    assert warnings == ["Auto Loader option badRecordsPath is not emulated locally and is ignored"]


def test_values_have_types():
    options = parse_options(
        {
            "format": "csv",
            "cloudFiles.maxFilesPerTrigger": "10",
            "cloudFiles.maxBytesPerTrigger": "no size, but files win",
            "skipRows": 2,
            "multiLine": " TRUE ",
            "cloudFiles.partitionColumns": "day, site",
            "cloudFiles.schemaEvolutionMode": "failOnNewColumns",
            "mode": "failFast",
            "sep": ";",
            "charset": "latin1",
            "fileNamePattern": "*.csv",
            "pathGlobFilter": "*.txt",
        },
        no_warning,
    )
    assert (options.format, options.max_files_per_trigger, options.max_bytes_per_trigger) == (CSV, 10, None)
    assert (options.skip_rows, options.multiline, options.partition_columns) == (2, True, ("day", "site"))
    assert (options.evolution_mode, options.mode) == (EvolutionMode.FAIL_ON_NEW_COLUMNS, "FAILFAST")
    assert options.encoding == "latin1" and options.text_options == {"charset": "latin1"}
    assert options.csv_options == {"sep": ";"}
    assert options.file_filters == {"pathglobfilter": "*.csv"}


def test_csv_has_a_header_unless_its_columns_are_declared_or_an_option_says_no():
    written = {"format": "csv"}
    assert parse_options(written, no_warning).header
    assert not parse_options(written, no_warning, has_schema=True).header
    assert not parse_options({**written, "header": "false"}, no_warning).header


def test_types_are_inferred_as_the_reader_does_unless_an_option_says_otherwise():
    assert not parse_options(JSON, no_warning).infer_column_types
    assert parse_options(JSON, no_warning, infers_types=True).infer_column_types
    written = {**JSON, "CLOUDFILES.INFERCOLUMNTYPES": "false"}
    assert not parse_options(written, no_warning, infers_types=True).infer_column_types


def test_a_format_with_fixed_columns_evolves_nothing():
    options = parse_options({"format": "TEXT", "schemaEvolutionMode": "rescue"}, no_warning)
    assert (options.format, options.evolution_mode) == (TEXT, EvolutionMode.NONE)


def test_widening_of_types_is_not_emulated():
    warnings = []
    parse_options({**JSON, "schemaEvolutionMode": "addNewColumnsWithTypeWidening"}, warnings.append)
    assert warnings == ["addNewColumnsWithTypeWidening adds columns locally, but widens no type"]


@pytest.mark.parametrize(
    "written, message",
    [
        ({"cloudFiles.format": "delta"}, "cloudFiles.format is 'delta'"),
        ({}, "cloudFiles.format is ''"),
        ({**JSON, "singleVariantColumn": "doc"}, "singleVariantColumn is not supported locally"),
        ({**JSON, "cloudFiles.maxBytesPerTrigger": "much"}, "maxBytesPerTrigger is 'much'"),
        ({**JSON, "cloudFiles.maxFilesPerTrigger": "few"}, "maxfilespertrigger is 'few'"),
        ({**JSON, "cloudFiles.inferColumnTypes": "maybe"}, "infercolumntypes is 'maybe'"),
        ({"format": "csv", "skipRows": "-1"}, "skiprows is '-1'"),
    ],
)
def test_a_wrong_value_is_refused_by_name(written, message):
    with pytest.raises(PipelineError, match=message):
        parse_options(written, no_warning)


def test_an_option_of_another_format_is_not_looked_at():
    assert not parse_options({**JSON, "header": "maybe"}, no_warning).header


def test_sizes_have_units():
    assert [parse_byte_count(size) for size in ("1000", "2k", "10 GB")] == [1000, 2048, 10 * 1024**3]
