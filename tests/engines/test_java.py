"The Java that a session starts, and the archive of classes that fits it."

import re

import pytest
from programs import write_java

from cdc_local.engines.spark.java import class_archive_options, class_archive_path, find_java, java_version
from cdc_local.errors import UsageError


@pytest.mark.parametrize("version", ["17.0.1", "21"])
def test_a_java_that_is_new_enough(tmp_path, version):
    found = write_java(tmp_path, version)
    assert (
        find_java({"PATH": str(found.parent)})
        == find_java({"JAVA_HOME": str(tmp_path), "PATH": ""})
        == str(found)
    )


def test_a_java_that_is_too_old_is_named(tmp_path):
    old, new = write_java(tmp_path / "old", "1.8.0_412"), write_java(tmp_path / "new", "17")
    with pytest.raises(UsageError, match=f"Java 17 or newer; {old} is version 8"):
        find_java({"JAVA_HOME": str(tmp_path / "old"), "PATH": str(new.parent)})


def test_an_archive_is_of_one_java_by_whatever_name(tmp_path):
    one, other = write_java(tmp_path / "one", "17"), write_java(tmp_path / "other", "17")
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


@pytest.mark.parametrize(
    "printed, version",
    [
        ('openjdk version "17.0.15" 2025-04-15', 17),
        ('java version "1.8.0_412"', 8),
        ("command not found", 0),
    ],
)
def test_the_major_version_is_read_out_of_what_java_prints(printed, version):
    assert java_version(printed) == version


@pytest.mark.parametrize(
    "environ, looked",
    [
        ({"PATH": ""}, "none is on the PATH"),
        ({"JAVA_HOME": "/no/such/jdk"}, "JAVA_HOME is /no/such/jdk, which has no bin/java"),
    ],
)
def test_a_missing_java_is_said_to_be_missing_and_java_home_wins_over_the_path(environ, looked):
    wanted = f"Spark needs Java 17 or newer, and {looked}; install one (Debian, Ubuntu, WSL: apt-get "
    with pytest.raises(UsageError, match=re.escape(wanted) + ".*; macOS: brew install openjdk@17"):
        find_java(environ)


def test_options_name_the_archive_where_there_is_one(tmp_path):
    archive = class_archive_path(tmp_path, "java")
    assert class_archive_options(archive) == "" and archive.name.startswith("classes-")
    archive.touch()
    assert class_archive_options(archive).split()[-1] == f"-XX:SharedArchiveFile={archive}"
