"What tests of the workspace share: one that runs in this process, its clients, and work that a test decides"

import http.client
import json
import threading
from datetime import timedelta
from types import SimpleNamespace
from urllib.parse import urlparse

from databricks.sdk import WorkspaceClient
from databricks.sdk.config import Config
from databricks.sdk.service import catalog, compute, jobs

from cdc_local.errors import PipelineError
from cdc_local.workspace.execution import Execution
from cdc_local.workspace.server import serve_workspace

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

    def task(self, attempt, job, environments, on_line):
        task = attempt.task
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


def open_workspace(storage, work, **options):
    return serve_workspace(storage, USER, lambda: (TOKEN, "…"), 0, work.execution, **options)


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


ODD = [7, "x", [], [7], {}, {"x": []}, True, None, "\ud800", 10**30, -1, "../x"]
