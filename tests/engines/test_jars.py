"The Delta jars: where they lie, who fetches them, and that none is half there."

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from programs import names, write_program

from cdc_local.engines.spark import jars
from cdc_local.engines.spark.jars import (
    DELTA_VERSION,
    delta_options,
    failure_line,
    fetch_jars,
    jar_folder,
    jar_paths,
    jar_pom,
)
from cdc_local.errors import UsageError

LOCK = ".fetch.lock"  # stays, since somebody may wait for it

# Writes what the pom asks for into the folder that it is told
MAVEN = """for argument in "$@"; do case $argument in -DoutputDirectory=*)
    found='<groupId>io.delta</groupId><artifactId>[^<]*</artifactId><version>[^<]*'
    for artifact in $(grep -o "$found" pom.xml | sed 's/.*<artifactId>//; s/<.*>/-/')
    do echo jar > "${argument#*=}/$artifact.jar" || exit 1; done;; esac; done
"""


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
    write_program(tmp_path / "bin/mvn", MAVEN)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    monkeypatch.chdir(tmp_path)
    fetch_jars(Path("new/jars"))
    assert names(tmp_path / "new/jars") == [LOCK, *sorted(jar.name for jar in jar_paths(tmp_path))]


def test_what_maven_says_is_told_and_no_jar_is_left(tmp_path, monkeypatch):
    write_program(tmp_path / "bin/mvn", 'echo "[ERROR] no mirror"; touch delta-storage-4.4.0.jar; exit 1\n')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    with pytest.raises(UsageError, match=r"mvn could not fetch the Delta jars 4.4.0: \[ERROR\] no mirror"):
        fetch_jars(tmp_path / "jars")
    assert names(tmp_path / "jars") == [LOCK]


def test_spark_fetches_where_there_is_no_maven(tmp_path, monkeypatch):
    def resolve(argv, **options):
        (Path(argv[-1]) / "jars").mkdir()
        for package in argv[3].split(","):
            (Path(argv[-1]) / "jars" / ("{}_{}-{}.jar".format(*package.split(":")))).touch()
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(jars.shutil, "which", lambda name: None)
    monkeypatch.setattr(jars.subprocess, "run", resolve)
    fetch_jars(tmp_path / "jars")
    assert names(tmp_path / "jars") == [LOCK, *sorted(jar.name for jar in jar_paths(tmp_path))]


def test_one_missing_jar_is_fetched(tmp_path, monkeypatch):
    fetched = []
    monkeypatch.setattr(jars, "fetch_jars", fetched.append)
    for jar in jar_paths(tmp_path)[1:]:
        jar.touch()
    delta_options(tmp_path)
    jar_paths(tmp_path)[0].touch()
    delta_options(tmp_path)
    assert fetched == [tmp_path]


def test_one_pom_names_all_jars_of_one_version():
    assert jar_pom().count(f"<version>{DELTA_VERSION}</version>") == len(jar_paths(Path())) == 5


@pytest.mark.parametrize(
    "log, line",
    [
        (
            ":: loading settings\n\t:: UNRESOLVED ::\n"
            "\tunresolved dependency: io.delta#x;4.4.0: not found\n"
            "Traceback\njava.lang.RuntimeException: [unresolved]",
            "unresolved dependency: io.delta#x;4.4.0: not found",
        ),
        ("Unable to access jarfile", "Unable to access jarfile"),
    ],
)
def test_the_line_that_names_the_failure_is_found_in_a_log(log, line):
    assert failure_line(log) == line


def test_with_the_jars_there_nothing_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr(jars, "fetch_jars", lambda folder: pytest.fail("it fetches"))
    for jar in jar_paths(tmp_path):
        jar.touch()
    assert delta_options(tmp_path)["spark.jars"].split(",") == [str(jar) for jar in jar_paths(tmp_path)]


FETCH = """import sys
from pathlib import Path
from cdc_local.engines.spark.jars import delta_options
delta_options(Path(sys.argv[1]))"""


def start_fetch(tmp_path):
    "A process that finds no jars, with a `mvn` in the test's folder"
    return subprocess.Popen(
        [sys.executable, "-c", FETCH, str(tmp_path / "jars")],
        env=os.environ | {"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
        stderr=subprocess.PIPE,
        text=True,
    )


def test_of_two_processes_one_fetches_and_the_other_waits(tmp_path):
    write_program(tmp_path / "bin/mvn", f"echo called >> {tmp_path}/calls; sleep 1; {MAVEN}")
    for process in [start_fetch(tmp_path), start_fetch(tmp_path)]:
        said = process.communicate(timeout=30)[1]
        assert process.returncode == 0 and said.count("\n") == 1, said
        assert "Spark needs the Delta jars 4.4.0: fetching them into" in said
    assert (tmp_path / "calls").read_text() == "called\n"
    assert all(jar.read_text() == "jar\n" for jar in jar_paths(tmp_path / "jars"))


def test_a_fetch_that_is_killed_leaves_no_jar_and_the_next_one_starts_anew(tmp_path):
    write_program(tmp_path / "bin/mvn", f"echo half > delta-storage-{DELTA_VERSION}.jar; exec sleep 5")
    process = start_fetch(tmp_path)
    while not (half := list(tmp_path.glob("jars/.fetch-*/*.jar"))):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert half[0].exists() and not list(tmp_path.glob("jars/*.jar"))
    write_program(tmp_path / "bin/mvn", MAVEN)
    assert start_fetch(tmp_path).wait(30) == 0
    assert names(tmp_path / "jars") == [LOCK, *sorted(jar.name for jar in jar_paths(tmp_path))]


def test_without_java_spark_says_what_it_needs_before_anything_is_fetched(tmp_path):
    write_program(tmp_path / "bin/mvn", f"touch {tmp_path}/called; exit 1")
    code = "from cdc_local.engines.spark.session import start_spark; start_spark()"
    kept = {name: value for name, value in os.environ.items() if name != "JAVA_HOME"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=kept | {"PATH": f"{tmp_path}/bin", "CDC_JARS": f"{tmp_path}/jars"},
        capture_output=True,
        text=True,
        check=False,
    )
    last = done.stderr.splitlines()[-1]
    assert "Spark needs Java 17 or newer, and none is on the PATH; install one" in last
    assert names(tmp_path) == ["bin"]
