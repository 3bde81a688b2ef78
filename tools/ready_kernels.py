"""Kernels whose imports are done: a process that has imported what most notebooks import is copied for each
of them.

A kernel is otherwise as Jupyter starts it, with variables, folder and search path of its own; modules of this
project it imports itself."""

import json
import os
import subprocess
import sys
from functools import cache
from importlib.metadata import EntryPoint
from multiprocessing import get_context
from pathlib import Path

from jupyter_client.provisioning import KernelProvisionerFactory, LocalProvisioner

NAME = "ready"
IMPORTED = [
    "ipykernel.kernelapp",
    "ipykernel.debugger",
    "fastcore.test",
    "nbdev",
    "pandas",
    "pyspark.sql",
    "pyspark.testing",
    "pyspark.testing.utils",
    "databricks.sdk",
]
PROCESSES = get_context("forkserver")


def kernel(arguments, environ, folder, path):
    "What a copy does: become a kernel"
    os.setsid()  # a signal reaches what the notebook starts, too
    os.environ.update(
        environ, JPY_PARENT_PID=str(os.getppid())
    )  # it ends with the process that it is a copy of
    os.chdir(folder)
    sys.path[:], sys.argv[1:] = path, arguments
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 2):
        os.dup2(nothing, stream)
    from ipykernel.kernelapp import launch_new_instance

    launch_new_instance()


class Copy(PROCESSES.Process):
    "A process that answers to the names of subprocess, too: `LocalProvisioner` asks by those"

    stdin = stdout = stderr = None

    def poll(self):
        return self.exitcode

    def send_signal(self, signum):
        os.kill(self.pid, signum)

    def wait(self):
        self.join()
        return self.exitcode


@cache
def search_path():
    "What a new Python of this worker has: pytest adds folders to its own"
    return json.loads(
        subprocess.check_output([sys.executable, "-c", "import json, sys; print(json.dumps(sys.path[1:]))"])
    )


class ReadyKernel(LocalProvisioner):
    async def launch_kernel(self, cmd, cwd=None, env=None, **kwargs):
        environ, folder = env or dict(os.environ), cwd or str(Path.cwd())
        self.process = Copy(target=kernel, args=(cmd[cmd.index("-f") :], environ, str(folder), search_path()))
        self.process.start()
        self.pid, self.pgid, self.cwd = self.process.pid, self.process.pid, folder
        return self.connection_info


def use():
    "Let Jupyter start kernels of this process so"
    PROCESSES.set_forkserver_preload(IMPORTED)
    factory = KernelProvisionerFactory.instance()
    factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:ReadyKernel", factory.GROUP_NAME)
    factory.default_provisioner_name = NAME
