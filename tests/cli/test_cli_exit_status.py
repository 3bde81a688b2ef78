"What an error becomes: a message, an exit status, and a traceback kept where it is our own fault."

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from cdc_local.cli.exit_status import INTERRUPTED, finish, guarded, is_users_mistake
from cdc_local.errors import PipelineError, UsageError, install_hint
from cdc_local.reports.tables import make_console


def interrupted_while_tidying_up():
    error = ConnectionError("Java is gone")
    error.__context__ = KeyboardInterrupt()
    return error


FAULTS = {
    "use": UsageError("no such path: x", hint="give a file"),
    "failed": PipelineError("customers: no column idd"),
    "stop": KeyboardInterrupt(),
    "tidying up": interrupted_while_tidying_up(),
    "ours": KeyError("flow"),
    "absent": ModuleNotFoundError("No module named 'duckdb'", name="duckdb"),
    "good": None,
}


@pytest.fixture
def attempt(tmp_path):
    "Type a command that raises a fault."
    program = typer.Typer()

    @program.command()
    @guarded
    def fail(kind: str, storage: Path = tmp_path, debug: bool = False) -> None:
        if FAULTS[kind] is not None:
            raise FAULTS[kind]

    return lambda *words: CliRunner().invoke(program, list(words))


@pytest.mark.parametrize(
    "kind, status, message",
    [
        ("use", 2, "error: no such path: x; give a file\n"),
        ("failed", 1, "error: customers: no column idd\n"),
        ("stop", 130, INTERRUPTED + "\n"),
        ("tidying up", 130, INTERRUPTED + "\n"),
        (
            "absent",
            2,
            f"error: this command needs the package duckdb, which is not installed; {install_hint()}\n",
        ),
        ("good", 0, ""),
    ],
)
def test_a_fault_has_a_message_and_an_exit_status(attempt, kind, status, message):
    done = attempt(kind)
    assert (done.exit_code, done.stderr) == (status, message)


def test_our_own_fault_names_the_file_of_its_traceback(attempt, tmp_path):
    done = attempt("ours")
    assert done.exit_code == 1 and "this is a fault of cdc_utils" in done.stderr
    assert "Traceback" not in done.stderr
    [kept] = (tmp_path / "tracebacks").iterdir()
    assert str(kept) in done.stderr and "KeyError: 'flow'" in kept.read_text()
    assert "Traceback" in attempt("ours", "--debug").stderr


@pytest.mark.parametrize(
    "error, users",
    [
        (UsageError("x"), True),
        (PipelineError("x"), True),
        (ValueError("keys is empty"), True),
        (KeyError("x"), False),
        (json.JSONDecodeError("x", "", 0), False),
    ],
)
def test_whose_mistake_an_error_is(error, users):
    assert is_users_mistake(error) is users


@pytest.mark.parametrize(
    "state, error, status, message",
    [
        ("FAILED", "customers: no column idd", 1, "error: customers: no column idd\n"),
        ("FAILED", None, 1, "error: update u is FAILED\n"),
        ("CANCELED", None, 130, INTERRUPTED + "\n"),
    ],
)
def test_how_an_update_that_went_wrong_ends(capsys, state, error, status, message):
    result = SimpleNamespace(update_id="u", state=state, error=error, flows=())
    with pytest.raises(typer.Exit) as ended:
        finish(result, make_console(io.StringIO()), "quiet")
    assert (ended.value.exit_code, capsys.readouterr().err) == (status, message)


def test_an_update_that_completed_ends_quietly(capsys):
    result = SimpleNamespace(update_id="u", state="COMPLETED", error=None, flows=())
    finish(result, make_console(io.StringIO()), "quiet")
    assert capsys.readouterr() == ("", "")
