"`cdc remote` and its functions against the local workspace, and one that is slow, busy, broken or gone"

import io
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.catalog import VolumeType
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route
from typer.testing import CliRunner

from cdc_local.cli.main import app
from cdc_local.errors import PipelineError
from cdc_local.jobs.scheduler import run_job
from cdc_local.storage import Storage
from cdc_local.update.event_log import EventLog
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.server import serve_workspace
from cdc_utils import remote

USER, TOKEN = "ann@example.org", "a-token-for-tests-only"
FOLDER = "/Volumes/dev/shop/wheels/app"


class Work:
    "Stands for the processes: updates write events of their own, tasks print"

    def __init__(self, storage):
        self.storage, self.rows, self.tried = storage, 5, 0

    def update(self, pipeline, update, stop, on_line):
        self.asked = update["full_refresh"], update["refresh_selection"], update["full_refresh_selection"]
        with EventLog(self.storage.event_log_path, pipeline["name"], update["update_id"]) as log:
            rules = [
                {"name": "valid_id", "dataset": "orders", "passed_records": self.rows, "failed_records": 2}
            ]
            details = {
                "flow_progress": {
                    "status": "COMPLETED",
                    "metrics": {"num_output_rows": self.rows},
                    "data_quality": {"dropped_records": 2, "expectations": rules},
                }
            }
            log.record(
                "flow_progress",
                "Flow orders is COMPLETED.",
                flow_name="orders",
                dataset_name="orders",
                details=details,
            )
            log.record("update_progress", "done", details={"update_progress": {"state": "COMPLETED"}})
        return ""

    def task(self, attempt, job, environments, on_line):
        self.tried += 1
        task = attempt.task
        if task["task_key"] == "late" and self.tried < 3:
            raise PipelineError("the source is not there yet")
        if task["task_key"] == "bad":
            raise PipelineError("cell 2 failed: ValueError: no files")
        return "500 rows"

    def execution(self):
        return Execution(run_job, self.task, self.update)


@pytest.fixture
def work(tmp_path):
    return Work(Storage(tmp_path / "cdc").create())


@pytest.fixture
def place(work):
    "A workspace with a volume, a pipeline and two jobs"
    with serve_workspace(work.storage, USER, lambda: (TOKEN, "…"), 0, work.execution()) as running:
        client = WorkspaceClient(host=running.host, token=TOKEN)
        client.schemas.create("shop", "dev")
        client.volumes.create("dev", "shop", "wheels", VolumeType.MANAGED)
        do = client.api_client.do
        do(
            "POST",
            "/api/2.0/pipelines",
            body={
                "name": "[dev ann] orders",
                "catalog": "dev",
                "schema": "shop",
                "libraries": [{"file": {"path": "/Workspace/x.py"}}],
                "environment": {"dependencies": [f"{FOLDER}/shop-1-py3-none-any.whl"]},
            },
        )
        notebook = {"notebook_path": "/Workspace/load"}
        for name, tasks in {
            "daily": [{"task_key": "late", "notebook_task": notebook, "max_retries": 5}],
            "broken": [
                {"task_key": "bad", "notebook_task": notebook},
                {"task_key": "after", "depends_on": [{"task_key": "bad"}], "notebook_task": notebook},
            ],
        }.items():
            do("POST", "/api/2.2/jobs/create", body={"name": name, "tasks": tasks})
        yield running, client


def cdc(running, *words, token=TOKEN):
    "The command in this process; `test_the_installed_command` starts it as a shell does"
    environ = {name: None for name in os.environ if name.startswith("DATABRICKS_")}
    environ |= {
        "DATABRICKS_HOST": running.host,
        "DATABRICKS_TOKEN": token,
        "DATABRICKS_CONFIG_FILE": os.devnull,
    }
    return CliRunner().invoke(app, ["remote", *map(str, words)], env=environ)


def wheel(folder, version, content=b"wheel"):
    path = folder / f"shop-{version}-py3-none-any.whl"
    path.write_bytes(content)
    return path


def test_wheels_arrive_whole_and_old_ones_go(place, tmp_path):
    running, client = place
    for version in "1234":
        done = cdc(running, "wheels", "put", wheel(tmp_path, version), FOLDER)
        assert (done.exit_code, done.stdout.strip()) == (0, f"{FOLDER}/shop-{version}-py3-none-any.whl"), (
            done.stderr
        )
    assert remote.read_file(client, f"{FOLDER}/shop-3-py3-none-any.whl") == b"wheel"
    changed = cdc(running, "wheels", "put", wheel(tmp_path, "3", b"other"), FOLDER)
    assert (
        changed.exit_code == 1
        and "is there with another content" in changed.stderr
        and "Traceback" not in changed.stderr
    )
    assert (
        cdc(running, "wheels", "prune", FOLDER, "--keep", 1, "--dry-run").stdout.count("would delete") == 2
    ), "the pipeline names the oldest"
    assert len(remote.list_wheels(client, FOLDER)) == 4
    cdc(running, "wheels", "prune", FOLDER, "--keep", 1)
    assert "shop-4-py3-none-any.whl 5" in " ".join(cdc(running, "wheels", "list", FOLDER).stdout.split())
    assert sorted(each.name for each in remote.list_wheels(client, FOLDER)) == [
        "shop-1-py3-none-any.whl",
        "shop-4-py3-none-any.whl",
    ]


def test_a_large_wheel(place, tmp_path):
    "Over the size at which the SDK would send in parts"
    content = os.urandom(60 << 20)
    path = remote.upload_wheel(place[1], wheel(tmp_path, "9", content), FOLDER)
    assert remote.read_file(place[1], path) == content


def test_an_update_is_followed_to_its_numbers(place):
    running, client = place
    done = cdc(running, "update", "orders", "--every", "0.1")
    assert done.exit_code == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "valid_id 5 2" in told and "orders COMPLETED 5" in told
    pipeline = remote.find_pipeline_id(client, "orders")
    result = remote.follow_update(
        client, pipeline, remote.start_update(client, pipeline, refresh=["orders"]), every=0.1
    )
    assert (result.state, result.flows[0].num_output_rows, result.flows[0].dropped_records) == (
        "COMPLETED",
        5,
        2,
    )
    assert [(rule.name, rule.failed_records) for rule in result.flows[0].expectations] == [("valid_id", 2)]


def test_an_update_is_asked_for_what_was_chosen(place, work):
    client = place[1]
    pipeline = remote.find_pipeline_id(client, "orders")
    for asked in ({"full_refresh": True}, {"refresh": ["orders"], "full_refresh_tables": ["items"]}):
        remote.follow_update(client, pipeline, remote.start_update(client, pipeline, **asked), every=0.1)
        assert work.asked == (
            asked.get("full_refresh", False),
            asked.get("refresh") or [],
            asked.get("full_refresh_tables") or [],
        )


def test_a_job_is_followed_over_its_retries(place):
    running, client = place
    changes = []
    result, runs = remote.run_job(
        client,
        remote.find_job_id(client, "daily"),
        on_change=lambda run: changes.append((run.state, run.attempt)),
        every=0.1,
    )
    assert (result, runs[0].result, runs[0].output, runs[0].attempt) == ("SUCCESS", "SUCCESS", "500 rows", 3)
    assert changes[-1] == ("TERMINATED", 3)


def test_a_failed_job_fails_the_command(place):
    done = cdc(place[0], "job", "broken", "--every", "0.1")
    assert (
        done.exit_code == 1
        and "error: bad: cell 2 failed: ValueError: no files" in done.stderr
        and "UPSTREAM_FAILED" in done.stdout
    )


@pytest.mark.parametrize(
    "words, told",
    [
        (["update", "ordres"], "there is no pipeline ordres; the workspace has [dev ann] orders"),
        (["job", "weekly"], "there is no job weekly"),
        (["wheels", "list", "/Volumes/dev/shop/none"], "/Volumes/dev/shop/none"),
        (["wheels", "put", "none.whl", FOLDER], "there is no wheel none.whl"),
    ],
)
def test_wrong_names(place, words, told):
    done = cdc(place[0], *words)
    assert done.exit_code == 1 and told in done.stderr and "Traceback" not in done.stderr


def test_the_installed_command(place):
    environ = {name: value for name, value in os.environ.items() if not name.startswith("DATABRICKS_")} | {
        "DATABRICKS_HOST": place[0].host,
        "DATABRICKS_TOKEN": TOKEN,
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("cdc"), "remote", "job", "broken", "--every", "0.1"],
        env=environ,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and "error: bad: cell 2 failed" in done.stderr


def test_a_refused_token(place):
    done = cdc(place[0], "job", "daily", token="some-other-token")
    assert (
        done.exit_code == 1
        and "the token was refused" in done.stderr
        and "some-other-token" not in done.stderr
    )


@contextmanager
def answering(answers):
    "A workspace whose answers are given: callables that return a response, the last one for ever"
    asked = []

    def answer(request):
        asked.append(request.url.path)
        if "well-known" in request.url.path:
            return JSONResponse({}, 404)
        return answers.pop(0)() if len(answers) > 1 else answers[0]()

    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST", "PUT", "HEAD"])]),
            host="127.0.0.1",
            port=0,
            log_level="error",
        )
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", asked
    finally:
        server.should_exit = True
        thread.join()


def refusal(status, code, **headers):
    return lambda: JSONResponse({"error_code": code, "message": "not now"}, status, headers)


BUSY, AWAY = (
    refusal(429, "REQUEST_LIMIT_EXCEEDED", **{"Retry-After": "0"}),
    refusal(503, "TEMPORARILY_UNAVAILABLE", **{"Retry-After": "0"}),
)
LISTED = lambda: JSONResponse({"statuses": [{"pipeline_id": "p1", "name": "orders"}]})  # noqa: E731


def connected(host, seconds=20):
    from databricks.sdk.config import Config

    return WorkspaceClient(
        config=Config(host=host, token=TOKEN, retry_timeout_seconds=seconds, http_timeout_seconds=5)
    )


def test_a_busy_workspace_is_asked_again():
    with answering([BUSY, AWAY, LISTED]) as (host, asked):
        assert remote.find_pipeline_id(connected(host), "orders") == "p1"
        assert asked.count("/api/2.0/pipelines") == 3


def test_a_broken_workspace_is_told():
    with (
        answering([refusal(500, "INTERNAL_ERROR")]) as (host, _),
        pytest.raises(remote.WorkspaceError, match="the pipelines: not now"),
    ):
        remote.find_pipeline_id(connected(host), "orders")


def test_a_workspace_that_stays_away_is_told():
    with answering([AWAY]) as (host, _), pytest.raises(remote.WorkspaceError, match="does not answer"):
        remote.find_pipeline_id(connected(host, 1), "orders")


def test_a_workspace_that_is_not_there():
    with answering([LISTED]) as (host, _):
        pass  # its port is free again
    with pytest.raises(remote.WorkspaceError, match="is DATABRICKS_HOST right, and is it up"):
        remote.find_pipeline_id(connected(host, 1), "orders")


def test_an_upload_that_was_spoilt_is_not_believed(place, tmp_path, monkeypatch):
    client = place[1]
    upload = client.files.upload
    monkeypatch.setattr(
        client.files,
        "upload",
        lambda path, content, **options: upload(path, io.BytesIO(content.read()[:-1]), **options),
    )
    with pytest.raises(remote.WorkspaceError, match="did not arrive as it was sent"):
        remote.upload_wheel(client, wheel(tmp_path, "5"), FOLDER)
