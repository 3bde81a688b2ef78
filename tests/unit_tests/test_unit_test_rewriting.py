"What came out is written into a test file, and all else in it stays."

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from cdc_local.unit_tests.check import CountDiffers, RowsDiffer
from cdc_local.unit_tests.declarations import read_unit_tests
from cdc_local.unit_tests.difference import compare
from cdc_local.unit_tests.nodes import UnitTestError
from cdc_local.unit_tests.rewrite import rewrite, to_yaml

HEAD = """\
# of the file
tests:
    - name: one   # oddly indented
      model: t
      expect:
"""


def rewritten(tmp_path, rows, actual):
    "The lines that stand in the place of `rows` once `actual` came out"
    path = tmp_path / "t.unit_tests.yml"
    path.write_text(HEAD + rows)
    [expected] = read_unit_tests(path).tests[0].steps[0].expected.rows
    columns = list(actual[0]) if actual else list(expected.rows[0].values)
    wanted = [{name: row.values.get(name) for name in columns} for row in expected.rows]
    rewrite(path, RowsDiffer(expected, columns, compare(wanted, actual)))
    text = path.read_text()
    assert text.startswith(HEAD)
    return text.removeprefix(HEAD)


ROWS = """\
        rows:
            # the first
            - {id: 1, city: Rome} # stays
            # the second
            - {id: 2, city: Oslo} # moves
            - {id: 3, city: Bern}

      # after the rows
      description: more
"""


def test_rows_that_are_as_expected_stay_as_they_stand_and_comments_too(tmp_path):
    actual = [{"id": 1, "city": "Rome"}, {"id": 2, "city": "Kyiv"}, {"id": 4, "city": None}]
    assert rewritten(tmp_path, ROWS, actual) == ROWS.replace("Oslo", "Kyiv").replace(
        "- {id: 3, city: Bern}", "- {id: 4, city: null}"
    )


def test_rows_that_are_written_downwards_stay_so(tmp_path):
    rows = "        rows:\n        - id: 1\n          city: Rome\n"
    assert rewritten(tmp_path, rows, [{"id": 1, "city": "Oslo"}, {"id": 2, "city": "Bern"}]) == (
        "        rows:\n        - id: 1\n          city: Oslo\n        - id: 2\n          city: Bern\n"
    )


@pytest.mark.parametrize("rows", ["[]", "[{id: 2}, {id: 3}]"])
def test_rows_on_the_line_of_their_key_become_a_line_each(tmp_path, rows):
    assert rewritten(tmp_path, f"        rows: {rows} # note\n", [{"id": 1}]) == (
        "        rows:  # note\n          - {id: 1}\n"
    )


def test_no_rows_are_an_empty_list(tmp_path):
    assert rewritten(tmp_path, "        rows:\n            - {id: 1}\n", []) == "        rows: []\n"


def test_rows_of_csv_are_written_as_csv(tmp_path):
    rows = (
        "        format: csv\n        rows: |\n          id, city\n          1,  Rome\n      description: x\n"
    )
    assert rewritten(tmp_path, rows, [{"id": 1, "city": "Oslo"}]) == rows.replace(
        "id, city", "id,city"
    ).replace("1,  Rome", "1,Oslo")


def test_a_form_that_cannot_be_rewritten_is_named(tmp_path):
    with pytest.raises(
        UnitTestError, match="t.unit_tests.yml:6: .*cannot be rewritten; write one row a line"
    ):
        rewritten(tmp_path, "        rows: [{id: 1},\n               {id: 2}]\n", [{"id": 3}])


def test_a_count_is_written_where_it_stands(tmp_path):
    path = tmp_path / "t.unit_tests.yml"
    path.write_text(
        HEAD + "        dropped: 1 # note\n        expectations:\n          v: {passed: 1, failed: 1}\n"
    )
    expected = read_unit_tests(path).tests[0].steps[0].expected
    rewrite(path, CountDiffers(expected.dropped, "dropped", 12))
    rewrite(path, CountDiffers(expected.rules[0].counts["failed"], "failed", 3))
    assert path.read_text() == (
        HEAD + "        dropped: 12 # note\n        expectations:\n          v: {passed: 1, failed: 3}\n"
    )


@pytest.mark.parametrize(
    "value, text",
    [
        (None, "null"),
        (True, "true"),
        (1.5, "1.5"),
        (float("nan"), ".nan"),
        (Decimal("3.50"), "3.50"),
        (Decimal("0.12345678901234567890"), '"0.12345678901234567890"'),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01 12:00:00"),
        ("Rome", "Rome"),
        ("São Paulo", "São Paulo"),
        ("1", '"1"'),
        ("no", '"no"'),
        ("a: b", '"a: b"'),
        ("", '""'),
        ("a, b", '"a, b"'),
        ([1, "x"], "[1, x]"),
        ([("a", 1)], "{a: 1}"),
        ({"a": None}, "{a: null}"),
    ],
)
def test_a_value_is_written_so_that_it_is_read_as_the_same(value, text):
    assert to_yaml(value) == text
