"Values of a test become values of a table, or are refused; rows are laid beside each other."

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IntegerType,
    LongType,
    MapType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from cdc_local.unit_tests.declarations import LocatedRow
from cdc_local.unit_tests.difference import compare, is_different, render
from cdc_local.unit_tests.nodes import UnitTestError
from cdc_local.unit_tests.values import infer_columns, to_arrow

NOON = datetime(2026, 3, 1, 12)


def stored(value, data_type):
    "The value that a table of one column has"
    schema = StructType([StructField("c", data_type)])
    return to_arrow([LocatedRow({"c": value})], schema, "t").column("c").to_pylist()[0]


@pytest.mark.parametrize(
    "value, data_type, expected",
    [
        (1, IntegerType(), 1),
        ("1", LongType(), 1),
        (1, StringType(), "1"),
        (True, StringType(), "true"),
        (True, BooleanType(), True),
        (1, DoubleType(), 1.0),
        (3.5, DecimalType(10, 2), Decimal("3.50")),
        (date(2026, 3, 1), DateType(), date(2026, 3, 1)),
        ("2026-03-01", DateType(), date(2026, 3, 1)),
        (NOON, TimestampType(), NOON.replace(tzinfo=UTC)),
        ("2026-03-01T13:00:00+01:00", TimestampType(), NOON.replace(tzinfo=UTC)),
        (date(2026, 3, 1), TimestampType(), datetime(2026, 3, 1, tzinfo=UTC)),
        (NOON, TimestampNTZType(), NOON),
        ([1, None], ArrayType(LongType()), [1, None]),
        ({"a": 1}, MapType(StringType(), LongType()), [("a", 1)]),
        (
            {"a": 1},
            StructType([StructField("a", LongType()), StructField("b", StringType())]),
            {"a": 1, "b": None},
        ),
        ("AQI=", BinaryType(), b"\x01\x02"),
        (None, IntegerType(), None),
    ],
)
def test_a_value_becomes_one_of_its_columns_type(value, data_type, expected):
    assert stored(value, data_type) == expected


@pytest.mark.parametrize(
    "value, data_type, words",
    [
        ("x", IntegerType(), "'x' is no int"),
        (2**31, IntegerType(), "2147483648 is no int"),
        (True, IntegerType(), "True is no int"),
        (3.5, StringType(), "3.5 is no string; YAML reads it as another kind of value: put it in quotes"),
        (NOON, StringType(), "put it in quotes"),
        (3.555, DecimalType(10, 2), "it has more than 2 decimals"),
        ("soon", TimestampType(), "'soon' is no timestamp"),
        ("2026-02-30", DateType(), "'2026-02-30' is no date"),
        ("a", ArrayType(LongType()), "write a list"),
        ([1], StructType([StructField("a", LongType())]), "write name: value"),
        ({"z": 1}, StructType([StructField("a", LongType())]), "there is no field 'z'"),
        ("?", BinaryType(), "write its bytes in base64"),
        ([1], LongType(), "is no bigint"),
    ],
)
def test_a_value_that_would_be_changed_is_refused(value, data_type, words):
    with pytest.raises(UnitTestError, match="t.c: ") as caught:
        stored(value, data_type)
    assert words in str(caught.value)


def test_a_column_that_is_not_there_is_named_with_those_that_are():
    schema = StructType([StructField("id", LongType()), StructField("city", StringType())])
    with pytest.raises(UnitTestError, match="t has no column 'cty'; did you mean city?"):
        to_arrow([LocatedRow({"cty": "Rome"})], schema, "t")
    assert to_arrow([LocatedRow({"CITY": "Rome"})], schema, "t").to_pylist() == [{"id": None, "city": "Rome"}]


def test_types_come_from_values_where_nobody_says_them():
    rows = [
        {"i": 1, "d": 1, "b": True, "s": "x", "n": None, "day": date(2026, 3, 1), "at": NOON},
        {"d": 2.5, "a": [1], "o": {"x": "y"}, "m": 1, "p": Decimal("1.50")},
        {"m": "x"},
    ]
    found = {field.name: field.dataType.simpleString() for field in infer_columns(map(LocatedRow, rows))}
    assert found == {
        "i": "bigint",
        "d": "double",
        "b": "boolean",
        "s": "string",
        "n": "string",
        "day": "date",
        "at": "timestamp",
        "a": "array<bigint>",
        "o": "struct<x:string>",
        "m": "string",
        "p": "decimal(3,2)",
    }


def test_rows_have_no_order_and_are_counted():
    one, two = {"id": 1}, {"id": 2}
    assert not is_different(compare([one, two, one], [one, one, two]))
    assert is_different(compare([one, one], [one]))
    assert is_different(compare([one], [one, one]))
    assert not is_different(compare([{"v": 0.1 + 0.2}], [{"v": 0.3}]))
    assert not is_different(compare([{"v": float("nan")}], [{"v": float("nan")}]))
    assert not is_different(compare([{"v": [("a", 1), ("b", 2)]}], [{"v": [("b", 2), ("a", 1)]}]))
    assert is_different(compare([{"v": [1, 2]}], [{"v": [2, 1]}]))
    assert is_different(compare([{"v": None}], [{"v": ""}]))


def test_a_difference_is_a_table_with_marks():
    expected = [{"id": 1, "city": "Rome"}, {"id": 2, "city": "Oslo"}, {"id": 3, "city": "Bern"}]
    actual = [{"id": 1, "city": "Rome"}, {"id": 2, "city": None}, {"id": 4, "city": "Lima"}]
    assert render(compare(expected, actual), ["id", "city"]).splitlines() == [
        "   id  city",
        "   1   Rome",
        "-  2   Oslo  expected",
        "+  2   NULL  actual, differs in city",
        "-  3   Bern  expected, missing",
        "+  4   Lima  actual, not expected",
    ]
