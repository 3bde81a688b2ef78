"Set-up: which target installs what, that the two locks agree, and that a missing Java stops nothing."

import importlib.util
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture
def tool(monkeypatch, tmp_path):
    "tools/setup.py, which believes that nothing was done yet"
    spec = importlib.util.spec_from_file_location("set_up_tool", ROOT / "tools/setup.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "set_up_tool", module)  # its dataclass looks there
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "STAMPS", tmp_path / "setup.json")
    return module


def record(tool, *steps):
    "Leave the digests of steps that were done"
    done = {step.name: step.made_from for step in (*tool.BEFORE, *steps)}
    tool.STAMPS.write_text(json.dumps(done))


def without_java(monkeypatch, folder):
    "Hide Java and Maven"
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("JAVA_HOME", raising=False)


def test_what_cdc_runs_on_is_a_part_of_all(tool):
    assert tool.to_do(["--run"]) == [*tool.BEFORE, tool.RUN, tool.PROJECT]
    assert tool.to_do([]) == [*tool.BEFORE, tool.ALL, tool.PROJECT]
    record(tool, tool.RUN, tool.PROJECT)
    assert (tool.to_do(["--run"]), tool.to_do([])) == ([], [tool.ALL])
    record(tool, tool.ALL, tool.PROJECT)
    assert (tool.to_do(["--run"]), tool.to_do([])) == ([], [])


def test_another_lock_installs_again(tool):
    tool.STAMPS.write_text(json.dumps({tool.BEFORE[0].name: tool.BEFORE[0].made_from, "packages": "older"}))
    assert tool.RUN in tool.to_do(["--run"]) and tool.ALL in tool.to_do([])


def test_a_missing_java_is_told_and_stops_nothing(tool, monkeypatch, tmp_path, capsys):
    record(tool, tool.ALL, tool.PROJECT)
    without_java(monkeypatch, tmp_path)
    monkeypatch.setattr(tool, "prepare_spark", lambda: pytest.fail("Spark is prepared"))
    assert tool.to_do(["--spark"]) == [tool.SPARK]
    tool.set_up(tool.to_do(["--spark"]))
    assert "set-up: without Spark: Spark needs Java 17 or newer, and none is on" in capsys.readouterr().out
    assert tool.to_do(["--spark"]) == [tool.SPARK]  # it is asked for again where there is a Java


@pytest.mark.parametrize(
    "target, command",
    [
        ("demo", "tools/setup.py --run"),
        ("lab", "tools/setup.py"),
        ("docs", "tools/setup.py"),
        ("test", "tools/setup.py --spark"),
    ],
)
def test_a_target_sets_up_what_it_needs(target, command):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.findall(r"tools/setup\.py.*", done.stdout) == [command]


def pins(lock):
    "Package -> its version, marker and hashes, as a lock has them"
    text = re.sub(r"\s+#.*", "", (ROOT / lock).read_text()).replace("\\\n", " ")
    return {line.partition("==")[0]: " ".join(line.split()) for line in text.splitlines() if "==" in line}


def test_the_small_lock_pins_what_the_large_one_pins():
    small, large = pins("requirements-run.lock"), pins("requirements.lock")
    for package, pin in small.items():
        version, *hashes = re.findall(r"==\S+|sha256:\w+", pin)
        assert [version, *hashes] == re.findall(r"==\S+|sha256:\w+", large[package]), package


def test_the_small_lock_holds_what_cdc_runs_on_and_no_tools_of_its_developers():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    project, groups = settings["project"], settings["dependency-groups"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["local"], *groups["wheel"]]
    small = pins("requirements-run.lock")
    assert {canonicalize_name(Requirement(each).name) for each in wanted} <= set(small)
    assert not {"jupyterlab", "nbdev", "pytest", "sphinx", "ruff", "mypy", "selenium"} & set(small)
