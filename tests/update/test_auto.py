"""`--engine auto`: Sail where all of a pipeline is known, else Spark, with a line that says why. Without Java
that line says what needs it."""

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from cdc_local.delta.reader import read_rows
from cdc_local.storage import Storage, TableName

CDC = Path(sys.executable).with_name("cdc")
KNOWN = """from pyspark import pipelines as dp
from pyspark.sql import functions as F

@dp.table
def bronze():
    return spark.readStream.table("main.ext.events").withColumn("v", F.upper("v"))
"""
COUNTED = """
@dp.table
def counted():
    return spark.readStream.table("bronze").groupBy("v").count()
"""
LATE = """
@dp.table
def amounts():
    amount = F.concat(F.col("v"), F.lit("e3")).cast("decimal(10,2)")
    return spark.readStream.table("bronze").select(amount.alias("amount"))
"""
TRIMMED = """
@dp.table
def trimmed():
    return spark.sql("SELECT trim(id) AS id FROM bronze")
"""
PARTITIONED = """
@dp.table(partition_cols=["v"])
def split():
    return spark.readStream.table("bronze")
"""


def run_auto(tmp_path, code, *, has_java=True):
    "An update of a pipeline over two rows; its lines."
    storage = tmp_path / "storage"
    source = tmp_path / "pipeline.py"
    source.write_text(code)
    rows = pa.table({"id": [1, 2], "v": ["a", "b"]})
    write_deltalake(str(storage / "tables/main/ext/events"), rows, mode="append")
    environ = {key: value for key, value in os.environ.items() if key not in ("CDC_ENGINE", "JAVA_HOME")}
    if has_java and "JAVA_HOME" in os.environ:
        environ["JAVA_HOME"] = os.environ["JAVA_HOME"]
    if not has_java:
        environ["PATH"] = str(tmp_path)
    command = [str(CDC), "run", str(source), "--storage", str(storage)]
    done = subprocess.run(command, capture_output=True, text=True, env=environ)
    return done.returncode, done.stdout + done.stderr, Storage(storage)


def rows_of(storage, table):
    return sorted(read_rows(storage, TableName("main", "default", table)).values)


def test_a_pipeline_that_is_known_runs_on_sail_without_java(tmp_path):
    status, lines, storage = run_auto(tmp_path, KNOWN, has_java=False)
    assert (status, "runs on Spark" in lines) == (0, False), lines
    assert rows_of(storage, "bronze") == [(1, "A"), (2, "B")]


def test_state_of_a_stream_is_left_to_spark_and_without_java_that_is_said(tmp_path):
    code = KNOWN + COUNTED
    status, lines, storage = run_auto(tmp_path, code, has_java=False)
    assert status != 0 and "counted" in lines and "keeps state" in lines and "Java" in lines
    assert "Traceback" not in lines and not [name for name in storage.tables() if name.schema == "default"]
    status, lines, _ = run_auto(tmp_path, code)
    [why] = [line for line in lines.splitlines() if "runs on Spark" in line]
    assert "counted" in why and "pipeline.py:8" in why


def test_what_is_found_while_tables_are_made_is_left_to_spark_too(tmp_path):
    status, lines, storage = run_auto(tmp_path, KNOWN + PARTITIONED)
    assert status == 0, lines
    [why] = [line for line in lines.splitlines() if "runs on Spark" in line]
    assert "split is written by Spark alone: the table is partitioned by v" in why
    assert rows_of(storage, "bronze") == rows_of(storage, "split") == [(1, "A"), (2, "B")]
    table = DeltaTable(str(storage.table_path(TableName("main", "default", "split"))))
    assert table.metadata().partition_columns == ["v"]


def test_an_engine_that_there_is_not_is_refused(tmp_path):
    source = tmp_path / "pipeline.py"
    source.write_text(KNOWN)
    command = [str(CDC), "run", str(source), "--storage", str(tmp_path / "s"), "--engine", "duck"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "duck" in done.stderr


def test_what_fails_on_sail_is_tried_on_spark_whose_error_is_shown(tmp_path):
    status, lines, storage = run_auto(tmp_path, KNOWN + LATE)
    [why] = [line for line in lines.splitlines() if "runs on Spark" in line]
    assert "amounts: Sail says" in why and status == 1
    assert "CAST_INVALID_INPUT" in lines and "'Ae3'" in lines
    assert rows_of(storage, "bronze") == [(1, "A"), (2, "B")]


def test_a_text_of_sql_that_sail_refuses_is_left_to_spark_in_one_line(tmp_path):
    status, lines, _ = run_auto(tmp_path, KNOWN + TRIMMED, has_java=False)
    [why] = [line for line in lines.splitlines() if line.startswith("error:")]
    assert status == 1 and "pipeline.py:8: Sail says" in why and "java" in why.lower()


def test_a_table_that_nobody_has_is_no_reason_for_spark():
    from cdc_local.analysis.catalog import UnknownTableError
    from cdc_local.update.leave_to_spark import find_need_of_spark, leave_to_spark

    wrong = UnknownTableError("table ordes is neither in this pipeline nor in the storage")
    with pytest.raises(UnknownTableError), leave_to_spark(True):
        raise wrong
    assert find_need_of_spark(None, wrong) is None
