"`make check` itself: stale files, unclean notebooks and outputs that differ are caught, with what to do"

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import psutil
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture
def check(monkeypatch, tmp_path):
    "tools/check.py, on a folder of its own"
    spec = importlib.util.spec_from_file_location("check", ROOT / "tools/check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "ROOT", tmp_path)
    return module


@pytest.fixture
def chapter(tmp_path):
    "A project of one notebook, saved and clean"
    for name in (
        "pyproject.toml",
        "conftest.py",
        "tools/check.py",
        "tools/shared_jvm.py",
        "tools/ready_kernels.py",
        "nbs/nbval_sanitize.cfg",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    path = tmp_path / "nbs/sum.ipynb"
    cell = nbformat.v4.new_code_cell(
        "1 + 1",
        outputs=[nbformat.v4.new_output("execute_result", {"text/plain": ["2"]}, execution_count=None)],
        id="a",
    )
    nbformat.write(
        nbformat.v4.new_notebook(
            cells=[cell],
            metadata={"kernelspec": {"display_name": "python3", "language": "python", "name": "python3"}},
        ),
        path,
    )
    return path


def write_twice(chapter, code):
    "Let the project have two notebooks of the same cell"
    notebook = nbformat.read(chapter, 4)
    notebook.cells = [nbformat.v4.new_code_cell(code, id="a")]
    for name in ("sum.ipynb", "another.ipynb"):
        nbformat.write(notebook, chapter.with_name(name))


def compared(chapter, *options, environ=None):
    "Compare the project's notebooks with what they saved"
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--nbval", *options, "nbs"],
        cwd=chapter.parents[1],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )


def python(code):
    return [sys.executable, "-c", code]


def test_a_stale_file_is_caught(check, tmp_path, capsys):
    (tmp_path / "made.txt").write_text("old")
    assert not check.unchanged(
        ["*.txt"], [python("open('made.txt', 'w').write('new')")], "was stale: commit it"
    )
    assert "made.txt: was stale: commit it" in capsys.readouterr().out
    assert check.unchanged(["*.txt"], [python("open('made.txt', 'w').write('new')")], "was stale: commit it")
    assert not check.unchanged(["*.txt"], [python("open('another.txt', 'w')")], "was stale: commit it")
    assert not check.unchanged(["*.txt"], [python("raise SystemExit(1)")], "was stale: commit it")


def test_what_is_named_runs_and_nothing_else(check, tmp_path, monkeypatch):
    for name in ("nbs/sum.ipynb", "nbs/deep/a.ipynb", "tests/test_sum.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    ran = []
    monkeypatch.setattr(check, "run", lambda argv, closing=None: ran.append(argv) or True)
    monkeypatch.chdir(tmp_path)
    assert check.main("test", "nbs/sum.ipynb", "tests/test_sum.py::test_a", "nbs/deep") == 0
    assert [(argv[-2:], "--nbval" in argv) for argv in ran] == [
        (["nbs/sum.ipynb", "nbs/deep"], True),
        ([f"--junitxml={check.REPORTS}/tests.xml", "tests/test_sum.py::test_a"], False),
    ]
    assert check.main("test") == 0 and [argv[-1] for argv in ran[3:]] == ["nbs", "tests"]
    for wrong in ("nbs/none.ipynb", "README.md", "../nbs", "/"):
        with pytest.raises(SystemExit, match=f"^{wrong} is no notebook"):
            check.main("test", "nbs/sum.ipynb", wrong)
    assert len(ran) == 5


def test_what_differs_runs_and_what_imports_or_names_it(check, tmp_path, monkeypatch, capsys):
    def git(*words):
        subprocess.run(
            ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )

    def write(name, text):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)

    git("init", "-q")
    write("nbs/a.ipynb", "from cdc_utils.scd1 import merged")
    write("nbs/local/b.ipynb", r"from cdc_utils import scd2\n" + "from cdc_utils.scd1_old import x")
    write("tests/test_c.py", "from cdc_utils import spec, scd1")
    write("tests/test_d.py", "open('transformations/é.py')")
    write("tests/other.py", "import cdc_utils.scd1")
    for name in ("cdc_utils/scd1.py", "cdc_utils/local/scd1.py", "transformations/é.py", "README.md"):
        write(name, "")
    git("add", "-A")
    git("commit", "-qm", "first")

    def found(*changed, commit="HEAD"):
        for name in changed:
            write(name, (tmp_path / name).read_text() + "# more" if (tmp_path / name).exists() else "")
        return check.since(commit)

    with pytest.raises(SystemExit, match="^--since HEAD: no notebook and no test differs"):
        found()
    with pytest.raises(SystemExit, match="no notebook and no test differs"):
        found("README.md", "cdc_utils/local/scd1.py")
    assert (
        "no notebook and no test imports or names README.md, cdc_utils/local/scd1.py\n"
        in capsys.readouterr().out
    )
    assert found("cdc_utils/scd1.py") == ["nbs/a.ipynb", "tests/test_c.py"]
    git("commit", "-qam", "second")
    assert found("transformations/é.py", "tests/test_new.py") == ["tests/test_d.py", "tests/test_new.py"]
    assert found(commit="HEAD~1") == [
        "nbs/a.ipynb",
        "tests/test_c.py",
        "tests/test_d.py",
        "tests/test_new.py",
    ]
    assert found("nbs/local/b.ipynb") == ["nbs/local/b.ipynb", "tests/test_d.py", "tests/test_new.py"]
    with pytest.raises(SystemExit, match="^--since none: fatal: "):
        found(commit="none")
    (tmp_path / "cdc_utils/scd1.py").unlink()
    assert {"nbs/a.ipynb", "tests/test_c.py"} <= set(found()), "what imports a module that is gone"


def test_a_notebook_that_was_not_cleaned_is_caught(check, chapter, capsys):
    assert check.unchanged(["nbs/*.ipynb"], [check.command("nbdev-clean")], "was not clean")
    notebook = nbformat.read(chapter, 4)
    notebook.cells[0].execution_count = 7
    notebook.cells[0].metadata["collapsed"] = True
    nbformat.write(notebook, chapter)
    assert not check.unchanged(["nbs/*.ipynb"], [check.command("nbdev-clean")], "was not clean")
    assert "nbs/sum.ipynb: was not clean" in capsys.readouterr().out


def test_an_output_that_the_code_does_not_show_is_caught(chapter):
    (chapter.parent / "false.ipynb").write_text(chapter.read_text().replace('"2"', '"3"'))
    done = compared(chapter)
    assert "1 failed, 1 passed" in done.stdout and "nbs/false.ipynb::Cell 0" in done.stdout, done.stdout


SPARK_CELL = """\
import logging, sys
from pyspark.java_gateway import ensure_callback_server_started
from cdc_local.engines.spark.session import start_spark
spark = start_spark()
jvm = spark.sparkContext._jvm.java.lang.ProcessHandle.current().pid()
partitions = spark.conf.get('spark.sql.shuffle.partitions')
with open('seen.txt', 'a') as seen:
    print(jvm, spark.sparkContext.applicationId, spark.catalog.tableExists('left'), partitions, file=seen)
spark.range(1).createOrReplaceTempView('left')
spark.conf.set('spark.sql.shuffle.partitions', '7')
class Supplier:
    def get(self): return 'here'
    class Java: implements = ['java.util.function.Supplier']
ensure_callback_server_started(spark.sparkContext._gateway)
java = spark._jvm.java
suppliers = java.util.ArrayList()
if len(open('seen.txt').readlines()) == 1:
    for _ in range(4): java.util.Optional.empty().orElseGet(Supplier()) # nothing refers to it after that
else:
    for _ in range(4): suppliers.add(Supplier())
    warned = logging.StreamHandler(sys.stdout) # what is written would not be what was saved
    logging.getLogger('py4j').addHandler(warned)
    # the JVM tells Python which of its objects nothing refers to any more; those were the other notebook's
    java.lang.System.gc()
    java.lang.System.runFinalization()
    assert [supplier.get() for supplier in suppliers] == ['here'] * 4"""


def test_notebooks_share_a_jvm_and_nothing_else(chapter):
    write_twice(chapter, SPARK_CELL)
    done = compared(chapter)
    assert "2 passed" in done.stdout, done.stdout + done.stderr
    jvms, contexts, left, partitions = zip(
        *(line.split() for line in (chapter.parent / "seen.txt").read_text().splitlines()),
        strict=True,
    )
    assert len(set(jvms)) == 1 and len(set(contexts)) == 2
    assert left == ("False", "False") and len(set(partitions)) == 1 and "7" not in partitions
    with pytest.raises(ProcessLookupError):
        os.kill(int(jvms[0]), 0)


PLACE_CELL = """\
import json, os, signal, sys, fastcore.test
place = dict(folder=os.getcwd(), path=sys.path, environ=list(os.environ), argument=sys.argv[1],
    left=hasattr(fastcore.test, 'left'),
    read=os.read(0, 1).decode(), interrupt=str(signal.getsignal(signal.SIGINT)),
    group=os.getpgrp() == os.getpid(), main=__import__('__main__').__dict__ is globals())
with open('seen.txt', 'a') as seen: print(json.dumps([os.getpid(), os.getppid(), place]), file=seen)
fastcore.test.left = os.environ['LEFT'] = 'left'
sys.path.append('left')"""


def test_kernels_of_a_worker_are_copies_and_see_what_any_kernel_sees(chapter):
    write_twice(chapter, PLACE_CELL)

    def others(names):
        return sorted(
            name for name in names if not name.startswith("PYTEST_")
        )  # of these pytest makes more in a worker

    environ = {name: os.environ[name] for name in others(os.environ)}
    for options in ([], ["-n", "1", "--dist", "loadfile"]):
        done = compared(chapter, *options, environ=environ)
        assert "2 passed" in done.stdout, done.stdout + done.stderr
    started, again, copy, another = map(json.loads, (chapter.parent / "seen.txt").read_text().splitlines())

    def place(seen):
        return {**seen[2], "environ": others(seen[2]["environ"])}

    assert place(started) == place(again) == place(copy) == place(another) and not started[2]["left"]
    assert started[1] == again[1] and copy[1] == another[1], "each run has one process that starts kernels"
    psutil.wait_procs(
        [psutil.Process(pid) for pid in (copy[0], another[0], copy[1]) if psutil.pid_exists(pid)], timeout=30
    )
    assert not any(map(psutil.pid_exists, (copy[0], another[0], copy[1]))), "none is left"
