"""Deploy both bundles to a workspace on this machine, run the job there, change a notebook, deploy again,
destroy: `make e2e`.

    python tools/e2e.py [--target dev|staging|prod]… [--client cli|sdk] [--rows N] [--keep-wheel]

The `databricks` CLI does it where it is on the PATH, else the SDK by the calls that the CLI makes. Everything
lies in a temporary folder, the clone is not touched."""

import argparse
import io
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import nbformat
from databricks.sdk import WorkspaceClient
from databricks.sdk.service.catalog import VolumeType
from databricks.sdk.service.workspace import ImportFormat

from cdc_local.bundles.bundle import User, load_bundle
from cdc_utils import remote
from cdc_utils.feed import write_feed

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".venv/bin"
USER = User("e2e@example.org")
TABLES = (
    "customers",
    "customers_cdc_bronze",
    "customers_cdc_clean",
    "customers_cdc_quarantine",
    "customers_history",
    "customers_history_agg",
)
PIPELINE, JOB, NEW_RULE = "dlt_wheel_pipeline", "dlt_wheel_job", "known_to_e2e"


class Failed(SystemExit):
    "Something is not as it should be; the message says what."


def check(good, what):
    if not good:
        raise Failed(f"FAILED: {what}")
    print(f"  ok  {what}", flush=True)


def run(*command, cwd, environ=None):
    "Run a command quietly; its output only where it fails"
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env={**os.environ, **(environ or {})},
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise Failed(
            f"FAILED: {' '.join(map(str, command))} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
    return done.stdout


@contextmanager
def served(storage):
    "A workspace on a free port; its address and token"
    token = secrets.token_urlsafe(24)
    command = [BIN / "cdc", "workspace", "--port", "0", "--storage", storage, "--user", USER.name]
    with storage.with_suffix(".log").open("w") as log:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            env={**os.environ, "CDC_WORKSPACE_TOKEN": token},
        )
        try:
            host = next(
                (
                    line.split("=", 1)[1].strip()
                    for line in process.stdout
                    if "export DATABRICKS_HOST=" in line
                ),
                None,
            )
            if host is None:
                raise Failed(
                    f"FAILED: the workspace did not start\n{storage.with_suffix('.log').read_text()}"
                )
            yield host, token
        except BaseException:
            print(storage.with_suffix(".log").read_text()[-5_000:], file=sys.stderr)
            raise
        finally:
            process.terminate()
            check(process.wait(60) == 0, "the workspace ended when asked to")


def project_copy(folder):
    "The files of the clone, and its wheel"
    names = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT).splitlines()
    for name in names:
        if not (ROOT / name).is_file():
            continue
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    run("git", "init", "-q", cwd=folder)
    run(
        BIN / "python", "tools/wheel.py", "dist", cwd=folder
    )  # `make wheel` finds it, and needs no environment then
    return folder


def add_rule(project):
    "Add a rule that every row keeps to the notebook of the customers' rules, and export"
    path = project / "nbs/07_customers.ipynb"
    notebook = nbformat.read(path, 4)
    cell = next(
        cell for cell in notebook.cells if "RULES =" in cell.source and cell.source.startswith("#| export")
    )
    cell.source += f"\nRULES['{NEW_RULE}'] = 'true'"
    nbformat.write(notebook, path)
    environ = {"PYTHONPATH": str(project), "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    run(BIN / "nbdev-export", cwd=project, environ=environ)
    run(BIN / "python", "tools/wheel.py", "--name", cwd=project)
    run(BIN / "python", "tools/wheel.py", "dist", cwd=project)


class Cli:
    "Deploys with the databricks CLI"

    name = "databricks CLI"

    def __init__(self, project, host, token):
        self.project = project
        self.environ = {
            "DATABRICKS_HOST": host,
            "DATABRICKS_TOKEN": token,
            "DATABRICKS_BUNDLE_ENGINE": "direct",
            "DATABRICKS_CONFIG_FILE": os.devnull,
        }

    def bundle(self, name, target, *words):
        return run(
            "databricks",
            "bundle",
            *words,
            "-t",
            target,
            cwd=self.project / "bundles" / name,
            environ=self.environ,
        )

    def deploy(self, target):
        self.bundle("foundation", target, "validate", "--strict")
        self.bundle("foundation", target, "deploy")
        self.bundle("app", target, "validate", "--strict")
        self.bundle("app", target, "plan")
        self.bundle("app", target, "deploy")
        self.bundle("app", target, "summary")

    def run_job(self, target):
        return self.bundle("app", target, "run", JOB)

    def destroy(self, target):
        for name in ("app", "foundation"):
            self.bundle(name, target, "destroy", "--auto-approve")


class Sdk:
    "Deploys with the calls that the CLI makes, through databricks-sdk"

    name = "databricks-sdk"

    def __init__(self, project, host, token):
        self.project, self.client = project, WorkspaceClient(host=host, token=token)
        self.made = {}  # target -> (pipeline's id, job's id, folder of the files)

    def load(self, name, target):
        return load_bundle(self.project / "bundles" / name, target, user=USER)

    def deploy(self, target):
        self.foundation(self.load("foundation", target))
        self.app(self.load("app", target), target)

    def foundation(self, bundle):
        known = {
            each.full_name
            for catalog in {each["catalog_name"] for each in bundle.resources("schemas").values()}
            for each in self.schemas(catalog)
        }
        for each in bundle.resources("schemas").values():
            if f"{each['catalog_name']}.{each['name']}" not in known:
                self.client.schemas.create(each["name"], each["catalog_name"], comment=each.get("comment"))
        for each in bundle.resources("volumes").values():
            there = {
                volume.name for volume in self.client.volumes.list(each["catalog_name"], each["schema_name"])
            }
            if each["name"] not in there:
                self.client.volumes.create(
                    each["catalog_name"], each["schema_name"], each["name"], VolumeType.MANAGED
                )

    def schemas(self, catalog):
        with_catalog = {each.name for each in self.client.catalogs.list()}
        return list(self.client.schemas.list(catalog)) if catalog in with_catalog else []

    def app(self, bundle, target):
        run("make", "wheel", cwd=self.project)
        said = bundle.settings.values["workspace"]
        wheel = (
            self.project
            / "dist"
            / Path(bundle.resources("pipelines")[PIPELINE]["environment"]["dependencies"][0]).name
        )
        wheel_path = remote.upload_wheel(self.client, wheel, f"{said['artifact_path']}/.internal")
        self.upload(bundle, said["file_path"])

        def there(value):  # as the CLI translates paths of the project
            if isinstance(value, dict):
                return {key: there(each) for key, each in value.items()}
            if isinstance(value, list):
                return [there(each) for each in value]
            if not isinstance(value, str) or not value.startswith("../"):
                return value
            if value.endswith(".whl"):
                return wheel_path
            return f"{said['file_path']}/{value.removeprefix('../../..').lstrip('/')}".rstrip(
                "/"
            ).removesuffix(".ipynb")

        pipeline, job = there(bundle.resources("pipelines")[PIPELINE]), there(bundle.resources("jobs")[JOB])
        before = self.made.get(target)
        do = self.client.api_client.do
        if before:
            do("PUT", f"/api/2.0/pipelines/{before[0]}", body=pipeline)
        pipeline_id = before[0] if before else do("POST", "/api/2.0/pipelines", body=pipeline)["pipeline_id"]
        job = json.loads(json.dumps(job).replace("${resources.pipelines." + PIPELINE + ".id}", pipeline_id))
        if before:
            do("POST", "/api/2.2/jobs/reset", body={"job_id": before[1], "new_settings": job})
        job_id = before[1] if before else do("POST", "/api/2.2/jobs/create", body=job)["job_id"]
        self.made[target] = pipeline_id, job_id, said["root_path"]

    def upload(self, bundle, folder):
        for place in range(len(bundle.settings.values["sync"]["paths"])):
            for path in sorted(bundle.local_path("sync", "paths", place).rglob("*")):
                if not path.is_file() or "__pycache__" in path.parts or path.name.startswith("."):
                    continue
                target = f"{folder}/{path.resolve().relative_to(self.project.resolve()).as_posix()}"
                self.client.workspace.mkdirs(target.rsplit("/", 1)[0])
                self.client.workspace.upload(
                    target, io.BytesIO(path.read_bytes()), format=ImportFormat.AUTO, overwrite=True
                )

    def run_job(self, target):
        result, runs = remote.run_job(self.client, self.made[target][1], every=1)
        if result != "SUCCESS":
            raise Failed(
                "FAILED: the job is "
                + result
                + "\n"
                + "\n".join(f"{run.task_key}: {run.result}: {run.message}" for run in runs)
            )
        return "\n".join(run.output for run in runs)

    def destroy(self, target):
        pipeline_id, job_id, root = self.made.pop(target)
        self.client.jobs.delete(job_id)
        self.client.pipelines.delete(pipeline_id)
        self.client.workspace.delete(root, recursive=True)
        for bundle in (self.load("foundation", target),):
            for each in bundle.resources("volumes").values():
                self.client.volumes.delete(f"{each['catalog_name']}.{each['schema_name']}.{each['name']}")
            for each in bundle.resources("schemas").values():
                self.client.schemas.delete(f"{each['catalog_name']}.{each['name']}", force=True)


def rows_of(storage, settings):
    "Rows of each table, read without a JVM"
    told = run(BIN / "cdc", "show", "--storage", storage, "--format", "json", cwd=storage.parent).splitlines()
    place = f"{settings['catalog']}.{settings['schema']}."
    return {
        row["table"].removeprefix(place): row["rows"]
        for row in map(json.loads, told)
        if row["table"].startswith(place)
    }


def land(client, settings, rows, folder):
    "Put a day of changes into the raw volume, as a source system would"
    write_feed(folder, rows=rows, files=3)
    landing = f"/Volumes/{settings['catalog']}/{settings['schema']}/raw_data/customers"
    client.files.create_directory(landing)
    for path in sorted(folder.glob("*.json")):
        client.files.upload(f"{landing}/{path.name}", io.BytesIO(path.read_bytes()), overwrite=True)


def look_at(storage, settings, what):
    "The tables are there, and no row is lost"
    rows = rows_of(storage, settings)
    check(
        set(TABLES) <= set(rows) and all(rows[name] for name in TABLES),
        f"{what}: {', '.join(f'{name} {rows.get(name, 0):,}' for name in TABLES)}",
    )
    check(
        rows["customers_cdc_clean"] + rows["customers_cdc_quarantine"] == rows["customers_cdc_bronze"],
        f"{what}: kept + quarantined = read",
    )
    return rows


def redeploy(deployment, client, project, storage, target, settings):
    "A changed notebook reaches the next run, and the older wheel stays"
    folder = (
        load_bundle(project / "bundles/app", target, user=USER).settings.values["workspace"]["artifact_path"]
        + "/.internal"
    )
    before = {each.name for each in remote.list_wheels(client, folder)}
    add_rule(project)
    deployment.deploy(target)
    after = {each.name for each in remote.list_wheels(client, folder)}
    check(
        len(after - before) == 1 and before <= after,
        f"a changed notebook deploys a wheel of another name: {', '.join(after - before)}",
    )
    deployment.run_job(target)
    pipeline = remote.find_pipeline_id(client, PIPELINE)
    spec = client.pipelines.get(pipeline)
    updates = client.pipelines.list_updates(pipeline).updates
    told = json.dumps(remote.list_update_events(client, pipeline, updates[0].update_id))
    check(f'"{NEW_RULE}"' in told, f"the update ran the new wheel: its events tell of the rule {NEW_RULE}")
    check(next(iter(after - before)) in json.dumps(spec.as_dict()), "the pipeline names the new wheel")


def run_target(deployment, client, project, storage, target, rows, change):
    "One target, from nothing to nothing"
    print(f"\n{target}, with {deployment.name}", flush=True)
    began = time.monotonic()
    deployment.deploy(target)
    settings = load_bundle(project / "bundles/app", target, user=USER).resources("pipelines")[PIPELINE]
    check(True, f"deployed to {settings['catalog']}.{settings['schema']}")
    if target != "dev":
        land(client, settings, rows, storage.parent / f"landing-{target}")
    deployment.run_job(target)
    look_at(storage, settings, "the job's tables")
    if change:
        redeploy(deployment, client, project, storage, target, settings)
    deployment.destroy(target)
    left = [each.name for each in client.pipelines.list_pipelines()] + [
        each.settings.name for each in client.jobs.list()
    ]
    schemas = [
        each.full_name
        for catalog in client.catalogs.list()
        if catalog.name == settings["catalog"]
        for each in client.schemas.list(catalog.name)
    ]
    check(
        not left and f"{settings['catalog']}.{settings['schema']}" not in schemas,
        "destroyed: no pipeline, no job, no schema is left",
    )
    print(f"  {time.monotonic() - began:.0f} s", flush=True)


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        prog="make e2e",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--target", action="append", choices=("dev", "staging", "prod"), help="a target; all by default"
    )
    parser.add_argument(
        "--client",
        choices=("cli", "sdk"),
        default="cli" if shutil.which("databricks") else "sdk",
        help="who deploys",
    )
    parser.add_argument("--rows", type=int, default=2_000, help="changes landed in staging and prod")
    parser.add_argument("--keep-wheel", action="store_true", help="do not change a notebook and deploy again")
    asked = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="cdc-e2e-") as work:
        project, storage = project_copy(Path(work, "project")), Path(work, "workspace")
        storage.mkdir()
        with served(storage) as (host, token):
            client = WorkspaceClient(host=host, token=token)
            deployment = (Cli if asked.client == "cli" else Sdk)(project, host, token)
            for target in asked.target or ("dev", "staging", "prod"):
                run_target(
                    deployment,
                    client,
                    project,
                    storage,
                    target,
                    asked.rows,
                    target == "dev" and not asked.keep_wheel,
                )
    print("\nall went well")


if __name__ == "__main__":
    main(sys.argv[1:])
