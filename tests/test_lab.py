"`make lab`, without a window: a chapter is opened, run and saved in JupyterLab's own server, and git sees no change."

import os
import re
import secrets
import shutil
import subprocess
import sys
import time
from pathlib import Path

import httpx
import nbformat
import pytest
from jupyter_client import BlockingKernelClient

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CHAPTER = "08_settings.ipynb"  # starts no Spark


def git(folder, *args):
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    "A repository with what `make lab` reads: its configuration, the project's, and a chapter"
    folder = tmp_path_factory.mktemp("lab")
    for name in (
        "pyproject.toml",
        "Makefile",
        ".gitignore",
        ".gitattributes",
        f"nbs/{CHAPTER}",
        ".jupyter/jupyter_server_config.py",
        "cdc_utils/__init__.py",
        "cdc_utils/settings.py",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    for command in (
        ("init", "-q"),
        ("add", "-A"),
        ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "as it is"),
    ):
        git(folder, *command)
    return folder


def lab_command():
    "What `make lab` starts"
    line = next(
        line for line in (ROOT / "Makefile").read_text().splitlines() if "jupyter lab $(ARGS)" in line
    )
    environ = dict(re.findall(r'(\w+)="([^"]*)"', line.split("$(BIN)/jupyter")[0]))
    return line.split("$(BIN)/jupyter ")[1].replace("$(ARGS) ", "").split(), environ


@pytest.fixture(scope="module")
def lab(clone, tmp_path_factory):
    "A client of the running server"
    arguments, environ = lab_command()
    assert set(environ) == {"JUPYTER_CONFIG_PATH", "PATH"} and arguments[0] == "lab"
    token, home = secrets.token_hex(16), tmp_path_factory.mktemp("home")
    values = {"CURDIR": str(clone), "BIN": str(BIN)}
    filled = {
        name: re.sub(
            r"\$\((\w+)\)/\$\(BIN\)", str(BIN), re.sub(r"\$\(CURDIR\)(?!/\$)", values["CURDIR"], text)
        ).replace("$$PATH", os.environ["PATH"])
        for name, text in environ.items()
    }
    log = home / "log"
    with log.open("w") as out:
        server = subprocess.Popen(
            [
                BIN / "jupyter",
                *arguments[:-1],
                "--no-browser",
                "--ServerApp.ip=127.0.0.1",
                "--ServerApp.port=0",
                f"--IdentityProvider.token={token}",
                *(["--allow-root"] if os.geteuid() == 0 else []),
                arguments[-1],
            ],
            cwd=clone,
            stdout=out,
            stderr=out,
            env={
                **os.environ,
                **filled,
                "HOME": str(home),
                "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
                "IN_TEST": "1",
            },
        )
    try:
        address = wait_for(lambda: re.search(r"http://127\.0\.0\.1:\d+", log.read_text()), server, log)[0]
        with httpx.Client(
            base_url=address, headers={"Authorization": f"token {token}"}, timeout=60
        ) as client:
            yield client
    finally:
        server.terminate()
        server.wait(20)


def wait_for(look, server, log, seconds=60):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := look():
            return found
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def answer(response):
    assert response.is_success, response.text
    return response.json()


def run_cells(notebook, kernel_id, runtime):
    "Run every code cell in the server's kernel, as JupyterLab does; its outputs and counts go into the notebook"
    client = BlockingKernelClient()
    client.load_connection_file(str(next(runtime.glob(f"kernel-{kernel_id}.json"))))
    client.start_channels(hb=False)  # a busy machine misses heartbeats
    try:
        client.wait_for_ready(timeout=60)
        for cell in notebook.cells:
            if cell.cell_type != "code":
                continue
            outputs = []

            def keep(message):
                if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
                    outputs.append(nbformat.v4.output_from_msg(message))

            reply = client.execute_interactive(cell.source, output_hook=keep, timeout=60)
            assert reply["content"]["status"] == "ok", reply["content"]
            cell.outputs, cell.execution_count = outputs, reply["content"]["execution_count"]
            cell.metadata["execution"] = {
                "iopub.status.idle": "2026-01-01T00:00:00Z"
            }  # what JupyterLab leaves, where it records times
    finally:
        client.stop_channels()
    return notebook


def test_the_kernel_is_this_environments(lab):
    found = answer(lab.get("/api/kernelspecs"))
    assert found["default"] == "python3"
    notebook = nbformat.read(ROOT / "nbs" / CHAPTER, 4)
    assert notebook.metadata.kernelspec.name in found["kernelspecs"]
    argv = found["kernelspecs"]["python3"]["spec"]["argv"]
    assert Path(shutil.which(argv[0], path=str(BIN)) or argv[0]).parent == BIN


def test_run_and_saved_in_jupyterlab_a_chapter_is_as_it_was(lab, clone, tmp_path_factory):
    opened = answer(lab.get(f"/api/contents/{CHAPTER}", params={"type": "notebook"}))
    session = answer(
        lab.post(
            "/api/sessions",
            json={"path": CHAPTER, "name": CHAPTER, "type": "notebook", "kernel": {"name": "python3"}},
        )
    )
    runtime = next(path for path in tmp_path_factory.getbasetemp().glob("home*/runtime"))
    notebook = run_cells(nbformat.from_dict(opened["content"]), session["kernel"]["id"], runtime)
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"][-1] > 5
    answer(lab.put(f"/api/contents/{CHAPTER}", json={"type": "notebook", "content": notebook}))
    assert git(clone, "status", "--short") == "", git(clone, "diff")
    changed = nbformat.from_dict(answer(lab.get(f"/api/contents/{CHAPTER}"))["content"])
    changed.cells[0].source += "\n\nOne more sentence."
    answer(lab.put(f"/api/contents/{CHAPTER}", json={"type": "notebook", "content": changed}))
    assert git(clone, "diff", "--numstat").split()[:2] == ["3", "1"], git(
        clone, "diff"
    )  # the sentence is all that is new
    git(clone, "checkout", "-q", ".")
    assert lab.delete(f"/api/sessions/{session['id']}").is_success


# git ------------------------------------------------------------------------------------------------------------------------------------------

COMMIT = ("-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qam")


@pytest.fixture
def told(clone, tmp_path):
    "A clone that `make lab` has told how to compare notebooks"
    git(tmp_path, "clone", "-q", str(clone), "told")
    folder = tmp_path / "told"
    (folder / ".venv").symlink_to(BIN.parent)
    done = subprocess.run(
        ["make", "-o", "setup", "cells"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def change(folder, text, cell=0):
    notebook = nbformat.read(folder / "nbs" / CHAPTER, 4)
    notebook.cells[cell].source += text
    nbformat.write(notebook, folder / "nbs" / CHAPTER)


def test_git_shows_the_cell_that_differs(told):
    change(told, "\n\nOne more sentence.")
    shown = git(told, "diff")
    assert "One more sentence." in shown and '"cell_type"' not in shown and '\\n",' not in shown


def test_a_conflict_leaves_a_notebook_that_opens(told):
    git(told, "checkout", "-qb", "other")
    change(told, "\n\nTheir sentence.")
    git(told, *COMMIT, "theirs")
    git(told, "checkout", "-q", "-")
    change(told, "\n\nOur sentence.")
    git(told, *COMMIT, "ours")
    done = subprocess.run(
        ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "merge", "other"],
        cwd=told,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "CONFLICT" in done.stdout
    text = "\n".join(cell.source for cell in nbformat.read(told / "nbs" / CHAPTER, 4).cells)
    assert "Our sentence." in text and "Their sentence." in text and "<<<<<<<" in text
