"What a session leaves: an archive of classes for the next, no process and no temporary file."

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import names, write_program
from pyspark.sql.functions import udf

from cdc_local.engines.spark import session
from cdc_local.engines.spark.java import class_archive_path, find_java
from cdc_local.engines.spark.session import make_class_archive
from cdc_local.errors import UsageError


def test_an_archive_is_there_when_it_is_whole(tmp_path, monkeypatch):
    archive, seen = class_archive_path(tmp_path, "java"), []
    monkeypatch.setattr(session, "find_java", lambda: "java")

    def run(argv, **options):
        Path(argv[-1]).write_text("half")
        seen.append(archive.exists())
        Path(argv[-1]).write_text("whole")

    monkeypatch.setattr(session.subprocess, "run", run)
    make_class_archive(tmp_path)
    assert (seen, archive.read_text()) == ([False], "whole")
    assert names(tmp_path) == [".classes.lock", archive.name]
    monkeypatch.setattr(
        session.subprocess, "run", lambda argv, **options: SimpleNamespace(stderr="", stdout="Java is tired")
    )
    with pytest.raises(UsageError, match="Java is tired"):
        make_class_archive(tmp_path)


def test_a_warehouse_is_of_one_process_and_goes_with_it():
    code = (
        "from cdc_local.engines.spark.session import make_warehouse as made; "
        "assert made() == made() and made().is_dir(); print(made())"
    )
    one, other = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert one != other and not Path(one).exists() and not Path(other).exists()


STARTS = """
from pyspark.sql.functions import udf
from cdc_local.engines.spark.session import start_spark
spark = start_spark()
# Python runs in the JVM's processes, and hears from them
spark.range(1).select(udf(lambda number: str(number))('id')).collect()
print(spark.sparkContext._gateway.proc.pid)
"""


def test_the_jvm_has_ended_when_its_process_ends(tmp_path):
    another = write_program(tmp_path / "python3", 'echo "not this Python" >&2; exit 1\n')
    environ = {name: value for name, value in os.environ.items() if name != "PYSPARK_PYTHON"} | {
        "PATH": f"{another.parent}:{os.environ['PATH']}"
    }
    done = subprocess.run(
        [sys.executable, "-c", STARTS], env=environ, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    with pytest.raises(ProcessLookupError):
        os.kill(int(done.stdout), 0)


def test_a_kernel_that_shuts_down_leaves_no_temporary_files(tmp_path):
    from nbclient import NotebookClient
    from nbformat.v4 import new_code_cell, new_notebook

    client = NotebookClient(new_notebook(cells=[new_code_cell(STARTS)]), kernel_name="python3")
    client.execute(env=os.environ | {"TMPDIR": str(tmp_path), "SPARK_LOCAL_DIRS": str(tmp_path)})
    assert [name for name in names(tmp_path) if not name.startswith("cdc-utils-spark-")] == [], (
        "its log is for reading"
    )


WAITS = """
from cdc_local.engines.spark.session import start_spark
spark = start_spark()
print('ready', flush=True)
try: spark._jvm.java.lang.Thread.sleep(120_000)
except KeyboardInterrupt: print('interrupted')
"""


def test_ctrl_c_while_java_works_is_an_exception_and_no_more():
    process = subprocess.Popen(
        [sys.executable, "-c", WAITS], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    time.sleep(2)  # until it waits for Java
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=100) == ("interrupted\n", "")


DIVIDES = """
from pyspark.errors import ArithmeticException
from pyspark.sql import functions as F
from cdc_local.engines.spark.session import start_spark
spark = start_spark(options={'spark.python.sql.dataFrameDebugging.enabled': 'true'})
try: spark.range(1).select(F.lit(1) / F.lit(0)).collect()
except ArithmeticException as error: print(error.getQueryContext()[0].callSite())
"""


def test_a_mistake_in_a_query_names_its_line_and_prints_no_stack_of_java():
    done = subprocess.run([sys.executable, "-c", DIVIDES], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("<string>:6\n", "")


def test_java_options_of_a_session_name_the_archive_of_this_java(tmp_path):
    options = session.SESSION_OPTIONS[session.JAVA_OPTIONS]
    assert session.session_java_options(tmp_path) == options
    class_archive_path(tmp_path, find_java()).touch()
    assert session.session_java_options(tmp_path).startswith(options)
    assert session.session_java_options(tmp_path).endswith(".jsa")


def test_a_table_keeps_every_version(spark, tmp_path):
    for day in range(2):
        spark.range(day + 1).write.format("delta").mode("overwrite").save(str(tmp_path))
    reader = spark.read.format("delta")
    assert [reader.option("versionAsOf", version).load(str(tmp_path)).count() for version in range(2)] == [
        1,
        2,
    ]


def test_a_python_function_runs_in_the_python_of_the_session(spark):
    prefix = udf(lambda number: sys.prefix)
    assert spark.range(1).select(prefix("id")).first()[0] == sys.prefix


def test_a_second_call_finds_the_session_and_sets_what_can_be_set(spark):
    before = spark.conf.get("spark.sql.shuffle.partitions")
    again = session.start_spark(options={"spark.sql.shuffle.partitions": "3"})
    try:
        assert again.sparkContext.applicationId == spark.sparkContext.applicationId
        assert spark.conf.get("spark.sql.shuffle.partitions") == "3"
    finally:
        spark.conf.set("spark.sql.shuffle.partitions", before)
