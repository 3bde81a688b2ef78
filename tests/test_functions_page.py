"The page of functions on both engines: what is left to Spark is there, each under one reason."

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "docs"))

import known_functions

LIST = {
    "asked": ["+", "abs", "collect_list", "datediff", "initcap", "ntile"],
    "same": ["abs(int)"],
    "raises": {},
    "patterns": {},
    "differs": {
        "+(int, int)": "(a + b) of 1, 2: Spark raises ArithmeticException, Sail answers -2",
        "datediff(date, date)": "datediff(a, b) of 1: Spark gives int32, Sail int64",
        "initcap(string)": 'initcap(a) of 1: Spark gives "Spark_sql", Sail "Spark_Sql"',
        "abs(double)": "abs(a) of 1: Spark gives null, Sail 1",
    },
    "refused": ["initcap(binary)"],
    "timed out": ["ntile(int)"],
}


def test_each_function_that_is_left_to_spark_has_one_reason():
    found = known_functions.unknown_functions(LIST, {"abs"})
    assert {group: list(names) for group, names in found.items()} == {
        known_functions.NOT_NAMED: ["collect_list"],
        "Sail gives another type": ["datediff"],
        "Sail gives another value": ["initcap"],
        known_functions.TIMED_OUT: ["ntile"],
    }


@pytest.mark.parametrize(
    "call, group",
    [
        ("+(int, int)", "Sail answers where Spark raises, as for an overflow"),
        ("datediff(date, date)", "Sail gives another type"),
        ("initcap(string)", "Sail gives another value"),
        ("abs(double)", "Sail gives another value"),
    ],
)
def test_a_reason_is_read_from_what_the_list_says(call, group):
    assert known_functions.reasons(LIST)[call][0] == group


def test_the_page_has_every_known_call():
    data, page = known_functions.read_list(), known_functions.functions_page()
    whole = [call for part in ("same", "patterns") for call in data[part]]
    cells = page.replace("\\|", "|")
    assert [call for call in whole if f"`{call}`" not in cells] == []
