"What the deployed wheel holds, says in its version and imports alone; what the released wheels hold."

import ast
import importlib.util
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DEPLOYED = [
    "__init__",
    "bitemporal",
    "bronze",
    "checks",
    "customers",
    "envelopes/__init__",
    "envelopes/airbyte",
    "envelopes/change_feed",
    "envelopes/changes",
    "envelopes/debezium",
    "envelopes/dms",
    "envelopes/fivetran",
    "envelopes/goldengate",
    "envelopes/maxwell",
    "envelopes/mock_feeds",
    "envelopes/snapshot_files",
    "envelopes/snowflake",
    "envelopes/sqlserver",
    "envelopes/wal2json",
    "events",
    "feed",
    "gold",
    "job",
    "pipeline",
    "quality",
    "scd1",
    "scd2",
    "settings",
    "silver",
    "snapshots",
    "spec",
]
WITHOUT_SPARK = ["spec", "customers", "settings", "feed", "pipeline", "job"]
WITH_SPARK = ["scd1", "scd2", "bronze", "quality", "silver", "gold", "checks"]
BROUGHT = {"pyspark", "faker"}  # by Databricks, and by the job's environment
CLEAN = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "UV_", "PYTHON"))}


def wheel_tool(monkeypatch=None):
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        spec = importlib.util.spec_from_file_location("wheel_tool", ROOT / "tools/wheel.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module
    finally:
        sys.path.remove(str(ROOT / "tools"))


TOOL = wheel_tool()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return TOOL.build(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def released(tmp_path_factory):
    "Package -> the wheel that a release has of it"
    folder = tmp_path_factory.mktemp("released")
    lay_outs = {"cdc_utils": TOOL.lay_out_whole, "cdc_local": TOOL.lay_out_local}
    return {package: TOOL.build(folder, lay_out) for package, lay_out in lay_outs.items()}


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    "Python of an environment that holds the deployed wheel and nothing else"
    folder = tmp_path_factory.mktemp("empty") / "venv"
    venv.create(folder, with_pip=True)
    python = folder / "bin/python"
    install = [
        python,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--disable-pip-version-check",
        wheel,
    ]
    subprocess.run(install, check=True, env=CLEAN, capture_output=True)
    return python


def run(python, code, folder):
    return subprocess.run([python, "-c", code], cwd=folder, env=CLEAN, capture_output=True, text=True)


def modules(wheel):
    return sorted(name for name in zipfile.ZipFile(wheel).namelist() if name.endswith(".py"))


def test_holds_what_is_deployed_and_nothing_else(wheel):
    assert modules(wheel) == [f"cdc_utils/{name}.py" for name in DEPLOYED]
    assert [
        name
        for name in zipfile.ZipFile(wheel).namelist()
        if not name.endswith(".py") and ".dist-info/" not in name
    ] == []


@pytest.mark.parametrize("name", DEPLOYED)
def test_a_deployed_module_imports_what_is_deployed(name):
    "Only `checks` starts a session, inside a function, where there is none; on Databricks there always is"
    allowed = BROUGHT | set(sys.stdlib_module_names)
    for node in ast.walk(ast.parse((ROOT / f"cdc_utils/{name}.py").read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom):
            imported = [node.module] if node.module else [alias.name for alias in node.names]
            ours = node.level > 0 or imported[0].startswith("cdc_utils.")
            names = {part.removeprefix("cdc_utils.") for part in imported}
            if ours:
                room = name.split("/")[:-1] if node.level == 1 else []
                names = {"/".join([*room, *part.split(".")]) for part in names}
                assert names <= set(DEPLOYED), f"{name}, line {node.lineno}"
            elif (name, node.module) != ("checks", "cdc_local.engines.session"):
                assert {part.split(".")[0] for part in names} <= allowed, f"{name}, line {node.lineno}"


def test_the_runner_changes_no_deployed_wheel(tmp_path):
    "A change of what is deployed gives another name; one of the runner, of its tests, of a README does not"
    package = tmp_path / "cdc_utils"
    for path in (ROOT / "cdc_utils").rglob("*.py"):
        copy = package / path.relative_to(ROOT / "cdc_utils")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(path.read_text())
    before = TOOL.deployed_name(package)
    assert before == TOOL.deployed_name()
    for name in ("pictures.py", "results.py", "remote.py", "_modidx.py"):
        (package / name).write_text("changed = True\n")
    assert TOOL.deployed_name(package) == before
    (package / "gold.py").write_text((package / "gold.py").read_text() + "# changed\n")
    assert TOOL.deployed_name(package) != before


def test_the_version_names_the_content(wheel):
    assert wheel.name == TOOL.deployed_name()
    version = wheel.name.split("-")[1]
    assert zipfile.ZipFile(wheel).read("cdc_utils/__init__.py").decode() == f'__version__ = "{version}"\n'


def test_the_bundle_names_it():
    assert f"default: {TOOL.deployed_name()}\n" in (ROOT / "bundles/app/wheel.yml").read_text(), (
        "run `make export`"
    )


def test_same_sources_same_bytes(wheel, tmp_path):
    assert TOOL.build(tmp_path).read_bytes() == wheel.read_bytes()


def metadata(wheel, name):
    "A file of a wheel's `.dist-info`; nothing where it has none"
    archive = zipfile.ZipFile(wheel)
    found = [path for path in archive.namelist() if path.endswith(f".dist-info/{name}")]
    return archive.read(found[0]).decode() if found else ""


@pytest.mark.parametrize("package", ["cdc_utils", "cdc_local"])
def test_a_released_wheel_holds_every_module_of_its_package_and_no_other(package, released):
    wheel = released[package]
    assert modules(wheel) == sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(f"{package}/**/*.py"))
    folders = {str(Path(name).parent) for name in modules(wheel)}
    assert all(f"{folder}/__init__.py" in modules(wheel) for folder in folders), "a folder has no __init__.py"


def test_the_command_comes_with_cdc_local_which_the_extra_local_brings(released):
    assert "cdc = cdc_local.cli.main:main" in metadata(released["cdc_local"], "entry_points.txt")
    assert "cdc =" not in metadata(released["cdc_utils"], "entry_points.txt")
    version = TOOL.package_version(ROOT)
    assert f'Requires-Dist: cdc-local=={version}; extra == "local"' in metadata(
        released["cdc_utils"], "METADATA"
    )
    needs = metadata(released["cdc_local"], "METADATA")
    assert f"Requires-Dist: cdc-utils=={version}\n" in needs and "Requires-Dist: pyspark==4.2.*\n" in needs


def test_the_pytest_plugin_comes_with_cdc_local(released):
    line = "cdc_unit_tests = cdc_local.unit_tests.plugin"
    assert line in metadata(released["cdc_local"], "entry_points.txt")
    assert line not in metadata(released["cdc_utils"], "entry_points.txt")


@pytest.mark.parametrize("module", ["", *(f".{name}" for name in WITHOUT_SPARK)])
def test_imports_without_spark(python, module, tmp_path):
    done = run(python, f"import cdc_utils{module}", tmp_path)
    assert done.returncode == 0, done.stderr


def test_a_spec_works_without_spark(python, tmp_path):
    code = (
        "from cdc_utils.spec import CdcSpec\n"
        "print(CdcSpec('t', 's', keys=['id'], sequence_by='at').flow()['keys'])"
    )
    assert run(python, code, tmp_path).stdout == "['id']\n"


@pytest.mark.parametrize("module", WITH_SPARK)
def test_spark_modules_say_what_to_install(python, module, tmp_path):
    done = run(python, f"import cdc_utils.{module}", tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode and last.endswith("Databricks brings it; elsewhere, pip install pyspark"), last


def test_the_environment_is_this_python(python):
    "What the other tests say, they say of the Python that runs them"
    assert subprocess.check_output(
        [python, "-c", "import sys; print(sys.version_info[:2])"], text=True
    ).strip() == str(sys.version_info[:2])
