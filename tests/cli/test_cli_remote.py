"`cdc remote` without credentials, and `cdc workspace` with wrong names and tokens."

import os

import pytest
from typed_commands import typed
from typer.testing import CliRunner

from cdc_local.cli.main import app
from cdc_local.cli.remote import to_log_event


def test_an_event_of_a_workspace_is_one_of_the_log():
    event = {"id": "1", "origin": {"update_id": "u1"}, "details": {}, "error": {}}
    assert to_log_event(event) == {
        "id": "1",
        "origin": '{"update_id": "u1"}',
        "details": None,
        "error": None,
    }


@pytest.mark.parametrize("words", ["update orders", "job daily", "wheels list /Volumes/dev/shop/wheels"])
def test_without_credentials_nothing_is_asked(monkeypatch, tmp_path, words):
    for name in list(os.environ):
        if name.startswith("DATABRICKS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABRICKS_CONFIG_FILE", str(tmp_path / "none.cfg"))
    wrong = typed("remote", *words.split())
    assert wrong.exit_code == 1 and wrong.stderr.startswith("error: no credentials for a workspace")


def test_a_workspace_refuses_a_wrong_user_and_a_short_token(storage):
    wrong = typed("workspace", "--user", "a/b", "--storage", str(storage.root))
    assert wrong.exit_code == 2 and "--user 'a/b' is no name of a user" in wrong.stderr
    words = ["workspace", "--storage", str(storage.root)]
    wrong = CliRunner().invoke(app, words, env={"CDC_WORKSPACE_TOKEN": "short"})
    assert wrong.exit_code == 2
    assert "at least 16 characters" in wrong.stderr and "short" not in wrong.stderr
