"""What code may do with a folder below `/Volumes`: each check gets a new empty one, and raises where it is
not as on Databricks.

As a program, it prints which fail in a mount namespace: `python volume_checks.py STORAGE`.
"""

import asyncio
import bz2
import csv
import glob
import gzip
import io
import json
import lzma
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
import threading
import traceback
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CHECKS: dict[str, Callable[[str], None]] = {}  # by name
NEED_A_FOLDER: set[str] = (
    set()
)  # checks of what opens files itself: a function of Python cannot stand in for a folder


def check(function: Callable[[str], None]) -> Callable[[str], None]:
    CHECKS[function.__name__] = function
    return function


def needs_a_folder(function: Callable[[str], None]) -> Callable[[str], None]:
    NEED_A_FOLDER.add(function.__name__)
    return check(function)


def write(path: str, text: str = "a,b\n1,x\n2,y\n") -> str:
    with open(path, "w") as file:
        file.write(text)
    return path


def raised(kind: type[BaseException], function: Callable, *args) -> BaseException:
    try:
        function(*args)
    except kind as error:
        return error
    raise AssertionError(f"{function} raised no {kind.__name__}")


# --- os


@check
def os_open(root):
    file = os.open(f"{root}/a", os.O_CREAT | os.O_WRONLY, 0o640)
    os.write(file, b"text")
    os.close(file)
    assert os.stat(f"{root}/a").st_size == 4 and os.stat(f"{root}/a").st_mode & 0o777 == 0o640
    file = os.open(root, os.O_RDONLY)
    assert os.listdir(file) == ["a"] and os.stat("a", dir_fd=file).st_size == 4
    os.close(file)


@check
def os_listdir(root):
    write(f"{root}/a")
    assert os.listdir(root) == ["a"] == os.listdir(Path(root)) and os.listdir(root.encode()) == [b"a"]
    assert os.listdir(f"{root}/") == os.listdir(f"/{root}") == os.listdir(f"{root}/.") == ["a"]
    assert os.path.basename(root) in os.listdir(os.path.dirname(root)) and "main" in os.listdir("/Volumes")
    assert os.listdir(path=root) == ["a"]


@check
def os_scandir(root):
    write(f"{root}/a")
    os.mkdir(f"{root}/b")
    with os.scandir(root) as entries:
        found = sorted(
            (entry.name, entry.path, entry.is_dir(), entry.is_file(), entry.is_symlink()) for entry in entries
        )
    assert found == [("a", f"{root}/a", False, True, False), ("b", f"{root}/b", True, False, False)]
    entry = next(entry for entry in os.scandir(root) if entry.name == "a")
    assert (
        os.fspath(entry) == f"{root}/a"
        and entry.stat().st_size == 12
        and open(entry).read().startswith("a,b")
    )
    assert [entry.path for entry in os.scandir(os.fsencode(f"{root}/b/.."))] != []


@check
def os_walk(root):
    os.makedirs(f"{root}/a/b")
    write(f"{root}/a/b/c")
    assert list(os.walk(root)) == [(root, ["a"], []), (f"{root}/a", ["b"], []), (f"{root}/a/b", [], ["c"])]
    assert list(os.walk(root, topdown=False))[0] == (f"{root}/a/b", [], ["c"])
    assert [folder for folder, *_ in os.fwalk(root)] == [root, f"{root}/a", f"{root}/a/b"]


@check
def os_stat(root):
    write(f"{root}/a")
    os.chmod(f"{root}/a", 0o600)
    os.utime(f"{root}/a", (1, 2))
    state = os.stat(f"{root}/a")
    assert (
        (state.st_mode & 0o777, state.st_mtime, state.st_size)
        == (0o600, 2, 12)
        == (
            os.lstat(f"{root}/a").st_mode & 0o777,
            os.lstat(f"{root}/a").st_mtime,
            os.lstat(f"{root}/a").st_size,
        )
    )
    os.chown(f"{root}/a", os.getuid(), os.getgid())
    os.lchown(f"{root}/a", os.getuid(), os.getgid())
    assert os.access(f"{root}/a", os.R_OK) and not os.access(f"{root}/b", os.F_OK)
    assert os.statvfs(root).f_bsize and os.pathconf(root, "PC_NAME_MAX") >= 255


@check
def os_errors(root):
    for function in (
        os.stat,
        os.listdir,
        os.remove,
        os.unlink,
        os.rmdir,
        os.chdir,
        os.readlink,
        os.scandir,
        open,
    ):
        error = raised(FileNotFoundError, function, f"{root}/none")
        assert error.filename == f"{root}/none" and str(error).endswith(f"'{root}/none'"), error
    error = raised(FileNotFoundError, os.rename, f"{root}/none", f"{root}/other")
    assert str(error).endswith(f"'{root}/none' -> '{root}/other'"), error
    os.mkdir(f"{root}/a")
    assert raised(FileExistsError, os.mkdir, f"{root}/a").filename == f"{root}/a"


@check
def os_mkdir(root):
    os.mkdir(f"{root}/a", 0o700)
    os.makedirs(f"{root}/b/c/d")
    os.makedirs(f"{root}/b/c/d", exist_ok=True)
    assert sorted(os.listdir(root)) == ["a", "b"] and os.path.isdir(f"{root}/b/c/d")
    os.removedirs(f"{root}/b/c/d")
    assert os.listdir(root) == ["a"]
    os.rmdir(f"{root}/a")
    assert os.listdir(root) == []


@check
def os_remove(root):
    os.remove(write(f"{root}/a"))
    os.unlink(write(f"{root}/b"))
    assert os.listdir(root) == []


@check
def os_rename(root):
    os.rename(write(f"{root}/a"), f"{root}/b")
    os.replace(f"{root}/b", Path(root, "c"))
    os.renames(f"{root}/c", f"{root}/d/e")
    assert open(f"{root}/d/e").read() == "a,b\n1,x\n2,y\n" and os.listdir(root) == ["d"]


@check
def os_link(root):
    os.link(write(f"{root}/a"), f"{root}/b")
    assert os.path.samefile(f"{root}/a", f"{root}/b") and os.stat(f"{root}/b").st_nlink == 2
    os.symlink("a", f"{root}/c")
    assert (
        os.readlink(f"{root}/c") == "a"
        and os.path.islink(f"{root}/c")
        and open(f"{root}/c").read().startswith("a,b")
    )
    os.symlink(f"{root}/a", f"{root}/d")
    assert open(f"{root}/d").read().startswith("a,b")


@check
def os_truncate(root):
    os.truncate(write(f"{root}/a"), 3)
    assert open(f"{root}/a").read() == "a,b"


@check
def os_mkfifo(root):
    os.mkfifo(f"{root}/a")
    assert Path(f"{root}/a").is_fifo()


@check
def os_xattr(root):
    if hasattr(os, "setxattr"):
        write(f"{root}/a")
        os.setxattr(f"{root}/a", "user.k", b"v")
        assert os.getxattr(f"{root}/a", "user.k") == b"v" and os.listxattr(f"{root}/a") == ["user.k"]
        os.removexattr(f"{root}/a", "user.k")


@check
def os_path(root):
    write(f"{root}/a")
    assert os.path.exists(f"{root}/a") and os.path.lexists(f"{root}/a") and os.path.isfile(f"{root}/a")
    assert os.path.isdir(root) and not os.path.islink(root) and not os.path.ismount(root)
    assert (
        os.path.getsize(f"{root}/a") == 12 and os.path.getmtime(f"{root}/a") == os.stat(f"{root}/a").st_mtime
    )
    assert os.path.realpath(f"{root}/a") == os.path.abspath(f"{root}/b/../a") == f"{root}/a"
    assert (
        not os.path.exists(f"{root}/none")
        and os.path.exists(f"{root}/../")
        and not os.path.exists("/Volumesque")
    )
    assert os.path.exists("/Volumes/../tmp")


@check
def dbfs(root):
    write(f"{root}/a")
    assert os.path.isfile(f"/dbfs{root}/a") and open(f"/dbfs{root}/a").read() == open(f"{root}/a").read()
    os.makedirs(f"/dbfs/tmp/{os.path.basename(root)}")
    assert os.path.basename(root) in os.listdir("/dbfs/tmp")


# --- open, io, pathlib, glob, shutil, tempfile


@check
def builtin_open(root):
    with open(f"{root}/a", "x", encoding="utf-8") as file:
        file.write("ä\n")
    assert file.name == f"{root}/a"
    with open(f"{root}/a", "ab", buffering=0) as file:
        file.write(b"b")
    assert io.open(file=f"{root}/a", mode="rb").read() == "ä\nb".encode()
    assert raised(FileExistsError, open, f"{root}/a", "x").filename == f"{root}/a"
    with open(f"{root}/b", "w", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write("c")
    assert os.stat(f"{root}/b").st_mode & 0o777 == 0o600
    assert io.open_code(f"{root}/b").read() == b"c"


@check
def pathlib_path(root):
    folder = Path(root)
    file = folder / "a" / "b.txt"
    file.parent.mkdir(parents=True)
    file.write_text("text")
    file.with_suffix(".bin").write_bytes(b"1")
    assert (
        file.read_text() == "text"
        and file.exists()
        and file.is_file()
        and folder.is_dir()
        and file.stat().st_size == 4
    )
    assert sorted(file.parent.iterdir()) == [file.with_suffix(".bin"), file] == sorted(folder.rglob("*.*"))
    assert list(folder.glob("*/b.txt")) == [file] and file.resolve() == file and file.samefile(file)
    assert file.rename(file.with_name("c")).replace(file) == file
    file.touch()
    file.chmod(0o600)
    assert file.owner() and raised(FileNotFoundError, Path(root, "none").read_text).filename == f"{root}/none"
    file.unlink()
    file.unlink(missing_ok=True)
    file.with_suffix(".bin").unlink()
    file.parent.rmdir()
    assert list(folder.iterdir()) == []


@check
def glob_glob(root):
    os.makedirs(f"{root}/a/b")
    write(f"{root}/a/b/c.csv")
    assert (
        glob.glob(f"{root}/*/*/*.csv")
        == glob.glob(f"{root}/**/*.csv", recursive=True)
        == [f"{root}/a/b/c.csv"]
    )
    assert list(glob.iglob(f"{root}/?")) == [f"{root}/a"] and glob.glob("a/*", root_dir=root) == ["a/b"]


@check
def shutil_copy(root):
    write(f"{root}/a")
    for copy in (shutil.copyfile, shutil.copy, shutil.copy2):
        assert (
            copy(f"{root}/a", f"{root}/b") == f"{root}/b"
            and open(f"{root}/b").read() == open(f"{root}/a").read()
        )
    with tempfile.TemporaryDirectory() as other:
        assert (
            shutil.copy(f"{root}/a", other) == f"{other}/a"
            and shutil.copy(f"{other}/a", f"{root}/c") == f"{root}/c"
        )
    shutil.copymode(f"{root}/a", f"{root}/b")
    shutil.copystat(f"{root}/a", f"{root}/b")
    os.symlink("a", f"{root}/l")
    shutil.copy2(f"{root}/l", f"{root}/m", follow_symlinks=False)
    assert (
        os.readlink(f"{root}/m") == "a"
        and os.lstat(f"{root}/m").st_mtime_ns == os.lstat(f"{root}/l").st_mtime_ns
    )
    assert shutil.disk_usage(root).total > 0


@check
def shutil_move(root):
    write(f"{root}/a")
    assert shutil.move(f"{root}/a", f"{root}/b") == f"{root}/b"
    with tempfile.TemporaryDirectory() as other:
        assert (
            shutil.move(f"{root}/b", other) == f"{other}/b" and shutil.move(f"{other}/b", root) == f"{root}/b"
        )
    os.makedirs(f"{root}/c/d")
    shutil.move(f"{root}/c", f"{root}/e")
    assert sorted(os.listdir(root)) == ["b", "e"] and os.listdir(f"{root}/e") == ["d"]


@check
def shutil_trees(root):
    os.makedirs(f"{root}/a/b")
    write(f"{root}/a/b/c")
    assert shutil.copytree(f"{root}/a", f"{root}/d") == f"{root}/d" and os.listdir(f"{root}/d/b") == ["c"]
    with tempfile.TemporaryDirectory() as other:
        shutil.copytree(f"{root}/a", f"{other}/a")
        shutil.copytree(f"{other}/a", f"{root}/e", copy_function=shutil.copy)
    shutil.rmtree(f"{root}/a")
    shutil.rmtree(f"{root}/none", ignore_errors=True)
    assert sorted(os.listdir(root)) == ["d", "e"]
    assert raised(FileNotFoundError, shutil.rmtree, f"{root}/none").filename == f"{root}/none"


@check
def shutil_archives(root):
    os.makedirs(f"{root}/a")
    write(f"{root}/a/b")
    for kind in ("zip", "gztar", "bztar", "xztar"):
        made = shutil.make_archive(f"{root}/made", kind, root, "a")
        shutil.unpack_archive(made, f"{root}/{kind}")
        assert os.listdir(f"{root}/{kind}/a") == ["b"], made


@check
def tempfile_dir(root):
    with tempfile.TemporaryDirectory(dir=root) as folder:
        write(f"{folder}/a")
        assert len(os.listdir(root)) == 1
    with tempfile.NamedTemporaryFile(dir=root) as file:
        file.write(b"1")
        assert len(os.listdir(root)) == 1
    with tempfile.TemporaryFile(dir=root) as file:
        file.write(b"1")
    assert os.listdir(root) == []
    file, path = tempfile.mkstemp(dir=root)
    os.close(file)
    os.remove(path)
    os.rmdir(tempfile.mkdtemp(dir=root))
    assert os.listdir(root) == []


# --- common readers of Python


@check
def csv_json(root):
    with open(write(f"{root}/a.csv"), newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": "1", "b": "x"}, {"a": "2", "b": "y"}]
    assert json.load(open(write(f"{root}/a.json", '{"a": 1}'))) == {"a": 1}


@check
def compressed(root):
    for module in (gzip, bz2, lzma):
        with module.open(f"{root}/{module.__name__}", "wt") as file:
            file.write("text")
        assert module.open(f"{root}/{module.__name__}", "rt").read() == "text"


@check
def archives(root):
    write(f"{root}/a")
    with zipfile.ZipFile(f"{root}/a.zip", "w") as archive:
        archive.write(f"{root}/a", "a")
        archive.writestr("b", "text")
    with zipfile.ZipFile(f"{root}/a.zip") as archive:
        archive.extractall(f"{root}/out")
    with tarfile.open(f"{root}/a.tar.gz", "w:gz") as archive:
        archive.add(f"{root}/out", "out")
    with tarfile.open(f"{root}/a.tar.gz") as archive:
        archive.extractall(f"{root}/more", **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    assert sorted(os.listdir(f"{root}/more/out")) == ["a", "b"] and zipfile.is_zipfile(f"{root}/a.zip")
    assert zipfile.Path(f"{root}/a.zip", "b").read_text() == "text" and tarfile.is_tarfile(f"{root}/a.tar.gz")


@check
def sqlite(root):
    with sqlite3.connect(f"{root}/a.db") as database:
        database.execute("CREATE TABLE t (a)")
        database.execute("INSERT INTO t VALUES (1)")
    database.close()
    assert sqlite3.connect(database=f"{root}/a.db").execute("SELECT a FROM t").fetchall() == [(1,)]


@check
def pandas_readers(root):
    import pandas

    frame = pandas.read_csv(write(f"{root}/a.csv"), engine="c")
    assert frame.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    frame.to_csv(f"{root}/b.csv", index=False)
    frame.to_json(f"{root}/b.json", orient="records")
    assert open(f"{root}/b.csv").read() == open(f"{root}/a.csv").read() and pandas.read_json(
        f"{root}/b.json"
    ).equals(frame)


# --- what opens files itself


@needs_a_folder
def pyarrow_readers(root):
    import pyarrow.csv
    import pyarrow.dataset
    import pyarrow.fs
    import pyarrow.parquet

    table = pyarrow.csv.read_csv(write(f"{root}/a.csv"))
    pyarrow.csv.write_csv(table, f"{root}/b.csv")
    pyarrow.parquet.write_table(table, f"{root}/b.parquet")
    assert pyarrow.parquet.read_table(f"{root}/b.parquet").equals(table)
    assert pyarrow.dataset.dataset(f"{root}/b.parquet").to_table().equals(table)
    local = pyarrow.fs.LocalFileSystem()
    assert len(local.get_file_info(pyarrow.fs.FileSelector(root))) == 3
    local.copy_file(f"{root}/a.csv", f"{root}/c.csv")
    assert local.open_input_file(f"{root}/c.csv").read() == b"a,b\n1,x\n2,y\n"


@needs_a_folder
def pandas_parquet(root):
    import pandas

    frame = pandas.DataFrame({"a": [1, 2]})
    frame.to_parquet(f"{root}/b.parquet")
    assert pandas.read_parquet(root).equals(frame) and pandas.read_parquet(f"{root}/b.parquet").equals(frame)


@needs_a_folder
def duckdb_readers(root):
    import duckdb

    with duckdb.connect() as database:
        assert database.read_csv(write(f"{root}/a.csv")).fetchall() == [(1, "x"), (2, "y")]
        database.sql(f"COPY (SELECT 1 AS a) TO '{root}/b.parquet'")
        assert database.sql(f"SELECT * FROM '{root}/*.parquet'").fetchall() == [(1,)]


@needs_a_folder
def delta_readers(root):
    import deltalake
    import pyarrow

    deltalake.write_deltalake(f"{root}/t", pyarrow.table({"a": [1]}))
    assert deltalake.DeltaTable(f"{root}/t").version() == 0


@needs_a_folder
def file_io(root):
    assert io.FileIO(write(f"{root}/a")).read() == b"a,b\n1,x\n2,y\n"


# --- the working folder, threads and processes


@check
def working_folder(root):
    before = os.getcwd()
    try:
        os.chdir(root)
        write("a")
        assert os.getcwd() == str(Path.cwd()) == root and os.getcwdb() == root.encode()
        assert (
            os.path.abspath("a") == f"{root}/a"
            and Path("a").resolve() == Path(root, "a")
            and os.listdir() == ["a"]
        )
        os.mkdir("b")
        os.chdir("b")
        assert os.getcwd() == f"{root}/b" and os.listdir("..") != []
    finally:
        os.chdir(before)
    assert os.getcwd() == before


@check
def threads(root):
    write(f"{root}/a")
    found = []
    threads = [threading.Thread(target=lambda: found.append(os.path.exists(f"{root}/a"))) for _ in range(3)]
    threads.append(threading.Timer(0, lambda: found.append(os.listdir(root) == ["a"])))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 4

    def start_another():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(os.listdir, root).result()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(os.listdir, [root] * 3)) == [["a"]] * 3 and pool.submit(
            start_another
        ).result() == ["a"]
    assert POOL.submit(os.listdir, root).result() == ["a"]  # its thread is older than this code


@check
def tasks(root):
    async def listed():
        return [
            await asyncio.to_thread(os.listdir, root),
            await asyncio.get_running_loop().run_in_executor(None, os.listdir, root),
        ]

    write(f"{root}/a")
    assert asyncio.run(listed()) == [["a"], ["a"]]


POOL = ThreadPoolExecutor(1)  # a test lets its thread start before the code that is checked


@check
def subprocesses(root):
    write(f"{root}/a", "text")
    assert subprocess.run(["cat", f"{root}/a"], capture_output=True, check=True).stdout == b"text"
    assert (
        subprocess.run(f"cat {root}/a", shell=True, capture_output=True, check=True, text=True).stdout
        == "text"
    )
    assert (
        subprocess.check_output(["cat", "a"], cwd=root) == b"text"
        and os.popen(f"cat {root}/a").read() == "text"
    )
    assert (
        os.system(f"test -f {root}/a") == 0 and os.waitstatus_to_exitcode(os.system(f"test -f {root}/b")) == 1
    )
    assert raised(FileNotFoundError, subprocess.run, [f"{root}/none"]).filename == f"{root}/none"
    assert (
        subprocess.run(["sh", "-c", f"cat <&0 > {root}/b"], input=b"in", check=True)
        and open(f"{root}/b").read() == "in"
    )


# --- run them


def in_this_thread(function: Callable, *args) -> None:
    function(*args)


def in_a_thread(function: Callable, *args) -> None:
    raised = []

    def run():
        try:
            function(*args)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def in_an_executor(function: Callable, *args) -> None:
    with ThreadPoolExecutor(2) as pool:
        pool.submit(function, *args).result()


PLACES = {run.__name__: run for run in (in_this_thread, in_a_thread, in_an_executor)}


def failures(root: str) -> dict[str, str]:
    """Run all checks in all places, each in a new folder below `root`."""
    failed = {}
    for place, run in PLACES.items():
        for name, function in CHECKS.items():
            folder = f"{root}/{place}-{name}"
            os.makedirs(folder)
            try:
                run(function, folder)
            except Exception:
                failed[f"{name} {place}"] = traceback.format_exc()
    return failed


if __name__ == "__main__":
    from cdc_local import volumes
    from cdc_local.storage import Storage

    volumes.mount(Storage(Path(sys.argv[1])))
    print(json.dumps(failures("/Volumes/main/default/raw")))
