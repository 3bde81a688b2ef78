"What an error says to whoever runs a pipeline."

import pytest

from cdc_local.errors import Location, PipelineError, UsageError, locate


def test_a_location_prints_its_line_where_it_has_one():
    assert str(Location("transformations/customers.py", 12)) == "transformations/customers.py:12"
    assert str(Location("transformations")) == "transformations"


def test_an_error_says_where_what_and_what_to_do():
    error = PipelineError(
        "customers: `keys` is empty", Location("customers.py", 7), "name the columns that identify a row"
    )
    assert str(error) == "customers.py:7: customers: `keys` is empty; name the columns that identify a row"
    assert error.args == ("customers: `keys` is empty",)


def test_wrong_use_has_another_exit_status_than_a_failed_update():
    usage = UsageError("no such path: x")
    assert (PipelineError("").exit_code, usage.exit_code, str(usage)) == (1, 2, "no such path: x")


@pytest.mark.parametrize(
    "location, wanted",
    [
        (Location("gold.sql", 10), "gold.sql:11"),
        (Location("gold.sql"), "gold.sql:2"),
        (None, "SQL:2"),
    ],
)
def test_a_position_in_a_text_is_a_line_of_its_file(location, wanted):
    sql = "SELECT 1;\nSELECT x"
    assert str(locate(sql, sql.index("x"), location)) == wanted
