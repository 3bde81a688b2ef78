"The local workspace as its clients see it: the SDK of Databricks, plain HTTP with bad intentions, and the `databricks` command where it is installed."

import http.client
import io
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.errors import (
    AlreadyExists,
    BadRequest,
    DatabricksError,
    InvalidParameterValue,
    NotFound,
    OperationFailed,
    ResourceConflict,
    Unauthenticated,
)
from databricks.sdk.service import catalog, compute, iam, jobs, pipelines, workspace

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.pipeline_task import UpdateOptions
from cdc_local.storage import Storage, TableName, read_json
from cdc_local.workspace import runs as workspace_runs
from cdc_local.workspace.catalog_api import CATALOG_CALLS
from cdc_local.workspace.files import Places
from cdc_local.workspace.files_api import VOLUME_FILE_CALLS, WORKSPACE_CALLS
from cdc_local.workspace.jobs_api import JOB_CALLS
from cdc_local.workspace.pipelines_api import PIPELINE_CALLS
from cdc_local.workspace.runs import Execution, local_execution
from cdc_local.workspace.server import OTHERS, serve_workspace

ROOT = Path(__file__).parents[1]
USER, TOKEN = "ann@example.org", "a-token-for-tests-only"
HOME = f"/Workspace/Users/{USER}"
SOON = timedelta(seconds=60)


class Work:
    "Stands for the processes that do the work: tasks in order, an update that waits until it may end."

    def __init__(self):
        self.began, self.may_end, self.done = threading.Semaphore(0), threading.Event(), []
        self.may_end.set()
        self.execution = Execution(self.run_job, self.task, self.update)

    def run_job(self, tasks, run_task, on_change, stop):
        def tell(task, state, result=None, message=""):
            on_change(
                SimpleNamespace(
                    task_key=task["task_key"],
                    state=state,
                    result=result,
                    attempt=0,
                    started=1,
                    ended=result and 2,
                    message=message,
                )
            )

        failed = False
        for task in tasks:
            if failed:
                tell(task, "TERMINATED", "UPSTREAM_FAILED")
                continue
            tell(task, "RUNNING")
            try:
                run_task(task, 0, stop)
            except PipelineError:
                failed = True
                tell(task, "TERMINATED", "FAILED", "Workload failed, see run output for details")
            else:
                tell(task, "TERMINATED", "CANCELED" if stop.is_set() else "SUCCESS")

    def task(self, task, environments, stop, on_line):
        self.done.append((task["task_key"], environments))
        if "spark_python_task" in task:
            on_line("Traceback (most recent call last):")
            raise PipelineError("ValueError: no rows")
        return str(task["notebook_task"]["base_parameters"])

    def update(self, pipeline, update, stop, on_line):
        self.began.release()
        while not (self.may_end.is_set() or stop.is_set()):
            stop.wait(0.01)
        self.done.append(pipeline["name"])
        if update["full_refresh_selection"]:
            raise PipelineError("no such table")


@pytest.fixture
def storage(tmp_path):
    return Storage(tmp_path / "cdc").create()


@pytest.fixture
def work():
    work = Work()
    yield work
    work.may_end.set()


def open_workspace(storage, work, **options):
    return serve_workspace(storage, USER, lambda: (TOKEN, "…"), 0, work.execution, **options)


@pytest.fixture
def running(storage, work):
    with open_workspace(storage, work) as running:
        yield running
        work.may_end.set()


def client(running, token=TOKEN, **options):
    return WorkspaceClient(
        config=Config(
            host=running.host,
            token=token,
            auth_type="pat",
            retry_timeout_seconds=5,
            http_timeout_seconds=30,
            **options,
        )
    )


@pytest.fixture
def w(running):
    return client(running)


def ask(running, method, path, body=None, **headers):
    "A call as it is, with nothing tidied up on its way: status and answer"
    connection = http.client.HTTPConnection(urlparse(running.host).netloc, timeout=30)
    asked = {"Authorization": f"Bearer {TOKEN}"} | {
        name.replace("_", "-"): value for name, value in headers.items() if value is not None
    }
    connection.putrequest(method, path, skip_host="Host" in asked)
    content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
    if content is not None:
        asked["Content-Length"] = str(len(content))
    for name, value in asked.items():
        if value:
            connection.putheader(name, value)
    connection.endheaders(content)
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, json.loads(text) if text[:1] == b"{" else text


def make_volume(w):
    w.schemas.create(name="shop", catalog_name="main")
    w.volumes.create("main", "shop", "raw", catalog.VolumeType.MANAGED)
    return "/Volumes/main/shop/raw"


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


# What the SDK does


def test_files_of_a_volume(w, storage):
    place = make_volume(w)
    w.files.upload(f"{place}/day/1.json", io.BytesIO(b'{"id": 1}'))
    with pytest.raises(AlreadyExists):
        w.files.upload(f"{place}/day/1.json", io.BytesIO(b"x"), overwrite=False)
    w.files.upload(f"{place}/day/1.json", io.BytesIO(b'{"id": 2}'), overwrite=True)
    w.files.create_directory(f"{place}/empty/below")
    assert (storage.root / "Volumes/main/shop/raw/day/1.json").read_bytes() == b'{"id": 2}'
    assert w.files.download(f"{place}/day/1.json").contents.read() == b'{"id": 2}'
    assert w.files.get_metadata(f"{place}/day/1.json").content_length == 9
    w.files.get_directory_metadata(f"{place}/empty")
    assert [(each.name, each.is_directory) for each in w.files.list_directory_contents(place)] == [
        ("day", True),
        ("empty", True),
    ]
    with pytest.raises(BadRequest, match="is not empty"):
        w.files.delete_directory(f"{place}/day")
    w.files.delete(f"{place}/day/1.json")
    w.files.delete_directory(f"{place}/day")
    for call in (w.files.get_metadata, w.files.delete, w.files.download):
        with pytest.raises(NotFound):
            call(f"{place}/day/1.json")
    with pytest.raises(NotFound):
        w.files.get_directory_metadata(f"{place}/day")
    with pytest.raises(NotFound, match="Volume 'main.shop.other' does not exist"):
        w.files.upload("/Volumes/main/shop/other/x", io.BytesIO(b"x"))
    assert files_in(storage.root / "Volumes") == []


def test_a_file_that_the_sdk_would_send_in_parts(running, storage):
    w = client(running, files_ext_multipart_upload_min_stream_size=1000)
    content = os.urandom(300_000)
    w.files.upload(f"{make_volume(w)}/big.bin", io.BytesIO(content))
    assert w.files.download("/Volumes/main/shop/raw/big.bin").contents.read() == content
    assert files_in(storage.root / "workspace/uploads") == []


def test_files_of_the_workspace(w, storage):
    w.workspace.mkdirs(f"{HOME}/project/deep")
    w.workspace.upload(f"{HOME}/project/etl.py", io.BytesIO(b"print(1)"), format=workspace.ImportFormat.AUTO)
    w.workspace.upload(f"{HOME}/project/look", io.BytesIO(b"print(2)"), language=workspace.Language.PYTHON)
    w.workspace.upload(
        f"/Users/{USER}/project/book.ipynb", io.BytesIO(b"{}"), format=workspace.ImportFormat.AUTO
    )
    found = {
        each.path.removeprefix(HOME): each.object_type.value for each in w.workspace.list(f"{HOME}/project")
    }
    assert found == {
        "/project/book": "NOTEBOOK",
        "/project/deep": "DIRECTORY",
        "/project/etl.py": "FILE",
        "/project/look": "NOTEBOOK",
    }
    assert w.workspace.download(f"{HOME}/project/etl.py").read() == b"print(1)"
    with pytest.raises(DatabricksError, match="already exists"):
        w.workspace.upload(f"{HOME}/project/etl.py", io.BytesIO(b"x"), format=workspace.ImportFormat.AUTO)
    number = w.workspace.get_status(f"{HOME}/project").object_id
    w.permissions.set(
        "directories",
        str(number),
        access_control_list=[
            iam.AccessControlRequest(group_name="all", permission_level=iam.PermissionLevel.CAN_READ)
        ],
    )
    with pytest.raises(BadRequest, match="is not empty"):
        w.workspace.delete(f"{HOME}/project")
    w.workspace.delete(f"{HOME}/project", recursive=True)
    with pytest.raises(NotFound, match="doesn't exist"):
        w.workspace.get_status(f"{HOME}/project")
    w.workspace.mkdirs(f"{HOME}/project")
    assert not w.permissions.get(
        "directories", str(w.workspace.get_status(f"{HOME}/project").object_id)
    ).access_control_list


def test_schemas_volumes_and_grants(w, storage):
    make_volume(w)
    with pytest.raises(DatabricksError, match="'main.shop' already exists"):
        w.schemas.create(name="shop", catalog_name="main")
    assert (
        w.schemas.update("main.shop", comment="a shop").comment
        == w.schemas.get("main.shop").comment
        == "a shop"
    )
    assert (
        w.volumes.update("main.shop.raw", comment="as it came").comment
        == w.volumes.read("main.shop.raw").comment
        == "as it came"
    )
    w.grants.update(
        "schema",
        "main.shop",
        changes=[catalog.PermissionsChange(principal="readers", add=[catalog.Privilege.SELECT])],
    )
    assert [each.principal for each in w.grants.get("schema", "main.shop").privilege_assignments] == [
        "readers"
    ]
    assert [each.full_name for each in w.schemas.list("main")] == ["main.shop"] and [
        each.name for each in w.catalogs.list()
    ] == ["main"]
    assert [each.full_name for each in w.volumes.list("main", "shop")] == ["main.shop.raw"]
    with pytest.raises(DatabricksError, match="is not empty: main.shop.raw"):
        w.schemas.delete("main.shop")
    w.schemas.delete("main.shop", force=True)
    for call, name in (
        (w.schemas.get, "main.shop"),
        (w.volumes.read, "main.shop.raw"),
        (w.volumes.delete, "main.shop.raw"),
    ):
        with pytest.raises(NotFound, match="does not exist"):
            call(name)


def test_a_link_is_not_listed(w, storage):
    place = make_volume(w)
    (storage.root / "Volumes/main/shop/raw/out").symlink_to(storage.root.parent)
    w.files.upload(f"{place}/1.json", io.BytesIO(b"x"))
    assert [each.name for each in w.files.list_directory_contents(place)] == ["1.json"]


def test_a_dropped_volume_comes_back_empty(w, storage):
    w.files.upload(f"{make_volume(w)}/day/1.json", io.BytesIO(b"x"))
    w.volumes.delete("main.shop.raw")
    w.volumes.create("main", "shop", "raw", catalog.VolumeType.MANAGED)
    assert not list(w.files.list_directory_contents("/Volumes/main/shop/raw"))
    assert [path.read_bytes() for path in (storage.root / "workspace/trash").rglob("1.json")] == [b"x"]


def test_a_dropped_schema_takes_tables_and_checkpoints_along(w, storage):
    make_volume(w)
    name = TableName("main", "shop", "orders")
    (storage.table_path(name) / "_delta_log").mkdir(parents=True)
    (storage.table_path(name) / "_delta_log/00000000000000000000.json").touch()
    storage.flow_path(name, "orders").mkdir(parents=True)
    with pytest.raises(DatabricksError, match="main.shop.orders"):
        w.schemas.delete("main.shop")
    w.schemas.delete("main.shop", force=True)
    assert not storage.tables() and not storage.flow_path(name, "orders").exists()


def test_times_are_milliseconds(w):
    before = time.time()
    made = w.schemas.create(name="shop", catalog_name="main").created_at / 1000
    assert before - 0.01 <= made <= time.time() + 0.01


def test_false_is_false(running, w):
    make_volume(w)
    assert (
        ask(running, "DELETE", "/api/2.1/unity-catalog/schemas/main.shop?force=false")[1]["error_code"]
        == "SCHEMA_NOT_EMPTY"
    )
    assert ask(running, "DELETE", "/api/2.1/unity-catalog/schemas/main.shop?force=true")[0] == 200


def test_the_newest_update_is_told_first(w, running):
    pipeline = w.pipelines.create(name="etl").pipeline_id
    ids = []
    for _ in range(3):
        ids.append(w.pipelines.start_update(pipeline).update_id)
        running.workspace.runs.wait("updates", ids[-1])
    assert (
        [each.update_id for each in w.pipelines.get(pipeline).latest_updates]
        == [each.update_id for each in w.pipelines.list_updates(pipeline).updates]
        == ids[::-1]
    )


def test_pipelines(w, work):
    made = w.pipelines.create(
        name="etl",
        catalog="main",
        schema="shop",
        serverless=True,
        libraries=[pipelines.PipelineLibrary(glob=pipelines.PathPattern(include="/Workspace/x/**"))],
    )
    with pytest.raises(ResourceConflict, match="already used by another pipeline"):
        w.pipelines.create(name="etl")
    w.pipelines.update(made.pipeline_id, name="etl", catalog="main", schema="market")
    got = w.pipelines.get(made.pipeline_id)
    assert (got.spec.schema, got.spec.id, got.state.value, got.creator_user_name) == (
        "market",
        made.pipeline_id,
        "IDLE",
        USER,
    )
    assert [each.name for each in w.pipelines.list_pipelines(filter="name LIKE 'e%'")] == [
        "etl"
    ] and not list(w.pipelines.list_pipelines(filter="name LIKE 'x%'"))
    update = w.pipelines.start_update(made.pipeline_id, full_refresh=True).update_id
    assert work.began.acquire(timeout=60)
    w.pipelines.wait_get_pipeline_idle(made.pipeline_id, timeout=SOON)
    found = w.pipelines.get_update(made.pipeline_id, update).update
    assert (found.state.value, found.full_refresh, found.cause.value) == ("COMPLETED", True, "API_CALL")
    assert [each.update_id for each in w.pipelines.list_updates(made.pipeline_id).updates] == [update]
    w.pipelines.delete(made.pipeline_id)
    with pytest.raises(NotFound, match="was not found"):
        w.pipelines.get(made.pipeline_id)


def test_a_failed_update_has_an_error_event(w, work, running):
    made = w.pipelines.create(name="etl").pipeline_id
    update = w.pipelines.start_update(made, full_refresh_selection=["orders"]).update_id
    running.workspace.runs.wait("updates", update)
    assert w.pipelines.get_update(made, update).update.state.value == "FAILED"
    events = list(
        w.pipelines.list_pipeline_events(
            made, filter=f"update_id = '{update}' AND level = 'ERROR'", max_results=1
        )
    )
    assert [
        (each.event_type, each.error.exceptions[0].message, each.origin.pipeline_id) for each in events
    ] == [("update_progress", "no such table", made)]
    with pytest.raises(InvalidParameterValue, match="filter"):
        list(w.pipelines.list_pipeline_events(made, filter="message LIKE 'x'"))


def test_updates_of_a_storage_take_turns(w, work):
    "The second waits, is canceled while it waits, and a third goes on when the first has ended."
    work.may_end.clear()
    ids = [w.pipelines.create(name=name).pipeline_id for name in ("one", "two", "three")]
    updates = [w.pipelines.start_update(each).update_id for each in ids]

    def state(number):
        return w.pipelines.get_update(ids[number], updates[number]).update.state.value

    assert work.began.acquire(timeout=60)
    assert [state(number) for number in range(3)] == [
        "RUNNING",
        "WAITING_FOR_RESOURCES",
        "WAITING_FOR_RESOURCES",
    ]
    with pytest.raises(ResourceConflict, match="active update"):
        w.pipelines.start_update(ids[0])
    w.pipelines.stop(ids[1]).result(timeout=SOON)
    work.may_end.set()
    for each in ids:
        w.pipelines.wait_get_pipeline_idle(each, timeout=SOON)
    assert [state(number) for number in range(3)] == ["COMPLETED", "CANCELED", "COMPLETED"] and work.done == [
        "one",
        "three",
    ]


def daily(w, **more):
    pipeline = w.pipelines.create(name="etl", allow_duplicate_names=True).pipeline_id
    tasks = [
        jobs.Task(
            task_key="look",
            environment_key="default",
            notebook_task=jobs.NotebookTask(
                "/Users/ann/look", base_parameters={"of": "{{job.parameters.day}}"}
            ),
        ),
        jobs.Task(
            task_key="load",
            depends_on=[jobs.TaskDependency("look")],
            pipeline_task=jobs.PipelineTask(pipeline),
        ),
    ]
    environment = jobs.JobEnvironment(
        "default",
        spec=compute.Environment(environment_version="4", dependencies=["/Volumes/main/shop/raw/x.whl"]),
    )
    return w.jobs.create(
        **{
            "name": "daily",
            "tasks": tasks,
            "environments": [environment],
            "parameters": [jobs.JobParameterDefinition("day", "today")],
            **more,
        }
    ).job_id


def test_a_run_of_a_job(w, work, running):
    run = w.jobs.run_now(daily(w), job_parameters={"day": "friday"}).result(timeout=SOON)
    assert run.run_page_url.startswith(f"{running.host}/")
    assert (
        run.state.life_cycle_state.value,
        run.state.result_state.value,
        run.status.state.value,
        run.status.termination_details.code.value,
    ) == ("TERMINATED", "SUCCESS", "TERMINATED", "SUCCESS")
    assert [(task.task_key, task.state.result_state.value) for task in run.tasks] == [
        ("look", "SUCCESS"),
        ("load", "SUCCESS"),
    ]
    assert (
        w.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result
        == "{'of': 'friday', 'day': 'friday'}"
    )
    assert work.done == [
        ("look", {"default": {"environment_version": "4", "dependencies": ["/Volumes/main/shop/raw/x.whl"]}}),
        "etl",
    ]
    assert [each.run_id for each in w.jobs.list_runs(job_id=run.job_id, completed_only=True)] == [
        run.run_id
    ] and not list(w.jobs.list_runs(job_id=run.job_id, active_only=True))
    w.jobs.delete_run(run.run_id)
    with pytest.raises(NotFound):
        w.jobs.get_run(run.run_id)


def test_a_run_that_fails_says_why(w):
    script = jobs.Task(task_key="check", spark_python_task=jobs.SparkPythonTask("/Workspace/check.py"))
    started = w.jobs.run_now(
        w.jobs.create(
            name="checks",
            tasks=[
                script,
                jobs.Task(
                    task_key="after",
                    depends_on=[jobs.TaskDependency("check")],
                    notebook_task=jobs.NotebookTask("/x"),
                ),
            ],
        ).job_id
    )
    with pytest.raises(OperationFailed, match="Task check failed with message: Workload failed"):
        started.result(timeout=SOON)
    run = w.jobs.get_run(started.run_id)
    assert (
        run.state.life_cycle_state.value,
        run.state.result_state.value,
        run.status.termination_details.code.value,
    ) == ("INTERNAL_ERROR", "FAILED", "RUN_EXECUTION_ERROR")
    output = w.jobs.get_run_output(run.tasks[0].run_id)
    assert (output.error, output.error_trace) == ("ValueError: no rows", "Traceback (most recent call last):")


def test_a_canceled_run_takes_its_update_along(w, work):
    work.may_end.clear()
    job = daily(w)
    started = w.jobs.run_now(job)
    assert work.began.acquire(timeout=60)
    second = w.jobs.run_now(job)  # max_concurrent_runs is 1, and there is no queue
    assert w.jobs.get_run(second.run_id).state.life_cycle_state.value == "SKIPPED"
    assert w.jobs.cancel_run(started.run_id).result(timeout=SOON).state.result_state.value == "CANCELED"
    assert [
        each.state.value
        for each in w.pipelines.list_updates(next(iter(w.pipelines.list_pipelines())).pipeline_id).updates
    ] == ["CANCELED"]
    w.jobs.cancel_run(started.run_id)  # has ended: nothing happens


def test_jobs_are_changed_listed_and_deleted(w):
    job = daily(w)
    w.jobs.update(job, new_settings=jobs.JobSettings(max_concurrent_runs=3), fields_to_remove=["parameters"])
    got = w.jobs.get(job).settings
    assert (
        got.max_concurrent_runs,
        len(got.parameters or ()),
        len(got.tasks),
        got.tasks[0].run_if.value,
    ) == (3, 0, 2, "ALL_SUCCESS")
    w.jobs.reset(
        job,
        jobs.JobSettings(
            name="nightly", tasks=[jobs.Task(task_key="look", notebook_task=jobs.NotebookTask("/x"))]
        ),
    )
    assert [each.settings.name for each in w.jobs.list()] == ["nightly"] and not list(
        w.jobs.list(name="daily")
    )
    assert [task.task_key for each in w.jobs.list(expand_tasks=True) for task in each.settings.tasks] == [
        "look"
    ]
    with pytest.raises(InvalidParameterValue, match="depends on"):
        w.jobs.create(tasks=[jobs.Task(task_key="a", depends_on=[jobs.TaskDependency("b")])])
    with pytest.raises(InvalidParameterValue, match="no tasks"):
        w.jobs.run_now(w.jobs.create(name="empty").job_id)
    w.jobs.delete(job)
    for call in (w.jobs.get, w.jobs.delete, w.jobs.run_now):
        with pytest.raises(NotFound, match=f"Job {job} does not exist"):
            call(job)


def test_a_long_list_comes_in_pages(w):
    made = {w.jobs.create(name=f"job {number}").job_id for number in range(45)}
    listed = [each.job_id for each in w.jobs.list(limit=20)]
    assert set(listed) == made and listed == sorted(made, reverse=True)


def test_permissions_of_a_job(w):
    job = str(w.jobs.create(name="daily").job_id)
    operators = iam.AccessControlRequest(
        group_name="operators", permission_level=iam.PermissionLevel.CAN_MANAGE
    )
    with pytest.raises(InvalidParameterValue, match="exactly one owner"):
        w.permissions.set("jobs", job, access_control_list=[operators])
    w.permissions.update("jobs", job, access_control_list=[operators])
    assert [each.display_name for each in w.permissions.get("jobs", job).access_control_list] == [
        USER,
        "operators",
    ]
    with pytest.raises(NotFound):
        w.permissions.get("jobs", "7")


def test_a_workspace_that_refuses_environments_of_notebook_tasks(storage, work):
    with open_workspace(storage, work, refuse_job_environments=True) as running:
        with pytest.raises(InvalidParameterValue, match="environment_key is not supported"):
            daily(client(running))
        assert not list(client(running).jobs.list())


# What a stranger does

ATTACKS = [
    "/Volumes/main/shop/raw/../../../../../secret",
    "/Volumes/main/shop/raw/..%2F..%2F..%2F..%2F..%2Fsecret",
    "/Volumes/main/shop/raw/%2e%2e/%2e%2e/x",
    "/Volumes/main/shop/raw/%252e%252e/x",
    "/Volumes/main/shop/raw/a%00b",
    "/Volumes/main/shop/raw/..%5c..%5cx",
    "/Volumes/main/shop/raw/%0a",
    "/Volumes/../Workspace/Users/x",
    "/Volumes/main/shop/raw/out/secret",
    "/Volumes/main/shop/raw/" + "a" * 300,
]


@pytest.mark.parametrize("path", ATTACKS, ids=range(len(ATTACKS)))
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
def test_no_path_leaves_the_volume(running, w, storage, method, path):
    make_volume(w)
    secret = storage.root.parent / "secret"
    secret.write_text("secret")
    (storage.root / "Volumes/main/shop/raw/out").symlink_to(storage.root.parent)
    before = files_in(storage.root.parent)
    for area in ("files", "directories"):
        status, answer = ask(
            running, method, f"/api/2.0/fs/{area}{path}", b"evil" if method == "PUT" else None
        )
        assert status in (400, 403, 404) and answer != b"secret"
    assert files_in(storage.root.parent) == before and secret.read_text() == "secret"


@pytest.mark.parametrize(
    "path",
    [
        "/Users/../../secret",
        "/Workspace/../secret",
        "../secret",
        "/Users/a\0b",
        "",
        None,
        7,
        ["/Users"],
        "/Users/%2e%2e/x",
    ],
)
def test_no_path_leaves_the_workspace(running, storage, path):
    for name, more in (
        ("mkdirs", {}),
        ("delete", {"recursive": True}),
        ("import", {"format": "AUTO", "content": ""}),
    ):
        status, answer = ask(running, "POST", f"/api/2.0/workspace/{name}", {"path": path} | more)
        assert (status, answer["error_code"]) == (
            (400, "INVALID_PARAMETER_VALUE") if path != 7 else (status, answer["error_code"])
        ) and status in (400, 404)
    assert files_in(storage.root / "Workspace") == []


def test_a_file_is_imported_only_into_a_folder_that_is_there(running, storage):
    "How a deployment takes its lock: 404, then mkdirs, then again."
    lock = f"/api/2.0/workspace-files/import-file/{HOME[1:].replace('/', '%2F')}%2Fstate%2Fdeploy.lock?overwrite=false"
    assert ask(running, "POST", lock, b"{}")[0] == 404
    assert ask(running, "POST", "/api/2.0/workspace/mkdirs", {"path": f"{HOME}/state"})[0] == 200
    assert [ask(running, "POST", lock, b"{}")[0] for _ in range(2)] == [200, 409]
    assert ask(
        running, "GET", f"/api/2.0/workspace/export?path={HOME}/state/deploy.lock&direct_download=true"
    ) == (200, {})


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


def test_an_upload_over_the_limit_leaves_nothing(storage, work):
    with open_workspace(storage, work, limit=100_000) as running:
        w = client(running)
        place = make_volume(w)
        w.files.upload(f"{place}/fits", io.BytesIO(b"x" * 100_000))
        with pytest.raises(DatabricksError, match="larger than 100,000 bytes"):
            w.files.upload(f"{place}/large", io.BytesIO(b"x" * 100_001))
        assert ask(running, "PUT", "/api/2.0/fs/files" + f"{place}/large", b"x" * 5_000_000)[0] == 413
        assert (
            ask(running, "POST", f"/api/2.0/workspace-files/import-file{HOME}/large", b"x" * 5_000_000)[0]
            == 413
        )
        assert ask(running, "POST", "/api/2.0/pipelines", b'"' + b"x" * 40_000_000)[0] == 413
    assert (
        files_in(storage.root / "Volumes") == ["main/shop/raw/fits"]
        and files_in(storage.root / "workspace/uploads") == files_in(storage.root / "Workspace") == []
    )


def test_an_upload_that_breaks_off_leaves_nothing(running, w, storage):
    place = make_volume(w)
    connection = http.client.HTTPConnection(urlparse(running.host).netloc, timeout=30)
    connection.putrequest("PUT", f"/api/2.0/fs/files{place}/half")
    connection.putheader("Authorization", f"Bearer {TOKEN}")
    connection.putheader("Content-Length", "1000000")
    connection.endheaders(b"x" * 1000)
    connection.close()
    w.files.upload(f"{place}/whole", io.BytesIO(b"x"))
    assert files_in(storage.root / "Volumes") == ["main/shop/raw/whole"]


CALLS = [
    name
    for table in (WORKSPACE_CALLS, VOLUME_FILE_CALLS, CATALOG_CALLS, PIPELINE_CALLS, JOB_CALLS, OTHERS)
    for name in table
]
ODD = [7, "x", [], [7], {}, {"x": []}, True, None, "\ud800", 10**30, -1, "../x"]
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


@pytest.mark.parametrize("call", CALLS)
def test_no_value_is_a_fault_of_the_server(running, w, call, caplog):
    "Whatever is sent where, it is an answer or the client's mistake."
    make_volume(w)
    job, pipeline = w.jobs.create(name="daily").job_id, w.pipelines.create(name="etl").pipeline_id
    method, path = call.split(" ", 1)
    known = {
        "{path:path}": "/Volumes/main/shop/raw/x",
        "{minor:int}": "2",
        "{pipeline}": pipeline,
        "{kind}": "schema",
        "{name}": "main.shop",
        "{full}": "main.shop",
        "{update}": "x",
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


@pytest.mark.parametrize("odd", ODD, ids=str)
def test_no_job_that_was_taken_is_a_fault_when_it_runs(running, w, odd, caplog):
    task = {"task_key": "look", "notebook_task": {"notebook_path": "/x"}}
    for more in (
        {"queue": odd},
        {"environments": [{"environment_key": odd}]},
        {"environments": odd},
        {"parameters": odd},
        {"parameters": [{"name": odd, "default": odd}]},
        {"tasks": [task | {"notebook_task": odd}]},
        {"tasks": [task | {"notebook_task": {"base_parameters": odd}}]},
        {"tasks": [task | {"depends_on": odd}]},
        {"timeout_seconds": odd},
        {"name": odd},
        {"tasks": [task | {"pipeline_task": {"pipeline_id": odd}}]},
    ):
        status, answer = ask(
            running, "POST", "/api/2.2/jobs/create", {"tasks": [task], "max_concurrent_runs": 2} | more
        )
        assert status in (200, 400), (more, answer)
        if status == 200:
            status, answer = ask(running, "POST", "/api/2.2/jobs/run-now", {"job_id": answer["job_id"]})
            assert status in (200, 400), (more, answer)
            if status == 200:
                running.workspace.runs.wait("runs", answer["run_id"])
            assert (
                ask(running, "GET", "/api/2.2/jobs/runs/list?expand_tasks=true")[0]
                == ask(running, "GET", "/api/2.2/jobs/list")[0]
                == 200
            )
        assert "ended by a fault" not in caplog.text, (more, caplog.text)


# Several at once


def test_two_uploads_of_one_name(running, w, storage):
    "Without overwrite one of them wins, whole; with it a reader finds one of them, whole."
    place = make_volume(w)
    contents = [bytes([letter]) * 200_000 for letter in b"abcdefgh"]

    def put(content, query):
        return ask(running, "PUT", f"/api/2.0/fs/files{place}/one{query}", content)[0]

    with ThreadPoolExecutor(8) as pool:
        assert sorted(pool.map(lambda content: put(content, ""), contents)) == [204] + [409] * 7
        kept = (storage.root / "Volumes/main/shop/raw/one").read_bytes()
        written = [pool.submit(put, content, "?overwrite=true") for content in contents]
        read = [ask(running, "GET", f"/api/2.0/fs/files{place}/one")[1] for _ in range(20)]
        assert [each.result() for each in written] == [204] * 8
    assert kept in contents and all(each in contents for each in read)


def test_two_clients_make_one_schema(running, storage):
    with ThreadPoolExecutor(8) as pool:
        answers = list(
            pool.map(
                lambda _: ask(
                    running,
                    "POST",
                    "/api/2.1/unity-catalog/schemas",
                    {"catalog_name": "main", "name": "shop"},
                ),
                range(8),
            )
        )
    assert sorted(status for status, _ in answers) == [200] + [400] * 7
    (won,) = [answer for status, answer in answers if status == 200]
    assert (
        read_json(storage.root / "workspace/schemas/main.shop.json")["value"]["schema_id"] == won["schema_id"]
    )


def test_two_servers_do_not_share_a_storage(running, storage, work):
    with pytest.raises(UsageError, match="a workspace is running on storage"):
        with open_workspace(storage, work):
            pass
    assert client(running).current_user.me().user_name == USER


# What carries out the work


def test_work_is_done_by_programs_of_this_machine(storage, monkeypatch):
    "What the local execution asks of the module that knows processes."
    monkeypatch.setattr(
        workspace_runs,
        "run_program",
        lambda program, stop, on_line, on_error_line=None: (program, stop, on_line, on_error_line),
    )
    monkeypatch.setattr(
        workspace_runs, "update_program", lambda pipeline, options, places: (pipeline, options, places)
    )
    monkeypatch.setattr(workspace_runs, "task_program", lambda plan: (plan.task, plan.wheels, plan.paths))
    places = Places(storage)
    execution = local_execution(places)
    update = {
        "update_id": "u",
        "full_refresh": True,
        "refresh_selection": ["a"],
        "full_refresh_selection": ["b"],
    }
    assert execution.update("spec", update, "stop", "tell") == (
        ("spec", UpdateOptions("u", True, ("a",), ("b",)), places),
        "stop",
        None,
        "tell",
    )
    task = {"task_key": "look", "environment_key": "default"}
    assert execution.task(task, {"default": {"dependencies": []}}, "stop", "tell") == (
        (task, [], places),
        "stop",
        "tell",
        "tell",
    )


def test_a_run_that_takes_too_long_is_stopped(w, work):
    work.may_end.clear()
    started = w.jobs.run_now(daily(w, timeout_seconds=1))
    assert started.result(timeout=SOON).state.result_state.value == "TIMEDOUT"


# Restarts


def test_a_restart_keeps_everything(storage, work):
    with open_workspace(storage, work) as running:
        w = client(running)
        place, job = make_volume(w), daily(w)
        w.files.upload(f"{place}/x", io.BytesIO(b"x"))
        w.grants.update(
            "volume",
            "main.shop.raw",
            changes=[catalog.PermissionsChange(principal="readers", add=[catalog.Privilege.READ_VOLUME])],
        )
        run = w.jobs.run_now(job).result(timeout=SOON)
        before = (
            w.workspace.get_status(HOME).object_id,
            w.jobs.get(job).as_dict(),
            w.jobs.get_run(run.run_id).as_dict()["tasks"],
            w.schemas.get("main.shop").as_dict(),
        )
    with open_workspace(storage, work) as running:
        w = client(running)
        assert before == (
            w.workspace.get_status(HOME).object_id,
            w.jobs.get(job).as_dict(),
            w.jobs.get_run(run.run_id).as_dict()["tasks"],
            w.schemas.get("main.shop").as_dict(),
        )
        assert (
            w.files.download(f"{place}/x").contents.read() == b"x"
            and w.grants.get("volume", "main.shop.raw").privilege_assignments[0].principal == "readers"
        )
        assert (
            w.jobs.get_run_output(run.tasks[0].run_id).notebook_output.result
            == "{'of': 'today', 'day': 'today'}"
        )


def test_a_stop_cancels_what_runs(storage, work):
    work.may_end.clear()
    with open_workspace(storage, work) as running:
        started = client(running).jobs.run_now(daily(client(running)))
        assert work.began.acquire(timeout=60)
    with open_workspace(storage, work) as running:
        assert client(running).jobs.get_run(started.run_id).state.result_state.value == "CANCELED"


def test_a_stop_ends_everything(storage, work):
    "A run, its update, and another update that waits."
    work.may_end.clear()
    with open_workspace(storage, work) as running:
        w, state = client(running), running.workspace.state
        w.jobs.run_now(daily(w))
        assert work.began.acquire(timeout=60)
        w.pipelines.start_update(w.pipelines.create(name="other").pipeline_id)
        closing = threading.Thread(target=running.workspace.runs.close, daemon=True)
        closing.start()
        closing.join(timeout=20)
        ended = not closing.is_alive()
        work.may_end.set()
    assert (
        ended
        and [state.all("runs")[0]["result"]] + sorted(each["state"] for each in state.all("updates"))
        == ["CANCELED"] * 3
    )


SERVER = f"""
import sys, threading
sys.path.insert(0, {str(Path(__file__).parent)!r})
from test_workspace_server import Work, open_workspace
from cdc_local.storage import Storage
work = Work()
work.may_end.clear()
with open_workspace(Storage(sys.argv[1]).create(), work) as running:
    print(running.host, flush=True)
    work.began.acquire()
    print('began', flush=True)
    threading.Event().wait()
"""


def test_a_killed_server_says_what_became_of_its_runs(storage, work):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(storage.root)], stdout=subprocess.PIPE, text=True
    )
    try:
        w = client(SimpleNamespace(host=process.stdout.readline().strip()))
        started = w.jobs.run_now(daily(w))
        assert process.stdout.readline() == "began\n"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with open_workspace(storage, work) as running:
        w = client(running)
        run = w.jobs.get_run(started.run_id)
        assert (run.state.life_cycle_state.value, run.state.result_state.value) == (
            "INTERNAL_ERROR",
            "FAILED",
        ) and "the local workspace ended" in run.state.state_message
        assert [task.state.result_state.value for task in run.tasks] == ["SUCCESS", "FAILED"]
        pipeline = next(iter(w.pipelines.list_pipelines()))
        assert (pipeline.state.value, pipeline.latest_updates[0].state.value) == ("IDLE", "FAILED")
        assert w.jobs.run_now(run.job_id).result(timeout=SOON).state.result_state.value == "SUCCESS"


# The command


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


# The databricks command

DATABRICKS = shutil.which("databricks")
HOST_OF_LINKS = re.compile(r"http://127\.0\.0\.1:\d+/")
needs_databricks = pytest.mark.skipif(
    DATABRICKS is None, reason="the `databricks` command is not on the PATH; it is in no package registry"
)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    "A copy of the clone with its wheel: a deployment writes beside the bundles"
    folder = tmp_path_factory.mktemp("project") / "clone"
    shutil.copytree(
        ROOT,
        folder,
        ignore=shutil.ignore_patterns(
            ".git", ".venv", ".cache", "build", "dist", "__pycache__", ".hypothesis", ".cdc", ".databricks"
        ),
    )
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    subprocess.run([sys.executable, "tools/wheel.py", "dist"], cwd=folder, check=True, capture_output=True)
    return folder


def databricks_environ(running, home):
    "The command's own settings and cache lie in a folder of the test"
    env = {
        name: value for name, value in os.environ.items() if not name.startswith(("DATABRICKS_", "BUNDLE_"))
    }
    return env | {
        "DATABRICKS_HOST": running.host,
        "DATABRICKS_TOKEN": TOKEN,
        "DATABRICKS_BUNDLE_ENGINE": "direct",
        "DATABRICKS_CONFIG_FILE": os.devnull,
        "HOME": str(home),
    }


def databricks(running, home, folder, *argv):
    "What the command prints"
    done = subprocess.run(
        [DATABRICKS, *argv], cwd=folder, env=databricks_environ(running, home), capture_output=True, text=True
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}{done.stderr}"
    return done.stdout


@needs_databricks
@pytest.mark.parametrize("target", ["dev", "staging", "prod"])
def test_the_bundles_are_deployed_and_destroyed(running, w, project, tmp_path, target):
    def cli(bundle, *argv):
        return databricks(running, tmp_path, project / "bundles" / bundle, "bundle", *argv, "-t", target)

    def schemas():
        return [each for named in w.catalogs.list() for each in w.schemas.list(named.name)]

    for bundle in ("foundation", "app"):
        cli(bundle, "validate", "--strict")
        assert " 0 to add" not in cli(bundle, "plan")
        cli(bundle, "deploy")
        assert "0 to add, 0 to change, 0 to delete" in cli(bundle, "plan")
        assert HOST_OF_LINKS.search(cli(bundle, "summary")) or bundle == "foundation"
    (schema,) = schemas()
    assert (
        len(list(w.volumes.list(schema.catalog_name, schema.name))) == 2
        and len(list(w.jobs.list())) == len(list(w.pipelines.list_pipelines())) == 1
    )
    (job,) = w.jobs.list(expand_tasks=True)
    for task in job.settings.tasks:
        if task.notebook_task:
            assert w.workspace.get_status(task.notebook_task.notebook_path).object_type.value == "NOTEBOOK"
    for bundle in ("app", "foundation"):
        cli(bundle, "destroy", "--auto-approve")
    assert not [*schemas(), *w.jobs.list(), *w.pipelines.list_pipelines()]


@needs_databricks
def test_a_deployment_that_was_killed_is_mended_by_the_next(running, w, project, tmp_path):
    folder = project / "bundles/app"
    databricks(running, tmp_path, project / "bundles/foundation", "bundle", "deploy", "-t", "staging")
    killed = 0
    for tenths in range(1, 30):
        deploying = subprocess.Popen(
            [DATABRICKS, "bundle", "deploy", "-t", "staging", "--force-lock"],
            cwd=folder,
            env=databricks_environ(running, tmp_path),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            deploying.wait(tenths / 10)
        except subprocess.TimeoutExpired:
            os.killpg(deploying.pid, signal.SIGKILL)
            deploying.wait()
            killed += 1
        else:
            break
    assert killed > 2
    databricks(
        running, tmp_path, folder, "bundle", "deploy", "-t", "staging", "--force-lock"
    )  # a killed one still holds the lock; a job that it made and could not note down stays beside the new one
    assert "0 to add, 0 to change, 0 to delete" in databricks(
        running, tmp_path, folder, "bundle", "plan", "-t", "staging"
    )
    state = json.loads(
        databricks(running, tmp_path, folder, "bundle", "summary", "-t", "staging", "--output", "json")
    )["resources"]
    ((pipeline,), (job,)) = ([made["id"] for made in state[kind].values()] for kind in ("pipelines", "jobs"))
    (wheel,) = w.pipelines.get(pipeline).spec.environment.dependencies
    assert w.files.download(wheel).contents.read() == (project / "dist" / Path(wheel).name).read_bytes()
    assert [
        task.pipeline_task.pipeline_id for task in w.jobs.get(int(job)).settings.tasks if task.pipeline_task
    ] == [pipeline]
    for bundle in ("app", "foundation"):
        databricks(
            running,
            tmp_path,
            project / "bundles" / bundle,
            "bundle",
            "destroy",
            "-t",
            "staging",
            "--auto-approve",
        )


@needs_databricks
def test_the_command_copies_files(running, w, tmp_path):
    place = "dbfs:" + make_volume(w)
    (tmp_path / "day/deep").mkdir(parents=True)
    (tmp_path / "day/1.json").write_text("one")
    (tmp_path / "day/deep/2.json").write_text("two")

    def cli(*argv):
        return databricks(running, tmp_path, tmp_path, "fs", *argv)

    cli("cp", "-r", str(tmp_path / "day"), f"{place}/day")
    assert (
        sorted(cli("ls", f"{place}/day").split()) == ["1.json", "deep"]
        and cli("cat", f"{place}/day/deep/2.json") == "two"
    )
    cli("cp", "-r", f"{place}/day", str(tmp_path / "back"))
    assert files_in(tmp_path / "back") == ["1.json", "deep/2.json"]
    cli("rm", "-r", f"{place}/day")
    assert cli("ls", place) == ""
