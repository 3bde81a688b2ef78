"`dbutils` over the files of a storage, and its widgets."

import os
from pathlib import Path

import pytest

pytest.importorskip("pyspark")

from cdc_local.source.dbutils import Dbutils
from cdc_local.storage import localize


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
