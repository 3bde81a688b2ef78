"Notebooks of a job: the kernel, what they find in it, and Databricks' magics."

from types import SimpleNamespace

import pytest

from cdc_local.jobs.notebook_task import NotebookLibraries, register_magics
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
