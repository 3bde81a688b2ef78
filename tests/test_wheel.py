"The wheel holds every sub-package, and imports in an environment that has nothing else"
import importlib.util
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITHOUT_SPARK = ["spec", "customers", "settings", "feed", "pipeline"]
WITH_SPARK = ["scd1", "scd2", "bronze", "quality", "silver", "gold"]
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON"))}


def build(folder):
    spec = importlib.util.spec_from_file_location("wheel_tool", ROOT / "tools/wheel.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.build(folder)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory): return build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    "Python of an environment that holds the wheel and nothing else"
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", wheel]
    subprocess.run(install, check=True, env=CLEAN, capture_output=True)
    return python


def run(python, code, folder):
    return subprocess.run([python, "-c", code], cwd=folder, env=CLEAN, capture_output=True, text=True)


def test_holds_every_module(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py")}
    assert names == {str(path.relative_to(ROOT)) for path in ROOT.glob("cdc_utils/**/*.py")}
    folders = {str(Path(name).parent) for name in names}
    assert {"cdc_utils", "cdc_utils/local"} <= folders
    assert all(f"{folder}/__init__.py" in names for folder in folders), "a sub-package without __init__.py is left out: run `make export`"


def test_holds_nothing_else(wheel):
    others = [name for name in zipfile.ZipFile(wheel).namelist() if not name.endswith(".py") and ".dist-info/" not in name]
    assert others == []


def test_same_sources_same_bytes(wheel, tmp_path):
    assert build(tmp_path).read_bytes() == wheel.read_bytes()


def test_the_declared_command_is_in_the_wheel(wheel):
    archive = zipfile.ZipFile(wheel)
    entry = next(name for name in archive.namelist() if name.endswith("entry_points.txt"))
    assert "cdc = cdc_utils.cli:main" in archive.read(entry).decode()
    assert "cdc_utils/cli.py" in archive.namelist()


@pytest.mark.parametrize("module", ["", *(f".{name}" for name in WITHOUT_SPARK)])
def test_imports_without_spark(python, module, tmp_path):
    done = run(python, f"import cdc_utils{module}", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_spec_works_without_spark(python, tmp_path):
    code = "from cdc_utils.spec import CdcSpec; print(CdcSpec('t', 's', keys=['id'], sequence_by='at').flow()['keys'])"
    assert run(python, code, tmp_path).stdout == "['id']\n"


@pytest.mark.parametrize("module", WITH_SPARK)
def test_spark_modules_say_what_to_install(python, module, tmp_path):
    done = run(python, f"import cdc_utils.{module}", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and "pyspark" in last and "cdc-utils[local]" in last, last


def test_the_environment_is_this_python(python):
    "What the other tests say, they say of the Python that runs them"
    assert subprocess.check_output([python, "-c", "import sys; print(sys.version_info[:2])"], text=True).strip() == str(sys.version_info[:2])
