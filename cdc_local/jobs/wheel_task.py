"""The process of a `python_wheel_task`: calls an entry point of a wheel."""

import sys
from importlib import import_module, metadata


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
    call_entry_point(sys.argv[1], sys.argv[2], sys.argv[3:])
