"Who may call, which token a server has, and how the values of a call are read"

from functools import partial

import pytest
from served_workspace import USER, client

from cdc_local.errors import UsageError
from cdc_local.workspace.call import Call
from cdc_local.workspace.call_error import CallError
from cdc_local.workspace.guard import Guard
from cdc_local.workspace.local_workspace import Workspace, read_user_name
from cdc_local.workspace.server import serve_workspace, start_token

GUARD = Guard(None, "secret")
SIGN_IN = "/.well-known/databricks-config"


def refusal_code(path="/api/2.0/pipelines", host=b"127.0.0.1:8765", token=b"Bearer secret"):
    refusal = GUARD.refusal(path, {b"host": host, b"authorization": token})
    return refusal and refusal.error_code


@pytest.mark.parametrize("host", [b"127.0.0.1:8765", b"localhost", b"[::1]:8765"])
def test_a_call_of_this_machine_with_the_token_may_pass(host):
    assert refusal_code(host=host) is None


def test_where_to_sign_in_is_answered_without_a_token_but_not_to_another_name():
    assert refusal_code(SIGN_IN, token=b"") is None
    assert refusal_code(SIGN_IN, host=b"evil.example") == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    "host", [b"evil.example:8765", b"", b"127.0.0.1.evil.example:80", b"evil.example:127.0.0.1"]
)
def test_a_call_by_the_name_of_another_machine_is_refused(host):
    assert refusal_code(host=host) == "PERMISSION_DENIED"


@pytest.mark.parametrize(
    "token",
    [
        b"",
        b"Bearer",
        b"Bearer secre",
        b"bearer secret",
        b"Bearer secret ",
        b"Basic secret",
        "Bearer sécret".encode(),
    ],
)
def test_a_call_without_the_token_is_refused(token):
    assert refusal_code(token=token) == "UNAUTHENTICATED"


def test_a_path_with_a_control_character_is_refused():
    assert refusal_code("/api/2.0/fs/files/Volumes/a/b/c/day.json\n") == "INVALID_PARAMETER_VALUE"


def test_a_refusal_says_what_to_do():
    assert GUARD.refusal("/api/2.0/pipelines", {b"host": b"evil.example"}).answer == {
        "error_code": "PERMISSION_DENIED",
        "message": "host 'evil.example' is not this machine; call it 127.0.0.1",
    }


def test_a_token_that_can_be_guessed_is_refused(storage):
    with pytest.raises(UsageError, match="CDC_WORKSPACE_TOKEN is no token; give at least 16 characters"):
        start_token(storage, "short")
    assert start_token(storage, "a-token-of-my-own") == ("a-token-of-my-own", '"$CDC_WORKSPACE_TOKEN"')


def test_a_token_that_is_made_is_written_for_this_user_alone(storage, work):
    path = storage.root / "workspace/token"
    serve = partial(serve_workspace, storage, USER, partial(start_token, storage), 0, work.execution)
    with serve() as running:
        assert (path.stat().st_mode & 0o777, path.read_text().strip()) == (0o600, running.token)
        assert client(running, running.token).current_user.me().user_name == USER
        with pytest.raises(UsageError, match="a workspace is running on storage"), serve():
            pass
        assert path.read_text().strip() == running.token  # the server that was refused left it


def test_a_workspace_has_folders_of_its_user_and_keeps_its_number(storage):
    workspace = Workspace(storage, USER)
    assert sorted(path.name for path in storage.root.glob("Workspace/*/*")) == [USER]
    assert workspace.number == Workspace(storage, "bob").number
    assert not workspace.has_volume("main.default.raw")


def test_a_user_name_with_a_slash_is_refused():
    assert read_user_name(USER) == USER and read_user_name().endswith("@localhost")
    with pytest.raises(UsageError, match="--user 'a/b' is no name of a user"):
        read_user_name("a/b")


def test_values_of_a_call_are_read_by_kind(storage):
    values = {"path": "/Users/ann", "recursive": "true", "limit": "2", "max": "many"}
    call = Call(Workspace(storage, USER), values)
    assert (call.text("path"), call.flag("recursive"), call.flag("force")) == ("/Users/ann", True, False)
    assert (call.number("limit"), call.number("offset", 0)) == (2, 0)
    with pytest.raises(CallError, match="name is None; it must be given as a text"):
        call.text("name")
    with pytest.raises(CallError, match="max is 'many'; it must be a number"):
        call.number("max")


def test_a_list_is_answered_by_the_page(storage):
    workspace = Workspace(storage, USER)
    first = Call(workspace, {"limit": "2"}).page("jobs", list("abcde"), "limit")
    assert first == {"jobs": ["a", "b"], "next_page_token": "2"}
    assert Call(workspace, {"page_token": "4"}).page("jobs", list("abcde")) == {"jobs": ["e"]}
