"Which files are a pipeline's source."

import pytest
from source_files import write_source

from cdc_local.errors import UsageError
from cdc_local.source.files import discover_sources


@pytest.fixture
def transformations(tmp_path):
    folder = tmp_path / "transformations"
    for name in (
        "silver/clean.py",
        "bronze.py",
        "gold.sql",
        "notes.md",
        ".hidden/x.py",
        "__pycache__/bronze.py",
    ):
        write_source(folder / name, "")
    return folder


def found_in(folder, *paths):
    return [file.relative_to(folder).as_posix() for file in discover_sources(list(paths))]


def test_a_file_that_is_named_twice_is_read_where_it_was_named_first(transformations):
    assert found_in(transformations, f"{transformations}/**/*.py", transformations) == [
        "bronze.py",
        "silver/clean.py",
        "gold.sql",
    ]
    assert found_in(transformations, transformations / "gold.sql", transformations) == [
        "gold.sql",
        "bronze.py",
        "silver/clean.py",
    ]


def test_a_pattern_without_a_match_and_no_path_are_refused(transformations):
    with pytest.raises(UsageError, match=r"no source file in .*\*\.R"):
        discover_sources([transformations / "*.R"])
    with pytest.raises(UsageError, match="no source path given"):
        discover_sources([])


def test_discover_reads_each_file_once_in_order(tmp_path):
    for name in (
        "b.py",
        "a/z.sql",
        "a/y.ipynb",
        ".git/x.py",
        "a/__pycache__/q.py",
        "a/.ipynb_checkpoints/y.ipynb",
        "a/data.json",
        "a/__init__.py",
    ):
        write_source(tmp_path / name, "")

    def found(*paths):
        return [
            str(file.relative_to(tmp_path))
            for file in discover_sources([str(tmp_path / path) for path in paths])
        ]

    everything = ["a/__init__.py", "a/y.ipynb", "a/z.sql", "b.py"]
    assert found("") == found("**") == found("**/*") == everything
    assert found("b.py", "") == ["b.py", "a/__init__.py", "a/y.ipynb", "a/z.sql"]
    assert found("a/*.sql") == ["a/z.sql"]
    assert found("a", "a/../a") == ["a/__init__.py", "a/y.ipynb", "a/z.sql"]


def test_discover_inside_a_hidden_folder(tmp_path):
    write_source(tmp_path / ".bundle/files/a.py", "")
    assert [file.name for file in discover_sources([str(tmp_path / ".bundle/files")])] == ["a.py"]
    assert [file.name for file in discover_sources([str(tmp_path / ".bundle/files/**")])] == ["a.py"]


@pytest.mark.parametrize(
    "path, words",
    [
        ("nowhere", "no such file or folder"),
        ("nowhere/**", "no source file in"),
        ("empty", "no source file in"),
        ("a.md", "is not a source file"),
    ],
)
def test_discover_names_what_is_missing(tmp_path, path, words):
    (tmp_path / "empty").mkdir()
    write_source(tmp_path / "a.md", "")
    with pytest.raises(UsageError, match=words) as caught:
        discover_sources([str(tmp_path / path)])
    assert path in str(caught.value) and caught.value.exit_code == 2


def test_discover_brackets_in_a_real_name(tmp_path):
    write_source(tmp_path / "team[1]/a.py", "")
    assert [file.name for file in discover_sources([str(tmp_path / "team[1]")])] == ["a.py"]
