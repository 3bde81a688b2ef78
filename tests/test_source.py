"Source files of every format: what is read, what is refused, where an error is said to be."

import json
import subprocess
import sys
import textwrap

import pytest

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source.files import discover_sources, execute_source, read_source
from cdc_local.source.user_errors import describe_exception, to_pipeline_error, find_user_location


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text).lstrip("\n"))
    return path


def notebook(path, *cells, **metadata):
    path.write_text(
        json.dumps({"cells": [{"cell_type": "code", "source": text} for text in cells], "metadata": metadata})
    )
    return path


def run(path, sql=None, **names):
    namespace = dict(names)
    execute_source(read_source(path), namespace, sql)
    return namespace


def failure(path, **names):
    with pytest.raises(PipelineError) as caught:
        run(path, **names)
    return caught.value


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
        write(tmp_path / name, "")

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
    write(tmp_path / ".bundle/files/a.py", "")
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
    write(tmp_path / "a.md", "")
    with pytest.raises(UsageError, match=words) as caught:
        discover_sources([str(tmp_path / path)])
    assert path in str(caught.value) and caught.value.exit_code == 2


def test_discover_brackets_in_a_real_name(tmp_path):
    write(tmp_path / "team[1]/a.py", "")
    assert [file.name for file in discover_sources([str(tmp_path / "team[1]")])] == ["a.py"]


def test_every_line_of_a_notebook_is_where_the_file_has_it(tmp_path):
    lines, marks = ["# Databricks notebook source"], []
    for number in range(5):
        lines += [""] * number + [f"# DBTITLE 1,Cell {number}", f"note({number})", "", "# COMMAND ----------"]
        marks.append(next(n for n, line in enumerate(lines, 1) if line == f"note({number})"))
    path, seen = write(tmp_path / "a.py", "\n".join(lines)), []
    run(path, note=lambda number: seen.append(find_user_location({str(path)}).line))
    assert seen == marks


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.py"
    path.write_bytes(
        "\ufeff# Databricks notebook source\r\n# MAGIC %md hello\r\n# COMMAND ----------\r\nx = 1\r\n".encode()
    )
    assert run(path)["x"] == 1


def test_sql_notebook(tmp_path):
    path = write(
        tmp_path / "a.sql",
        """
        -- Databricks notebook source
        -- MAGIC %md
        -- MAGIC # Title; with a semicolon

        -- COMMAND ----------

        -- DBTITLE 1,Customers
        -- a comment
        CREATE VIEW v AS SELECT 1

        -- COMMAND ----------

        -- MAGIC %python
        -- MAGIC x = 1
        -- MAGIC note(x)

        -- COMMAND ----------

        -- nothing but a comment
        """,
    )
    seen = []
    run(
        path,
        lambda text, location: seen.append(
            (text.strip().splitlines()[-1], location.line + text[: text.index("CREATE")].count("\n"))
        ),
        note=lambda x: seen.append(find_user_location({str(path)}).line),
    )
    assert seen == [("CREATE VIEW v AS SELECT 1", 9), 15]


def test_plain_files_are_one_cell(tmp_path):
    assert [
        (cell.language, cell.line)
        for cell in read_source(write(tmp_path / "a.sql", "SELECT 1;\nSELECT 2\n")).cells
    ] == [("sql", 1)]
    assert read_source(write(tmp_path / "empty.py", "\n")).cells == ()


@pytest.mark.parametrize(
    "magic, words",
    [
        ("%scala\nval x = 1", "%scala"),
        ("%r\nx <- 1", "%r"),
        ("%sh\nls", "%sh"),
        ("%fs rm -r /x", "%fs"),
        ("!rm x", "!rm"),
        ("x = 1\n%unknown y", "%unknown"),
    ],
)
def test_a_magic_that_could_matter_is_refused_by_name(tmp_path, magic, words):
    for path in (
        notebook(tmp_path / "a.ipynb", magic),
        write(
            tmp_path / "a.py",
            "# Databricks notebook source\n"
            + "\n".join(line if line == "x = 1" else f"# MAGIC {line}" for line in magic.split("\n")),
        ),
    ):
        with pytest.raises(PipelineError, match=f"{words} is not supported") as caught:
            read_source(path)
        assert caught.value.location.line == (len(magic.split("\n")) if "unknown" in magic else 1) + (
            path.suffix == ".py"
        )


def test_magics_without_effect_are_skipped_with_a_word(tmp_path):
    path = notebook(
        tmp_path / "a.ipynb",
        "%pip install faker\n",
        "%load_ext autoreload\n%autoreload 2\nx = 1",
        "%%time\ny = x + 1\n%matplotlib inline",
    )
    source = read_source(path)
    assert [text.partition("a.ipynb ")[2] for text in source.skipped] == [
        "cell 1:1: %pip install faker",
        "cell 2:1: %load_ext autoreload",
        "cell 2:2: %autoreload 2",
        "cell 3:1: %%time",
        "cell 3:3: %matplotlib inline",
    ]
    assert run(path)["y"] == 2


def test_a_percent_sign_of_python_is_no_magic(tmp_path):
    assert (
        run(notebook(tmp_path / "a.ipynb", "x = (7\n% 4)\ny = '''\n%sql\n!ls\n'''"))["y"] == "\n%sql\n!ls\n"
    )


def test_sql_on_the_magics_own_line(tmp_path):
    seen = []
    run(
        notebook(tmp_path / "a.ipynb", "%sql CREATE VIEW v AS\nSELECT 1", "\n%%sql\nSELECT 2"),
        lambda text, location: seen.append((text.strip(), str(location).rpartition("a.ipynb ")[2])),
    )
    assert seen == [("CREATE VIEW v AS\nSELECT 1", "cell 1:1"), ("SELECT 2", "cell 2:2")]


def test_run_inlines_notebooks_relative_to_the_one_that_runs_them(tmp_path):
    write(tmp_path / "shared/base.py", "# Databricks notebook source\nbase = 1\n")
    write(
        tmp_path / "shared/all.py",
        "# Databricks notebook source\n# MAGIC %run ./base\n# COMMAND ----------\nboth = base + 1\n",
    )
    path = notebook(tmp_path / "main.ipynb", '%run "./shared/all" $env="dev"', "x = both")
    assert run(path)["x"] == 2
    assert "arguments of %run" in read_source(path).skipped[0]
    write(tmp_path / "shared/base.py", "# Databricks notebook source\n\nzero = 0\nbase = 1 / zero\n")
    assert str(failure(path).location).endswith("shared/base.py:4")


def test_code_below_a_run_keeps_its_line(tmp_path):
    write(tmp_path / "base.py", "# Databricks notebook source\nbase = 0\n")
    assert failure(notebook(tmp_path / "main.ipynb", "\n%run ./base\n\n1 / base")).location.line == 4


def test_run_in_a_circle(tmp_path):
    write(tmp_path / "a.py", "# Databricks notebook source\n# MAGIC %run ./b\n")
    write(tmp_path / "b.py", "# Databricks notebook source\n# MAGIC %run ./a\n")
    with pytest.raises(PipelineError, match="circle") as caught:
        read_source(tmp_path / "a.py")
    assert str(caught.value.location).endswith("b.py:2")


def test_the_same_notebook_run_twice_is_no_circle(tmp_path):
    write(tmp_path / "base.py", "# Databricks notebook source\ncount.append(1)\n")
    count = []
    run(notebook(tmp_path / "main.ipynb", "%run ./base", "%run ./base"), count=count)
    assert count == [1, 1]


@pytest.mark.parametrize(
    "text, words",
    [
        ("{", "not a Jupyter notebook"),
        ('{"x": 1}', "not a Jupyter notebook"),
        ("[]", "not a Jupyter notebook"),
    ],
)
def test_a_file_that_is_no_notebook(tmp_path, text, words):
    with pytest.raises(PipelineError, match=words):
        read_source(write(tmp_path / "a.ipynb", text))


def test_notebooks_of_other_languages(tmp_path):
    for metadata in (
        {"application/vnd.databricks.v1+notebook": {"language": "scala"}},
        {"language_info": {"name": "scala"}},
    ):
        with pytest.raises(PipelineError, match="a notebook in scala is not supported"):
            read_source(notebook(tmp_path / "a.ipynb", "x", **metadata))


def test_an_error_has_the_users_line_and_nothing_of_ours(tmp_path):
    path = write(
        tmp_path / "a.py",
        """
        def inner(x):
            return {}[x]

        inner('city')
        """,
    )
    error = failure(path)
    assert (error.location.line, error.message, error.exit_code) == (2, "KeyError: 'city'", 1)
    assert error.__cause__ is None and error.__suppress_context__


def test_an_error_in_a_module_beside_the_source_names_both(tmp_path, monkeypatch):
    write(tmp_path / "helper_of_test.py", "def clean(x):\n    return x.missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = failure(write(tmp_path / "a.py", "from helper_of_test import clean\nclean(1)\n"))
    assert error.location.line == 2 and "helper_of_test.py:2" in error.message


def test_a_syntax_error_in_an_imported_module_is_placed_there(tmp_path, monkeypatch):
    write(tmp_path / "broken_of_test.py", "x = 1\ny = = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(failure(write(tmp_path / "a.py", "import broken_of_test\n")).location).endswith(
        "broken_of_test.py:2"
    )


def test_a_library_error_stays_at_the_users_line(tmp_path):
    error = failure(write(tmp_path / "a.py", 'import json\n\njson.loads("{")\n'))
    assert error.location.line == 3 and "JSONDecodeError" in error.message and "(in" not in error.message


def test_an_installed_package_is_not_named(tmp_path, monkeypatch):
    write(tmp_path / "site-packages/installed_of_test.py", "def clean(x):\n    return x.missing\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert (
        "(in"
        not in failure(write(tmp_path / "a.py", "from installed_of_test import clean\nclean(1)\n")).message
    )


def test_exit_of_the_source_is_an_error(tmp_path):
    error = failure(write(tmp_path / "a.py", "import sys\nsys.exit(3)\n"))
    assert (error.location.line, error.exit_code) == (2, 1) and "exit(3)" in error.message


def test_ctrl_c_passes_through(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(write(tmp_path / "a.py", "raise KeyboardInterrupt\n"))


def test_a_pipeline_error_keeps_its_place_and_kind(tmp_path):
    def refuse(**place):
        raise UsageError("no", **place)

    path = write(tmp_path / "a.py", "x = 1\ny = 2\nrefuse()\n")
    error = failure(path, refuse=refuse)
    assert error.location.line == 3 and isinstance(error, UsageError)
    assert failure(path, refuse=lambda: refuse(location=Location("b.py", 9))).location == Location("b.py", 9)


def test_an_error_of_a_sql_cell_has_a_place(tmp_path):
    def run_sql(text, location):
        raise ValueError("bad")

    with pytest.raises(PipelineError, match="a.sql:1: ValueError: bad"):
        run(write(tmp_path / "a.sql", "SELECT 1"), run_sql)


def test_our_future_imports_do_not_leak(tmp_path):
    assert (
        run(write(tmp_path / "a.py", 'def f(x: int): pass\nkind = f.__annotations__["x"]\n'))["kind"] is int
    )


def test_source_code_of_a_notebook_can_be_inspected(tmp_path):
    assert (
        run(
            notebook(
                tmp_path / "a.ipynb",
                "import inspect\n",
                "def f():\n    return 1\ntext = inspect.getsource(f)",
            )
        )["text"]
        == "def f():\n    return 1\n"
    )


def test_java_stack_and_plans_are_left_out():
    class Java(Exception):
        java_exception = type("J", (), {"toString": lambda self: "java.io.IOException: disk full"})()

    assert describe_exception(Java("\n\tat org.apache")) == "Java: java.io.IOException: disk full"
    assert (
        describe_exception(ValueError("[X] no `a`; line 1 pos 7;\n'Project ['a]\n+- Range"))
        == "ValueError: [X] no `a`; line 1 pos 7"
    )


def test_user_error_outside_of_user_code_has_no_place():
    assert to_pipeline_error(ValueError("x"), {"a.py"}).location is None


def test_paths_are_shown_as_seen_from_the_current_folder(tmp_path, monkeypatch):
    path = write(tmp_path / "transformations/a.py", "1/0\n")
    assert failure(path).location.file == str(path)
    monkeypatch.chdir(tmp_path)
    assert failure(path).location.file == "transformations/a.py"
    (tmp_path / "bundles").mkdir()
    monkeypatch.chdir(tmp_path / "bundles")
    assert failure(path).location.file == str(path)


def test_reading_needs_no_spark():
    code = "import sys; sys.modules['pyspark'] = None; sys.modules['py4j'] = None; import cdc_local.source.files, cdc_local.source.user_errors"
    subprocess.run([sys.executable, "-c", code], check=True)
