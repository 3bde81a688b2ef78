"Tables that are printed show each number under its own heading."

import io

from rich.console import Console

from cdc_local.reports.update import expectations_table
from cdc_utils.results import ExpectationCount


def printed_words(table):
    console = Console(file=io.StringIO(), width=100)
    console.print(table)
    return [line.split() for line in console.file.getvalue().splitlines()]


def test_rows_that_passed_a_rule_are_told_from_those_that_failed_it():
    lines = printed_words(expectations_table([ExpectationCount("main.crm.customers", "valid_id", 9_998, 2)]))
    assert ["Dataset", "Expectation", "Passed", "Failed"] in lines
    assert ["customers", "valid_id", "9,998", "2"] in lines
