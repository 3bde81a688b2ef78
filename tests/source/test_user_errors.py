"Where an error of the user's code is, and what it says."

from pathlib import Path
from types import SimpleNamespace

import pytest
from source_files import failure_of, run_source, write_notebook, write_source

from cdc_local.errors import Location, PipelineError, UsageError
from cdc_local.source import user_errors
from cdc_local.source.files import execute_source, read_source
from cdc_local.source.user_errors import (
    describe_exception,
    display_path,
    explain_types,
    find_user_location,
    to_pipeline_error,
)


def test_a_path_below_the_current_folder_is_relative():
    below = str(Path.cwd() / "transformations/gold.ipynb cell 3")
    assert display_path(below) == "transformations/gold.ipynb cell 3"
    assert display_path("/elsewhere/gold.py") == "/elsewhere/gold.py"


@pytest.mark.parametrize(
    "error, words",
    [
        (KeyError("city"), "KeyError: 'city'"),
        (ValueError("no column `x`;\n'Project [*]\n+- Relation"), "ValueError: no column `x`"),
        (StopIteration(), "StopIteration"),
    ],
)
def test_an_exception_is_one_sentence(error, words):
    assert describe_exception(error) == words


def test_an_error_below_a_later_cell_has_the_line_of_the_file(tmp_path):
    broken = write_source(
        tmp_path / "broken.py",
        """
        # Databricks notebook source
        import math

        # COMMAND ----------

        def rate(paid, due):
            return paid / due

        rate(1, 0)
        """,
    )
    assert str(failure_of(broken)) == f"{broken}:7: ZeroDivisionError: division by zero"


def test_a_syntax_error_has_the_line_of_the_file(tmp_path):
    text = "# Databricks notebook source\nx = 1\n# COMMAND ----------\n\ndef f(:\n    pass\n"
    error = failure_of(write_source(tmp_path / "broken.py", text))
    assert (error.location.line, error.message) == (5, "SyntaxError: invalid syntax")


def test_an_error_in_a_notebook_names_the_cell(tmp_path):
    path = write_notebook(tmp_path / "wrong.ipynb", "x = 1", "%matplotlib inline\ny = x\nz = missing")
    assert str(failure_of(path)) == f"{path} cell 2:3: NameError: name 'missing' is not defined"


def test_a_declaration_is_at_the_users_line_that_called_us(tmp_path):
    text = "def table(f):\n    return note(f)\n\n@table\ndef customers(): pass\n"
    source, locations = read_source(write_source(tmp_path / "script.py", text)), []
    execute_source(source, {"note": lambda _: locations.append(find_user_location(source.files))}, None)
    assert locations == [Location(str(tmp_path / "script.py"), 2)]
    assert find_user_location(source.files) is None


def test_an_error_has_the_users_line_and_nothing_of_ours(tmp_path):
    path = write_source(
        tmp_path / "a.py",
        """
        def inner(x):
            return {}[x]

        inner('city')
        """,
    )
    error = failure_of(path)
    assert (error.location.line, error.message, error.exit_code) == (2, "KeyError: 'city'", 1)
    assert error.__cause__ is None and error.__suppress_context__


def test_an_error_in_a_module_beside_the_source_names_both(tmp_path, monkeypatch):
    write_source(tmp_path / "helper_of_test.py", "def clean(x):\n    return x.missing\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = failure_of(write_source(tmp_path / "a.py", "from helper_of_test import clean\nclean(1)\n"))
    assert error.location.line == 2 and "helper_of_test.py:2" in error.message


def test_a_syntax_error_in_an_imported_module_is_placed_there(tmp_path, monkeypatch):
    write_source(tmp_path / "broken_of_test.py", "x = 1\ny = = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert str(failure_of(write_source(tmp_path / "a.py", "import broken_of_test\n")).location).endswith(
        "broken_of_test.py:2"
    )


def test_a_library_error_stays_at_the_users_line(tmp_path):
    error = failure_of(write_source(tmp_path / "a.py", 'import json\n\njson.loads("{")\n'))
    assert error.location.line == 3 and "JSONDecodeError" in error.message and "(in" not in error.message


def test_an_installed_package_is_not_named(tmp_path, monkeypatch):
    write_source(tmp_path / "site-packages/installed_of_test.py", "def clean(x):\n    return x.missing\n")
    monkeypatch.syspath_prepend(tmp_path / "site-packages")
    assert (
        "(in"
        not in failure_of(
            write_source(tmp_path / "a.py", "from installed_of_test import clean\nclean(1)\n")
        ).message
    )


def test_exit_of_the_source_is_an_error(tmp_path):
    error = failure_of(write_source(tmp_path / "a.py", "import sys\nsys.exit(3)\n"))
    assert (error.location.line, error.exit_code) == (2, 1) and "exit(3)" in error.message


def test_ctrl_c_passes_through(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run_source(write_source(tmp_path / "a.py", "raise KeyboardInterrupt\n"))


def test_a_pipeline_error_keeps_its_place_and_kind(tmp_path):
    def refuse(**place):
        raise UsageError("no", **place)

    path = write_source(tmp_path / "a.py", "x = 1\ny = 2\nrefuse()\n")
    error = failure_of(path, refuse=refuse)
    assert error.location.line == 3 and isinstance(error, UsageError)
    assert failure_of(path, refuse=lambda: refuse(location=Location("b.py", 9))).location == Location(
        "b.py", 9
    )


def test_an_error_of_a_sql_cell_has_a_place(tmp_path):
    def run_sql(text, location):
        raise ValueError("bad")

    with pytest.raises(PipelineError, match="a.sql:1: ValueError: bad"):
        run_source(write_source(tmp_path / "a.sql", "SELECT 1"), run_sql)


def java_exception(name, message, cause=None):
    "What py4j gives of an exception of the JVM."
    return SimpleNamespace(
        toString=lambda: f"{name}: {message}", getMessage=lambda: message, getCause=lambda: cause
    )


def test_of_an_error_in_the_jvm_the_cause_with_a_condition_is_shown():
    parsing = java_exception("java.time.format.DateTimeParseException", "Text '2024' could not be parsed")
    wrong = java_exception(
        "org.apache.spark.SparkDateTimeException", "[CANNOT_PARSE_TIMESTAMP] '2024'", parsing
    )
    task = java_exception("org.apache.spark.SparkException", "[TASK_WRITE_FAILED] Task failed.", wrong)
    error = RuntimeError()
    error.java_exception = java_exception("org.apache.spark.SparkException", "Job aborted", task)
    assert describe_exception(error) == "SparkDateTimeException: [CANNOT_PARSE_TIMESTAMP] '2024'"


@pytest.mark.parametrize("file, cast", [("a.py", 'col("amount").cast("double")'), ("a.sql", "CAST(")])
def test_a_string_that_ansi_mode_converts_nowhere_is_said_to_want_a_cast(file, cast):
    text = '[DATATYPE_MISMATCH.BINARY_OP_WRONG_TYPE] … requires ("DOUBLE" or "DECIMAL"), not "STRING".'
    assert cast in explain_types(text, Location(file, 3))
    assert explain_types("[DATATYPE_MISMATCH.CAST_WITHOUT_SUGGESTION]", Location(file)) == ""


def test_java_stack_and_plans_are_left_out():
    class JavaError(Exception):
        java_exception = java_exception("java.io.IOException", "disk full")

    assert describe_exception(JavaError("\n\tat org.apache")) == "IOException: disk full"
    assert (
        describe_exception(ValueError("[X] no `a`; line 1 pos 7;\n'Project ['a]\n+- Range"))
        == "ValueError: [X] no `a`; line 1 pos 7"
    )


def test_user_error_outside_of_user_code_has_no_place():
    assert to_pipeline_error(ValueError("x"), {"a.py"}).location is None


def test_paths_are_shown_as_seen_from_the_current_folder(tmp_path, monkeypatch):
    path = write_source(tmp_path / "transformations/a.py", "1/0\n")
    assert failure_of(path).location.file == str(path)
    monkeypatch.chdir(tmp_path)
    assert failure_of(path).location.file == "transformations/a.py"
    (tmp_path / "bundles").mkdir()
    monkeypatch.chdir(tmp_path / "bundles")
    assert failure_of(path).location.file == str(path)


def test_a_fault_of_our_own_says_so(tmp_path):
    own, file = {}, Path(user_errors.__file__).parent / "x.py"
    exec(compile("def find():\n    next(iter(()))\n", str(file), "exec"), own)
    error = failure_of(write_source(tmp_path / "a.py", "x = 1\nfind()\n"), find=own["find"])
    assert error.location.line == 2
    assert error.message == "a fault of cdc_utils itself, not of this pipeline: StopIteration (x.py:2)"
