"""The server that `make lab` starts.

Saving a notebook cleans it as `nbdev-clean` does, one that git tracks is trusted, and nothing asks for news.
JUPYTER_CONFIG_PATH is this folder; labconfig/ has JupyterLab's own settings, kernels/ has the kernel."""

import logging
import shutil
import subprocess

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from nbdev.clean import clean_jupyter


def is_tracked(folder, path):
    "Whether git tracks a file of a folder."
    command = ["git", "--literal-pathspecs", "ls-files", "--error-unmatch", "--", path]
    return (
        bool(shutil.which("git")) and not subprocess.run(command, cwd=folder, capture_output=True).returncode
    )


def clean_notebook(model):
    "Clean what is about to be saved; whether a cell is trusted, which is not written to the file, stays."
    cells = model["content"]["cells"]
    trusted = [cell["metadata"].get("trusted", False) for cell in cells]
    clean_jupyter(
        path="", model=model
    )  # it finds pyproject.toml from here; Jupyter's path is relative to nbs/
    for cell, is_trusted in zip(cells, trusted, strict=True):
        if is_trusted:
            cell["metadata"]["trusted"] = True


class CloneFileManager(AsyncLargeFileManager):
    "Files of this clone: a notebook that git tracks is trusted as its code is, also after a pull."

    def mark_trusted_cells(self, nb, path=""):
        if is_tracked(self.root_dir, path):
            self.notary.mark_cells(nb, True)
        else:
            super().mark_trusted_cells(nb, path)

    def run_pre_save_hooks(self, model, path, **kwargs):
        super().run_pre_save_hooks(model, path, **kwargs)
        if model["type"] == "notebook":
            clean_notebook(model)


def is_of_use(record):
    "Whether a line belongs in the log: Tornado takes jupyter_server's milliseconds for seconds, and warns."
    return "websocket_ping_timeout" not in str(record.msg)


logging.getLogger("tornado.general").addFilter(is_of_use)
c = get_config()  # noqa: F821  Jupyter's own
c.ServerApp.contents_manager_class = CloneFileManager
c.LabApp.news_url = None
c.LabApp.check_for_updates_class = "jupyterlab.NeverCheckForUpdate"
c.MappingKernelManager.transport_encryption = "auto"  # a kernel warns where nothing encrypts
c.LanguageServerManager.autodetect = False  # it would run npm, which writes to the home folder
