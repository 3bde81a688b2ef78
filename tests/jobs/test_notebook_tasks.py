"Notebooks of a job: the kernel, what they find in it, and Databricks' magics."

import json
import subprocess
import sys
import zipfile
from dataclasses import asdict, replace
from types import SimpleNamespace

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook

from cdc_local.errors import PipelineError, UsageError
from cdc_local.jobs.notebook_task import (
    NotebookLibraries,
    NotebookRun,
    make_databricks_names,
    notebook_environ,
    preparation_code,
    printed_text,
    read_notebook,
    register_magics,
    run_notebook,
    split_sql,
    used_names,
)
from cdc_local.storage import Storage


@pytest.fixture
def shell(monkeypatch, tmp_path):
    "A shell with the magics, and a session that answers with what it was asked"
    from IPython.core.interactiveshell import InteractiveShell
    from pyspark.sql import SparkSession

    monkeypatch.setattr(
        SparkSession,
        "active",
        lambda: SimpleNamespace(sql=lambda text: SimpleNamespace(toPandas=lambda: text)),
    )
    shell = InteractiveShell()
    libraries = NotebookLibraries(Storage(tmp_path), [])
    register_magics(shell, libraries)
    yield shell
    libraries.close()  # where a kernel would end


def test_sql_magics_answer_with_their_last_statement(shell):
    assert shell.run_line_magic("sql", "SELECT 1") == "SELECT 1"
    assert shell.run_cell_magic("sql", "", "USE shop;\nSELECT 2;\n") == "SELECT 2"
    assert shell.run_cell_magic("sql", "", "-- nothing") is None


def test_pip_looks_and_installs_nothing(shell, capsys):
    for name in ("pip", "conda"):
        shell.run_line_magic(name, "install --upgrade pyspark no-such-library")
    assert capsys.readouterr().out.count("no-such-library is not installed") == 2
    for line in ("freeze", "install -r requirements.txt"):
        shell.run_line_magic("pip", line)
    assert capsys.readouterr().out == "skipped: %pip freeze\nskipped: %pip install -r requirements.txt\n"
    assert shell.run_cell_magic("md", "", "# Title") is None


@pytest.fixture
def notebook_with(tmp_path):
    "Write a notebook; a run of it with the parameters `rows` and `day`."

    def write(*cells):
        path = tmp_path / "task.ipynb"
        nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
        copy = tmp_path / "ran" / "task.ipynb"
        parameters = {"rows": "500", "day": "it's"}
        return NotebookRun(str(path), str(copy), str(tmp_path), str(tmp_path), parameters)

    return write


# What a notebook finds


def test_parameters_whose_names_can_be_variables_are_in_the_environment():
    run = NotebookRun("etl.ipynb", "ran.ipynb", ".", ".cdc", {"rows": "500", "cdc.catalog": "dev"})
    assert notebook_environ(run) == {"CDC_STORAGE": ".cdc", "CDC_PARAM_ROWS": "500"}


def test_names_are_found_in_code_and_not_in_comments_or_magics():
    cells = ["%pip install faker", "rows = spark.range(3)", "# dbutils is not used"]
    assert used_names(cells) & {"spark", "dbutils", "rows", "faker"} == {"spark", "rows"}
    assert used_names(["this is no Python", "x = 1"]) == {"x"}


def no_session():
    raise AssertionError("no session is wanted")


def test_dbutils_knows_the_parameters_and_spark_is_not_started_for_nothing(notebook_with):
    names = make_databricks_names(
        used_names(["rows = dbutils.widgets.get('rows')"]), notebook_with(), no_session
    )
    assert sorted(names) == ["dbutils"]
    assert names["dbutils"].widgets.get("rows") == "500"


@pytest.mark.parametrize(
    ("cell", "starts"),
    [
        ("%sql SELECT 1", True),
        ("rows = 3\n%sql SELECT 1", True),
        ("rows = spark.range(3)", True),
        ("rows = 3", False),
    ],
)
def test_spark_starts_only_for_a_notebook_that_uses_it(cell, starts):
    run = NotebookRun("etl.ipynb", "ran.ipynb", ".", ".cdc")
    notebook = new_notebook(cells=[new_code_cell(cell)])
    assert ("spark" in preparation_code(notebook, run)) is starts


def test_sql_is_split_at_semicolons_that_end_statements():
    text = "SELECT ';'; -- one; two\nSELECT /* 1; */ 2;\n-- the end"
    assert split_sql(text) == ["SELECT ';'", "SELECT /* 1; */ 2"]


# How a notebook is read

EXPORTED = """# Databricks notebook source
# MAGIC %md Load the orders

# COMMAND ----------

print('rows', dbutils.widgets.get('rows'))

# COMMAND ----------

# MAGIC %sql SELECT 1 AS one
"""


def test_a_python_file_that_databricks_exported_is_a_notebook(tmp_path):
    path = tmp_path / "etl.py"
    path.write_text(EXPORTED)
    cells = [cell.source for cell in read_notebook(path).cells]
    assert cells == ["print('rows', dbutils.widgets.get('rows'))\n", "%%sql\nSELECT 1 AS one\n"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("no.ipynb", None, "there is no notebook"),
        ("half.ipynb", '{"cells": [', "is no notebook: NotJSONError"),
        ("etl.scala", "", "is no Python notebook; the local runner runs .ipynb and .py"),
    ],
)
def test_a_file_that_is_no_notebook_is_refused(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(UsageError) as refused:
        read_notebook(tmp_path / name)
    assert message in str(refused.value)


# How it runs


def test_a_notebook_runs_with_its_parameters_and_its_output_is_what_it_printed(notebook_with):
    started = []
    run = notebook_with(
        "import os\nrows = int(dbutils.widgets.get('rows'))",
        "print(rows, os.environ['CDC_PARAM_ROWS'], dbutils.widgets.get('day'))",
        "%pip install no-such-library",
        "import sys; print('a warning', file=sys.stderr)",
    )
    printed = run_notebook(run, lambda number, cells: started.append(f"{number}/{cells}"))
    assert started == ["1/4", "2/4", "3/4", "4/4"]
    assert printed.splitlines() == [
        "500 500 it's",
        "%pip installs nothing here: the environment needs what is not here:"
        " no-such-library is not installed; pip install 'no-such-library'",
    ]
    assert printed_text(nbformat.read(run.executed_copy, 4)) == printed


def test_what_ipython_runs_for_the_user_at_its_start_does_not_run_in_a_task(
    notebook_with, tmp_path, monkeypatch
):
    startup = tmp_path / "mine/profile_default/startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("rate = 7")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "mine"))
    assert run_notebook(notebook_with("print('rate' in globals())")) == "False"
    assert [path.name for path in (tmp_path / "mine/profile_default").iterdir()] == ["startup"]


def test_a_cell_that_fails_is_named_and_the_executed_copy_is_kept(notebook_with):
    run = notebook_with("print('begins')", "dbutils.widgets.get('rwos')", "print('never')")
    with pytest.raises(PipelineError) as failed:
        run_notebook(run)
    assert str(failed.value) == (
        f"{run.path}: cell 2 failed: PipelineError: dbutils.widgets.get('rwos'): no such parameter;"
        f" give it a value: --conf rwos=…; the executed copy is {run.executed_copy}"
    )
    copy = nbformat.read(run.executed_copy, 4)
    assert (printed_text(copy), len(copy.cells)) == ("begins", 3)


def test_modules_of_the_wheel_of_a_task_can_be_imported(notebook_with, tmp_path):
    module = tmp_path / "shop-1.2" / "shop" / "__init__.py"
    module.parent.mkdir(parents=True)
    module.write_text("RATE = 0.19")
    run = notebook_with("import shop; print(shop.RATE)")
    with pytest.raises(PipelineError, match="cell 1 failed: ModuleNotFoundError: No module named 'shop'"):
        run_notebook(run)
    assert run_notebook(replace(run, wheels=(str(tmp_path / "shop-1.2"),))) == "0.19"


INSTALL = """try: import cdc_utils
except ModuleNotFoundError:
    print('not there')
    wheel = '/Volumes/dev/shop/wheels/cdc_utils-9.9-py3-none-any.whl'
    get_ipython().run_line_magic('pip', f'install --quiet {wheel} faker')"""


def test_cdc_utils_is_not_there_until_the_notebook_installs_its_wheel(notebook_with, tmp_path):
    volume = tmp_path / "Volumes/dev/shop/wheels"
    volume.mkdir(parents=True)
    with zipfile.ZipFile(volume / "cdc_utils-9.9-py3-none-any.whl", "w") as archive:
        archive.writestr("cdc_utils/__init__.py", '__version__ = "9.9"')
        archive.writestr("cdc_utils/customers.py", 'NAME = "from the volume"')
    use = "import cdc_utils; from cdc_utils import customers; print(cdc_utils.__version__, customers.NAME)"
    assert run_notebook(notebook_with(INSTALL, use)).splitlines() == ["not there", "9.9 from the volume"]
    with pytest.raises(PipelineError, match="ModuleNotFoundError"):
        run_notebook(notebook_with("from cdc_utils import customers"))


def run_as_process(run):
    code = "from cdc_local.jobs.notebook_task import run_from_stdin; run_from_stdin()"
    command = [sys.executable, "-c", code]
    return subprocess.run(command, input=json.dumps(asdict(run)), capture_output=True, text=True)


def test_the_process_of_a_notebook_prints_what_it_printed(notebook_with):
    assert run_as_process(notebook_with("print('hello')")).stdout == "hello\n"


def test_the_process_of_a_notebook_says_which_cell_runs_and_why_it_failed(notebook_with):
    run = notebook_with("print('hello')", "1/0")
    done = run_as_process(run)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "cell 1 of 2",
        "cell 2 of 2",
        f"error: {run.path}: cell 2 failed: ZeroDivisionError: division by zero;"
        f" the executed copy is {run.executed_copy}",
    ]


def test_the_process_of_a_notebook_that_is_not_there_was_used_wrongly(notebook_with):
    done = run_as_process(replace(notebook_with(), path="none.ipynb"))
    assert (done.returncode, done.stderr) == (2, "error: there is no notebook none.ipynb\n")
