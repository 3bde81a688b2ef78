"What a source file may import from."

import importlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.update.request import UpdateRequest
from cdc_local.update.source_environment import import_path, temporary_modules


def test_import_path_is_the_root_then_the_sources(tmp_path):
    for name in ("etl/a.py", "etl/deep/b.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    asked = UpdateRequest((str(tmp_path / "etl"),), tmp_path)
    assert import_path(asked) == [str(tmp_path), str(tmp_path / "etl"), str(tmp_path / "etl/deep")]
    assert import_path(replace(asked, root_path=str(tmp_path / "other")))[0] == str(tmp_path / "other")


def test_modules_and_folders_are_there_for_a_while(tmp_path):
    ours, path = SimpleNamespace(name="ours"), list(sys.path)
    with temporary_modules({"dlt": ours}, [str(tmp_path)]):
        assert importlib.import_module("dlt") is ours
        assert sys.path == [str(tmp_path), *path]
    assert "dlt" not in sys.modules and sys.path == path
