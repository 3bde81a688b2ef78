"What a SQL text leaves open is filled in before it is parsed."

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from cdc_local.errors import Location, PipelineError
from cdc_local.sql.parameters import bind_parameters, expand_identifiers, fill_settings, write_literal


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "NULL"),
        (True, "true"),
        (5, "5"),
        (2**31, "2147483648L"),
        (-1, "-1"),
        (1.5, "1.5D"),
        (1e300, "1e+300D"),
        (float("nan"), "CAST('nan' AS DOUBLE)"),
        (Decimal("1.50"), "1.50BD"),
        ("it's a \\ and\na line", r"'it\'s a \\ and\na line'"),
        (b"\x00\xff", "X'00ff'"),
        (date(2024, 2, 29), "DATE'2024-02-29'"),
        (datetime(2024, 1, 2, 3, 4, 5, 6, UTC), "TIMESTAMP'2024-01-02 03:04:05.000006+00:00'"),
        (
            datetime(2024, 1, 2, 3, tzinfo=timezone(timedelta(hours=2))),
            "TIMESTAMP'2024-01-02 01:00:00.000000+00:00'",
        ),
        (timedelta(days=-1, hours=-2), "INTERVAL '-1 02:00:00.000000' DAY TO SECOND"),
        ([1, "a", None], "array(1, 'a', NULL)"),
    ],
)
def test_values_of_python_are_literals_of_sql(value, text):
    assert write_literal(value) == text


def test_literals_have_the_value_and_the_type_that_lit_gives(spark):
    from pyspark.sql import functions as F

    values = [True, 5, 2**40, 1.5, float("-inf"), Decimal("1.50"), "it's \\ a\n\tline 😀 ${x} %", b"\x00\xff"]
    values += [
        date(2024, 2, 29),
        datetime(2024, 7, 2, 3, 4, 5, 6),
        timedelta(days=-1, seconds=5),
        [1, 2],
        None,
    ]
    for value in values:
        ours = spark.sql(f"SELECT {write_literal(value)} AS v")
        theirs = spark.range(1).select(F.lit(value).alias("v"))
        assert ours.first() == theirs.first(), value
        assert ours.schema["v"].dataType.simpleString() == theirs.schema["v"].dataType.simpleString(), value


def test_a_value_without_a_literal_is_refused_with_its_type():
    with pytest.raises(PipelineError, match="of the type object; give a string"):
        write_literal(object())
    with pytest.raises(PipelineError, match="greater than a BIGINT"):
        write_literal(2**63)


@pytest.mark.parametrize(
    "text, bound",
    [
        ("SELECT * FROM t WHERE v = :n", "SELECT * FROM t WHERE v = 'x'"),
        ("SELECT :n, (:n)", "SELECT 'x', ('x')"),
        ("SELECT a::int, raw:n, t.raw:n.b, f(x):n, a[0]:n", None),
        ("SELECT ':n', \":n\", `:n` -- :n\n/* :n */", None),
        ("SELECT a ?::int", None),
        ("LIMIT :n;", "LIMIT 'x';"),
    ],
)
def test_names_of_parameters_and_what_only_looks_like_one(text, bound):
    assert bind_parameters(text, {"n": "x"}) == (bound or text)


def test_parameters_in_order():
    assert bind_parameters("SELECT ?, '?', ? -- ?", [1, "?"]) == "SELECT 1, '?', '?' -- ?"
    with pytest.raises(PipelineError) as wrong:
        bind_parameters("SELECT ?,\n?", [1], Location("a.py", 3))
    assert str(wrong.value) == "a.py:4: the SQL has 2 `?` and 1 values are given"


def test_a_parameter_without_value_is_named_at_its_line():
    with pytest.raises(PipelineError) as wrong:
        bind_parameters("SELECT 1\nWHERE a = :other", {"n": 1}, Location("a.py", 3))
    assert str(wrong.value) == "a.py:4: the parameter :other of this SQL has no value; given: n"


def test_settings_are_filled_in_and_unknown_ones_are_nothing_in_strings(monkeypatch):
    monkeypatch.setenv("CDC_TEST_OF_TEXT", "home")
    settings = {"schema": "main.raw", "dir": "/Volumes/x", "a.b": "1"}.get
    text = "SELECT '${dir}/y', '${other}', ${a.b}, '${env:CDC_TEST_OF_TEXT}' FROM ${schema}.t -- ${none}"
    assert fill_settings(text, settings) == ("SELECT '/Volumes/x/y', '', 1, 'home' FROM main.raw.t -- ")
    assert fill_settings("${spark:a.b} ${hiveconf:a.b} ${sparkconf:a.b}", settings) == "1 1 1"
    with pytest.raises(
        PipelineError, match=r"a.py:2: parameter \$\{schem\} has no value; set it .* --conf schem=value"
    ):
        fill_settings("SELECT *\nFROM ${schem}.t", settings, Location("a.py", 1))


def test_identifiers_become_the_names_that_they_mean(spark):
    text = "SELECT IDENTIFIER('a' || 'bs')(n), `identifier` FROM IDENTIFIER('main.' || 'default.t') t"
    assert expand_identifiers(spark, text) == "SELECT abs(n), `identifier` FROM main.default.t t"
    with pytest.raises(PipelineError, match="'column_a' is no constant"):
        expand_identifiers(spark, "SELECT * FROM IDENTIFIER(column_a)")
