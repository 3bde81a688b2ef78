"JSON: every value of a document is somewhere, in a column or rescued."

import json

import pytest
from landed_files import JSON, RESCUING, no_warning, put, rescued
from pyspark.sql.types import StructType

from cdc_local.autoloader.json_documents import match_case, parse_documents, split_documents
from cdc_local.autoloader.layout import Layout
from cdc_local.autoloader.options import parse_options
from cdc_local.autoloader.read import read_batch


def test_json_keeps_every_value_somewhere(spark, tmp_path):
    put(
        tmp_path,
        "a.json",
        '{"id": "1", "n": 1, "t": "2026-01-02T03:04:05Z", "when": null}',
        "   ",
        '{"id": "2", "id": "2b", "n": 2}',  # a key twice: the last one counts
        '{"id": "3", "z": {"q": 1, "q": 2}}',  # twice inside an undeclared value
        '{"id": "4", "n": 99999999999, "t": "yesterday"}',  # beyond the type, not a timestamp
        '{"id": "5", "list": [{"k": 1}, {"k": "x"}], "s": {"a": {"b": true}}}',  # wrong deep inside
        '{"id": "6", "list": [{"k": 1, "new": 2.5}]}',  # undeclared inside an array
        '"text"',
        "42",
        '{"id": "8"',
        "{}",
        '{"id": {"deep": "kept"}}',
        '{"id": "9", "n": null, "s": {"a": {"b": 1, "new": 2}}, "it\'s": 1, "a.b": 2, "_file_path2": null}',
    )
    schema = (
        "id string, n int, t timestamp, `when` string, list array<struct<k: int>>, "
        "s struct<a: struct<b: int>>, _corrupt_record string"
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


def test_an_array_of_records_is_a_row_each_and_knows_its_file(spark, tmp_path):
    lines = ('{"id": 1}', "", '[{"id": 2, "amount": 12345678901234567.89}, {"id": 3}]', "[broken")
    put(tmp_path, "a.json", *lines)
    documents = split_documents(spark.read.text(str(tmp_path)), parse_options(JSON, no_warning))
    assert [tuple(row) for row in documents.select("value", "_metadata.file_name").collect()] == [
        ('{"id": 1}', "a.json"),
        ('{"amount":12345678901234567.89,"id":2}', "a.json"),
        ('{"id":3}', "a.json"),
        ("[broken", "a.json"),
    ]


COLUMNS = "id string, amount int, size struct<w: int, h: int>, _corrupt_record string, _rescued_data string"


@pytest.fixture
def layout(spark):
    return Layout(StructType.fromDDL(COLUMNS), "_rescued_data")


@pytest.fixture
def documents(spark, tmp_path):
    "One line is as promised, in four something is off."
    put(
        tmp_path,
        "a.json",
        '{"id": "1", "amount": 10}',
        '{"id": "2", "amount": "ten", "note": "call back"}',
        '{"id": "3", "amo',
        '{"ID": "4", "amount": null}',
        '{"id": "5", "size": {"w": 1, "h": "tall", "d": 9}}',
    )
    return split_documents(spark.read.text(str(tmp_path)), parse_options(JSON, no_warning))


def test_what_fits_no_column_is_rescued_and_what_does_stays(documents, layout):
    rows = parse_documents(documents, layout, parse_options(JSON, no_warning)).collect()
    assert [row._corrupt_record for row in rows] == [None, None, '{"id": "3", "amo', None, None]
    assert (rows[0].id, rows[0].amount, rows[0]._rescued_data) == ("1", 10, None)
    assert (rows[1].id, rows[1].amount) == ("2", None)
    assert rescued(rows[1]) == {"amount": "ten", "note": "call back"}
    assert (rows[2].id, rows[2]._rescued_data) == (None, None)
    assert rescued(rows[3]) == {"ID": "4"}
    assert tuple(rows[4].size) == (1, None)
    assert rescued(rows[4]) == {"size": {"d": 9, "h": "tall", "w": 1}}


def test_without_a_rescued_column_a_record_with_a_wrong_value_is_corrupt(documents, layout):
    unrescuing = Layout(StructType(layout.schema.fields[:4]))
    rows = parse_documents(documents, unrescuing, parse_options(JSON, no_warning)).collect()
    assert [row._corrupt_record is None for row in rows] == [True, False, False, True, False]


@pytest.mark.parametrize("mode", ["DROPMALFORMED", "dropMalformed"])
def test_dropmalformed_drops_what_cannot_be_parsed(documents, layout, mode):
    rows = parse_documents(documents, layout, parse_options({**JSON, "mode": mode}, no_warning)).collect()
    assert [row.id for row in rows] == ["1", "2", None, "5"]


def test_failfast_stops_at_what_cannot_be_parsed(documents, layout):
    rows = parse_documents(documents, layout, parse_options({**JSON, "mode": "FAILFAST"}, no_warning))
    with pytest.raises(Exception, match='malformed record: {"id": "3", "amo'):
        rows.collect()


def test_keys_are_spelled_as_the_columns(documents, layout):
    respelled = match_case(documents, layout)
    rows = parse_documents(respelled, layout, parse_options(JSON, no_warning)).collect()
    assert [row.id for row in rows] == ["1", "2", None, "4", "5"]
