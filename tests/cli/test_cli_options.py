"Options that several commands share: how their text is read."

import os

import pytest
import typer
from typer.testing import CliRunner

from cdc_local.cli.exit_status import guarded
from cdc_local.cli.main import app
from cdc_local.cli.options import MemoryOption, examples, read_conf, read_names, read_pairs
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
    assert text.splitlines() == [
        "[bold]Examples[/bold]",
        "  [cyan]cdc show customers[/cyan]",
        "    [dim]its first 20 rows[/dim]",
        "  [cyan]cdc show[/cyan]",
    ]


def test_memory_goes_to_what_a_command_starts_and_ends_with_it(monkeypatch):
    seen = []
    program = typer.Typer()

    @program.command()
    @guarded
    def compute(memory: MemoryOption = None) -> None:
        seen.append(os.environ.get("CDC_MEMORY"))

    monkeypatch.setenv("CDC_MEMORY", "3g")
    assert CliRunner().invoke(program, ["--memory", "4g"]).exit_code == 0
    assert CliRunner().invoke(program, []).exit_code == 0
    assert (seen, os.environ["CDC_MEMORY"]) == (["4g", "3g"], "3g")
    monkeypatch.delenv("CDC_MEMORY")
    wrong = CliRunner().invoke(program, ["--memory", "lots"])
    assert wrong.exit_code == 2 and "--memory 'lots' is not a size" in wrong.stderr
    assert len(seen) == 2 and "CDC_MEMORY" not in os.environ


@pytest.mark.parametrize("words", ["run", "demo", "repair", "erase", "prove", "workspace", "bundle run"])
def test_every_command_that_starts_java_takes_its_memory(words):
    assert "--memory" in CliRunner().invoke(app, [*words.split(), "--help"]).stdout
