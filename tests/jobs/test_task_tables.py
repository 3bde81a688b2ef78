"Tables of the workspace in notebook, Python and wheel tasks, by names of three parts, on both engines"

import json
import os
import subprocess
from pathlib import Path

import nbformat
import pytest
from deltalake import write_deltalake
from nbformat.v4 import new_code_cell, new_notebook
from pyarrow import table

from cdc_local.jobs.notebook_task import NotebookRun, run_notebook
from cdc_local.jobs.processes import PYTHON
from cdc_local.jobs.task_session import choose_task_engine
from cdc_local.storage import Storage, TableName

CUSTOMERS = TableName("dev", "customers_ann", "customers")

SCRIPT = """
import json
from pyspark.errors import AnalysisException
from pyspark.sql import SparkSession

spark = SparkSession.builder.appName("task").getOrCreate()
said = {}

def rows(frame):
    return sorted(map(list, frame.collect()))

name = "dev.customers_ann.customers"
said["table"] = rows(spark.table(name))
said["read"] = rows(spark.read.table(name))
said["version"] = rows(spark.read.option("versionAsOf", "0").table(name))
said["select"] = rows(spark.sql(f"SELECT name FROM {name} WHERE id > :least", args={"least": 1}))
spark.sql("CREATE SCHEMA IF NOT EXISTS main.reports")
spark.table(name).write.mode("overwrite").saveAsTable("main.reports.copy")
spark.sql(f"CREATE OR REPLACE TABLE main.reports.names AS SELECT name FROM {name}")
spark.sql("INSERT INTO main.reports.names VALUES ('Cid')")
said["names"] = rows(spark.table("main.reports.names"))
spark.sql("USE CATALOG dev")
said["schema"] = [spark.catalog.currentCatalog(), spark.catalog.currentDatabase()]
spark.sql("USE dev.customers_ann")
said["short"] = rows(spark.table("customers"))
said["tables"] = [row.tableName for row in spark.sql("SHOW TABLES IN main.reports").collect()]
said["exists"] = [spark.catalog.tableExists(each) for each in (name, "customers", "dev.customers_ann.no")]
said["history"] = [row.version for row in spark.sql(f"DESCRIBE HISTORY {name}").collect()]
spark.sql("OPTIMIZE main.reports.names")
spark.range(2).createOrReplaceTempView("two")
said["view"] = rows(spark.table("two")) + rows(spark.sql("SELECT count(*) FROM two"))
spark.range(7, 8).selectExpr("id AS other", "'Dan'").write.insertInto("main.reports.copy")
said["inserted"] = rows(spark.table("main.reports.copy"))
spark.sql("DROP TABLE main.reports.names")
said["left"] = [each.name for each in spark.catalog.listTables("main.reports")]
for text in ("SELECT * FROM dev.customers_ann.custmers", "USE CATALOG prod", "USE dev.sales"):
    try:
        spark.sql(text).collect()
    except AnalysisException as error:
        said[text] = str(error).splitlines()[0]
print(json.dumps(said))
"""

PEOPLE = [[1, "Ann"], [2, "Bob"]]

SAID = {
    "table": PEOPLE,
    "read": PEOPLE,
    "version": PEOPLE,
    "select": [["Bob"]],
    "names": [["Ann"], ["Bob"], ["Cid"]],
    "schema": ["dev", "default"],
    "short": PEOPLE,
    "tables": ["copy", "names"],
    "exists": [True, True, False],
    "history": [0],
    "view": [[0], [1], [2]],
    "inserted": [*PEOPLE, [7, "Dan"]],
    "left": ["copy"],
}


@pytest.fixture
def storage(tmp_path):
    "A storage with one table, as a pipeline leaves it"
    storage = Storage(tmp_path / "cdc").create()
    path = storage.table_path(CUSTOMERS)
    path.mkdir(parents=True)
    write_deltalake(str(path), table({"id": [1, 2], "name": ["Ann", "Bob"]}))
    return storage


def run_script(storage, folder, text, engine):
    "What a Python task prints"
    path = Path(folder, "task.py")
    path.write_text(text)
    done = subprocess.run(
        [*PYTHON, "-m", "cdc_local.jobs.script_task", str(path)],
        env=os.environ | {"CDC_STORAGE": str(storage.root), "CDC_ENGINE": engine},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("engine", ["sail", "spark"])
def test_a_script_sees_the_tables_by_their_full_names(storage, tmp_path, engine):
    said = json.loads(run_script(storage, tmp_path, SCRIPT, engine).splitlines()[-1])
    mistakes = [said.pop(text) for text in list(said) if text not in SAID]
    assert said == SAID
    assert [mistake.partition("]")[0] for mistake in mistakes] == [
        "[TABLE_OR_VIEW_NOT_FOUND",
        "[CATALOG_NOT_FOUND",
        "[SCHEMA_NOT_FOUND",
    ]


def test_a_notebook_sees_them_and_what_its_sql_made(storage, tmp_path):
    path = tmp_path / "look.ipynb"
    cells = [
        "%sql CREATE SCHEMA main.t",
        "spark.sql('CREATE TABLE main.t.names AS SELECT name FROM dev.customers_ann.customers')",
        "print([row.name for row in spark.table('main.t.names').orderBy('name').collect()])",
    ]
    nbformat.write(new_notebook(cells=[new_code_cell(cell) for cell in cells]), path)
    run = NotebookRun(str(path), str(tmp_path / "ran.ipynb"), str(tmp_path), str(storage.root))
    assert run_notebook(run) == "['Ann', 'Bob']"


def test_a_wheel_sees_them(storage, tmp_path):
    (tmp_path / "shop.py").write_text(
        "from pyspark.sql import SparkSession\n"
        "spark = SparkSession.builder.getOrCreate()\n"
        "def count(): print(spark.table('dev.customers_ann.customers').count())\n"
    )
    metadata = tmp_path / "shop-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: shop\nVersion: 1\n")
    done = subprocess.run(
        [*PYTHON, "-m", "cdc_local.jobs.wheel_task", "shop", "count"],
        env=os.environ
        | {"CDC_STORAGE": str(storage.root), "CDC_ENGINE": "sail", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.stdout == "2\n", done.stderr


@pytest.mark.parametrize(
    ("code", "engine"),
    [
        ("spark.table('a')", "sail"),
        ("spark.sql('MERGE INTO a USING b')", "spark"),
        ("from delta.tables import DeltaTable", "spark"),
        ("spark.sql(f'UPDATE {t} SET a = 1')", "spark"),
        ("counts.update(a=1)  # update the set", "sail"),
    ],
)
def test_the_engine_of_a_task_is_sail_unless_its_code_needs_spark(monkeypatch, capsys, code, engine):
    monkeypatch.delenv("CDC_ENGINE", raising=False)
    assert choose_task_engine([code]) == engine
    assert ("runs on Spark: " in capsys.readouterr().err) is (engine == "spark")
    monkeypatch.setenv("CDC_ENGINE", "sail")
    assert choose_task_engine([code]) == "sail"


MISTAKE = """
def load():
    raise ValueError("no rows")

load()
"""


def test_a_scripts_mistake_shows_its_own_lines_alone(storage, tmp_path):
    path = tmp_path / "task.py"
    path.write_text(MISTAKE)
    done = subprocess.run(
        [*PYTHON, "-m", "cdc_local.jobs.script_task", str(path)],
        env=os.environ | {"CDC_STORAGE": str(storage.root)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1 and done.stderr.splitlines()[-1] == "ValueError: no rows"
    assert "runpy" not in done.stderr and "cdc_local" not in done.stderr
    assert f'File "{path}", line 5' in done.stderr
