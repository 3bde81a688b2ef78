"settings.ini is generated from pyproject.toml, and README.md from the index notebook"

import configparser
import importlib.util
import tomllib
from pathlib import Path

from nbdev.config import get_config

ROOT = Path(__file__).parents[1]


def tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_settings_ini_is_fresh():
    assert (ROOT / "settings.ini").read_text() == tool("settings_ini").settings_ini(), (
        "settings.ini is stale: run `make export`"
    )


def test_settings_ini_says_what_nbdev_2_needs():
    import cdc_utils

    parser = configparser.ConfigParser()
    parser.read(ROOT / "settings.ini")
    ini, meta = parser["DEFAULT"], tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert ini["version"] == cdc_utils.__version__
    assert f">={ini['min_python']}" == meta["project"]["requires-python"]
    assert ini["tst_flags"] == meta["tool"]["nbdev"]["tst_flags"]
    for key in (
        "lib_name",
        "lib_path",
        "nbs_path",
        "doc_path",
        "user",
        "branch",
        "author",
        "author_email",
        "description",
    ):
        assert ini[key], key


def test_a_changed_project_changes_settings_ini(tmp_path):
    (tmp_path / "cdc_utils").mkdir()
    (tmp_path / "cdc_utils/__init__.py").write_text('__version__ = "9.8.7"\n')
    (tmp_path / "pyproject.toml").write_text(
        (ROOT / "pyproject.toml").read_text().replace(">=3.11", ">=3.99")
    )
    text = tool("settings_ini").settings_ini(tmp_path)
    assert "version = 9.8.7\n" in text and "min_python = 3.99\n" in text


def test_readme_is_fresh():
    assert (ROOT / "README.md").read_text() == tool("readme").readme(get_config(ROOT)), (
        "README.md is stale: run `make export`"
    )


def test_the_lock_names_no_host_and_hashes_everything():
    for name in ("requirements.lock", "requirements-run.lock", "tools/uv.lock"):
        text = (ROOT / name).read_text()
        assert "://" not in text and "index-url" not in text and "find-links" not in text, name
        pinned = [line for line in text.splitlines() if "==" in line and not line.startswith(" ")]
        assert pinned and all(line.endswith("\\") for line in pinned), f"{name}: a requirement without a hash"
