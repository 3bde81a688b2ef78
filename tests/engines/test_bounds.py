"Sums of whole numbers that fit their type whatever the rows hold: there Sail and Spark are the same."

import re

import pytest
from pyspark.sql import types

from cdc_local.engines.known.bounds import always_fits
from cdc_local.engines.known.sql_text import read_text

COLUMNS = {"i": types.IntegerType(), "n": types.LongType(), "d": types.DateType(), "s": types.StringType()}
LONG = re.compile(r"\b(n|bigint|count)\b", re.I)  # What makes a text of these tests a long


def type_of(part):
    text = part.expression_string.expression
    if text in COLUMNS:
        return COLUMNS[text]
    return types.LongType() if LONG.search(text) else types.IntegerType()


@pytest.mark.parametrize(
    "text, fits",
    [
        ("year(d) + 1", True),
        ("year(d) * 100 + month(d)", True),
        ("(year(d) * 10000 + month(d) * 100) + dayofmonth(d)", True),
        ("datediff(d, d) + 1", True),
        ("length(s) - 1", True),
        ("length(s) + length(s)", False),
        ("i + 1", False),
        ("i - i", False),
        ("i * 2", False),
        ("n + 1", False),
        ("cast(i as bigint) + 1", True),
        ("cast(i as bigint) * cast(i as bigint)", True),
        ("cast(i as bigint) * cast(i as bigint) * 2", False),
        ("cast(i as bigint) * cast(i as bigint) * cast(i as bigint)", False),
        ("cast(s as int) + 1", False),
        ("count(n) + 1", True),
        ("coalesce(length(s), 0) * 1", True),
        ("coalesce(i, 0) + 1", False),
        ("year(d) - -1", True),
        ("2147483647 + 1", False),
        ("-2147483648 - 1", False),
        ("year(d) * 2000000000", False),
    ],
)
def test_a_sum_fits_where_its_form_says_so(text, fits):
    call = read_text(text).calls[0]
    assert call.name in "+-*"
    assert always_fits(call, type_of) == fits
