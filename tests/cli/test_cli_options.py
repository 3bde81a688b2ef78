"Options that several commands share: how their text is read."

import pytest

from cdc_local.cli.options import examples, read_conf, read_names, read_pairs
from cdc_local.errors import UsageError


def test_configuration_is_key_and_value():
    found = read_conf(["cdc.catalog=sales", "url=a=b", "empty="], "main", "default")
    assert found == {"cdc.catalog": "sales", "cdc.schema": "default", "url": "a=b", "empty": ""}
    assert read_conf(None, "main", "default") == {"cdc.catalog": "main", "cdc.schema": "default"}


@pytest.mark.parametrize("wrong", ["cdc.catalog", "=main"])
def test_configuration_without_a_key_or_a_value_is_refused(wrong):
    with pytest.raises(UsageError, match="is not key=value; write e.g. --conf cdc.catalog=main"):
        read_conf([wrong], "main", "default")
    with pytest.raises(UsageError, match=f"--var '{wrong}' is not name=value"):
        read_pairs("--var", [wrong])


def test_the_last_value_of_a_name_counts():
    assert read_pairs("--var", ["url=a=b", " day = 2", "url=c"]) == {"url": "c", "day": " 2"}


@pytest.mark.parametrize(
    "options, names",
    [
        (["customers, customers_history", "orders"], ("customers", "customers_history", "orders")),
        (["customers,", ""], ("customers",)),
        ([], ()),
        (None, ()),
    ],
)
def test_names_are_separated_by_commas(options, names):
    assert read_names(options) == names


def test_examples_end_a_page_of_help():
    text = examples("cdc show customers  # its first 20 rows", "cdc show")
    assert text.split("\n\n") == [
        "[bold]Examples[/bold]",
        "[cyan]cdc show customers[/cyan]  its first 20 rows",
        "[cyan]cdc show[/cyan]",
    ]
