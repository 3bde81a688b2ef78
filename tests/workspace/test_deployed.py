"What was deployed is what runs: the workspace's files with the wheel of its volume"

import io
import json
import zipfile

import pytest
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.catalog import VolumeType
from databricks.sdk.service.workspace import ImportFormat

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName
from cdc_local.workspace.server import serve_workspace
from cdc_utils import remote

pytestmark = pytest.mark.sail

USER, TOKEN = "ann@example.org", "a-token-for-tests-only"
HOME, WHEELS = f"/Workspace/Users/{USER}/shop", "/Volumes/dev/shop/wheels"
SOURCE = """from pyspark import pipelines as dp
from cdc_utils import customers

@dp.materialized_view
@dp.expect("named", "name IS NOT NULL")
def names(): return spark.sql(f"SELECT '{customers.NAME}' AS name UNION ALL SELECT NULL")
"""
NOTEBOOK = """# Databricks notebook source
import cdc_utils
from cdc_utils.customers import NAME
print(cdc_utils.__version__, NAME, dbutils.widgets.get('day'))
"""


def wheel(folder, version):
    path = folder / f"cdc_utils-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cdc_utils/__init__.py", f'__version__ = "{version}"\n')
        archive.writestr("cdc_utils/customers.py", f'NAME = "of {version}"\n')
        archive.writestr(
            f"cdc_utils-{version}.dist-info/METADATA",
            f"Metadata-Version: 2.1\nName: cdc-utils\nVersion: {version}\n",
        )
    return path


def upload(client, path, text):
    client.workspace.mkdirs(path.rsplit("/", 1)[0])
    client.workspace.upload(path, io.BytesIO(text.encode()), format=ImportFormat.AUTO, overwrite=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("deployed")
    storage = Storage(folder / "cdc").create()
    with serve_workspace(storage, USER, lambda: (TOKEN, "…"), 0) as running:
        client = WorkspaceClient(host=running.host, token=TOKEN)
        client.schemas.create("shop", "dev")
        client.volumes.create("dev", "shop", "wheels", VolumeType.MANAGED)
        upload(client, f"{HOME}/transformations/names.py", SOURCE)
        upload(client, f"{HOME}/jobs/hello.py", NOTEBOOK)
        yield storage, client, folder


def deploy(client, path, ids=None):
    "Pipeline and job with this wheel; the same ones again where `ids` names them"
    do, environment = client.api_client.do, {"environment_version": "4", "dependencies": [path]}
    pipeline = {
        "name": "names",
        "catalog": "dev",
        "schema": "shop",
        "root_path": HOME,
        "libraries": [{"glob": {"include": f"{HOME}/transformations/**"}}],
        "environment": environment,
    }
    if ids:
        do("PUT", f"/api/2.0/pipelines/{ids[0]}", body=pipeline)
    pipeline_id = ids[0] if ids else do("POST", "/api/2.0/pipelines", body=pipeline)["pipeline_id"]
    tasks = [
        {
            "task_key": "hello",
            "environment_key": "default",
            "notebook_task": {"notebook_path": f"{HOME}/jobs/hello"},
        },
        {
            "task_key": "update",
            "depends_on": [{"task_key": "hello"}],
            "pipeline_task": {"pipeline_id": pipeline_id},
        },
    ]
    job = {
        "name": "daily",
        "parameters": [{"name": "day", "default": "1"}],
        "environments": [{"environment_key": "default", "spec": environment}],
        "tasks": tasks,
    }
    if ids:
        do("POST", "/api/2.2/jobs/reset", body={"job_id": ids[1], "new_settings": job})
    return pipeline_id, ids[1] if ids else do("POST", "/api/2.2/jobs/create", body=job)["job_id"]


def test_a_run_takes_the_wheel_that_was_deployed(place):
    storage, client, folder = place
    ids = None
    for version in ("9.1", "9.2"):
        ids = deploy(client, remote.upload_wheel(client, wheel(folder, version), WHEELS), ids)
        result, runs = remote.run_job(client, ids[1], {"day": "7"}, every=0.5)
        assert (result, [run.result for run in runs]) == ("SUCCESS", ["SUCCESS", "SUCCESS"]), [
            run.message for run in runs
        ]
        assert runs[0].output.strip() == f"{version} of {version} 7"
        assert sorted(map(str, read_rows(storage, TableName("dev", "shop", "names")).values)) == sorted(
            ["(None,)", f"('of {version}',)"]
        )


def test_a_notebook_without_an_environment_brings_the_wheel_itself(place):
    "As in a workspace that refuses environments of notebook tasks: the job's parameter names the wheel"
    storage, client, folder = place
    install = "install --quiet {dbutils.widgets.get('wheel')} faker"
    first = f"""try: import cdc_utils
except ModuleNotFoundError:
    get_ipython().run_line_magic('pip', f"{install}")
"""
    upload(
        client,
        f"{HOME}/jobs/brings.py",
        NOTEBOOK.replace("import cdc_utils\n", f"{first}\n# COMMAND ----------\nimport cdc_utils\n", 1),
    )
    parameters = [
        {"name": "day", "default": "1"},
        {"name": "wheel", "default": remote.upload_wheel(client, wheel(folder, "9.3"), WHEELS)},
    ]
    task = {"task_key": "hello", "notebook_task": {"notebook_path": f"{HOME}/jobs/brings"}}
    job = client.api_client.do(
        "POST", "/api/2.2/jobs/create", body={"name": "brings", "parameters": parameters, "tasks": [task]}
    )["job_id"]
    result, runs = remote.run_job(client, job, every=0.5)
    assert (result, runs[0].output.strip()) == ("SUCCESS", "9.3 of 9.3 1"), runs[0].message


def test_the_update_tells_its_rules(place):
    storage, client, folder = place
    update = client.pipelines.list_updates(remote.find_pipeline_id(client, "names")).updates[0].update_id
    result = remote.update_result(
        remote.list_update_events(client, remote.find_pipeline_id(client, "names"), update)
    )
    assert (
        result.state,
        [(rule.name, rule.passed_records, rule.failed_records) for rule in result.flows[0].expectations],
    ) == ("COMPLETED", [("named", 1, 1)])


def test_an_update_that_only_validates_changes_no_table(place):
    storage, client, folder = place
    pipeline = remote.find_pipeline_id(client, "names")
    upload(client, f"{HOME}/transformations/more.sql", "CREATE MATERIALIZED VIEW more AS SELECT * FROM names")
    tables = storage.tables()
    update = client.pipelines.start_update(pipeline, validate_only=True).update_id
    client.pipelines.wait_get_pipeline_idle(pipeline)
    told = client.pipelines.get_update(pipeline, update).update
    assert (told.state.value, told.validate_only, storage.tables()) == ("COMPLETED", True, tables)
    events = list(client.pipelines.list_pipeline_events(pipeline, filter=f"update_id = '{update}'"))
    assert [event.origin.flow_name for event in events if event.event_type == "flow_definition"] == [
        "dev.shop.names",
        "dev.shop.more",
    ]
    upload(client, f"{HOME}/transformations/more.sql", "CREATE MATERIALIZED VIEW more AS SELECT * FROM none")
    result = remote.follow_update(
        client, pipeline, client.pipelines.start_update(pipeline, validate_only=True).update_id, every=0.5
    )
    client.workspace.delete(f"{HOME}/transformations/more.sql")
    assert result.state == "FAILED" and "more.sql:1" in result.error and "none" in result.error


def test_an_update_that_fails_says_where(place):
    storage, client, folder = place
    upload(client, f"{HOME}/transformations/broken.py", "from cdc_utils import gold\n")
    pipeline = remote.find_pipeline_id(client, "names")
    result = remote.follow_update(client, pipeline, remote.start_update(client, pipeline), every=0.5)
    assert (
        result.state == "FAILED"
        and "broken.py:1" in result.error
        and "cannot import name 'gold' from 'cdc_utils'" in result.error
    ), "the wheel has no gold, whatever is installed here"
    assert "Traceback" not in json.dumps(remote.list_update_events(client, pipeline, result.update_id))
