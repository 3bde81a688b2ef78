"Values as text: JSON, CSV, cells of a terminal."

import json
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.delta.rows import Rows, format_cell, format_csv, format_json, format_timestamp
from cdc_local.storage import TableName

MOMENT = datetime(2024, 5, 1, 10, 30, tzinfo=UTC)


def test_a_moment_is_written_in_utc():
    assert format_timestamp(datetime.fromisoformat("2024-05-01T12:30:00+02:00")) == "2024-05-01T10:30:00Z"


@pytest.mark.parametrize(
    "value, text",
    [
        (MOMENT, '"2024-05-01T10:30:00Z"'),
        ([date(2024, 5, 1), MOMENT.replace(tzinfo=None)], '["2024-05-01", "2024-05-01T10:30:00"]'),
        (
            {"n": Decimal("12345678901234567890.10"), "b": b"xyz", "gone": None},
            '{"n": 12345678901234567890.10, "b": "eHl6", "gone": null}',
        ),
        (Decimal("0E-10"), "0.0000000000"),  # as many digits as the column has
        (
            [float("nan"), float("inf"), float("-inf"), 0.1, True],
            '["NaN", "Infinity", "-Infinity", 0.1, true]',
        ),
        ({1: "one", MOMENT: "then"}, '{"1": "one", "2024-05-01T10:30:00Z": "then"}'),
        ("007", '"007"'),  # a string stays a string
        ("Ä\n", '"Ä\\n"'),
    ],
)
def test_json_says_exactly_what_is_in_the_table(value, text):
    assert format_json(value) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (None, ""),
        ("", '""'),
        ("Oslo", "Oslo"),
        (" Oslo", '" Oslo"'),
        ("a,b", '"a,b"'),
        ('say "hi"', '"say ""hi"""'),
        (True, "true"),
        (MOMENT, "2024-05-01T10:30:00Z"),
        ({"a": [1, None]}, '"{""a"": [1, null]}"'),
    ],
)
def test_csv_tells_null_from_an_empty_string(value, text):
    assert format_csv(value) == text


@pytest.mark.parametrize(
    "value, text",
    [
        (MOMENT, "2024-05-01 10:30:00"),
        (MOMENT.replace(microsecond=319_000), "2024-05-01 10:30:00.319"),
        (None, "NULL"),
        ("x", "x"),
        ([1, "a"], '[1, "a"]'),
        (Decimal("1.10"), "1.10"),
    ],
)
def test_a_cell_is_written_for_the_eye(value, text):
    assert format_cell(value) == text


def test_rows_of_a_table_as_lines_of_json_and_csv(storage):
    name = TableName("main", "default", "moments")
    stored = {
        "id": ["1", "007"],
        "at": pa.array([MOMENT, None], pa.timestamp("us", tz="UTC")),
        "price": pa.array([Decimal("1.10"), None], pa.decimal128(10, 2)),
        "tags": [["a", None], None],
        "place": [{"city": "Oslo", "zip": 150}, None],
    }
    write_deltalake(str(storage.table_path(name)), pa.table(stored))
    rows = read_rows(storage, name)
    empty, full = rows.json_lines()
    assert full == (
        '{"id": "1", "at": "2024-05-01T10:30:00Z", "price": 1.10, "tags": ["a", null], '
        '"place": {"city": "Oslo", "zip": 150}}'
    )
    assert json.loads(empty) == {"id": "007", "at": None, "price": None, "tags": None, "place": None}
    assert list(rows.csv_lines()) == [
        "id,at,price,tags,place",
        "007,,,,",
        '1,2024-05-01T10:30:00Z,1.10,"[""a"", null]","{""city"": ""Oslo"", ""zip"": 150}"',
    ]


def test_a_header_of_csv_is_quoted_too():
    assert list(Rows(("first, last",), [("Ada",)]).csv_lines()) == ['"first, last"', "Ada"]
