"""The process of a `python_wheel_task`: calls an entry point of a wheel."""

import os
import sys
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path

from cdc_local.jobs.task_session import provide_session
from cdc_local.storage import Storage


def read_wheel_sources() -> Iterator[str]:  # Texts
    "Read the Python files of the task's wheels."
    for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        for path in Path(folder).rglob("*.py") if folder else ():
            yield path.read_text(encoding="utf-8", errors="replace")


def call_entry_point(
    package: str,  # The package, which the task's wheel or this environment brings
    name: str,  # An entry point of it, else a function of its top module
    arguments: list[str],  # What `sys.argv` says after the name
) -> None:
    "Call an entry point; `SystemExit` with an `error: …` where the package or the entry point is not there."
    sys.argv = [name, *arguments]
    try:
        entry_points = metadata.distribution(package).entry_points
    except metadata.PackageNotFoundError:
        sys.exit(f"error: the package {package} is not there: name its wheel in the environment of the task")
    for entry_point in entry_points:
        if entry_point.name == name:
            entry_point.load()()
            return
    module = import_module(package)
    if not hasattr(module, name):
        sys.exit(f"error: {package} has no entry point {name}")
    getattr(module, name)()


if __name__ == "__main__":
    provide_session(Storage(Path(os.environ["CDC_STORAGE"])), read_wheel_sources())
    call_entry_point(sys.argv[1], sys.argv[2], sys.argv[3:])
