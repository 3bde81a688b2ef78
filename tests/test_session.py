"What a session starts from: a Java, the Delta jars, an archive of classes, a warehouse; and what is left when it ends."

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("pyspark")

from cdc_local.engines.spark import session
from cdc_local.engines.spark.jars import delta_options, fetch_jars, jar_folder, jar_paths
from cdc_local.engines.spark.java import class_archive_options, class_archive_path, find_java
from cdc_local.engines.spark.session import make_class_archive
from cdc_local.errors import UsageError


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def java(folder, version):
    return program(folder / "bin/java", f"echo 'openjdk version \"{version}\"' >&2\n")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


# Java


@pytest.mark.parametrize("version", ["17.0.1", "21"])
def test_a_java_that_is_new_enough(tmp_path, version):
    found = java(tmp_path, version)
    assert (
        find_java({"PATH": str(found.parent)})
        == find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
        == str(found)
    )


def test_a_java_that_is_too_old_is_named(tmp_path):
    old, new = java(tmp_path / "old", "1.8.0_412"), java(tmp_path / "new", "17")
    with pytest.raises(UsageError, match=f"Java 17 or newer; {old} is version 8"):
        find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(new.parent)})


# Jars


def test_jars_lie_beside_the_environment_else_in_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "prefix", str(tmp_path / ".venv"))
    elsewhere = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    assert jar_folder(elsewhere) == tmp_path / "cache/cdc_utils/jars"
    (tmp_path / ".cache/jars").mkdir(parents=True)
    assert jar_folder(elsewhere) == tmp_path / ".cache/jars"
    assert jar_folder(elsewhere | {"CDC_JARS": "/opt/jars"}) == Path("/opt/jars")


def test_names_of_the_jars(tmp_path):
    assert jar_paths(tmp_path)[:2] == [
        tmp_path / "delta-spark_4.2_2.13-4.4.0.jar",
        tmp_path / "delta-storage-4.4.0.jar",
    ]
    assert len(jar_paths(tmp_path)) == 5


def test_maven_copies_the_jars_into_a_folder_named_from_here(tmp_path, monkeypatch):
    program(
        tmp_path / "bin/mvn",
        """for argument in "$@"; do case $argument in -DoutputDirectory=*)
        for artifact in $(grep -o '<groupId>io.delta</groupId><artifactId>[^<]*</artifactId><version>[^<]*' pom.xml | sed 's/.*<artifactId>//; s/<.*>/-/')
        do echo jar > "${argument#*=}/$artifact.jar" || exit 1; done;; esac; done\n""",
    )
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    fetch_jars(Path("new/jars"))
    assert names(tmp_path / "new/jars") == sorted(jar.name for jar in jar_paths(tmp_path))


def test_what_maven_says_is_told_and_no_jar_is_left(tmp_path, monkeypatch):
    program(tmp_path / "bin/mvn", 'echo "[ERROR] no mirror"; touch delta-storage-4.4.0.jar; exit 1\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(UsageError, match=r"mvn could not fetch the Delta jars 4.4.0: \[ERROR\] no mirror"):
        fetch_jars(tmp_path / "jars")
    assert names(tmp_path / "jars") == []


def test_spark_fetches_where_there_is_no_maven(tmp_path, monkeypatch):
    def resolve(argv, **options):
        (Path(argv[-1]) / "jars").mkdir()
        for package in argv[3].split(","):
            (Path(argv[-1]) / "jars" / ("{}_{}-{}.jar".format(*package.split(":")))).touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(session.shutil, "which", lambda name: None)
    monkeypatch.setattr(session.subprocess, "run", resolve)
    fetch_jars(tmp_path / "jars")
    assert names(tmp_path / "jars") == sorted(jar.name for jar in jar_paths(tmp_path))


def test_one_missing_jar_is_fetched(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(session, "fetch_jars", fetched.append)
    for jar in jar_paths(tmp_path)[1:]:
        jar.touch()
    delta_options(tmp_path)
    jar_paths(tmp_path)[0].touch()
    delta_options(tmp_path)
    assert fetched == [tmp_path]


# The archive of classes


def test_an_archive_is_of_one_java_by_whatever_name(tmp_path):
    one, other = java(tmp_path / "one", "17"), java(tmp_path / "other", "17")
    (tmp_path / "link").symlink_to(one)
    assert (
        class_archive_path(tmp_path, str(one))
        == class_archive_path(tmp_path, str(tmp_path / "link"))
        != class_archive_path(tmp_path, str(other))
    )


def test_a_path_with_a_space_would_be_two_options(tmp_path):
    for folder, used in (("plain", True), ("with space", False)):
        archive = tmp_path / folder / "classes.jsa"
        archive.parent.mkdir()
        archive.touch()
        assert bool(class_archive_options(archive)) == used


def test_an_archive_is_there_when_it_is_whole(tmp_path, monkeypatch):
    archive, seen = class_archive_path(tmp_path, "java"), []
    monkeypatch.setattr(session, "find_java", lambda: "java")

    def run(argv, **options):
        Path(argv[-1]).write_text("half")
        seen.append(archive.exists())
        Path(argv[-1]).write_text("whole")

    monkeypatch.setattr(session.subprocess, "run", run)
    make_class_archive(tmp_path)
    assert (seen, archive.read_text(), names(tmp_path)) == ([False], "whole", [archive.name])
    monkeypatch.setattr(
        session.subprocess, "run", lambda argv, **options: SimpleNamespace(stderr="", stdout="Java is tired")
    )
    with pytest.raises(UsageError, match="Java is tired"):
        make_class_archive(tmp_path)


def test_a_warehouse_is_of_one_process_and_goes_with_it():
    code = "from cdc_local.engines.spark.session import make_warehouse as made; print(made(), made()); assert made().is_dir()"
    one, other = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert one != other and not Path(one).exists() and not Path(other).exists()


STARTS = """
from pyspark.sql.functions import udf
from cdc_local.engines.spark.session import local_spark
spark = local_spark()
spark.range(1).select(udf(lambda number: str(number))('id')).collect() # Python runs in the JVM's processes, and hears from them
print(spark.sparkContext._gateway.proc.pid)
"""


def test_the_jvm_has_ended_when_its_process_ends(tmp_path):
    another = program(tmp_path / "python3", 'echo "not this Python" >&2; exit 1\n')
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
from cdc_local.engines.spark.session import local_spark
spark = local_spark()
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
from cdc_local.engines.spark.session import local_spark
spark = local_spark(options={'spark.python.sql.dataFrameDebugging.enabled': 'true'})
try: spark.range(1).select(F.lit(1) / F.lit(0)).collect()
except ArithmeticException as error: print(error.getQueryContext()[0].callSite())
"""


def test_a_mistake_in_a_query_names_its_line_and_prints_no_stack_of_java():
    done = subprocess.run([sys.executable, "-c", DIVIDES], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("<string>:6\n", "")
