"Tables that are printed: numbers under their own headings, wide rows written downwards, nothing cut off."

import io

import pytest

from cdc_local.delta.reader import Rows
from cdc_local.reports.tables import format_number, make_console, plain_table, rows_table
from cdc_local.reports.update import expectations_table
from cdc_utils.results import ExpectationCount

WIDE = Rows(tuple(f"column_{number}" for number in range(12)), [tuple(range(12))])


def test_a_pipe_is_100_columns_wide_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    console = make_console(io.StringIO())
    assert (console.width, console.is_terminal, console.color_system) == (100, False, None)
    monkeypatch.setenv("COLUMNS", "60")
    assert make_console(io.StringIO()).width == 60


@pytest.mark.parametrize(
    ("value", "decimals", "text"),
    [(0, 0, "0"), (None, 0, ""), (1_234.56, 1, "1,234.6"), (12_000, 0, "12,000")],
)
def test_numbers_have_commas_and_none_is_empty(value, decimals, text):
    assert format_number(value, decimals) == text


def test_long_texts_are_folded_and_numbers_stand_on_the_right(printed):
    rows = [("a name that is longer than its line", "12,000"), ("short", "")]
    assert printed(plain_table("", ("Name", ">Rows"), rows), width=24) == [
        "Name                Rows",
        "────────────────────────",
        "a name that is    12,000",
        "longer than its",
        "line",
        "short",
    ]


def test_nothing_is_cut_off(printed):
    lines = printed(plain_table("", ("Name",), [("x" * 150,)]))
    assert "".join(lines).count("x") == 150


def test_a_table_of_rows_has_numbers_on_the_right_and_shows_null(printed):
    rows = Rows(("id", "city", "versions"), [("1", "Oslo", 3), ("2", None, 12)])
    assert printed(rows_table(rows, 100, "customers")) == [
        "customers",
        "id   city   versions",
        "────────────────────",
        "1    Oslo          3",
        "2    NULL         12",
    ]


def test_rows_that_are_too_wide_are_written_downwards(printed):
    lines = printed(rows_table(WIDE, 100))
    assert lines[0].split() == ["Row", "Column", "Value"]
    assert [lines[2].split(), lines[3].split()] == [["1", "column_0", "0"], ["column_1", "1"]]
    assert printed(rows_table(WIDE, 200), width=200)[0].split() == list(WIDE.columns)


def test_square_brackets_in_data_are_no_markup(printed):
    assert printed(rows_table(Rows(("note",), [("[red] alert",)]), 100))[-1] == "[red] alert"


def test_rows_that_passed_a_rule_are_told_from_those_that_failed_it(printed):
    counts = [ExpectationCount("main.crm.customers", "valid_id", 9_998, 2)]
    lines = [line.split() for line in printed(expectations_table(counts))]
    assert ["Dataset", "Expectation", "Passed", "Failed"] in lines
    assert ["customers", "valid_id", "9,998", "2"] in lines
