"`dbutils` over the files of a storage, and its widgets."

import os
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.errors import PipelineError
from cdc_local.source.dbutils import Dbutils
from cdc_local.storage import localize

RAW = "/Volumes/main/default/raw_data"


@pytest.fixture
def dbutils(storage):
    found = Dbutils(storage, {"catalog": "main"})
    found.fs.put(f"{RAW}/day/1.json", '{"id": 1}')
    return found


def test_folders_are_listed_by_name(dbutils):
    assert dbutils.fs.mkdirs(f"{RAW}/empty") is True
    entries = dbutils.fs.ls(RAW)
    assert [(entry.path, entry.name, entry.isDir()) for entry in entries] == [
        (f"dbfs:{RAW}/day/", "day/", True),
        (f"dbfs:{RAW}/empty/", "empty/", True),
    ]


def test_a_folder_is_copied_only_with_recurse(dbutils):
    dbutils.fs.cp(f"{RAW}/day", f"{RAW}/copy", recurse=True)
    assert [entry.name for entry in dbutils.fs.ls(f"{RAW}/copy")] == ["1.json"]
    with pytest.raises(PipelineError, match="is a folder; pass recurse=True"):
        dbutils.fs.cp(f"{RAW}/day", f"{RAW}/other")


def test_a_file_that_is_there_is_kept_without_overwrite(dbutils):
    with pytest.raises(PipelineError, match="1.json exists; pass overwrite=True"):
        dbutils.fs.put(f"{RAW}/day/1.json", "")
    assert dbutils.fs.head(f"{RAW}/day/1.json") == '{"id": 1}'


def test_what_is_not_there_is_named_as_the_pipeline_wrote_it(dbutils):
    with pytest.raises(PipelineError, match="no such file or folder: /Volumes/nowhere"):
        dbutils.fs.ls("/Volumes/nowhere")
    with pytest.raises(
        PipelineError, match=r"get\('shcema'\): no such parameter; give it a value: --conf shcema=…"
    ):
        dbutils.widgets.get("shcema")
    with pytest.raises(PipelineError, match="dbutils.secrets is not supported by the local runner"):
        _ = dbutils.secrets


def test_a_widget_has_the_configured_value_or_its_default(dbutils):
    dbutils.widgets.text("schema", "default")
    assert dbutils.widgets.get("catalog") == "main"
    assert dbutils.widgets.getAll() == {"catalog": "main", "schema": "default"}


def test_files(storage):
    dbutils = Dbutils(storage)
    file = Path(localize(storage, "/Volumes/a/b/c/one.txt"))
    dbutils.fs.put("/Volumes/a/b/c/one.txt", "first")
    os.utime(file, (1000, 1000))
    (found,) = dbutils.fs.ls("/Volumes/a/b/c/")
    assert found == ("dbfs:/Volumes/a/b/c/one.txt", "one.txt", 5, 1_000_000)
    assert found.isFile() and not found.isDir()
    dbutils.fs.put("/Volumes/a/e/_SUCCESS", "")
    assert [(empty.size, empty.isFile()) for empty in dbutils.fs.ls("/Volumes/a/e")] == [(0, True)]
    assert dbutils.fs.ls("dbfs:/Volumes/a/b/c/one.txt") == [found] == dbutils.fs.ls("dbfs:/Volumes/a/b/c")
    (folder,) = dbutils.fs.ls("/Volumes/a/b")
    assert (folder.size, folder.isFile()) == (0, False)
    assert dbutils.fs.head("file:" + str(file), 3) == "fir"
    assert dbutils.fs.cp("/Volumes/a/b/c/one.txt", "/Volumes/a/d/two.txt") and file.exists()
    assert dbutils.fs.put("/Volumes/a/d/two.txt", "second", overwrite=True)
    assert dbutils.fs.head("/Volumes/a/d/two.txt") == "second"


def test_widgets():
    given = {"catalog": "main"}
    widgets = Dbutils(None, given).widgets
    widgets.text("catalog", "other")
    widgets.dropdown("size", "small", ["small", "large"])
    widgets.getAll()["size"] = "none"
    assert widgets.getAll() == {"catalog": "main", "size": "small"} and given == {"catalog": "main"}
    assert not hasattr(Dbutils(None), "__wrapped__")
