"Cells of source files of every format: what is read, what is skipped, what is refused."

import subprocess
import sys

import pytest
from source_files import failure_of, run_source, write_notebook, write_source

from cdc_local.errors import PipelineError
from cdc_local.source.files import read_source
from cdc_local.source.user_errors import find_user_location


@pytest.fixture
def silver(tmp_path):
    return write_source(
        tmp_path / "silver.py",
        """
        # Databricks notebook source
        # MAGIC %md
        # MAGIC ## Silver

        # COMMAND ----------

        # MAGIC %pip install faker

        # COMMAND ----------

        # DBTITLE 1,Rules
        rules = {'known': 'id is not null'}

        # COMMAND ----------

        # MAGIC %sql
        # MAGIC CREATE OR REFRESH MATERIALIZED VIEW gold
        # MAGIC AS SELECT 1
        """,
    )


def cells_of(path):
    return [(cell.file.rpartition("/")[2], cell.language, cell.text) for cell in read_source(path).cells]


def test_a_notebook_file_is_read_as_cells_with_their_lines(silver):
    source = read_source(silver)
    assert [(cell.line, cell.language, cell.text) for cell in source.cells] == [
        (11, "python", "# DBTITLE 1,Rules\nrules = {'known': 'id is not null'}\n"),
        (16, "sql", "\nCREATE OR REFRESH MATERIALIZED VIEW gold\nAS SELECT 1\n"),
    ]
    assert silver.read_text().split("\n")[16] == "# MAGIC CREATE OR REFRESH MATERIALIZED VIEW gold"
    assert [text.partition("silver.py:")[2] for text in source.skipped] == ["7: %pip install faker"]


def test_sql_cells_are_run_with_their_line(silver):
    seen = []
    run_source(silver, lambda text, location: seen.append((location.line, text.split()[0])))
    assert seen == [(16, "CREATE")]


def test_cells_of_a_jupyter_notebook_and_of_one_that_it_runs(tmp_path):
    write_notebook(tmp_path / "shared.ipynb", 'prefix = "crm_"')
    gold = write_notebook(
        tmp_path / "gold.ipynb",
        "%run ./shared",
        '%load_ext autoreload\nname = prefix + "gold"',
        "%%sql\nSELECT 1",
        "%md hello",
    )
    assert cells_of(gold) == [
        ("shared.ipynb cell 1", "python", 'prefix = "crm_"'),
        ("gold.ipynb cell 2", "python", '\nname = prefix + "gold"'),
        ("gold.ipynb cell 3", "sql", "\nSELECT 1"),
    ]


def test_a_notebook_in_sql_has_sql_cells_without_a_magic(tmp_path):
    mixed = write_notebook(
        tmp_path / "mixed.ipynb",
        "SELECT 1",
        "%python\nx = 1",
        **{"application/vnd.databricks.v1+notebook": {"language": "sql"}},
    )
    assert [(language, text.strip()) for _, language, text in cells_of(mixed)] == [
        ("sql", "SELECT 1"),
        ("python", "x = 1"),
    ]


def test_a_notebook_that_is_run_and_not_there_is_named(tmp_path):
    with pytest.raises(
        PipelineError, match=r"%run \./nowhere: no such notebook; looked for \./nowhere beside"
    ):
        read_source(write_notebook(tmp_path / "lost.ipynb", "%run ./nowhere"))


def test_a_magic_below_code_is_refused_since_nobody_would_run_it(tmp_path):
    late = write_source(tmp_path / "late.py", "# Databricks notebook source\nx = 1\n# MAGIC %run ./silver\n")
    with pytest.raises(PipelineError, match="late.py:3: %run is not supported"):
        read_source(late)


@pytest.mark.parametrize(
    "magic, hint",
    [
        ("%%scala\nval x = 1", "pipelines are written in Python and SQL"),
        ("%sh\nls", "remove the cell or the line"),
    ],
)
def test_a_refused_magic_says_what_to_do(tmp_path, magic, hint):
    with pytest.raises(PipelineError) as caught:
        read_source(write_notebook(tmp_path / "a.ipynb", magic))
    assert caught.value.hint == hint


def test_source_files_share_no_names(tmp_path):
    assert run_source(write_source(tmp_path / "a.py", "rules = 1\n"))["rules"] == 1
    assert "rules" not in run_source(write_source(tmp_path / "b.py", "other = 2\n"))


def test_every_line_of_a_notebook_is_where_the_file_has_it(tmp_path):
    lines, marks = ["# Databricks notebook source"], []
    for number in range(5):
        lines += [""] * number + [f"# DBTITLE 1,Cell {number}", f"note({number})", "", "# COMMAND ----------"]
        marks.append(next(n for n, line in enumerate(lines, 1) if line == f"note({number})"))
    path, seen = write_source(tmp_path / "a.py", "\n".join(lines)), []
    run_source(path, note=lambda number: seen.append(find_user_location({str(path)}).line))
    assert seen == marks


def test_windows_line_ends_and_a_byte_order_mark(tmp_path):
    path = tmp_path / "a.py"
    lines = ("\ufeff# Databricks notebook source", "# MAGIC %md hello", "# COMMAND ----------", "x = 1", "")
    path.write_bytes("\r\n".join(lines).encode())
    assert run_source(path)["x"] == 1


def test_sql_notebook(tmp_path):
    path = write_source(
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
    run_source(
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
        for cell in read_source(write_source(tmp_path / "a.sql", "SELECT 1;\nSELECT 2\n")).cells
    ] == [("sql", 1)]
    assert read_source(write_source(tmp_path / "empty.py", "\n")).cells == ()


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
        write_notebook(tmp_path / "a.ipynb", magic),
        write_source(
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
    path = write_notebook(
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
    assert run_source(path)["y"] == 2


def test_a_percent_sign_of_python_is_no_magic(tmp_path):
    assert (
        run_source(write_notebook(tmp_path / "a.ipynb", "x = (7\n% 4)\ny = '''\n%sql\n!ls\n'''"))["y"]
        == "\n%sql\n!ls\n"
    )


def test_sql_on_the_magics_own_line(tmp_path):
    seen = []
    run_source(
        write_notebook(tmp_path / "a.ipynb", "%sql CREATE VIEW v AS\nSELECT 1", "\n%%sql\nSELECT 2"),
        lambda text, location: seen.append((text.strip(), str(location).rpartition("a.ipynb ")[2])),
    )
    assert seen == [("CREATE VIEW v AS\nSELECT 1", "cell 1:1"), ("SELECT 2", "cell 2:2")]


def test_run_inlines_notebooks_relative_to_the_one_that_runs_them(tmp_path):
    write_source(tmp_path / "shared/base.py", "# Databricks notebook source\nbase = 1\n")
    write_source(
        tmp_path / "shared/all.py",
        "# Databricks notebook source\n# MAGIC %run ./base\n# COMMAND ----------\nboth = base + 1\n",
    )
    path = write_notebook(tmp_path / "main.ipynb", '%run "./shared/all" $env="dev"', "x = both")
    assert run_source(path)["x"] == 2
    assert "arguments of %run" in read_source(path).skipped[0]
    write_source(tmp_path / "shared/base.py", "# Databricks notebook source\n\nzero = 0\nbase = 1 / zero\n")
    assert str(failure_of(path).location).endswith("shared/base.py:4")


def test_code_below_a_run_keeps_its_line(tmp_path):
    write_source(tmp_path / "base.py", "# Databricks notebook source\nbase = 0\n")
    assert failure_of(write_notebook(tmp_path / "main.ipynb", "\n%run ./base\n\n1 / base")).location.line == 4


def test_run_in_a_circle(tmp_path):
    write_source(tmp_path / "a.py", "# Databricks notebook source\n# MAGIC %run ./b\n")
    write_source(tmp_path / "b.py", "# Databricks notebook source\n# MAGIC %run ./a\n")
    with pytest.raises(PipelineError, match="circle") as caught:
        read_source(tmp_path / "a.py")
    assert str(caught.value.location).endswith("b.py:2")


def test_the_same_notebook_run_twice_is_no_circle(tmp_path):
    write_source(tmp_path / "base.py", "# Databricks notebook source\ncount.append(1)\n")
    count = []
    run_source(write_notebook(tmp_path / "main.ipynb", "%run ./base", "%run ./base"), count=count)
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
        read_source(write_source(tmp_path / "a.ipynb", text))


def test_notebooks_of_other_languages(tmp_path):
    for metadata in (
        {"application/vnd.databricks.v1+notebook": {"language": "scala"}},
        {"language_info": {"name": "scala"}},
    ):
        with pytest.raises(PipelineError, match="a notebook in scala is not supported"):
            read_source(write_notebook(tmp_path / "a.ipynb", "x", **metadata))


def test_our_future_imports_do_not_leak(tmp_path):
    assert (
        run_source(write_source(tmp_path / "a.py", 'def f(x: int): pass\nkind = f.__annotations__["x"]\n'))[
            "kind"
        ]
        is int
    )


def test_source_code_of_a_notebook_can_be_inspected(tmp_path):
    assert (
        run_source(
            write_notebook(
                tmp_path / "a.ipynb",
                "import inspect\n",
                "def f():\n    return 1\ntext = inspect.getsource(f)",
            )
        )["text"]
        == "def f():\n    return 1\n"
    )


def test_reading_needs_no_spark():
    code = (
        "import sys; sys.modules['pyspark'] = None; sys.modules['py4j'] = None; "
        "import cdc_local.source.files, cdc_local.source.user_errors"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
