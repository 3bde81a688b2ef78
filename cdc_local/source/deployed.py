"""What of `cdc_utils` is deployed: its modules, and the wheel that has them.

It imports nothing of this project: `tools/wheel.py` runs it too, where nothing is installed."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

PACKAGE = "cdc_utils"
NOT_DEPLOYED = ("layout", "pictures", "results", "remote", "_modidx")  # no pipeline and no job imports these
FOLDER = Path(__file__).resolve().parents[2] / PACKAGE  # In a clone and where it is installed
EPOCH = "1577836800"  # The time that every file in a wheel gets
PYPROJECT = """[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "cdc-utils"
version = "{version}"
description = "Change data capture for Databricks and Spark: what its pipelines and jobs import"
requires-python = ">=3.11"
license = "Apache-2.0"

[tool.setuptools.packages.find]
include = ["cdc_utils*"]
"""


def is_deployed_module(
    module: str,  # Full name of a module, as `cdc_utils.gold`
) -> bool:  # Whether a wheel has to bring it
    """Tell a module of the package that a pipeline or a job imports."""
    package, _, rest = module.partition(".")
    return package == PACKAGE and bool(rest) and rest.split(".")[0] not in NOT_DEPLOYED


def _package_version(
    package: Path,  # Folder of the package
) -> str:
    """Read the package's own version."""
    found = re.search(r'__version__ = "([^"]+)"', (package / "__init__.py").read_text(encoding="utf-8"))
    assert found, f"{package}/__init__.py has no version"
    return found[1]


def deployed_files(
    package: Path = FOLDER,  # Folder of the package
) -> dict[str, str]:  # Path in the package -> text
    """Read every module that is deployed."""
    paths = sorted(
        path
        for path in package.rglob("*.py")
        if path.relative_to(package).parts[0].removesuffix(".py") not in NOT_DEPLOYED
        and "__pycache__" not in path.parts
    )
    return {str(path.relative_to(package)): path.read_text(encoding="utf-8") for path in paths}


def _deployed_version(
    package: Path,  # Folder of the package
) -> str:  # The package's version, and a hash of what is deployed
    """Name a version that changes with the content."""
    files = deployed_files(package).items()
    content = "".join(f"{name}\n{len(text)}\n{text}" for name, text in files) + PYPROJECT
    return f"{_package_version(package)}+{sha256(content.encode()).hexdigest()[:12]}"


def deployed_name(
    package: Path = FOLDER,  # Folder of the package
) -> str:  # File name of the wheel
    """Name the wheel."""
    return f"cdc_utils-{_deployed_version(package)}-py3-none-any.whl"


def lay_out_deployed(
    work: str,  # An empty folder
) -> None:
    """Make a tree that holds what is deployed, and states its version."""
    own, version = _package_version(FOLDER), _deployed_version(FOLDER)
    Path(work, "pyproject.toml").write_text(PYPROJECT.format(version=version))
    for name, text in deployed_files().items():
        path = Path(work, PACKAGE, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        stated = text.replace(f'"{own}"', f'"{version}"') if name == "__init__.py" else text
        path.write_text(stated, encoding="utf-8")


def build_wheel(
    folder: str | Path,  # Where the wheel appears
    lay_out: Callable[[str], object] = lay_out_deployed,  # Makes the tree that it is built from
) -> Path:  # The wheel
    """Build a wheel, offline; ends the program with what the builder printed where that fails."""
    folder = Path(folder).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as work:
        lay_out(work)
        out = Path(work, "out")
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), work]
        done = subprocess.run(
            command, env={**os.environ, "SOURCE_DATE_EPOCH": EPOCH}, capture_output=True, text=True
        )
        if done.returncode:
            sys.exit(done.stdout + done.stderr)
        made = next(out.glob("*.whl"))
        landing = folder / f".{made.name}.tmp"
        shutil.copy2(made, landing)
        return landing.replace(folder / made.name)
