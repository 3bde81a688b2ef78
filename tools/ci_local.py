"""Run the jobs of .gitlab-ci.yml on this machine, in the order GitLab would, against a workspace on this
machine: `make ci-local`.

    python tools/ci_local.py [--check] [JOB…]

The jobs are those of a push to the default branch: wheel, bundles, validate, deploy-staging, run-staging;
`--check` adds `check`, which takes as long as `make check`. Needs node with npx, rsync (Debian: apt-get
install rsync), and for the jobs that deploy the `databricks` CLI on the PATH; without it those are left out,
with a word."""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from databricks.sdk import WorkspaceClient
from e2e import ROOT, USER, land, look_at, project_copy, run, served

from cdc_local.bundles.bundle import load_bundle

TOOL = "gitlab-ci-local@4.73.0"
STAGES = {
    "wheel": ".pre",
    "check": "test",
    "bundles": "test",
    "validate": "test",
    "deploy-staging": "deploy",
    "run-staging": "run",
}
DEPLOYING = ("validate", "deploy-staging", "run-staging")


def missing():
    "What has to be installed first"
    needed = {
        "npx": "install node 20 or newer",
        "rsync": "Debian: apt-get install rsync",
        "git": "Debian: apt-get install git",
    }
    return [f"{name} is missing; {how}" for name, how in needed.items() if not shutil.which(name)]


def commit(project):
    "Make the copy a clone of a default branch, as GitLab checks it out"
    git = ("git", "-c", "user.name=ci", "-c", "user.email=ci@example.org")
    run("git", "checkout", "-q", "-B", "main", cwd=project)
    run("git", "remote", "add", "origin", "https://gitlab.example.org/data/cdc-utils.git", cwd=project)
    run("git", "add", "-A", cwd=project)
    run(*git, "commit", "-qm", "the state to test", cwd=project)


def variables(project, host, token):
    "What GitLab's settings would give the jobs, in a file that only its owner reads"
    path = project / ".gitlab-ci-local-variables.yml"
    path.touch(0o600)
    said = {
        "DATABRICKS_HOST": host,
        "DATABRICKS_TOKEN": token,
        "DATABRICKS_AUTH_TYPE": "pat",
        "DATABRICKS_BUNDLE_ENGINE": "direct",
        "DATABRICKS_CONFIG_FILE": os.devnull,
    }
    path.write_text(yaml.safe_dump(said))


def run_job(project, name):
    "One job; False where it fails"
    began = time.monotonic()
    print(f"\n== {name} ({STAGES[name]})", flush=True)
    done = subprocess.run(
        ["npx", "--yes", TOOL, "--force-shell-executor", "--artifacts-to-source", name],
        cwd=project,
        stdin=subprocess.DEVNULL,
    )
    print(
        f"{'ok    ' if done.returncode == 0 else 'FAILED'} {name}, {time.monotonic() - began:.0f} s",
        flush=True,
    )
    return done.returncode == 0


def chosen(asked):
    "The jobs, in order of their stages"
    names = asked.jobs or [name for name in STAGES if name != "check" or asked.check]
    if shutil.which("databricks"):
        return names
    left_out = [name for name in names if name in DEPLOYING]
    if left_out:
        print(f"the databricks CLI is not on the PATH: {', '.join(left_out)} left out")
    return [name for name in names if name not in DEPLOYING]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], prog="make ci-local")
    parser.add_argument(
        "jobs",
        nargs="*",
        metavar="JOB",
        choices=[*STAGES, []],
        help=f"of {', '.join(STAGES)}; all but check by default",
    )
    parser.add_argument("--check", action="store_true", help="the job `check`, too")
    asked = parser.parse_args(arguments)
    if gaps := missing():
        sys.exit("\n".join(gaps))
    names = sorted(chosen(asked), key=list(STAGES).index)
    with tempfile.TemporaryDirectory(prefix="cdc-ci-") as work:
        project, storage = project_copy(Path(work, "project")), Path(work, "workspace")
        storage.mkdir()
        commit(project)
        with served(storage) as (host, token):
            variables(project, host, token)
            made = load_bundle(ROOT / "bundles/app", "staging", user=USER).resources("pipelines")[
                "dlt_wheel_pipeline"
            ]
            settings = {"catalog": made["catalog"], "schema": made["schema"]}
            for name in names:
                if name == "run-staging":
                    land(WorkspaceClient(host=host, token=token), settings, 2_000, storage.parent / "landing")
                if not run_job(project, name):
                    sys.exit(1)
            if "run-staging" in names:
                look_at(storage, settings, "staging's tables")
    print("\nall went well")


if __name__ == "__main__":
    main(sys.argv[1:])
