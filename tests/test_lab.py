"`make lab`: a chapter that is opened, run and saved in JupyterLab is as git has it, and no log warns."

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import httpx
import nbformat
import pytest
from chromium import in_chromium, start_chromium
from jupyter_client import BlockingKernelClient
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CHAPTER = "08_settings.ipynb"  # starts no Spark
IDENTITY = ("-c", "user.name=t", "-c", "user.email=t@example.org")
COMMIT = (*IDENTITY, "commit", "-qam")


def git(folder, *args):
    done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def hasten_spark(kernel_file):
    "Give a kernel the settings that every Spark of a test has (conftest.py), which `make` keeps from it"
    spec = json.loads(kernel_file.read_text())
    kernel_file.write_text(json.dumps({**spec, "env": {"SPARK_CONF_DIR": str(ROOT / "tests/spark")}}))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    "A repository with the files of this one, as they are now, and its environment"
    folder = tmp_path_factory.mktemp("lab") / "clone"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")[:-1]:
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    hasten_spark(folder / ".jupyter/kernels/python3/kernel.json")
    git(folder, "init", "-q")
    git(folder, "add", "-A")
    git(folder, *IDENTITY, "commit", "-qm", "as it is")
    (folder / ".git/info/exclude").write_text(".venv\n")
    (folder / ".venv").symlink_to(BIN.parent)
    return folder


@dataclass(frozen=True)
class Lab:
    "A running `make lab`"

    address: str
    token: str
    clone: Path
    home: Path  # home folder of the user who runs it
    log: Path

    def client(self):
        "An HTTP client of the server"
        headers = {"Authorization": f"token {self.token}"}
        return httpx.Client(base_url=self.address, headers=headers, timeout=60)

    def warnings(self):
        "Lines of the server's log that are no plain information"
        return [line for line in self.log.read_text().splitlines() if not line.startswith("[I ")]


@pytest.fixture(scope="module")
def lab(clone, tmp_path_factory):
    token, home = secrets.token_hex(16), tmp_path_factory.mktemp("home")
    log = tmp_path_factory.mktemp("log") / "log"
    options = f"--no-browser --ServerApp.ip=127.0.0.1 --ServerApp.port=0 --IdentityProvider.token={token}"
    if os.geteuid() == 0:
        options += " --allow-root"
    command = ["make", "-o", "setup", "lab", f"ARGS={options}"]
    # `make test` hands its own flags on to its children: a `make` below it would print where it works
    dropped = ("JUPYTER", "XDG_", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    with log.open("w") as out:
        server = subprocess.Popen(
            command,
            cwd=clone,
            stdout=out,
            stderr=out,
            env={**kept, "HOME": str(home)},
            start_new_session=True,
        )
    try:
        yield Lab(wait_for_address(server, log), token, clone, home, log)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(20)


def wait_for_address(server, log, seconds=60):
    "Wait until the server's log has its address"
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text()):
            return found[0]
        assert server.poll() is None, log.read_text()
        time.sleep(0.1)
    raise AssertionError(log.read_text())


def answer(response):
    assert response.is_success, response.text
    return response.json()


# The server -------------------------------------------------------------------------------------------------


@pytest.fixture
def client(lab):
    with lab.client() as client:
        yield client


def run_cells(notebook, connection_file):
    "Run every code cell in the server's kernel; outputs and counts go into the notebook"
    kernel = BlockingKernelClient()
    kernel.load_connection_file(str(connection_file))
    kernel.start_channels(hb=False)  # a busy machine misses heartbeats
    try:
        kernel.wait_for_ready(timeout=60)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                run_cell(kernel, cell)
    finally:
        kernel.stop_channels()
    return notebook


def run_cell(kernel, cell):
    outputs = []

    def keep(message):
        if message["msg_type"] in ("stream", "display_data", "execute_result", "error"):
            outputs.append(nbformat.v4.output_from_msg(message))

    reply = kernel.execute_interactive(cell.source, output_hook=keep, timeout=60)["content"]
    assert reply["status"] == "ok", reply
    cell.outputs, cell.execution_count = outputs, reply["execution_count"]
    cell.metadata["execution"] = {
        "iopub.status.idle": "2026-01-01T00:00:00Z"
    }  # where JupyterLab records times


def test_the_kernel_is_this_environments_and_has_the_projects_name(client):
    found = answer(client.get("/api/kernelspecs"))
    assert found["default"] == "python3"
    notebook = nbformat.read(ROOT / "nbs" / CHAPTER, 4)
    assert notebook.metadata.kernelspec.name in found["kernelspecs"]
    spec = found["kernelspecs"]["python3"]["spec"]
    assert spec["display_name"] == "cdc_utils"
    assert Path(shutil.which(spec["argv"][0], path=str(BIN)) or spec["argv"][0]).parent == BIN


def test_run_and_saved_by_the_server_a_chapter_is_as_it_was(lab, client):
    opened = answer(client.get(f"/api/contents/{CHAPTER}", params={"type": "notebook"}))
    wanted = {"path": CHAPTER, "name": CHAPTER, "type": "notebook", "kernel": {"name": "python3"}}
    session = answer(client.post("/api/sessions", json=wanted))
    runtime = lab.clone / ".cache/jupyter/data/runtime"
    notebook = run_cells(
        nbformat.from_dict(opened["content"]), runtime / f"kernel-{session['kernel']['id']}.json"
    )
    assert [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"][-1] > 5
    answer(client.put(f"/api/contents/{CHAPTER}", json={"type": "notebook", "content": notebook}))
    assert git(lab.clone, "status", "--short") == "", git(lab.clone, "diff")
    changed = nbformat.from_dict(answer(client.get(f"/api/contents/{CHAPTER}"))["content"])
    changed.cells[0].source += "\n\nOne more sentence."
    answer(client.put(f"/api/contents/{CHAPTER}", json={"type": "notebook", "content": changed}))
    numbers = git(lab.clone, "diff", "--no-ext-diff", "--numstat").split()[:2]
    assert numbers == ["3", "1"], git(lab.clone, "diff")  # the sentence is all that is new
    git(lab.clone, "checkout", "-q", ".")
    assert client.delete(f"/api/sessions/{session['id']}").is_success
    assert not lab.warnings()


def test_a_file_and_a_notebook_that_git_does_not_track_are_saved_too(lab, client):
    answer(client.put("/api/contents/new.txt", json={"type": "file", "format": "text", "content": "text"}))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1 + 1", execution_count=7)])
    answer(client.put("/api/contents/new.ipynb", json={"type": "notebook", "content": notebook}))
    assert nbformat.read(lab.clone / "nbs/new.ipynb", 4).cells[0].execution_count is None
    for name in ("new.txt", "new.ipynb"):
        (lab.clone / "nbs" / name).unlink()
    assert not lab.warnings()


# In a browser -----------------------------------------------------------------------------------------------

MINUTES = 10  # a chapter's cells run within these; a busy machine is slow
CHAPTERS = (
    "00_spec.ipynb",
    "03_silver.ipynb",
    "tutorials/one_customer.ipynb",
)  # no Spark; frames; the command
INDICATOR = ".jp-NotebookPanel-toolbar .jp-Notebook-ExecutionIndicator"
ASKING = ".jp-Dialog, .Toastify__toast"
UNSAVED = ".jp-NotebookPanel.jp-mod-dirty, .lm-DockPanel-tabBar .jp-mod-dirty"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    driver = start_chromium(tmp_path_factory.mktemp("chromium"))
    driver.set_window_size(1400, 900)
    yield driver
    driver.quit()


class Page:
    "A chapter in JupyterLab's window"

    def __init__(self, browser, lab, chapter):
        self.browser, self.file = browser, lab.clone / "nbs" / chapter
        self.wait = WebDriverWait(browser, MINUTES * 60)
        browser.get(f"{lab.address}/lab/tree/{chapter}?token={lab.token}&reset")
        self.wait.until(lambda _: any("| Idle" in each.text for each in self.find("#jp-main-statusbar")))

    def find(self, selector):
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def kernel_name(self):
        return "".join(each.text for each in self.find(".jp-NotebookPanel-toolbar .jp-KernelName"))

    def execution(self):
        "The kernel's state, and what the indicator says of the cells that ran"
        found = self.find(INDICATOR)
        return (
            (found[0].get_attribute("data-status"), found[0].get_attribute("textContent"))
            if found
            else ("", "")
        )

    def run_all(self):
        next(each for each in self.find(".lm-MenuBar-item") if each.text == "Run").click()
        command = "[data-command='runmenu:run-all']"
        self.wait.until(lambda _: [each for each in self.find(command) if each.is_displayed()])[0].click()
        self.wait.until(lambda _: self.execution()[0] == "idle" and "Executed" in self.execution()[1])

    def save(self):
        before = self.file.stat().st_mtime_ns
        self.find("body")[0].send_keys(Keys.CONTROL, "s")
        self.wait.until(lambda _: self.file.stat().st_mtime_ns != before and not self.find(UNSAVED))

    def errors(self):
        return [entry["message"] for entry in self.browser.get_log("browser") if entry["level"] == "SEVERE"]


@in_chromium
@pytest.mark.parametrize("chapter", CHAPTERS)
def test_opened_run_and_saved_in_jupyterlab_a_chapter_leaves_no_noise(lab, client, browser, chapter):
    page = Page(browser, lab, chapter)
    assert page.kernel_name() == "cdc_utils"
    page.run_all()
    cells = [cell for cell in nbformat.read(page.file, 4).cells if cell.cell_type == "code" and cell.source]
    assert f"Executed {len(cells)} cells" in page.execution()[1]
    page.save()
    assert git(lab.clone, "status", "--short") == "", git(lab.clone, "diff", "--no-ext-diff")
    assert not [each.text for each in page.find(ASKING)]
    assert not page.errors()
    for session in answer(client.get("/api/sessions")):
        assert client.delete(f"/api/sessions/{session['id']}").is_success
    assert not lab.warnings()
    assert not list(lab.home.iterdir())  # all that Jupyter keeps lies in the clone


def test_only_a_notebook_that_git_tracks_is_trusted_unseen(lab, client):
    "The last test of the server, whose log has a warning from here on"
    html = nbformat.v4.new_output("display_data", {"text/html": "<script>alert(1)</script>"})
    stranger = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("show()", outputs=[html])])
    nbformat.write(stranger, lab.clone / "nbs/stranger.ipynb")

    def trusted(name):
        cells = answer(client.get(f"/api/contents/{name}", params={"type": "notebook"}))["content"]["cells"]
        return {cell["metadata"]["trusted"] for cell in cells if cell["cell_type"] == "code"}

    assert trusted("stranger.ipynb") == {False}
    assert trusted("04_scd1.ipynb") == {True}
    (lab.clone / "nbs/stranger.ipynb").unlink()
    assert [line.split("] ")[1] for line in lab.warnings()] == ["Notebook stranger.ipynb is not trusted"]


# git --------------------------------------------------------------------------------------------------------


@pytest.fixture
def cell_wise(clone, tmp_path):
    "A clone in which `make lab` has set up how git compares notebooks"
    git(tmp_path, "clone", "-q", str(clone), "cell_wise")
    folder = tmp_path / "cell_wise"
    (folder / ".venv").symlink_to(BIN.parent)
    command = ["make", "-o", "setup", "cells"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def change(folder, text, cell=0):
    notebook = nbformat.read(folder / "nbs" / CHAPTER, 4)
    notebook.cells[cell].source += text
    nbformat.write(notebook, folder / "nbs" / CHAPTER)


def test_git_shows_the_cell_that_differs(cell_wise):
    change(cell_wise, "\n\nOne more sentence.")
    shown = git(cell_wise, "diff")
    assert "One more sentence." in shown and '"cell_type"' not in shown and '\\n",' not in shown


def test_a_conflict_leaves_a_notebook_that_opens(cell_wise):
    git(cell_wise, "checkout", "-qb", "other")
    change(cell_wise, "\n\nTheir sentence.")
    git(cell_wise, *COMMIT, "theirs")
    git(cell_wise, "checkout", "-q", "-")
    change(cell_wise, "\n\nOur sentence.")
    git(cell_wise, *COMMIT, "ours")
    command = ["git", *IDENTITY, "merge", "other"]
    done = subprocess.run(command, cwd=cell_wise, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "CONFLICT" in done.stdout
    text = "\n".join(cell.source for cell in nbformat.read(cell_wise / "nbs" / CHAPTER, 4).cells)
    assert "Our sentence." in text and "Their sentence." in text and "<<<<<<<" in text
