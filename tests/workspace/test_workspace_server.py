"Who may call the workspace, what it answers to odd calls, and the command that serves it"

import logging
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from http.client import HTTPConnection
from socket import IPPROTO_TCP, TCP_NODELAY, socket
from types import SimpleNamespace
from urllib.parse import urlparse

import pytest
from databricks.sdk.errors import Unauthenticated
from served_workspace import HOME, ODD, TOKEN, USER, ask, client, make_volume, open_workspace

from cdc_local.errors import UsageError
from cdc_local.workspace.app import CALLS


@pytest.mark.parametrize(
    "token",
    [
        "",
        "Bearer",
        "Bearer wrong",
        f"bearer {TOKEN}",
        f"Bearer {TOKEN}x",
        f"Basic {TOKEN}",
        f"Bearer {TOKEN[:-1]}",
    ],
)
def test_every_call_needs_the_token(running, token, caplog):
    caplog.set_level(logging.INFO)
    for method, path in (
        ("GET", "/api/2.0/preview/scim/v2/Me"),
        ("GET", "/api/2.0/pipelines"),
        ("POST", "/api/2.1/unity-catalog/schemas"),
        ("GET", "/nothing"),
        ("PUT", "/api/2.0/fs/files/Volumes/a/b/c/d"),
    ):
        status, answer = ask(running, method, path, Authorization=token)
        assert (status, answer["error_code"]) == (401, "UNAUTHENTICATED")
    assert ask(running, "GET", "/.well-known/databricks-config", Authorization=token)[0] == 200
    assert TOKEN not in caplog.text


def test_the_sdk_hears_of_a_wrong_token(running):
    with pytest.raises(Unauthenticated, match="DATABRICKS_TOKEN"):
        client(running, "wrong").current_user.me()


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "", "0.0.0.0:80"]
)
def test_a_name_of_another_machine_is_refused(running, host):
    for path in ("/api/2.0/pipelines", "/.well-known/databricks-config"):
        assert ask(running, "GET", path, Host=host)[0] in (400, 403)


def test_only_this_machine_can_reach_it(running):
    import psutil

    port = urlparse(running.host).port
    assert {
        each.laddr.ip
        for each in psutil.Process().net_connections()
        if each.status == psutil.CONN_LISTEN and each.laddr.port == port
    } == {"127.0.0.1"}


def test_answers_do_not_wait_until_the_client_acknowledges_them(running):
    import psutil

    address = urlparse(running.host)
    connection = HTTPConnection(address.netloc)
    connection.request("GET", "/.well-known/databricks-config")
    connection.getresponse().read()
    (accepted,) = [
        each.fd
        for each in psutil.Process().net_connections("tcp4")
        if each.status == psutil.CONN_ESTABLISHED and each.laddr.port == address.port
    ]
    with socket(fileno=os.dup(accepted)) as server_side:
        assert server_side.getsockopt(IPPROTO_TCP, TCP_NODELAY)
    connection.close()


def test_an_unknown_call_is_named(running, caplog):
    caplog.set_level(logging.WARNING)
    for method, path in (
        ("GET", "/api/2.0/clusters/list"),
        ("PATCH", "/api/2.0/pipelines"),
        ("POST", "/api/2.0/preview/scim/v2/Me"),
        ("DELETE", "/"),
    ):
        status, answer = ask(running, method, path)
        assert (
            (status, answer["error_code"]) == (404, "ENDPOINT_NOT_FOUND")
            and f"'{method} {path}'" in answer["message"]
            and f"{method} {path}" in caplog.text
        )


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"7",
        b"\xff",
        b"[" * 100_000,
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'{"name": "\\ud800"}',
        b'{"name": {}}',
        b'{"catalog_name": [], "name": null}',
    ],
)
def test_a_body_that_is_none_is_the_clients_mistake(running, body):
    assert ask(running, "POST", "/api/2.1/unity-catalog/schemas", body)[1]["error_code"] in (
        "MALFORMED_REQUEST",
        "INVALID_PARAMETER_VALUE",
    )


NAMES = [
    "path",
    "format",
    "language",
    "overwrite",
    "content",
    "recursive",
    "catalog_name",
    "schema_name",
    "name",
    "volume_type",
    "comment",
    "changes",
    "access_control_list",
    "filter",
    "order_by",
    "max_results",
    "page_token",
    "limit",
    "tasks",
    "environments",
    "new_settings",
    "fields_to_remove",
    "job_id",
    "run_id",
    "job_parameters",
    "notebook_params",
    "only",
    "pipeline_params",
    "idempotency_token",
    "full_refresh",
    "refresh_selection",
    "protoLogs",
    "timeout_seconds",
    "max_concurrent_runs",
    "parameters",
    "queue",
    "principal",
    "timestamp",
]


@pytest.mark.parametrize("call", list(CALLS))
def test_no_value_is_a_fault_of_the_server(running, w, call, caplog):
    "Whatever is sent where, it is an answer or the client's mistake."
    make_volume(w)
    job, pipeline = w.jobs.create(name="daily").job_id, w.pipelines.create(name="etl").pipeline_id
    method, path = call.split(" ", 1)
    known = {
        "{path:path}": "/Volumes/main/shop/raw/x",
        "{minor:int}": "2",
        "{pipeline_id}": pipeline,
        "{kind}": "schema",
        "{name}": "main.shop",
        "{full_name}": "main.shop",
        "{update_id}": "x",
        "{number}": str(job),
    }
    for part, value in known.items():
        path = path.replace(part, value)
    for odd in ODD:
        for body in (
            dict.fromkeys(NAMES, odd),
            dict.fromkeys(NAMES, odd)
            | {
                "job_id": job,
                "path": HOME + "/x",
                "name": "main",
                "catalog_name": "main",
                "schema_name": "shop",
            },
        ):
            status, answer = ask(running, method, path, body)
            assert status < 500 or answer["error_code"] == "NOT_IMPLEMENTED", (body, answer, caplog.text)


def test_two_servers_do_not_share_a_storage(running, storage, work):
    with (
        pytest.raises(UsageError, match="a workspace is running on storage"),
        open_workspace(storage, work),
    ):
        pass
    assert client(running).current_user.me().user_name == USER


@contextmanager
def command(storage, *options, **environ):
    "`cdc workspace` as a process, and what it printed first"
    argv = [
        sys.executable,
        "-m",
        "cdc_local.cli.main",
        "workspace",
        "--storage",
        str(storage.root),
        "--port",
        "0",
        *options,
    ]
    argv[1:3] = ["-c", "from cdc_local.cli.main import main; main()"]
    with subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environ}
    ) as process:
        try:
            lines = [process.stdout.readline() for _ in range(4)]
            yield SimpleNamespace(process=process, lines=lines, host=lines[1].partition("=")[2].strip())
        finally:
            if process.poll() is None:
                process.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(storage, ending):
    with command(storage, "--user", USER) as started:
        path = storage.root / "workspace/token"
        token = path.read_text().strip()
        shown = subprocess.run(
            ["sh", "-c", started.lines[2] + 'printf %s "$DATABRICKS_TOKEN"'],
            capture_output=True,
            text=True,
            check=True,
        )
        assert (path.stat().st_mode & 0o777, shown.stdout) == (0o600, token)
        assert client(started, token).current_user.me().user_name == USER
        started.process.send_signal(ending)
        out, err = started.process.communicate(timeout=60)
        assert (
            started.process.returncode == 0
            and "what it holds stays" in out
            and token not in err + out + "".join(started.lines)
        ), err
        assert "GET /api/2.0/preview/scim/v2/Me: 200" in err


def test_the_command_takes_a_token_and_refuses_what_is_taken(storage, tmp_path):
    with command(storage, CDC_WORKSPACE_TOKEN=TOKEN) as started:
        assert client(started).current_user.me().user_name and not (storage.root / "workspace/token").exists()
        cdc = [sys.executable, "-c", "from cdc_local.cli.main import main; main()", "workspace"]
        port = str(urlparse(started.host).port)
        for options, told in (
            (["--storage", str(storage.root), "--port", "0"], "a workspace is running on storage"),
            (
                ["--storage", str(tmp_path / "other"), "--port", port],
                f"port {port} of 127.0.0.1 cannot be taken",
            ),
        ):
            done = subprocess.run(cdc + options, capture_output=True, text=True)
            assert (done.returncode, told in done.stderr, "Traceback" in done.stderr) == (2, True, False), (
                done.stderr
            )
